//! Events of other services than `$ota`: the time, children, files.
//!
//! Always true:
//! - What follows from a request is stored in the batch; the answer leaves after it. An answer itself is not stored: it is
//!   for the session that asked, and a device that did not hear it asks again.
//! - One message is answered so many times at most, however often it asks.

mod children;

use std::collections::BTreeSet;

use bytes::Bytes;
use otaru_core::WallTime;
use otaru_proto::{
    Answer, DeviceId, EventBody, ServiceContent, ServiceProperties, Uplink, UplinkEvent, encode_answer,
};
use otaru_store::{DeviceKey, LogRow, Note, PropertyRow, Registering};

pub(crate) use children::info as child_info;

use super::Desk;
use crate::driver::Shared;
use crate::limits::ANSWERS_PER_MESSAGE_MAX;
use crate::sessions::SessionRef;
use crate::told::{ShadowAsked, Told};

/// Something to be said to the device that asked, once the batch is stored.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) session: SessionRef,
    what: What,
    /// The request's, which the answer to a gateway repeats.
    event_id: Option<String>,
    /// The answer has to have one, whether the request had or not.
    needs_event_id: bool,
}

#[derive(Debug)]
enum What {
    Ready(Answer),
    /// The time is told when it leaves.
    Time {
        device_send_time: i64,
        received_at: WallTime,
    },
}

impl Answered {
    /// The message.
    pub(crate) fn bytes(&self, shared: &Shared) -> Bytes {
        let now = shared.clock.wall();
        let made;
        let event_id = match &self.event_id {
            Some(event_id) => Some(event_id.as_str()),
            None if self.needs_event_id => {
                made = event_id_of(&shared.ids.make(now));
                Some(made.as_str())
            }
            None => None,
        };
        let to: &DeviceId = &self.session.device_id;
        Bytes::from(match &self.what {
            What::Ready(answer) => encode_answer(to, answer, event_id, now.0),
            What::Time { device_send_time, received_at } => {
                let answer = Answer::Time {
                    device_send_time: *device_send_time,
                    server_recv_time: received_at.0,
                    server_send_time: now.0,
                };
                encode_answer(to, &answer, event_id, now.0)
            }
        })
    }
}

/// The published platform's ids of events have 36 characters, in the shape of a UUID.
fn event_id_of(id: &str) -> String {
    let id = format!("{id:0>32}");
    format!("{}-{}-{}-{}-{}", &id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..])
}

/// Adds what has to be known of the devices that other services' events are about.
pub(super) fn wanted(
    message: &Uplink,
    device_ids: &mut BTreeSet<DeviceId>,
    registering: &mut BTreeSet<Registering>,
) {
    for event in &message.events {
        let EventBody::OtherService { content: Some(content), .. } = &event.body else { continue };
        match &**content {
            ServiceContent::ChildStatuses(statuses) => {
                device_ids
                    .extend(statuses.iter().filter_map(|status| DeviceId::parse(&status.device_id).ok()));
            }
            ServiceContent::DeleteChildren(ids) => {
                device_ids.extend(ids.iter().filter_map(|id| DeviceId::parse(id).ok()));
            }
            ServiceContent::AddChildren(children) => {
                for asked in children.iter().filter_map(children::registering) {
                    device_ids.insert(asked.device_id.clone());
                    registering.insert(asked);
                }
            }
            ServiceContent::TimeSync { .. }
            | ServiceContent::SyncChildren { .. }
            | ServiceContent::Log(_)
            | ServiceContent::SdkInfo { .. }
            | ServiceContent::FileUrl { .. }
            | ServiceContent::Unusable { .. } => {}
        }
    }
}

/// Adds the children that a message on another topic is about.
pub(super) fn wanted_for(told: &Told, device_ids: &mut BTreeSet<DeviceId>) {
    match told {
        Told::Properties(_) => {}
        Told::ChildrensProperties(children) => device_ids.extend(children.iter().map(|(id, _)| id.clone())),
        Told::ShadowRequest { about, .. } => device_ids.extend(about.clone()),
    }
}

/// How many children come or go with a message: what comes after it has to see that.
pub(crate) fn children_changed(message: &Uplink) -> usize {
    let named = message.events.iter().map(|event| match &event.body {
        EventBody::OtherService { content: Some(content), .. } => match &**content {
            ServiceContent::AddChildren(children) => children.len(),
            ServiceContent::DeleteChildren(ids) => ids.len(),
            ServiceContent::TimeSync { .. }
            | ServiceContent::SyncChildren { .. }
            | ServiceContent::ChildStatuses(_)
            | ServiceContent::Log(_)
            | ServiceContent::SdkInfo { .. }
            | ServiceContent::FileUrl { .. }
            | ServiceContent::Unusable { .. } => 0,
        },
        EventBody::OtherService { content: None, .. }
        | EventBody::VersionReport(_)
        | EventBody::ProgressReport(_)
        | EventBody::UnknownOta { .. }
        | EventBody::Nameless
        | EventBody::Rejected { .. } => 0,
    });
    named.sum()
}

