//! What devices say on other topics than `events/up`, as far as it is of use: properties, and questions for the shadow.
//!
//! Always true:
//! - What cannot be read changes nothing and is acknowledged; compressed payloads are not read.
//! - One session has one shadow being answered at a time; what it asks for meanwhile is dropped and counted, and a device
//!   that still wants it asks again.
//!
//! Not here: where it is kept (`otaru-store`), and what upgrades are decided by. None of this is.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use otaru_proto::{
    DeviceId, PROPERTY_SERVICES_MAX, ServiceProperties, ShadowService, SystemTopic, Topic, classify,
    decode_gateway_properties, decode_properties, decode_shadow_request, encode_shadow, shadow_response,
};
use otaru_store::DeviceKey;

use crate::driver::{Engine, Shared};
use crate::inbox::UplinkReading;
use crate::limits::REQUEST_ID_CHARS_MAX;
use crate::sessions::{Delivery, SessionRef};

/// Something of use that a device said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Its properties, unasked or in an answer.
    Properties(Vec<ServiceProperties>),
    /// Those of its children. Ids that are none are left out.
    ChildrensProperties(Vec<(DeviceId, Vec<ServiceProperties>)>),
    /// It wants to know what is known of it.
    ShadowRequest {
        /// To be repeated in the topic of the answer.
        request_id: String,
        /// A child of it; `None`: itself.
        about: Option<DeviceId>,
        /// This service only.
        service_id: Option<String>,
    },
}

impl UplinkReading {
    /// Reads a publication of a device on one of its own topics other than `events/up`.
    #[must_use]
    pub fn of_other_topic(topic: &str, payload: &[u8]) -> UplinkReading {
        // Compressed; the topics of answers have no such form.
        if topic.ends_with("?encoding=gzip") {
            return UplinkReading::Ignored;
        }
        let Topic::System { kind, .. } = classify(topic) else { return UplinkReading::Ignored };
        match read(kind, payload) {
            Some(told) => UplinkReading::Told(told),
            None => UplinkReading::Ignored,
        }
    }
}

fn read(kind: SystemTopic<'_>, payload: &[u8]) -> Option<Told> {
    match kind {
        SystemTopic::PropertiesReport | SystemTopic::PropertiesGetResponse { .. } => {
            decode_properties(payload).ok().map(Told::Properties)
        }
        SystemTopic::GatewayPropertiesReport => {
            let children = decode_gateway_properties(payload).ok()?;
            let known = children
                .into_iter()
                .filter_map(|(id, services)| Some((DeviceId::parse(&id).ok()?, services)));
            Some(Told::ChildrensProperties(known.collect()))
        }
        SystemTopic::ShadowGet { request_id } if can_be_repeated(request_id) => {
            let (about, service_id) = decode_shadow_request(payload);
            let about = match about {
                Some(about) => Some(DeviceId::parse(&about).ok()?),
                None => None,
            };
            Some(Told::ShadowRequest { request_id: request_id.to_owned(), about, service_id })
        }
        SystemTopic::ShadowGet { .. }
        | SystemTopic::EventsUp
        | SystemTopic::EventsDown
        | SystemTopic::PropertiesSetResponse { .. }
        | SystemTopic::CommandResponse { .. }
        | SystemTopic::MessagesUp
        | SystemTopic::BootstrapUp
        | SystemTopic::Other(_) => None,
    }
}

/// Whether an answer has a topic: nothing can be published on one with wildcards or NUL (MQTT 3.1.1, 3.3.2.1 and 4.7.3),
/// and not every client library keeps devices from doing so.
fn can_be_repeated(request_id: &str) -> bool {
    request_id.chars().count() <= REQUEST_ID_CHARS_MAX && !request_id.contains(['+', '#', '\0'])
}

/// A question for a shadow, found to be about the device itself or a child of it.
#[derive(Debug)]
pub(crate) struct ShadowAsked {
    pub(crate) session: SessionRef,
    pub(crate) about: (DeviceKey, DeviceId),
    pub(crate) request_id: String,
    pub(crate) service_id: Option<String>,
}

impl Shared {
    /// Has a shadow answered, unless the session has one open.
    pub(crate) fn answer_shadow(self: &Arc<Self>, asked: ShadowAsked) {
        if asked.session.shadow_open.swap(true, Ordering::Relaxed) {
            metrics::counter!("otaru_shadow_requests_dropped_total").increment(1);
            return;
        }
        tokio::spawn(answer(self.clone(), asked));
    }
}

async fn answer(shared: Arc<Shared>, asked: ShadowAsked) {
    let (key, id) = &asked.about;
    let most = u32::try_from(PROPERTY_SERVICES_MAX).unwrap_or(u32::MAX);
    let found = shared.store.properties(*key, None, most).await;
    asked.session.shadow_open.store(false, Ordering::Relaxed);
    let rows = match found {
        Ok(rows) => rows,
        // No answer: a device that waits asks again, and an empty shadow would be untrue.
        Err(error) => return tracing::warn!(device_id = %id, %error, "a shadow cannot be read"),
    };
    let wanted =
        rows.into_iter().filter(|row| asked.service_id.as_ref().is_none_or(|id| *id == row.service_id));
    let services: Vec<ShadowService> = wanted
        .map(|row| ShadowService {
            service_id: row.service_id,
            reported: row.properties,
            reported_at_ms: row.received_at.0,
        })
        .collect();
    let topic = shadow_response(&asked.session.device_id, &asked.request_id).into();
    asked.session.deliver(Delivery::Answer { topic, payload: Bytes::from(encode_shadow(id, &services)) });
}

impl Engine {
    /// The last properties of a device's services, by service.
    ///
    /// # Errors
    ///
    /// `Unknown`.
    pub async fn properties(
        &self,
        device_id: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<otaru_store::PropertyRow>, crate::devices::DeviceError> {
        let key = self.known(device_id).await?;
        Ok(self.shared.store.properties(key, after, limit).await?)
    }

    /// The last lines of a device's log with their places, the newest first; `before` is the last one already seen.
    ///
    /// # Errors
    ///
    /// `Unknown`.
    pub async fn log(
        &self,
        device_id: &str,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<(i64, otaru_store::LogRow)>, crate::devices::DeviceError> {
        let key = self.known(device_id).await?;
        Ok(self.shared.store.log(key, before, limit).await?)
    }

    async fn known(&self, device_id: &str) -> Result<DeviceKey, crate::devices::DeviceError> {
        let unknown = || crate::devices::DeviceError::Unknown(device_id.to_owned());
        let id = DeviceId::parse(device_id).map_err(|_| unknown())?;
        Ok(self.shared.store.device(&id).await?.ok_or_else(unknown)?.row.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_that_cannot_be_answered_is_not_taken() {
        let asks = |request_id: &str| {
            let topic = format!("$oc/devices/d1/sys/shadow/get/request_id={request_id}");
            matches!(
                UplinkReading::of_other_topic(&topic, b"{}"),
                UplinkReading::Told(Told::ShadowRequest { .. })
            )
        };
        assert!(asks("7") && asks(&"7".repeat(REQUEST_ID_CHARS_MAX)));
        for none in ["a+", "#", "a\0b", &"7".repeat(REQUEST_ID_CHARS_MAX + 1)] {
            assert!(!asks(none), "{none:?}");
        }
    }
}
