//! A device while it is connected.

use std::collections::VecDeque;
use std::time::Duration;

use otaru_proto::{
    Downlink, DownlinkError, FailureCode, Notice, PackageKind, ProgressReport, ResultCode, Version,
    VersionReport, decode_downlink, encode_progress_report, encode_version_report, events_down, events_up,
};
use tokio::time::Instant;

use super::upgrade::{Doing, Done, Upgrade};
use super::{Device, StopSignal};
use crate::clock;
use crate::limits::PUBACK_TIMEOUT;
use crate::link::{Heard, Link, LinkError};
use crate::script::{CLAIMED, Named, Step};

/// Why a device is not connected any more.
pub(super) enum Parting {
    /// It was told to stop.
    Stopped,
    /// It is off for so long.
    Rebooting(Duration),
    /// It is gone for good, without a goodbye.
    Vanished,
    /// It did not want to.
    Lost(LinkError),
}

/// A link, and what was said on it and is not acknowledged.
struct Talk<'a> {
    link: &'a mut Link,
    topic: String,
    open: VecDeque<(u16, Instant)>,
}

impl Talk<'_> {
    fn say(&mut self, payload: Vec<u8>) -> Result<u16, LinkError> {
        let id = self.link.say(&self.topic, payload)?;
        self.open.push_back((id, Instant::now()));
        Ok(id)
    }

    /// When the link counts as dead unless something is acknowledged.
    fn patience_ends(&self) -> Option<Instant> {
        self.open.front().map(|(_, since)| *since + PUBACK_TIMEOUT)
    }
}

impl Device {
    /// Everything between CONNACK and the end of the link.
    pub(super) async fn session(&mut self, link: &mut Link, stop: &mut StopSignal) -> Parting {
        let mut talk = Talk { link, topic: events_up(&self.config.device_id), open: VecDeque::new() };
        match self.converse(&mut talk, stop).await {
            Ok(parting) => parting,
            Err(error) => Parting::Lost(error),
        }
    }

    async fn converse(&mut self, talk: &mut Talk<'_>, stop: &mut StopSignal) -> Result<Parting, LinkError> {
        if self.config.subscribes {
            talk.link.subscribe(&events_down(&self.config.device_id))?;
        }
        if !self.silent {
            // Allowed at any time, and it settles an upgrade that ended in a reboot.
            self.report_versions(talk)?;
        }
        if let Some(upgrade) = &mut self.upgrade {
            upgrade.take_up_again();
        }
        loop {
            if let Some(parting) = self.begin_step(talk)? {
                return Ok(parting);
            }
            let patience_ends = talk.patience_ends();
            tokio::select! {
                biased;
                () = stop.given() => return Ok(Parting::Stopped),
                heard = talk.link.hear() => match heard? {
                    Heard::Message(payload) => self.take_message(talk, &payload)?,
                    Heard::Acknowledged(id) => self.take_acknowledgement(talk, id),
                },
                done = wait_for(&mut self.upgrade) => self.take_done(done),
                () = sleep_until(patience_ends) => return Err(LinkError::NoAcknowledgement),
            }
        }
    }

    fn take_message(&mut self, talk: &mut Talk<'_>, payload: &[u8]) -> Result<(), LinkError> {
        if self.silent {
            return Ok(());
        }
        match decode_downlink(payload) {
            Ok((_subject, Downlink::VersionQuery { .. })) => {
                self.site.tallies.questions.add(1);
                self.report_versions(talk)
            }
            Ok((_subject, Downlink::Notice(notice))) => self.take_notice(talk, notice),
            Err(DownlinkError::OtherService { .. } | DownlinkError::UnknownOta { .. }) => Ok(()),
            Err(error) => {
                tracing::warn!(device_id = %self.config.device_id, %error, "message not understood");
                self.site.tallies.unreadable.add(1);
                Ok(())
            }
        }
    }

