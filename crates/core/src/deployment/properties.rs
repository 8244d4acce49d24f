//! Sentences that hold for any history of a deployment.
//!
//! A history is whatever may happen to a device: it comes and goes in ever newer sessions, is started by plans
//! that are too old, says anything at any time, is paused, stopped and deleted, and is woken too early, on time
//! and too late; under any packages, retries and timers. `the_histories_get_everywhere` shows that the sentences
//! are not empty.

use std::collections::{BTreeMap, BTreeSet};
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use otaru_proto::{PackageKind, Percent, ProgressReport, ResultCode, Version, VersionReport};
use proptest::collection;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::{
    Because, Circumstances, Deployment, Doubt, Event, Label, OutcomeKind, Say, State, Step, explain, step,
};
use crate::campaign::{PackageFacts, Policy, Retry, Timers, check_packages};
use crate::limits::RETRIES_MAX;
use crate::{Epoch, ServiceTime};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_024))]

    /// What is finished stays as it is, but for notes of what came late: the truth, or the end of a download.
    #[test]
    fn what_is_finished_stays(history in histories()) {
        history.replay(|moment| {
            if let State::Finished(_) = moment.before.state {
                let mut after = moment.step.deployment.clone();
                assert!(after.late_success >= moment.before.late_success, "a note is not taken back");
                after.late_success = moment.before.late_success;
                assert!(after.fetched >= moment.before.fetched, "nor is what was served");
                assert!(after.unfetched_success <= moment.before.unfetched_success, "a warning may be");
                (after.fetched, after.unfetched_success) =
                    (moment.before.fetched, moment.before.unfetched_success);
                assert_eq!(after, *moment.before);
                assert_eq!(moment.step.say, None);
            }
        });
    }

    /// A deployment is installed only by a message in which the device itself names the package's version: a
    /// version report in the slot that matters, or a report of success. Not by a failure, and not by 100 %.
    #[test]
    fn installed_means_that_the_device_said_so(history in histories()) {
        history.replay(|moment| {
            let became = moment.step.deployment.label();
            if moment.before.label() != became && became == Label::Finished(OutcomeKind::Installed) {
                let package = &history.packages[usize::from(moment.step.deployment.package.unwrap())];
                assert!(announces(moment.event, package), "{:?} is no proof of {package:?}", moment.event);
            }
        });
    }

    /// Who has it already was never told, and who installed it was.
    #[test]
    fn installed_is_for_those_who_were_told(history in histories()) {
        let mut told = false;
        history.replay(|moment| {
            told |= matches!(moment.step.say, Some(Say::Notice(_)));
            let label = moment.step.deployment.label();
            assert!(told || label != Label::Finished(OutcomeKind::Installed));
            assert!(!told || label != Label::Finished(OutcomeKind::AlreadyInstalled));
        });
    }

    /// The warning of a success without a complete download is for what was installed, and never beside a complete
    /// one; a new attempt begins with nothing fetched.
    #[test]
    fn what_was_served_is_known_of_its_attempt(history in histories()) {
        history.replay(|moment| {
            let after = &moment.step.deployment;
            if after.unfetched_success {
                assert!(!after.fetched && after.label() == Label::Finished(OutcomeKind::Installed));
            }
            assert!(!after.fetched || after.notices > 0);
            assert!(!after.fetched || after.attempt == moment.before.attempt);
        });
    }

    /// Delivering any event twice in a row changes nothing, and nothing is said a second time.
    #[test]
    fn twice_is_once(history in histories()) {
        history.replay(|moment| {
            let again = step(&moment.step.deployment, moment.event, moment.seen);
            assert_eq!(again.deployment, moment.step.deployment);
            assert_eq!(again.say, None);
        });
    }

    /// Waking too early changes nothing, unless the campaign was cancelled meanwhile.
    #[test]
    fn waking_too_early_changes_nothing(history in histories()) {
        history.replay(|moment| {
            let is_early = moment.before.wake_at().is_none_or(|due| moment.seen.now < due);
            if is_early && !moment.seen.cancelled {
                let woken = step(moment.before, Event::Woken, moment.seen);
                assert_eq!(woken, Step { deployment: moment.before.clone(), say: None });
            }
        });
    }

    /// Whatever is unfinished has a time at which it is looked at again, unless it waits for a person.
    #[test]
    fn nothing_waits_for_nothing(history in histories()) {
        history.replay(|moment| {
            let after = &moment.step.deployment;
            let label = after.label();
            assert_eq!(after.wake_at().is_none(), label == Label::Queued || label.is_finished());
            assert_eq!(label.is_finished(), label.state_name() == "finished");
            assert_eq!(after.underway().is_some(), label.holds_slot() && label != Label::Asked);
        });
    }

    /// A device that is being asked need not be asked later, and it is asked in one session only.
    #[test]
    fn a_question_replaces_the_time_to_ask(history in histories()) {
        history.replay(|moment| {
            if let Some(underway) = moment.step.deployment.underway() {
                assert!(underway.question.is_none() || underway.look_again.is_none());
                assert!(underway.question.is_none_or(|question| underway.linked_in == Some(question.epoch)));
            }
        });
    }

    /// From anywhere, waking at every due time and nothing else leads to an end in few steps, whether the device
    /// is there and silent or gone for ever.
    #[test]
    fn silence_comes_to_an_end(history in histories(), is_there in any::<bool>()) {
        let (mut deployment, mut world) = history.replay(|_| {});
        world.open = true;
        // Questions to others end as well; a crowd that lasts is asked about every few seconds until the end of the day.
        world.may_ask = true;
        world.reachable = is_there.then(|| world.connect());
        if deployment.label() == Label::Queued {
            deployment = step(&deployment, Event::Opened, &world.seen(&history)).deployment;
        }
        let steps_max = 10 * (history.policy.retry.count + 1);
        for _ in 0..steps_max {
            let Some(due) = deployment.wake_at() else { break };
            world.now = world.now.max(due);
            // What a plan does as soon as it has a slot.
            let event = match world.reachable.filter(|_| deployment.label() == Label::Released) {
                Some(epoch) => Event::Start { epoch },
                None => Event::Woken,
            };
            deployment = step(&deployment, event, &world.seen(&history)).deployment;
        }
        prop_assert!(deployment.label().is_finished(), "after {steps_max} steps: {deployment:?}");
    }

    /// Within one session and attempt a notice is said at most once.
    #[test]
    fn a_notice_is_said_once(history in histories()) {
        let mut told = BTreeSet::new();
        history.replay(|moment| {
            if let Some(Say::Notice(_)) = moment.step.say {
                let said_in = (moment.seen.reachable, moment.step.deployment.attempt);
                assert!(told.insert(said_in), "told twice in {said_in:?}");
            }
        });
    }

    /// Within one attempt there are at most as many notices as the policy allows, and they are counted.
    #[test]
    fn notices_are_counted(history in histories()) {
        let mut told: BTreeMap<u32, u32> = BTreeMap::new();
        history.replay(|moment| {
            let after = &moment.step.deployment;
            if let Some(Say::Notice(_)) = moment.step.say {
                *told.entry(after.attempt).or_default() += 1;
            }
            let notices = told.get(&after.attempt).copied().unwrap_or(0);
            assert_eq!(after.notices, notices);
            assert!(notices <= history.policy.notices_max);
        });
    }

    /// There are never more attempts than the retries and one, and they are counted up one by one.
    #[test]
    fn attempts_are_counted(history in histories()) {
        history.replay(|moment| {
            let (before, after) = (moment.before.attempt, moment.step.deployment.attempt);
            assert!(after == before || after == before + 1);
            assert!(after <= history.policy.retry.count + 1);
        });
    }

    /// Nothing is said to a device that cannot be reached, nor on behalf of a deployment that is not at work;
    /// a notice names the package that the deployment is remembered with.
    #[test]
    fn words_find_a_device_that_is_at_work(history in histories()) {
        history.replay(|moment| {
            let after = &moment.step.deployment;
            match moment.step.say {
                Some(Say::Notice(index)) => {
                    assert_eq!(after.label(), Label::Offered);
                    assert_eq!(after.package, Some(index));
                    assert_eq!(after.underway().map(|u| u.told_in), moment.seen.reachable);
                }
                Some(Say::AskVersion) => {
                    let question = if let State::Asked { question, .. } = &after.state {
                        Some(*question)
                    } else {
                        after.underway().and_then(|underway| underway.question)
                    };
                    assert_eq!(question.map(|q| q.epoch), moment.seen.reachable);
                    assert!(question.is_some_and(|q| q.until > moment.seen.now));
                }
                None => {}
            }
        });
    }

    /// Within one attempt progress never goes back.
    #[test]
    fn progress_never_goes_back(history in histories()) {
        history.replay(|moment| {
            let (before, after) = (moment.before, &moment.step.deployment);
            if before.attempt == after.attempt && after.label() != Label::Waiting {
                assert!(after.progress >= before.progress);
            }
        });
    }

    /// An attempt ends when it was to end at its first notice, plus one last call; no report moves that.
    #[test]
    fn no_report_moves_the_end(history in histories()) {
        history.replay(|moment| {
            let (Some(before), Some(after)) = (moment.before.underway(), moment.step.deployment.underway()) else {
                return;
            };
            if before.last_call == after.last_call {
                assert_eq!(after.until, before.until);
            } else {
                assert!(after.last_call && matches!(moment.event, Event::Woken) && moment.seen.now >= before.until);
            }
        });
    }

    /// Whatever is reached can be stored and read back.
    #[test]
    fn what_is_stored_comes_back(history in histories()) {
        history.replay(|moment| {
            let stored = serde_json::to_string(&moment.step.deployment).unwrap();
            assert_eq!(serde_json::from_str::<Deployment>(&stored).unwrap(), moment.step.deployment);
        });
    }

    /// Whatever is reached can be explained, in sentences.
    #[test]
    fn everything_can_be_explained(history in histories()) {
        history.replay(|moment| {
            for packages in [&history.packages[..], &[]] {
                let text = explain(&moment.step.deployment, packages);
                assert!(text.ends_with('.') && !text.contains("..") && !text.contains("  "), "{text}");
            }
        });
    }
}

