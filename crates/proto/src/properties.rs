//! Properties as devices report them: of a device, of a gateway's children, or in an answer.
//!
//! Always true: what is read is bounded, and a service that cannot be read does not spoil the others.
//!
//! Source: the property report pages; 64 KB a message, 100 children in a gateway's batch on MQTT.
//!
//! Not here: what a property means. Upgrades need none of them.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde_json::Value;

use crate::json;
use crate::limits::{
    CHILDREN_PER_BATCH_MAX, DEVICE_ID_CHARS_MAX, EVENT_TIME_CHARS_MAX, NAME_CHARS_MAX, PROPERTIES_BYTES_MAX,
    PROPERTY_SERVICES_MAX,
};
use crate::text::bounded;

/// The properties of one service, as last reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceProperties {
    /// Which service of the product, at most 64 characters.
    pub service_id: String,
    /// The text of a JSON object, compact.
    pub properties: String,
    /// The device's own time, as sent. Shown, never used to decide.
    pub event_time: Option<String>,
}

/// Why a report of properties could not be read. The device keeps its connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PropertiesError {
    /// More than [`PROPERTIES_BYTES_MAX`].
    #[error("properties have {0} bytes; at most {PROPERTIES_BYTES_MAX} are read")]
    TooLarge(usize),
    /// No JSON object, or nested too deeply.
    #[error("properties are no JSON object")]
    NotAnObject,
    /// The list is not there, or is none.
    #[error("`{0}` is not a list")]
    NoList(&'static str),
    /// Longer than published.
    #[error("`{field}` has {found} entries; at most {most} are accepted")]
    TooMany {
        /// Which list.
        field: &'static str,
        /// How long it is.
        found: usize,
        /// How long it may be.
        most: usize,
    },
}

/// Reads `properties/report`, or the answer to `properties/get`.
///
/// # Errors
///
/// The message as a whole cannot be read. Entries without a `service_id` or an object of `properties` are left out.
pub fn decode_properties(bytes: &[u8]) -> Result<Vec<ServiceProperties>, PropertiesError> {
    services_of(&tree(bytes)?)
}

/// Reads a gateway's batch: each child by the id that was sent, with its services.
///
/// # Errors
///
/// The message as a whole cannot be read. Entries that cannot be read are left out.
pub fn decode_gateway_properties(
    bytes: &[u8],
) -> Result<Vec<(String, Vec<ServiceProperties>)>, PropertiesError> {
    let tree = tree(bytes)?;
    let devices = list(&tree, "devices", CHILDREN_PER_BATCH_MAX)?;
    let read = devices.iter().filter_map(|device| {
        let id = device.get("device_id")?.as_str()?;
        Some((bounded(id, DEVICE_ID_CHARS_MAX), services_of(device).ok()?))
    });
    Ok(read.collect())
}

/// Reads a question for a shadow: which device it is about, if it names one other than the sender, and which service.
/// What cannot be read asks for everything about the sender.
pub fn decode_shadow_request(bytes: &[u8]) -> (Option<String>, Option<String>) {
    let Ok(request) = tree(bytes) else { return (None, None) };
    let text = |name: &str, chars_max: usize| {
        let text = request.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        text.map(|text| bounded(text, chars_max))
    };
    let about = text("object_device_id", DEVICE_ID_CHARS_MAX).filter(|about| about != "-1");
    (about, text("service_id", NAME_CHARS_MAX))
}

fn tree(bytes: &[u8]) -> Result<Value, PropertiesError> {
    if bytes.len() > PROPERTIES_BYTES_MAX {
        return Err(PropertiesError::TooLarge(bytes.len()));
    }
    json::tree(bytes).filter(Value::is_object).ok_or(PropertiesError::NotAnObject)
}

fn services_of(message: &Value) -> Result<Vec<ServiceProperties>, PropertiesError> {
    let services = list(message, "services", PROPERTY_SERVICES_MAX)?;
    let read = services.iter().filter_map(|service| {
        let service_id = service.get("service_id")?.as_str().filter(|id| !id.is_empty())?;
        let properties = service.get("properties").filter(|properties| properties.is_object())?;
        let event_time = service.get("event_time").and_then(Value::as_str).filter(|time| !time.is_empty());
        Some(ServiceProperties {
            service_id: bounded(service_id, NAME_CHARS_MAX),
            properties: properties.to_string(),
            event_time: event_time.map(|time| bounded(time, EVENT_TIME_CHARS_MAX)),
        })
    });
    Ok(read.collect())
}

fn list<'v>(message: &'v Value, field: &'static str, most: usize) -> Result<&'v [Value], PropertiesError> {
    match message.get(field) {
        Some(Value::Array(list)) if list.len() > most => {
            Err(PropertiesError::TooMany { field, found: list.len(), most })
        }
        Some(Value::Array(list)) => Ok(list),
        Some(_) | None => Err(PropertiesError::NoList(field)),
    }
}
