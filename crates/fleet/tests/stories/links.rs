//! How devices connect: TLS, refusals, crowds.

use std::sync::Arc;

use mqtt_protocol_core::mqtt::result_code::ConnectReturnCode;
use otaru_fleet::{Script, TlsTrust};
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use tokio_rustls::TlsAcceptor;

use crate::stage::{Manners, Platform, crowd, device, until};

/// An acceptor for 127.0.0.1, and the certificate it shows.
pub fn acceptor() -> (TlsAcceptor, String) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), made.cert.pem())
}

async fn secure_platform() -> (Platform, tempfile::TempDir, TlsTrust) {
    let (acceptor, pem) = acceptor();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    std::fs::write(&file, pem).unwrap();
    let platform = Platform::with(Manners::Acknowledges, ConnectReturnCode::Accepted, Some(acceptor)).await;
    (platform, dir, TlsTrust::Ca(file))
}

#[tokio::test]
async fn a_device_trusts_the_certificate_it_was_given() {
    let (mut platform, _dir, trust) = secure_platform().await;
    let mut crowd = crowd(platform.address, Some(&trust));
    crowd.add(device("lamp_1", Script::Slow));
    platform.hears(&["connected lamp_1", "version 1.4.0"]).await;
    assert_eq!(crowd.stop().await, 0);
    platform.hears(&["gone"]).await;
}

#[tokio::test]
async fn a_device_does_not_trust_another_certificate_unless_it_trusts_anyone() {
    let (mut platform, _dir, _right) = secure_platform().await;
    let (_other_platform, _other_dir, wrong) = secure_platform().await;
    let mut careful = crowd(platform.address, Some(&wrong));
    careful.add(device("lamp_1", Script::Slow));
    platform.hears(&["no handshake"]).await;
    assert_eq!(careful.tallies().connects.get(), 0);
    assert_eq!(careful.stop().await, 0);

    let mut careless = crowd(platform.address, Some(&TlsTrust::Anyone));
    careless.add(device("lamp_2", Script::Slow));
    loop {
        match platform.next().await.as_str() {
            "connected lamp_2" => break,
            again => assert_eq!(again, "no handshake"),
        }
    }
}

#[test]
fn a_file_without_a_certificate_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    std::fs::write(&file, "nothing").unwrap();
    for path in [file.clone(), dir.path().join("missing.pem")] {
        let error = TlsTrust::Ca(path.clone()).client_config().unwrap_err().to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
    }
}

#[tokio::test]
async fn a_refused_device_counts_the_refusal_and_does_not_hammer() {
    let platform =
        Platform::with(Manners::Acknowledges, ConnectReturnCode::BadUserNameOrPassword, None).await;
    let mut crowd = crowd(platform.address, None);
    crowd.add(device("lamp_1", Script::Slow));
    until(&crowd, |did| did.refused == 1).await;
    let did = crowd.tallies().now();
    assert_eq!((did.connects, did.connected, did.refused), (0, 0, 1));
    // Stopping ends the long pause at once.
    assert_eq!(crowd.stop().await, 0);
}

#[tokio::test]
async fn a_crowd_connects_and_leaves_as_one() {
    let mut platform = Platform::open(Manners::Acknowledges).await;
    let mut crowd = crowd(platform.address, None);
    for number in 0..50 {
        crowd.add(device(&format!("lamp_{number}"), Script::Slow));
    }
    until(&crowd, |did| did.connected == 50 && did.reports == 50).await;
    assert_eq!(crowd.tallies().now().connecting.count, 50);
    assert_eq!(crowd.stop().await, 0);
    let mut gone = 0;
    while gone < 50 {
        gone += usize::from(platform.next().await == "gone");
    }
}
