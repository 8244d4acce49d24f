//! `/v5/device-auth` and `/v5/devices/{device_id}/sys/…`: what devices say over HTTP.
//!
//! The paths, the header `access_token` and the shapes are those of the published device API; `events/up` is ours,
//! with the body of the MQTT topic. Refusals have the published codes, and messages that begin with the published
//! words and go on with what is wrong. An answer of 200 is a PUBACK: what was said is stored, with everything that
//! follows from it.
//!
//! A token is looked at before the body is read.

use std::net::{Ipv4Addr, SocketAddr};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use bytes::Bytes;
use otaru_engine::{DeviceAuth, DeviceHttpError, DeviceVisit, Engine, Told, UplinkReading};
use otaru_proto::limits::UPLINK_BYTES_MAX;
use otaru_proto::{DeviceId, decode_gateway_properties, decode_properties, decode_uplink};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::Id;
use crate::body::{parse, read_whole};
use crate::caller::{Peer, bearer};
use crate::limits::{CHILDREN_REPORTED_MAX, DEVICE_AUTH_BYTES_MAX};
use crate::problem::Problem;
use crate::router::Shared;

/// Where devices get their token. The only body that is read of somebody whom we do not know yet.
pub(crate) const DEVICE_AUTH_PATH: &str = "/v5/device-auth";

pub(crate) fn routes() -> Router<Shared> {
    Router::new()
        .route(DEVICE_AUTH_PATH, post(device_auth))
        .route("/v5/devices/{device_id}/sys/messages/up", post(messages_up))
        .route("/v5/devices/{device_id}/sys/properties/report", post(properties_report))
        .route(
            "/v5/devices/{device_id}/sys/gateway/sub-devices/properties/report",
            post(children_properties_report),
        )
        .route("/v5/devices/{device_id}/sys/events/up", post(events_up))
}

#[derive(Deserialize)]
pub(crate) struct Credentials {
    pub(crate) device_id: String,
    pub(crate) sign_type: i64,
    pub(crate) timestamp: String,
    pub(crate) password: String,
}

#[derive(Serialize)]
struct Granted {
    access_token: String,
    /// In seconds.
    expires_in: u64,
}

async fn device_auth(State(engine): State<Engine>, request: Request) -> Result<Json<Granted>, Problem> {
    let peer = request.extensions().get::<Peer>().copied();
    let Peer(peer) = peer.unwrap_or(Peer(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))));
    let body = read_whole(request.into_body(), DEVICE_AUTH_BYTES_MAX).await.map_err(invalid)?;
    let Credentials { device_id, sign_type, timestamp, password } = parse(&body).map_err(invalid)?;
    let auth =
        DeviceAuth { device_id: &device_id, sign_type, timestamp: &timestamp, password: &password, peer };
    let token = engine.device_token(auth).await.map_err(refused)?;
    Ok(Json(Granted { access_token: token.access_token, expires_in: token.expires_in.as_secs() }))
}

async fn messages_up(
    State(engine): State<Engine>,
    id: Result<Id, Problem>,
    request: Request,
) -> Result<(), Problem> {
    let (visit, body) = open(&engine, id, request).await?;
    tell(visit, Said::Message, body).await
}

async fn properties_report(
    State(engine): State<Engine>,
    id: Result<Id, Problem>,
    request: Request,
) -> Result<(), Problem> {
    let (visit, body) = open(&engine, id, request).await?;
    let _: Properties = parse(&body).map_err(invalid)?;
    tell(visit, Said::Properties, body).await
}

async fn children_properties_report(
    State(engine): State<Engine>,
    id: Result<Id, Problem>,
    request: Request,
) -> Result<(), Problem> {
    let (visit, body) = open(&engine, id, request).await?;
    let report: ChildrenProperties = parse(&body).map_err(invalid)?;
    let children = report.devices.len();
    if children > CHILDREN_REPORTED_MAX {
        let problem =
            format!("`devices` has {children} entries; at most {CHILDREN_REPORTED_MAX} are accepted");
        return Err(DeviceCode::InvalidInput.problem(&problem));
    }
    tell(visit, Said::ChildrenProperties, body).await
}

async fn events_up(
    State(engine): State<Engine>,
    id: Result<Id, Problem>,
    request: Request,
) -> Result<(), Problem> {
    let (visit, body) = open(&engine, id, request).await?;
    tell(visit, Said::Events, body).await
}

/// Of a report of properties, only that it is one.
#[derive(Deserialize)]
pub(crate) struct Properties {
    #[serde(rename = "services")]
    _services: Vec<IgnoredAny>,
}

#[derive(Deserialize)]
pub(crate) struct ChildrenProperties {
    pub(crate) devices: Vec<IgnoredAny>,
}

