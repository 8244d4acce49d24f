//! Devices with a certificate: who is let in, as decided at CONNECT. Whoever calls has seen the proof of the key.

#![expect(clippy::unwrap_used, reason = "what a test relies on is said by its failing there")]

mod support;

use std::time::Duration;

use otaru_engine::{Auth, Channel, ConnectRequest, DeviceCa, DeviceChange, DeviceRequest, Refusal, Settings};
use otaru_proto::DeviceId;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls_pki_types::CertificateDer;

use support::{PEER, Platform, SECRET, settings};

const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test]
async fn the_clock_that_the_engine_was_given_says_when_a_certificate_is_too_old() {
    let (issuer, ca) = authority();
    let device_ca = DeviceCa::new(&[ca]).unwrap();
    let platform = Platform::in_memory_with(Settings { device_ca: Some(device_ca), ..settings() }).await;
    let device = register(&platform, None).await;
    let mut to = named(device.as_str());
    to.not_after = time::OffsetDateTime::now_utc() + DAY;
    let own = [to.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap().der().clone()];

    assert_eq!(connect(&platform, &device, Channel::Tls(&own)).await, Ok(()));
    platform.clock.pass(2 * DAY);
    let refused = connect(&platform, &device, Channel::Tls(&own)).await.unwrap_err();
    assert_eq!(refused.code(), "certificate_expired", "{refused}");
}

#[tokio::test]
async fn another_device_ca_counts_from_the_moment_it_is_given() {
    let [(old_issuer, old_ca), (new_issuer, new_ca)] = [authority(), authority()];
    let device_ca = DeviceCa::new(&[old_ca]).unwrap();
    let settings = Settings { device_ca: Some(device_ca.clone()), ..settings() };
    let platform = Platform::in_memory_with(settings).await;
    let device = register(&platform, None).await;
    let [of_old, of_new] = [old_issuer, new_issuer].map(|issuer| {
        let own = named(device.as_str()).signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
        [own.der().clone()]
    });
    assert_eq!(connect(&platform, &device, Channel::Tls(&of_old)).await, Ok(()));
    let refused = connect(&platform, &device, Channel::Tls(&of_new)).await.unwrap_err();
    assert_eq!(refused.code(), "certificate_not_issued", "{refused}");

    device_ca.replace(&[b"no certificate".as_slice().into()]).unwrap_err();
    assert_eq!(connect(&platform, &device, Channel::Tls(&of_old)).await, Ok(()), "nothing has changed");
    device_ca.replace(&[new_ca]).unwrap();
    assert_eq!(connect(&platform, &device, Channel::Tls(&of_new)).await, Ok(()));
    let refused = connect(&platform, &device, Channel::Tls(&of_old)).await.unwrap_err();
    assert_eq!(refused.code(), "certificate_not_issued", "{refused}");
}

#[tokio::test]
async fn a_certificate_does_not_thaw_a_frozen_device_and_a_wrong_one_does_not_tell_that_it_is_frozen() {
    let platform = Platform::in_memory().await;
    let [own, other] = [self_signed("own"), self_signed("other")];
    let device = register(&platform, Some(sha256(&own))).await;
    let frozen = DeviceChange { frozen: Some(true), ..DeviceChange::default() };
    platform.engine.patch_device(&platform.by, device.as_str(), frozen).await.unwrap();
    assert_eq!(connect(&platform, &device, Channel::Tls(&[own])).await, Err(Refusal::Frozen));
    let refused = connect(&platform, &device, Channel::Tls(&[other])).await.unwrap_err();
    assert_eq!(refused.code(), "certificate_unknown");
}

