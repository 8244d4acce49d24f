//! What is answered to other services than `$ota`, byte for byte, and what of them is refused by name.

#![expect(clippy::unwrap_used, reason = "what a test relies on is said by its failing there")]

use otaru_proto::{
    Answer, CHILD_STATUSES_MAX, CHILDREN_PER_REQUEST_MAX, ChildInfo, ChildRequest, ChildState, DeviceId,
    EventBody, FailedChild, FailedName, PROPERTIES_BYTES_MAX, ServiceContent, ServiceProperties,
    ShadowService, decode_gateway_properties, decode_properties, decode_shadow_request, decode_uplink,
    encode_answer, encode_shadow,
};

/// 2025-04-14T01:02:03Z, as in the published examples.
const AT: i64 = 1_744_592_523_000;

#[test]
fn the_time_is_three_integers() {
    let answer = Answer::Time {
        device_send_time: 1_744_592_523_123,
        server_recv_time: 1_744_592_523_180,
        server_send_time: 1_744_592_523_181,
    };
    says(
        &answer,
        None,
        r#""service_id":"$time_sync","event_type":"time_sync_response","event_time":"20250414T010203Z","paras":{"device_send_time":1744592523123,"server_recv_time":1744592523180,"server_send_time":1744592523181}"#,
    );
}

#[test]
fn a_status_update_is_answered_child_by_child_with_the_id_of_the_request() {
    let answer = Answer::StatusesUpdated {
        done: vec![("p_child01".into(), true)],
        failed: vec![FailedChild {
            who: FailedName::Device("p_child02".into()),
            error_code: "IOTDA.014000",
            error_msg: "The device does not exist.".into(),
        }],
    };
    says(
        &answer,
        Some("40cc9ab1"),
        r#""service_id":"$sub_device_manager","event_type":"sub_device_update_status_response","event_time":"20250414T010203Z","event_id":"40cc9ab1","paras":{"successful_devices":[{"device_id":"p_child01","status":"ONLINE"}],"failed_devices":[{"device_id":"p_child02","error_code":"IOTDA.014000","error_msg":"The device does not exist."}]}"#,
    );
}

#[test]
fn a_registration_is_answered_with_what_was_registered_and_what_was_not() {
    let answer = Answer::ChildrenAdded {
        done: vec![child()],
        failed: vec![FailedChild {
            who: FailedName::Node { node_id: "child02".into(), product_id: "p".into() },
            error_code: "IOTDA.014031",
            error_msg: "taken".into(),
        }],
    };
    says(
        &answer,
        Some("e"),
        r#""service_id":"$sub_device_manager","event_type":"add_sub_device_response","event_time":"20250414T010203Z","event_id":"e","paras":{"successful_devices":[{"parent_device_id":"gw","node_id":"child01","device_id":"p_child01","name":"meter 1","product_id":"p","fw_version":"v1","status":"INACTIVE"}],"failed_devices":[{"node_id":"child02","product_id":"p","error_code":"IOTDA.014031","error_msg":"taken"}]}"#,
    );
}

#[test]
fn a_deletion_is_answered_with_ids() {
    let answer = Answer::ChildrenDeleted { done: vec!["p_child01".into()], failed: Vec::new() };
    says(
        &answer,
        Some("e"),
        r#""service_id":"$sub_device_manager","event_type":"delete_sub_device_response","event_time":"20250414T010203Z","event_id":"e","paras":{"successful_devices":["p_child01"],"failed_devices":[]}"#,
    );
}

#[test]
fn a_gateway_is_told_of_its_children_with_a_version() {
    says(
        &Answer::AddedNotify { children: vec![child()], version: 7 },
        None,
        r#""service_id":"$sub_device_manager","event_type":"add_sub_device_notify","event_time":"20250414T010203Z","paras":{"devices":[{"parent_device_id":"gw","node_id":"child01","device_id":"p_child01","name":"meter 1","product_id":"p","fw_version":"v1","status":"INACTIVE"}],"version":7}"#,
    );
    let children = vec![("child01".into(), "p_child01".into())];
    says(
        &Answer::DeletedNotify { children, parent_device_id: "gw".into(), version: 8 },
        None,
        r#""service_id":"$sub_device_manager","event_type":"delete_sub_device_notify","event_time":"20250414T010203Z","paras":{"devices":[{"parent_device_id":"gw","node_id":"child01","device_id":"p_child01"}],"version":8}"#,
    );
}

#[test]
fn a_file_is_refused_with_a_reason_and_without_a_null() {
    says(
        &Answer::NoFiles { upload: true, file_name: "a.log".into() },
        None,
        r#""service_id":"$file_manager","event_type":"get_upload_url_response","event_time":"20250414T010203Z","paras":{"url":"","bucket_name":"","object_name":"a.log","expire":0,"error_code":"IOTDA.000029","error_msg":"This platform keeps no files of devices."}"#,
    );
}

