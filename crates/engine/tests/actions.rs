//! What an operator does to single deployments, or to many: stop and retry.

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use otaru_core::campaign::{Act, Policy, Selection, Slots};
use otaru_core::deployment::{Label, OutcomeKind};
use otaru_engine::{
    ActAnswer, ActError, ActResult, DeploymentFilter, DeploymentSelection, Faulty, Kind, Page,
};
use otaru_proto::DeviceId;
use support::{Device, Platform, WoundClock, settings};

const FAILED: Label = Label::Finished(OutcomeKind::Failed);
const STOPPED: Label = Label::Finished(OutcomeKind::Cancelled);

fn all() -> DeploymentSelection {
    DeploymentSelection::default()
}

fn named(ids: &[&DeviceId]) -> DeploymentSelection {
    let device_ids = Some(ids.iter().map(|id| id.to_string()).collect());
    DeploymentSelection { device_ids, ..all() }
}

fn with(labels: &[Label], codes: &[i64]) -> DeploymentSelection {
    let labels: BTreeSet<Label> = labels.iter().copied().collect();
    let codes: BTreeSet<i64> = codes.iter().copied().collect();
    let selection = Selection {
        labels: Some(labels).filter(|l| !l.is_empty()),
        codes: Some(codes).filter(|c| !c.is_empty()),
    };
    DeploymentSelection { selection, ..all() }
}

/// Who was named, what became of it, and where the latest run is.
async fn act(
    platform: &Platform,
    campaign: &str,
    what: Act,
    chosen: DeploymentSelection,
) -> Vec<(&'static str, Option<(u32, Label)>)> {
    match platform.engine.act(&platform.by, campaign, what, chosen).await.expect("it is accepted") {
        ActAnswer::Done(devices) => devices
            .into_iter()
            .map(|one| {
                (one.result.name(), one.deployment.map(|deployment| (deployment.run, deployment.label)))
            })
            .collect(),
        ActAnswer::Accepted(_) => panic!("named devices are answered one by one"),
    }
}

async fn ask(platform: &Platform, campaign: &str, what: Act, chosen: DeploymentSelection) -> u64 {
    match platform.engine.act(&platform.by, campaign, what, chosen).await.expect("it is accepted") {
        ActAnswer::Accepted(meant) => meant,
        ActAnswer::Done(_) => panic!("nobody was named"),
    }
}