    fn take_notice(&mut self, talk: &mut Talk<'_>, notice: Notice) -> Result<(), LinkError> {
        self.site.tallies.notices.add(1);
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
                self.site.tallies.notices_repeated.add(1);
                Ok(())
            }
            None if again => {
                self.site.tallies.notices_repeated.add(1);
                Ok(())
            }
            None => {
                let steps = self.config.script.steps(self.config.pace, &mut self.random);
                self.upgrade = Some(Upgrade::new(notice, steps));
                Ok(())
            }
        }
    }

    fn take_acknowledgement(&mut self, talk: &mut Talk<'_>, id: u16) {
        let Some(place) = talk.open.iter().position(|(open, _)| *open == id) else { return };
        if let Some((_, since)) = talk.open.remove(place) {
            self.site.tallies.reports.add(1);
            self.site.tallies.reporting.count(since.elapsed());
        }
        if let Some(upgrade) = &mut self.upgrade
            && matches!(upgrade.doing, Doing::Saying(said) if said == id)
        {
            upgrade.next();
        }
    }

    fn take_done(&mut self, done: Done) {
        let Some(upgrade) = &mut self.upgrade else { return };
        match done {
            Done::Pause => upgrade.next(),
            Done::Fetch(Ok(fetched)) => {
                let whole = upgrade.steps.front() == Some(&Step::Fetch);
                self.site.tallies.downloads.add(u64::from(whole));
                self.site.tallies.download_bytes.add(fetched.bytes);
                upgrade.next();
            }
            Done::Fetch(Err(error)) => {
                tracing::warn!(
                    device_id = %self.config.device_id,
                    error = %super::chain(&error),
                    "download failed"
                );
                self.site.tallies.downloads_failed.add(1);
                upgrade.give_up(&error);
            }
        }
    }

    /// Begins what comes next, if nothing is being done. What takes no time is done here.
    fn begin_step(&mut self, talk: &mut Talk<'_>) -> Result<Option<Parting>, LinkError> {
        while let Some(upgrade) = &mut self.upgrade
            && matches!(upgrade.doing, Doing::Nothing)
        {
            let Some(step) = upgrade.steps.front().cloned() else {
                self.end_upgrade();
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
                    let (downloader, notice) = (self.site.downloader.clone(), upgrade.notice.clone());
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
                Step::Reboot(span) => {
                    upgrade.next();
                    self.run_announced();
                    return Ok(Some(Parting::Rebooting(span)));
                }
                Step::FallSilent => {
                    self.silent = true;
                    self.upgrade = None;
                    self.site.tallies.scripts_done.add(1);
                }
                Step::Vanish => {
                    self.site.tallies.scripts_done.add(1);
                    return Ok(Some(Parting::Vanished));
                }
            }
        }
        Ok(None)
    }

    fn end_upgrade(&mut self) {
        if let Some(upgrade) = self.upgrade.take() {
            let notice = upgrade.notice;
            if self.running(notice.kind).is_some_and(|version| version.as_str() == notice.version) {
                self.installed = Some((notice.version, notice.sign));
            }
            self.site.tallies.scripts_done.add(1);
        }
    }

    /// From here on the device runs what it was told to.
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

    fn report_versions(&mut self, talk: &mut Talk<'_>) -> Result<(), LinkError> {
        let report = VersionReport {
            fw_version: Some(self.config.firmware.clone()),
            sw_version: self.config.software.clone(),
            modules: Vec::new(),
        };
        let payload = encode_version_report(&self.config.device_id, &report, Some(clock::unix_ms()));
        talk.say(payload).map(|_id| ())
    }

    fn report(&self, talk: &mut Talk<'_>, report: &ProgressReport) -> Result<u16, LinkError> {
        talk.say(encode_progress_report(&self.config.device_id, report, Some(clock::unix_ms())))
    }
}

fn running(config: &super::DeviceConfig, kind: PackageKind) -> Option<&Version> {
    match kind {
        PackageKind::Firmware => Some(&config.firmware),
        PackageKind::Software => config.software.as_ref(),
    }
}

async fn wait_for(upgrade: &mut Option<Upgrade>) -> Done {
    match upgrade {
        Some(upgrade) => upgrade.wait().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