#[test]
fn a_shadow_shows_what_was_reported_and_desires_nothing() {
    let service = |service_id: &str, reported: &str| ShadowService {
        service_id: service_id.into(),
        reported: reported.into(),
        reported_at_ms: AT,
    };
    let about = device("sn0001");
    let shadow = encode_shadow(&about, &[service("Battery", r#"{ "level": 80 }"#), service("broken", "[1]")]);
    assert_eq!(
        String::from_utf8(shadow).unwrap(),
        r#"{"object_device_id":"sn0001","shadow":[{"service_id":"Battery","desired":{"properties":{},"event_time":"20250414T010203Z"},"reported":{"properties":{"level":80},"event_time":"20250414T010203Z"},"version":0}]}"#
    );
    assert_eq!(encode_shadow(&about, &[]), br#"{"object_device_id":"sn0001","shadow":[]}"#);
}

#[test]
fn a_request_that_is_none_says_why_and_whose_it_is() {
    refused(
        "add_sub_device_request",
        "null",
        Some(ChildRequest::Add),
        "`devices` is missing; a list of 1 to 50 devices is accepted",
    );
    refused(
        "add_sub_device_request",
        r#"{"devices":{}}"#,
        Some(ChildRequest::Add),
        "`devices` is an object; a list of 1 to 50 devices is accepted",
    );
    refused(
        "delete_sub_device_request",
        r#"{"devices":[]}"#,
        Some(ChildRequest::Delete),
        "`devices` is an empty list; a list of 1 to 50 device ids is accepted",
    );
    refused(
        "sub_device_update_status",
        r#"{"device_statuses":"all"}"#,
        Some(ChildRequest::UpdateStatus),
        "`device_statuses` is \"all\"; a list of 1 to 100 statuses is accepted",
    );
    refused(
        "sub_device_sync_request",
        r#"{"version":1.5}"#,
        None,
        "`version` is 1.5; an integer is accepted",
    );
    refused("sub_device_sync_request", "[]", None, "`paras` is a list; an object is accepted");
}

#[test]
fn as_many_children_as_published_are_read_and_no_more() {
    let list = |count: usize| vec![r#""c""#; count].join(",");
    let request = |count| {
        content(
            "$sub_device_manager",
            "delete_sub_device_request",
            &format!("{{\"devices\":[{}]}}", list(count)),
        )
    };
    assert_eq!(
        request(CHILDREN_PER_REQUEST_MAX),
        Some(ServiceContent::DeleteChildren(vec!["c".into(); CHILDREN_PER_REQUEST_MAX]))
    );
    refused(
        "delete_sub_device_request",
        &format!("{{\"devices\":[{}]}}", list(CHILDREN_PER_REQUEST_MAX + 1)),
        Some(ChildRequest::Delete),
        "`devices` is a list of 51; a list of 1 to 50 device ids is accepted",
    );
    refused(
        "sub_device_update_status",
        &format!("{{\"device_statuses\":[{}]}}", list(CHILD_STATUSES_MAX + 1)),
        Some(ChildRequest::UpdateStatus),
        "`device_statuses` is a list of 101; a list of 1 to 100 statuses is accepted",
    );
}

#[test]
fn entries_that_are_nothing_are_kept_as_nothing_so_that_the_answer_can_name_them() {
    let Some(ServiceContent::ChildStatuses(statuses)) = content(
        "sub_device_manager",
        "sub_device_update_status",
        r#"{"device_statuses":[7,{"device_id":"c","status":"AWAY"},{"device_id":"d","status":"OFFLINE"}]}"#,
    ) else {
        panic!("statuses");
    };
    let each: Vec<_> = statuses.iter().map(|s| (s.device_id.as_str(), s.online.clone())).collect();
    assert_eq!(each, [("", Err(String::new())), ("c", Err("AWAY".into())), ("d", Ok(false))]);
}

#[test]
fn a_log_line_is_cut_and_may_be_anything() {
    let long = "x".repeat(5_000);
    let Some(ServiceContent::Log(line)) =
        content("$log", "log_report", &format!(r#"{{"timestamp":17,"content":"{long}"}}"#))
    else {
        panic!("a line");
    };
    assert_eq!((line.timestamp.as_deref(), line.kind, line.content.len()), (Some("17"), None, 4_096));
    let Some(ServiceContent::Log(line)) = content("$log", "log_report", r#"{"content":{"a":[1]}}"#) else {
        panic!("a line");
    };
    assert_eq!(line.content, r#"{"a":[1]}"#);
}

#[test]
fn each_event_of_a_message_says_its_own() {
    let message = br#"{"services":[
        {"service_id":"$ota","event_type":"version_report","paras":{"fw_version":"v1"}},
        {"paras":{"device_send_time":5},"service_id":"$time_sync","event_type":"time_sync_request"},
        {"service_id":"$what","event_type":"ever","paras":{}}]}"#;
    let uplink = decode_uplink(message).unwrap();
    assert!(matches!(uplink.events[0].body, EventBody::VersionReport(_)));
    assert_eq!(said(&uplink.events[1].body), Some(ServiceContent::TimeSync { device_send_time: 5 }));
    assert_eq!(said(&uplink.events[2].body), None);
}

#[test]
fn properties_are_kept_as_they_are_and_unusable_entries_are_left_out() {
    let properties = decode_properties(
        br#"{"services":[{"service_id":"Battery","properties":{"level":80, "big":18446744073709551615},"event_time":"20250414T010203Z"},
            {"service_id":"","properties":{}},{"service_id":"x","properties":[]},{"properties":{}},7]}"#,
    );
    let battery = ServiceProperties {
        service_id: "Battery".into(),
        properties: r#"{"big":18446744073709551615,"level":80}"#.into(),
        event_time: Some("20250414T010203Z".into()),
    };
    assert_eq!(properties, Ok(vec![battery.clone()]));
    let of_children = decode_gateway_properties(
        br#"{"devices":[{"device_id":"c","services":[{"service_id":"Battery","properties":{"big":18446744073709551615,"level":80},"event_time":"20250414T010203Z"}]},
            {"services":[]},{"device_id":"d"}]}"#,
    );
    assert_eq!(of_children, Ok(vec![("c".into(), vec![battery])]));
}

#[test]
fn a_shadow_may_be_asked_for_in_few_words_or_none() {
    let asked = |text: &str| decode_shadow_request(text.as_bytes());
    assert_eq!(
        asked(r#"{"object_device_id":"c","service_id":"Battery"}"#),
        (Some("c".into()), Some("Battery".into()))
    );
    for everything in
        ["", "{}", "[]", "{", r#"{"object_device_id":"","service_id":null}"#, r#"{"object_device_id":"-1"}"#]
    {
        assert_eq!(asked(everything), (None, None), "{everything}");
    }
}

#[test]
fn properties_that_cannot_be_read_say_why() {
    let says = |bytes: &[u8]| decode_properties(bytes).unwrap_err().to_string();
    assert_eq!(says(b"[]"), "properties are no JSON object");
    assert_eq!(says(b"\xff"), "properties are no JSON object");
    assert_eq!(says(&[b'['; 100]), "properties are no JSON object");
    assert_eq!(says(b"{}"), "`services` is not a list");
    let much = vec![b' '; PROPERTIES_BYTES_MAX + 1];
    assert_eq!(says(&much), "properties have 65537 bytes; at most 65536 are read");
    let many = format!("{{\"devices\":[{}]}}", vec!["{}"; 101].join(","));
    let refused = decode_gateway_properties(many.as_bytes()).unwrap_err().to_string();
    assert_eq!(refused, "`devices` has 101 entries; at most 100 are accepted");
}

fn child() -> ChildInfo {
    ChildInfo {
        parent_device_id: "gw".into(),
        node_id: "child01".into(),
        device_id: "p_child01".into(),
        name: Some("meter 1".into()),
        product_id: "p".into(),
        fw_version: Some("v1".into()),
        sw_version: None,
        status: ChildState::Inactive,
    }
}

fn says(answer: &Answer, event_id: Option<&str>, service: &str) {
    let bytes = encode_answer(&device("gw"), answer, event_id, AT);
    let expected = format!(r#"{{"object_device_id":"gw","services":[{{{service}}}]}}"#);
    assert_eq!(String::from_utf8(bytes).unwrap(), expected);
}

fn content(service_id: &str, event_type: &str, paras: &str) -> Option<ServiceContent> {
    let message = format!(
        r#"{{"services":[{{"service_id":"{service_id}","event_type":"{event_type}","paras":{paras}}}]}}"#
    );
    said(&decode_uplink(message.as_bytes()).unwrap().events[0].body)
}

fn said(body: &EventBody) -> Option<ServiceContent> {
    match body {
        EventBody::OtherService { content, .. } => content.as_deref().cloned(),
        EventBody::VersionReport(_)
        | EventBody::ProgressReport(_)
        | EventBody::UnknownOta { .. }
        | EventBody::Nameless
        | EventBody::Rejected { .. } => None,
    }
}

fn refused(event_type: &str, paras: &str, request: Option<ChildRequest>, words: &str) {
    match content("$sub_device_manager", event_type, paras) {
        Some(ServiceContent::Unusable { request: found, problem }) => {
            assert_eq!((found, problem.to_string().as_str()), (request, words));
        }
        other => panic!("{event_type} {paras}: {other:?}"),
    }
}

fn device(id: &str) -> DeviceId {
    DeviceId::parse(id).unwrap()
}
