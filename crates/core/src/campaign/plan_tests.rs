//! Who goes next, and why the others do not.

use std::collections::BTreeSet;
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use proptest::collection;
use proptest::prelude::*;

use super::plan::{CampaignFacts, Candidate, HeldBack, Plan, plan};
use super::{CampaignState, OnConflict, Policy, Slots};
use crate::deployment::{Because, Doubt, Outcome, OutcomeKind, Question, State, Underway};
use crate::{Epoch, ServiceTime, WallTime};

// --- One device --------------------------------------------------------------------------------------------

#[test]
fn a_device_that_may_go_and_can_be_reached_goes() {
    assert_eq!(verdict(&running(), &ready("a")), "start");
}

#[test]
fn a_device_that_cannot_be_reached_is_waited_for() {
    assert_eq!(verdict(&running(), &offline("a")), "held back: offline until 25");
}

#[test]
fn before_its_wave_opens_a_device_waits_and_before_the_start_all_do() {
    let queued = in_state(&QUEUED);
    assert_eq!(verdict(&running(), &queued), "held back: wave not open");
    assert_eq!(
        verdict(&Campaign { started: false, state: CampaignState::Draft, ..running() }, &queued),
        "held back: not started"
    );
    for state in [CampaignState::Draft, CampaignState::Scheduled, CampaignState::Preparing] {
        assert_eq!(
            verdict(&Campaign { started: false, state, ..running() }, &ready("a")),
            "held back: not started"
        );
    }
}

#[test]
fn before_a_campaign_starts_by_itself_the_reason_says_when() {
    let later = Campaign { started: false, start_at: Some(WallTime(99)), ..running() };
    for state in [CampaignState::Scheduled, CampaignState::Preparing] {
        for candidate in [in_state(&QUEUED), ready("a")] {
            assert_eq!(
                verdict(&Campaign { state, ..later.clone() }, &candidate),
                "held back: scheduled for 99"
            );
        }
    }
    assert_eq!(verdict(&Campaign { started: true, ..later }, &ready("a")), "start", "its time has come");
}

#[test]
fn what_has_to_be_confirmed_waits_for_a_person_once_the_campaign_has_started() {
    let policy = Policy { need_confirm: true, ..Policy::default() };
    let campaign = Campaign { policy, ..running() };
    assert_eq!(verdict(&campaign, &in_state(&QUEUED)), "held back: unconfirmed");
    assert_eq!(verdict(&campaign, &ready("a")), "start", "confirmed");
    let draft = Campaign { started: false, state: CampaignState::Draft, ..campaign };
    assert_eq!(verdict(&draft, &in_state(&QUEUED)), "held back: not started");
}

#[test]
fn a_campaign_that_was_started_need_not_be_prepared_to_the_last_device() {
    assert_eq!(verdict(&Campaign { state: CampaignState::Preparing, ..running() }, &ready("a")), "start");
}

#[test]
fn a_campaign_in_gateway_mode_is_prepared_to_the_last_device_before_one_goes() {
    let preparing = Campaign { state: CampaignState::Preparing, ..running() };
    let policy = Policy { gateway_mode: true, ..preparing.policy.clone() };
    let counting = Campaign { policy, ..preparing };
    assert_eq!(verdict(&counting, &ready("a")), "held back: counting children");
    assert_eq!(
        verdict(&Campaign { started: false, ..counting.clone() }, &ready("a")),
        "held back: not started"
    );
    assert_eq!(verdict(&Campaign { state: CampaignState::Running, ..counting }, &ready("a")), "start");
}

#[test]
fn a_paused_campaign_lets_nobody_go() {
    let paused = Campaign { state: CampaignState::Paused, ..running() };
    assert_eq!(verdict(&paused, &ready("a")), "held back: paused");
    assert_eq!(verdict(&paused, &offline("a")), "held back: paused");
}

#[test]
fn a_pause_ends_no_deployment_as_a_conflict_and_takes_no_device_over() {
    for on_conflict in [OnConflict::Hold, OnConflict::Fail, OnConflict::Supersede] {
        let paused = Campaign { state: CampaignState::Paused, ..running() }.on_conflict(on_conflict);
        assert_eq!(verdict(&paused, &busy("a")), "held back: paused");
    }
}

#[test]
fn a_campaign_that_has_ended_starts_nothing() {
    for state in [CampaignState::Finished, CampaignState::Cancelled] {
        assert_eq!(verdict(&Campaign { state, ..running() }, &ready("a")), "held back: nothing to start");
    }
}

