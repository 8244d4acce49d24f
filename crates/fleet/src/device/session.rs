//! A device while it is connected: who is meant by what is heard, and what is waited for.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use otaru_proto::{DeviceId, Downlink, DownlinkError, decode_downlink, events_down, events_up};
use tokio::time::Instant;

use super::member::Member;
use super::upgrade::Done;
use super::{Device, StopSignal};
use crate::limits::PUBACK_TIMEOUT;
use crate::link::{Heard, Link, LinkError};

/// Why a device is not connected any more.
pub(super) enum Parting {
    /// It was told to stop.
    Stopped,
    /// It is off for so long.
    Rebooting(Duration),
    /// It lost the link without a goodbye, as its script says, for so long.
    Dropped(Duration),
    /// It is gone for good, without a goodbye.
    Vanished,
    /// It did not want to.
    Lost(LinkError),
}

/// A link, and what was said on it and is not acknowledged.
pub(super) struct Talk<'a> {
    link: &'a mut Link,
    topic: String,
    open: VecDeque<Said>,
}

/// Something that was said.
pub(super) struct Said {
    /// Under which it will be acknowledged.
    pub(super) id: u16,
    /// About whom it is.
    subject: DeviceId,
    since: Instant,
    /// When the question came that it answers, if one did.
    pub(super) asked_at: Option<Instant>,
}

impl Talk<'_> {
    pub(super) fn say(
        &mut self,
        payload: Vec<u8>,
        subject: &DeviceId,
        asked_at: Option<Instant>,
    ) -> Result<u16, LinkError> {
        let id = self.link.say(&self.topic, payload)?;
        self.open.push_back(Said { id, subject: subject.clone(), since: Instant::now(), asked_at });
        Ok(id)
    }

    /// When the link counts as dead unless something is acknowledged.
    fn patience_ends(&self) -> Option<Instant> {
        self.open.front().map(|said| said.since + PUBACK_TIMEOUT)
    }
}

impl Device {
    /// Everything between CONNACK and the end of the link.
    pub(super) async fn session(&mut self, link: &mut Link, stop: &mut StopSignal) -> Parting {
        let mut talk = Talk { link, topic: events_up(self.own.id()), open: VecDeque::new() };
        match self.converse(&mut talk, stop).await {
            Ok(parting) => parting,
            Err(error) => Parting::Lost(error),
        }
    }

    async fn converse(&mut self, talk: &mut Talk<'_>, stop: &mut StopSignal) -> Result<Parting, LinkError> {
        if self.subscribes {
            talk.link.subscribe(&events_down(self.own.id()))?;
        }
        self.own.report_versions(talk)?;
        self.own.take_up_again();
        for child in &mut self.children {
            child.take_up_again();
        }
        loop {
            if let Some(parting) = self.begin_steps(talk)? {
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
                () = wait_for(&mut self.own, &mut self.children, |member, done| {
                    member.take_done(&self.site, done);
                }) => {}
                () = sleep_until(patience_ends) => return Err(LinkError::NoAcknowledgement),
            }
        }
    }

    fn begin_steps(&mut self, talk: &mut Talk<'_>) -> Result<Option<Parting>, LinkError> {
        for child in &mut self.children {
            if let Some(parting) = child.begin_step(&self.site, talk)? {
                return Ok(Some(parting));
            }
        }
        self.own.begin_step(&self.site, talk)
    }

    fn take_message(&mut self, talk: &mut Talk<'_>, payload: &[u8]) -> Result<(), LinkError> {
        let (subject, downlink) = match decode_downlink(payload) {
            Ok(understood) => understood,
            Err(DownlinkError::OtherService { .. } | DownlinkError::UnknownOta { .. }) => return Ok(()),
            Err(error) => {
                tracing::warn!(device_id = %self.own.id(), %error, "message not understood");
                self.site.tallies.unreadable.add(1);
                return Ok(());
            }
        };
        let site = std::sync::Arc::clone(&self.site);
        let Some(member) = self.member(subject.as_ref()) else {
            tracing::warn!(device_id = %self.own.id(), ?subject, "message for nobody here");
            self.site.tallies.unreadable.add(1);
            return Ok(());
        };
        match downlink {
            Downlink::VersionQuery { .. } => member.take_question(&site, talk),
            Downlink::Notice(notice) => member.take_notice(&site, talk, notice),
        }
    }

    fn take_acknowledgement(&mut self, talk: &mut Talk<'_>, id: u16) {
        let Some(place) = talk.open.iter().position(|said| said.id == id) else { return };
        let Some(said) = talk.open.remove(place) else { return };
        let site = std::sync::Arc::clone(&self.site);
        site.tallies.reports.add(1);
        site.tallies.reporting.count(said.since.elapsed());
        if let Some(asked_at) = said.asked_at {
            site.tallies.answering.count(asked_at.elapsed());
        }
        if let Some(member) = self.member(Some(&said.subject)) {
            member.take_acknowledgement(&site, &said);
        }
    }

    /// Who is meant: the device itself if nobody is named.
    fn member(&mut self, subject: Option<&DeviceId>) -> Option<&mut Member> {
        match subject {
            None => Some(&mut self.own),
            Some(id) if id == self.own.id() => Some(&mut self.own),
            Some(id) => self.children.iter_mut().find(|child| child.id() == id),
        }
    }
}

/// Waits until anybody's pause or download has ended, and lets `take` have it. Cancel safe.
async fn wait_for(own: &mut Member, children: &mut [Member], mut take: impl FnMut(&mut Member, Done)) {
    poll_fn(|cx| {
        for member in std::iter::once(&mut *own).chain(children.iter_mut()) {
            if let Poll::Ready(done) = member.poll_done(cx) {
                take(member, done);
                return Poll::Ready(());
            }
        }
        Poll::Pending
    })
    .await;
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
