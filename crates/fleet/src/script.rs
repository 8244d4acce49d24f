//! How a device's upgrades go, decided before it is switched on.
//!
//! A [`Script`] is a kind of device; [`Script::steps`] is what it does when it is told to upgrade, and
//! [`Script::ending`] what a truthful platform must then say about it.
//!
//! Always true:
//! - Every way in which a script ends is reached by what the device sends, never by what the platform is told
//!   beside it.
//! - Except for scripts that end in silence, the last step is a report.
//!
//! Not here: doing the steps (`device`).

use std::fmt;
use std::time::Duration;

use otaru_proto::{FailureCode, Percent, ResultCode};

use crate::random::Random;

/// A kind of device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Script {
    /// Downloads, verifies, installs and says so. One that reboots comes back with the new version.
    Succeeds {
        /// Whether the new version runs only after a reboot.
        reboots: bool,
    },
    /// Like the published Java sample: after the download it reports 100 % with the old version, and again with
    /// the new one when it has rebooted. Only the second is the proof.
    JavaStyle,
    /// Succeeds, in many small steps with long pauses.
    Slow,
    /// Succeeds, and says every report a second time, as devices do that do not trust an acknowledgement.
    ReportsTwice,
    /// Loses its link in the middle of the download, comes back, downloads again from the beginning and succeeds.
    DropsLink,
    /// Succeeds without a reboot. It is meant for a device with children, which has to stay to answer for them.
    Gateway,
    /// Runs the wanted version before it is told.
    AlreadyLatest,
    /// Gives up with this code, at the point where such a thing happens.
    Fails {
        /// What it reports.
        code: FailureCode,
        /// Whether the report names the version that was *not* installed, as the C and C# samples do.
        names_target: bool,
    },
    /// Takes the notice and says nothing any more, but stays connected.
    FallsSilent,
    /// Takes the notice and is never seen again.
    Vanishes,
    /// Claims to be done and names another version than it was told to install.
    Lies,
    /// Is never switched on.
    NeverOnline,
}

/// What a truthful platform must say about a device in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It announced the wanted version after it was told.
    Installed,
    /// It ran the wanted version before.
    AlreadyInstalled,
    /// It reported this failure.
    Failed(FailureCode),
    /// It was not heard of in time.
    TimedOut,
    /// It claimed success and runs something else.
    VersionMismatch,
}

/// How fast a device goes about it. Every pause of a device is about this long, see [`Random::about`].
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Between two steps.
    pub step: Duration,
    /// Switched off while rebooting.
    pub reboot: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { step: Duration::from_secs(2), reboot: Duration::from_secs(5) }
    }
}

/// One thing that a device does during an upgrade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Says how it is going; done when acknowledged.
    Report {
        /// Whether anything has gone wrong.
        code: ResultCode,
        /// How far.
        progress: Option<Percent>,
        /// Which version it names.
        names: Named,
        /// In the device's own words.
        description: &'static str,
    },
    /// Does nothing for a while.
    Pause(Duration),
    /// Downloads the package and verifies size and digest.
    Fetch,
    /// Downloads half of the package and lets go.
    FetchHalf,
    /// Runs the new version from here on.
    Install,
    /// Is off for a while, then runs the new version.
    Reboot(Duration),
    /// Loses the link without a goodbye and connects again after a while.
    DropLink(Duration),
    /// Says nothing any more.
    FallSilent,
    /// Is gone.
    Vanish,
}

/// Which version a report names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// The one that runs.
    Running,
    /// The one that was announced.
    Announced,
    /// One that nobody knows.
    Other,
}

/// The version that a liar claims to run: none that anybody would announce.
pub(crate) const CLAIMED: &str = "0.0.0-claimed";

impl Script {
    /// What a truthful platform must say in the end.
    #[must_use]
    pub fn ending(&self) -> Ending {
        match self {
            Script::Succeeds { .. }
            | Script::JavaStyle
            | Script::Slow
            | Script::ReportsTwice
            | Script::DropsLink
            | Script::Gateway => Ending::Installed,
            Script::AlreadyLatest => Ending::AlreadyInstalled,
            Script::Fails { code, .. } => Ending::Failed(*code),
            Script::FallsSilent | Script::Vanishes | Script::NeverOnline => Ending::TimedOut,
            Script::Lies => Ending::VersionMismatch,
        }
    }