/// The histories reach every label, every reason, every doubt and both words, so that the sentences above are
/// about something.
#[test]
fn the_histories_get_everywhere() {
    let mut reached = BTreeSet::new();
    let mut runner = TestRunner::deterministic();
    for _ in 0..4_000 {
        let history = histories().new_tree(&mut runner).unwrap().current();
        history.replay(|moment| {
            let after = &moment.step.deployment;
            reached.insert(after.label().name().to_string());
            if let State::Confirming { doubt, .. } = &after.state {
                reached.insert(format!("{doubt:?}"));
            }
            if let State::Waiting { because, .. } = &after.state {
                reached.insert(format!("waiting {}", word(because)));
            }
            if let State::Finished(outcome) = &after.state {
                reached.insert(word(&outcome.because).into());
            }
            reached.extend(moment.step.say.map(|said| match said {
                Say::AskVersion => "question".into(),
                Say::Notice(_) => format!("notice {}", after.notices),
            }));
            let special = [
                ("late success", after.late_success),
                ("fetched", after.fetched),
                ("unfetched success", after.unfetched_success),
                ("partly unseen", after.underway().is_some_and(|underway| underway.partly_unseen)),
                ("last call", after.underway().is_some_and(|underway| underway.last_call)),
                ("last attempt", after.attempt == RETRIES_MAX + 1),
            ];
            reached.extend(special.into_iter().filter(|(_, is)| *is).map(|(word, _)| word.into()));
        });
    }
    let mut wanted: BTreeSet<String> = Label::ALL.iter().map(|label| label.name().to_string()).collect();
    wanted.extend(
        [Doubt::VersionMissing, Doubt::OtherVersion, Doubt::ClaimsLatest].map(|doubt| format!("{doubt:?}")),
    );
    wanted.extend(
        [
            "wanted version seen",
            "never online",
            "no version answer",
            "no result",
            "code",
            "runs other",
            "source not covered",
            "busy",
            "stopped",
            "taken over",
            "device deleted",
            "waiting no version answer",
            "waiting no result",
            "waiting code",
            "waiting runs other",
            "question",
            "notice 1",
            "notice 2",
            "notice 3",
            "late success",
            "fetched",
            "unfetched success",
            "partly unseen",
            "last call",
            "last attempt",
        ]
        .map(String::from),
    );
    let missed: Vec<&String> = wanted.difference(&reached).collect();
    assert!(missed.is_empty(), "never reached: {missed:?}");
}

