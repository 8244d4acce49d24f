//! Whether a request was signed with an access key: `SDK-HMAC-SHA256` and `V11-HMAC-SHA256`.
//!
//! Pure: no clock, no store. What was signed is taken from `SignedHeaders`, since each language's client signs others.
//!
//! ```text
//! METHOD  /path/as/signed/  query, decoded and sorted  the signed headers  their names  digest of the body
//!    └────────────────────────────── SHA-256 ──────────────────────────────────┘
//!                      scheme, date, (scope,) digest  ── HMAC ──► signature
//! ```

use std::fmt::Write as _;

use axum::http::{HeaderMap, Method, Uri};
use hmac::{Hmac, KeyInit, Mac};
use otaru_core::WallTime;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha2::{Digest, Sha256};
use time::PrimitiveDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

type HmacSha256 = Hmac<Sha256>;

/// What stays as it is in the canonical form.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What stands in for the digest of a body that was not signed.
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// The name of the service in a `V11` scope.
const SERVICE: &str = "iotdm";

/// Headers that may be signed. Clients sign five to eight.
const SIGNED_MAX: usize = 64;

/// When a request was signed.
const DATE: &[BorrowedFormatItem<'static>] =
    format_description!("[year][month][day]T[hour][minute][second]Z");

/// What an `Authorization` header of one of the two schemes says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signed {
    /// Who says to have signed.
    pub(crate) access_key: String,
    /// `DATE/REGION/SERVICE` of a derived key.
    scope: Option<String>,
    /// Lower-case names, in the order in which they were signed.
    headers: Vec<String>,
    signature: Vec<u8>,
}

/// Why a signature is not accepted. Every one is the caller's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SignatureError {
    #[error(
        "the scheme {0:?} of `Authorization` is not accepted; SDK-HMAC-SHA256, V11-HMAC-SHA256 and Bearer are"
    )]
    Scheme(String),
    #[error("`Authorization` has no usable {0}")]
    Part(&'static str),
    #[error("{0:?} is in SignedHeaders, and the request has no such header")]
    HeaderMissing(String),
    #[error("x-sdk-date is not in SignedHeaders")]
    DateNotSigned,
    #[error("`X-Sdk-Date` is {0:?}; the form YYYYMMDDTHHMMSSZ is accepted")]
    Date(String),
    #[error(
        "the request was signed {0} s from the time of this server, and {1} s are accepted; set the clock"
    )]
    Late(i64, i64),
    #[error(
        "the scope of `Credential` is {0:?}; DATE/REGION/iotdm with the date of `X-Sdk-Date` is accepted"
    )]
    Scope(String),
    #[error("`X-Sdk-Content-Sha256` is accepted for uploads of forms only")]
    Unsigned,
    #[error("the signature does not match; is it the secret of this access key?")]
    Mismatch,
}

impl Signed {
    /// Reads an `Authorization` header. `None`: it is of no scheme that signs.
    ///
    /// # Errors
    ///
    /// It is of a scheme that signs and is not accepted, or a part of it is missing.
    pub(crate) fn parse(authorization: &str) -> Option<Result<Signed, SignatureError>> {
        let (scheme, rest) = authorization.trim().split_once(' ')?;
        let is_derived = match scheme {
            "SDK-HMAC-SHA256" => false,
            "V11-HMAC-SHA256" => true,
            _ if scheme.starts_with("SDK-") || scheme.starts_with("V11-") => {
                return Some(Err(SignatureError::Scheme(scheme.chars().take(64).collect())));
            }
            // Something else may prove who asks.
            _ => return None,
        };
        Some(Signed::parts(rest, is_derived))
    }

