//! Devices that prove themselves with a certificate, over TLS 1.2 and 1.3.

use std::sync::Arc;

use otaru_engine::{Auth, DeviceCa, DeviceChange, DeviceRequest};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ResolvesServerCert;
use rustls::sign::{CertifiedKey, Signer, SigningKey, SingleCertAndKey};
use rustls::{
    ClientConfig, HandshakeKind, RootCertStore, ServerConfig, SignatureAlgorithm, SignatureScheme,
    SupportedProtocolVersion,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::link::*;
use crate::platform::{PRODUCT, Platform, SECRET, operator, until};
use crate::secured::{provider, self_made};

const DEVICE: &str = "p1_d1";
const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

/// A certificate that signs itself, its key RSA, of X.509 version 1.
pub const VERSION_1: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/endpoint/certificates/version1_rsa.pem");

#[tokio::test]
async fn the_registered_certificate_lets_a_device_in_whatever_its_password() {
    let secured = Secured::start(None).await;
    let own = Identity::self_signed(DEVICE);
    secured.register(DEVICE, Some(&own.sha256())).await;
    let without_password = Connect { password: None, ..sdk(V3_1_1) };
    for tls in VERSIONS {
        for connect in [sdk(V3_1_1), sdk(V5), without_password.clone()] {
            let stream = secured.stream(secured.client(tls, Some(&own))).await.unwrap();
            let mut link = Link::over(stream, connect.version);
            assert_eq!(link.connect(&connect).await.body[1], 0, "{connect:?}");
            let report = link.publish(&events_up(DEVICE), 1, 1, &version_report("V1"));
            link.send(&report).await;
            assert_eq!(link.puback().await.0, 1);
        }
    }
}

#[tokio::test]
async fn an_older_fingerprint_of_forty_digits_does_as_well() {
    let secured = Secured::start(None).await;
    let own = Identity::version_1();
    let sha1 = ring_hex(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, &own.chain[0]);
    assert_eq!(sha1.len(), 40);
    secured.register(DEVICE, Some(&sha1)).await;
    secured.is_let_in(&own).await;
    let other = Identity::self_signed(DEVICE);
    secured.is_refused(&other, "certificate_unknown").await;
}

#[tokio::test]
async fn every_kind_of_key_can_prove_itself_with_every_way_of_signing_that_we_offer() {
    let secured = Secured::start(None).await;
    let version_1 = Identity::version_1();
    let p256 = Identity::of_key(DEVICE, KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap());
    let p384 = Identity::of_key(DEVICE, KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap());
    let ed25519 = Identity::of_key(DEVICE, KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap());
    secured.register(DEVICE, None).await;
    use SignatureScheme as S;
    for (own, in_both, in_1_2_only) in [
        (
            &version_1,
            &[S::RSA_PSS_SHA256, S::RSA_PSS_SHA384, S::RSA_PSS_SHA512][..],
            &[S::RSA_PKCS1_SHA256, S::RSA_PKCS1_SHA384, S::RSA_PKCS1_SHA512][..],
        ),
        (&p256, &[S::ECDSA_NISTP256_SHA256], &[]),
        (&p384, &[S::ECDSA_NISTP384_SHA384], &[]),
        (&ed25519, &[S::ED25519], &[]),
    ] {
        secured.change_fingerprint(Some(own.sha256())).await;
        for tls in VERSIONS {
            for scheme in in_both {
                let mut link = secured.dial(tls, &own.signing_with(*scheme)).await;
                assert_eq!(link.connect(&sdk(V3_1_1)).await.body[1], 0, "{scheme:?} in {tls:?}");
            }
        }
        for scheme in in_1_2_only {
            let mut link = secured.dial(&rustls::version::TLS12, &own.signing_with(*scheme)).await;
            assert_eq!(link.connect(&sdk(V3_1_1)).await.body[1], 0, "{scheme:?}");
        }
    }
}

#[tokio::test]
async fn whoever_holds_a_certificate_without_its_key_does_not_get_through_the_handshake() {
    let secured = Secured::start(None).await;
    for (device, own) in [("p1_self", Identity::self_signed("x")), ("p1_old", Identity::version_1())] {
        secured.register(device, Some(&own.sha256())).await;
        let stolen = Identity { chain: own.chain.clone(), key: Identity::self_signed("thief").key };
        let connect = Connect::of(V3_1_1, device, "");
        for tls in VERSIONS {
            // In TLS 1.3 the client believes itself to be done before it hears of this.
            if let Ok(mut link) = secured.try_dial(secured.client(tls, Some(&stolen))).await {
                let _ = link.try_send(&connect.bytes()).await;
                assert_eq!(link.receive().await, None, "no word of MQTT is said to a thief");
            }
        }
        assert!(!secured.platform.is_online(device).await);
        let mut link = secured.dial(&rustls::version::TLS13, &own).await;
        assert_eq!(link.connect(&connect).await.body[1], 0, "its owner is let in");
    }
    assert!(secured.platform.engine.refused_connections().is_empty(), "CONNECT was not even read");
}

#[tokio::test]
async fn without_a_certificate_or_with_another_one_the_reason_says_what_to_do() {
    let secured = Secured::start(None).await;
    let own = Identity::self_signed(DEVICE);
    secured.register(DEVICE, Some(&own.sha256())).await;
    let other = Identity::self_signed(DEVICE);
    let message = secured.is_refused(&other, "certificate_unknown").await;
    assert!(message.contains(&other.sha256()) && message.contains(&own.sha256()), "{message}");
    assert!(message.contains("PATCH /api/v1/devices/p1_d1"), "{message}");

    for tls in VERSIONS {
        assert_eq!(secured.answer(tls, None, &sdk(V3_1_1)).await, 4);
        assert_eq!(secured.answer(tls, None, &sdk(V5)).await, 134);
    }
    assert!(secured.refusal("certificate_missing").contains("install its certificate and key"));
    assert_eq!(secured.platform.refusal(sdk(V3_1_1)).await, 4);
    assert!(secured.refusal("certificate_needs_tls").contains("`mqtts`"));

    secured.is_let_in(&own).await;
    assert!(secured.platform.engine.refused_connections().is_empty(), "it got in");
}

#[tokio::test]
async fn a_device_with_a_secret_may_present_whatever_it_likes() {
    let secured = Secured::start(None).await;
    secured.platform.register(DEVICE).await;
    let any = Identity::self_signed("anybody");
    for tls in VERSIONS {
        for certificate in [Some(&any), None] {
            let connect = Connect::of(V3_1_1, DEVICE, SECRET);
            assert_eq!(secured.answer(tls, certificate, &connect).await, 0);
            assert_eq!(secured.answer(tls, certificate, &sdk(V3_1_1)).await, 4, "not without its password");
        }
    }
}

#[tokio::test]
async fn another_device_s_certificate_opens_only_the_other_device() {
    let secured = Secured::start(None).await;
    let (own, others) = (Identity::self_signed("one"), Identity::self_signed("two"));
    secured.register(DEVICE, Some(&own.sha256())).await;
    secured.register("p1_d2", Some(&others.sha256())).await;
    let mut live = secured.dial(&rustls::version::TLS13, &own).await;
    live.connect(&sdk(V3_1_1)).await;
    secured.is_refused(&others, "certificate_unknown").await;
    let mixed = Connect { username: Some("p1_d2".into()), ..sdk(V3_1_1) };
    assert_eq!(secured.answer(&rustls::version::TLS13, Some(&others), &mixed).await, 4);
    live.is_alive().await;
}

#[tokio::test]
async fn a_certificate_of_the_device_ca_needs_no_registration_of_its_own() {
    let (ca, stranger) = (Ca::new("ca"), Ca::new("ca"));
    let secured = Secured::start(Some(&[&ca])).await;
    secured.register(DEVICE, None).await;
    secured.is_let_in(&ca.issue(DEVICE)).await;
    // Node ids are unique in a product only; its namesake elsewhere must not come in.
    secured.is_refused(&ca.issue("node of p1_d1"), "certificate_other_name").await;
    secured.is_let_in(&ca.intermediate("between").issue(DEVICE)).await;

    let message = secured.is_refused(&stranger.issue(DEVICE), "certificate_not_issued").await;
    assert!(message.contains("device CA"), "{message}");
    let self_signed = Identity::self_signed(DEVICE);
    let message = secured.is_refused(&self_signed, "certificate_not_issued").await;
    assert!(message.contains(&self_signed.sha256()), "{message}");
    let message = secured.is_refused(&Identity::version_1(), "certificate_not_issued").await;
    assert!(message.contains("X.509 version 1"), "{message}");
    let mut cut = ca.intermediate("between").issue(DEVICE);
    cut.chain.truncate(1);
    secured.is_refused(&cut, "certificate_not_issued").await;
    let message = secured.is_refused(&ca.issue("p1_d2"), "certificate_other_name").await;
    assert!(message.contains("p1_d2") && message.contains(DEVICE), "{message}");
    secured.is_refused(&ca.issue_with(&[], |_| ()), "certificate_other_name").await;
    secured.is_refused(&ca.issue_with(&[DEVICE, "p1_d2"], |_| ()), "certificate_other_name").await;

    let expired = ca.issue_with(&[DEVICE], |to| to.not_after = rcgen::date_time_ymd(2020, 2, 1));
    let message = secured.is_refused(&expired, "certificate_expired").await;
    assert!(message.contains("until Feb  1 ") && message.contains("2020"), "{message}");
    let early = ca.issue_with(&[DEVICE], |to| to.not_before = rcgen::date_time_ymd(4000, 1, 1));
    let message = secured.is_refused(&early, "certificate_expired").await;
    assert!(message.contains("from Jan  1 ") && message.contains("4000"), "{message}");
    let for_servers = ca.issue_with(&[DEVICE], |to| {
        to.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    });
    secured.is_refused(&for_servers, "certificate_not_issued").await;
}

#[tokio::test]
async fn a_registered_fingerprint_outranks_the_device_ca_and_does_not_grow_old() {
    let ca = Ca::new("ca");
    let secured = Secured::start(Some(&[&Ca::new("first"), &ca])).await;
    let old = Identity::self_signed_until(rcgen::date_time_ymd(2020, 1, 1));
    secured.register(DEVICE, Some(&old.sha256())).await;
    secured.is_let_in(&old).await;
    secured.is_refused(&ca.issue(DEVICE), "certificate_unknown").await;
    secured.change_fingerprint(None).await;
    secured.is_let_in(&ca.issue(DEVICE)).await;
    secured.is_refused(&old, "certificate_expired").await;
}

#[tokio::test]
async fn without_fingerprint_and_device_ca_nobody_is_let_in() {
    let secured = Secured::start(None).await;
    secured.register(DEVICE, None).await;
    let own = Identity::self_signed(DEVICE);
    let message = secured.is_refused(&own, "certificate_unknown").await;
    assert!(message.contains("no `device_ca` is configured") && message.contains(&own.sha256()), "{message}");
}

#[tokio::test]
async fn another_fingerprint_ends_the_session_that_the_old_certificate_opened() {
    let secured = Secured::start(None).await;
    let (old, new) = (Identity::self_signed(DEVICE), Identity::self_signed(DEVICE));
    secured.register(DEVICE, Some(&old.sha256())).await;
    let mut link = secured.dial(&rustls::version::TLS13, &old).await;
    link.connect(&sdk(V3_1_1)).await;
    until("it is online", async || secured.platform.is_online(DEVICE).await).await;
    secured.change_fingerprint(Some(new.sha256())).await;
    link.is_closed().await;
    secured.is_refused(&old, "certificate_unknown").await;
    secured.is_let_in(&new).await;
}

#[tokio::test]
async fn a_resumed_handshake_is_still_that_of_the_certificate_and_is_judged_again() {
    let secured = Secured::start(None).await;
    let own = Identity::self_signed(DEVICE);
    for tls in VERSIONS {
        let device = format!("p1_{:?}", tls.version);
        secured.register(&device, Some(&own.sha256())).await;
        let connect = Connect::of(V3_1_1, &device, "");
        let client = secured.client_with(tls, Some(&own), Resumption::in_memory_sessions(4));
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let stream = secured.stream(client.clone()).await.unwrap();
            let shaken = stream.get_ref().1.handshake_kind();
            let mut link = Link::over(stream, V3_1_1);
            assert_eq!(link.connect(&connect).await.body[1], 0);
            assert_eq!(shaken, Some(kind), "{tls:?}");
        }
        secured.change_fingerprint_of(&device, Some("00".repeat(32))).await;
        let stream = secured.stream(client).await.unwrap();
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed), "{tls:?}");
        let mut link = Link::over(stream, V3_1_1);
        link.send(&connect.bytes()).await;
        assert_eq!(link.expect(CONNACK).await.body[1], 4);
    }
}

