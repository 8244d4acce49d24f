//! What holds for any request for a download and for any body of the device HTTP API. `fuzz/README.md` lists the
//! promises.
//!
//! Not part of any build but tests and `cargo fuzz`.

#![allow(clippy::unwrap_used, reason = "a promise that is broken is to be seen")]

use std::ops::RangeInclusive;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use futures_util::FutureExt;
use otaru_engine::{Told, UplinkReading};
use otaru_proto::decode_uplink;
use serde_json::Value;
use tower::ServiceExt;

use crate::body::parse;
use crate::caller::bearer;
use crate::query::Asked;
use crate::routes::Id;
use crate::routes::device_http::{ChildrenProperties, Credentials, Properties, Said, read};
use crate::routes::download::{PATH, Portion, portion};

/// Four lines: the target of the request, `Authorization`, `Range`, `If-Range`; an empty line is a header that is not
/// there.
pub fn check_download_request(bytes: &[u8]) {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let Ok(uri) = Uri::try_from(lines.next().unwrap_or_default()) else { return };
    let mut headers = HeaderMap::new();
    for name in [header::AUTHORIZATION, header::RANGE, header::IF_RANGE] {
        let value = HeaderValue::from_bytes(lines.next().unwrap_or_default());
        if let Some(value) = value.ok().filter(|value| !value.is_empty()) {
            headers.insert(name, value);
        }
    }
    check_ranges(&headers);
    if let Some(token) = bearer(&headers) {
        assert!(
            !token.is_empty()
                && token.trim() == token
                && token.bytes().all(|byte| (b' '..0x7f).contains(&byte) || byte == b'\t')
        );
    }
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = uri.clone();
    *request.headers_mut() = headers;
    // Nothing waits: there is no engine behind it.
    let Ok(response) = routed().oneshot(request).now_or_never().expect("an answer at once");
    let status = response.status();
    let segments = uri.path().split('/').count();
    if status == StatusCode::OK {
        let Seen { id, token } = response.extensions().get::<Seen>().unwrap().clone();
        // One segment, decoded once.
        assert!(segments == 4 && uri.path().starts_with("/download/"), "{uri}");
        let sent = uri.path().split('/').nth(2).unwrap();
        assert_eq!(percent_decoded(sent), id.as_bytes(), "{uri}");
        assert!(token.is_none() || uri.query().is_some_and(|query| query.contains('=')));
    } else {
        assert!(matches!(status, StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST), "{uri}: {status}");
    }
}

/// What a route is handed.
#[derive(Clone)]
struct Seen {
    id: String,
    token: Option<String>,
}

/// The route of downloads, with something behind it that only shows what it was handed.
fn routed() -> Router {
    Router::new().route(PATH, get(show))
}

async fn show(Id(id): Id, asked: Asked) -> Response {
    let token = asked.all("access_token").next().map(str::to_owned);
    let mut response = StatusCode::OK.into_response();
    response.extensions_mut().insert(Seen { id, token });
    response
}

/// RFC 3986, 2.1. A percent sign without two digits stands for itself.
fn percent_decoded(text: &str) -> Vec<u8> {
    let mut rest = text.as_bytes();
    let mut decoded = Vec::new();
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.split_first_chunk::<2>().filter(|(two, _)| two.iter().all(u8::is_ascii_hexdigit));
        match digits {
            Some((two, after)) if byte == b'%' => {
                decoded.push(u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap());
                rest = after;
            }
            Some(_) | None => {
                decoded.push(byte);
                rest = after;
            }
        }
    }
    decoded
}

/// Whatever is asked for, a part lies within the file, and a plain range is the part that RFC 9110 says.
fn check_ranges(headers: &HeaderMap) {
    const ETAG: &str = "\"e7ag\"";
    let is_void = headers.get(header::IF_RANGE).is_some_and(|wanted| wanted.as_bytes() != ETAG.as_bytes());
    let plain =
        headers.get(header::RANGE).and_then(|range| plain_range(range.as_bytes())).filter(|_| !is_void);
    for size_bytes in [0, 1, 100, u64::MAX] {
        let found = portion(headers, ETAG, size_bytes);
        match &found {
            Ok(Portion::Part(part)) => {
                assert!(!is_void && part.start() <= part.end() && *part.end() < size_bytes, "{part:?}");
            }
            Ok(Portion::Whole) => {}
            Err(problem) => {
                assert_eq!(problem.code(), "range_unsatisfiable");
                assert!(!is_void, "a new file begins anew");
            }
        }
        if let Some(plain) = plain {
            assert_eq!(found.map_err(|_| ()), wanted(plain, size_bytes), "{plain:?} of {size_bytes}");
        }
    }
}

/// `bytes=a-b`, `bytes=a-` or `bytes=-n`, in digits that fit, and with nothing else in it.
#[derive(Clone, Copy, Debug)]
enum Plain {
    From(u64, Option<u64>),
    Last(u64),
}

