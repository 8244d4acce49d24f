//! What really happens to devices, told as stories: when, what happens, what then shows.
//!
//! A row reads `(time, what happens, "state; what is said; when it is looked at again")`, times as `h:mm` or
//! `h:mm:ss` since the story began. `story` begins with a queued deployment; `told` begins at the moment at which
//! the device that runs v1 has been told, in its session 1, to upgrade to v2.
//!
//! Every row of every story is also delivered twice, stored and read back, and explained.

use std::string::{String, ToString};
use std::vec::Vec;
use std::{format, vec};

use Happening::*;
use otaru_proto::{
    EventBody, FailureCode, PackageKind, Percent, ProgressReport, ResultCode, Version, VersionReport,
    decode_uplink,
};

use super::{
    Because, Circumstances, Deployment, Doubt, Event, Label, OutcomeKind, Say, State, explain, step,
};
use crate::campaign::{PackageFacts, Policy, Retry};
use crate::{Epoch, ServiceTime};

// --- The way in: table 3.8 of the flow ---------------------------------------------------------------------

#[test]
fn the_whole_way_in_one_story() {
    story(&[
        ("0:00", Opened, "released; wake at 25:00"),
        ("1:00", Start(1), "asked; ask version; wake at 1:03"),
        ("1:01", runs("v1"), "offered; send notice v2; wake at 25:01"),
        ("1:02", at_work(10), "running 10%; wake at 25:01"),
        ("1:05", at_work(50), "running 50%; wake at 25:01"),
        ("1:09", done("v2"), "installed"),
    ]);
}

#[test]
fn nobody_is_told_any_more_once_the_campaign_is_cancelled() {
    story(&[
        ("0:00", Opened, "released; wake at 25:00"),
        ("1:00", Start(1), "asked; ask version; wake at 1:03"),
        ("1:01", CampaignCancelled, ""),
        ("1:02", runs("v1"), "cancelled"),
    ]);
    told(&[
        ("0:01", CampaignCancelled, ""),
        ("0:02", at_work(10), "cancelled"),
        ("0:03", done("v2"), "cancelled"),
    ]);
}

#[test]
fn what_is_queued_waits_for_a_person_and_for_nothing_else() {
    story(&[
        ("0:00", Back(1), "queued"),
        ("0:01", Start(1), "queued"),
        ("0:02", runs("v1"), "queued"),
        ("90:00", Woken, "queued"),
        ("91:00", Opened, "released; wake at 116:00"),
    ]);
}

#[test]
fn a_device_that_does_not_come_online_in_25_hours_was_never_online() {
    story(&[
        ("0:00", Opened, "released; wake at 25:00"),
        ("24:59", Woken, "released; wake at 25:00"),
        ("25:00", Woken, "timed_out: never online"),
    ]);
}

#[test]
fn a_device_that_is_online_and_finds_no_slot_is_not_late_we_are() {
    story(&[
        ("0:00", Opened, "released; wake at 25:00"),
        ("1:00", Back(1), "released; wake at 25:00"),
        ("25:00", Woken, "released; wake at 50:00"),
        ("25:01", Start(1), "asked; ask version; wake at 25:04"),
    ]);
}

#[test]
fn a_pause_does_not_expire_what_is_released() {
    story(&[
        ("0:00", Opened, "released; wake at 25:00"),
        ("1:00", Paused, "released; wake at 25:00"),
        ("25:00", Woken, "released; wake at 50:00"),
        ("30:00", Resumed, "released; wake at 50:00"),
        ("50:00", Woken, "timed_out: never online"),
    ]);
}

#[test]
fn a_device_that_runs_the_wanted_version_is_not_told() {
    story(&[
        ("0:00", Opened, "released; wake at 25:00"),
        ("0:00", Start(1), "asked; ask version; wake at 0:03"),
        ("0:01", runs("v2"), "already_installed"),
    ]);
}

#[test]
fn a_device_whose_version_no_package_starts_from_is_not_eligible() {
    campaign().starting_from("v1").story(&[
        ("0:00", Opened, "released; wake at 25:00"),
        ("0:00", Start(1), "asked; ask version; wake at 0:03"),
        ("0:01", runs("v0"), "not_eligible: runs v0"),
    ]);
}

#[test]
fn a_device_that_does_not_answer_is_asked_twice_and_given_up() {
    story(&[
        ("0:00", Opened, "released; wake at 25:00"),
        ("0:00", Start(1), "asked; ask version; wake at 0:03"),
        ("0:02", Woken, "asked; wake at 0:03"),
        ("0:03", Woken, "asked; ask version; wake at 0:06"),
        ("0:06", Woken, "timed_out: no version answer"),
    ]);
}

#[test]
fn an_answer_to_the_second_question_is_an_answer() {
    story(&[
        ("0:00", Opened, "released; wake at 25:00"),
        ("0:00", Start(1), "asked; ask version; wake at 0:03"),
        ("0:03", Woken, "asked; ask version; wake at 0:06"),
        ("0:05", runs("v1"), "offered; send notice v2; wake at 24:05"),
    ]);
}

#[test]
fn an_answer_without_the_version_that_matters_is_no_answer() {
    campaign().of_software().story(&[
        ("0:00", Opened, "released; wake at 25:00"),
        ("0:00", Start(1), "asked; ask version; wake at 0:03"),
        ("0:01", runs("v2"), "asked; wake at 0:03"),
        ("0:02", runs_nothing_known(), "asked; wake at 0:03"),
        ("0:03", Woken, "asked; ask version; wake at 0:06"),
        ("0:04", runs_software("v1"), "offered; send notice v2; wake at 24:04"),
        ("0:05", runs("v2"), "offered; wake at 24:04"),
        ("0:06", runs_software("v2"), "installed"),
    ]);
}

#[test]
fn a_link_lost_while_asked_goes_back_to_waiting_inside_the_same_25_hours() {
    story(&[
        ("0:00", Opened, "released; wake at 25:00"),
        ("24:00", Start(1), "asked; ask version; wake at 24:03"),
        ("24:01", Lost, "released; wake at 25:00"),
        ("24:58", Start(2), "asked; ask version; wake at 25:01"),
        ("24:59", Lost, "released; wake at 25:00"),
        ("25:00", Woken, "timed_out: never online"),
    ]);
}

#[test]
fn a_question_asked_in_time_may_be_answered_after_the_25_hours() {
    story(&[
        ("0:00", Opened, "released; wake at 25:00"),
        ("24:59", Start(1), "asked; ask version; wake at 25:02"),
        ("25:01", runs("v1"), "offered; send notice v2; wake at 49:01"),
    ]);
}

#[test]
fn a_link_that_broke_unnoticed_is_found_when_the_answer_is_due() {
    story(&[
        ("0:00", Opened, "released; wake at 25:00"),
        ("1:00", Start(1), "asked; ask version; wake at 1:03"),
        ("1:01", Vanished, "asked; wake at 1:03"),
        ("1:03", Woken, "released; wake at 25:00"),
        ("24:59", Start(2), "asked; ask version; wake at 25:02"),
        ("25:00", Vanished, "asked; wake at 25:02"),
        ("25:02", Woken, "timed_out: never online"),
    ]);
}

#[test]
fn a_device_back_in_a_new_session_is_asked_anew() {
    story(&[
        ("0:00", Opened, "released; wake at 25:00"),
        ("0:00", Start(1), "asked; ask version; wake at 0:03"),
        ("0:02", Back(1), "asked; wake at 0:03"),
        ("0:02", Back(2), "asked; ask version; wake at 0:05"),
        ("0:05", Woken, "asked; ask version; wake at 0:08"),
        ("0:08", Woken, "timed_out: no version answer"),
    ]);
}

#[test]
fn a_new_session_that_nobody_heard_of_has_its_own_two_questions() {
    story(&[
        ("0:00", Opened, "released; wake at 25:00"),
        ("0:00", Start(1), "asked; ask version; wake at 0:03"),
        ("0:03", Woken, "asked; ask version; wake at 0:06"),
        ("0:05", Appeared(2), "asked; wake at 0:06"),
        ("0:06", Woken, "asked; ask version; wake at 0:09"),
        ("0:09", Woken, "asked; ask version; wake at 0:12"),
        ("0:12", Woken, "timed_out: no version answer"),
    ]);
}

