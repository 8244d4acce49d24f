//! What holds for every input, not only for those somebody thought of.

use otaru_proto::{
    Access, CLIENT_ID_CHARS_MAX, ClientId, DESCRIPTION_CHARS_MAX, DOWNLINK_INT_MAX, DeviceId, Downlink,
    EVENT_ID_CHARS_MAX, EVENT_TIME_CHARS_MAX, EventBody, EventTime, FOUND_CHARS_MAX, MODULE_NAME_CHARS_MAX,
    MODULES_MAX, NAME_CHARS_MAX, Notice, PackageKind, Percent, ProgressReport, ResultCode, SUBJECT_CHARS_MAX,
    SignWindow, Stamp, Subject, TaskInfo, Tolerance, Topic, UPLINK_BYTES_MAX, Uplink, UplinkError,
    VERSION_CHARS_MAX, Version, VersionReport, classify, classify_filter, decode_downlink, decode_uplink,
    device_password, encode_downlink, encode_progress_report, encode_version_report, events_down, events_up,
    filter_matches, format_event_time, parse_event_time, password_matches,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..300)) {
        look_at(decode_uplink(&bytes));
        let _ = decode_downlink(&bytes);
    }

    #[test]
    fn any_json_is_read_or_refused(text in json()) {
        look_at(decode_uplink(text.as_bytes()));
        let _ = decode_downlink(text.as_bytes());
        // An object of any content is never refused for being no JSON or no object.
        let wrongly = matches!(
            decode_uplink(text.as_bytes()),
            Err(UplinkError::NotUtf8 { .. } | UplinkError::NotJson { .. } | UplinkError::NotAnObject { .. })
        );
        prop_assert!(!wrongly);
    }

    #[test]
    fn a_damaged_report_is_read_or_refused(
        report in progress_report(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        end in any::<prop::sample::Index>(),
    ) {
        let mut bytes = encode_progress_report(&device("d1"), &report, Some(0));
        let at = at.index(bytes.len());
        bytes[at] = byte;
        look_at(decode_uplink(&bytes));
        bytes.truncate(end.index(bytes.len()));
        look_at(decode_uplink(&bytes));
    }

    #[test]
    fn what_a_device_reports_is_what_is_heard(
        device in device_id(),
        progress in progress_report(),
        version in version_report(),
        time in option::of(0i64..253_402_300_799),
    ) {
        let time = time.map(|secs| secs * 1000);
        for (bytes, body) in [
            (encode_progress_report(&device, &progress, time), EventBody::ProgressReport(progress.clone())),
            (encode_version_report(&device, &version, time), EventBody::VersionReport(version.clone())),
        ] {
            let uplink = decode_uplink(&bytes).unwrap();
            let cut = matches!(&body, EventBody::ProgressReport(report) if
                report.version.as_ref().is_some_and(Version::was_cut))
                || matches!(&body, EventBody::VersionReport(report) if
                [&report.fw_version, &report.sw_version].into_iter().flatten().any(Version::was_cut));
            prop_assert_eq!(uplink.tolerances, if cut { vec![Tolerance::VersionCut] } else { vec![] });
            prop_assert_eq!(uplink.subject, Subject::Named(device.clone()));
            prop_assert_eq!(uplink.events.len(), 1);
            prop_assert_eq!(&uplink.events[0].body, &body);
            prop_assert_eq!(&uplink.events[0].event_time, &time.map_or(EventTime::Absent, EventTime::Documented));
            prop_assert_eq!(&uplink.events[0].event_id, &None);
        }
    }

    #[test]
    fn what_the_platform_says_is_what_an_agent_hears(
        device in device_id(),
        downlink in downlink(),
        time in any::<i64>(),
    ) {
        let bytes = encode_downlink(&device, &downlink, time);
        prop_assert_eq!(&encode_downlink(&device, &downlink, time), &bytes, "not the same twice");
        let heard = decode_downlink(&bytes).unwrap();
        prop_assert!(heard == (Some(device), downlink), "{:?}", heard);
    }

    #[test]
    fn a_client_id_comes_back_as_itself(
        device in device_id(),
        id_type in 0u8..10,
        sign_type in 0u8..10,
        hour in "[0-9]{10}",
    ) {
        let client_id = ClientId { device, id_type, sign_type, stamp: Stamp::parse(&hour).unwrap() };
        let text = client_id.to_string();
        prop_assert!(text.len() <= CLIENT_ID_CHARS_MAX);
        prop_assert_eq!(ClientId::parse(&text), Ok(client_id));
    }

    #[test]
    fn any_text_is_a_client_id_or_not(text in any::<String>()) {
        if let Ok(client_id) = ClientId::parse(&text) {
            prop_assert_eq!(client_id.to_string(), text);
        }
    }

    #[test]
    fn only_the_right_password_fits(
        secret in vec(any::<u8>(), 0..80),
        hour in "[0-9]{10}",
        given in vec(any::<u8>(), 0..80),
        at in 0usize..64,
        byte in any::<u8>(),
    ) {
        let stamp = Stamp::parse(&hour).unwrap();
        let password = device_password(&secret, &stamp);
        prop_assert!(password_matches(&secret, &stamp, password.as_bytes()));
        prop_assert!(!password_matches(&secret, &stamp, &given));
        let mut wrong = password.clone().into_bytes();
        wrong[at] = byte;
        prop_assert_eq!(password_matches(&secret, &stamp, &wrong), wrong.eq_ignore_ascii_case(password.as_bytes()));
    }

    #[test]
    fn the_stamp_of_a_time_is_its_hour(secs in -62_167_219_200i64..=253_402_300_799) {
        let stamp = Stamp::from_unix_secs(secs);
        prop_assert_eq!(stamp.hour_since_epoch(), Some(secs.div_euclid(3600)));
        prop_assert_eq!(Stamp::parse(stamp.as_str()), Ok(stamp));
        let this_hour = SignWindow { back_hours: 0, ahead_hours: 0 };
        prop_assert!(this_hour.admits(&stamp, secs));
    }

    #[test]
    fn any_stamp_at_any_time_is_admitted_or_not(hour in "[0-9]{10}", secs in any::<i64>(), window in any::<u32>()) {
        let stamp = Stamp::parse(&hour).unwrap();
        let _ = SignWindow { back_hours: window, ahead_hours: window }.admits(&stamp, secs);
        let _ = Stamp::from_unix_secs(secs);
    }

    #[test]
    fn event_times_come_back_to_the_second(unix_ms in -62_167_219_200_000i64..=253_402_300_799_999) {
        let text = format_event_time(unix_ms);
        prop_assert_eq!(parse_event_time(&text), Some(unix_ms.div_euclid(1000) * 1000));
    }

    #[test]
    fn any_text_has_a_class_as_topic_and_as_filter(
        text in "(\\$oc/devices/)?(d1|d2|\\+)?(/|/sys/)?[a-z/#+$=_?]{0,20}",
        own in device_id(),
    ) {
        let _ = classify(&text);
        let _ = classify_filter(&text, &own);
        let _ = filter_matches(&text, &events_down(&own));
    }

    #[test]
    fn a_devices_own_topics_are_its_own(own in device_id()) {
        for topic in [events_up(&own), events_down(&own)] {
            let is_own = matches!(classify(&topic), Topic::System { device, .. } if device == own.as_str());
            prop_assert!(is_own);
            prop_assert!(filter_matches(&topic, &topic));
        }
    }
}