fn word(because: &Because) -> &'static str {
    match because {
        Because::WantedVersionSeen => "wanted version seen",
        Because::NeverOnline => "never online",
        Because::NoVersionAnswer => "no version answer",
        Because::NoResult => "no result",
        Because::Code(_) => "code",
        Because::RunsOther(_) => "runs other",
        Because::SourceNotCovered(_) => "source not covered",
        Because::Busy => "busy",
        Because::Stopped => "stopped",
        Because::TakenOver => "taken over",
        Because::DeviceDeleted => "device deleted",
    }
}

/// Whether the device names the package's version in this message, as something it runs.
fn announces(event: Event<'_>, package: &PackageFacts) -> bool {
    let named = match event {
        Event::VersionReported(report) => match package.kind {
            PackageKind::Firmware => report.fw_version.as_ref(),
            PackageKind::Software => report.sw_version.as_ref(),
        },
        Event::Progressed(report) => {
            let complete =
                report.progress.map_or(!report.progress_unusable, |percent| percent == Percent::FULL);
            report.version.as_ref().filter(|_| report.code.to_wire() == 0 && complete)
        }
        Event::Opened
        | Event::Retried
        | Event::Start { .. }
        | Event::Reconnected { .. }
        | Event::LinkLost
        | Event::Fetched { .. }
        | Event::Woken
        | Event::Cancelled
        | Event::Superseded
        | Event::Conflicted
        | Event::Removed => None,
    };
    named.is_some_and(|version| version.as_str() == package.version)
}