#[test]
fn an_event_about_a_link_that_is_not_the_present_one_comes_too_late() {
    story(&[
        ("0:00", Opened, "released; wake at 25:00"),
        ("0:01", Back(2), "released; wake at 25:00"),
        ("0:01", StaleStart(1), "released; wake at 25:00"),
        ("0:02", Start(2), "asked; ask version; wake at 0:05"),
        ("0:03", StaleBack(1), "asked; wake at 0:05"),
        ("0:03", StaleLost, "asked; wake at 0:05"),
        ("0:04", runs("v1"), "offered; send notice v2; wake at 24:04"),
        ("0:05", StaleBack(1), "offered; wake at 24:04"),
        ("0:05", StaleLost, "offered; wake at 24:04"),
    ]);
}

#[test]
fn a_lost_link_is_no_failure_and_reports_do_not_move_the_24_hours() {
    told(&[
        ("0:10", at_work(20), "running 20%; wake at 24:00"),
        ("0:20", Lost, "running 20%; wake at 24:00"),
        ("23:50", Back(2), "running 20%; wake at 23:50:05"),
        ("23:50:05", Woken, "running 20%; ask version; wake at 23:53:05"),
        ("23:51", at_work(90), "running 90%; wake at 23:53:05"),
        ("23:53:05", Woken, "running 90%; wake at 24:00"),
        ("23:59", done("v2"), "installed"),
    ]);
}

#[test]
fn after_24_hours_a_device_without_a_link_has_timed_out() {
    told(&[
        ("1:00", at_work(20), "running 20%; wake at 24:00"),
        ("2:00", Lost, "running 20%; wake at 24:00"),
        ("24:00", Woken, "timed_out: no result"),
    ]);
}

#[test]
fn after_24_hours_a_device_with_a_link_is_asked_a_last_time() {
    told(&[("24:00", Woken, "offered; ask version; wake at 24:03"), ("24:01", runs("v2"), "installed")]);
    told(&[
        ("24:00", Woken, "offered; ask version; wake at 24:03"),
        ("24:01", runs("v1"), "timed_out: no result"),
    ]);
    told(&[
        ("1:00", at_work(99), "running 99%; wake at 24:00"),
        ("24:00", Woken, "running 99%; ask version; wake at 24:03"),
        ("24:03", Woken, "timed_out: no result"),
    ]);
}

#[test]
fn during_the_last_call_reports_count_and_nothing_gains_time() {
    told(&[
        ("24:00", Woken, "offered; ask version; wake at 24:03"),
        ("24:01", at_work(50), "running 50%; wake at 24:03"),
        ("24:02", done("v1"), "confirming: other version; wake at 24:03"),
        ("24:02", Lost, "confirming: other version; wake at 24:03"),
        ("24:02", Back(2), "confirming: other version; wake at 24:03"),
        ("24:03", Woken, "timed_out: no result"),
    ]);
    told(&[("24:00", Woken, "offered; ask version; wake at 24:03"), ("24:02", done("v2"), "installed")]);
}

#[test]
fn an_operator_stops_it_at_any_time() {
    for before in every_unfinished_state() {
        let after = campaign().shows(&before, Cancelled);
        assert_eq!(after, "cancelled", "from {}", before.label().name());
    }
}

#[test]
fn a_deleted_device_and_one_that_another_campaign_takes_over_end_at_any_time() {
    for before in every_unfinished_state() {
        assert_eq!(campaign().shows(&before, Removed), "removed", "from {}", before.label().name());
        assert_eq!(campaign().shows(&before, Superseded), "superseded", "from {}", before.label().name());
    }
}

#[test]
fn a_conflict_ends_only_what_has_not_begun() {
    for before in every_unfinished_state() {
        let after = campaign().after(&before, Conflicted);
        if before.label() == Label::Released {
            assert_eq!(after.label(), Label::Finished(OutcomeKind::Conflict));
        } else {
            assert_eq!(after, before, "a plan that came too late changes nothing");
        }
    }
}

#[test]
fn a_slot_is_held_from_the_question_to_the_last_doubt_and_not_while_waiting() {
    let holding: Vec<&str> = every_unfinished_state()
        .iter()
        .map(Deployment::label)
        .filter(|label| label.holds_slot())
        .map(Label::name)
        .collect();
    assert_eq!(holding, ["asked", "offered", "running", "confirming"]);
}

// --- Reports: table 3.7 of the decisions, row by row -------------------------------------------------------

#[test]
fn row_1_a_report_without_a_deployment_at_work_changes_nothing() {
    story(&[
        ("0:00", done("v2"), "queued"),
        ("0:01", Opened, "released; wake at 25:01"),
        ("0:02", done("v2"), "released; wake at 25:01"),
        ("0:03", failed(7, "v1"), "released; wake at 25:01"),
        ("0:04", Start(1), "asked; ask version; wake at 0:07"),
        ("0:05", done("v2"), "asked; wake at 0:07"),
        ("0:06", failed(7, "v1"), "asked; wake at 0:07"),
    ]);
}

#[test]
fn row_2_a_report_without_a_usable_code_never_gets_here() {
    for code in ["", r#""result_code":null,"#, r#""result_code":"soon","#, r#""result_code":0.5,"#] {
        let payload = format!(
            r#"{{"services":[{{"service_id":"$ota","event_type":"upgrade_progress_report","paras":{{{code}"progress":100,"version":"v2"}}}}]}}"#
        );
        let uplink = decode_uplink(payload.as_bytes()).unwrap();
        assert!(matches!(uplink.events[0].body, EventBody::Rejected { .. }), "{payload}");
    }
}

#[test]
fn row_3_below_100_percent_the_device_is_at_work_whatever_version_it_names() {
    told(&[
        ("0:01", at_work(0), "running 0%; wake at 24:00"),
        ("0:02", report(0, Some(80), Some("v2")), "running 80%; wake at 24:00"),
        ("0:03", report(0, Some(99), None), "running 99%; wake at 24:00"),
    ]);
}

#[test]
fn row_3_progress_never_goes_back() {
    told(&[
        ("0:01", at_work(60), "running 60%; wake at 24:00"),
        ("0:02", at_work(10), "running 60%; wake at 24:00"),
        ("0:03", at_work(61), "running 61%; wake at 24:00"),
    ]);
}

#[test]
fn row_4_progress_that_is_no_percentage_says_only_that_the_device_is_at_work() {
    told(&[
        ("0:01", progress_unusable("v2"), "running; wake at 24:00"),
        ("0:02", at_work(30), "running 30%; wake at 24:00"),
        ("0:03", progress_unusable("v2"), "running 30%; wake at 24:00"),
    ]);
}

#[test]
fn row_5_done_with_the_wanted_version_is_the_proof() {
    told(&[("0:01", done("v2"), "installed")]);
}

#[test]
fn row_5_done_may_be_said_without_a_percentage() {
    // The gateway samples of Java, C# and Python say it so for their children.
    told(&[("0:01", report(0, None, Some("v2")), "installed")]);
}

#[test]
fn row_5_versions_are_exact_text() {
    told(&[("0:01", done("V2"), "confirming: other version; wake at 0:11")]);
}

#[test]
fn row_6_done_without_a_version_is_asked_once() {
    told(&[
        ("0:01", report(0, Some(100), None), "confirming: no version; ask version; wake at 0:04"),
        ("0:02", report(0, None, None), "confirming: no version; wake at 0:04"),
        ("0:03", runs("v2"), "installed"),
    ]);
}

#[test]
fn row_6_an_old_version_in_the_answer_is_a_device_that_has_yet_to_install() {
    told(&[
        ("0:01", report(0, Some(100), None), "confirming: no version; ask version; wake at 0:04"),
        ("0:02", runs("v1"), "confirming: other version; wake at 0:12"),
        ("0:12", Woken, "confirming: other version; ask version; wake at 0:15"),
        ("0:13", runs("v1"), "version_mismatch: runs v1"),
    ]);
}

#[test]
fn row_6_no_answer_leaves_it_to_the_24_hours() {
    told(&[
        ("0:01", report(0, Some(100), None), "confirming: no version; ask version; wake at 0:04"),
        ("0:04", Woken, "confirming: no version; wake at 24:00"),
        ("0:05", report(0, Some(100), None), "confirming: no version; wake at 24:00"),
        ("24:00", Woken, "confirming: no version; ask version; wake at 24:03"),
        ("24:01", runs("v1"), "timed_out: no result"),
    ]);
}

#[test]
fn row_6_without_a_link_the_question_waits_for_the_next_session() {
    told(&[
        ("0:01", Lost, "offered; wake at 24:00"),
        ("0:01", report(0, Some(100), None), "confirming: no version; wake at 24:00"),
        ("0:05", Back(2), "confirming: no version; wake at 0:05:05"),
        ("0:05:05", Woken, "confirming: no version; ask version; wake at 0:08:05"),
        ("0:06", runs("v2"), "installed"),
    ]);
}

