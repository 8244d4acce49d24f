//! One that is upgraded: the connected device itself, or a child behind it.
//!
//! Always true:
//! - Only the device itself parts with the link; what a child does to its own link, it does in its place.
//! - A script counts as played once, however often it is told to upgrade.
//!
//! Not here: the link and whom a message is for (`session`).

use otaru_proto::{
    DeviceId, FailureCode, Notice, PackageKind, ProgressReport, ResultCode, Version, VersionReport,
    encode_progress_report, encode_version_report,
};
use std::task::{Context, Poll};
use tokio::time::Instant;

use super::Child;
use super::session::{Parting, Said, Talk};
use super::upgrade::{Doing, Done, Upgrade};
use crate::clock;
use crate::crowd::Site;
use crate::link::LinkError;
use crate::random::Random;
use crate::script::{CLAIMED, Named, Script, Step};
use crate::tallies::Tallies;

/// What is remembered of one that is upgraded, over reboots and lost links.
pub(super) struct Member {
    config: Child,
    is_child: bool,
    random: Random,
    /// It took a notice and says nothing any more, or was never there.
    silent: bool,
    /// Its script is played.
    finished: bool,
    upgrade: Option<Upgrade>,
    /// Version and digest of the last upgrade that succeeded.
    installed: Option<(String, String)>,
}

impl Member {
    /// The connected device.
    pub(super) fn itself(config: Child) -> Member {
        let random = Random::seeded(config.seed);
        Member {
            config,
            is_child: false,
            random,
            silent: false,
            finished: false,
            upgrade: None,
            installed: None,
        }
    }

    /// One behind it.
    pub(super) fn child(config: Child) -> Member {
        let silent = config.script == Script::NeverOnline;
        Member { is_child: true, silent, ..Member::itself(config) }
    }

    pub(super) fn id(&self) -> &DeviceId {
        &self.config.device_id
    }

    pub(super) fn is_never_there(&self) -> bool {
        self.config.script == Script::NeverOnline
    }

    /// Its script is played.
    pub(super) fn finish(&mut self, tallies: &Tallies) {
        tallies.scripts_done.add(u64::from(!self.finished));
        self.finished = true;
    }

    /// What was said on an old link and not acknowledged is to be said again.
    pub(super) fn take_up_again(&mut self) {
        if let Some(upgrade) = &mut self.upgrade {
            upgrade.take_up_again();
        }
    }

    /// Whether what it waits for has come to its end; never, if it waits for nothing.
    pub(super) fn poll_done(&mut self, cx: &mut Context<'_>) -> Poll<Done> {
        self.upgrade.as_mut().map_or(Poll::Pending, |upgrade| upgrade.poll_done(cx))
    }

    /// Says what it runs. Allowed at any time, and it settles an upgrade that ended in a reboot.
    pub(super) fn report_versions(&self, talk: &mut Talk<'_>) -> Result<(), LinkError> {
        if self.silent { Ok(()) } else { self.say_versions(talk, None) }
    }

    /// Answers a version question.
    pub(super) fn take_question(&mut self, site: &Site, talk: &mut Talk<'_>) -> Result<(), LinkError> {
        if self.silent {
            return Ok(());
        }
        site.tallies.questions.add(1);
        self.say_versions(talk, Some(Instant::now()))
    }

    pub(super) fn take_notice(
        &mut self,
        site: &Site,
        talk: &mut Talk<'_>,
        notice: Notice,
    ) -> Result<(), LinkError> {
        if self.silent {
            return Ok(());
        }
        site.tallies.notices.add(1);
        let again = self.installed.as_ref().is_some_and(|(v, s)| *v == notice.version && *s == notice.sign);
        match &self.upgrade {
            Some(upgrade) if !upgrade.is_for(&notice) => {
                let busy = ProgressReport {
                    code: ResultCode::Failed(FailureCode::DeviceInUse),
                    progress: None,
                    progress_unusable: false,
                    version: self.running(notice.kind).cloned(),
                    description: Some("another upgrade is running".to_owned()),
                };
                self.report(talk, &busy).map(|_id| ())
            }
            Some(_) => {
                site.tallies.notices_repeated.add(1);
                Ok(())
            }
            None if again => {
                site.tallies.notices_repeated.add(1);
                Ok(())
            }
            None => {
                let steps = self.config.script.steps(self.config.pace, &mut self.random);
                self.upgrade = Some(Upgrade::new(notice, steps));
                Ok(())
            }
        }
    }

    pub(super) fn take_acknowledgement(&mut self, site: &Site, said: &Said) {
        if said.asked_at.is_some() && self.config.script == Script::AlreadyLatest {
            // There is nothing that it would be told.
            self.finish(&site.tallies);
        }
        if let Some(upgrade) = &mut self.upgrade
            && matches!(upgrade.doing, Doing::Saying(id) if id == said.id)
        {
            upgrade.next();
        }
    }

