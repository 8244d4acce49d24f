//! Gateways: who their children are, whether those are there, and what they are told about a campaign.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod support;

use std::time::Duration;

use otaru_core::campaign::Policy;
use otaru_core::deployment::Label;
use otaru_engine::{CampaignRequest, Delivery, DeviceFilter, DeviceSelection, Page, Settings};
use otaru_proto::{DeviceId, Downlink, TaskInfo, Version, VersionReport, encode_version_report};
use serde_json::{Value, json};
use support::{Device, Platform, WoundClock, progress_report, settings};

// --- Registering children ------------------------------------------------------------------------------------

#[tokio::test]
async fn a_gateway_registers_children_and_is_answered_with_what_was_registered() {
    let (platform, mut gateway, _) = gateway_with(0).await;
    let asked = json!({"devices": [
        {"node_id": "child01", "product_id": "p", "name": "meter 1"},
        {"node_id": "child02", "product_id": "p", "device_id": "own-id", "parent_device_id": "p_gw"},
    ]});
    let answer = gateway.asks("add_sub_device_request", asked, Some("e1")).await;
    assert_eq!(answer["event_type"], "add_sub_device_response");
    assert_eq!(answer["event_id"], "e1");
    assert_eq!(answer["paras"]["failed_devices"], json!([]));
    assert_eq!(
        answer["paras"]["successful_devices"],
        json!([
            {"parent_device_id": "p_gw", "node_id": "child01", "device_id": "p_child01", "name": "meter 1",
             "product_id": "p", "status": "INACTIVE"},
            {"parent_device_id": "p_gw", "node_id": "child02", "device_id": "own-id", "product_id": "p",
             "status": "INACTIVE"},
        ])
    );
    assert_eq!(children_of(&platform, "p_gw").await, ["p_child01", "own-id"]);
    let made = platform.engine.audit(Page { after: None, limit: 1 }).await.unwrap().remove(0);
    assert_eq!(
        (made.actor.as_str(), made.action.as_str(), made.subject.as_str()),
        ("p_gw", "device_created", "own-id")
    );
}

#[tokio::test]
async fn the_same_registration_again_changes_nothing_and_is_answered_alike() {
    let (platform, mut gateway, _) = gateway_with(0).await;
    let asked = || json!({"devices": [{"node_id": "child01", "product_id": "p"}]});
    let first = gateway.asks("add_sub_device_request", asked(), None).await;
    let second = gateway.asks("add_sub_device_request", asked(), None).await;
    assert_eq!(first["paras"], second["paras"]);
    assert_eq!(children_of(&platform, "p_gw").await, ["p_child01"]);
    let ids = [&first, &second].map(|answer| answer["event_id"].as_str().unwrap().to_owned());
    assert!(
        ids[0] != ids[1] && ids[0].len() == 36,
        "without an id of the request the platform makes one: {ids:?}"
    );
}