// --- Histories ---------------------------------------------------------------------------------------------

/// Everything that happens to one deployment.
#[derive(Clone, Debug)]
struct History {
    packages: Vec<PackageFacts>,
    policy: Policy,
    /// What happens, and how many milliseconds after the act before.
    acts: Vec<(i64, Act)>,
}

/// One thing that happens in the world.
#[derive(Clone, Debug)]
enum Act {
    Opens,
    Retries,
    /// The device connects, in a session newer than all before.
    Connects,
    /// The device connects and nobody hears of it.
    Appears,
    /// The present connection is made known once more.
    IsStillConnected,
    /// A connection of long ago is made known.
    WasConnected(i64),
    Disconnects,
    /// The device is gone and nobody hears of it.
    Vanishes,
    /// The loss of a link is made known that was replaced since.
    WasDisconnected,
    /// The plan lets the device go in its present session.
    Starts,
    /// A plan from long ago lets the device go.
    StartsLate(i64),
    Says(VersionReport),
    Reports(ProgressReport),
    Downloads,
    /// The whole package was served, in this attempt or in the one before.
    Fetches {
        in_time: bool,
    },
    /// Downloads are watched anew, from the next session on.
    Restarts,
    Pauses,
    GoesOn,
    /// The device's gateway has enough questions to answer, or has not.
    IsCrowded(bool),
    CampaignIsCancelled,
    /// A timer fires, due or not.
    IsWoken,
    /// Time passes until the next due time, and the timer fires.
    IsDue,
    IsCancelled,
    IsSuperseded,
    IsConflicted,
    IsRemoved,
}

/// One step of a replayed history.
struct Moment<'a> {
    before: &'a Deployment,
    event: Event<'a>,
    seen: &'a Circumstances<'a>,
    step: &'a Step,
}

/// What is true around the deployment.
struct World {
    now: ServiceTime,
    reachable: Option<Epoch>,
    sessions: i64,
    open: bool,
    cancelled: bool,
    last_download: Option<ServiceTime>,
    may_ask: bool,
    watched_since: Epoch,
}

impl History {
    /// Plays it from a queued deployment on, showing every step; returns where it ends.
    fn replay(&self, mut look: impl FnMut(&Moment<'_>)) -> (Deployment, World) {
        let mut world = World {
            now: ServiceTime(0),
            reachable: None,
            sessions: 0,
            open: true,
            cancelled: false,
            last_download: None,
            may_ask: true,
            watched_since: Epoch(0),
        };
        let mut deployment = Deployment::queued();
        for (pause, act) in &self.acts {
            world.now.0 += pause;
            let Some(event) = world.turn(act, &deployment) else { continue };
            let seen = world.seen(self);
            let step = step(&deployment, event, &seen);
            look(&Moment { before: &deployment, event, seen: &seen, step: &step });
            deployment = step.deployment;
        }
        (deployment, world)
    }
}

impl World {
    fn connect(&mut self) -> Epoch {
        self.sessions += 1;
        Epoch(self.sessions)
    }