fn plain_range(range: &[u8]) -> Option<Plain> {
    let (first, last) = std::str::from_utf8(range).ok()?.strip_prefix("bytes=")?.split_once('-')?;
    let number = |digits: &str| {
        // A range in more digits may be ignored, and is.
        let is_plain = digits.len() <= 30 && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_plain.then(|| digits.parse::<u64>().ok()).flatten()
    };
    match (first, last) {
        ("", last) => Some(Plain::Last(number(last)?)),
        (first, "") => Some(Plain::From(number(first)?, None)),
        (first, last) => Some(Plain::From(number(first)?, Some(number(last)?))),
    }
}

/// RFC 9110, 14.1.2.
fn wanted(range: Plain, size_bytes: u64) -> Result<Portion, ()> {
    let part = |first: u64, last: u64| -> Portion { Portion::Part(RangeInclusive::new(first, last)) };
    match range {
        // Not a range at all.
        Plain::From(first, Some(last)) if last < first => Ok(Portion::Whole),
        Plain::From(first, _) if first >= size_bytes => Err(()),
        Plain::From(first, last) => Ok(part(first, last.unwrap_or(u64::MAX).min(size_bytes - 1))),
        Plain::Last(0) => Err(()),
        // Satisfiable, and there is nothing of it.
        Plain::Last(_) if size_bytes == 0 => Ok(Portion::Whole),
        Plain::Last(bytes) => Ok(part(size_bytes.saturating_sub(bytes), size_bytes - 1)),
    }
}

/// A body of the device HTTP API; the first byte chooses which. What it says is what it says over MQTT, and an object is an
/// object.
pub fn check_device_body(bytes: &[u8]) {
    let Some((kind, body)) = bytes.split_first() else { return };
    let over_http = |said| read(said, Bytes::copy_from_slice(body)).0;
    let over_mqtt = |topic: &str| UplinkReading::of_other_topic(&format!("$oc/devices/d1/sys/{topic}"), body);
    match kind % 5 {
        0 => {
            let Ok(Credentials { device_id, sign_type, timestamp, password }) = parse::<Credentials>(body)
            else {
                return;
            };
            let Some(tree) = object(body) else { return };
            // Of two members with the same name none is preferred: the body is refused.
            assert_eq!(tree["device_id"], device_id);
            assert_eq!(tree["sign_type"], sign_type);
            assert_eq!(tree["timestamp"], timestamp);
            assert_eq!(tree["password"], password);
        }
        1 => {
            if parse::<Properties>(body).is_ok() {
                assert!(object(body).is_none_or(|tree| tree["services"].is_array()));
            }
            assert_eq!(told(over_http(Said::Properties)), told(over_mqtt("properties/report")));
        }
        2 => {
            if let Ok(ChildrenProperties { devices }) = parse::<ChildrenProperties>(body) {
                let sent = object(body).map(|tree| tree["devices"].as_array().unwrap().len());
                assert!(sent.is_none_or(|sent| sent == devices.len()));
            }
            // Over HTTP a batch that cannot be read is one of nobody.
            let nobody = Told::ChildrensProperties(Vec::new());
            assert_eq!(
                told(over_http(Said::ChildrenProperties)),
                Some(told(over_mqtt("gateway/sub_devices/properties/report")).unwrap_or(nobody))
            );
        }
        3 => match over_http(Said::Events) {
            UplinkReading::Event(read) => assert_eq!(read, decode_uplink(body)),
            other @ (UplinkReading::Told(_) | UplinkReading::Ignored | UplinkReading::ForeignTopic(_)) => {
                panic!("{other:?}")
            }
        },
        _ => assert!(matches!(over_http(Said::Message), UplinkReading::Ignored)),
    }
}

fn told(reading: UplinkReading) -> Option<Told> {
    match reading {
        UplinkReading::Told(told) => Some(told),
        UplinkReading::Ignored => None,
        other @ (UplinkReading::Event(_) | UplinkReading::ForeignTopic(_)) => panic!("{other:?}"),
    }
}

/// What a body that was accepted is to a reader that keeps everything. `None` if there is something in it that only such
/// a reader looks at: half a surrogate or a number too large, in a member that is skipped.
fn object(body: &[u8]) -> Option<Value> {
    assert_eq!(body.trim_ascii_start().first(), Some(&b'{'), "no object");
    assert!(std::str::from_utf8(body).is_ok(), "no text");
    serde_json::from_slice(body).ok()
}

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod corpus;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_for_downloads_keep_what_is_promised() {
        corpus::replay("download_request", check_download_request);
    }

    #[test]
    fn bodies_of_devices_keep_what_is_promised() {
        corpus::replay("device_body", check_device_body);
    }
}