#[test]
fn row_6_the_answer_to_its_question_is_no_verdict_once_the_device_has_said_more() {
    told(&[
        ("0:01", report(0, Some(100), None), "confirming: no version; ask version; wake at 0:04"),
        ("0:02", done("v1"), "confirming: other version; wake at 0:12"),
        ("0:03", runs("v1"), "confirming: other version; wake at 0:12"),
    ]);
}

#[test]
fn row_6_right_after_coming_back_it_is_asked_once_and_not_for_coming_back_too() {
    told(&[
        ("0:20", Back(2), "offered; wake at 0:20:05"),
        ("0:20:01", report(0, Some(100), None), "confirming: no version; ask version; wake at 0:23:01"),
        ("0:20:05", Woken, "confirming: no version; wake at 0:23:01"),
    ]);
}

#[test]
fn row_7_done_with_another_version_gets_the_time_of_an_installation_and_is_then_asked() {
    told(&[
        ("0:01", done("v1"), "confirming: other version; wake at 0:11"),
        ("0:05", done("v1"), "confirming: other version; wake at 0:11"),
        ("0:11", Woken, "confirming: other version; ask version; wake at 0:14"),
        ("0:12", runs("v1"), "version_mismatch: runs v1"),
    ]);
    told(&[
        ("0:01", done("v1"), "confirming: other version; wake at 0:11"),
        ("0:11", Woken, "confirming: other version; ask version; wake at 0:14"),
        ("0:12", runs("v2"), "installed"),
    ]);
}

#[test]
fn row_7_a_device_that_comes_back_is_asked_before_its_time() {
    told(&[
        ("0:01", done("v1"), "confirming: other version; wake at 0:11"),
        ("0:02", Lost, "confirming: other version; wake at 0:11"),
        ("0:03", Back(2), "confirming: other version; wake at 0:03:05"),
        ("0:03:01", runs("v1"), "confirming: other version; wake at 0:03:05"),
        ("0:03:05", Woken, "confirming: other version; ask version; wake at 0:06:05"),
        ("0:04", runs("v1"), "version_mismatch: runs v1"),
    ]);
}

#[test]
fn row_7_no_answer_leaves_it_to_the_24_hours() {
    told(&[
        ("0:01", done("v1"), "confirming: other version; wake at 0:11"),
        ("0:11", Woken, "confirming: other version; ask version; wake at 0:14"),
        ("0:14", Woken, "confirming: other version; wake at 24:00"),
        ("24:00", Woken, "confirming: other version; ask version; wake at 24:03"),
        ("24:01", runs("v1"), "version_mismatch: runs v1"),
    ]);
}

#[test]
fn row_7_said_again_after_an_unanswered_question_it_is_asked_once_more() {
    told(&[
        ("0:01", done("v1"), "confirming: other version; wake at 0:11"),
        ("0:11", Woken, "confirming: other version; ask version; wake at 0:14"),
        ("0:14", Woken, "confirming: other version; wake at 24:00"),
        ("0:20", done("v1"), "confirming: other version; wake at 0:30"),
    ]);
}

#[test]
fn row_7_said_right_after_coming_back_it_still_gets_its_time() {
    told(&[
        ("0:20", Back(2), "offered; wake at 0:20:05"),
        ("0:20:01", done("v1"), "confirming: other version; wake at 0:30:01"),
        ("0:20:02", failed(3, "v2"), "confirming: claims latest; ask version; wake at 0:23:02"),
    ]);
}

#[test]
fn row_7_without_a_link_at_its_time_it_is_asked_when_it_comes_back() {
    told(&[
        ("0:01", done("v1"), "confirming: other version; wake at 0:11"),
        ("0:02", Lost, "confirming: other version; wake at 0:11"),
        ("0:11", Woken, "confirming: other version; wake at 24:00"),
        ("5:00", Back(2), "confirming: other version; wake at 5:00:05"),
        ("5:00:05", Woken, "confirming: other version; ask version; wake at 5:03:05"),
        ("5:01", runs("v2"), "installed"),
    ]);
}

#[test]
fn row_7_a_device_that_goes_on_working_is_at_work() {
    told(&[
        ("0:01", done("v1"), "confirming: other version; wake at 0:11"),
        ("0:02", at_work(50), "running 100%; wake at 0:11"),
        ("0:11", Woken, "running 100%; ask version; wake at 0:14"),
        ("0:12", runs("v1"), "running 100%; wake at 24:00"),
        ("0:20", done("v2"), "installed"),
    ]);
}

#[test]
fn row_8_a_device_that_claims_to_have_it_is_asked_and_judged_by_the_answer() {
    told(&[
        ("0:01", failed(3, "v2"), "confirming: claims latest; ask version; wake at 0:04"),
        ("0:02", failed(3, "v2"), "confirming: claims latest; wake at 0:04"),
        ("0:03", runs("v2"), "installed"),
    ]);
    told(&[
        ("0:01", failed(3, "v1"), "confirming: claims latest; ask version; wake at 0:04"),
        ("0:02", runs("v1"), "failed: code 3"),
    ]);
}

#[test]
fn row_8_no_answer_in_three_minutes_is_a_failure() {
    told(&[
        ("0:01", failed(3, "v2"), "confirming: claims latest; ask version; wake at 0:04"),
        ("0:04", Woken, "failed: code 3"),
    ]);
}

#[test]
fn row_8_code_3_stays_its_last_word_if_it_never_comes_back() {
    told(&[
        ("0:01", failed(3, "v2"), "confirming: claims latest; ask version; wake at 0:04"),
        ("0:02", Lost, "confirming: claims latest; wake at 24:00"),
        ("24:00", Woken, "failed: code 3"),
    ]);
    told(&[
        ("0:01", failed(3, "v2"), "confirming: claims latest; ask version; wake at 0:04"),
        ("0:02", Lost, "confirming: claims latest; wake at 24:00"),
        ("0:30", Back(2), "confirming: claims latest; wake at 0:30:05"),
        ("0:30:05", Woken, "confirming: claims latest; ask version; wake at 0:33:05"),
        ("0:33:05", Woken, "failed: code 3"),
    ]);
}

#[test]
fn row_8_said_again_with_no_question_open_it_is_asked_at_once() {
    told(&[
        ("0:01", failed(3, "v2"), "confirming: claims latest; ask version; wake at 0:04"),
        ("0:02", Lost, "confirming: claims latest; wake at 24:00"),
        ("0:10", Appeared(2), "confirming: claims latest; wake at 24:00"),
        ("0:10", failed(3, "v2"), "confirming: claims latest; ask version; wake at 0:13"),
        ("0:10:01", Back(2), "confirming: claims latest; wake at 0:13"),
        ("0:11", runs("v2"), "installed"),
    ]);
}

#[test]
fn row_9_any_other_code_is_a_failure_whatever_version_it_names() {
    for code in [1, 2, 4, 5, 6, 7, 8, 9, 10, 255] {
        for version in ["v1", "v2"] {
            told(&[("0:01", failed(code, version), &format!("failed: code {code}"))]);
        }
    }
}

#[test]
fn row_9_a_code_outside_the_table_is_kept_as_it_came() {
    for code in [99, 4711, -1, i64::MIN] {
        let end = told(&[("0:01", failed(code, "v1"), &format!("failed: code {code}"))]);
        assert_eq!(end.result_code, Some(ResultCode::from_wire(code)));
        assert_eq!(serde_json::to_value(&end).unwrap()["result_code"], code);
    }
}

#[test]
fn row_9_the_version_of_a_failure_is_not_believed() {
    let end = told(&[
        ("0:01", at_work(10), "running 10%; wake at 24:00"),
        ("0:02", failed(1, "v2"), "failed: code 1"),
    ]);
    assert_eq!(end.reported_version.as_deref(), Some("v1"));
}

#[test]
fn the_version_before_is_the_one_that_was_named_first() {
    let end = told(&[("0:01", done("v2"), "installed")]);
    assert_eq!(end.version_before.as_deref(), Some("v1"));
    assert_eq!(end.reported_version.as_deref(), Some("v2"));
    assert_eq!(Deployment::queued().version_before, None, "nobody has asked");
}