    fn seen<'a>(&self, history: &'a History) -> Circumstances<'a> {
        Circumstances {
            now: self.now,
            reachable: self.reachable,
            packages: &history.packages,
            policy: &history.policy,
            open: self.open,
            cancelled: self.cancelled,
            last_download: self.last_download,
            may_ask: self.may_ask,
            watched_since: Some(self.watched_since),
        }
    }

    /// Lets it happen; returns what the deployment hears of it.
    fn turn<'a>(&mut self, act: &'a Act, deployment: &Deployment) -> Option<Event<'a>> {
        Some(match act {
            Act::Opens => Event::Opened,
            Act::Retries => Event::Retried,
            Act::Connects => {
                let epoch = self.connect();
                self.reachable = Some(epoch);
                Event::Reconnected { epoch }
            }
            Act::Appears => {
                self.reachable = Some(self.connect());
                return None;
            }
            Act::IsStillConnected => Event::Reconnected { epoch: self.reachable? },
            Act::WasConnected(epoch) => Event::Reconnected { epoch: Epoch(*epoch) },
            Act::Disconnects => {
                self.reachable = None;
                Event::LinkLost
            }
            Act::Vanishes => {
                self.reachable = None;
                return None;
            }
            Act::WasDisconnected => Event::LinkLost,
            Act::Starts => Event::Start { epoch: self.reachable? },
            Act::StartsLate(epoch) => Event::Start { epoch: Epoch(*epoch) },
            Act::Says(report) => Event::VersionReported(report),
            Act::Reports(report) => Event::Progressed(report),
            Act::Downloads => {
                self.last_download = Some(self.now);
                return None;
            }
            Act::Fetches { in_time } => Event::Fetched { attempt: deployment.attempt - u32::from(!*in_time) },
            Act::Restarts => {
                self.watched_since = Epoch(self.sessions + 1);
                return None;
            }
            Act::Pauses => {
                self.open = false;
                return None;
            }
            Act::IsCrowded(crowded) => {
                self.may_ask = !crowded;
                return None;
            }
            Act::GoesOn => {
                self.open = true;
                return None;
            }
            Act::CampaignIsCancelled => {
                self.cancelled = true;
                return None;
            }
            Act::IsWoken => Event::Woken,
            Act::IsDue => {
                self.now = self.now.max(deployment.wake_at()?);
                Event::Woken
            }
            Act::IsCancelled => Event::Cancelled,
            Act::IsSuperseded => Event::Superseded,
            Act::IsConflicted => Event::Conflicted,
            Act::IsRemoved => Event::Removed,
        })
    }
}

/// Everything is read off plain numbers, zero being the simplest: that generates and shrinks quickly.
fn histories() -> impl Strategy<Value = History> {
    let begun = 0..=BEGINNING.len();
    (any::<u64>(), any::<u64>(), begun, collection::vec(any::<u64>(), 0..128)).prop_map(
        |(packages, policy, begun, acts)| {
            let beginning = BEGINNING[..begun].iter().map(|act| (0, act()));
            let acts = acts.into_iter().map(|number| {
                let mut dice = Dice(number);
                (dice.pause(), dice.act())
            });
            History {
                packages: Dice(packages).packages(),
                policy: Dice(policy).policy(),
                acts: beginning.chain(acts).collect(),
            }
        },
    )
}

/// Most histories begin with a device that comes online and is asked; some go on with one that is told, comes
/// back and is told again.
const BEGINNING: [fn() -> Act; 7] = [
    || Act::Opens,
    || Act::Connects,
    || Act::Starts,
    || Act::Says(both(Version::as_sent("v0"))),
    || Act::Connects,
    || Act::IsDue,
    || Act::Says(both(Version::as_sent("v0"))),
];

/// What may happen, and how often it does in proportion to the others.
const ACTS: [(u64, ReadOff); 25] = [
    (14, |_| Act::IsDue),
    (3, |_| Act::IsWoken),
    (12, |dice| Act::Says(dice.version_report())),
    (10, |dice| Act::Reports(dice.progress_report())),
    (8, |_| Act::Connects),
    (1, |_| Act::Appears),
    (2, |_| Act::IsStillConnected),
    (1, |dice| Act::WasConnected(dice.below_i64(4))),
    (3, |_| Act::Disconnects),
    (1, |_| Act::Vanishes),
    (1, |_| Act::WasDisconnected),
    (10, |_| Act::Starts),
    (1, |dice| Act::StartsLate(dice.below_i64(4))),
    (2, |dice| dice.serving()),
    (1, |_| Act::Opens),
    (1, |_| Act::Retries),
    (1, |_| Act::Pauses),
    (2, |_| Act::GoesOn),
    (1, |_| Act::IsCrowded(true)),
    (2, |_| Act::IsCrowded(false)),
    (1, |_| Act::CampaignIsCancelled),
    (1, |dice| dice.seldom(Act::IsCancelled)),
    (1, |dice| dice.seldom(Act::IsSuperseded)),
    (1, |dice| dice.seldom(Act::IsConflicted)),
    (1, |dice| dice.seldom(Act::IsRemoved)),
];