async fn until_counts(platform: &Platform, campaign: &str, label: Label, wanted: u64) {
    for _ in 0..2_000 {
        if platform.counts(campaign).await.of(label) == wanted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never {wanted} {}, but {:?}", label.name(), platform.counts(campaign).await);
}

fn ids(devices: &[Device]) -> Vec<DeviceId> {
    devices.iter().map(|device| device.id.clone()).collect()
}

async fn fails(device: &mut Device, code: i64) {
    device.is_told("v1").await;
    device.report_progress(code, 0, "v1").await;
}

#[tokio::test]
async fn one_device_is_stopped_and_the_campaign_goes_on_with_the_others() {
    let (platform, mut devices, package) = Platform::with_devices(3).await;
    let who = ids(&devices);
    let campaign = platform.campaign(&package, &who.iter().collect::<Vec<_>>(), Policy::default()).await;
    for device in &mut devices[..2] {
        device.is_told("v1").await;
    }
    devices[1].report_progress(0, 100, "v2").await;
    let stranger = DeviceId::parse("p_nobody").unwrap();
    let answered = act(&platform, &campaign, Act::Stop, named(&[&who[0], &who[1], &stranger])).await;
    let installed = Label::Finished(OutcomeKind::Installed);
    let expected =
        [("stopped", Some((1, STOPPED))), ("wrong_state", Some((1, installed))), ("not_found", None)];
    assert_eq!(answered, expected);
    // Whatever the device says now, it was stopped.
    devices[0].report_progress(0, 50, "v1").await;
    assert_eq!(platform.deployment(&campaign, &who[0]).await.outcome, Some("cancelled"));
    assert_eq!(platform.state(&campaign).await, "running");
    assert_eq!(
        act(&platform, &campaign, Act::Stop, named(&[&who[0]])).await,
        [("wrong_state", Some((1, STOPPED)))]
    );
    act(&platform, &campaign, Act::Stop, named(&[&who[2]])).await;
    platform.until_campaign(&campaign, "finished").await;
}

#[tokio::test]
async fn a_slot_that_a_stop_leaves_goes_to_the_next_device() {
    let (platform, mut devices, package) = Platform::with_devices(2).await;
    let who = ids(&devices);
    let policy = Policy { slots: Slots { concurrency: Some(1) }, ..Policy::default() };
    let campaign = platform.campaign(&package, &who.iter().collect::<Vec<_>>(), policy).await;
    platform.until_campaign(&campaign, "running").await;
    until_counts(&platform, &campaign, Label::Asked, 1).await;
    let first = usize::from(platform.deployment(&campaign, &who[0]).await.state != "asked");
    act(&platform, &campaign, Act::Stop, named(&[&who[first]])).await;
    devices[1 - first].hears_question().await;
}

#[tokio::test]
async fn a_retried_device_gets_a_further_run_and_the_old_one_stays() {
    let (platform, mut devices, package) = Platform::with_devices(1).await;
    let device = &mut devices[0];
    let id = device.id.clone();
    let campaign = platform.campaign(&package, &[&id], Policy::default()).await;
    fails(device, 4).await;
    platform.until_campaign(&campaign, "finished").await;
    let first = platform.deployment(&campaign, &id).await;
    let answered = platform.engine.act(&platform.by, &campaign, Act::Retry, named(&[&id])).await.unwrap();
    let ActAnswer::Done(answered) = answered else { panic!("{answered:?}") };
    assert_eq!(answered[0].result, ActResult::Retried);
    let told = answered[0].deployment.as_ref().unwrap();
    assert_eq!((told.run, told.label), (2, Label::Released));
    assert_ne!(told.deployment_id, first.deployment_id);
    // The campaign had finished, and goes on.
    let (row, _) = platform.engine.campaign(&campaign).await.unwrap().unwrap();
    assert_eq!((row.state.name(), row.finished_at), ("running", None));
    // Said again, there is nothing to retry.
    let again = act(&platform, &campaign, Act::Retry, named(&[&id])).await;
    assert!(matches!(again[..], [("wrong_state", Some((2, _)))]), "{again:?}");
    device.is_told("v1").await;
    device.report_progress(0, 100, "v2").await;
    platform.until_campaign(&campaign, "finished").await;
    let second = platform.deployment(&campaign, &id).await;
    assert_eq!((second.run, second.outcome), (2, Some("installed")));
    assert_eq!(second.deployment_id, told.deployment_id);
    let counts = platform.counts(&campaign).await;
    assert_eq!((counts.total(), counts.of(Label::Finished(OutcomeKind::Installed))), (1, 1));
    let history = platform.engine.explain(id.as_str()).await.unwrap().deployments;
    let outcomes: Vec<_> = history.iter().map(|one| (one.deployment_id.clone(), one.outcome)).collect();
    assert_eq!(outcomes, [(second.deployment_id, Some("installed")), (first.deployment_id, Some("failed"))]);
    assert_eq!(
        act(&platform, &campaign, Act::Retry, named(&[&id])).await[0].0,
        "wrong_state",
        "it succeeded"
    );
}

#[tokio::test]
async fn what_failed_with_a_code_is_retried_and_nothing_else() {
    let (platform, mut devices, package) = Platform::with_devices(4).await;
    let who = ids(&devices);
    let campaign = platform.campaign(&package, &who.iter().collect::<Vec<_>>(), Policy::default()).await;
    for (device, code) in devices.iter_mut().zip([4, 5, 4]) {
        fails(device, code).await;
    }
    devices[3].is_told("v1").await;
    devices[3].report_progress(0, 100, "v2").await;
    platform.until_campaign(&campaign, "finished").await;
    assert_eq!(
        ask(&platform, &campaign, Act::Retry, with(&[FAILED], &[4])).await,
        3,
        "at most: codes are not counted"
    );
    for at in [0, 2] {
        devices[at].is_told("v1").await;
        devices[at].report_progress(0, 100, "v2").await;
    }
    platform.until_campaign(&campaign, "finished").await;
    let runs: Vec<u32> = {
        let mut runs = Vec::new();
        for id in &who {
            runs.push(platform.deployment(&campaign, id).await.run);
        }
        runs
    };
    assert_eq!(runs, [2, 1, 2, 1]);
    // Beside names, the rest has to hold as well.
    let mut both = named(&[&who[0], &who[1], &who[3]]);
    both.selection = with(&[], &[5]).selection;
    let answered = act(&platform, &campaign, Act::Retry, both).await;
    assert_eq!(
        answered.iter().map(|(result, _)| *result).collect::<Vec<_>>(),
        ["not_selected", "retried", "not_selected"]
    );
}

#[tokio::test]
async fn what_was_asked_of_many_goes_on_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let clock = WoundClock::new();
    let platform = Platform::on_disk(dir.path(), settings(), clock.clone()).await;
    platform.product().await;
    let package = platform.package("v2", &[]).await;
    let mut who = Vec::new();
    for number in 0..1_200 {
        who.push(platform.register(&format!("sn{number}")).await);
    }
    let campaign = platform.campaign(&package, &who.iter().collect::<Vec<_>>(), Policy::default()).await;
    platform.until_campaign(&campaign, "running").await;
    assert_eq!(ask(&platform, &campaign, Act::Stop, all()).await, 1_200);
    ask(&platform, &campaign, Act::Retry, with(&[STOPPED], &[])).await;
    // However far it has come: the rest is done by the next run, in the order in which it was asked.
    platform.engine.stop().await;
    drop(platform);
    let platform = Platform::on_disk(dir.path(), settings(), clock).await;
    until_counts(&platform, &campaign, Label::Released, 1_200).await;
    let page = Page { after: None, limit: 2_000 };
    let (shown, _) = platform.engine.deployments(&campaign, DeploymentFilter::default(), page).await.unwrap();
    assert_eq!(shown.len(), 1_200);
    assert!(shown.iter().all(|one| one.run == 2), "each was stopped once, and retried once");
    assert_eq!(platform.counts(&campaign).await.total(), 1_200);
    assert_eq!(platform.state(&campaign).await, "running");
}