#[test]
fn a_version_report_during_work_needs_no_question() {
    // A device that reboots into the new image and only says what it runs.
    told(&[
        ("0:10", Lost, "offered; wake at 24:00"),
        ("0:12", Back(2), "offered; wake at 0:12:05"),
        ("0:12:01", runs("v2"), "installed"),
    ]);
}

// --- A notice is said once: decision 1 and the resend rule -------------------------------------------------

#[test]
fn a_device_that_came_back_and_answers_the_old_version_is_told_again() {
    told(&[
        ("0:10", Lost, "offered; wake at 24:00"),
        ("0:20", Back(2), "offered; wake at 0:20:05"),
        ("0:20:05", Woken, "offered; ask version; wake at 0:23:05"),
        ("0:21", runs("v1"), "offered; send notice v2; wake at 24:00"),
    ]);
}

#[test]
fn not_told_again_in_the_same_session() {
    told(&[
        ("0:01", done("v1"), "confirming: other version; wake at 0:11"),
        ("0:02", at_work(50), "running 100%; wake at 0:11"),
        ("0:11", Woken, "running 100%; ask version; wake at 0:14"),
        ("0:12", runs("v1"), "running 100%; wake at 24:00"),
    ]);
}

#[test]
fn not_told_twice_in_the_new_session_either() {
    told(&[
        ("0:20", Back(2), "offered; wake at 0:20:05"),
        ("0:20:05", Woken, "offered; ask version; wake at 0:23:05"),
        ("0:21", runs("v1"), "offered; send notice v2; wake at 24:00"),
        ("0:22", runs("v1"), "offered; wake at 24:00"),
        ("0:23", Back(2), "offered; wake at 24:00"),
        ("0:24", Woken, "offered; wake at 24:00"),
    ]);
}

#[test]
fn a_device_is_not_probed_for_being_reported_as_connected_again() {
    told(&[
        ("0:01", Back(1), "offered; wake at 24:00"),
        ("0:20", Back(2), "offered; wake at 0:20:05"),
        ("0:20:03", Back(2), "offered; wake at 0:20:05"),
        ("0:20:05", Woken, "offered; ask version; wake at 0:23:05"),
        ("0:20:30", Downloads, "offered; wake at 0:23:05"),
        ("0:21", runs("v1"), "offered; wake at 0:21:30"),
        ("0:21:10", Back(2), "offered; wake at 0:21:30"),
    ]);
}

#[test]
fn a_device_that_was_asked_before_its_connection_was_known_is_not_asked_again_for_it() {
    told(&[
        ("0:01", done("v1"), "confirming: other version; wake at 0:11"),
        ("0:05", Appeared(2), "confirming: other version; wake at 0:11"),
        ("0:11", Woken, "confirming: other version; ask version; wake at 0:14"),
        ("0:11:01", Back(2), "confirming: other version; wake at 0:14"),
    ]);
}

#[test]
fn not_told_again_without_an_answer() {
    told(&[
        ("0:20", Back(2), "offered; wake at 0:20:05"),
        ("0:20:05", Woken, "offered; ask version; wake at 0:23:05"),
        ("0:23:05", Woken, "offered; wake at 24:00"),
        ("0:30", runs("v1"), "offered; wake at 24:00"),
    ]);
}

#[test]
fn not_told_again_for_a_version_that_was_not_asked_for() {
    // Its greeting right after connecting; it may be about to reboot.
    let end = told(&[
        ("0:20", Back(2), "offered; wake at 0:20:05"),
        ("0:20:01", runs("v0"), "offered; wake at 0:20:05"),
    ]);
    assert_eq!(end.reported_version.as_deref(), Some("v0"), "but it is shown");
}

#[test]
fn not_told_again_for_an_answer_to_a_question_of_an_earlier_session() {
    told(&[
        ("0:20", Back(2), "offered; wake at 0:20:05"),
        ("0:20:05", Woken, "offered; ask version; wake at 0:23:05"),
        ("0:21", Back(3), "offered; wake at 0:21:05"),
        ("0:21:01", runs("v1"), "offered; wake at 0:21:05"),
        ("0:21:05", Woken, "offered; ask version; wake at 0:24:05"),
        ("0:22", runs("v1"), "offered; send notice v2; wake at 24:00"),
    ]);
}

#[test]
fn not_told_again_for_an_answer_that_another_session_gives() {
    told(&[
        ("0:20", Back(2), "offered; wake at 0:20:05"),
        ("0:20:05", Woken, "offered; ask version; wake at 0:23:05"),
        ("0:20:30", Appeared(3), "offered; wake at 0:23:05"),
        ("0:20:31", runs("v1"), "offered; wake at 0:23:05"),
    ]);
}

#[test]
fn a_child_is_asked_later_while_its_gateway_has_too_many_questions_to_answer() {
    told(&[
        ("0:20", Crowded, "offered; wake at 24:00"),
        ("0:20", Back(2), "offered; wake at 0:20:05"),
        ("0:20:05", Woken, "offered; wake at 0:20:10"),
        ("0:20:10", Woken, "offered; wake at 0:20:15"),
        ("0:20:14", Roomy, "offered; wake at 0:20:15"),
        ("0:20:15", Woken, "offered; ask version; wake at 0:23:15"),
    ]);
}

#[test]
fn the_end_does_not_wait_for_a_gateway_that_has_too_many_questions_to_answer() {
    told(&[
        ("0:01", at_work(10), "running 10%; wake at 24:00"),
        ("23:59", Crowded, "running 10%; wake at 24:00"),
        ("24:00", Woken, "timed_out: no result"),
        ("24:01", runs("v2"), "timed_out: no result; late success"),
    ]);
}

#[test]
fn told_again_a_minute_after_the_last_download() {
    told(&[
        ("0:20", Downloads, "offered; wake at 24:00"),
        ("0:20", Back(2), "offered; wake at 0:20:05"),
        ("0:20:05", Woken, "offered; ask version; wake at 0:23:05"),
        ("0:21", runs("v1"), "offered; send notice v2; wake at 24:00"),
    ]);
}

#[test]
fn not_told_again_within_a_minute_of_a_download() {
    told(&[
        ("0:20", Back(2), "offered; wake at 0:20:05"),
        ("0:20:05", Woken, "offered; ask version; wake at 0:23:05"),
        ("0:20:30", Downloads, "offered; wake at 0:23:05"),
        ("0:21", runs("v1"), "offered; wake at 0:21:30"),
        ("0:21:30", Woken, "offered; ask version; wake at 0:24:30"),
        ("0:22", runs("v1"), "offered; send notice v2; wake at 24:00"),
    ]);
}

#[test]
fn told_three_times_at_most() {
    let end = told(&[
        ("1:00", Back(2), "offered; wake at 1:00:05"),
        ("1:00:05", Woken, "offered; ask version; wake at 1:03:05"),
        ("1:01", runs("v1"), "offered; send notice v2; wake at 24:00"),
        ("2:00", Back(3), "offered; wake at 2:00:05"),
        ("2:00:05", Woken, "offered; ask version; wake at 2:03:05"),
        ("2:01", runs("v1"), "offered; send notice v2; wake at 24:00"),
        ("3:00", Back(4), "offered; wake at 3:00:05"),
        ("3:00:05", Woken, "offered; ask version; wake at 3:03:05"),
        ("3:01", runs("v1"), "offered; wake at 24:00"),
        ("4:00", done("v2"), "installed"),
    ]);
    assert_eq!(end.notices, 3);
}

#[test]
fn a_child_that_comes_back_in_its_gateways_session_is_asked_and_not_told_again() {
    told(&[
        ("0:01", failed(3, "v2"), "confirming: claims latest; ask version; wake at 0:04"),
        ("0:02", Lost, "confirming: claims latest; wake at 24:00"),
        ("0:10", Back(1), "confirming: claims latest; wake at 0:10:05"),
        ("0:10:05", Woken, "confirming: claims latest; ask version; wake at 0:13:05"),
        ("0:11", runs("v1"), "failed: code 3"),
    ]);
    told(&[
        ("0:02", Lost, "offered; wake at 24:00"),
        ("0:10", Back(1), "offered; wake at 0:10:05"),
        ("0:10:05", Woken, "offered; ask version; wake at 0:13:05"),
        ("0:11", runs("v1"), "offered; wake at 24:00"),
    ]);
}

// --- Devices of this world ---------------------------------------------------------------------------------

#[test]
fn java_is_done_with_the_old_version_and_then_with_the_new_one() {
    told(&[
        ("0:01", at_work(10), "running 10%; wake at 24:00"),
        ("0:02", at_work(50), "running 50%; wake at 24:00"),
        ("0:03", done("v1"), "confirming: other version; wake at 0:13"),
        ("0:03", done("v2"), "installed"),
    ]);
}

