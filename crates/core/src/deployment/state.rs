//! The states of a deployment, each with exactly what exists in it.

use alloc::string::String;

use otaru_proto::{Percent, ResultCode};
use serde::{Deserialize, Serialize};

use super::outcome::{Because, Label, Outcome};
use crate::{Epoch, ServiceTime};

/// One deployment as it is remembered: where it is, and what the device has said about it.
///
/// Stored as JSON. Members may be added with a default; none is renamed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// Where it is.
    pub state: State,
    /// Which try this is, from 1.
    pub attempt: u32,
    /// How often the device was told within this attempt.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub notices: u32,
    /// Which of the campaign's packages fits the device; known once the device named its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<u8>,
    /// The code of the last report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_code: Option<ResultCode>,
    /// The furthest progress of this attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Percent>,
    /// The version in the last message that carried one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported_version: Option<String>,
    /// The version that the device named first: what it ran before anything was done to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_before: Option<String>,
    /// The device's own words in its last report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The wanted version was announced after the deployment had ended otherwise.
    #[serde(default, skip_serializing_if = "is_false")]
    pub late_success: bool,
    /// The whole package was served to the device in this attempt.
    #[serde(default, skip_serializing_if = "is_false")]
    pub fetched: bool,
    /// It ended as installed in an attempt in which, as we know for sure, the whole package was not served. A
    /// warning, and no more: a gateway or a mirror may have brought the bytes.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unfetched_success: bool,
}

/// Where a deployment is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Its wave is closed or the campaign has not started. The only state without a timer: it waits for a person.
    Queued,
    /// It may go. The device is waited for until `until`.
    Released {
        /// When absence becomes an outcome.
        until: ServiceTime,
    },
    /// The device was asked which version it runs.
    Asked {
        /// The open question.
        question: Question,
        /// When absence becomes an outcome, should the link be lost before the answer.
        released_until: ServiceTime,
    },
    /// The device was told, and has not reported yet.
    Offered(Underway),
    /// The device reported that it is at work.
    Running(Underway),
    /// The device's last word leaves a doubt.
    Confirming {
        /// What is in doubt.
        doubt: Doubt,
        /// As in the states before.
        underway: Underway,
    },
    /// It failed and is tried again at `until`.
    Waiting {
        /// When the next attempt may begin.
        until: ServiceTime,
        /// What went wrong.
        because: Because,
    },
    /// It ended. No event leaves this state.
    Finished(Outcome),
}

/// A version question that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// The session it was asked in.
    pub epoch: Epoch,
    /// When it counts as unanswered.
    pub until: ServiceTime,
    /// How often it has been asked in this session, from 1.
    pub times: u8,
}

/// What is known of a device that was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Underway {
    /// The session that was told.
    pub told_in: Epoch,
    /// 24 h from the attempt's first notice; reports do not move it.
    pub until: ServiceTime,
    /// The time is up and the device is being asked a last time.
    #[serde(default, skip_serializing_if = "is_false")]
    pub last_call: bool,
    /// The open question, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub question: Option<Question>,
    /// When to ask the device, if it can be reached then. Never together with an open question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub look_again: Option<ServiceTime>,
    /// The session in which it was last known to be linked; `None` since the link was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linked_in: Option<Epoch>,
    /// It was told before downloads were watched, so that a part of what it fetched may have gone unseen.
    #[serde(default, skip_serializing_if = "is_false")]
    pub partly_unseen: bool,
}

/// Why a success is not believed yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Doubt {
    /// It says it is done and names no version. Row 6 of the decision table.
    VersionMissing,
    /// It says it is done and names another version. Row 7; Huawei's Java sample does this after each download.
    OtherVersion,
    /// It says it has the latest version already. Row 8; the C# sample says so when the hash is wrong.
    ClaimsLatest,
}

impl Deployment {
    /// A deployment whose wave is closed.
    #[must_use]
    pub fn queued() -> Deployment {
        Deployment::in_state(State::Queued)
    }

    /// A deployment that may go as soon as the device can be reached, until `until`.
    #[must_use]
    pub fn released(until: ServiceTime) -> Deployment {
        Deployment::in_state(State::Released { until })
    }

    fn in_state(state: State) -> Deployment {
        Deployment {
            state,
            attempt: 1,
            notices: 0,
            package: None,
            result_code: None,
            progress: None,
            reported_version: None,
            version_before: None,
            description: None,
            late_success: false,
            fetched: false,
            unfetched_success: false,
        }
    }

    /// The word under which it is counted and listed.
    #[must_use]
    pub fn label(&self) -> Label {
        match &self.state {
            State::Queued => Label::Queued,
            State::Released { .. } => Label::Released,
            State::Asked { .. } => Label::Asked,
            State::Offered(_) => Label::Offered,
            State::Running(_) => Label::Running,
            State::Confirming { .. } => Label::Confirming,
            State::Waiting { .. } => Label::Waiting,
            State::Finished(outcome) => Label::Finished(outcome.kind),
        }
    }

    /// When it has to be looked at again, if nothing happens before. Waking too early is harmless.
    ///
    /// `None` only for `Queued`, which waits for a person, and for what is finished.
    #[must_use]
    pub fn wake_at(&self) -> Option<ServiceTime> {
        match &self.state {
            State::Queued | State::Finished(_) => None,
            State::Released { until } | State::Waiting { until, .. } => Some(*until),
            State::Asked { question, .. } => Some(question.until),
            State::Offered(underway) | State::Running(underway) | State::Confirming { underway, .. } => {
                Some(underway.wake_at())
            }
        }
    }

    /// The part that exists once the device was told.
    #[must_use]
    pub fn underway(&self) -> Option<&Underway> {
        match &self.state {
            State::Offered(underway) | State::Running(underway) | State::Confirming { underway, .. } => {
                Some(underway)
            }
            State::Queued
            | State::Released { .. }
            | State::Asked { .. }
            | State::Waiting { .. }
            | State::Finished(_) => None,
        }
    }
}

impl Underway {
    fn wake_at(&self) -> ServiceTime {
        let mut first = self.until;
        if let Some(question) = self.question {
            first = first.min(question.until);
        }
        if let Some(look) = self.look_again {
            first = first.min(look);
        }
        first
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_false(b: &bool) -> bool {
    !*b
}
