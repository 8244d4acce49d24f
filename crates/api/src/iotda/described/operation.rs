//! One route with one method, described.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::super::input::ID;
use super::super::paging::{FIRST, LIMIT_DEFAULT, LIMIT_MAX, OFFSET_MAX};
use super::super::refusal::{
    AWAY, BROKEN, FORBIDDEN, INVALID, LIMIT, NO_SPACE, NOT_JSON, NOT_OFFERED, PAGING, TOKEN, TOO_LARGE,
    UNKNOWN_CALLER, Why,
};
use super::shape::refer;

/// What most operations refuse in the same way, under a name instead of repeated.
pub(super) const SHARED: &[(&str, &[Why])] = &[
    ("Unauthorized", &[UNKNOWN_CALLER]),
    ("Forbidden", &[TOKEN, FORBIDDEN]),
    ("NotOffered", &[NOT_OFFERED]),
    ("TooLarge", &[TOO_LARGE]),
    ("Internal", &[BROKEN]),
    ("Unavailable", &[AWAY]),
];

/// What every call with a proof may be refused with. A body is read whatever the method is.
const ALWAYS: &[Why] = &[NOT_JSON, INVALID, UNKNOWN_CALLER, TOKEN, FORBIDDEN, TOO_LARGE, BROKEN, AWAY];

/// An operation. `says` is what the document has of it.
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) says: Value,
    refusals: Vec<Why>,
}

impl Operation {
    /// For whoever may look. `path`: below the project.
    pub(super) fn look(method: &'static str, path: &str, id: &str, says: &str) -> Operation {
        Operation::proved(method, format!("/v5/iot/{{project_id}}{path}"), id, says, "viewer")
    }

    /// For whoever may change something.
    pub(super) fn change(method: &'static str, path: &str, id: &str, says: &str) -> Operation {
        Operation::proved(method, format!("/v5/iot/{{project_id}}{path}"), id, says, "operator")
    }

    /// For whoever has this role, at a path of its own.
    pub(super) fn proved(method: &'static str, path: String, id: &str, says: &str, role: &str) -> Operation {
        let mut operation = Operation::open(method, &path, id, says);
        operation.says["security"] = json!([{"token": [role]}, {"bearer": [role]}]);
        let operation = operation.refuses(ALWAYS);
        // An empty id is another path.
        if path.contains('{') { operation.refuses(&[NOT_OFFERED]) } else { operation }
    }

    /// For everybody.
    pub(super) fn open(method: &'static str, path: &str, id: &str, says: &str) -> Operation {
        let parameters: Vec<Value> = path.split('/').filter_map(|part| {
            let name = part.strip_prefix('{')?.strip_suffix('}')?;
            Some(json!({"name": name, "in": "path", "required": true, "schema": {"type": "string", "minLength": 1}}))
        }).collect();
        let mut described = json!({
            "tags": ["server"], "summary": says, "operationId": id, "security": [{}], "responses": {},
        });
        if !parameters.is_empty() {
            described["parameters"] = parameters.into();
        }
        Operation { method, path: path.to_owned(), says: described, refusals: Vec::new() }
    }

    pub(super) fn tagged(mut self, tag: &str) -> Operation {
        self.says["tags"] = json!([tag]);
        self
    }

    /// A parameter of the query, which may be left out.
    pub(super) fn query(self, name: &str, schema: &Value, says: &str) -> Operation {
        self.parameter(name, schema, says, false)
    }

    /// One that has to be there.
    pub(super) fn asks(self, name: &str, schema: &Value, says: &str) -> Operation {
        self.parameter(name, schema, says, true).refuses(&[INVALID])
    }

    fn parameter(mut self, name: &str, schema: &Value, says: &str, required: bool) -> Operation {
        let parameter =
            json!({"name": name, "in": "query", "required": required, "description": says, "schema": schema});
        if self.says["parameters"].is_null() {
            self.says["parameters"] = json!([]);
        }
        self.says["parameters"].as_array_mut().expect("it is a list").push(parameter);
        self
    }

    /// `app_id` of the query.
    pub(super) fn space(self) -> Operation {
        self.query("app_id", &ID.schema(), "Only what is in this resource space").refuses(&[NO_SPACE])
    }

    /// `limit`, `marker` and `offset`.
    pub(super) fn paged(self) -> Operation {
        let limit = json!({"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT});
        let marker = json!({"type": "string", "pattern": "^[0-9A-Fa-f]{24}$", "default": FIRST});
        let offset = json!({"type": "integer", "minimum": 0, "maximum": OFFSET_MAX, "default": 0});
        self.query("limit", &limit, "How many records at most")
            .query("marker", &marker, "`page.marker` of the page before")
            .query("offset", &offset, "How many records after the marker to leave out")
            .refuses(&[LIMIT, PAGING])
    }

    /// A body, of this shape.
    pub(super) fn takes(mut self, shape: &str, required: bool) -> Operation {
        self.says["requestBody"] =
            json!({"required": required, "content": {"application/json": {"schema": refer(shape)}}});
        self
    }

    pub(super) fn answers(mut self, status: u16, says: &str, schema: Value) -> Operation {
        self.says["responses"][status.to_string()] =
            json!({"description": says, "content": {"application/json": {"schema": schema}}});
        self
    }

    /// With a shape that has a name.
    pub(super) fn shows(self, status: u16, says: &str, shape: &str) -> Operation {
        self.answers(status, says, refer(shape))
    }

    /// A header that an answer always has.
    pub(super) fn tells(mut self, status: u16, name: &str, says: &str) -> Operation {
        self.says["responses"][status.to_string()]["headers"][name] =
            json!({"description": says, "required": true, "schema": {"type": "string"}});
        self
    }

    /// Without a body.
    pub(super) fn done(mut self, status: u16, says: &str) -> Operation {
        self.says["responses"][status.to_string()] = json!({ "description": says });
        self
    }

    /// Adds to what it may be refused with.
    pub(super) fn refuses(mut self, whys: &[Why]) -> Operation {
        for why in whys {
            if !self.refusals.contains(why) {
                self.refusals.push(*why);
            }
        }
        let mut by_status: BTreeMap<u16, Vec<Why>> = BTreeMap::new();
        for why in &self.refusals {
            by_status.entry(why.status().as_u16()).or_default().push(*why);
        }
        for (status, whys) in by_status {
            let shared = SHARED.iter().find(|(_, shared)| **shared == *whys);
            self.says["responses"][status.to_string()] = match shared {
                Some((name, _)) => json!({"$ref": format!("#/components/responses/{name}")}),
                None => response(&whys),
            };
        }
        self
    }
}

/// A refusal with one of these codes, which have one status.
pub(super) fn response(whys: &[Why]) -> Value {
    let mut says: Vec<String> = whys.iter().map(|why| format!("`{}`: {}", why.code(), why.words())).collect();
    says.sort();
    let mut codes: Vec<&str> = whys.iter().map(|why| why.code()).collect();
    codes.sort_unstable();
    let mut response = json!({
        "description": says.join(" "),
        // Beside a reference, so that a client has one type for all of them.
        "content": {"application/json": {"schema": {
            "$ref": "#/components/schemas/Refusal",
            "properties": {"error_code": {"enum": codes}},
        }}},
    });
    if whys.contains(&AWAY) {
        let retry = json!({"description": "After how many seconds to try again", "schema": {"type": "integer", "minimum": 0}});
        response["headers"] = Value::Object(Map::from_iter([("Retry-After".to_owned(), retry)]));
    }
    response
}
