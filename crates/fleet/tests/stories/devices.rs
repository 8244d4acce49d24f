//! What simulated devices say, to a platform that decides nothing.

use crate::stage::{Manners, Stage};
use otaru_fleet::Script;
use otaru_proto::FailureCode;

const HELLO: &[&str] = &["connected lamp_1", "version 1.4.0"];

#[tokio::test]
async fn a_good_device_downloads_reboots_and_says_what_it_runs_now() {
    let mut stage = Stage::with(Script::Succeeds { reboots: true }).await;
    stage.hears(HELLO).await;
    stage.asks();
    stage.hears(&["version 1.4.0"]).await;
    stage.tells("1.5.0");
    stage.hears(&["0/10 1.4.0", "0/50 1.4.0", "0/90 1.4.0", "gone"]).await;
    stage.hears(&["connected lamp_1", "version 1.5.0", "0/100 1.5.0"]).await;

    let did = stage.crowd.tallies().now();
    assert_eq!((did.downloads, did.download_bytes), (1, stage.http.package.len() as u64));
    assert_eq!((did.questions, did.notices, did.notices_repeated), (1, 1, 0));
    let head = stage.http.heads.lock().unwrap()[0].to_ascii_lowercase();
    assert!(head.contains("authorization: bearer t0ken\r\n"), "{head}");
    assert!(head.contains("content-type: application/json\r\n"), "{head}");
    stage.stops().await;
}

#[tokio::test]
async fn a_repeated_notice_is_counted_and_not_run_again() {
    let mut stage = Stage::with(Script::Succeeds { reboots: false }).await;
    stage.hears(HELLO).await;
    stage.tells("1.5.0");
    stage.tells("1.5.0");
    stage.hears(&["0/10 1.4.0", "0/50 1.4.0", "0/90 1.4.0", "0/100 1.5.0"]).await;
    stage.tells("1.5.0");
    stage.asks();
    stage.hears(&["version 1.5.0"]).await;
    assert_eq!(stage.crowd.tallies().notices_repeated.get(), 2);
}

#[tokio::test]
async fn a_busy_device_declines_another_upgrade() {
    let mut stage = Stage::with(Script::Slow).await;
    stage.hears(HELLO).await;
    stage.tells("1.5.0");
    stage.hears(&["0/5 1.4.0"]).await;
    stage.tells("1.6.0");
    loop {
        match stage.next().await.as_str() {
            "1 1.4.0" => break,
            going_on => assert!(going_on.starts_with("0/"), "{going_on}"),
        }
    }
}

#[tokio::test]
async fn a_liar_claims_a_version_that_it_does_not_run() {
    let mut stage = Stage::with(Script::Lies).await;
    stage.hears(HELLO).await;
    stage.tells("1.5.0");
    stage.hears(&["0/10 1.4.0", "0/50 1.4.0", "0/100 0.0.0-claimed"]).await;
    stage.asks();
    stage.hears(&["version 1.4.0"]).await;
}

#[tokio::test]
async fn a_failing_device_goes_on_answering_and_tries_again_when_told_again() {
    let mut stage = Stage::with(Script::Fails { code: FailureCode::LowBattery, names_target: true }).await;
    stage.hears(HELLO).await;
    for _ in 0..2 {
        stage.tells("1.5.0");
        stage.hears(&["4 1.5.0"]).await;
        stage.asks();
        stage.hears(&["version 1.4.0"]).await;
    }
    assert_eq!(stage.crowd.tallies().notices_repeated.get(), 0);
}

#[tokio::test]
async fn a_device_that_fell_silent_stays_connected_and_says_nothing() {
    let mut stage = Stage::with(Script::FallsSilent).await;
    stage.hears(HELLO).await;
    stage.tells("1.5.0");
    stage.asks();
    stage.until(|did| did.scripts_done == 1).await;
    assert_eq!(stage.crowd.tallies().connected.get(), 1);
    // The first thing heard after the notice is the goodbye.
    stage.stops().await;
    stage.hears(&["gone"]).await;
}

#[tokio::test]
async fn a_device_that_vanishes_does_not_come_back() {
    let mut stage = Stage::with(Script::Vanishes).await;
    stage.hears(HELLO).await;
    stage.tells("1.5.0");
    stage.hears(&["gone"]).await;
    stage.until(|did| did.connected == 0).await;
    stage.stops().await;
}

#[tokio::test]
async fn a_device_that_is_never_online_never_connects() {
    let stage = Stage::with(Script::NeverOnline).await;
    stage.until(|did| did.scripts_done == 1).await;
    assert_eq!(stage.crowd.tallies().connects.get(), 0);
}

