//! MQTT over TLS, as the SDKs speak it: 1.2 and 1.3, with a server name and without one.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::link::*;
use crate::platform::{Platform, SECRET};

const DEVICE: &str = "p1_d1";

#[tokio::test]
async fn both_tls_versions_are_spoken_with_and_without_a_server_name() {
    let (server, certificate) = identity();
    let platform = Platform::with_tls(server).await;
    platform.register(DEVICE).await;
    for tls in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for name in ["localhost", "127.0.0.1"] {
            let mut link = dial(&platform, tls, name, &certificate).await;
            link.connect(&Connect::of(V3_1_1, DEVICE, SECRET)).await;
            let reports: Vec<u8> = (1..=100)
                .flat_map(|id| link.publish(&events_up(DEVICE), 1, id, &version_report("V1")))
                .collect();
            link.send(&reports).await;
            assert_eq!(link.pubacks(100).await, (1..=100).collect::<Vec<u16>>());
        }
    }
}

#[tokio::test]
async fn a_record_larger_than_one_read_is_heard_to_its_end() {
    let (server, certificate) = identity();
    let platform = Platform::with_tls(server).await;
    platform.register(DEVICE).await;
    let mut link = dial(&platform, &rustls::version::TLS13, "localhost", &certificate).await;
    link.connect(&Connect::of(V5, DEVICE, SECRET)).await;
    let mut report = version_report("V1");
    report.push_str(&" ".repeat(300_000));
    let report = link.publish(&events_up(DEVICE), 1, 1, &report);
    link.send(&report).await;
    assert_eq!(link.puback().await, (1, 0));
}

#[tokio::test]
async fn the_last_word_arrives_over_tls_too() {
    let (server, certificate) = identity();
    let mut platform = Platform::with_tls(server).await;
    platform.register(DEVICE).await;
    let mut older = dial(&platform, &rustls::version::TLS12, "localhost", &certificate).await;
    older.connect(&Connect::of(V5, DEVICE, SECRET)).await;
    let mut newer = dial(&platform, &rustls::version::TLS13, "localhost", &certificate).await;
    newer.connect(&Connect::of(V5, DEVICE, SECRET)).await;
    older.is_sent_away(142).await;
    platform.shut_down().await;
    newer.is_sent_away(139).await;
}

#[tokio::test]
async fn who_speaks_no_tls_to_the_tls_port_is_closed() {
    let (server, certificate) = identity();
    let platform = Platform::with_tls(server).await;
    platform.register(DEVICE).await;
    let mut plain = Link::dial(platform.tls_address.unwrap(), V3_1_1).await;
    plain.send(&Connect::of(V3_1_1, DEVICE, SECRET).bytes()).await;
    // TLS may answer with an alert (type 21); MQTT does not answer.
    while let Some(answer) = plain.receive().await {
        assert_eq!(answer.first, 21, "{answer:?}");
    }
    let mut link = dial(&platform, &rustls::version::TLS13, "localhost", &certificate).await;
    link.connect(&Connect::of(V3_1_1, DEVICE, SECRET)).await;
}

#[tokio::test]
async fn a_panic_in_one_connection_ends_that_one() {
    let (key, certificate) = self_made();
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(PanicsFor { name: "unlucky.test", key }));
    let mut platform = Platform::with_tls(Arc::new(config)).await;
    platform.register(DEVICE).await;
    let mut bystander = dial(&platform, &rustls::version::TLS13, "localhost", &certificate).await;
    bystander.connect(&Connect::of(V3_1_1, DEVICE, SECRET)).await;
    for _ in 0..3 {
        let unlucky = try_dial(&platform, &rustls::version::TLS13, "unlucky.test", &certificate).await;
        assert!(unlucky.is_err());
    }
    bystander.is_alive().await;
    dial(&platform, &rustls::version::TLS13, "localhost", &certificate).await;
    platform.shut_down().await;
}

/// Stands in for a defect of ours.
#[derive(Debug)]
struct PanicsFor {
    name: &'static str,
    key: Arc<CertifiedKey>,
}

impl ResolvesServerCert for PanicsFor {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        assert!(hello.server_name() != Some(self.name), "this panic is part of the test");
        Some(self.key.clone())
    }
}

/// A self-made certificate and the configuration that presents it.
fn identity() -> (Arc<ServerConfig>, CertificateDer<'static>) {
    let (key, certificate) = self_made();
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
    (Arc::new(config), certificate)
}

pub fn self_made() -> (Arc<CertifiedKey>, CertificateDer<'static>) {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned(), "unlucky.test".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
    let key = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
    (Arc::new(CertifiedKey::new(vec![certificate.clone()], key)), certificate)
}

pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

async fn dial(
    platform: &Platform,
    version: &'static SupportedProtocolVersion,
    name: &str,
    certificate: &CertificateDer<'static>,
) -> Link<TlsStream<TcpStream>> {
    try_dial(platform, version, name, certificate).await.unwrap()
}

async fn try_dial(
    platform: &Platform,
    version: &'static SupportedProtocolVersion,
    name: &str,
    certificate: &CertificateDer<'static>,
) -> std::io::Result<Link<TlsStream<TcpStream>>> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(platform.tls_address.unwrap()).await?;
    stream.set_nodelay(true)?;
    // An IP address is no server name in TLS (RFC 6066, 3), so none is sent for it.
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    Ok(Link::over(stream, V5))
}