#[test]
fn a_message_of_the_largest_size_is_read_and_one_byte_more_is_not() {
    let mut bytes =
        br#"{"services":[{"service_id":"$log","event_type":"log_report","paras":{"content":""#.to_vec();
    let end = br#""}}]}"#;
    bytes.resize(UPLINK_BYTES_MAX - end.len(), b'x');
    bytes.extend_from_slice(end);
    assert!(decode_uplink(&bytes).is_ok());
    bytes.push(b' ');
    assert_eq!(decode_uplink(&bytes), Err(UplinkError::TooLarge { bytes: UPLINK_BYTES_MAX + 1 }));
}

#[test]
fn every_tolerance_has_a_name_of_its_own() {
    let mut names: Vec<&str> = Tolerance::ALL.iter().map(|tolerance| tolerance.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Tolerance::ALL.len());
}

#[test]
fn the_sign_window_takes_the_hours_devices_really_send() {
    let at = |text: &str| parse_event_time(text).unwrap() / 1000;
    let window = SignWindow::default();
    let admits = |stamp: &str, now: &str| window.admits(&Stamp::parse(stamp).unwrap(), at(now));
    let now = "20250414T013000Z";

    assert!(admits("2025041401", now), "this hour");
    assert!(admits("2025041400", now), "an hour ago, as published");
    assert!(!admits("2025041323", now), "two hours ago");
    assert!(admits("2025041409", now), "Go in Shanghai");
    assert!(!admits("2025041320", now), "Go in New York");
    assert!(admits("2025041424", now), "C, counted past midnight");
    assert!(!admits("2025041599", now), "C, counted far");
    assert!(!admits("2025990099", now), "no date at all");
    assert!(admits("2025043024", "20250430T233000Z"), "counted into the next month");
}