#[tokio::test]
async fn a_report_that_was_not_acknowledged_is_said_again_on_the_next_link() {
    let mut stage = Stage::with_manners(Script::Succeeds { reboots: false }, Manners::HangsUpOnce).await;
    stage.hears(HELLO).await;
    stage.tells("1.5.0");
    stage.hears(&["0/10 1.4.0", "gone"]).await;
    stage.hears(HELLO).await;
    stage.hears(&["0/10 1.4.0", "0/50 1.4.0", "0/90 1.4.0", "0/100 1.5.0"]).await;
    assert_eq!(stage.crowd.tallies().links_lost.get(), 1);
}

#[tokio::test]
async fn a_distrustful_device_says_everything_twice_and_runs_the_upgrade_once() {
    let mut stage = Stage::with(Script::ReportsTwice).await;
    stage.hears(HELLO).await;
    stage.tells("1.5.0");
    stage.hears(&["0/10 1.4.0", "0/10 1.4.0", "0/50 1.4.0", "0/50 1.4.0", "0/90 1.4.0", "0/90 1.4.0"]).await;
    stage.hears(&["gone", "connected lamp_1", "version 1.5.0", "0/100 1.5.0", "0/100 1.5.0"]).await;
    stage.until(|did| did.scripts_done == 1).await;
    let did = stage.crowd.tallies().now();
    assert_eq!((did.downloads, did.upgrading.count, did.arrived), (1, 1, 1));
}

#[tokio::test]
async fn a_device_that_loses_its_link_while_downloading_comes_back_and_downloads_again() {
    let mut stage = Stage::with(Script::DropsLink).await;
    stage.hears(HELLO).await;
    stage.tells("1.5.0");
    stage.hears(&["0/10 1.4.0", "0/30 1.4.0", "gone"]).await;
    stage.hears(&["connected lamp_1", "version 1.4.0", "0/50 1.4.0", "0/100 1.5.0"]).await;
    let did = stage.crowd.tallies().now();
    assert_eq!((did.connects, did.arrived, did.links_lost, did.downloads), (2, 1, 0, 1));
    assert!(did.download_bytes > stage.http.package.len() as u64, "half of it came twice: {did:?}");
}

#[tokio::test]
async fn a_gateway_answers_for_its_child_and_for_itself_each_as_its_script_says() {
    let mut stage = Stage::with_child(Script::Gateway, Script::Succeeds { reboots: true }).await;
    stage.hears(HELLO).await;
    stage.asks_about("button_1");
    stage.hears(&["button_1: version 1.4.0"]).await;
    stage.tells_about("button_1", "1.5.0");
    // The child reboots and its gateway stays.
    stage.hears(&["button_1: 0/10 1.4.0", "button_1: 0/50 1.4.0"]).await;
    stage.hears(&["button_1: 0/90 1.4.0", "button_1: 0/100 1.5.0"]).await;
    stage.asks();
    stage.hears(&["version 1.4.0"]).await;
    stage.tells("1.5.0");
    stage.hears(&["0/10 1.4.0", "0/50 1.4.0", "0/90 1.4.0", "0/100 1.5.0"]).await;
    stage.until(|did| did.scripts_done == 2).await;
    let did = stage.crowd.tallies().now();
    assert_eq!((did.connects, did.questions, did.notices, did.notices_repeated), (1, 2, 2, 0));
    assert_eq!((did.answering.count, did.upgrading.count), (2, 2));
}

#[tokio::test]
async fn a_gateway_does_not_answer_for_a_child_that_is_never_there_nor_for_strangers() {
    let mut stage = Stage::with_child(Script::Gateway, Script::NeverOnline).await;
    stage.hears(HELLO).await;
    stage.asks_about("button_1");
    stage.asks_about("stranger_1");
    stage.asks();
    stage.hears(&["version 1.4.0"]).await;
    let did = stage.crowd.tallies().now();
    assert_eq!((did.questions, did.unreadable, did.scripts_done), (1, 1, 1));
}

#[tokio::test]
async fn a_child_that_vanishes_leaves_its_gateway_connected() {
    let mut stage = Stage::with_child(Script::Gateway, Script::Vanishes).await;
    stage.hears(HELLO).await;
    stage.tells_about("button_1", "1.5.0");
    stage.asks_about("button_1");
    stage.asks();
    stage.hears(&["version 1.4.0"]).await;
    assert_eq!(stage.crowd.tallies().connected.get(), 1);
}
