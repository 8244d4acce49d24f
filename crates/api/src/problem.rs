//! What a caller is told when a request cannot be done.
//!
//! A [`Problem`] is made where it is found and carries two texts: one for the caller, and one for the log. It
//! travels in the response's extensions; `observe`, which knows the request id, writes both down, once.
//!
//! The codes are part of the API and explained one by one in `docs/errors.md`.

use std::error::Error;
use std::fmt::Write as _;
use std::sync::Arc;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use otaru_engine::{Fault, Faulty, Kind};

use crate::limits::RETRY_AFTER_SECS;

/// The codes that arise on the HTTP side itself; the others are the engine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The request carries no token.
    TokenMissing,
    /// The token's role does not allow it.
    RoleTooLow,
    /// There is nothing at this path.
    PathUnknown,
    /// The path exists, but not with this method.
    MethodNotAllowed,
    /// The path holds an id that is not text.
    InvalidPath,
    /// A query parameter is unknown, given twice, or has a value that is not accepted.
    InvalidParameter,
    /// The cursor is not one that this list handed out.
    InvalidCursor,
    /// The body is declared as something else than JSON.
    BodyNotJson,
    /// The body is not well-formed JSON.
    InvalidJson,
    /// A member of the body is unknown, missing, of the wrong type, or has a value that is not accepted.
    InvalidMember,
    /// The body is larger than is read.
    BodyTooLarge,
    /// The body ended early, or stood still for too long.
    BodyIncomplete,
    /// A line of an import is no text, too long, or no row of its CSV.
    InvalidLine,
    /// The body of an import is declared as something else than NDJSON or CSV.
    FormatUnknown,
    /// As many imports are going on as there may be.
    TooManyImports,
    /// The ticket is none, was used, or is too old.
    TicketInvalid,
    /// As many listen to the live events as may.
    TooManyListeners,
    /// There is no such object.
    NotFound,
    /// The range begins after the end of the package.
    RangeUnsatisfiable,
    /// Ours: something broke that should not.
    Internal,
}

impl Code {
    /// Every code.
    pub const ALL: [Code; 20] = [
        Code::TokenMissing,
        Code::RoleTooLow,
        Code::PathUnknown,
        Code::MethodNotAllowed,
        Code::InvalidPath,
        Code::InvalidParameter,
        Code::InvalidCursor,
        Code::BodyNotJson,
        Code::InvalidJson,
        Code::InvalidMember,
        Code::BodyTooLarge,
        Code::BodyIncomplete,
        Code::InvalidLine,
        Code::FormatUnknown,
        Code::TooManyImports,
        Code::TicketInvalid,
        Code::TooManyListeners,
        Code::NotFound,
        Code::RangeUnsatisfiable,
        Code::Internal,
    ];

    /// The stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Code::TokenMissing => "token_missing",
            Code::RoleTooLow => "role_too_low",
            Code::PathUnknown => "path_unknown",
            Code::MethodNotAllowed => "method_not_allowed",
            Code::InvalidPath => "invalid_path",
            Code::InvalidParameter => "invalid_parameter",
            Code::InvalidCursor => "invalid_cursor",
            Code::BodyNotJson => "body_not_json",
            Code::InvalidJson => "invalid_json",
            Code::InvalidMember => "invalid_member",
            Code::BodyTooLarge => "body_too_large",
            Code::BodyIncomplete => "body_incomplete",
            Code::InvalidLine => "invalid_line",
            Code::FormatUnknown => "format_unknown",
            Code::TooManyImports => "too_many_imports",
            Code::TicketInvalid => "ticket_invalid",
            Code::TooManyListeners => "too_many_listeners",
            Code::NotFound => "not_found",
            Code::RangeUnsatisfiable => "range_unsatisfiable",
            Code::Internal => "internal",
        }
    }

    const fn status(self) -> StatusCode {
        match self {
            Code::TokenMissing | Code::TicketInvalid => StatusCode::UNAUTHORIZED,
            Code::RoleTooLow => StatusCode::FORBIDDEN,
            Code::PathUnknown | Code::NotFound => StatusCode::NOT_FOUND,
            Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Code::InvalidPath
            | Code::InvalidParameter
            | Code::InvalidCursor
            | Code::InvalidJson
            | Code::InvalidMember
            | Code::BodyIncomplete
            | Code::InvalidLine => StatusCode::BAD_REQUEST,
            Code::TooManyImports | Code::TooManyListeners => StatusCode::SERVICE_UNAVAILABLE,
            Code::BodyNotJson | Code::FormatUnknown => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Code::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Code::RangeUnsatisfiable => StatusCode::RANGE_NOT_SATISFIABLE,
            Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// Why a request was not done: for the caller, and for us.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    message: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    fault: Fault,
    /// What only the log gets.
    cause: Option<String>,
    pub(crate) voice: Voice,
}

/// In which words a problem is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Voice {
    /// Ours.
    Native,
    /// Those of the published platform, for devices that know no others.
    Published,
}