    /// What the device does when it is told to upgrade.
    #[must_use]
    pub fn steps(&self, pace: Pace, random: &mut Random) -> Vec<Step> {
        let mut plan = Plan { steps: Vec::new(), pace, random };
        match self {
            Script::Succeeds { reboots } => {
                plan.at(10).fetch().at(50).pause().at(90).pause();
                if *reboots { plan.reboot() } else { plan.install() }.done(Named::Running);
            }
            Script::JavaStyle => {
                plan.fetch().done(Named::Running).pause().reboot().done(Named::Running);
            }
            Script::Slow => {
                plan.at(5).fetch();
                for percent in (10..=95).step_by(5) {
                    plan.at(percent).pause();
                }
                plan.reboot().done(Named::Running);
            }
            Script::ReportsTwice => {
                plan.at(10).fetch().at(50).pause().at(90).pause().reboot().done(Named::Running).twice();
            }
            Script::DropsLink => {
                plan.at(10).fetch_half().at(30).drop_link().fetch().at(50).pause().install();
                plan.done(Named::Running);
            }
            Script::Gateway => {
                plan.at(10).fetch().at(50).pause().at(90).pause().install().done(Named::Running);
            }
            Script::AlreadyLatest => {
                plan.fail(FailureCode::AlreadyLatest, false);
            }
            Script::Fails { code, names_target } => {
                plan.until_it_fails(*code).fail(*code, *names_target);
            }
            Script::FallsSilent => plan.steps.push(Step::FallSilent),
            Script::Vanishes => plan.steps.push(Step::Vanish),
            Script::Lies => {
                plan.at(10).fetch().at(50).pause().done(Named::Other);
            }
            Script::NeverOnline => {}
        }
        plan.steps
    }
}

/// Builds steps in the words of the story.
struct Plan<'a> {
    steps: Vec<Step>,
    pace: Pace,
    random: &'a mut Random,
}

impl Plan<'_> {
    fn at(&mut self, percent: i64) -> &mut Self {
        let progress = Some(Percent::new(percent).expect("the plans above name whole percents"));
        self.say(ResultCode::OnTrack, progress, Named::Running, "upgrade processing")
    }

    fn done(&mut self, names: Named) -> &mut Self {
        self.say(ResultCode::OnTrack, Some(Percent::FULL), names, "upgrade finished")
    }

    fn fail(&mut self, code: FailureCode, names_target: bool) -> &mut Self {
        let names = if names_target { Named::Announced } else { Named::Running };
        self.say(ResultCode::Failed(code), None, names, in_own_words(code))
    }

    fn say(
        &mut self,
        code: ResultCode,
        progress: Option<Percent>,
        names: Named,
        description: &'static str,
    ) -> &mut Self {
        self.steps.push(Step::Report { code, progress, names, description });
        self
    }

    fn pause(&mut self) -> &mut Self {
        let span = self.random.about(self.pace.step);
        self.steps.push(Step::Pause(span));
        self
    }

    fn fetch(&mut self) -> &mut Self {
        self.steps.push(Step::Fetch);
        self
    }

    fn fetch_half(&mut self) -> &mut Self {
        self.steps.push(Step::FetchHalf);
        self
    }

    fn drop_link(&mut self) -> &mut Self {
        let span = self.random.about(self.pace.step);
        self.steps.push(Step::DropLink(span));
        self
    }

    /// Every report so far is said a second time.
    fn twice(&mut self) {
        let twice = |step| {
            let times = if matches!(step, Step::Report { .. }) { 2 } else { 1 };
            std::iter::repeat_n(step, times)
        };
        self.steps = std::mem::take(&mut self.steps).into_iter().flat_map(twice).collect();
    }

    fn install(&mut self) -> &mut Self {
        self.steps.push(Step::Install);
        self
    }

    fn reboot(&mut self) -> &mut Self {
        let span = self.random.about(self.pace.reboot);
        self.steps.push(Step::Reboot(span));
        self
    }

    /// What still goes well before a device meets this failure.
    fn until_it_fails(&mut self, code: FailureCode) -> &mut Self {
        match code {
            // Known as soon as the notice is read.
            FailureCode::DeviceInUse
            | FailureCode::AlreadyLatest
            | FailureCode::LowBattery
            | FailureCode::NoStorage => self.pause(),
            // Met while downloading.
            FailureCode::PoorSignal | FailureCode::DownloadTimeout | FailureCode::NoMemory => {
                self.at(10).pause().fetch_half().at(30).pause()
            }
            // Met when looking at what was downloaded.
            FailureCode::VerifyFailed | FailureCode::UnsupportedPackage => self.at(10).fetch().at(50).pause(),
            // Met while installing.
            FailureCode::InstallFailed | FailureCode::Internal | FailureCode::Vendor(_) => {
                self.at(10).fetch().at(50).pause().at(90).pause()
            }
        }
    }
}

