//! `/search/query-devices`: devices by what holds for them, in the language of `search_sql`.
//!
//! A condition is about what a row shows: the gateway of a device that is connected by itself is the device.

use std::collections::BTreeSet;
use std::ops::Range;

use axum::routing::post;
use axum::{Json, Router};
use otaru_engine::{
    DeviceAlternative, DeviceCondition, DeviceFact, DeviceQuery, DeviceStatus, DeviceText, TagCondition,
    TextIs,
};
use otaru_proto::DeviceId;
use serde_json::{Value, json};

use super::apps::Apps;
use super::call::Call;
use super::input::{self, prose};
use super::paging::record_id;
use super::refusal::{INVALID, of_store};
use super::search_sql::{Condition, Field, Is, What, parse};
use super::{devices, words};
use crate::problem::Problem;
use crate::router::Shared;

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/v5/iot/{project_id}/search/query-devices", post(search))
}

async fn search(call: Call) -> Result<Json<Value>, Problem> {
    call.look()?;
    let sql = call.fields()?.needed("sql", prose(SQL_CHARS_MAX))?;
    let search = parse(&sql).map_err(|wrong| refused(&wrong))?;
    let apps = call.apps().await?;
    let any = search.any.iter().map(|all| alternative(all, &apps)).collect::<Result<Vec<_>, _>>()?;
    match search.what {
        What::Count => {
            let query = DeviceQuery { any, oldest_first: false };
            let count = call.engine.count_devices(query).await.map_err(of_store)?;
            Ok(Json(json!({ "count": count })))
        }
        What::Rows { oldest_first, offset, rows } => {
            let query = DeviceQuery { any, oldest_first };
            let views = call.engine.search_devices(query, offset, rows).await.map_err(of_store)?;
            let mut rows = devices::rows(&call, &views).await?;
            for (row, view) in rows.iter_mut().zip(&views) {
                row["marker"] = record_id(view.record.row.key.0).into();
            }
            Ok(Json(json!({ "devices": rows })))
        }
    }
}

/// Longest member that is looked at; what a search may have is the parser's to say.
const SQL_CHARS_MAX: usize = 4_096;

fn refused(wrong: &str) -> Problem {
    INVALID.because(format!("`sql` cannot be read. {wrong}"))
}

/// What has to hold together.
fn alternative(all: &[Condition], apps: &Apps) -> Result<DeviceAlternative, Problem> {
    let (mut conditions, mut status) = (Vec::new(), None);
    for condition in all.iter().filter(|condition| !condition.field.is_of_tag()) {
        match condition.field {
            Field::AppId => {
                let (is_not, ids) = parts(&condition.is);
                // Nothing is in a space that there is not.
                let spaces = ids.iter().filter_map(|id| apps.named(id).ok()).collect();
                conditions.push(DeviceCondition { is_not, fact: DeviceFact::Space(spaces) });
            }
            Field::Status => {
                let accepted = statuses(&condition.is)?;
                status = Some(match status {
                    None => accepted,
                    Some(before) => &before & &accepted,
                });
            }
            Field::DeviceId
            | Field::GatewayId
            | Field::ProductId
            | Field::DeviceName
            | Field::NodeId
            | Field::NodeType
            | Field::TagKey
            | Field::TagValue
            | Field::SwVersion
            | Field::FwVersion
            | Field::GroupId
            | Field::CreateTime
            | Field::Marker => conditions.push(stored(condition)?),
        }
    }
    conditions.extend(tags(all));
    Ok(DeviceAlternative { conditions, status })
}

/// Of an operator that names texts. The others are read only for fields that have them.
fn parts(is: &Is) -> (bool, &[String]) {
    match is {
        Is::OneOf { not, texts } => (*not, texts),
        Is::Above(text) | Is::Below(text) | Is::Begins(text) => (false, std::slice::from_ref(text)),
    }
}

fn statuses(is: &Is) -> Result<BTreeSet<DeviceStatus>, Problem> {
    let (not, texts) = parts(is);
    let known =
        |text: &String| text == ABNORMAL || DeviceStatus::ALL.iter().any(|one| words::status(*one) == text);
    if let Some(unknown) = texts.iter().find(|text| !known(text)) {
        return Err(refused(&format!(
            "`status` is {unknown:?}; ONLINE, OFFLINE, INACTIVE, FROZEN and ABNORMAL are accepted."
        )));
    }
    let wanted = |status: &DeviceStatus| texts.iter().any(|text| text == words::status(*status)) != not;
    Ok(DeviceStatus::ALL.into_iter().filter(wanted).collect())
}

/// A published status that no device has here.
const ABNORMAL: &str = "ABNORMAL";

