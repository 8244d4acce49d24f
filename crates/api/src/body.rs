//! Request bodies: JSON that is read whole and checked, or bytes that are handed on as they come.

use std::fmt;
use std::marker::PhantomData;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, stream};
use http_body::Body as _;
use http_body_util::BodyExt;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;

use crate::limits::{BODY_PATIENCE, JSON_BODY_BYTES_MAX};
use crate::problem::{Code, Problem};

/// A JSON body, already of the right form: every member known, present and of its type.
pub(crate) struct Json<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Json<T>, Problem> {
        check_type(request.headers())?;
        let bytes = read_whole(request.into_body(), JSON_BODY_BYTES_MAX).await?;
        parse(&bytes).map(Json)
    }
}

/// No body, or an object without members: what else somebody sends would be passed over.
pub(crate) struct NoMembers;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Empty {}

impl<S: Send + Sync> FromRequest<S> for NoMembers {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<NoMembers, Problem> {
        let bytes = read_whole(request.into_body(), JSON_BODY_BYTES_MAX).await?;
        if !bytes.is_empty() {
            let Empty {} = parse(&bytes)?;
        }
        Ok(NoMembers)
    }
}

/// A body without a type, or with the one that `curl -d` declares by itself, is taken for JSON: a person in a hurry
/// means JSON, and a body that is none is refused as such.
fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let sent = String::from_utf8_lossy(value.as_bytes());
    let essence = sent.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence == "application/x-www-form-urlencoded" {
        return Ok(());
    }
    if essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json")) {
        return Ok(());
    }
    Err(Problem::new(
        Code::BodyNotJson,
        format!(
            "the body is declared as `Content-Type: {sent}`; send JSON with `Content-Type: application/json`"
        ),
    ))
}

/// A body of at most `bytes_max` bytes.
pub(crate) async fn read_whole(mut body: Body, bytes_max: usize) -> Result<Bytes, Problem> {
    let too_large = || {
        Problem::new(
            Code::BodyTooLarge,
            format!("the body is larger than {bytes_max} bytes, which is the most that is read"),
        )
    };
    let declared = body.size_hint().lower();
    if declared > bytes_max as u64 {
        return Err(too_large());
    }
    let mut whole = BytesMut::new();
    while let Some(part) = next_part(&mut body).await {
        let part = part.map_err(|cut| Problem::new(Code::BodyIncomplete, cut.to_string()))?;
        if whole.len() + part.len() > bytes_max {
            return Err(too_large());
        }
        whole.extend_from_slice(&part);
    }
    Ok(whole.freeze())
}

/// The object that a body is.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(Problem::new(Code::InvalidJson, "the body is empty; a JSON object is expected"));
    }
    // A member that is skipped is not looked at by the parser.
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        Problem::new(
            Code::InvalidJson,
            format!("the body is not well-formed JSON: it is not UTF-8 from byte {at} on"),
        )
    })?;
    let mut json = serde_json::Deserializer::from_str(text);
    let Whole(value) = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        match inner.classify() {
            Category::Data if path == "." => Problem::new(Code::InvalidMember, format!("the body: {inner}")),
            Category::Data => Problem::new(Code::InvalidMember, format!("`{path}`: {inner}")),
            Category::Io | Category::Syntax | Category::Eof => not_json(&inner),
        }
    })?;
    json.end().map_err(|error| not_json(&error))?;
    Ok(value)
}

/// The object that a line of text is, or what is wrong: the member, as far as it is known, and why.
pub(crate) fn parse_line<T: DeserializeOwned>(text: &str) -> Result<T, (Option<String>, Problem)> {
    let of_line = |error: &serde_json::Error| error.to_string().replace(" at line 1 column ", " at column ");
    let not_json = |why: String| {
        (None, Problem::new(Code::InvalidJson, format!("the line is not well-formed JSON: {why}")))
    };
    let mut json = serde_json::Deserializer::from_str(text);
    let Whole(value) = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        let why = of_line(&inner);
        match inner.classify() {
            Category::Data if path == "." => {
                (quoted(&why), Problem::new(Code::InvalidMember, format!("the line: {why}")))
            }
            Category::Data => {
                let problem = Problem::new(Code::InvalidMember, format!("`{path}`: {why}"));
                (Some(path), problem)
            }
            Category::Io | Category::Syntax | Category::Eof => not_json(why),
        }
    })?;
    json.end().map_err(|error| not_json(of_line(&error)))?;
    Ok(value)
}