impl Desk<'_> {
    /// Does what the events of other services in a message ask for. Says whether there was something to do.
    pub(super) fn serve(
        &mut self,
        session: &SessionRef,
        subject: DeviceKey,
        message: &Uplink,
        at: WallTime,
    ) -> bool {
        let mut served = false;
        let answered_before = self.answer.answered.len();
        for event in &message.events {
            let EventBody::OtherService { content: Some(content), .. } = &event.body else { continue };
            if self.answer.answered.len() - answered_before >= ANSWERS_PER_MESSAGE_MAX {
                break;
            }
            served = true;
            self.serve_one(session, subject, event, content, at);
        }
        served
    }

    fn serve_one(
        &mut self,
        session: &SessionRef,
        subject: DeviceKey,
        event: &UplinkEvent,
        content: &ServiceContent,
        at: WallTime,
    ) {
        match content {
            ServiceContent::TimeSync { device_send_time } => {
                let what = What::Time { device_send_time: *device_send_time, received_at: at };
                self.answer_with(session, event, what, false);
            }
            ServiceContent::FileUrl { upload, file_name } => {
                let answer = Answer::NoFiles { upload: *upload, file_name: file_name.clone() };
                self.answer_with(session, event, What::Ready(answer), false);
            }
            ServiceContent::SyncChildren { version } if subject == session.device => {
                self.answer.syncs.push((session.clone(), *version));
            }
            ServiceContent::SyncChildren { .. } => {}
            ServiceContent::ChildStatuses(statuses) => {
                let answer = self.update_statuses(session, statuses);
                self.answer_with(session, event, What::Ready(answer), true);
            }
            ServiceContent::AddChildren(children) => {
                let answer = self.add_children(session, children);
                self.answer_with(session, event, What::Ready(answer), true);
            }
            ServiceContent::DeleteChildren(ids) => {
                let answer = self.delete_children(session, ids);
                self.answer_with(session, event, What::Ready(answer), true);
            }
            ServiceContent::Unusable { request: Some(request), problem } => {
                let answer = children::refused(*request, problem);
                self.answer_with(session, event, What::Ready(answer), true);
            }
            ServiceContent::Log(line) if self.around.settings.keep_log => {
                let row = LogRow {
                    timestamp: line.timestamp.clone(),
                    kind: line.kind.clone(),
                    content: line.content.clone(),
                    received_at: at,
                };
                self.changes.notes.push(Note::Log { device: subject, row });
            }
            ServiceContent::SdkInfo { sdk_version: Some(sdk_version) } => {
                self.changes.notes.push(Note::Sdk { device: subject, sdk_version: sdk_version.clone() });
            }
            ServiceContent::Log(_)
            | ServiceContent::SdkInfo { sdk_version: None }
            | ServiceContent::Unusable { request: None, .. } => {}
        }
    }

    // --- What comes on other topics -------------------------------------------------------------------------

    pub(super) fn told(&mut self, session: &SessionRef, told: &Told, at: WallTime) {
        self.answer.tally.served += 1;
        match told {
            Told::Properties(services) => self.keep_properties(session.device, services, at),
            Told::ChildrensProperties(children) => {
                for (id, services) in children {
                    match self.key_of_child(session, id) {
                        Some(child) => self.keep_properties(child, services, at),
                        None => self.refuse_child(session, id),
                    }
                }
            }
            Told::ShadowRequest { request_id, about, service_id } => {
                let about = match about {
                    Some(id) if *id != session.device_id => match self.key_of_child(session, id) {
                        Some(child) => (child, id.clone()),
                        None => return self.refuse_child(session, id),
                    },
                    Some(_) | None => (session.device, session.device_id.clone()),
                };
                let (request_id, service_id) = (request_id.clone(), service_id.clone());
                self.answer.shadows.push(ShadowAsked {
                    session: session.clone(),
                    about,
                    request_id,
                    service_id,
                });
            }
        }
    }

    fn keep_properties(&mut self, device: DeviceKey, services: &[ServiceProperties], at: WallTime) {
        if !self.around.settings.keep_properties {
            return;
        }
        for service in services {
            let row = PropertyRow {
                service_id: service.service_id.clone(),
                properties: service.properties.clone(),
                event_time: service.event_time.clone(),
                received_at: at,
            };
            self.changes.notes.push(Note::Property { device, row });
        }
    }

    fn key_of_child(&self, session: &SessionRef, id: &DeviceId) -> Option<DeviceKey> {
        self.child_of(session.device, id.as_str()).map(|(key, _)| key)
    }

    fn refuse_child(&mut self, session: &SessionRef, id: &DeviceId) {
        self.answer.tally.not_ours += 1;
        self.audit(session, "foreign_child_refused", id.as_str());
    }

    fn answer_with(&mut self, session: &SessionRef, event: &UplinkEvent, what: What, needs_event_id: bool) {
        self.answer.answered.push(Answered {
            session: session.clone(),
            what,
            event_id: event.event_id.clone(),
            needs_event_id,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_id_of_ours_has_the_published_shape() {
        assert_eq!(event_id_of("01a0b1c2d3e4f5061728394a"), "00000000-01a0-b1c2-d3e4-f5061728394a");
    }
}