#[tokio::test]
async fn a_retried_child_is_asked_through_its_gateway() {
    let (platform, gateway, children, package) = Platform::with_a_gateway(2).await;
    let campaign = platform.campaign(&package, &children.iter().collect::<Vec<_>>(), Policy::default()).await;
    platform.until_campaign(&campaign, "running").await;
    ask(&platform, &campaign, Act::Stop, all()).await;
    platform.until_campaign(&campaign, "finished").await;
    let mut gateway = platform.connect(&gateway).await;
    assert!(gateway.heard_nothing_for(Duration::from_millis(50)).await);
    act(&platform, &campaign, Act::Retry, named(&[&children[1]])).await;
    assert_eq!(gateway.hears_about().await.0, children[1]);
    ask(&platform, &campaign, Act::Retry, all()).await;
    assert_eq!(gateway.hears_about().await.0, children[0]);
}

#[tokio::test]
async fn a_draft_is_stopped_and_retried_device_by_device_and_waits_for_its_start() {
    let (platform, id, package) = Platform::with_a_device().await;
    let campaign = platform.draft(&package, &[&id]).await;
    platform.until_campaign(&campaign, "draft").await;
    assert_eq!(act(&platform, &campaign, Act::Stop, named(&[&id])).await, [("stopped", Some((1, STOPPED)))]);
    assert_eq!(platform.state(&campaign).await, "draft");
    let again = act(&platform, &campaign, Act::Retry, named(&[&id])).await;
    assert_eq!(again, [("retried", Some((2, Label::Queued)))]);
    let mut device = platform.connect(&id).await;
    platform.engine.start_campaign(&platform.by, &campaign).await.unwrap();
    device.is_told("v1").await;
}