    pub(super) fn take_done(&mut self, site: &Site, done: Done) {
        let Some(upgrade) = &mut self.upgrade else { return };
        match done {
            Done::Pause => upgrade.next(),
            Done::Fetch(Ok(fetched)) => {
                let whole = upgrade.steps.front() == Some(&Step::Fetch) && fetched.tries > 0;
                site.tallies.downloads.add(u64::from(whole));
                site.tallies.download_bytes.add(fetched.bytes);
                upgrade.next();
            }
            Done::Fetch(Err(error)) => {
                tracing::warn!(
                    device_id = %self.config.device_id,
                    error = %super::chain(&error),
                    "download failed"
                );
                site.tallies.downloads_failed.add(1);
                upgrade.give_up(&error);
            }
        }
    }

    /// Begins what comes next, if nothing is being done. What takes no time is done here.
    pub(super) fn begin_step(
        &mut self,
        site: &Site,
        talk: &mut Talk<'_>,
    ) -> Result<Option<Parting>, LinkError> {
        while let Some(upgrade) = &mut self.upgrade
            && matches!(upgrade.doing, Doing::Nothing)
        {
            let Some(step) = upgrade.steps.front().cloned() else {
                self.end_upgrade(site);
                break;
            };
            match step {
                Step::Report { code, progress, names, description } => {
                    let notice = &upgrade.notice;
                    let version = match names {
                        Named::Running => running(&self.config, notice.kind).cloned(),
                        Named::Announced => Version::as_sent(&notice.version),
                        Named::Other => Version::as_sent(CLAIMED),
                    };
                    let report = ProgressReport {
                        code,
                        progress,
                        progress_unusable: false,
                        version,
                        description: Some(description.to_owned()),
                    };
                    let id = self.report(talk, &report)?;
                    if let Some(upgrade) = &mut self.upgrade {
                        upgrade.doing = Doing::Saying(id);
                    }
                }
                Step::Pause(span) => upgrade.doing = Doing::Pausing(Box::pin(tokio::time::sleep(span))),
                Step::Fetch | Step::FetchHalf => {
                    let (downloader, notice) = (site.downloader.clone(), upgrade.notice.clone());
                    let half = step == Step::FetchHalf;
                    upgrade.doing = Doing::Fetching(Box::pin(async move {
                        if half {
                            downloader.fetch_half(&notice).await
                        } else {
                            downloader.fetch(&notice).await
                        }
                    }));
                }
                Step::Install => {
                    upgrade.next();
                    self.run_announced();
                }
                Step::Reboot(span) if self.is_child => {
                    // A child says nothing while it is off, and then runs the new version.
                    upgrade.steps[0] = Step::Pause(span);
                    upgrade.steps.insert(1, Step::Install);
                }
                Step::Reboot(span) => {
                    upgrade.next();
                    self.run_announced();
                    return Ok(Some(Parting::Rebooting(span)));
                }
                Step::DropLink(span) if self.is_child => upgrade.steps[0] = Step::Pause(span),
                Step::DropLink(span) => {
                    upgrade.next();
                    return Ok(Some(Parting::Dropped(span)));
                }
                Step::FallSilent => self.fall_silent(site),
                Step::Vanish if self.is_child => self.fall_silent(site),
                Step::Vanish => {
                    self.finish(&site.tallies);
                    return Ok(Some(Parting::Vanished));
                }
            }
        }
        Ok(None)
    }

    fn fall_silent(&mut self, site: &Site) {
        self.silent = true;
        self.upgrade = None;
        self.finish(&site.tallies);
    }

    fn end_upgrade(&mut self, site: &Site) {
        if let Some(upgrade) = self.upgrade.take() {
            site.tallies.upgrading.count(upgrade.since.elapsed());
            let notice = upgrade.notice;
            if self.running(notice.kind).is_some_and(|version| version.as_str() == notice.version) {
                self.installed = Some((notice.version, notice.sign));
            }
            self.finish(&site.tallies);
        }
    }

    /// From here on it runs what it was told to.
    fn run_announced(&mut self) {
        let Some(upgrade) = &self.upgrade else { return };
        let announced = Version::as_sent(&upgrade.notice.version);
        match (upgrade.notice.kind, announced) {
            (PackageKind::Firmware, Some(version)) => self.config.firmware = version,
            (PackageKind::Software, version) => self.config.software = version,
            (PackageKind::Firmware, None) => {}
        }
    }

    fn running(&self, kind: PackageKind) -> Option<&Version> {
        running(&self.config, kind)
    }

    fn say_versions(&self, talk: &mut Talk<'_>, asked_at: Option<Instant>) -> Result<(), LinkError> {
        let report = VersionReport {
            fw_version: Some(self.config.firmware.clone()),
            sw_version: self.config.software.clone(),
            modules: Vec::new(),
        };
        let payload = encode_version_report(&self.config.device_id, &report, Some(clock::unix_ms()));
        talk.say(payload, &self.config.device_id, asked_at).map(|_id| ())
    }

    fn report(&self, talk: &mut Talk<'_>, report: &ProgressReport) -> Result<u16, LinkError> {
        let payload = encode_progress_report(&self.config.device_id, report, Some(clock::unix_ms()));
        talk.say(payload, &self.config.device_id, None)
    }
}

fn running(config: &Child, kind: PackageKind) -> Option<&Version> {
    match kind {
        PackageKind::Firmware => Some(&config.firmware),
        PackageKind::Software => config.software.as_ref(),
    }
}