fn in_own_words(code: FailureCode) -> &'static str {
    match code {
        FailureCode::DeviceInUse => "somebody is using me",
        FailureCode::PoorSignal => "lost the carrier after half of it",
        FailureCode::AlreadyLatest => "nothing to do",
        FailureCode::LowBattery => "battery at 9 percent",
        FailureCode::NoStorage => "no room left on /data",
        FailureCode::DownloadTimeout => "download stood still",
        FailureCode::VerifyFailed => "digest differs from sign",
        FailureCode::UnsupportedPackage => "not a package for this board",
        FailureCode::NoMemory => "out of memory",
        FailureCode::InstallFailed => "slot b would not boot",
        FailureCode::Internal => "unexpected state",
        FailureCode::Vendor(_) => "see the maker's list of codes",
    }
}

impl Ending {
    /// The word of the outcome in the native API.
    #[must_use]
    pub fn outcome(self) -> &'static str {
        match self {
            Ending::Installed => "installed",
            Ending::AlreadyInstalled => "already_installed",
            Ending::Failed(_) => "failed",
            Ending::TimedOut => "timed_out",
            Ending::VersionMismatch => "version_mismatch",
        }
    }

    /// The result code that must be shown; `None` where the last one the device sent says nothing.
    #[must_use]
    pub fn result_code(self) -> Option<i64> {
        match self {
            Ending::Failed(code) => Some(code.to_wire()),
            Ending::Installed | Ending::AlreadyInstalled | Ending::TimedOut | Ending::VersionMismatch => None,
        }
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Script::Succeeds { reboots: true } => f.write_str("succeeds after a reboot"),
            Script::Succeeds { reboots: false } => f.write_str("succeeds"),
            Script::JavaStyle => f.write_str("succeeds, saying 100 % twice"),
            Script::Slow => f.write_str("succeeds slowly"),
            Script::ReportsTwice => f.write_str("succeeds, saying everything twice"),
            Script::DropsLink => f.write_str("succeeds after losing its link while downloading"),
            Script::Gateway => f.write_str("succeeds as a gateway"),
            Script::AlreadyLatest => f.write_str("is up to date already"),
            Script::Fails { code, names_target: false } => write!(f, "fails with code {}", code.to_wire()),
            Script::Fails { code, names_target: true } => {
                write!(f, "fails with code {}, naming the new version", code.to_wire())
            }
            Script::FallsSilent => f.write_str("falls silent"),
            Script::Vanishes => f.write_str("vanishes"),
            Script::Lies => f.write_str("lies about its version"),
            Script::NeverOnline => f.write_str("is never online"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Report { code, progress, names, .. } => {
                write!(f, "{}", code.to_wire())?;
                if let Some(progress) = progress {
                    write!(f, "/{}", progress.get())?;
                }
                f.write_str(match names {
                    Named::Running => " running",
                    Named::Announced => " announced",
                    Named::Other => " other",
                })
            }
            Step::Pause(_) => f.write_str("pause"),
            Step::Fetch => f.write_str("fetch"),
            Step::FetchHalf => f.write_str("fetch half"),
            Step::Install => f.write_str("install"),
            Step::Reboot(_) => f.write_str("reboot"),
            Step::DropLink(_) => f.write_str("drop link"),
            Step::FallSilent => f.write_str("fall silent"),
            Step::Vanish => f.write_str("vanish"),
        }
    }
}

/// Which scripts a crowd plays, and how often each.
#[derive(Clone, Debug)]
pub struct ScriptMix {
    /// What everyone plays who plays nothing else.
    pub rest: Script,
    /// Scripts with their share of the crowd, in thousandths.
    pub shares: Vec<(Script, u32)>,
}