#[test]
fn without_the_packages_bytes_nobody_goes() {
    let unready = Campaign { packages_ready: false, ..running() };
    assert_eq!(verdict(&unready, &ready("a")), "held back: package not ready");
    assert_eq!(verdict(&unready.on_conflict(OnConflict::Fail), &busy("a")), "held back: package not ready");
}

#[test]
fn a_device_between_attempts_waits_for_its_time() {
    let waiting = State::Waiting { until: ServiceTime(30), because: Because::NoResult };
    assert_eq!(verdict(&running(), &in_state(&waiting)), "held back: awaiting retry until 30");
}

#[test]
fn a_device_at_work_or_done_is_not_started() {
    let underway = Underway {
        told_in: Epoch(1),
        until: ServiceTime(24),
        last_call: false,
        question: None,
        look_again: None,
        linked_in: Some(Epoch(1)),
        partly_unseen: false,
    };
    for state in [
        State::Asked {
            question: Question { epoch: Epoch(1), until: ServiceTime(3), times: 1 },
            released_until: ServiceTime(25),
        },
        State::Offered(underway),
        State::Running(underway),
        State::Confirming { doubt: Doubt::OtherVersion, underway },
        State::Finished(Outcome { kind: OutcomeKind::Installed, because: Because::WantedVersionSeen }),
    ] {
        assert_eq!(verdict(&running(), &in_state(&state)), "held back: nothing to start");
    }
}

// --- Busy devices ------------------------------------------------------------------------------------------

#[test]
fn a_busy_device_waits_fails_or_is_taken_over_as_the_policy_says() {
    assert_eq!(verdict(&running().on_conflict(OnConflict::Hold), &busy("a")), "held back: busy with another");
    assert_eq!(verdict(&running().on_conflict(OnConflict::Fail), &busy("a")), "conflict");
    assert_eq!(verdict(&running().on_conflict(OnConflict::Supersede), &busy("a")), "supersede, then start");
}

#[test]
fn a_busy_device_that_cannot_be_reached_is_waited_for_first() {
    let gone = Candidate { reachable: false, ..busy("a") };
    for on_conflict in [OnConflict::Hold, OnConflict::Fail, OnConflict::Supersede] {
        assert_eq!(verdict(&running().on_conflict(on_conflict), &gone), "held back: offline until 25");
    }
}

// --- Slots -------------------------------------------------------------------------------------------------

#[test]
fn slots_go_to_the_first_that_can_use_them() {
    assert_eq!(
        verdicts(&running().at_once(2), &[offline("a"), ready("b"), ready("c"), ready("d"), offline("e")]),
        [
            "a: held back: offline until 25",
            "b: start",
            "c: start",
            "d: held back: too many at once, 2 are allowed",
            "e: held back: offline until 25",
        ]
    );
}

#[test]
fn devices_at_work_already_hold_their_slots() {
    let two_at_work = Campaign { slots_held: 2, ..running().at_once(3) };
    assert_eq!(
        verdicts(&two_at_work, &[ready("a"), ready("b")]),
        ["a: start", "b: held back: too many at once, 3 are allowed"]
    );
}

#[test]
fn more_at_work_than_allowed_starts_nobody_and_is_no_accident() {
    let five_at_work = Campaign { slots_held: 5, ..running().at_once(3) };
    assert_eq!(verdict(&five_at_work, &ready("a")), "held back: too many at once, 3 are allowed");
}

#[test]
fn without_a_limit_everybody_goes() {
    let many_at_work = Campaign { slots_held: 1_000_000, ..running() };
    assert_eq!(verdicts(&many_at_work, &[ready("a"), ready("b")]), ["a: start", "b: start"]);
}

#[test]
fn nobody_is_taken_over_for_a_device_without_a_slot() {
    assert_eq!(
        verdicts(&running().at_once(1).on_conflict(OnConflict::Supersede), &[busy("a"), busy("b")]),
        ["a: supersede, then start", "b: held back: too many at once, 1 are allowed"]
    );
}

#[test]
fn held_and_failed_devices_take_no_slot() {
    for on_conflict in [OnConflict::Hold, OnConflict::Fail] {
        let plan =
            plan(&running().at_once(1).on_conflict(on_conflict).facts(), &[busy("a"), busy("b"), ready("c")]);
        assert_eq!(plan.start, ["c"]);
    }
}

// --- What people read --------------------------------------------------------------------------------------