#[tokio::test]
async fn what_needs_confirmation_waits_for_a_person_and_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let clock = WoundClock::new();
    let platform = Platform::on_disk(dir.path(), settings(), clock.clone()).await;
    platform.product().await;
    let package = platform.package("v2", &[]).await;
    let who =
        [platform.register("sn0").await, platform.register("sn1").await, platform.register("sn2").await];
    let policy = Policy { need_confirm: true, ..Policy::default() };
    let campaign = platform.campaign(&package, &who.iter().collect::<Vec<_>>(), policy).await;
    platform.until_campaign(&campaign, "running").await;
    assert_eq!(platform.counts(&campaign).await.of(Label::Queued), 3);
    let mut first = platform.connect(&who[0]).await;
    assert!(first.heard_nothing_for(Duration::from_millis(50)).await);
    let why = platform.engine.explain(who[0].as_str()).await.unwrap().deployments;
    assert_eq!(why[0].held_back.as_ref().map(|held| held.reason), Some("unconfirmed"));
    let confirmed = act(&platform, &campaign, Act::Confirm, named(&[&who[0]])).await;
    assert_eq!(confirmed, [("confirmed", Some((1, Label::Released)))]);
    first.is_told("v1").await;
    let again = act(&platform, &campaign, Act::Confirm, named(&[&who[0]])).await;
    assert_eq!(again, [("wrong_state", Some((1, Label::Offered)))]);
    // Neither the time nor a restart confirms anything, nor does a pause.
    platform.engine.pause_campaign(&platform.by, &campaign).await.unwrap();
    platform.engine.resume_campaign(&platform.by, &campaign).await.unwrap();
    clock.pass(Duration::from_secs(30 * 3_600));
    first.report_progress(0, 100, "v2").await;
    platform.engine.stop().await;
    drop((platform, first));
    let platform = Platform::on_disk(dir.path(), settings(), clock).await;
    let mut second = platform.connect(&who[1]).await;
    assert!(second.heard_nothing_for(Duration::from_millis(50)).await);
    assert_eq!(platform.counts(&campaign).await.of(Label::Queued), 2);
    // A retry waits like the others.
    act(&platform, &campaign, Act::Stop, named(&[&who[2]])).await;
    let retried = act(&platform, &campaign, Act::Retry, named(&[&who[2]])).await;
    assert_eq!(retried, [("retried", Some((2, Label::Queued)))]);
    assert_eq!(ask(&platform, &campaign, Act::Confirm, all()).await, 2);
    second.is_told("v1").await;
    platform.until(&campaign, &who[2], "released").await;
}