#[test]
fn java_is_done_with_the_old_version_and_then_finds_the_wrong_checksum() {
    told(&[
        ("0:03", done("v1"), "confirming: other version; wake at 0:13"),
        ("0:03", failed(7, "v1"), "failed: code 7"),
    ]);
}

#[test]
fn java_sends_one_text_as_both_versions_and_a_software_campaign_is_judged_by_it() {
    campaign().of_software().story(&[
        ("0:00", Opened, "released; wake at 25:00"),
        ("0:00", Start(1), "asked; ask version; wake at 0:03"),
        ("0:01", runs_both("v1"), "offered; send notice v2; wake at 24:01"),
        ("0:30", runs_both("v2"), "installed"),
    ]);
}

#[test]
fn c_names_the_version_that_it_failed_to_install() {
    told(&[("0:01", report(1, Some(0), Some("v2")), "failed: code 1")]);
}

#[test]
fn c_sharp_says_already_latest_when_the_checksum_is_wrong() {
    told(&[
        ("0:01", report(3, Some(0), Some("v2")), "confirming: claims latest; ask version; wake at 0:04"),
        ("0:01", runs("v1"), "failed: code 3"),
    ]);
}

#[test]
fn go_fails_without_a_version() {
    let end = told(&[("0:01", report(10, Some(0), None), "failed: code 10")]);
    assert_eq!(end.reported_version.as_deref(), Some("v1"), "the stored version stays");
}

#[test]
fn go_installed_and_the_one_report_was_lost() {
    told(&[("24:00", Woken, "offered; ask version; wake at 24:03"), ("24:00", runs("v2"), "installed")]);
}

#[test]
fn python_lost_its_reports_with_the_link_and_its_version_says_it_all() {
    told(&[
        ("0:03", Lost, "offered; wake at 24:00"),
        ("0:04", Back(2), "offered; wake at 0:04:05"),
        ("0:04:05", Woken, "offered; ask version; wake at 0:07:05"),
        ("0:04:06", runs("v2"), "installed"),
    ]);
}

#[test]
fn c_was_cut_off_during_the_download_and_says_everything_at_once() {
    told(&[
        ("0:03", Lost, "offered; wake at 24:00"),
        ("0:04", Back(2), "offered; wake at 0:04:05"),
        ("0:04", at_work(10), "running 10%; wake at 0:04:05"),
        ("0:04", at_work(50), "running 50%; wake at 0:04:05"),
        ("0:04", done("v2"), "installed"),
    ]);
}

#[test]
fn samples_that_go_on_naming_their_old_version_stay_installed() {
    let end = told(&[
        ("0:01", done("v2"), "installed"),
        ("0:02", Back(2), "installed"),
        ("0:03", runs("v1"), "installed"),
        ("0:04", failed(255, "v1"), "installed"),
        ("0:05", Woken, "installed"),
    ]);
    assert_eq!(end.reported_version.as_deref(), Some("v2"));
}

// --- Retries: attempts inside a run ------------------------------------------------------------------------

#[test]
fn a_failure_is_tried_again_as_often_as_the_policy_says() {
    campaign().with_retries(2, 30).told(&[
        ("1:00", failed(7, "v1"), "waiting: code 7; wake at 1:30"),
        ("1:10", Back(2), "waiting: code 7; wake at 1:30"),
        ("1:20", Woken, "waiting: code 7; wake at 1:30"),
        ("1:30", Woken, "attempt 2: released; wake at 26:30"),
        ("1:31", Start(2), "attempt 2: asked; ask version; wake at 1:34"),
        ("1:32", runs("v1"), "attempt 2: offered; send notice v2; wake at 25:32"),
        ("1:33", at_work(5), "attempt 2: running 5%; wake at 25:32"),
        ("1:40", failed(4, "v1"), "attempt 2: waiting: code 4; wake at 2:10"),
        ("2:10", Woken, "attempt 3: released; wake at 27:10"),
        ("2:10", Start(2), "attempt 3: asked; ask version; wake at 2:13"),
        ("2:11", runs("v1"), "attempt 3: offered; send notice v2; wake at 26:11"),
        ("2:12", failed(10, "v1"), "attempt 3: failed: code 10"),
    ]);
}

#[test]
fn every_attempt_may_be_told_anew_and_counts_its_own_notices_and_progress() {
    let end = campaign().with_retries(1, 30).told(&[
        ("0:10", at_work(80), "running 80%; wake at 24:00"),
        ("1:00", failed(7, "v1"), "waiting: code 7; wake at 1:30"),
        ("1:30", Woken, "attempt 2: released; wake at 26:30"),
        ("1:30", Start(1), "attempt 2: asked; ask version; wake at 1:33"),
        ("1:31", runs("v1"), "attempt 2: offered; send notice v2; wake at 25:31"),
        ("1:32", at_work(5), "attempt 2: running 5%; wake at 25:31"),
    ]);
    assert_eq!(end.notices, 1);
}

#[test]
fn without_a_pause_the_next_attempt_still_takes_a_waking_of_its_own() {
    campaign().with_retries(1, 0).story(&[
        ("0:00", Opened, "released; wake at 25:00"),
        ("0:00", Start(1), "asked; ask version; wake at 0:03"),
        ("0:03", Woken, "asked; ask version; wake at 0:06"),
        ("0:06", Woken, "waiting: no version answer; wake at 0:06:00.001"),
        ("0:07", Woken, "attempt 2: released; wake at 25:07"),
    ]);
}

#[test]
fn silence_and_the_wrong_version_are_tried_again_too() {
    campaign().with_retries(1, 30).told(&[
        ("1:00", Lost, "offered; wake at 24:00"),
        ("24:00", Woken, "waiting: no result; wake at 24:30"),
    ]);
    campaign().with_retries(1, 30).told(&[
        ("1:00", done("v1"), "confirming: other version; wake at 1:10"),
        ("1:10", Woken, "confirming: other version; ask version; wake at 1:13"),
        ("1:11", runs("v1"), "waiting: runs v1; wake at 1:41"),
    ]);
}

#[test]
fn what_trying_again_cannot_change_is_not_tried_again() {
    campaign().with_retries(5, 30).starting_from("v1").story(&[
        ("0:00", Opened, "released; wake at 25:00"),
        ("0:00", Start(1), "asked; ask version; wake at 0:03"),
        ("0:01", runs("v0"), "not_eligible: runs v0"),
    ]);
    campaign()
        .with_retries(5, 30)
        .story(&[("0:00", Opened, "released; wake at 25:00"), ("25:00", Woken, "timed_out: never online")]);
}

#[test]
fn a_late_report_while_waiting_for_the_next_attempt_completes_it() {
    let waiting = campaign().with_retries(1, 30).told(&[
        ("1:00", Lost, "offered; wake at 24:00"),
        ("24:00", Woken, "waiting: no result; wake at 24:30"),
    ]);
    for late in [done("v2"), report(0, None, Some("v2")), runs("v2"), runs_both("v2")] {
        assert_eq!(campaign().shows(&waiting, late.clone()), "installed");
        assert_eq!(campaign().after(&waiting, late).reported_version.as_deref(), Some("v2"));
    }
    for no_proof in [
        done("v1"),
        at_work(99),
        failed(1, "v2"),
        report(0, Some(40), Some("v2")),
        progress_unusable("v2"),
        runs("v1"),
        runs_software("v2"),
    ] {
        assert_eq!(campaign().after(&waiting, no_proof.clone()), waiting, "{no_proof:?}");
    }
}

#[test]
fn a_late_report_completes_it_until_the_device_is_told_again() {
    // The C SDK keeps its reports over a lost link, and then answers questions with its old version.
    let rows: &[Row<'_>] = &[
        ("1:00", Lost, "offered; wake at 24:00"),
        ("24:00", Woken, "waiting: no result; wake at 24:30"),
        ("24:30", Woken, "attempt 2: released; wake at 49:30"),
    ];
    let released = campaign().with_retries(1, 30).told(rows);
    assert_eq!(campaign().shows(&released, done("v2")), "attempt 2: installed");
    assert_eq!(campaign().shows(&released, runs("v2")), "attempt 2: installed");
    assert_eq!(campaign().after(&released, runs("v1")), released);

    let asked = campaign().after(&released, Start(2));
    assert_eq!(asked.label(), Label::Asked);
    assert_eq!(campaign().shows(&asked, done("v2")), "attempt 2: installed");
    assert_eq!(campaign().after(&asked, done("v1")), asked);
}