/// The member that a message about a missing or unknown one names.
fn quoted(why: &str) -> Option<String> {
    let rest = why.strip_prefix("missing field `").or_else(|| why.strip_prefix("unknown field `"))?;
    rest.split_once('`').map(|(name, _)| name.to_owned())
}

/// A whole body: an object.
struct Whole<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Whole<T> {
    fn deserialize<D: Deserializer<'de>>(member: D) -> Result<Whole<T>, D::Error> {
        object(member).map(Whole)
    }
}

/// An optional member that is `null` was left out: generated clients spell it so.
pub(crate) fn or_default<'de, D, T>(member: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::<T>::deserialize(member).map(Option::unwrap_or_default)
}

/// The same for an object, which nothing else may stand for.
pub(crate) fn object_or_default<'de, D, T>(member: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::<Whole<T>>::deserialize(member).map(|given| given.map_or_else(T::default, |Whole(value)| value))
}

/// Takes an object and nothing else.
///
/// A derived `Deserialize` also takes an array and assigns its elements to members by position, so that what a
/// request means would depend on the order in which we declare them.
pub(crate) fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(member: D) -> Result<T, D::Error> {
    struct Object<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a JSON object")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map))
        }
    }

    member.deserialize_map(Object(PhantomData))
}

fn not_json(error: &serde_json::Error) -> Problem {
    Problem::new(Code::InvalidJson, format!("the body is not well-formed JSON: {error}"))
}

/// A body as a stream of its parts, for uploads of any size. Ends with an error if the body does not come whole.
pub(crate) fn parts(body: Body) -> impl Stream<Item = Result<Bytes, CutShort>> + Send + Unpin {
    Box::pin(stream::unfold(Some(body), |body| async move {
        let mut body = body?;
        match next_part(&mut body).await? {
            Ok(part) => Some((Ok(part), Some(body))),
            Err(cut) => Some((Err(cut), None)),
        }
    }))
}

/// The next bytes of a body, or why there are none although there should be.
async fn next_part(body: &mut Body) -> Option<Result<Bytes, CutShort>> {
    loop {
        match tokio::time::timeout(BODY_PATIENCE, body.frame()).await {
            Err(_) => return Some(Err(CutShort::StoodStill)),
            Ok(None) => return None,
            Ok(Some(Err(_))) => return Some(Err(CutShort::Ended)),
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(part) => return Some(Ok(part)),
                // Trailers say nothing to us.
                Err(_) => continue,
            },
        }
    }
}

/// Why a body did not come whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CutShort {
    /// The connection closed first.
    Ended,
    /// Nothing came for too long.
    StoodStill,
}

impl fmt::Display for CutShort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CutShort::Ended => f.write_str("the body ended before it was whole; send it again"),
            CutShort::StoodStill => {
                write!(f, "nothing of the body came for {} seconds; send it again", BODY_PATIENCE.as_secs())
            }
        }
    }
}

impl std::error::Error for CutShort {}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::StreamExt;

    use super::*;

    #[test]
    fn a_body_is_text_also_where_nobody_looks() {
        #[derive(Deserialize)]
        struct Known {
            known: u8,
        }
        let read =
            |bytes: &[u8]| parse::<Known>(bytes).map(|known| known.known).map_err(|problem| problem.code());
        assert_eq!(read(br#"{"known":7,"other":"x"}"#), Ok(7));
        assert_eq!(read(b"{\"known\":7,\"other\":\"\xff\"}"), Err("invalid_json"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stands_still_is_given_up() {
        let first = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"first"))]);
        let mut parts = parts(Body::from_stream(first.chain(stream::pending())));
        assert_eq!(parts.next().await, Some(Ok(Bytes::from_static(b"first"))));
        assert_eq!(parts.next().await, Some(Err(CutShort::StoodStill)));
        assert_eq!(parts.next().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_body_is_waited_for_as_long_as_it_goes_on() {
        let slow = stream::unfold(0u8, |n| async move {
            tokio::time::sleep(BODY_PATIENCE - Duration::from_secs(1)).await;
            (n < 5).then(|| (Ok::<_, std::io::Error>(Bytes::from(vec![n])), n + 1))
        });
        let came: Vec<_> = parts(Body::from_stream(slow)).collect().await;
        assert_eq!(came, (0..5).map(|n| Ok(Bytes::from(vec![n]))).collect::<Vec<_>>());
    }
}
