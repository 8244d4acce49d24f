//! A device in the field, as a machine without sockets: it is told what happens and answers with what it does.
//!
//! Always true:
//! - It knows the wire and nothing of the platform's rules.
//! - What it runs is the truth that the platform's words are measured against.
//! - A message that it wants acknowledged is remembered until it is; what it does with it after a lost link is its
//!   SDK's habit.
//!
//! Not here: when things happen (`run`), and what a truthful platform says of it (`model`).

use std::collections::{BTreeSet, VecDeque};

use otaru_fleet::Random;
use otaru_proto::{
    DeviceId, Downlink, FailureCode, Notice, Percent, ProgressReport, ResultCode, Version, VersionReport,
    encode_progress_report, encode_version_report,
};

/// How its upgrades go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    /// Well, and it says so.
    Succeeds,
    /// Well; the new version runs after a reboot.
    Reboots,
    /// "100 %" with the old version before the reboot, and with the new one after it, as the Java sample does.
    OldVersionFirst,
    /// Well; everything is said twice.
    SaysTwice,
    /// Well, with long pauses.
    Slow,
    /// Badly, with this code.
    Fails(FailureCode),
    /// It takes the notice and says nothing any more.
    FallsSilent,
    /// It takes the notice and is never seen again.
    Vanishes,
    /// It claims to run what nobody told it to.
    Lies,
    /// It runs what is wanted before it is told.
    HasIt,
    /// It is never switched on.
    NeverOnline,
}

/// What a device does next, when nothing else happens.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Act {
    Report { code: ResultCode, percent: Option<i64>, names: Names },
    Pause(u64),
    Install,
    Reboot(u64),
    FallSilent,
    Vanish,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Names {
    Running,
    Other,
}

/// What a device wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Does {
    /// Publish this; acknowledged under the ticket.
    Say { ticket: u16, payload: Vec<u8> },
    /// Wake it after so many milliseconds.
    Wake(u64),
    /// It is off for so many milliseconds, and comes back.
    Off(u64),
    /// It is gone for good.
    Gone,
}

/// A version that no package has.
pub const CLAIMED: &str = "0.0.0-claimed";

/// One device.
#[derive(Debug)]
pub struct Device {
    pub id: DeviceId,
    pub habit: Habit,
    /// Whether its SDK says again on the next link what was not acknowledged.
    pub says_again: bool,
    pub runs: String,
    /// Every version it ran since it was told something, and when it was told nothing, its first.
    pub ran: BTreeSet<String>,
    pub notices: u32,
    upgrade: Option<(Notice, VecDeque<Act>)>,
    is_silent: bool,
    pub is_gone: bool,
    pub is_linked: bool,
    next_ticket: u16,
    /// Said and not acknowledged, oldest first.
    unacknowledged: VecDeque<(u16, Vec<u8>)>,
    /// Numbers the wakes, so that one that is too late is told from the one that is waited for.
    pub wake: u64,
    random: Random,
}

impl Device {
    /// A device that is switched off.
    pub fn new(id: DeviceId, habit: Habit, says_again: bool, runs: &str, random: Random) -> Device {
        Device {
            id,
            habit,
            says_again,
            runs: runs.to_owned(),
            ran: BTreeSet::from([runs.to_owned()]),
            notices: 0,
            upgrade: None,
            is_silent: false,
            is_gone: habit == Habit::NeverOnline,
            is_linked: false,
            next_ticket: 1,
            unacknowledged: VecDeque::new(),
            wake: 0,
            random,
        }
    }

    /// Its CONNECT was accepted.
    pub fn is_connected(&mut self) -> Vec<Does> {
        self.is_linked = true;
        if self.is_silent {
            return Vec::new();
        }
        let mut does = Vec::new();
        let open = std::mem::take(&mut self.unacknowledged);
        if self.says_again {
            for (_, payload) in open {
                does.push(self.say(payload));
            }
        }
        does.push(self.version());
        does
    }

    /// The link is lost.
    pub fn is_cut_off(&mut self) {
        self.is_linked = false;
    }

    /// A message of it is acknowledged.
    pub fn is_acknowledged(&mut self, ticket: u16) {
        self.unacknowledged.retain(|(open, _)| *open != ticket);
    }

    /// It hears something.
    pub fn hears(&mut self, downlink: &Downlink) -> Vec<Does> {
        if self.is_silent {
            return Vec::new();
        }
        match downlink {
            Downlink::VersionQuery { .. } => vec![self.version()],
            Downlink::Notice(notice) => self.is_told(notice),
        }
    }