#[test]
fn a_device_told_before_that_answers_the_wanted_version_has_installed_it() {
    campaign().with_retries(1, 30).told(&[
        ("1:00", failed(255, "v1"), "waiting: code 255; wake at 1:30"),
        ("1:30", Woken, "attempt 2: released; wake at 26:30"),
        ("1:30", Start(2), "attempt 2: asked; ask version; wake at 1:33"),
        ("1:31", runs("v2"), "attempt 2: installed"),
    ]);
}

#[test]
fn a_device_never_told_that_answers_the_wanted_version_at_the_second_attempt_had_it_already() {
    campaign().with_retries(1, 30).story(&[
        ("0:00", Opened, "released; wake at 25:00"),
        ("0:00", Start(1), "asked; ask version; wake at 0:03"),
        ("0:03", Woken, "asked; ask version; wake at 0:06"),
        ("0:06", Woken, "waiting: no version answer; wake at 0:36"),
        ("0:20", runs("v2"), "waiting: no version answer; wake at 0:36"),
        ("0:36", Woken, "attempt 2: released; wake at 25:36"),
        ("0:37", Start(1), "attempt 2: asked; ask version; wake at 0:40"),
        ("0:38", runs("v2"), "attempt 2: already_installed"),
    ]);
}

#[test]
fn a_pause_does_not_expire_what_waits_for_its_next_attempt() {
    campaign().with_retries(1, 30).told(&[
        ("1:00", failed(4, "v1"), "waiting: code 4; wake at 1:30"),
        ("1:10", Paused, "waiting: code 4; wake at 1:30"),
        ("1:20", Lost, "waiting: code 4; wake at 1:30"),
        ("1:30", Woken, "attempt 2: released; wake at 26:30"),
        ("26:30", Woken, "attempt 2: released; wake at 51:30"),
    ]);
}

// --- What was served: protocol quirk 28 --------------------------------------------------------------------

/// Protocol quirk 28.
#[test]
fn a_success_without_a_complete_download_is_a_warning() {
    let end = told(&[
        ("0:00", WatchedSince(1), "offered; wake at 24:00"),
        ("0:01", Downloads, "offered; wake at 24:00"),
        ("0:05", done("v2"), "installed; unfetched"),
    ]);
    let explained = explain(&end, &campaign().packages);
    assert!(explained.contains("a success without a complete download"), "{explained}");
    assert_eq!(end.label(), Label::Finished(OutcomeKind::Installed), "it gates nothing");
}

#[test]
fn a_success_with_a_complete_download_is_none() {
    for by in [done("v2"), runs("v2")] {
        let end = told(&[
            ("0:00", WatchedSince(1), "offered; wake at 24:00"),
            ("0:01", Fetched(1), "offered; fetched; wake at 24:00"),
            ("0:05", by, "installed; fetched"),
        ]);
        assert!(!explain(&end, &campaign().packages).contains("download"));
    }
}

#[test]
fn what_was_fetched_from_the_run_before_is_not_known_and_not_warned_of() {
    told(&[
        ("0:02", Lost, "offered; wake at 24:00"),
        ("0:03", WatchedSince(2), "offered; wake at 24:00"),
        ("0:04", Back(2), "offered; wake at 0:04:05"),
        ("0:05", done("v2"), "installed"),
    ]);
}

#[test]
fn that_it_is_not_known_holds_when_the_device_is_told_again_since() {
    told(&[
        ("0:03", WatchedSince(2), "offered; wake at 24:00"),
        ("0:04", Back(2), "offered; wake at 0:04:05"),
        ("0:04:05", Woken, "offered; ask version; wake at 0:07:05"),
        ("0:05", runs("v1"), "offered; send notice v2; wake at 24:00"),
        ("0:09", done("v2"), "installed"),
    ]);
}

#[test]
fn a_download_that_was_complete_before_a_restart_stays_complete() {
    told(&[
        ("0:00", WatchedSince(1), "offered; wake at 24:00"),
        ("0:01", Fetched(1), "offered; fetched; wake at 24:00"),
        ("0:03", WatchedSince(2), "offered; fetched; wake at 24:00"),
        ("0:04", Back(2), "offered; fetched; wake at 0:04:05"),
        ("0:05", done("v2"), "installed; fetched"),
    ]);
}

#[test]
fn every_attempt_is_to_be_fetched_anew() {
    campaign().with_retries(1, 30).told(&[
        ("0:00", WatchedSince(1), "offered; wake at 24:00"),
        ("0:01", Fetched(1), "offered; fetched; wake at 24:00"),
        ("0:02", failed(7, "v1"), "waiting: code 7; fetched; wake at 0:32"),
        ("0:32", Woken, "attempt 2: released; wake at 25:32"),
        ("0:32", Start(1), "attempt 2: asked; ask version; wake at 0:35"),
        ("0:32", Fetched(1), "attempt 2: asked; wake at 0:35"),
        ("0:32", runs("v1"), "attempt 2: offered; send notice v2; wake at 24:32"),
        ("0:33", Fetched(1), "attempt 2: offered; wake at 24:32"),
        ("0:34", done("v2"), "attempt 2: installed; unfetched"),
    ]);
}

#[test]
fn between_two_attempts_nothing_is_warned_of() {
    campaign().with_retries(1, 30).told(&[
        ("0:00", WatchedSince(1), "offered; wake at 24:00"),
        ("0:02", failed(10, "v1"), "waiting: code 10; wake at 0:32"),
        ("0:03", runs("v2"), "installed"),
    ]);
}

#[test]
fn a_download_that_ends_just_after_the_success_takes_the_warning_back() {
    told(&[
        ("0:00", WatchedSince(1), "offered; wake at 24:00"),
        ("0:05", done("v2"), "installed; unfetched"),
        ("0:05", Fetched(2), "installed; unfetched"),
        ("0:05", Fetched(1), "installed; fetched"),
    ]);
}

// --- After the end -----------------------------------------------------------------------------------------

#[test]
fn the_truth_may_come_late_and_is_noted_beside_the_outcome() {
    told(&[
        ("0:01", failed(7, "v1"), "failed: code 7"),
        ("0:02", runs("v1"), "failed: code 7"),
        ("9:00", runs("v2"), "failed: code 7; late success"),
        ("9:01", runs("v1"), "failed: code 7; late success"),
    ]);
    told(&[
        ("1:00", Lost, "offered; wake at 24:00"),
        ("24:00", Woken, "timed_out: no result"),
        ("30:00", runs("v2"), "timed_out: no result; late success"),
    ]);
    told(&[
        ("0:01", done("v1"), "confirming: other version; wake at 0:11"),
        ("0:11", Woken, "confirming: other version; ask version; wake at 0:14"),
        ("0:12", runs("v1"), "version_mismatch: runs v1"),
        ("0:13", runs("v2"), "version_mismatch: runs v1; late success"),
    ]);
}

#[test]
fn late_truth_needs_the_version_that_matters() {
    told(&[
        ("0:01", failed(7, "v1"), "failed: code 7"),
        ("0:02", runs_software("v2"), "failed: code 7"),
        ("0:03", runs_nothing_known(), "failed: code 7"),
    ]);
}

#[test]
fn where_nobody_was_told_or_someone_decided_there_is_no_late_success() {
    story(&[
        ("0:00", Opened, "released; wake at 25:00"),
        ("25:00", Woken, "timed_out: never online"),
        ("26:00", runs("v2"), "timed_out: never online"),
    ]);
    for end in [Cancelled, Superseded, Removed] {
        let ended = told(&[("0:01", end, "")]);
        assert_eq!(campaign().after(&ended, runs("v2")), ended);
    }
}

#[test]
fn an_operator_need_not_wait_for_the_pause_before_another_attempt() {
    let waiting = [("0:01", failed(7, "v1"), "waiting: code 7; wake at 0:31")];
    let retried = [("0:02", Retried, "attempt 2: released; wake at 25:02")];
    let again = campaign().with_retries(1, 30).told(&[&waiting[..], &retried[..]].concat());
    assert_eq!(again.attempt, 2);
    for state in every_unfinished_state() {
        if state.label() != Label::Waiting {
            assert_eq!(campaign().after(&state, Retried), state, "{state:?}");
        }
    }
}