#[tokio::test]
async fn what_cannot_be_registered_is_named_with_its_reason_and_the_rest_is_registered() {
    let (platform, mut gateway, _) = gateway_with(0).await;
    platform.register("stranger").await;
    let asked = json!({"devices": [
        {"node_id": "child01", "product_id": "p"},
        {"node_id": "stranger", "product_id": "p"},
        {"node_id": "stranger", "product_id": "p", "device_id": "other"},
        {"node_id": "child02", "product_id": "none"},
        {"product_id": "p"},
        {"node_id": "a/b", "product_id": "p"},
        {"node_id": "child03", "product_id": "p", "parent_device_id": "p_stranger"},
        {"node_id": "child04", "product_id": "p", "device_id": "p_child01"},
        {"node_id": "x".repeat(65), "product_id": "p"},
    ]});
    let answer = gateway.asks("add_sub_device_request", asked, None).await;
    let paras = &answer["paras"];
    assert_eq!(paras["successful_devices"].as_array().unwrap().len(), 1);
    let failed: Vec<(&str, &str)> = paras["failed_devices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|failed| (failed["error_code"].as_str().unwrap(), failed["error_msg"].as_str().unwrap()))
        .collect();
    let words = [
        ("IOTDA.014031", "device p_stranger is registered already"),
        ("IOTDA.014031", "product p has a device stranger already"),
        ("IOTDA.000006", "there is no product none"),
        ("IOTDA.000006", "`node_id` is \"\""),
        ("IOTDA.000006", "`node_id` is \"a/b\""),
        ("IOTDA.000006", "only p_gw itself is accepted"),
        ("IOTDA.014031", "device p_child01 is registered already"),
        ("IOTDA.000006", "1 to 64 characters"),
    ];
    assert_eq!(failed.len(), words.len(), "{failed:?}");
    for ((code, message), (wanted_code, wanted)) in failed.into_iter().zip(words) {
        assert!(code == wanted_code && message.contains(wanted), "{code} {message}");
    }
    assert_eq!(children_of(&platform, "p_gw").await, ["p_child01"]);
}

#[tokio::test]
async fn a_child_is_no_gateway_and_a_request_that_is_none_is_answered_too() {
    let (platform, mut gateway, children) = gateway_with(1).await;
    let about_a_child = json!({"object_device_id": children[0].as_str(), "services": [{
        "service_id": "$sub_device_manager", "event_type": "sub_device_sync_request", "paras": {}}]});
    gateway.report(about_a_child.to_string().into_bytes()).await;
    let answer = gateway.asks("add_sub_device_request", json!({"devices": {}}), Some("e")).await;
    assert_eq!(answer["event_id"], "e");
    let problem = answer["paras"]["failed_devices"][0]["error_msg"].as_str().unwrap().to_owned();
    assert_eq!(problem, "`devices` is an object; a list of 1 to 50 devices is accepted");
    // A child with a secret of its own may connect, but has no children.
    let secret = otaru_engine::DeviceChange { secret: Some(support::SECRET.into()), ..Default::default() };
    platform.engine.patch_device(&platform.by, children[0].as_str(), secret).await.unwrap();
    let mut child = platform.connect(&children[0]).await;
    let asked = json!({"devices": [{"node_id": "grandchild", "product_id": "p"}]});
    let answer = child.asks("add_sub_device_request", asked, None).await;
    let problem = answer["paras"]["failed_devices"][0]["error_msg"].as_str().unwrap();
    assert!(problem.contains("is itself a child"), "{problem}");
}

#[tokio::test]
async fn what_follows_a_registration_on_the_same_link_finds_the_child_registered() {
    let (platform, mut gateway, _) = gateway_with(0).await;
    let add = event(
        "add_sub_device_request",
        json!({"devices": [{"node_id": "child01", "product_id": "p"}]}),
        None,
    );
    let child = DeviceId::parse("p_child01").unwrap();
    let report = VersionReport { fw_version: Version::as_sent("v1"), ..VersionReport::default() };
    gateway.publish(add);
    let last = gateway.publish(encode_version_report(&child, &report, None));
    gateway.acknowledged(last).await;
    let known = platform.engine.device("p_child01").await.unwrap().unwrap();
    assert_eq!(known.record.state.firmware_version.as_deref(), Some("v1"));
}

#[tokio::test]
async fn nothing_is_answered_and_nothing_acknowledged_before_the_registration_is_stored() {
    let (platform, mut gateway, _) = gateway_with(0).await;
    let faults = platform.faults.as_ref().unwrap();
    faults.stall();
    gateway.publish(event(
        "add_sub_device_request",
        json!({"devices": [{"node_id": "c", "product_id": "p"}]}),
        None,
    ));
    assert!(gateway.heard_nothing_for(Duration::from_millis(50)).await);
    faults.resume();
    assert!(matches!(gateway.next().await, Delivery::Acknowledge(_)), "first the acknowledgement");
    assert!(matches!(gateway.next().await, Delivery::Answer { .. }), "then the answer");
    assert_eq!(children_of(&platform, "p_gw").await, ["p_c"]);
}

#[tokio::test]
async fn a_gateway_deletes_its_own_children_and_nobody_elses() {
    let (platform, mut gateway, children) = gateway_with(2).await;
    platform.register("stranger").await;
    let package = platform.package("v2", &[]).await;
    let campaign = platform.campaign(&package, &children.iter().collect::<Vec<_>>(), Policy::default()).await;
    gateway.hears_about().await;
    let asked = json!({"devices": ["p_child0", "p_stranger", "none", "p_child0"]});
    let answer = gateway.asks("delete_sub_device_request", asked, None).await;
    assert_eq!(answer["event_type"], "delete_sub_device_response");
    assert_eq!(answer["paras"]["successful_devices"], json!(["p_child0"]));
    let failed = answer["paras"]["failed_devices"].as_array().unwrap();
    let failed: Vec<_> = failed.iter().map(|f| (&f["device_id"], &f["error_code"])).collect();
    assert_eq!(
        failed,
        [(&json!("none"), &json!("IOTDA.014000")), (&json!("p_stranger"), &json!("IOTDA.014000"))]
    );
    assert_eq!(children_of(&platform, "p_gw").await, ["p_child1"]);
    platform.until(&campaign, &children[0], "removed").await;
    assert!(platform.engine.device("p_stranger").await.unwrap().is_some());
}

#[tokio::test]
async fn a_gateway_registers_only_as_many_children_as_it_may_and_an_operator_more() {
    let few = |children_max| Platform::in_memory_with(Settings { children_max, ..settings() });
    let why = async |gateway: &mut Device, node: &str| {
        let asked = json!({"devices": [{"node_id": node, "product_id": "p"}]});
        let answer = gateway.asks("add_sub_device_request", asked, None).await;
        answer["paras"]["failed_devices"][0]["error_msg"].as_str().unwrap_or_default().to_owned()
    };
    let platform = few(0).await;
    platform.product().await;
    let gateway = platform.register("gw").await;
    let mut link = platform.connect(&gateway).await;
    assert_eq!(why(&mut link, "a").await, "gateways register no children here; an operator does");
    platform.register_child("a", &gateway).await;

    let platform = few(2).await;
    platform.product().await;
    let gateway = platform.register("gw").await;
    let mut link = platform.connect(&gateway).await;
    assert_eq!(why(&mut link, "a").await, "");
    for _ in 0..19 {
        assert_eq!(why(&mut link, "b").await, "");
        let too_many = "a gateway registers at most 2 children; an operator may register more";
        assert_eq!(why(&mut link, "c").await, too_many);
        link.asks("delete_sub_device_request", json!({"devices": ["p_b"]}), None).await;
    }
    assert_eq!(why(&mut link, "b").await, "", "the fortieth change");
    link.asks("delete_sub_device_request", json!({"devices": ["p_b"]}), None).await;
    let enough = "children of this gateway came and went 40 times; from now on an operator registers them";
    assert_eq!(why(&mut link, "c").await, enough);
    platform.register_child("c", &gateway).await;
    assert_eq!(children_of(&platform, "p_gw").await, ["p_a", "p_c"]);
}

#[tokio::test]
async fn what_comes_and_goes_in_one_message_is_answered_as_it_was_stored() {
    let (platform, mut gateway, _) = gateway_with(1).await;
    let manager = |event_type: &str, paras: Value| json!({"service_id": "$sub_device_manager", "event_type": event_type, "paras": paras});
    let status = |id: &str| json!({"device_statuses": [{"device_id": id, "status": "OFFLINE"}]});
    let new = json!({"node_id": "new", "product_id": "p"});
    let message = json!({"services": [
        manager("delete_sub_device_request", json!({"devices": ["p_child0"]})),
        manager("delete_sub_device_request", json!({"devices": ["p_child0"]})),
        manager("sub_device_update_status", status("p_child0")),
        manager("add_sub_device_request", json!({"devices": [{"node_id": "child0", "product_id": "p"}]})),
        manager("add_sub_device_request", json!({"devices": [new, new]})),
        manager("sub_device_update_status", status("p_new")),
    ]});
    gateway.report(message.to_string().into_bytes()).await;
    let mut answers = Vec::new();
    for _ in 0..6 {
        let paras = gateway.answer().await["paras"].take();
        let count = |of: &str| paras[of].as_array().map(Vec::len);
        let why = paras["failed_devices"][0]["error_msg"].as_str().unwrap_or_default().to_owned();
        answers.push((count("successful_devices"), count("failed_devices"), why));
    }
    let nobody = "The device does not exist, or is no child of this gateway.";
    let answers: Vec<_> = answers.iter().map(|(done, failed, why)| (*done, *failed, why.as_str())).collect();
    assert_eq!(
        answers,
        [
            (Some(1), Some(0), ""),
            (Some(0), Some(1), nobody),
            (Some(0), Some(1), nobody),
            (Some(0), Some(1), "p_child0 is deleted by this message; register it in the next one"),
            (Some(2), Some(0), ""),
            (Some(0), Some(1), "p_new is registered by this message; say this in the next one"),
        ]
    );
    assert_eq!(children_of(&platform, "p_gw").await, ["p_new"]);
}

#[tokio::test]
async fn two_gateways_that_want_the_same_child_at_once_do_not_both_get_it() {
    let (platform, mut gateway, _) = gateway_with(0).await;
    let mut other = platform.connect(&platform.register("gw2").await).await;
    let faults = platform.faults.as_ref().unwrap();
    faults.stall();
    // One to be busy with, so that the others are in one batch.
    gateway.publish(b"{}".to_vec());
    tokio::time::sleep(Duration::from_millis(50)).await;
    let asked =
        || event("add_sub_device_request", json!({"devices": [{"node_id": "c", "product_id": "p"}]}), None);
    gateway.publish(asked());
    other.publish(asked());
    faults.resume();
    let answers = [gateway.answer().await, other.answer().await];
    let done = answers.each_ref().map(|a| a["paras"]["successful_devices"].as_array().unwrap().len());
    assert_eq!(done, [1, 0], "{answers:?}");
    assert_eq!(answers[1]["paras"]["failed_devices"][0]["error_code"], "IOTDA.014031");
    assert_eq!(children_of(&platform, "p_gw").await, ["p_c"]);
    assert_eq!(children_of(&platform, "p_gw2").await, [""; 0]);
}

#[tokio::test]
async fn a_child_with_a_session_of_its_own_that_is_deleted_costs_the_batch_nothing() {
    let (platform, mut gateway, children) = gateway_with(1).await;
    let mut child = platform.connect(&children[0]).await;
    let mut third = platform.connect(&platform.register("other").await).await;
    let package = platform.package("v2", &[]).await;
    let campaign = platform.campaign(&package, &[&children[0]], Policy::default()).await;
    child.hears_question().await;
    let faults = platform.faults.as_ref().unwrap();
    faults.stall();
    gateway.publish(b"{}".to_vec());
    tokio::time::sleep(Duration::from_millis(50)).await;
    gateway.publish(event("delete_sub_device_request", json!({"devices": ["p_child0"]}), None));
    child.publish(progress_report(&children[0], 0, 50, "v2"));
    let last = third.publish(b"{}".to_vec());
    faults.resume();
    let answer = gateway.answer().await;
    third.acknowledged(last).await;
    assert_eq!(answer["paras"]["successful_devices"], json!(["p_child0"]));
    platform.until(&campaign, &children[0], "removed").await;
}

// --- Telling gateways ----------------------------------------------------------------------------------------

#[tokio::test]
async fn a_gateway_that_asks_is_told_what_came_and_went_since_in_either_spelling() {
    let (platform, mut gateway, _) = gateway_with(3).await;
    platform.engine.delete_device(&platform.by, "p_child1").await.unwrap();
    assert_eq!(gateway.answer().await["event_type"], "delete_sub_device_notify");
    for service_id in ["$sub_device_manager", "sub_device_manager"] {
        gateway.report(service(service_id, "sub_device_sync_request", json!({"version": 0}), None)).await;
        let came = gateway.answer().await;
        assert_eq!(came["event_type"], "add_sub_device_notify");
        assert_eq!(came["paras"]["version"], 3);
        assert_eq!(ids(&came), ["p_child0", "p_child2"]);
        let went = gateway.answer().await;
        assert_eq!(went["event_type"], "delete_sub_device_notify");
        assert_eq!(went["paras"]["version"], 4);
        assert_eq!(ids(&went), ["p_child1"]);
    }
    // It knows all of that; the next word is the answer to something else.
    gateway.report(event("sub_device_sync_request", json!({"version": 4}), None)).await;
    gateway.report(service("$time_sync", "time_sync_request", json!({"device_send_time": 1}), None)).await;
    assert_eq!(gateway.answer().await["event_type"], "time_sync_response");
}

#[tokio::test]
async fn a_gateway_is_told_at_once_when_an_operator_changes_its_children() {
    let (platform, mut gateway, _) = gateway_with(0).await;
    platform.register_child("new", &gateway.id).await;
    let came = gateway.answer().await;
    assert_eq!(
        (came["event_type"].as_str().unwrap(), ids(&came)),
        ("add_sub_device_notify", vec!["p_new".to_owned()])
    );
    platform.engine.delete_device(&platform.by, "p_new").await.unwrap();
    let went = gateway.answer().await;
    assert_eq!(
        (went["event_type"].as_str().unwrap(), ids(&went)),
        ("delete_sub_device_notify", vec!["p_new".to_owned()])
    );
    assert_eq!(went["paras"]["version"], 2);
}

#[tokio::test]
async fn many_children_are_told_in_messages_of_fifty_in_order() {
    let (platform, gateway, _) = gateway_with(0).await;
    for number in 0..260 {
        platform.register_child(&format!("n{number}"), &gateway.id).await;
    }
    let mut gateway = platform.connect(&gateway.id).await;
    gateway.report(event("sub_device_sync_request", Value::Null, None)).await;
    let (mut told, mut versions) = (Vec::new(), Vec::new());
    while told.len() < 260 {
        let notice = gateway.answer().await;
        assert!(ids(&notice).len() <= 50);
        told.extend(ids(&notice));
        versions.push(notice["paras"]["version"].as_i64().unwrap());
    }
    assert_eq!(told, (0..260).map(|number| format!("p_n{number}")).collect::<Vec<_>>());
    assert!(versions.is_sorted() && versions.last() == Some(&260), "{versions:?}");
}

// --- There or not there --------------------------------------------------------------------------------------

#[tokio::test]
async fn a_child_counts_as_there_until_its_gateway_says_otherwise_and_again_when_it_says_so() {
    let (platform, mut gateway, children) = gateway_with(1).await;
    let online = async || platform.engine.device(children[0].as_str()).await.unwrap().unwrap().online;
    assert!(online().await, "nothing was said of it yet");
    for (status, is_online) in [("OFFLINE", false), ("OFFLINE", false), ("ONLINE", true)] {
        let statuses = json!({"device_statuses": [{"device_id": children[0].as_str(), "status": status}]});
        let answer = gateway.asks("sub_device_update_status", statuses, Some("s")).await;
        assert_eq!(answer["event_type"], "sub_device_update_status_response");
        assert_eq!(
            answer["paras"],
            json!({"successful_devices": [{"device_id": "p_child0", "status": status}], "failed_devices": []})
        );
        assert_eq!(online().await, is_online, "{status}");
    }
}

#[tokio::test]
async fn the_status_of_a_stranger_or_in_other_words_is_refused_by_name() {
    let (platform, mut gateway, children) = gateway_with(1).await;
    platform.register("stranger").await;
    let statuses = json!({"device_statuses": [
        {"device_id": "p_stranger", "status": "OFFLINE"}, {"device_id": children[0].as_str(), "status": "away"}]});
    let answer = gateway.asks("sub_device_update_status", statuses, None).await;
    assert_eq!(answer["paras"]["successful_devices"], json!([]));
    let failed = &answer["paras"]["failed_devices"];
    assert_eq!(
        (&failed[0]["device_id"], &failed[0]["error_code"]),
        (&json!("p_stranger"), &json!("IOTDA.014000"))
    );
    assert_eq!(failed[1]["error_msg"], "`status` is \"away\"; ONLINE and OFFLINE are accepted");
    let child = platform.engine.device(children[0].as_str()).await.unwrap().unwrap();
    assert_eq!(child.record.state.there, None);
}

#[tokio::test]
async fn an_absent_child_is_waited_for_and_asked_when_it_comes() {
    let (platform, mut gateway, children) = gateway_with(1).await;
    let package = platform.package("v2", &[]).await;
    gateway.says_of(&children[0], "OFFLINE").await;
    let campaign = platform.campaign(&package, &[&children[0]], Policy::default()).await;
    platform.until(&campaign, &children[0], "released").await;
    assert!(gateway.heard_nothing_for(Duration::from_millis(50)).await, "it is not there");
    let explained = platform.engine.explain(children[0].as_str()).await.unwrap();
    assert_eq!(explained.deployments[0].held_back.as_ref().unwrap().reason, "offline");
    gateway.says_of(&children[0], "ONLINE").await;
    assert_eq!(gateway.hears_about().await, (children[0].clone(), Downlink::VersionQuery { task: None }));
    // It goes before it has answered: back to waiting, and asked anew.
    gateway.says_of(&children[0], "OFFLINE").await;
    platform.until(&campaign, &children[0], "released").await;
    gateway.says_of(&children[0], "ONLINE").await;
    gateway.hears_about().await;
    gateway.reports_version_of(&children[0], "v2").await;
    platform.until(&campaign, &children[0], "already_installed").await;
}

#[tokio::test]
async fn an_installing_child_may_be_gone_for_a_while_and_is_asked_when_it_is_back() {
    let (platform, mut gateway, children) = gateway_with(1).await;
    let package = platform.package("v2", &[]).await;
    let campaign = platform.campaign(&package, &[&children[0]], Policy::default()).await;
    gateway.hears_about().await;
    gateway.reports_version_of(&children[0], "v1").await;
    assert!(matches!(gateway.hears_about().await.1, Downlink::Notice(_)));
    gateway.report(progress_report(&children[0], 0, 50, "v1")).await;
    gateway.says_of(&children[0], "OFFLINE").await;
    assert_eq!(platform.deployment(&campaign, &children[0]).await.state, "running");
    gateway.says_of(&children[0], "ONLINE").await;
    platform.clock.pass(Duration::from_secs(6));
    assert_eq!(gateway.hears_about().await, (children[0].clone(), Downlink::VersionQuery { task: None }));
    gateway.reports_version_of(&children[0], "v2").await;
    platform.until(&campaign, &children[0], "installed").await;
}

#[tokio::test]
async fn a_gateway_that_comes_back_is_asked_about_fifty_children_at_work_at_once_and_about_the_others_later()
{
    let (platform, mut gateway, children) = gateway_with(120).await;
    let package = platform.package("v2", &[]).await;
    let campaign = platform.campaign(&package, &children.iter().collect::<Vec<_>>(), Policy::default()).await;
    for _ in 0..120 {
        let (child, _) =
            gateway.hears_matching(|(_, word)| matches!(word, Downlink::VersionQuery { .. })).await;
        gateway.reports_version_of(&child, "v1").await;
    }
    let id = gateway.id.clone();
    drop(gateway);
    let mut gateway = platform.connect(&id).await;
    let mut done = 0;
    while done < 120 {
        platform.clock.pass(Duration::from_secs(6)); // the five seconds after a reconnect, and between two looks
        let round = 50.min(120 - done);
        let mut asked = Vec::new();
        for _ in 0..round {
            let (child, word) = gateway.hears_about().await;
            assert_eq!(word, Downlink::VersionQuery { task: None });
            asked.push(child);
        }
        assert!(gateway.heard_nothing_for(Duration::from_millis(50)).await, "more than {round} at once");
        for child in asked {
            gateway.reports_version_of(&child, "v2").await;
            done += 1;
        }
    }
    platform.until_campaign(&campaign, "finished").await;
}

#[tokio::test]
async fn a_child_that_speaks_is_there_whatever_was_said_of_it() {
    let (platform, mut gateway, children) = gateway_with(1).await;
    gateway.says_of(&children[0], "OFFLINE").await;
    gateway.reports_version_of(&children[0], "v1").await;
    assert!(platform.engine.device(children[0].as_str()).await.unwrap().unwrap().online);
}

#[tokio::test]
async fn what_was_said_of_a_child_outlives_its_gateways_session() {
    let (platform, mut gateway, children) = gateway_with(2).await;
    let package = platform.package("v2", &[]).await;
    gateway.says_of(&children[0], "OFFLINE").await;
    platform.campaign(&package, &children.iter().collect::<Vec<_>>(), Policy::default()).await;
    assert_eq!(gateway.hears_about().await.0, children[1]);
    let id = gateway.id.clone();
    drop(gateway);
    let mut gateway = platform.connect(&id).await;
    assert_eq!(gateway.hears_about().await.0, children[1]);
    assert!(gateway.heard_nothing_for(Duration::from_millis(50)).await, "the absent one is not asked");
}

// --- Gateway mode --------------------------------------------------------------------------------------------

#[tokio::test]
async fn in_gateway_mode_every_word_about_a_child_says_which_task_and_how_many_children() {
    let (platform, mut gateway, children) = gateway_with(3).await;
    let package = platform.package("v2", &[]).await;
    let two = &children[..2];
    let campaign = gateway_campaign(&platform, &package, two, json!({"device_type": "DDC"})).await;
    let task = TaskInfo {
        task_id: campaign.clone(),
        sub_device_count: 2,
        ext: Some(r#"{"device_type":"DDC"}"#.to_owned()),
    };
    for _ in two {
        let (child, asked) = gateway.hears_about().await;
        assert_eq!(asked, Downlink::VersionQuery { task: Some(task.clone()) });
        gateway.reports_version_of(&child, "v1").await;
        match gateway
            .hears_matching(|(about, downlink)| *about == child && matches!(downlink, Downlink::Notice(_)))
            .await
            .1
        {
            Downlink::Notice(notice) => assert_eq!(notice.task, Some(task.clone())),
            Downlink::VersionQuery { .. } => unreachable!("only a notice matches"),
        }
        gateway.report(progress_report(&child, 0, 100, "v2")).await;
        platform.until(&campaign, &child, "installed").await;
    }
}

#[tokio::test]
async fn without_gateway_mode_only_what_the_maker_of_the_campaign_added_is_told() {
    let (platform, mut gateway, children) = gateway_with(1).await;
    let package = platform.package("v2", &[]).await;
    let request = CampaignRequest {
        ext_info: json!({"note": "spring"}).as_object().cloned(),
        ..request(&package, &children, Policy::default())
    };
    platform.engine.create_campaign(&platform.by, request).await.unwrap();
    let ext = Some(r#"{"note":"spring"}"#.to_owned());
    let task = TaskInfo { task_id: String::new(), sub_device_count: 0, ext };
    assert_eq!(gateway.hears_about().await.1, Downlink::VersionQuery { task: Some(task) });
}

#[tokio::test]
async fn more_than_devices_are_told_is_refused() {
    let (platform, _, children) = gateway_with(1).await;
    let package = platform.package("v2", &[]).await;
    let ext_info = json!({"note": "x".repeat(512)}).as_object().cloned();
    let request = CampaignRequest { ext_info, ..request(&package, &children, Policy::default()) };
    let refused = platform.engine.create_campaign(&platform.by, request).await.unwrap_err();
    assert_eq!(refused.to_string(), "`ext_info` has 523 characters of JSON; up to 512 are accepted");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_children_of_one_gateway_are_upgraded_in_one_campaign() {
    let dir = tempfile::tempdir().unwrap();
    let quick = Settings { artifact_bytes_max: 1_000, ..settings() };
    let platform = Platform::on_disk(dir.path(), quick, WoundClock::new()).await;
    platform.product().await;
    let gateway = platform.register("gw").await;
    let mut link = platform.connect(&gateway).await;
    // The gateway registers them itself, fifty at a time.
    for request in 0..200 {
        let devices: Vec<Value> = (0..50)
            .map(|n| json!({"node_id": format!("c{}", request * 50 + n), "product_id": "p"}))
            .collect();
        let answer = link.asks("add_sub_device_request", json!({"devices": devices}), None).await;
        assert_eq!(answer["paras"]["failed_devices"], json!([]));
    }
    let package = platform.package("v2", &[]).await;
    let everything = CampaignRequest {
        devices: DeviceSelection::Product("p".into()),
        ..request(&package, &[], Policy { gateway_mode: true, ..Policy::default() })
    };
    let campaign = platform.engine.create_campaign(&platform.by, everything).await.unwrap().campaign_id;
    let mut open = 0_usize;
    let mut open_max = 0;
    let mut told = 0;
    while told < 10_001 {
        let (about, downlink) = link.hears_about().await;
        match downlink {
            Downlink::VersionQuery { task } => {
                open += 1;
                open_max = open_max.max(open);
                let children = task.map_or(0, |task| task.sub_device_count);
                assert_eq!(children, if about == gateway { 0 } else { 10_000 }, "{about}");
                let report = VersionReport { fw_version: Version::as_sent("v1"), ..VersionReport::default() };
                link.publish(encode_version_report(&about, &report, None));
            }
            Downlink::Notice(_) => {
                open -= 1;
                told += 1;
                link.publish(progress_report(&about, 0, 100, "v2"));
            }
        }
    }
    assert!(open_max <= 51, "{open_max} questions were open at once");
    platform.until_campaign(&campaign, "finished").await;
    let installed = platform.counts(&campaign).await.of(Label::from_name("installed").unwrap());
    assert_eq!(installed, 10_001);
    platform.engine.stop().await;
}

// --- The stage -----------------------------------------------------------------------------------------------

/// A connected gateway and so many children.
async fn gateway_with(count: usize) -> (Platform, Device, Vec<DeviceId>) {
    let platform = Platform::in_memory().await;
    platform.product().await;
    let id = platform.register("gw").await;
    let mut children = Vec::new();
    for number in 0..count {
        children.push(platform.register_child(&format!("child{number}"), &id).await);
    }
    let mut gateway = platform.connect(&id).await;
    gateway.report_version("v1").await;
    (platform, gateway, children)
}

fn request(package: &str, devices: &[DeviceId], policy: Policy) -> CampaignRequest {
    CampaignRequest {
        name: "spring".into(),
        package_ids: vec![package.to_owned()],
        devices: DeviceSelection::Ids(devices.iter().map(|id| id.to_string()).collect()),
        policy,
        ext_info: None,
        start_at: None,
        start: true,
    }
}

async fn gateway_campaign(platform: &Platform, package: &str, devices: &[DeviceId], ext: Value) -> String {
    let policy = Policy { gateway_mode: true, ..Policy::default() };
    let request = CampaignRequest { ext_info: ext.as_object().cloned(), ..request(package, devices, policy) };
    platform.engine.create_campaign(&platform.by, request).await.unwrap().campaign_id
}

async fn children_of(platform: &Platform, gateway: &str) -> Vec<String> {
    let filter = DeviceFilter { gateway_id: DeviceId::parse(gateway).ok(), ..DeviceFilter::default() };
    let devices = platform.engine.devices(filter, Page { after: None, limit: 100 }).await.unwrap();
    devices.into_iter().map(|device| device.record.row.device_id.to_string()).collect()
}

fn ids(notice: &Value) -> Vec<String> {
    let devices = notice["paras"]["devices"].as_array().unwrap();
    devices.iter().map(|device| device["device_id"].as_str().unwrap().to_owned()).collect()
}

fn event(event_type: &str, paras: Value, event_id: Option<&str>) -> Vec<u8> {
    service("$sub_device_manager", event_type, paras, event_id)
}

fn service(service_id: &str, event_type: &str, paras: Value, event_id: Option<&str>) -> Vec<u8> {
    json!({"services": [{"service_id": service_id, "event_type": event_type, "event_id": event_id, "paras": paras}]})
        .to_string()
        .into_bytes()
}

impl Device {
    /// Asks something of `$sub_device_manager`, and answers with the service in the answer.
    async fn asks(&mut self, event_type: &str, paras: Value, event_id: Option<&str>) -> Value {
        self.report(event(event_type, paras, event_id)).await;
        self.answer().await
    }

    async fn says_of(&mut self, child: &DeviceId, status: &str) {
        let statuses = json!({"device_statuses": [{"device_id": child.as_str(), "status": status}]});
        let answer = self.asks("sub_device_update_status", statuses, None).await;
        assert_eq!(answer["paras"]["failed_devices"], json!([]));
    }

    async fn reports_version_of(&mut self, child: &DeviceId, version: &str) {
        let report = VersionReport { fw_version: Version::as_sent(version), ..VersionReport::default() };
        self.report(encode_version_report(child, &report, None)).await;
    }
}