#[test]
fn a_notice_that_some_device_could_not_read_is_found_before_it_is_sent() {
    let good = Notice {
        kind: PackageKind::Firmware,
        access: Access::Token("t".into()),
        version: "v2.0.0".into(),
        url: "https://ota.example.com:8943/p".into(),
        file_size: DOWNLINK_INT_MAX,
        file_name: "app.bin".into(),
        expires_secs: 86_400,
        sign: "a".repeat(64),
        custom_info: Some("x".repeat(4096)),
        task: Some(TaskInfo {
            task_id: "t".into(),
            sub_device_count: 2,
            ext: Some(format!("{{\"a\":\"{}\"}}", "x".repeat(500))),
        }),
    };
    assert_eq!(good.check(), Ok(()));
    let task =
        |ext: &str| Some(TaskInfo { task_id: String::new(), sub_device_count: 0, ext: Some(ext.to_owned()) });
    for (bad, says) in [
        (
            Notice { file_size: DOWNLINK_INT_MAX + 1, ..good.clone() },
            "`file_size` is 2147483648; at most 2147483647 fits into what devices read it into",
        ),
        (
            Notice { expires_secs: u32::MAX, ..good.clone() },
            "`expires` is 4294967295; at most 2147483647 fits into what devices read it into",
        ),
        (Notice { version: "v 2".into(), ..good.clone() }, "notice names no usable version"),
        (Notice { url: String::new(), ..good.clone() }, "notice has an empty `url`"),
        (Notice { file_name: String::new(), ..good.clone() }, "notice has an empty `file_name`"),
        (
            Notice { file_name: "../app.bin".into(), ..good.clone() },
            "`file_name` is \"../app.bin\"; a plain name without a path is expected",
        ),
        (
            Notice { access: Access::Token(String::new()), ..good.clone() },
            "notice has an empty `access_token`",
        ),
        (Notice { sign: "A".repeat(64), ..good.clone() }, "`sign` is not 64 lower-case hexadecimal digits"),
        (
            Notice { custom_info: Some("é".repeat(4097)), ..good.clone() },
            "`custom_info` has more than 4096 characters",
        ),
        (Notice { task: task("[]"), ..good.clone() }, "`task_ext_info` is not a JSON object"),
        (Notice { task: task("{\"a\":"), ..good.clone() }, "`task_ext_info` is not a JSON object"),
        (
            Notice { task: task(&" ".repeat(513)), ..good.clone() },
            "`task_ext_info` has more than 512 characters",
        ),
    ] {
        assert_eq!(bad.check().unwrap_err().to_string(), says);
    }
}