#[test]
fn nothing_but_the_late_truth_touches_what_is_finished() {
    let finished = told(&[("0:01", failed(7, "v1"), "failed: code 7")]);
    for late in [
        Opened,
        Retried,
        Start(2),
        Back(2),
        Lost,
        Woken,
        runs("v1"),
        at_work(10),
        done("v2"),
        failed(1, "v2"),
        Cancelled,
        Superseded,
        Conflicted,
        Removed,
    ] {
        assert_eq!(campaign().after(&finished, late.clone()), finished, "{late:?}");
    }
}

// --- Chains of packages ------------------------------------------------------------------------------------

#[test]
fn the_package_that_starts_from_the_devices_version_is_the_one_that_counts() {
    let steps = Campaign {
        packages: vec![
            package("v2", PackageKind::Firmware, &["v1"]),
            package("v3", PackageKind::Firmware, &["v2"]),
        ],
        ..campaign()
    };
    steps.story(&[
        ("0:00", Opened, "released; wake at 25:00"),
        ("0:00", Start(1), "asked; ask version; wake at 0:03"),
        ("0:00", runs("v2"), "offered; send notice v3; wake at 24:00"),
        ("0:01", report(0, Some(100), Some("v2")), "confirming: other version; wake at 0:11"),
        ("0:02", done("v3"), "installed"),
    ]);
    steps.story(&[
        ("0:00", Opened, "released; wake at 25:00"),
        ("0:00", Start(1), "asked; ask version; wake at 0:03"),
        ("0:00", runs("v1"), "offered; send notice v2; wake at 24:00"),
        ("0:01", done("v2"), "installed"),
    ]);
}

// --- What people read --------------------------------------------------------------------------------------

#[test]
fn an_end_is_explained_with_the_code_the_meaning_and_the_devices_own_words() {
    let told_why = Reports(ProgressReport { description: Some("md5 check fail".into()), ..failure(7, "v1") });
    let end = told(&[("0:01", told_why, "failed: code 7")]);
    assert_eq!(
        explain(&end, &campaign().packages),
        "Integrity check failure for new downloaded package: \
         the device reported result code 7: The package failed its check on the device. \
         In its words: \u{201c}md5 check fail\u{201d}."
    );
}

#[test]
fn the_platforms_published_words_are_in_the_explanations() {
    for (end, words) in [
        (Because::NeverOnline, "Waiting for the device online timeout"),
        (Because::NoVersionAnswer, "Waiting for report device firmware version timeout"),
        (Because::NoResult, "Wait for the device to report upgrade result timeout"),
        (Because::Busy, "Task Conflict"),
        (Because::Code(FailureCode::NoStorage), "Not enough storage for the new firmware package"),
        (Because::Code(FailureCode::DownloadTimeout), "Waiting for device downloaded package timeout"),
        (Because::Code(FailureCode::VerifyFailed), "Integrity check failure for new downloaded package"),
        (Because::Code(FailureCode::UnsupportedPackage), "Unsupported package type"),
        (Because::Code(FailureCode::NoMemory), "Out of memory during downloading process"),
        (Because::Code(FailureCode::InstallFailed), "Firmware update failed"),
        (Because::Code(FailureCode::LowBattery), "The device reported result code 4: The battery is too low"),
    ] {
        let mut deployment = Deployment::queued();
        deployment.state = State::Waiting { until: ServiceTime(0), because: end };
        assert!(explain(&deployment, &[]).contains(words), "{words}");
    }
    let already = story(&[
        ("0:00", Opened, "released; wake at 25:00"),
        ("0:00", Start(1), "asked; ask version; wake at 0:03"),
        ("0:01", runs("v2"), "already_installed"),
    ]);
    assert!(explain(&already, &[]).contains("The current version is the same as the target version"));
}

// --- The machine -------------------------------------------------------------------------------------------

/// One row: when, what happens, what then shows.
type Row<'a> = (&'a str, Happening, &'a str);

/// What happens in a story: mostly an event, with the circumstances that go with it.
#[derive(Clone, Debug)]
enum Happening {
    /// The wave is opened.
    Opened,
    /// An operator wants the next attempt.
    Retried,
    /// The device is online in this session and the plan lets it go.
    Start(i64),
    /// The device is online in this session.
    Back(i64),
    /// The device is online in this session and no event says so.
    Appeared(i64),
    /// The link is lost.
    Lost,
    /// The link is lost and no event says so.
    Vanished,
    /// A start that was planned for another session than the present one.
    StaleStart(i64),
    /// A connection that is not the present one any more.
    StaleBack(i64),
    /// The loss of a link that has been replaced.
    StaleLost,
    /// The device says what it runs.
    Says(VersionReport),
    /// The device says how the upgrade goes.
    Reports(ProgressReport),
    /// The device asks for bytes.
    Downloads,
    /// The whole package was served in this attempt.
    Fetched(u32),
    /// Downloads are watched since this session; those before were another run's.
    WatchedSince(i64),
    /// The campaign is paused.
    Paused,
    /// The campaign goes on.
    Resumed,
    /// The campaign was cancelled, and its deployments are being ended.
    CampaignCancelled,
    /// Too many questions are open through the device's gateway.
    Crowded,
    /// There is room for one more.
    Roomy,
    Woken,
    Cancelled,
    Superseded,
    Conflicted,
    Removed,
}

fn runs(firmware: &str) -> Happening {
    Says(VersionReport { fw_version: Version::as_sent(firmware), ..VersionReport::default() })
}

fn runs_software(software: &str) -> Happening {
    Says(VersionReport { sw_version: Version::as_sent(software), ..VersionReport::default() })
}

fn runs_both(version: &str) -> Happening {
    let version = Version::as_sent(version);
    Says(VersionReport { fw_version: version.clone(), sw_version: version, modules: Vec::new() })
}

fn runs_nothing_known() -> Happening {
    Says(VersionReport::default())
}

/// Code 0, below 100, with the old version, as all SDKs do.
fn at_work(percent: i64) -> Happening {
    report(0, Some(percent), Some("v1"))
}

/// Code 0, 100 %.
fn done(version: &str) -> Happening {
    report(0, Some(100), Some(version))
}

fn failed(code: i64, version: &str) -> Happening {
    Reports(failure(code, version))
}

fn failure(code: i64, version: &str) -> ProgressReport {
    ProgressReport {
        code: ResultCode::from_wire(code),
        progress: Some(Percent::ZERO),
        progress_unusable: false,
        version: Version::as_sent(version),
        description: None,
    }
}

fn report(code: i64, percent: Option<i64>, version: Option<&str>) -> Happening {
    Reports(ProgressReport {
        progress: percent.map(|p| Percent::new(p).unwrap()),
        version: version.and_then(Version::as_sent),
        ..failure(code, "")
    })
}

fn progress_unusable(version: &str) -> Happening {
    Reports(ProgressReport { progress: None, progress_unusable: true, ..failure(0, version) })
}

/// A campaign that brings v2 as firmware to any device, with the published timers and no retries.
fn campaign() -> Campaign {
    Campaign { packages: vec![package("v2", PackageKind::Firmware, &[])], policy: Policy::default() }
}

fn package(version: &str, kind: PackageKind, sources: &[&str]) -> PackageFacts {
    PackageFacts {
        package_id: format!("package of {version}"),
        product_id: "product".into(),
        kind,
        version: version.into(),
        source_versions: sources.iter().map(ToString::to_string).collect(),
    }
}