impl Problem {
    /// Something about the request that the caller can change.
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Problem {
        let problem = Problem {
            status: code.status(),
            code: code.name(),
            message: message.into(),
            headers: Vec::new(),
            fault: match code.status() {
                StatusCode::SERVICE_UNAVAILABLE => Fault::Unavailable,
                status if status.is_server_error() => Fault::Bug,
                _ => Fault::Caller,
            },
            cause: None,
            voice: Voice::Native,
        };
        problem.with_headers_of_status()
    }

    /// One of the published platform's, with its status and code.
    pub(crate) fn published(status: StatusCode, code: &'static str, message: String) -> Problem {
        let problem = Problem {
            status,
            code,
            message,
            headers: Vec::new(),
            fault: if status.is_server_error() { Fault::Unavailable } else { Fault::Caller },
            cause: None,
            voice: Voice::Published,
        };
        problem.with_headers_of_status()
    }

    /// The same refusal in the words of the published platform; the cause for the log stays.
    pub(crate) fn in_published_words(self, code: &'static str, message: &str) -> Problem {
        Problem { code, message: message.to_owned(), voice: Voice::Published, ..self }
    }

    /// An id in the path that names nothing.
    pub(crate) fn not_found(what: &str, id: &str) -> Problem {
        Problem::new(Code::NotFound, format!("there is no {what} {id}"))
    }

    /// Ours. The cause goes to the log only.
    pub(crate) fn internal(cause: impl Into<String>) -> Problem {
        let mut problem = Problem::new(Code::Internal, INTERNAL_MESSAGE);
        problem.cause = Some(cause.into());
        problem
    }

    /// Adds a header to the answer.
    pub(crate) fn with(mut self, name: HeaderName, value: HeaderValue) -> Problem {
        self.headers.push((name, value));
        self
    }

    /// For statuses that promise a header, that header.
    fn with_headers_of_status(self) -> Problem {
        if self.status == StatusCode::UNAUTHORIZED {
            return self.with(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            return self.with(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECS));
        }
        self
    }

    pub(crate) fn code(&self) -> &'static str {
        self.code
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn fault(&self) -> Fault {
        self.fault
    }

    pub(crate) fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }
}

const INTERNAL_MESSAGE: &str =
    "something broke on this server; its log says what, under the request id of this answer";
/// What the engine calls an outage; the caller is told that it is one, and the log which.
const UNAVAILABLE_CODE: &str = "unavailable";
const UNAVAILABLE_MESSAGE: &str =
    "the server cannot reach its store now; nothing was changed, try again in a few seconds";

/// The one place where an engine's refusal becomes an HTTP answer.
impl<E: Faulty + Error> From<E> for Problem {
    fn from(error: E) -> Problem {
        let fault = error.fault();
        let (message, cause) = match fault {
            Fault::Caller => (error.to_string(), None),
            Fault::Unavailable if error.code() == UNAVAILABLE_CODE => {
                (UNAVAILABLE_MESSAGE.to_owned(), Some(chain(&error)))
            }
            // A state of this server that has a name of its own, such as a disk that is nearly full.
            Fault::Unavailable => (error.to_string(), Some(chain(&error))),
            Fault::Bug => (INTERNAL_MESSAGE.to_owned(), Some(chain(&error))),
        };
        let problem = Problem {
            status: status(error.kind()),
            code: error.code(),
            message,
            headers: Vec::new(),
            fault,
            cause,
            voice: Voice::Native,
        };
        problem.with_headers_of_status()
    }
}

fn status(kind: Kind) -> StatusCode {
    match kind {
        Kind::Invalid => StatusCode::BAD_REQUEST,
        Kind::Unauthorized => StatusCode::UNAUTHORIZED,
        Kind::Forbidden => StatusCode::FORBIDDEN,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::Conflict => StatusCode::CONFLICT,
        Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// An error and everything that led to it, on one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        write!(text, ": {source}").expect("a String takes every write");
        next = source.source();
    }
    text
}

/// A problem on its way out, for `observe` to write down.
#[derive(Clone, Debug)]
pub(crate) struct Reported(pub(crate) Arc<Problem>);

impl IntoResponse for Problem {
    fn into_response(mut self) -> Response {
        let mut response = self.status.into_response();
        for (name, value) in self.headers.drain(..) {
            response.headers_mut().insert(name, value);
        }
        response.extensions_mut().insert(Reported(Arc::new(self)));
        response
    }
}
