//! What is stored is read again by every later version, so each form is pinned here as text.
//!
//! A new member may appear at an end of a text; a test that has to change in any other way means that stores in the
//! field cannot be read.

use std::format;

use otaru_proto::{FailureCode, Percent, ResultCode};

use super::{Because, Deployment, Doubt, Outcome, OutcomeKind, Question, State, Underway};
use crate::{Epoch, ServiceTime};

#[test]
fn every_state_has_its_stored_form() {
    let underway = Underway {
        told_in: Epoch(7),
        until: ServiceTime(86_400_000),
        last_call: false,
        question: None,
        look_again: None,
        linked_in: None,
        partly_unseen: false,
    };
    let question = Question { epoch: Epoch(8), until: ServiceTime(180_000), times: 1 };
    let asking = Underway {
        last_call: true,
        question: Some(question),
        look_again: Some(ServiceTime(5_000)),
        linked_in: Some(Epoch(8)),
        partly_unseen: true,
        ..underway
    };
    for (state, stored) in [
        (State::Queued, r#""queued""#),
        (State::Released { until: ServiceTime(1) }, r#"{"released":{"until":1}}"#),
        (
            State::Asked { question, released_until: ServiceTime(1) },
            r#"{"asked":{"question":{"epoch":8,"until":180000,"times":1},"released_until":1}}"#,
        ),
        (State::Offered(underway), r#"{"offered":{"told_in":7,"until":86400000}}"#),
        (
            State::Running(asking),
            r#"{"running":{"told_in":7,"until":86400000,"last_call":true,"question":{"epoch":8,"until":180000,"times":1},"look_again":5000,"linked_in":8,"partly_unseen":true}}"#,
        ),
        (
            State::Confirming { doubt: Doubt::VersionMissing, underway },
            r#"{"confirming":{"doubt":"version_missing","underway":{"told_in":7,"until":86400000}}}"#,
        ),
        (
            State::Confirming { doubt: Doubt::OtherVersion, underway },
            r#"{"confirming":{"doubt":"other_version","underway":{"told_in":7,"until":86400000}}}"#,
        ),
        (
            State::Confirming { doubt: Doubt::ClaimsLatest, underway },
            r#"{"confirming":{"doubt":"claims_latest","underway":{"told_in":7,"until":86400000}}}"#,
        ),
        (
            State::Waiting { until: ServiceTime(2), because: Because::NoResult },
            r#"{"waiting":{"until":2,"because":"no_result"}}"#,
        ),
        (
            State::Finished(Outcome { kind: OutcomeKind::Installed, because: Because::WantedVersionSeen }),
            r#"{"finished":{"kind":"installed","because":"wanted_version_seen"}}"#,
        ),
    ] {
        assert_eq!(serde_json::to_string(&state).unwrap(), stored);
        assert_eq!(serde_json::from_str::<State>(stored).unwrap(), state);
    }
}

#[test]
fn every_reason_has_its_stored_form() {
    for (because, stored) in [
        (Because::WantedVersionSeen, r#""wanted_version_seen""#),
        (Because::NeverOnline, r#""never_online""#),
        (Because::NoVersionAnswer, r#""no_version_answer""#),
        (Because::NoResult, r#""no_result""#),
        (Because::Code(FailureCode::VerifyFailed), r#"{"code":7}"#),
        (Because::RunsOther(Some("v1".into())), r#"{"runs_other":"v1"}"#),
        (Because::SourceNotCovered(None), r#"{"source_not_covered":null}"#),
        (Because::Busy, r#""busy""#),
        (Because::Stopped, r#""stopped""#),
        (Because::TakenOver, r#""taken_over""#),
        (Because::DeviceDeleted, r#""device_deleted""#),
    ] {
        assert_eq!(serde_json::to_string(&because).unwrap(), stored);
        assert_eq!(serde_json::from_str::<Because>(stored).unwrap(), because);
    }
}

#[test]
fn outcomes_are_stored_under_the_names_that_the_api_shows() {
    for kind in [
        OutcomeKind::Installed,
        OutcomeKind::AlreadyInstalled,
        OutcomeKind::Failed,
        OutcomeKind::TimedOut,
        OutcomeKind::VersionMismatch,
        OutcomeKind::NotEligible,
        OutcomeKind::Conflict,
        OutcomeKind::Cancelled,
        OutcomeKind::Superseded,
        OutcomeKind::Removed,
    ] {
        assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{}\"", kind.name()));
    }
}

#[test]
fn a_deployment_stores_what_it_has_and_nothing_else() {
    assert_eq!(serde_json::to_string(&Deployment::queued()).unwrap(), r#"{"state":"queued","attempt":1}"#);
    let full = Deployment {
        attempt: 2,
        notices: 1,
        package: Some(0),
        result_code: Some(ResultCode::OnTrack),
        progress: Some(Percent::FULL),
        reported_version: Some("v1".into()),
        version_before: Some("v0".into()),
        description: Some("downloaded".into()),
        late_success: true,
        fetched: true,
        unfetched_success: true,
        ..Deployment::queued()
    };
    let stored = r#"{"state":"queued","attempt":2,"notices":1,"package":0,"result_code":0,"progress":100,"reported_version":"v1","version_before":"v0","description":"downloaded","late_success":true,"fetched":true,"unfetched_success":true}"#;
    assert_eq!(serde_json::to_string(&full).unwrap(), stored);
    assert_eq!(serde_json::from_str::<Deployment>(stored).unwrap(), full);
}

#[test]
fn what_was_stored_before_downloads_were_noted_is_warned_of_by_nobody() {
    let stored = r#"{"state":{"finished":{"kind":"installed","because":"wanted_version_seen"}},"attempt":1}"#;
    let read: Deployment = serde_json::from_str(stored).unwrap();
    assert!(!read.fetched && !read.unfetched_success);
    assert_eq!(serde_json::to_string(&read).unwrap(), stored);
}

#[test]
fn members_of_a_later_version_do_not_stop_an_earlier_one() {
    let stored =
        r#"{"state":{"offered":{"told_in":7,"until":9,"of_tomorrow":1}},"attempt":1,"of_tomorrow":{}}"#;
    let read: Deployment = serde_json::from_str(stored).unwrap();
    assert_eq!(read.wake_at(), Some(ServiceTime(9)));
}
