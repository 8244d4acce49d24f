//! Schemas of JSON, in the words of the API.

use serde_json::{Map, Value, json};

/// Schemas with their names: the shapes of a resource, or the members of an object.
pub(super) type Named = Vec<(&'static str, Value)>;

/// A shape by its name.
pub(super) fn refer(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// An object: members that have to be there, and those that may be.
pub(super) fn object(always: &[(&str, Value)], sometimes: &[(&str, Value)]) -> Value {
    let members: Map<String, Value> =
        always.iter().chain(sometimes).map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
    let mut object = json!({"type": "object", "properties": members});
    if !always.is_empty() {
        object["required"] = always.iter().map(|(name, _)| *name).collect();
    }
    object
}

/// An object of any members.
pub(super) fn opaque(says: &str) -> Value {
    json!({"type": "object", "description": says})
}

/// Any text.
pub(super) fn text() -> Value {
    json!({"type": "string"})
}

pub(super) fn truth() -> Value {
    json!({"type": "boolean"})
}

/// One of these words.
pub(super) fn word(words: &[&str]) -> Value {
    json!({"type": "string", "enum": words})
}

pub(super) fn whole(least: u32, most: Option<u32>) -> Value {
    let mut schema = json!({"type": "integer", "minimum": least});
    if let Some(most) = most {
        schema["maximum"] = most.into();
    }
    schema
}

pub(super) fn list(of: Value) -> Value {
    json!({"type": "array", "items": of})
}

/// A list with as many entries at most, and as few at least.
pub(super) fn list_of(of: Value, least: usize, most: usize) -> Value {
    let mut schema = list(of);
    if least > 0 {
        schema["minItems"] = least.into();
    }
    schema["maxItems"] = most.into();
    schema
}

pub(super) fn nullable(mut schema: Value) -> Value {
    schema["type"] = json!([schema["type"], "null"]);
    schema
}

pub(super) fn about(mut schema: Value, says: &str) -> Value {
    schema["description"] = says.into();
    schema
}

/// `20260131T091000Z`.
pub(super) fn seconds() -> Value {
    json!({"type": "string", "pattern": "^[0-9]{8}T[0-9]{6}Z$"})
}

/// `2026-01-31T09:10:00.000Z`.
pub(super) fn millis() -> Value {
    json!({"type": "string", "format": "date-time"})
}

/// `2026-01-31T08:00:00.000000Z`.
pub(super) fn micros() -> Value {
    json!({"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{6}Z$"})
}

/// A list in pages.
pub(super) fn page_of(name: &str, of: &str) -> Value {
    object(&[(name, list(refer(of))), ("page", refer("Page"))], &[])
}