#[tokio::test]
async fn more_certificates_than_anybody_needs_are_refused_in_the_handshake() {
    let secured = Secured::start(None).await;
    let mut own = Identity::self_signed(DEVICE);
    secured.register(DEVICE, Some(&own.sha256())).await;
    own.chain = vec![own.chain[0].clone(); 8];
    secured.is_let_in(&own).await;
    own.chain.push(own.chain[0].clone());
    for tls in VERSIONS {
        if let Ok(mut link) = secured.try_dial(secured.client(tls, Some(&own))).await {
            let _ = link.try_send(&sdk(V3_1_1).bytes()).await;
            assert_eq!(link.receive().await, None);
        }
    }
}

#[tokio::test]
async fn what_is_no_certificate_ends_the_handshake_and_nothing_else() {
    let secured = Secured::start(None).await;
    let own = Identity::self_signed(DEVICE);
    secured.register(DEVICE, Some(&own.sha256())).await;
    let mut followed = own.chain[0].to_vec();
    followed.push(0);
    let cut = own.chain[0][..own.chain[0].len() / 2].to_vec();
    for nonsense in [b"nonsense".to_vec(), cut, followed] {
        let broken = Identity { chain: vec![nonsense.into()], key: own.key.clone() };
        for tls in VERSIONS {
            if let Ok(mut link) = secured.try_dial(secured.client(tls, Some(&broken))).await {
                let _ = link.try_send(&sdk(V3_1_1).bytes()).await;
                assert_eq!(link.receive().await, None);
            }
        }
    }
    secured.is_let_in(&own).await;
}

