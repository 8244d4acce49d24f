//! Devices that speak over HTTP: heard like those on MQTT, and connected by nothing they say.

#![expect(clippy::unwrap_used, reason = "a test stops where it is surprised")]

mod support;

use std::time::Duration;

use bytes::Bytes;
use otaru_core::campaign::Policy;
use otaru_engine::{
    Auth, DeviceAuth, DeviceChange, DeviceHttpError, DeviceRequest, Page, Refusal, Settings, UplinkReading,
};
use otaru_proto::{
    DeviceId, Stamp, Version, VersionReport, decode_uplink, device_password, encode_version_report,
};
use otaru_store::{BlobStore, Store, Vault};
use support::{PEER, Platform, SECRET, WoundClock, progress_report, settings};

const A_MOMENT: Duration = Duration::from_millis(150);

#[tokio::test]
async fn while_the_store_stalls_nothing_is_answered() {
    let (platform, id, _) = Platform::with_a_device().await;
    let visitor = Visitor::of(&platform, &id).await;
    let faults = platform.faults.as_ref().unwrap();
    faults.stall();
    for payload in [version_report(&id, "v1"), b"nonsense".to_vec()] {
        let mut answer = Box::pin(visitor.says(payload));
        assert!(tokio::time::timeout(A_MOMENT, &mut answer).await.is_err(), "answered before it was stored");
        faults.resume();
        answer.await.unwrap();
        faults.stall();
    }
    faults.resume();
    assert_eq!(platform.engine.reports(id.as_str(), None, 10).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_store_that_stays_out_is_said_to_be_and_costs_no_report() {
    let (store, faults) = Store::memory_with_faults();
    let impatient = Settings { outage_patience: Duration::from_millis(100), ..settings() };
    let clock = WoundClock::new();
    let engine =
        otaru_engine::Engine::open(impatient, store, BlobStore::memory(), Vault::for_tests(), clock.clone());
    let engine = engine.await.unwrap();
    engine.ensure_admin(Some("t")).await.unwrap();
    let by = engine.operator("t").await.unwrap();
    let platform = Platform { engine, clock, faults: None, by };
    platform.product().await;
    let id = platform.register("sn1").await;
    let visitor = Visitor::of(&platform, &id).await;
    faults.fail_until_healed();
    let answers =
        tokio::join!(visitor.says(version_report(&id, "v1")), visitor.says(version_report(&id, "v1")));
    assert_eq!(answers, (Err(DeviceHttpError::Unavailable), Err(DeviceHttpError::Unavailable)));
    faults.heal();
    visitor.says(version_report(&id, "v1")).await.unwrap();
    assert_eq!(platform.engine.reports(id.as_str(), None, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_platform_that_ends_leaves_nobody_waiting() {
    let (platform, id, _) = Platform::with_a_device().await;
    let visitor = Visitor::of(&platform, &id).await;
    let visit = platform.engine.device_visit(id.as_str(), Some(&visitor.token)).await.unwrap();
    platform.engine.stop().await;
    let said = visit.says(Bytes::new(), UplinkReading::Ignored).await;
    assert_eq!(said, Err(DeviceHttpError::Unavailable));
    assert_eq!(visitor.says(version_report(&id, "v1")).await, Err(DeviceHttpError::Unavailable));
}

#[tokio::test]
async fn an_engine_that_lost_a_part_leaves_nobody_waiting() {
    let (platform, id, _) = Platform::with_a_device().await;
    let visitor = Visitor::of(&platform, &id).await;
    let visit = platform.engine.device_visit(id.as_str(), Some(&visitor.token)).await.unwrap();
    platform.clock.breaks();
    let said = visit.says(Bytes::new(), UplinkReading::Ignored).await;
    assert_eq!(said, Err(DeviceHttpError::Unavailable));
}

#[tokio::test]
async fn an_upgrade_goes_on_over_http_as_it_would_over_mqtt() {
    let (platform, id, package) = Platform::with_a_device().await;
    let campaign = platform.campaign(&package, &[&id], Policy::default()).await;
    let mut device = platform.connect(&id).await;
    device.is_told("v1").await;
    drop(device);
    let visitor = Visitor::of(&platform, &id).await;
    visitor.says(progress_report(&id, 0, 40, "v1")).await.unwrap();
    let shown = platform.deployment(&campaign, &id).await;
    assert_eq!((shown.state, shown.progress), ("running", Some(40)));
    visitor.says(version_report(&id, "v2")).await.unwrap();
    assert_eq!(platform.deployment(&campaign, &id).await.outcome, Some("installed"));
}

#[tokio::test]
async fn speaking_over_http_connects_nobody_and_takes_no_session_over() {
    let (platform, id, package) = Platform::with_a_device().await;
    let visitor = Visitor::of(&platform, &id).await;
    let campaign = platform.campaign(&package, &[&id], Policy::default()).await;
    platform.until_campaign(&campaign, "running").await;
    visitor.says(version_report(&id, "v1")).await.unwrap();
    let shown = platform.engine.device(id.as_str()).await.unwrap().unwrap();
    assert!(!shown.online);
    assert_eq!(platform.deployment(&campaign, &id).await.state, "released", "nobody to tell");

    let mut device = platform.connect(&id).await;
    device.is_told("v1").await;
    visitor.says(version_report(&id, "v1")).await.unwrap();
    assert!(device.heard_nothing_for(A_MOMENT).await, "its session is as it was");
    assert!(platform.engine.device(id.as_str()).await.unwrap().unwrap().online);
}

#[tokio::test]
async fn a_gateway_may_speak_for_its_children_and_for_nobody_else() {
    let (platform, gateway, children, _) = Platform::with_a_gateway(1).await;
    let stranger = platform.register("stranger").await;
    let visitor = Visitor::of(&platform, &gateway).await;
    visitor.says(version_report(&children[0], "v1")).await.unwrap();
    visitor.says(version_report(&stranger, "v1")).await.unwrap();
    let version = async |id: &DeviceId| {
        let shown = platform.engine.device(id.as_str()).await.unwrap().unwrap();
        shown.record.state.firmware_version
    };
    assert_eq!(version(&children[0]).await.as_deref(), Some("v1"));
    assert_eq!(version(&stranger).await, None);
}

#[tokio::test]
async fn a_device_that_tries_and_tries_fills_no_audit_log() {
    let (platform, id, _) = Platform::with_a_device().await;
    let visitor = Visitor::of(&platform, &id).await;
    let stranger = DeviceId::parse("p_other").unwrap();
    for _ in 0..40 {
        visitor.says(version_report(&stranger, "v1")).await.unwrap();
    }
    let audit = platform.engine.audit(Page { after: None, limit: 1_000 }).await.unwrap();
    assert_eq!(audit.iter().filter(|row| row.action == "foreign_child_refused").count(), 16);
}

#[tokio::test]
async fn a_token_ends_with_its_time_and_with_what_it_was_given_for() {
    let (platform, id, _) = Platform::with_a_device().await;
    let engine = &platform.engine;
    let change = async |change| engine.patch_device(&platform.by, id.as_str(), change).await.unwrap();

    let visitor = Visitor::of(&platform, &id).await;
    let another = Visitor::of(&platform, &id).await;
    visitor.says(version_report(&id, "v1")).await.unwrap();
    another.says(version_report(&id, "v1")).await.unwrap();
    assert_eq!(engine.device_visit(id.as_str(), None).await.err(), Some(DeviceHttpError::NoToken));
    let other = platform.register("sn2").await;
    let of_another = engine.device_visit(other.as_str(), Some(&visitor.token)).await.err();
    assert_eq!(of_another, Some(DeviceHttpError::BadToken));

    change(DeviceChange { frozen: Some(true), ..DeviceChange::default() }).await;
    assert_eq!(visitor.says(version_report(&id, "v1")).await, Err(DeviceHttpError::BadToken));
    assert_eq!(authenticate(&platform, &id).await, Err(DeviceHttpError::Refused(Refusal::Frozen)));
    change(DeviceChange { frozen: Some(false), ..DeviceChange::default() }).await;
    visitor.says(version_report(&id, "v1")).await.unwrap();

    change(DeviceChange { secret: Some(SECRET.into()), ..DeviceChange::default() }).await;
    assert_eq!(visitor.says(version_report(&id, "v1")).await, Err(DeviceHttpError::BadToken));

    let visitor = Visitor::of(&platform, &id).await;
    engine.delete_device(&platform.by, id.as_str()).await.unwrap();
    assert_eq!(visitor.says(version_report(&id, "v1")).await, Err(DeviceHttpError::BadToken));
    platform.register("sn1").await;
    assert_eq!(visitor.says(version_report(&id, "v1")).await, Err(DeviceHttpError::BadToken));

    let visitor = Visitor::of(&platform, &id).await;
    platform.clock.pass(Duration::from_secs(86_398));
    visitor.says(version_report(&id, "v1")).await.unwrap();
    platform.clock.pass(Duration::from_secs(2));
    assert_eq!(visitor.says(version_report(&id, "v1")).await, Err(DeviceHttpError::Expired));
}

#[tokio::test]
async fn a_token_that_is_withdrawn_while_its_device_speaks_is_worth_nothing() {
    let (platform, id, _) = Platform::with_a_device().await;
    let other = platform.register("sn2").await;
    let freeze = async |id: &DeviceId| {
        let change = DeviceChange { frozen: Some(true), ..DeviceChange::default() };
        platform.engine.patch_device(&platform.by, id.as_str(), change).await.unwrap();
    };
    let begin = async |visitor: &Visitor<'_>| {
        platform.engine.device_visit(id.as_str(), Some(&visitor.token)).await.unwrap()
    };
    let visitor = Visitor::of(&platform, &id).await;
    let (first, second) = (begin(&visitor).await, begin(&visitor).await);
    freeze(&other).await;
    first.says(Bytes::new(), UplinkReading::Ignored).await.unwrap();
    freeze(&id).await;
    let said = second.says(Bytes::new(), UplinkReading::Ignored).await;
    assert_eq!(said, Err(DeviceHttpError::BadToken));
}

#[tokio::test]
async fn a_device_that_is_refused_is_shown_until_it_gets_in() {
    let (platform, id, _) = Platform::with_a_device().await;
    let refused = with_secret(&platform, &id, "another").await;
    assert_eq!(refused, Err(DeviceHttpError::Refused(Refusal::WrongPassword)));
    let shown = platform.engine.refused_connections();
    assert_eq!((shown[0].name.as_str(), shown[0].code), (id.as_str(), "wrong_password"));
    authenticate(&platform, &id).await.unwrap();
    assert!(platform.engine.refused_connections().is_empty());
}

#[tokio::test]
async fn a_child_without_a_secret_has_no_token() {
    let (platform, gateway, _, _) = Platform::with_a_gateway(0).await;
    let request = DeviceRequest {
        node_id: "child".into(),
        product_id: "p".into(),
        gateway_id: Some(gateway.to_string()),
        ..DeviceRequest::default()
    };
    let child = platform.engine.register_device(&platform.by, request).await.unwrap().record.row.device_id;
    let refused = authenticate(&platform, &child).await;
    assert_eq!(refused, Err(DeviceHttpError::Refused(Refusal::WrongPassword)));
}

#[tokio::test]
async fn who_guesses_does_not_learn_which_devices_there_are_and_which_have_certificates() {
    let (platform, id, _) = Platform::with_a_device().await;
    let request = DeviceRequest {
        node_id: "proved".into(),
        product_id: "p".into(),
        auth: Auth::X509,
        fingerprint: Some("ab".repeat(32)),
        ..DeviceRequest::default()
    };
    let with_certificate = platform.engine.register_device(&platform.by, request).await.unwrap();
    let with_certificate = with_certificate.record.row.device_id;
    let nobody = DeviceId::parse("nobody").unwrap();
    let mut answers = Vec::new();
    for id in [&id, &with_certificate, &nobody] {
        answers.push(with_secret(&platform, id, "guessed").await.unwrap_err().to_string());
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
}

/// A device with a token.
struct Visitor<'a> {
    platform: &'a Platform,
    id: DeviceId,
    token: String,
}

impl<'a> Visitor<'a> {
    async fn of(platform: &'a Platform, id: &DeviceId) -> Visitor<'a> {
        let token = authenticate(platform, id).await.unwrap();
        Visitor { platform, id: id.clone(), token }
    }

    /// Says it on `events/up`.
    async fn says(&self, payload: Vec<u8>) -> Result<(), DeviceHttpError> {
        let visit = self.platform.engine.device_visit(self.id.as_str(), Some(&self.token)).await?;
        let reading = UplinkReading::Event(decode_uplink(&payload));
        visit.says(Bytes::from(payload), reading).await
    }
}

async fn authenticate(platform: &Platform, id: &DeviceId) -> Result<String, DeviceHttpError> {
    with_secret(platform, id, SECRET).await
}

async fn with_secret(platform: &Platform, id: &DeviceId, secret: &str) -> Result<String, DeviceHttpError> {
    let stamp = Stamp::parse("2019120219").unwrap();
    let password = device_password(secret.as_bytes(), &stamp);
    let auth = DeviceAuth {
        device_id: id.as_str(),
        sign_type: 0,
        timestamp: stamp.as_str(),
        password: &password,
        peer: PEER.parse().unwrap(),
    };
    Ok(platform.engine.device_token(auth).await?.access_token)
}

fn version_report(id: &DeviceId, version: &str) -> Vec<u8> {
    let report = VersionReport { fw_version: Version::as_sent(version), ..VersionReport::default() };
    encode_version_report(id, &report, None)
}