type ReadOff = fn(&mut Dice) -> Act;

/// A number from which choices are read off, digit by digit.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        let thrown = self.0 % sides;
        self.0 /= sides;
        thrown
    }

    fn below_i64(&mut self, sides: i64) -> i64 {
        i64::try_from(self.below(sides.unsigned_abs())).expect("below a number of this type")
    }

    fn one_of<T: Clone>(&mut self, choices: &[T]) -> T {
        let sides = u64::try_from(choices.len()).expect("few choices");
        choices[usize::try_from(self.below(sides)).expect("below the number of choices")].clone()
    }

    fn act(&mut self) -> Act {
        let mut thrown = self.below(ACTS.iter().map(|(weight, _)| weight).sum());
        for (weight, act) in ACTS {
            if thrown < weight {
                return act(self);
            }
            thrown -= weight;
        }
        unreachable!("thrown below the sum of the weights")
    }

    /// What ends everything happens seldom.
    fn seldom(&mut self, end: Act) -> Act {
        if self.below(4) == 3 { end } else { Act::IsWoken }
    }

    fn serving(&mut self) -> Act {
        let late = Act::Fetches { in_time: false };
        let in_time = Act::Fetches { in_time: true };
        self.one_of(&[Act::Downloads, in_time.clone(), in_time, late, Act::Restarts])
    }

    /// From at once to two days.
    fn pause(&mut self) -> i64 {
        let longest = self.one_of(&[1, 1, 1, 10_000, 10_000, 10_000, 1_200_000, 1_200_000, 172_800_000]);
        self.below_i64(longest)
    }

    fn version_report(&mut self) -> VersionReport {
        let mut report = both(self.version());
        if self.below(5) == 4 {
            report.fw_version = self.version();
        }
        report
    }

    fn progress_report(&mut self) -> ProgressReport {
        let code = self.one_of(&[0, 0, 0, 0, 0, 0, 0, 0, 3, 3, 1, 7, 10, 255, 99, i64::MIN]);
        let percent = match self.below(4) {
            0 => Some(Percent::new(self.below_i64(101)).expect("below 101")),
            1 | 2 => Some(Percent::FULL),
            _ => None,
        };
        ProgressReport {
            code: ResultCode::from_wire(code),
            progress: percent,
            progress_unusable: percent.is_none() && self.below(2) == 1,
            version: self.version(),
            description: self.one_of(&[None, Some("in its own words".into())]),
        }
    }

    /// Few, so that they meet.
    fn version(&mut self) -> Option<Version> {
        Version::as_sent(self.one_of(&["v0", "v0", "v0", "v0", "v1", "v2", "v3", ""]))
    }

    fn packages(&mut self) -> Vec<PackageFacts> {
        let kind = self.one_of(&[PackageKind::Firmware, PackageKind::Software]);
        let mut packages: Vec<PackageFacts> = Vec::new();
        for number in 0..=self.below(3) {
            let sources: &[&str] = self.one_of(&[&[][..], &[], &["v0"], &["v1"], &["v0", "v2"]]);
            packages.push(PackageFacts {
                package_id: format!("package {number}"),
                product_id: "product".into(),
                kind,
                version: self.one_of(&["v1", "v2", "v3"]).into(),
                source_versions: sources.iter().map(ToString::to_string).collect(),
            });
            // What does not go together with the others is left out, as no campaign would have it.
            if check_packages(&packages).is_err() {
                packages.pop();
            }
        }
        packages
    }

    fn policy(&mut self) -> Policy {
        let count = self.one_of(&[0, 1, 2, RETRIES_MAX, RETRIES_MAX, RETRIES_MAX]);
        let retry = Retry { count, interval_secs: self.one_of(&[0, 1, 600]) };
        let notices_max = self.one_of(&[3, 1, 2, 4]);
        let timers = if self.below(3) == 2 {
            let mut millis = || 1 + self.below(100_000);
            Timers {
                online_ms: millis(),
                answer_ms: millis(),
                result_ms: millis(),
                confirm_ms: millis(),
                settle_underway_ms: millis(),
                download_quiet_ms: millis(),
            }
        } else {
            Timers::default()
        };
        Policy { retry, timers, notices_max, ..Policy::default() }
            .check()
            .expect("made inside the accepted ranges")
    }
}

fn both(version: Option<Version>) -> VersionReport {
    VersionReport { fw_version: version.clone(), sw_version: version, modules: Vec::new() }
}