#[tokio::test]
async fn nothing_is_confirmed_before_the_start() {
    let (platform, id, package) = Platform::with_a_device().await;
    let campaign = platform.draft(&package, &[&id]).await;
    platform.until_campaign(&campaign, "draft").await;
    for chosen in [all(), named(&[&id])] {
        let refused = platform.engine.act(&platform.by, &campaign, Act::Confirm, chosen).await.unwrap_err();
        assert!(
            refused.to_string().contains("is draft; only a campaign that is started and not finished"),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn a_cancelled_campaign_stays_so_and_a_finished_one_has_nothing_to_stop() {
    let (platform, id, package) = Platform::with_a_device().await;
    let cancelled = platform.campaign(&package, &[&id], Policy::default()).await;
    platform.engine.cancel_campaign(&platform.by, &cancelled).await.unwrap();
    let finished = platform.campaign(&package, &[&id], Policy::default()).await;
    platform.until_campaign(&finished, "running").await;
    act(&platform, &finished, Act::Stop, named(&[&id])).await;
    platform.until_campaign(&finished, "finished").await;
    for (campaign, what, words) in [
        (&cancelled, Act::Stop, "is cancelled; only a campaign that is not finished can be stopped"),
        (&cancelled, Act::Retry, "is cancelled; only a campaign that is not cancelled can be retried"),
        (&finished, Act::Stop, "is finished; only a campaign that is not finished can be stopped"),
    ] {
        for chosen in [all(), named(&[&id])] {
            let refused = platform.engine.act(&platform.by, campaign, what, chosen).await.unwrap_err();
            assert_eq!((refused.code(), refused.kind()), ("wrong_state", Kind::Conflict));
            assert!(refused.to_string().contains(words), "{refused}");
        }
    }
}

#[tokio::test]
async fn a_device_that_was_deleted_is_not_retried() {
    let (platform, devices, package) = Platform::with_devices(2).await;
    let who = ids(&devices);
    let campaign = platform.campaign(&package, &who.iter().collect::<Vec<_>>(), Policy::default()).await;
    platform.until_campaign(&campaign, "running").await;
    ask(&platform, &campaign, Act::Stop, all()).await;
    platform.until_campaign(&campaign, "finished").await;
    platform.engine.delete_device(&platform.by, who[0].as_str()).await.unwrap();
    assert_eq!(act(&platform, &campaign, Act::Retry, named(&[&who[0]])).await, [("not_found", None)]);
    ask(&platform, &campaign, Act::Retry, all()).await;
    platform.until(&campaign, &who[1], "asked").await;
    assert_eq!(platform.deployment(&campaign, &who[0]).await.run, 1);
}

#[tokio::test]
async fn too_many_names_and_too_many_wishes_are_refused() {
    let (platform, id, package) = Platform::with_a_device().await;
    let campaign = platform.campaign(&package, &[&id], Policy::default()).await;
    platform.until_campaign(&campaign, "running").await;
    let refused =
        async |chosen| platform.engine.act(&platform.by, &campaign, Act::Stop, chosen).await.unwrap_err();
    let none = DeploymentSelection { device_ids: Some(Vec::new()), ..all() };
    assert!(matches!(refused(none).await, ActError::NoDevices));
    let many = DeploymentSelection { device_ids: Some(vec![id.to_string(); 30_001]), ..all() };
    assert!(matches!(refused(many).await, ActError::TooManyDevices(30_001)));
    let unknown = platform.engine.act(&platform.by, "none", Act::Stop, all()).await.unwrap_err();
    assert_eq!(unknown.kind(), Kind::NotFound);
    // Every write is answered after a while, so that more is asked than is done.
    platform.faults.as_ref().unwrap().slow(Duration::from_millis(20), 7);
    let wish = || platform.engine.act(&platform.by, &campaign, Act::Stop, with(&[Label::Running], &[]));
    let answers = futures_util::future::join_all((0..100).map(|_| wish())).await;
    let refused: Vec<_> = answers.into_iter().filter_map(Result::err).collect();
    assert!(
        !refused.is_empty() && refused.iter().all(|error| error.code() == "too_many_actions"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn whoever_did_it_is_in_the_audit_log() {
    let (platform, id, package) = Platform::with_a_device().await;
    let other = platform.register("sn2").await;
    let campaign = platform.campaign(&package, &[&id, &other], Policy::default()).await;
    platform.until_campaign(&campaign, "running").await;
    act(&platform, &campaign, Act::Stop, named(&[&id])).await;
    act(&platform, &campaign, Act::Stop, named(&[&id])).await;
    ask(&platform, &campaign, Act::Retry, all()).await;
    let log = platform.engine.audit(Page { after: None, limit: 100 }).await.unwrap();
    let lines: Vec<&str> = log
        .iter()
        .filter(|line| line.subject == campaign && line.actor == platform.by.actor.name)
        .map(|line| line.action.as_str())
        .filter(|action| action.starts_with("deployments_"))
        .collect();
    let mut sorted = lines.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, ["deployments_retried", "deployments_stopped"], "what changes nothing leaves no line");
}