impl ScriptMix {
    /// Gives each of `devices` a script.
    ///
    /// Every script with a share is played by at least one device as long as there are enough devices; the order
    /// is the seed's.
    #[must_use]
    pub fn cast(&self, devices: usize, random: &mut Random) -> Vec<Script> {
        let mut cast = Vec::with_capacity(devices);
        for (script, permille) in &self.shares {
            let wanted = (devices as u64 * u64::from(*permille) + 500) / 1000;
            let wanted = usize::try_from(wanted).unwrap_or(devices).max(1);
            cast.extend(std::iter::repeat_n(script, wanted.min(devices - cast.len())).cloned());
        }
        cast.resize(devices, self.rest.clone());
        random.shuffle(&mut cast);
        cast
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn story(script: &Script) -> String {
        let steps = script.steps(Pace::default(), &mut Random::seeded(1));
        steps.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }

    fn fails(code: i64) -> Script {
        let code = FailureCode::from_wire(code).expect("tests name failures");
        Script::Fails { code, names_target: false }
    }

    #[test]
    fn a_good_upgrade_ends_with_the_new_version_running() {
        assert_eq!(
            story(&Script::Succeeds { reboots: true }),
            "0/10 running, fetch, 0/50 running, pause, 0/90 running, pause, reboot, 0/100 running"
        );
        assert_eq!(
            story(&Script::Succeeds { reboots: false }),
            "0/10 running, fetch, 0/50 running, pause, 0/90 running, pause, install, 0/100 running"
        );
    }

    #[test]
    fn a_java_device_says_a_hundred_percent_before_it_installs() {
        assert_eq!(story(&Script::JavaStyle), "fetch, 0/100 running, pause, reboot, 0/100 running");
    }

    #[test]
    fn a_liar_never_installs_what_it_claims() {
        assert_eq!(story(&Script::Lies), "0/10 running, fetch, 0/50 running, pause, 0/100 other");
    }

    #[test]
    fn failures_come_where_they_happen() {
        assert_eq!(story(&fails(4)), "pause, 4 running");
        assert_eq!(story(&fails(2)), "0/10 running, pause, fetch half, 0/30 running, pause, 2 running");
        assert_eq!(story(&fails(7)), "0/10 running, fetch, 0/50 running, pause, 7 running");
        assert_eq!(
            story(&fails(10)),
            "0/10 running, fetch, 0/50 running, pause, 0/90 running, pause, 10 running"
        );
        let like_c = Script::Fails { code: FailureCode::LowBattery, names_target: true };
        assert_eq!(story(&like_c), "pause, 4 announced");
    }

    #[test]
    fn a_distrustful_device_says_every_report_twice_and_does_everything_else_once() {
        assert_eq!(
            story(&Script::ReportsTwice),
            "0/10 running, 0/10 running, fetch, 0/50 running, 0/50 running, pause, 0/90 running, 0/90 running, \
             pause, reboot, 0/100 running, 0/100 running"
        );
    }

    #[test]
    fn a_device_that_loses_its_link_downloads_again() {
        assert_eq!(
            story(&Script::DropsLink),
            "0/10 running, fetch half, 0/30 running, drop link, fetch, 0/50 running, pause, install, \
             0/100 running"
        );
    }

    #[test]
    fn silence_has_two_forms() {
        assert_eq!(story(&Script::FallsSilent), "fall silent");
        assert_eq!(story(&Script::Vanishes), "vanish");
    }

    #[test]
    fn everyone_with_a_share_is_on_stage_and_nobody_is_missing() {
        let mix = ScriptMix {
            rest: Script::Slow,
            shares: vec![(fails(4), 100), (Script::Lies, 1), (Script::NeverOnline, 20)],
        };
        let count = |cast: &[Script], script: &Script| cast.iter().filter(|one| *one == script).count();

        let cast = mix.cast(200, &mut Random::seeded(1));
        assert_eq!(cast.len(), 200);
        assert_eq!(count(&cast, &fails(4)), 20);
        assert_eq!(count(&cast, &Script::Lies), 1);
        assert_eq!(count(&cast, &Script::NeverOnline), 4);

        assert_eq!(mix.cast(2, &mut Random::seeded(1)).len(), 2);
        assert_eq!(mix.cast(0, &mut Random::seeded(1)), []);
        assert_eq!(mix.cast(50, &mut Random::seeded(5)), mix.cast(50, &mut Random::seeded(5)));
    }
}