/// A condition that the store knows how to hold against a device.
fn stored(condition: &Condition) -> Result<DeviceCondition, Problem> {
    let (is_not, texts) = parts(&condition.is);
    let text = |text| DeviceFact::Text(text, text_is(&condition.is));
    let fact = match condition.field {
        Field::DeviceId => text(DeviceText::Id),
        Field::NodeId => text(DeviceText::Node),
        Field::DeviceName => text(DeviceText::Name),
        Field::FwVersion => text(DeviceText::Firmware),
        Field::SwVersion => text(DeviceText::Software),
        Field::ProductId | Field::AppId | Field::Status | Field::TagKey | Field::TagValue => {
            DeviceFact::Product(texts.to_vec())
        }
        // An id that cannot be one is nobody's.
        Field::GatewayId => DeviceFact::Gateway(texts.iter().flat_map(|id| DeviceId::parse(id)).collect()),
        Field::GroupId => DeviceFact::Group(texts.to_vec()),
        Field::NodeType => return node_type(is_not, texts),
        Field::CreateTime => DeviceFact::Created(ranges(&condition.is, |text| {
            let time = input::time("create_time", text).map_err(|_| {
                refused(&format!("`create_time` is {text:?}; the form yyyyMMdd'T'HHmmss'Z' is accepted."))
            })?;
            Ok(time.0..time.0.saturating_add(1_000))
        })?),
        Field::Marker => DeviceFact::Key(ranges(&condition.is, |text| {
            let digits = text.len() == 24 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            let number = u128::from_str_radix(text, 16).ok().filter(|_| digits).ok_or_else(|| {
                refused(&format!(
                    "`marker` is {text:?}; 24 hexadecimal digits are accepted, as rows show them."
                ))
            })?;
            // What is larger than any number is behind all of them.
            let number = i64::try_from(number).unwrap_or(i64::MAX);
            Ok(number..number.saturating_add(1))
        })?),
    };
    Ok(DeviceCondition { is_not, fact })
}

fn text_is(is: &Is) -> TextIs {
    match is {
        Is::OneOf { texts, .. } => TextIs::OneOf(texts.clone()),
        Is::Begins(start) => TextIs::Begins(start.clone()),
        Is::Above(text) | Is::Below(text) => TextIs::OneOf(vec![text.clone()]),
    }
}

/// `read` makes the range that is one value.
fn ranges(is: &Is, read: impl Fn(&str) -> Result<Range<i64>, Problem>) -> Result<Vec<Range<i64>>, Problem> {
    match is {
        Is::OneOf { texts, .. } => texts.iter().map(|text| read(text)).collect(),
        Is::Above(text) => Ok(vec![Range { start: read(text)?.end, end: i64::MAX }]),
        Is::Below(text) | Is::Begins(text) => Ok(vec![Range { start: i64::MIN, end: read(text)?.start }]),
    }
}

/// A device with another gateway than itself is an end of the line.
fn node_type(is_not: bool, texts: &[String]) -> Result<DeviceCondition, Problem> {
    if let Some(unknown) = texts.iter().find(|text| !NODE_TYPES.contains(&text.as_str())) {
        return Err(refused(&format!("`node_type` is {unknown:?}; {} are accepted.", NODE_TYPES.join(", "))));
    }
    let has = |word: &str| texts.iter().any(|text| text == word) != is_not;
    Ok(match (has("ENDPOINT"), has("GATEWAY")) {
        (true, true) => DeviceCondition { is_not: true, fact: DeviceFact::Key(Vec::new()) },
        (false, false) => DeviceCondition { is_not: false, fact: DeviceFact::Key(Vec::new()) },
        (is_child, _) => DeviceCondition { is_not: !is_child, fact: DeviceFact::Child },
    })
}

const NODE_TYPES: [&str; 3] = ["GATEWAY", "ENDPOINT", "UNKNOWN"];

/// What is asked of tags: one tag for which everything holds. Where nothing has to be there, no tag that must not.
fn tags(all: &[Condition]) -> Vec<DeviceCondition> {
    let of_tags = all.iter().filter(|condition| condition.field.is_of_tag()).map(|condition| TagCondition {
        is_not: parts(&condition.is).0,
        of_key: condition.field == Field::TagKey,
        is: text_is(&condition.is),
    });
    let of_tags: Vec<TagCondition> = of_tags.collect();
    if of_tags.iter().any(|condition| !condition.is_not) {
        return vec![DeviceCondition { is_not: false, fact: DeviceFact::Tag(of_tags) }];
    }
    let absent = |condition| TagCondition { is_not: false, ..condition };
    let each = of_tags.into_iter().map(|condition| DeviceFact::Tag(vec![absent(condition)]));
    each.map(|fact| DeviceCondition { is_not: true, fact }).collect()
}