/// What the SDKs send for a device with a certificate: the same as ever, with the password of an empty secret.
pub fn sdk(version: Version) -> Connect {
    Connect::of(version, DEVICE, "")
}

fn ring_hex(algorithm: &'static ring::digest::Algorithm, certificate: &CertificateDer<'_>) -> String {
    let digest = ring::digest::digest(algorithm, certificate);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A platform to which devices may bring certificates.
pub struct Secured {
    pub platform: Platform,
    certificate: CertificateDer<'static>,
}

impl Secured {
    pub async fn start(device_ca: Option<&[&Ca]>) -> Secured {
        let (key, certificate) = self_made();
        let resolver: Arc<dyn ResolvesServerCert> = Arc::new(SingleCertAndKey::from(key));
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(otaru_gateway::certificates_are_welcome(&provider()))
            .with_cert_resolver(resolver);
        let device_ca = device_ca.map(|all| {
            let all: Vec<_> = all.iter().map(|ca| ca.certificate.clone()).collect();
            DeviceCa::new(&all).unwrap()
        });
        Secured { platform: Platform::with_device_ca(Arc::new(config), device_ca).await, certificate }
    }

    pub async fn register(&self, device_id: &str, fingerprint: Option<&str>) {
        let request = DeviceRequest {
            device_id: Some(device_id.into()),
            node_id: format!("node of {device_id}"),
            product_id: PRODUCT.into(),
            auth: Auth::X509,
            fingerprint: fingerprint.map(str::to_owned),
            ..DeviceRequest::default()
        };
        let made = self.platform.engine.register_device(&operator(), request).await.unwrap();
        assert_eq!(made.secret, None);
    }

    async fn change_fingerprint(&self, fingerprint: Option<String>) {
        self.change_fingerprint_of(DEVICE, fingerprint).await;
    }

    async fn change_fingerprint_of(&self, device_id: &str, fingerprint: Option<String>) {
        let change = DeviceChange { fingerprint: Some(fingerprint), ..DeviceChange::default() };
        self.platform.engine.patch_device(&operator(), device_id, change).await.unwrap();
    }

    async fn is_let_in(&self, own: &Identity) {
        for tls in VERSIONS {
            assert_eq!(self.answer(tls, Some(own), &sdk(V3_1_1)).await, 0, "{tls:?}");
        }
    }

    /// Answers with the message for the operator.
    async fn is_refused(&self, own: &Identity, code: &str) -> String {
        for tls in VERSIONS {
            assert_eq!(self.answer(tls, Some(own), &sdk(V3_1_1)).await, 4, "{tls:?}");
            assert_eq!(self.answer(tls, Some(own), &sdk(V5)).await, 134, "{tls:?}");
        }
        self.refusal(code)
    }

    /// The message of the latest refusal.
    fn refusal(&self, code: &str) -> String {
        let latest = self.platform.engine.refused_connections().into_iter().next().unwrap();
        assert_eq!(latest.code, code, "{latest:?}");
        latest.message
    }

    /// The code with which a CONNECT is answered.
    async fn answer(
        &self,
        tls: &'static SupportedProtocolVersion,
        own: Option<&Identity>,
        connect: &Connect,
    ) -> u8 {
        let stream = self.stream(self.client(tls, own)).await.unwrap();
        let mut link = Link::over(stream, connect.version);
        link.send(&connect.bytes()).await;
        link.expect(CONNACK).await.body[1]
    }

    async fn dial(
        &self,
        tls: &'static SupportedProtocolVersion,
        own: &Identity,
    ) -> Link<TlsStream<TcpStream>> {
        self.try_dial(self.client(tls, Some(own))).await.unwrap()
    }

    async fn try_dial(&self, client: Arc<ClientConfig>) -> std::io::Result<Link<TlsStream<TcpStream>>> {
        Ok(Link::over(self.stream(client).await?, V3_1_1))
    }

    async fn stream(&self, client: Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.platform.tls_address.unwrap()).await?;
        stream.set_nodelay(true)?;
        TlsConnector::from(client).connect(ServerName::try_from("localhost").unwrap(), stream).await
    }

    fn client(&self, tls: &'static SupportedProtocolVersion, own: Option<&Identity>) -> Arc<ClientConfig> {
        self.client_with(tls, own, Resumption::disabled())
    }

    fn client_with(
        &self,
        tls: &'static SupportedProtocolVersion,
        own: Option<&Identity>,
        resumption: Resumption,
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[tls])
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match own {
            Some(own) => config.with_client_cert_resolver(Arc::new(Presents(own.certified()))),
            None => config.with_no_client_auth(),
        };
        config.resumption = resumption;
        Arc::new(config)
    }
}