    fn is_told(&mut self, notice: &Notice) -> Vec<Does> {
        self.notices += 1;
        match &self.upgrade {
            Some((known, _)) if known.version == notice.version => Vec::new(),
            Some((known, _)) if known.version != self.runs => {
                let busy = ResultCode::Failed(FailureCode::DeviceInUse);
                vec![self.progress(busy, None, Names::Running)]
            }
            Some(_) | None if self.runs == notice.version => vec![self.version()],
            // What it was told before runs, and was only not reported to the end.
            Some(_) | None => {
                let acts = self.acts();
                self.upgrade = Some((notice.clone(), acts));
                self.goes_on()
            }
        }
    }

    /// The pause is over.
    pub fn is_woken(&mut self, wake: u64) -> Vec<Does> {
        if wake == self.wake { self.goes_on() } else { Vec::new() }
    }

    fn goes_on(&mut self) -> Vec<Does> {
        let mut does = Vec::new();
        loop {
            let Some((notice, acts)) = &mut self.upgrade else { return does };
            let wanted = notice.version.clone();
            match acts.pop_front() {
                None => {
                    self.upgrade = None;
                    return does;
                }
                Some(Act::Report { code, percent, names }) => {
                    does.push(self.progress(code, percent, names));
                    if self.habit == Habit::SaysTwice {
                        does.push(self.progress(code, percent, names));
                    }
                }
                Some(Act::Pause(span)) => {
                    self.wake += 1;
                    does.push(Does::Wake(span));
                    return does;
                }
                Some(Act::Install) => self.runs_now(wanted),
                Some(Act::Reboot(span)) => {
                    self.runs_now(wanted);
                    self.wake += 1;
                    does.push(Does::Off(span));
                    does.push(Does::Wake(span + 1_000));
                    return does;
                }
                Some(Act::FallSilent) => {
                    self.is_silent = true;
                    self.upgrade = None;
                    self.unacknowledged.clear();
                }
                Some(Act::Vanish) => {
                    self.is_gone = true;
                    self.upgrade = None;
                    does.push(Does::Gone);
                }
            }
        }
    }

    fn runs_now(&mut self, version: String) {
        self.ran.insert(version.clone());
        self.runs = version;
    }

    fn acts(&mut self) -> VecDeque<Act> {
        let on_track = |percent| Act::Report {
            code: ResultCode::OnTrack,
            percent: Some(percent),
            names: Names::Running,
        };
        let mut pause = |most| Act::Pause(500 + self.random.below(most));
        let acts = match self.habit {
            Habit::Succeeds | Habit::SaysTwice | Habit::HasIt | Habit::NeverOnline => {
                vec![on_track(10), pause(20_000), on_track(60), pause(20_000), Act::Install, on_track(100)]
            }
            Habit::Reboots => {
                vec![on_track(10), pause(20_000), on_track(90), Act::Reboot(10_000), on_track(100)]
            }
            Habit::OldVersionFirst => {
                vec![pause(10_000), on_track(100), pause(3_000), Act::Reboot(10_000), on_track(100)]
            }
            Habit::Slow => {
                let mut acts = Vec::new();
                for percent in [5, 20, 40, 60, 80, 95] {
                    acts.extend([on_track(percent), pause(60_000)]);
                }
                acts.extend([Act::Install, on_track(100)]);
                acts
            }
            Habit::Fails(code) => {
                let failed =
                    Act::Report { code: ResultCode::Failed(code), percent: None, names: Names::Running };
                vec![on_track(10), pause(15_000), failed]
            }
            Habit::FallsSilent => vec![Act::FallSilent],
            Habit::Vanishes => vec![Act::Vanish],
            Habit::Lies => {
                let claim =
                    Act::Report { code: ResultCode::OnTrack, percent: Some(100), names: Names::Other };
                vec![on_track(50), pause(10_000), claim]
            }
        };
        acts.into()
    }

    fn version(&mut self) -> Does {
        let report = VersionReport { fw_version: Version::as_sent(&self.runs), ..VersionReport::default() };
        let payload = encode_version_report(&self.id, &report, None);
        self.say(payload)
    }

    fn progress(&mut self, code: ResultCode, percent: Option<i64>, names: Names) -> Does {
        let version = match names {
            Names::Running => Version::as_sent(&self.runs),
            Names::Other => Version::as_sent(CLAIMED),
        };
        // In its own words, so that every report is told from every other one.
        let description = Some(format!("report {} of {}", self.random.next_u64(), self.id));
        let progress = percent.and_then(|percent| Percent::new(percent).ok());
        let report = ProgressReport { code, progress, progress_unusable: false, version, description };
        let payload = encode_progress_report(&self.id, &report, None);
        self.say(payload)
    }

    fn say(&mut self, payload: Vec<u8>) -> Does {
        let ticket = self.next_ticket;
        self.next_ticket = self.next_ticket.checked_add(1).unwrap_or(1);
        // Without a link, who says nothing again has said it in vain.
        self.unacknowledged.push_back((ticket, payload.clone()));
        Does::Say { ticket, payload }
    }
}
