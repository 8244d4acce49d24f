//! One device: connects, answers, upgrades as its script says, and connects again.
//!
//! Always true:
//! - A version question is answered while an upgrade goes on, unless the script fell silent.
//! - A step of an upgrade is done once; a report is done when it is acknowledged, and said again on the next link
//!   if it was not.
//! - A running upgrade survives a reboot and a lost link.
//! - A notice for what is being installed or was installed is ignored, and counted.
//! - A gateway answers for each of its children as that child's script says; what is for anybody else is counted and
//!   ignored.
//!
//! Not here: what a script does (`script`), and the packets (`link`).

mod member;
mod session;
mod upgrade;

use std::sync::Arc;
use std::time::Duration;

use otaru_proto::{DeviceId, Version};
use tokio::sync::watch;

use crate::clock;
use crate::crowd::Site;
use crate::limits::{BACK_OFF_FIRST, BACK_OFF_MAX, BACK_OFF_REFUSED};
use crate::link::{Link, Login};
use crate::random::Random;
use crate::script::{Pace, Script};
use member::Member;
use session::Parting;

/// What makes a device this device.
#[derive(Clone, Debug)]
pub struct DeviceConfig {
    /// As registered.
    pub device_id: DeviceId,
    /// As registered.
    pub secret: String,
    /// The firmware it runs when it is switched on first.
    pub firmware: Version,
    /// The application it runs; `None` says nothing about it.
    pub software: Option<Version>,
    /// How its upgrades go.
    pub script: Script,
    /// How fast it goes about them.
    pub pace: Pace,
    /// Whether it subscribes to its own events, as half of the published SDKs do.
    pub subscribes: bool,
    /// Decides its pauses.
    pub seed: u64,
    /// Who is behind it; it is a gateway if anybody is.
    pub children: Vec<Child>,
}

/// A device without a connection of its own. Its gateway hears for it and speaks for it.
///
/// It plays its script as far as that is possible without a link: it reboots without its gateway noticing, and if
/// it loses its link or vanishes, its gateway stays.
#[derive(Clone, Debug)]
pub struct Child {
    /// As registered.
    pub device_id: DeviceId,
    /// The firmware it runs at first.
    pub firmware: Version,
    /// The application it runs; `None` says nothing about it.
    pub software: Option<Version>,
    /// How its upgrades go.
    pub script: Script,
    /// How fast it goes about them.
    pub pace: Pace,
    /// Decides its pauses.
    pub seed: u64,
}

/// A device that can be switched on.
pub struct Device {
    secret: String,
    subscribes: bool,
    site: Arc<Site>,
    random: Random,
    own: Member,
    children: Vec<Member>,
}

/// Tells devices when to stop.
#[derive(Clone, Debug)]
pub struct StopSignal(watch::Receiver<bool>);

impl StopSignal {
    /// A signal and what gives it; dropping the latter gives it too.
    #[must_use]
    pub fn pair() -> (watch::Sender<bool>, StopSignal) {
        let (give, signal) = watch::channel(false);
        (give, StopSignal(signal))
    }

    /// Waits for the signal. Cancel safe.
    pub async fn given(&mut self) {
        // An error means that nobody is left to give it.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}

impl Device {
    /// A device that is switched off.
    #[must_use]
    pub fn new(config: DeviceConfig, site: Arc<Site>) -> Device {
        let DeviceConfig { device_id, secret, firmware, software, script, pace, subscribes, seed, children } =
            config;
        let children = children.into_iter().map(Member::child).collect();
        let own = Child { device_id, firmware, software, script, pace, seed };
        // Its pauses between connects are a sequence of their own.
        let random = Random::fork(seed, 1);
        Device { secret, subscribes, site, random, own: Member::itself(own), children }
    }

    /// Lives until it is told to stop or its script ends it.
    pub async fn run(mut self, mut stop: StopSignal) {
        let id = self.own.id().clone();
        if self.own.is_never_there() {
            self.own.finish(&self.site.tallies);
            return;
        }
        for child in self.children.iter_mut().filter(|child| child.is_never_there()) {
            child.finish(&self.site.tallies);
        }
        let (mut has_arrived, mut is_rejected) = (false, false);
        let mut failures = 0;
        loop {
            let linked = tokio::select! {
                biased;
                () = stop.given() => return,
                linked = self.connect() => linked,
            };
            let pause = match linked {
                Ok(mut link) => {
                    failures = 0;
                    self.site.tallies.connects.add(1);
                    self.site.tallies.arrived.add(u64::from(!has_arrived));
                    has_arrived = true;
                    self.site.tallies.connected.add(1);
                    let parting = self.session(&mut link, &mut stop).await;
                    self.site.tallies.connected.drop_one();
                    match parting {
                        Parting::Stopped => return link.close().await,
                        Parting::Vanished => return,
                        Parting::Rebooting(span) => {
                            link.close().await;
                            span
                        }
                        Parting::Dropped(span) => span,
                        Parting::Lost(error) => {
                            tracing::debug!(device_id = %id, %error, "link lost");
                            self.site.tallies.links_lost.add(1);
                            self.back_off(&mut failures)
                        }
                    }
                }
                Err(error) => {
                    tracing::debug!(device_id = %id, error = %chain(&error), "not connected");
                    let counter = match error {
                        crate::link::ConnectError::Refused { .. } => &self.site.tallies.refused,
                        crate::link::ConnectError::Net(_)
                        | crate::link::ConnectError::TimedOut
                        | crate::link::ConnectError::Link(_)
                        | crate::link::ConnectError::Login(_) => &self.site.tallies.links_lost,
                    };
                    counter.add(1);
                    if error.is_final() {
                        if !has_arrived && !is_rejected {
                            is_rejected = true;
                            let waiting =
                                self.children.iter().filter(|child| !child.is_never_there()).count();
                            self.site.tallies.rejected.add(1 + waiting as u64);
                        }
                        BACK_OFF_REFUSED
                    } else {
                        self.back_off(&mut failures)
                    }
                }
            };
            tokio::select! {
                biased;
                () = stop.given() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn connect(&mut self) -> Result<Link, crate::link::ConnectError> {
        self.site.gate.pass().await;
        // A fresh hour on each attempt.
        let login = Login::of_device(self.own.id(), &self.secret, clock::unix_ms().div_euclid(1000));
        let begin = tokio::time::Instant::now();
        let link = Link::connect(&self.site.endpoint, &login).await?;
        self.site.tallies.connecting.count(begin.elapsed());
        Ok(link)
    }

    /// Twice as long after each failure, and never two devices alike.
    fn back_off(&mut self, failures: &mut u32) -> Duration {
        let doubled = BACK_OFF_FIRST.saturating_mul(1 << (*failures).min(16));
        *failures += 1;
        self.random.about(doubled).min(BACK_OFF_MAX)
    }
}

/// An error with its causes, for one line of log.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
