//! `/download/{deployment_id}/{file_name}`: packages, for devices.
//!
//! The readers are the device SDKs, and the least of them decides: the head comes before the body in the first
//! write, has few and short lines, `Content-Length` and an unquoted `filename=`; the body is the file itself,
//! never compressed, redirected or sent in chunks. One of the SDKs keeps the body of an error as the package,
//! so the bodies of errors are at most 256 bytes. None of them understands 429.
//!
//! Ranges (RFC 9110, 14): a single one is served; several are answered with the whole file, which every client
//! must accept; one that begins after the end is 416. `If-Range` must be the ETag, otherwise the whole file.
//!
//! The file name in the path is decoration: some SDKs take the name from there.

use std::ops::RangeInclusive;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use axum::routing::get;
use futures_util::stream;
use http_range_header::RangeUnsatisfiableError;
use otaru_engine::{Download, Engine};

use super::Id;
use crate::caller::bearer;
use crate::limits::DOWNLOAD_CHUNK_BYTES;
use crate::metered::Meter;
use crate::problem::{Code, Problem};
use crate::query::Asked;
use crate::router::Shared;

/// As a template, for the metrics.
pub(crate) const PATH: &str = "/download/{deployment_id}/{file_name}";

pub(crate) fn routes() -> Router<Shared> {
    Router::new().route(PATH, get(download))
}

async fn download(
    State(engine): State<Engine>,
    Id(deployment_id): Id,
    method: Method,
    headers: HeaderMap,
    asked: Asked,
) -> Result<Response, Problem> {
    let in_query = asked.all("access_token").next();
    let found = engine.download(&deployment_id, bearer(&headers).or(in_query)).await?;
    let etag = format!("\"{}\"", found.artifact_id);
    // RFC 9110, 14.2: a range means something for GET only.
    let portion =
        if method == Method::GET { portion(&headers, &etag, found.size_bytes)? } else { Portion::Whole };

    let mut response = Response::new(Body::empty());
    let (status, length) = match &portion {
        Portion::Whole => (StatusCode::OK, found.size_bytes),
        Portion::Part(range) => (StatusCode::PARTIAL_CONTENT, range.end() - range.start() + 1),
    };
    *response.status_mut() = status;
    let head = response.headers_mut();
    head.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    head.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    head.insert(header::CONTENT_DISPOSITION, attachment(&found.file_name)?);
    head.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    head.insert(header::ETAG, HeaderValue::from_str(&etag).expect("a SHA-256 in quotes is plain text"));
    if let Portion::Part(range) = &portion {
        let said = format!("bytes {}-{}/{}", range.start(), range.end(), found.size_bytes);
        head.insert(header::CONTENT_RANGE, HeaderValue::from_str(&said).expect("numbers are plain text"));
    }
    if method == Method::GET {
        let (body, meter) = body(found, portion.start(), length);
        *response.body_mut() = body;
        response.extensions_mut().insert(meter);
    }
    Ok(response)
}

/// What of the file is sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Portion {
    Whole,
    Part(RangeInclusive<u64>),
}

impl Portion {
    fn start(&self) -> u64 {
        match self {
            Portion::Whole => 0,
            Portion::Part(range) => *range.start(),
        }
    }
}

/// What `Range` and `If-Range` ask for.
pub(crate) fn portion(headers: &HeaderMap, etag: &str, size_bytes: u64) -> Result<Portion, Problem> {
    let Some(range) = headers.get(header::RANGE).and_then(|value| value.to_str().ok()) else {
        return Ok(Portion::Whole);
    };
    if headers.get(header::IF_RANGE).is_some_and(|wanted| wanted.as_bytes() != etag.as_bytes()) {
        return Ok(Portion::Whole);
    }
    // RFC 9110, 14.2: a Range that is not well-formed may be ignored.
    let Ok(ranges) = http_range_header::parse_range_header(range) else { return Ok(Portion::Whole) };
    if ranges.len() != 1 {
        return Ok(Portion::Whole);
    }
    match ranges.validate(size_bytes) {
        Ok(valid) => Ok(valid.into_iter().next().map_or(Portion::Whole, Portion::Part)),
        Err(RangeUnsatisfiableError::Unsatisfiable) => {
            let said = format!("bytes */{size_bytes}");
            Err(Problem::new(Code::RangeUnsatisfiable, format!("the package has {size_bytes} bytes"))
                .with(header::CONTENT_RANGE, HeaderValue::from_str(&said).expect("numbers are plain text")))
        }
        // Not a range that we understand: as if it were not there.
        Err(_) => Ok(Portion::Whole),
    }
}

/// Without quotes: the C SDK would make them part of the name. The name was made fit when the package was.
fn attachment(file_name: &str) -> Result<HeaderValue, Problem> {
    HeaderValue::try_from(format!("attachment;filename={file_name}"))
        .map_err(|_| Problem::internal(format!("the file name {file_name:?} cannot stand in a header")))
}

/// `length` bytes from `start` on, and who counts them as they leave.
fn body(found: Download, start: u64, length: u64) -> (Body, Meter) {
    let Download { reader, tally, .. } = found;
    let pieces = reader.pieces(start..start + length, DOWNLOAD_CHUNK_BYTES);
    let stream = stream::unfold(pieces, |mut pieces| async move {
        let piece = pieces.next().await?;
        Some((piece, pieces))
    });
    (Body::from_stream(stream), Meter::new(start, move |served| tally.add(served)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ETAG: &str = "\"e7ag\"";

    #[test]
    fn a_single_range_is_a_part() {
        assert_eq!(asked("bytes=0-9", None), Ok(Portion::Part(0..=9)));
        assert_eq!(asked("bytes=90-", None), Ok(Portion::Part(90..=99)));
        assert_eq!(asked("bytes=-10", None), Ok(Portion::Part(90..=99)));
        assert_eq!(asked("bytes=95-4000", None), Ok(Portion::Part(95..=99)));
        assert_eq!(asked("Bytes=0-0", None), Ok(Portion::Part(0..=0)));
    }

    #[test]
    fn several_ranges_and_what_cannot_be_read_are_the_whole() {
        for range in ["bytes=0-1,5-6", "bytes=9-1", "bytes=a-b", "bytes=", "lines=1-2", "bytes 0-9", ""] {
            assert_eq!(asked(range, None), Ok(Portion::Whole), "{range:?}");
        }
    }

    #[test]
    fn a_range_after_the_end_is_unsatisfiable() {
        for range in ["bytes=100-", "bytes=100-200", "bytes=-0"] {
            assert_eq!(asked(range, None), Err("range_unsatisfiable"), "{range:?}");
        }
    }

    #[test]
    fn if_range_must_be_the_etag() {
        assert_eq!(asked("bytes=5-", Some(ETAG)), Ok(Portion::Part(5..=99)));
        for other in ["\"other\"", "W/\"e7ag\"", "Mon, 23 Nov 2026 00:00:00 GMT"] {
            assert_eq!(asked("bytes=5-", Some(other)), Ok(Portion::Whole), "{other}");
        }
        assert_eq!(asked("bytes=500-", Some("\"other\"")), Ok(Portion::Whole), "a new file begins anew");
    }

    fn asked(range: &str, if_range: Option<&str>) -> Result<Portion, &'static str> {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, HeaderValue::from_str(range).unwrap());
        if let Some(etag) = if_range {
            headers.insert(header::IF_RANGE, HeaderValue::from_str(etag).unwrap());
        }
        portion(&headers, ETAG, 100).map_err(|problem| problem.code())
    }
}