    fn parts(text: &str, is_derived: bool) -> Result<Signed, SignatureError> {
        let part = |name: &'static str| {
            let mut parts = text.split(',').filter_map(|part| part.trim().split_once('='));
            parts.find(|(found, _)| *found == name).map(|(_, value)| value).ok_or(SignatureError::Part(name))
        };
        let (access_key, scope) = if is_derived {
            let credential = part("Credential")?;
            let (key, scope) = credential.split_once('/').ok_or(SignatureError::Part("Credential"))?;
            (key, Some(scope.to_owned()))
        } else {
            (part("Access")?, None)
        };
        let headers: Vec<String> = part("SignedHeaders")?.split(';').map(str::to_owned).collect();
        if headers.len() > SIGNED_MAX {
            return Err(SignatureError::Part("SignedHeaders"));
        }
        let signature = unhex(part("Signature")?).ok_or(SignatureError::Part("Signature"))?;
        Ok(Signed { access_key: access_key.to_owned(), scope, headers, signature })
    }

    /// Looks at everything that can be said before the body and the secret are known: whether the date was signed, and is
    /// within `window_ms` of `now`.
    ///
    /// # Errors
    ///
    /// `DateNotSigned`, `Date`, `Late`, `Scope`, `HeaderMissing`.
    pub(crate) fn check_head(
        &self,
        headers: &HeaderMap,
        now: WallTime,
        window_ms: i64,
    ) -> Result<(), SignatureError> {
        if !self.headers.iter().any(|name| name == "x-sdk-date") {
            return Err(SignatureError::DateNotSigned);
        }
        if let Some(missing) = self.headers.iter().find(|name| headers.get(name.as_str()).is_none()) {
            return Err(SignatureError::HeaderMissing(missing.chars().take(64).collect()));
        }
        let date = date(headers);
        let signed_at = PrimitiveDateTime::parse(date, DATE)
            .map_err(|_| SignatureError::Date(date.chars().take(64).collect()))?;
        let signed_at = signed_at.assume_utc().unix_timestamp();
        let apart = (now.0 / 1_000).abs_diff(signed_at);
        if apart > window_ms.unsigned_abs() / 1_000 {
            let apart = i64::try_from(apart).unwrap_or(i64::MAX);
            return Err(SignatureError::Late(apart, window_ms / 1_000));
        }
        if let Some(scope) = &self.scope {
            let mut parts = scope.split('/');
            let (day, region, service) = (parts.next(), parts.next(), parts.next());
            let fits = day == date.get(..8)
                && region.is_some_and(|region| !region.is_empty())
                && service == Some(SERVICE)
                && parts.next().is_none();
            if !fits {
                return Err(SignatureError::Scope(scope.chars().take(128).collect()));
            }
        }
        Ok(())
    }

    /// Whether the request was signed with `secret`. Compares in constant time.
    ///
    /// # Errors
    ///
    /// `Mismatch`; `Unsigned`, where the body was left out of the signature and has to be in it.
    pub(crate) fn verify(
        &self,
        secret: &str,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<(), SignatureError> {
        let request = self.canonical_request(method, uri, headers, body)?;
        let to_sign = self.string_to_sign(date(headers), &request);
        let key = match &self.scope {
            None => secret.as_bytes().to_vec(),
            Some(scope) => derived_key(&self.access_key, secret, scope).into_bytes(),
        };
        let mut mac = keyed(&key);
        mac.update(to_sign.as_bytes());
        mac.verify_slice(&self.signature).map_err(|_| SignatureError::Mismatch)
    }

    fn canonical_request(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<String, SignatureError> {
        let mut text =
            format!("{method}\n{}\n{}\n", canonical_path(uri.path()), canonical_query(uri.query()));
        for name in &self.headers {
            let value = headers.get(name.as_str()).map(|value| value.as_bytes()).unwrap_or_default();
            // As bytes on the wire; a value that is no UTF-8 cannot have been signed by any client.
            let value = std::str::from_utf8(value).map_err(|_| SignatureError::Mismatch)?;
            let _ = writeln!(text, "{name}:{}", value.trim());
        }
        text.push('\n');
        text.push_str(&self.headers.join(";"));
        text.push('\n');
        match headers.get("x-sdk-content-sha256") {
            Some(given) if !body.is_empty() => {
                let is_form = headers
                    .get("content-type")
                    .is_some_and(|value| value.as_bytes().to_ascii_lowercase().starts_with(b"multipart/"));
                if given != UNSIGNED || !is_form {
                    return Err(SignatureError::Unsigned);
                }
                text.push_str(UNSIGNED);
            }
            Some(_) | None => text.push_str(&hex(&Sha256::digest(body))),
        }
        Ok(text)
    }

    fn string_to_sign(&self, date: &str, request: &str) -> String {
        let digest = hex(&Sha256::digest(request.as_bytes()));
        match &self.scope {
            None => format!("SDK-HMAC-SHA256\n{date}\n{digest}"),
            Some(scope) => format!("V11-HMAC-SHA256\n{date}\n{scope}\n{digest}"),
        }
    }
}

fn date(headers: &HeaderMap) -> &str {
    headers.get("x-sdk-date").and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn keyed(key: &[u8]) -> HmacSha256 {
    HmacSha256::new_from_slice(key).expect("HMAC takes a key of any length")
}

/// The key of a derived signature: the text of what HKDF makes from the pair and the scope.
fn derived_key(access_key: &str, secret: &str, scope: &str) -> String {
    let mut extract = keyed(access_key.as_bytes());
    extract.update(secret.as_bytes());
    let mut expand = keyed(&extract.finalize().into_bytes());
    expand.update(scope.as_bytes());
    expand.update(&[1]);
    hex(&expand.finalize().into_bytes())
}

fn canonical_path(path: &str) -> String {
    let mut text = String::with_capacity(path.len() + 1);
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    for (at, part) in decoded.split('/').enumerate() {
        if at > 0 {
            text.push('/');
        }
        text.extend(utf8_percent_encode(part, ESCAPED));
    }
    if !text.ends_with('/') {
        text.push('/');
    }
    text
}

fn canonical_query(query: Option<&str>) -> String {
    let mut pairs: Vec<(String, String)> =
        pairs(query).into_iter().map(|(name, value)| (escaped(&name), escaped(&value))).collect();
    pairs.sort();
    let joined: Vec<String> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    joined.join("&")
}

/// The pairs of a query, decoded.
pub(crate) fn pairs(query: Option<&str>) -> Vec<(String, String)> {
    let decoded = |text: &str| {
        let spaced = text.replace('+', " ");
        percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
    };
    let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        })
        .collect()
}

fn escaped(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .chars()
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    (rest.is_empty() && !pairs.is_empty()).then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

#[cfg(test)]
#[path = "signature_tests.rs"]
mod tests;