/// Looks at the token, then reads the body.
async fn open(
    engine: &Engine,
    id: Result<Id, Problem>,
    request: Request,
) -> Result<(DeviceVisit, Bytes), Problem> {
    let Id(device_id) = id.map_err(invalid)?;
    let visit = engine.device_visit(&device_id, token(request.headers())).await.map_err(refused)?;
    let body = read_whole(request.into_body(), UPLINK_BYTES_MAX).await.map_err(invalid)?;
    Ok((visit, body))
}

/// The published header; its underscore is dropped by some proxies, so that a bearer token will do as well.
fn token(headers: &HeaderMap) -> Option<&str> {
    const PUBLISHED: HeaderName = HeaderName::from_static("access_token");
    let published = headers.get(PUBLISHED).and_then(|value| value.to_str().ok());
    published.map(str::trim).or_else(|| bearer(headers))
}

/// What kind of thing a device said.
#[derive(Clone, Copy)]
pub(crate) enum Said {
    Message,
    Properties,
    ChildrenProperties,
    Events,
}

/// What the engine is told of it, and with which bytes.
pub(crate) fn read(said: Said, body: Bytes) -> (UplinkReading, Bytes) {
    match said {
        Said::Events => (UplinkReading::Event(decode_uplink(&body)), body),
        // As over MQTT, the last ones are kept.
        Said::Properties => {
            let told = decode_properties(&body).map(Told::Properties);
            (told.map_or(UplinkReading::Ignored, UplinkReading::Told), Bytes::new())
        }
        Said::ChildrenProperties => {
            let children = decode_gateway_properties(&body).unwrap_or_default().into_iter();
            let known = children.filter_map(|(id, services)| Some((DeviceId::parse(&id).ok()?, services)));
            (UplinkReading::Told(Told::ChildrensProperties(known.collect())), Bytes::new())
        }
        Said::Message => (UplinkReading::Ignored, Bytes::new()),
    }
}

/// Hands it over and waits until it is stored. What cannot be read is stored first and refused then: operators are to
/// see it, and the device need not send it again.
async fn tell(visit: DeviceVisit, said: Said, body: Bytes) -> Result<(), Problem> {
    let (reading, payload) = read(said, body);
    let unreadable =
        if let UplinkReading::Event(Err(error)) = &reading { Some(error.to_string()) } else { None };
    visit.says(payload, reading).await.map_err(refused)?;
    unreadable.map_or(Ok(()), |error| Err(DeviceCode::InvalidInput.problem(&error)))
}

/// The codes of the published device API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DeviceCode {
    InvalidInput,
    NotAuthenticated,
    BadToken,
    TooFast,
    /// Ours: none is published for a platform that cannot store.
    Unavailable,
}

impl DeviceCode {
    /// Status, code and words.
    const fn published(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            DeviceCode::InvalidInput => (StatusCode::BAD_REQUEST, "IOTDA.000006", "Invalid input data."),
            DeviceCode::NotAuthenticated => {
                (StatusCode::UNAUTHORIZED, "IOTDA.000002", "Authentication failed.")
            }
            DeviceCode::BadToken => (StatusCode::FORBIDDEN, "IOTDA.000004", "Invalid access token."),
            DeviceCode::TooFast => {
                (StatusCode::FORBIDDEN, "IOTDA.021101", "Request reached the maximum rate limit.")
            }
            DeviceCode::Unavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, "IOTDA.000001", "The service is unavailable.")
            }
        }
    }

    /// The published words, and after them what is wrong.
    fn problem(self, detail: &str) -> Problem {
        let (status, code, words) = self.published();
        Problem::published(status, code, format!("{words} {detail}"))
    }
}

/// Something about the request itself.
fn invalid(problem: Problem) -> Problem {
    DeviceCode::InvalidInput.problem(problem.message())
}

fn refused(error: DeviceHttpError) -> Problem {
    let code = match &error {
        DeviceHttpError::Invalid { .. } => DeviceCode::InvalidInput,
        DeviceHttpError::Refused(_) => DeviceCode::NotAuthenticated,
        DeviceHttpError::NoToken | DeviceHttpError::BadToken | DeviceHttpError::Expired => {
            DeviceCode::BadToken
        }
        DeviceHttpError::TooFast { .. } => DeviceCode::TooFast,
        DeviceHttpError::Unavailable => DeviceCode::Unavailable,
    };
    code.problem(&error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_stands_in_the_description_of_the_protocol() {
        let page = include_str!("../../../../docs/protocol.md");
        for code in [
            DeviceCode::InvalidInput,
            DeviceCode::NotAuthenticated,
            DeviceCode::BadToken,
            DeviceCode::TooFast,
            DeviceCode::Unavailable,
        ] {
            let (status, code, words) = code.published();
            let row = format!("| {} | `{code}` | {words} |", status.as_u16());
            assert!(page.contains(&row), "no row {row}");
        }
    }
}