fn story(rows: &[Row<'_>]) -> Deployment {
    campaign().story(rows)
}

fn told(rows: &[Row<'_>]) -> Deployment {
    campaign().told(rows)
}

struct Campaign {
    packages: Vec<PackageFacts>,
    policy: Policy,
}

impl Campaign {
    fn of_software(mut self) -> Campaign {
        self.packages[0].kind = PackageKind::Software;
        self
    }

    fn starting_from(mut self, version: &str) -> Campaign {
        self.packages[0].source_versions.push(version.into());
        self
    }

    fn with_retries(mut self, count: u32, interval_minutes: u64) -> Campaign {
        self.policy.retry = Retry { count, interval_secs: interval_minutes * 60 };
        self
    }

    fn story(&self, rows: &[Row<'_>]) -> Deployment {
        self.machine(Deployment::queued()).play(rows)
    }

    fn told(&self, rows: &[Row<'_>]) -> Deployment {
        let mut machine = self.machine(Deployment::queued());
        machine.play(&[
            ("0:00", Opened, "released; wake at 25:00"),
            ("0:00", Start(1), "asked; ask version; wake at 0:03"),
            ("0:00", runs("v1"), "offered; send notice v2; wake at 24:00"),
        ]);
        machine.play(rows)
    }

    /// What becomes of a deployment, at the moment at which it is due, by one more event.
    fn after(&self, deployment: &Deployment, happening: Happening) -> Deployment {
        let mut machine = self.machine(deployment.clone());
        machine.happens(happening);
        machine.deployment
    }

    fn shows(&self, deployment: &Deployment, happening: Happening) -> String {
        let mut machine = self.machine(deployment.clone());
        machine.happens(happening)
    }

    fn machine(&self, deployment: Deployment) -> Machine<'_> {
        Machine {
            campaign: self,
            deployment,
            now: ServiceTime(0),
            reachable: None,
            last_download: None,
            watched_since: None,
            open: true,
            cancelled: false,
            may_ask: true,
        }
    }
}

struct Machine<'a> {
    campaign: &'a Campaign,
    deployment: Deployment,
    now: ServiceTime,
    reachable: Option<Epoch>,
    last_download: Option<ServiceTime>,
    watched_since: Option<Epoch>,
    open: bool,
    cancelled: bool,
    may_ask: bool,
}

impl Machine<'_> {
    /// Plays the rows and compares what shows; an empty expectation is not compared.
    fn play(&mut self, rows: &[Row<'_>]) -> Deployment {
        for (number, (time, happening, expected)) in rows.iter().enumerate() {
            self.now = parse(time);
            let shown = self.happens(happening.clone());
            if !expected.is_empty() {
                assert_eq!(shown, *expected, "row {number}: at {time}, {happening:?}");
            }
        }
        self.deployment.clone()
    }

    fn happens(&mut self, happening: Happening) -> String {
        match happening {
            Start(epoch) | Back(epoch) | Appeared(epoch) => self.reachable = Some(Epoch(epoch)),
            Lost | Vanished => self.reachable = None,
            Downloads => self.last_download = Some(self.now),
            WatchedSince(epoch) => self.watched_since = Some(Epoch(epoch)),
            Paused => self.open = false,
            Resumed => self.open = true,
            Crowded => self.may_ask = false,
            Roomy => self.may_ask = true,
            CampaignCancelled => (self.open, self.cancelled) = (false, true),
            Opened | Retried | StaleStart(_) | StaleBack(_) | StaleLost | Says(_) | Reports(_)
            | Fetched(_) | Woken | Cancelled | Superseded | Conflicted | Removed => {}
        }
        let event = match &happening {
            Opened => Event::Opened,
            Retried => Event::Retried,
            Start(epoch) | StaleStart(epoch) => Event::Start { epoch: Epoch(*epoch) },
            Back(epoch) | StaleBack(epoch) => Event::Reconnected { epoch: Epoch(*epoch) },
            Lost | StaleLost => Event::LinkLost,
            Says(report) => Event::VersionReported(report),
            Reports(report) => Event::Progressed(report),
            Fetched(attempt) => Event::Fetched { attempt: *attempt },
            Woken => Event::Woken,
            Cancelled => Event::Cancelled,
            Superseded => Event::Superseded,
            Conflicted => Event::Conflicted,
            Removed => Event::Removed,
            Appeared(_) | Vanished | Downloads | WatchedSince(_) | Paused | Resumed | CampaignCancelled
            | Crowded | Roomy => {
                return self.shown(None);
            }
        };
        let seen = Circumstances {
            now: self.now,
            reachable: self.reachable,
            packages: &self.campaign.packages,
            policy: &self.campaign.policy,
            open: self.open,
            cancelled: self.cancelled,
            last_download: self.last_download,
            may_ask: self.may_ask,
            watched_since: self.watched_since,
        };
        let first = step(&self.deployment, event, &seen);
        let again = step(&first.deployment, event, &seen);
        assert_eq!(
            (&again.deployment, again.say),
            (&first.deployment, None),
            "{happening:?} was delivered twice"
        );
        let stored = serde_json::to_string(&first.deployment).unwrap();
        assert_eq!(serde_json::from_str::<Deployment>(&stored).unwrap(), first.deployment, "{stored}");
        let explained = explain(&first.deployment, &self.campaign.packages);
        assert!(explained.ends_with('.') && !explained.contains(".."), "{explained}");
        self.deployment = first.deployment;
        self.shown(first.say)
    }

    fn shown(&self, said: Option<Say>) -> String {
        let mut text = state(&self.deployment);
        match said {
            Some(Say::AskVersion) => text.push_str("; ask version"),
            Some(Say::Notice(index)) => {
                text.push_str(&format!(
                    "; send notice {}",
                    self.campaign.packages[usize::from(index)].version
                ));
            }
            None => {}
        }
        if let Some(at) = self.deployment.wake_at() {
            text.push_str(&format!("; wake at {}", time(at)));
        }
        text
    }
}

fn state(deployment: &Deployment) -> String {
    let attempt = match deployment.attempt {
        1 => String::new(),
        later => format!("attempt {later}: "),
    };
    let state = match &deployment.state {
        State::Running(_) => match deployment.progress {
            Some(percent) => format!("running {}%", percent.get()),
            None => "running".into(),
        },
        State::Confirming { doubt, .. } => format!(
            "confirming: {}",
            match doubt {
                Doubt::VersionMissing => "no version",
                Doubt::OtherVersion => "other version",
                Doubt::ClaimsLatest => "claims latest",
            }
        ),
        State::Waiting { because, .. } => format!("waiting{}", reason(because)),
        State::Finished(outcome) => format!("{}{}", outcome.kind.name(), reason(&outcome.because)),
        State::Queued | State::Released { .. } | State::Asked { .. } | State::Offered(_) => {
            deployment.label().name().into()
        }
    };
    let notes = [
        (deployment.late_success, "; late success"),
        (deployment.fetched, "; fetched"),
        (deployment.unfetched_success, "; unfetched"),
    ];
    let notes: String = notes.into_iter().filter(|(is, _)| *is).map(|(_, note)| note).collect();
    format!("{attempt}{state}{notes}")
}

/// The reason, where the outcome does not say it already.
fn reason(because: &Because) -> String {
    match because {
        Because::NeverOnline => ": never online".into(),
        Because::NoVersionAnswer => ": no version answer".into(),
        Because::NoResult => ": no result".into(),
        Because::Code(code) => format!(": code {}", code.to_wire()),
        Because::RunsOther(version) | Because::SourceNotCovered(version) => {
            format!(": runs {}", version.as_deref().unwrap_or("nothing known"))
        }
        Because::WantedVersionSeen
        | Because::Busy
        | Because::Stopped
        | Because::TakenOver
        | Because::DeviceDeleted => String::new(),
    }
}

/// One deployment in each state that is not finished, in the order of the labels.
fn every_unfinished_state() -> Vec<Deployment> {
    let retrying = || campaign().with_retries(1, 30);
    let each = vec![
        Deployment::queued(),
        story(&[("0:00", Opened, "released; wake at 25:00")]),
        story(&[
            ("0:00", Opened, "released; wake at 25:00"),
            ("0:00", Start(1), "asked; ask version; wake at 0:03"),
        ]),
        told(&[]),
        told(&[("0:01", at_work(10), "running 10%; wake at 24:00")]),
        told(&[("0:01", done("v1"), "confirming: other version; wake at 0:11")]),
        retrying().told(&[("0:01", failed(7, "v1"), "waiting: code 7; wake at 0:31")]),
    ];
    let labels: Vec<Label> = each.iter().map(Deployment::label).collect();
    let unfinished: Vec<Label> = Label::ALL.into_iter().filter(|label| !label.is_finished()).collect();
    assert_eq!(labels, unfinished, "a new state joins here");
    each
}

/// `h:mm` or `h:mm:ss`.
fn parse(time: &str) -> ServiceTime {
    let parts: Vec<i64> = time.split(':').map(|part| part.parse().unwrap()).collect();
    match parts[..] {
        [hours, minutes] => ServiceTime((hours * 60 + minutes) * 60_000),
        [hours, minutes, seconds] => ServiceTime(((hours * 60 + minutes) * 60 + seconds) * 1_000),
        _ => panic!("{time} is no time of a story"),
    }
}

/// The same in return; milliseconds only where there are some.
fn time(at: ServiceTime) -> String {
    let (seconds, millis) = (at.0 / 1_000, at.0 % 1_000);
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    match (seconds, millis) {
        (0, 0) => format!("{hours}:{minutes:02}"),
        (_, 0) => format!("{hours}:{minutes:02}:{seconds:02}"),
        (_, _) => format!("{hours}:{minutes:02}:{seconds:02}.{millis:03}"),
    }
}