#[test]
fn tokens_are_not_printed() {
    assert_eq!(format!("{:?}", Access::Token("9f2c".into())), "Token(…)");
}

/// Everything that came from outside is bounded.
fn look_at(read: Result<Uplink, UplinkError>) {
    let chars = |text: &str| text.chars().count();
    let uplink = match read {
        Ok(uplink) => uplink,
        Err(error) => {
            assert!(!error.to_string().is_empty() && !error.as_str().is_empty());
            return;
        }
    };
    if let Subject::Unusable(text) = &uplink.subject {
        assert!(chars(text) <= SUBJECT_CHARS_MAX);
    }
    for event in &uplink.events {
        assert!(event.event_id.as_ref().is_none_or(|id| chars(id) <= EVENT_ID_CHARS_MAX));
        if let EventTime::Odd(text) = &event.event_time {
            assert!(chars(text) <= EVENT_TIME_CHARS_MAX);
        }
        match &event.body {
            EventBody::VersionReport(report) => {
                for version in [&report.fw_version, &report.sw_version].into_iter().flatten() {
                    assert!((1..=VERSION_CHARS_MAX + 1).contains(&chars(version.as_str())));
                }
                assert!(report.modules.len() <= MODULES_MAX);
                for (name, version) in &report.modules {
                    assert!(chars(name) <= MODULE_NAME_CHARS_MAX && chars(version) <= VERSION_CHARS_MAX);
                }
            }
            EventBody::ProgressReport(report) => {
                assert!(report.description.as_ref().is_none_or(|text| chars(text) <= DESCRIPTION_CHARS_MAX));
                assert!(!(report.progress.is_some() && report.progress_unusable));
            }
            EventBody::OtherService { service_id, event_type, .. } => {
                assert!(chars(service_id) <= NAME_CHARS_MAX && chars(event_type) <= NAME_CHARS_MAX);
            }
            EventBody::UnknownOta { event_type } => assert!(chars(event_type) <= NAME_CHARS_MAX),
            EventBody::Rejected { problem, .. } => assert!(chars(&problem.found) <= FOUND_CHARS_MAX),
            EventBody::Nameless => {}
        }
    }
}

fn device(id: &str) -> DeviceId {
    DeviceId::parse(id).expect("tests name devices properly")
}

fn device_id() -> impl Strategy<Value = DeviceId> {
    // A device could be called -1, but on the wire nobody can name it: see `Tolerance::SubjectMinusOne`.
    "[A-Za-z0-9_-]{1,128}"
        .prop_filter("means the connected device", |id| id != "-1")
        .prop_map(|id| device(&id))
}

/// A text that is sent, so not an empty one.
fn text(chars_max: usize) -> impl Strategy<Value = String> {
    any::<String>()
        .prop_map(move |text| text.chars().take(chars_max).collect::<String>())
        .prop_filter("an empty text is not sent", |text| !text.is_empty())
}

fn version() -> impl Strategy<Value = Option<Version>> {
    prop_oneof![
        option::of("[a-zA-Z0-9_.-]{1,20}"),
        option::of(text(40)),
        option::of(Just("v".repeat(256))),
        option::of(Just("é".repeat(300)))
    ]
    .prop_map(|text| text.and_then(|text| Version::as_sent(&text)))
}

fn progress_report() -> impl Strategy<Value = ProgressReport> {
    let code = prop_oneof![any::<i64>(), 0i64..12].prop_map(ResultCode::from_wire);
    let progress =
        option::of((0i64..=100).prop_map(|percent| Percent::new(percent).expect("within 0..=100")));
    (code, progress, version(), option::of(text(DESCRIPTION_CHARS_MAX))).prop_map(
        |(code, progress, version, description)| ProgressReport {
            code,
            progress,
            progress_unusable: false,
            version,
            description,
        },
    )
}