#[test]
fn the_names_of_the_reasons_are_part_of_the_api() {
    let until = ServiceTime(7);
    for (reason, json) in [
        (HeldBack::NotStarted, r#"{"reason":"not_started"}"#),
        (HeldBack::Scheduled { start_at: WallTime(7) }, r#"{"reason":"scheduled","start_at":7}"#),
        (HeldBack::Paused, r#"{"reason":"paused"}"#),
        (HeldBack::Unconfirmed, r#"{"reason":"unconfirmed"}"#),
        (HeldBack::WaveNotOpen, r#"{"reason":"wave_not_open"}"#),
        (HeldBack::Offline { until }, r#"{"reason":"offline","until":7}"#),
        (HeldBack::Busy { with: "c1".into() }, r#"{"reason":"busy","with":"c1"}"#),
        (HeldBack::TooManyAtOnce { limit: 2 }, r#"{"reason":"too_many_at_once","limit":2}"#),
        (HeldBack::PackageNotReady, r#"{"reason":"package_not_ready"}"#),
        (HeldBack::AwaitingRetry { until }, r#"{"reason":"awaiting_retry","until":7}"#),
        (HeldBack::NothingToStart, r#"{"reason":"nothing_to_start"}"#),
    ] {
        assert_eq!(serde_json::to_string(&reason).unwrap(), json);
    }
}

// --- Any campaign, any devices -----------------------------------------------------------------------------

proptest! {
    /// A plan never brings more devices to work than allowed, whatever is at work already.
    #[test]
    fn no_plan_exceeds_the_limit((campaign, candidates) in anything()) {
        let plan = plan(&campaign.facts(), &candidates);
        if let Some(limit) = campaign.policy.slots.concurrency {
            let started = u64::try_from(plan.start.len()).unwrap();
            prop_assert!(started == 0 || started + campaign.slots_held <= u64::from(limit));
        }
    }

    /// Every device is in exactly one of the lists, and those who are taken over also start.
    #[test]
    fn everybody_has_one_answer((campaign, candidates) in anything()) {
        let plan = plan(&campaign.facts(), &candidates);
        let mut answered: Vec<usize> = plan.start.clone();
        answered.extend(&plan.conflict);
        answered.extend(plan.held_back.iter().map(|(device, _)| device));
        answered.sort_unstable();
        prop_assert_eq!(answered, (0..candidates.len()).collect::<Vec<_>>());
        let start: BTreeSet<usize> = plan.start.iter().copied().collect();
        prop_assert!(plan.supersede.iter().all(|device| start.contains(device)));
    }

    /// Only a device that may go, can be reached, and is free or may be taken over is started; in the order given.
    #[test]
    fn only_who_can_go_goes((campaign, candidates) in anything()) {
        let plan = plan(&campaign.facts(), &candidates);
        prop_assert!(plan.start.is_sorted());
        for device in plan.start {
            let candidate = &candidates[device];
            prop_assert_eq!(candidate.state, &RELEASED);
            prop_assert!(candidate.reachable);
            prop_assert_eq!(candidate.busy_with.is_some(), plan.supersede.contains(&device));
            prop_assert!(candidate.busy_with.is_none() || campaign.policy.on_conflict == OnConflict::Supersede);
        }
    }

    /// A slot that is free is not withheld from a device that could use it.
    #[test]
    fn no_slot_stays_free_while_somebody_could_use_it((campaign, candidates) in anything()) {
        let plan = plan(&campaign.facts(), &candidates);
        if plan.held_back.iter().any(|(_, why)| matches!(why, HeldBack::TooManyAtOnce { .. })) {
            let started = u64::try_from(plan.start.len()).unwrap();
            prop_assert!(campaign.policy.slots.concurrency.is_some_and(|limit| started + campaign.slots_held >= u64::from(limit)));
        }
    }
}

// --- The machine -------------------------------------------------------------------------------------------

/// What `CampaignFacts` borrow.
#[derive(Clone, Debug)]
struct Campaign {
    state: CampaignState,
    started: bool,
    start_at: Option<WallTime>,
    policy: Policy,
    slots_held: u64,
    packages_ready: bool,
}

impl Campaign {
    fn at_once(mut self, limit: u32) -> Campaign {
        self.policy.slots = Slots { concurrency: Some(limit) };
        self
    }

    fn on_conflict(mut self, on_conflict: OnConflict) -> Campaign {
        self.policy.on_conflict = on_conflict;
        self
    }

    fn facts(&self) -> CampaignFacts<'_> {
        CampaignFacts {
            state: self.state,
            started: self.started,
            start_at: self.start_at,
            policy: &self.policy,
            slots_held: self.slots_held,
            packages_ready: self.packages_ready,
        }
    }
}

/// Started, without limits, with its packages there.
fn running() -> Campaign {
    Campaign {
        state: CampaignState::Running,
        started: true,
        start_at: None,
        policy: Policy::default(),
        slots_held: 0,
        packages_ready: true,
    }
}

static QUEUED: State = State::Queued;
static RELEASED: State = State::Released { until: ServiceTime(25) };

fn ready<D>(device: D) -> Candidate<'static, D> {
    Candidate { device, state: &RELEASED, reachable: true, busy_with: None }
}

fn offline<D>(device: D) -> Candidate<'static, D> {
    Candidate { reachable: false, ..ready(device) }
}

fn busy<D>(device: D) -> Candidate<'static, D> {
    Candidate { busy_with: Some("another".into()), ..ready(device) }
}

fn in_state(state: &State) -> Candidate<'_, &'static str> {
    Candidate { state, ..ready("a") }
}

fn verdict(campaign: &Campaign, candidate: &Candidate<'_, &'static str>) -> String {
    let all = verdicts(campaign, core::slice::from_ref(candidate));
    all.iter().map(|verdict| verdict.trim_start_matches("a: ").to_string()).collect()
}

/// The answer for each candidate, in their order. Each is checked to be in one list only by
/// `everybody_has_one_answer`.
fn verdicts(campaign: &Campaign, candidates: &[Candidate<'_, &'static str>]) -> Vec<String> {
    let Plan { start, supersede, conflict, held_back } = plan(&campaign.facts(), candidates);
    candidates
        .iter()
        .map(|Candidate { device, .. }| {
            let held = held_back.iter().find(|(held, _)| held == device);
            let answer = if supersede.contains(device) {
                "supersede, then start".into()
            } else if start.contains(device) {
                "start".into()
            } else if conflict.contains(device) {
                "conflict".into()
            } else {
                held.map_or("forgotten".into(), |(_, why)| format!("held back: {}", reason(why)))
            };
            format!("{device}: {answer}")
        })
        .collect()
}

fn reason(why: &HeldBack) -> String {
    match why {
        HeldBack::NotStarted => "not started".into(),
        HeldBack::Scheduled { start_at } => format!("scheduled for {}", start_at.0),
        HeldBack::Paused => "paused".into(),
        HeldBack::Unconfirmed => "unconfirmed".into(),
        HeldBack::WaveNotOpen => "wave not open".into(),
        HeldBack::CountingChildren => "counting children".into(),
        HeldBack::Offline { until } => format!("offline until {}", until.0),
        HeldBack::Busy { with } => format!("busy with {with}"),
        HeldBack::TooManyAtOnce { limit } => format!("too many at once, {limit} are allowed"),
        HeldBack::PackageNotReady => "package not ready".into(),
        HeldBack::AwaitingRetry { until } => format!("awaiting retry until {}", until.0),
        HeldBack::NothingToStart => "nothing to start".into(),
    }
}

/// Mostly campaigns that let devices go, with devices that mostly could.
fn anything() -> impl Strategy<Value = (Campaign, Vec<Candidate<'static, usize>>)> {
    let campaign = (
        0..3 * CampaignState::ALL.len(),
        any::<bool>(),
        proptest::option::of(1..6_u32),
        0..8_u64,
        0..8_u8,
        0..3_usize,
    )
        .prop_map(|(state, started, concurrency, slots_held, unready, on_conflict)| Campaign {
            state: CampaignState::ALL.get(state).copied().unwrap_or(CampaignState::Running),
            started,
            start_at: None,
            policy: Policy {
                slots: Slots { concurrency },
                on_conflict: [OnConflict::Hold, OnConflict::Fail, OnConflict::Supersede][on_conflict],
                ..Policy::default()
            },
            slots_held,
            packages_ready: unready > 0,
        });
    let candidates = collection::vec((0..8_u8, any::<bool>(), any::<bool>()), 0..12).prop_map(|devices| {
        devices
            .into_iter()
            .enumerate()
            .map(|(device, (state, is_offline, is_busy))| Candidate {
                device,
                state: if state == 0 { &QUEUED } else { &RELEASED },
                reachable: !is_offline,
                busy_with: is_busy.then(|| "another".into()),
            })
            .collect()
    });
    (campaign, candidates)
}
