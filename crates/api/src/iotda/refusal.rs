//! What an application is told when a call cannot be done: the published status and code, and what is wrong.
//!
//! Codes that the published pages name are used as they say. Where they name none, the code is ours, from `IOTDA.0001..`;
//! `docs/decisions/0011-application-api.md` lists those. Nothing else in this layer decides about a code.

use axum::http::StatusCode;
use otaru_engine::{Faulty, Kind};

use crate::problem::Problem;

/// A status, a code and the words that the message begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Why {
    status: StatusCode,
    code: &'static str,
    words: &'static str,
}

const fn why(status: StatusCode, code: &'static str, words: &'static str) -> Why {
    Why { status, code, words }
}

use StatusCode as S;
pub(super) const INVALID: Why = why(S::BAD_REQUEST, "IOTDA.000006", "Invalid input data.");
pub(super) const NOT_JSON: Why = why(S::BAD_REQUEST, "IOTDA.000008", "Bad request.");
pub(super) const TIME: Why = why(S::BAD_REQUEST, "IOTDA.000009", "Invalid time format.");
pub(super) const TIME_ORDER: Why = why(S::BAD_REQUEST, "IOTDA.000010", "Invalid time range.");
pub(super) const LIMIT: Why = why(S::BAD_REQUEST, "IOTDA.000017", "Invalid limit.");
pub(super) const PAGING: Why = why(S::BAD_REQUEST, "IOTDA.000018", "Invalid paging parameter.");
pub(super) const UNKNOWN_CALLER: Why = why(S::UNAUTHORIZED, "IOTDA.000002", "Authentication failed.");
pub(super) const TOKEN: Why = why(S::FORBIDDEN, "IOTDA.000004", "Invalid access token.");
pub(super) const FORBIDDEN: Why = why(S::FORBIDDEN, "IOTDA.000022", "The user does not have the permission.");
pub(super) const NOT_OFFERED: Why =
    why(S::NOT_FOUND, "IOTDA.000029", "The requested URL is not offered by this server.");
pub(super) const NO_SPACE: Why = why(S::FORBIDDEN, "IOTDA.001000", "The resource space does not exist.");
pub(super) const TAG_RESERVED: Why = why(S::BAD_REQUEST, "IOTDA.004002", "The tag key is reserved.");
pub(super) const NO_DEVICE: Why = why(S::NOT_FOUND, "IOTDA.014000", "The device does not exist.");
pub(super) const DEVICE_EXISTS: Why = why(S::BAD_REQUEST, "IOTDA.014031", "The device already exists.");
pub(super) const FREEZE_CHILD: Why = why(S::FORBIDDEN, "IOTDA.014038", "A sub-device cannot be frozen.");
pub(super) const NOT_FROZEN: Why = why(S::FORBIDDEN, "IOTDA.014040", "The device is not frozen.");

pub(super) const NO_RULE: Why = why(S::NOT_FOUND, "IOTDA.010002", "The rule does not exist.");

// Ours.
pub(super) const NO_PACKAGE: Why = why(S::NOT_FOUND, "IOTDA.000101", "The OTA package does not exist.");
pub(super) const NO_TASK: Why = why(S::NOT_FOUND, "IOTDA.000102", "The batch task does not exist.");
pub(super) const NOT_NOW: Why = why(S::FORBIDDEN, "IOTDA.000103", "Operation not allowed.");
pub(super) const NO_PRODUCT: Why = why(S::NOT_FOUND, "IOTDA.000104", "The product does not exist.");
pub(super) const NO_GROUP: Why = why(S::NOT_FOUND, "IOTDA.000105", "The device group does not exist.");
pub(super) const IN_USE: Why = why(S::FORBIDDEN, "IOTDA.000106", "Operation not allowed.");
pub(super) const EXISTS: Why = why(S::BAD_REQUEST, "IOTDA.000107", "It already exists.");
pub(super) const ENOUGH: Why = why(S::FORBIDDEN, "IOTDA.000108", "The quota is used up.");
pub(super) const NO_OBJECT: Why = why(S::BAD_REQUEST, "IOTDA.000109", "The object does not exist.");
pub(super) const TOO_LARGE: Why = why(S::PAYLOAD_TOO_LARGE, "IOTDA.000110", "The body is too large.");
pub(super) const NO_MODULE: Why = why(S::NOT_FOUND, "IOTDA.000113", "The OTA module does not exist.");
pub(super) const AWAY: Why = why(S::SERVICE_UNAVAILABLE, "IOTDA.000111", "Try again later.");
pub(super) const BROKEN: Why = why(S::INTERNAL_SERVER_ERROR, "IOTDA.000112", "Internal error.");

impl Why {
    pub(super) const fn code(self) -> &'static str {
        self.code
    }

    pub(super) const fn status(self) -> StatusCode {
        self.status
    }

    pub(super) const fn words(self) -> &'static str {
        self.words
    }

    /// With what is wrong, in a sentence.
    pub(super) fn because(self, what: impl AsRef<str>) -> Problem {
        Problem::published(self.status, self.code, format!("{} {}", self.words, what.as_ref()))
    }

    /// Without more words.
    pub(super) fn plain(self) -> Problem {
        Problem::published(self.status, self.code, self.words.to_owned())
    }
}

/// An engine's refusal where nothing about it is particular to the call. `missing`: what there is none of.
pub(super) fn of_engine<E: Faulty + std::error::Error>(error: E, missing: Why) -> Problem {
    let why = match error.kind() {
        Kind::NotFound => missing,
        Kind::Invalid => INVALID,
        Kind::Unauthorized => UNKNOWN_CALLER,
        Kind::Forbidden => FORBIDDEN,
        Kind::TooLarge => TOO_LARGE,
        Kind::Conflict => match error.code() {
            "exists_already" => EXISTS,
            "in_use" => IN_USE,
            "limit_reached" => ENOUGH,
            _ => NOT_NOW,
        },
        // With the cause for the log, and nothing of it for the caller.
        Kind::Unavailable => return Problem::from(error).in_published_words(AWAY.code, AWAY.words),
        Kind::Internal => return Problem::from(error).in_published_words(BROKEN.code, BROKEN.words),
    };
    why.because(error.to_string())
}

/// Whether there is none of what a call is about.
pub(super) fn is_missing<E: Faulty>(error: &E) -> bool {
    error.kind() == Kind::NotFound
}

/// A store that could not be asked.
pub(super) fn of_store(error: otaru_engine::StoreError) -> Problem {
    of_engine(error, INVALID)
}

/// A body that could not be read.
pub(super) fn of_body(problem: &Problem) -> Problem {
    match problem.code() {
        "body_too_large" => TOO_LARGE.because(problem.message()),
        _ => NOT_JSON.because(problem.message()),
    }
}