/// What a device holds.
pub struct Identity {
    /// Its own certificate first.
    chain: Vec<CertificateDer<'static>>,
    key: Arc<dyn SigningKey>,
}

impl Identity {
    fn self_signed(name: &str) -> Identity {
        Identity::of_key(name, KeyPair::generate().unwrap())
    }

    fn self_signed_until(end: time::OffsetDateTime) -> Identity {
        let (mut to, key) = (for_names(&[DEVICE]), KeyPair::generate().unwrap());
        to.not_after = end;
        Identity::of(vec![to.self_signed(&key).unwrap().der().clone()], &key)
    }

    fn of_key(name: &str, key: KeyPair) -> Identity {
        Identity::of(vec![for_names(&[name]).self_signed(&key).unwrap().der().clone()], &key)
    }

    pub fn version_1() -> Identity {
        let key = PrivateKeyDer::from_pem_file(VERSION_1).unwrap();
        let key = default_provider().key_provider.load_private_key(key).unwrap();
        Identity { chain: vec![CertificateDer::from_pem_file(VERSION_1).unwrap()], key }
    }

    fn of(chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> Identity {
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        Identity { chain, key: default_provider().key_provider.load_private_key(key).unwrap() }
    }

    pub fn sha256(&self) -> String {
        ring_hex(&ring::digest::SHA256, &self.chain[0])
    }

    fn certified(&self) -> Arc<CertifiedKey> {
        // Not looked at on the way: a thief's library would not look either.
        Arc::new(CertifiedKey::new(self.chain.clone(), self.key.clone()))
    }

    fn signing_with(&self, scheme: SignatureScheme) -> Identity {
        Identity { chain: self.chain.clone(), key: Arc::new(SignsWith { key: self.key.clone(), scheme }) }
    }
}

/// Presents its certificate to whoever asks.
#[derive(Debug)]
struct Presents(Arc<CertifiedKey>);

impl ResolvesClientCert for Presents {
    fn resolve(&self, issuers: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        assert!(issuers.is_empty(), "we name no issuers, so that nobody holds a certificate back");
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Knows one way of signing only.
#[derive(Debug)]
struct SignsWith {
    key: Arc<dyn SigningKey>,
    scheme: SignatureScheme,
}

impl SigningKey for SignsWith {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        assert!(offered.contains(&self.scheme), "{:?} is not offered", self.scheme);
        self.key.choose_scheme(&[self.scheme])
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.key.algorithm()
    }
}

/// Somebody who issues certificates, with those above.
pub struct Ca {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    above: Vec<CertificateDer<'static>>,
}

impl Ca {
    fn new(name: &str) -> Ca {
        let (to, key) = (Ca::params(name), KeyPair::generate().unwrap());
        let certificate = to.self_signed(&key).unwrap().der().clone();
        Ca { certificate, issuer: Issuer::new(to, key), above: Vec::new() }
    }

    fn intermediate(&self, name: &str) -> Ca {
        let (to, key) = (Ca::params(name), KeyPair::generate().unwrap());
        let certificate = to.signed_by(&key, &self.issuer).unwrap().der().clone();
        Ca { above: vec![certificate.clone()], certificate, issuer: Issuer::new(to, key) }
    }

    fn params(name: &str) -> CertificateParams {
        let mut params = for_names(&[name]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    }

    fn issue(&self, name: &str) -> Identity {
        self.issue_with(&[name], |_| ())
    }

    fn issue_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let (mut to, key) = (for_names(names), KeyPair::generate().unwrap());
        change(&mut to);
        let mut chain = vec![to.signed_by(&key, &self.issuer).unwrap().der().clone()];
        chain.extend(self.above.iter().cloned());
        Identity::of(chain, &key)
    }
}

/// A certificate with these common names.
fn for_names(names: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    // rcgen holds one name of a type; the same type by its number is another one to it.
    let types = [DnType::CommonName, DnType::CustomDnType(vec![2, 5, 4, 3])];
    for (name, dn_type) in names.iter().zip(types) {
        params.distinguished_name.push(dn_type, *name);
    }
    params
}