fn version_report() -> impl Strategy<Value = VersionReport> {
    let modules = vec((text(MODULE_NAME_CHARS_MAX), text(VERSION_CHARS_MAX)), 0..=MODULES_MAX);
    (version(), version(), modules).prop_map(|(fw_version, sw_version, modules)| VersionReport {
        fw_version,
        sw_version,
        modules,
    })
}

fn downlink() -> impl Strategy<Value = Downlink> {
    let task =
        || {
            let ext = (text(10), any::<i64>()).prop_map(|(key, number)| {
                serde_json::json!({ key: [number, null, true, { "deep": "text" }] }).to_string()
            });
            option::of(
                (text(30), any::<u32>(), option::of(ext))
                    .prop_map(|(task_id, sub_device_count, ext)| TaskInfo { task_id, sub_device_count, ext }),
            )
        };
    let access = prop_oneof![text(60).prop_map(Access::Token), Just(Access::SignedUrl)];
    let kind = prop_oneof![Just(PackageKind::Firmware), Just(PackageKind::Software)];
    let notice = (
        (kind, access, text(256), text(200), 0..=i64::MAX as u64),
        (any::<String>(), any::<u32>(), "[0-9a-f]{64}", option::of(any::<String>()), task()),
    )
        .prop_map(|(first, second)| {
            let (kind, access, version, url, file_size) = first;
            let (file_name, expires_secs, sign, custom_info, task) = second;
            Downlink::Notice(Notice {
                kind,
                access,
                version,
                url,
                file_size,
                file_name,
                expires_secs,
                sign,
                custom_info,
                task,
            })
        });
    prop_oneof![notice, task().prop_map(|task| Downlink::VersionQuery { task })]
}

/// An envelope whose members hold anything.
fn json() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        Just(String::from("null")),
        any::<bool>().prop_map(|value| value.to_string()),
        any::<i64>().prop_map(|value| value.to_string()),
        any::<u64>().prop_map(|value| value.to_string()),
        (-1000i32..1000).prop_map(|value| format!("{}", f64::from(value) / 8.0)),
        Just(String::from("-0")),
        Just(String::from("1e300")),
        Just(String::from("\"-1\"")),
        Just(String::from("\"$ota\"")),
        Just(String::from("\"version_report\"")),
        Just(String::from("\"upgrade_progress_report\"")),
        Just(String::from("\"firmware_upgrade\"")),
        any::<String>().prop_map(|text| serde_json::to_string(&text).expect("a text is JSON")),
    ];
    let name = prop_oneof![
        Just("object_device_id"),
        Just("services"),
        Just("service_id"),
        Just("event_type"),
        Just("event_time"),
        Just("event_id"),
        Just("paras"),
        Just("result_code"),
        Just("progress"),
        Just("version"),
        Just("description"),
        Just("fw_version"),
        Just("modules"),
        Just("module_name"),
        Just("module_version"),
        Just("task_ext_info"),
        Just("sub_device_count"),
        Just("other"),
    ];
    let object = |value: BoxedStrategy<String>, name: BoxedStrategy<&'static str>| {
        vec((name, value), 0..6).prop_map(|members| {
            let members: Vec<String> =
                members.into_iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
            format!("{{{}}}", members.join(","))
        })
    };
    let name = name.boxed();
    let inner_name = name.clone();
    let nested = value.prop_recursive(5, 40, 6, move |inner| {
        let inner = inner.boxed();
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|values| format!("[{}]", values.join(","))),
            object(inner, inner_name.clone()),
        ]
    });
    let services = vec(object(nested.clone().boxed(), name.clone()), 0..3)
        .prop_map(|services| format!("{{\"services\":[{}]}}", services.join(",")));
    prop_oneof![services, object(nested.boxed(), name)]
}