#[tokio::test]
async fn explain_says_which_certificate_came_and_which_was_expected() {
    let platform = Platform::in_memory().await;
    let [own, other] = [self_signed("own"), self_signed("other")];
    let device = register(&platform, Some(sha256(&own))).await;
    connect(&platform, &device, Channel::Tls(std::slice::from_ref(&other))).await.unwrap_err();
    let explained = platform.engine.explain(device.as_str()).await.unwrap();
    let sentences = explained.sentences.join(" ");
    assert!(sentences.contains(&sha256(&own)) && sentences.contains(&sha256(&other)), "{sentences}");
    assert_eq!(explained.refused_connection.unwrap().code, "certificate_unknown");
    connect(&platform, &device, Channel::Tls(&[own])).await.unwrap();
    assert_eq!(platform.engine.explain(device.as_str()).await.unwrap().refused_connection, None);
}

#[tokio::test]
async fn a_device_with_a_secret_is_not_let_in_by_a_certificate_and_one_with_a_certificate_not_by_a_password()
{
    let platform = Platform::in_memory().await;
    platform.product().await;
    let with_secret = platform.register("secret").await;
    let own = [self_signed("own")];
    let refused = connect(&platform, &with_secret, Channel::Tls(&own)).await;
    assert_eq!(refused, Err(Refusal::WrongPassword));
    platform.try_connect(&with_secret, SECRET).await.unwrap();

    let device = register_only(&platform, Some(sha256(&own[0]))).await;
    let refused = platform.try_connect(&device, SECRET).await.err().unwrap();
    assert_eq!(refused, Refusal::CertificateNeedsTls);
    assert_eq!(connect(&platform, &device, Channel::Tls(&[])).await, Err(Refusal::CertificateMissing));
}

#[tokio::test]
async fn client_id_and_user_name_have_their_rules_as_for_everybody() {
    let platform = Platform::in_memory().await;
    let own = [self_signed("own")];
    let device = register(&platform, Some(sha256(&own[0]))).await;
    for (client_id, username, code) in [
        (device.as_str(), device.as_str(), "bad_client_id"),
        ("p_sn1_0_0_2026112500", "p_sn2", "not_this_device"),
        ("p_sn2_0_0_2026112500", "p_sn2", "unknown_device"),
        ("p_sn1_0_2_2026112500", "p_sn1", "bad_client_id"),
    ] {
        let refused = connect_as(&platform, client_id, username, Channel::Tls(&own)).await.unwrap_err();
        assert_eq!(refused.code(), code, "{client_id}");
    }
}

async fn register(platform: &Platform, fingerprint: Option<String>) -> DeviceId {
    platform.product().await;
    register_only(platform, fingerprint).await
}

async fn register_only(platform: &Platform, fingerprint: Option<String>) -> DeviceId {
    let request = DeviceRequest {
        node_id: "sn1".into(),
        product_id: "p".into(),
        auth: Auth::X509,
        fingerprint,
        ..DeviceRequest::default()
    };
    platform.engine.register_device(&platform.by, request).await.unwrap().record.row.device_id
}

async fn connect(platform: &Platform, device: &DeviceId, channel: Channel<'_>) -> Result<(), Refusal> {
    connect_as(platform, &format!("{device}_0_0_2026112500"), device.as_str(), channel).await
}

async fn connect_as(
    platform: &Platform,
    client_id: &str,
    username: &str,
    channel: Channel<'_>,
) -> Result<(), Refusal> {
    let request = ConnectRequest {
        client_id,
        username: Some(username),
        password: None,
        channel,
        peer: PEER.parse().unwrap(),
        protocol: "MQTT 3.1.1",
    };
    platform.engine.connect(request).await.map(drop)
}

/// Who issues certificates, and its own one.
fn authority() -> (Issuer<'static, KeyPair>, CertificateDer<'static>) {
    let (mut ca, key) = (named("ca"), KeyPair::generate().unwrap());
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let own = ca.self_signed(&key).unwrap().der().clone();
    (Issuer::new(ca, key), own)
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn self_signed(name: &str) -> CertificateDer<'static> {
    named(name).self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
}

fn sha256(certificate: &CertificateDer<'_>) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, certificate);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
