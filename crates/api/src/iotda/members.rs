//! Members that only applications use: kept with a thing as a JSON object, and given back as they came.

use std::collections::BTreeMap;

use otaru_engine::{Engine, Thing};
use serde_json::{Map, Value};

use super::refusal::of_store;
use crate::problem::Problem;

pub(super) type Members = Map<String, Value>;

/// As it is kept.
pub(super) fn text(members: &Members) -> String {
    serde_json::to_string(members).expect("a JSON object has a text")
}

fn read(text: &str) -> Members {
    match serde_json::from_str(text) {
        Ok(Value::Object(members)) => members,
        // Nothing else is ever kept.
        Ok(_) | Err(_) => Map::new(),
    }
}

/// Those of one thing; a thing of the native API has none.
pub(super) async fn of(engine: &Engine, thing: Thing) -> Result<Members, Problem> {
    Ok(all(engine, vec![thing]).await?.remove(&thing).unwrap_or_default())
}

/// Those of many.
pub(super) async fn all(engine: &Engine, things: Vec<Thing>) -> Result<BTreeMap<Thing, Members>, Problem> {
    let texts = engine.members(things).await.map_err(of_store)?;
    Ok(texts.into_iter().map(|(thing, text)| (thing, read(&text))).collect())
}
