//! That the quick reader and the general one never disagree.

use std::format;
use std::path::Path;
use std::string::String;
use std::vec::Vec;

use proptest::prelude::*;
use proptest::{collection::vec, sample::select};

use super::*;
use crate::fuzzing::quick_reading_agrees;

#[test]
fn reports_of_all_sdks_have_the_usual_shape() {
    for name in [
        "captured_c_success",
        "captured_c_version_report",
        "captured_go_success",
        "captured_go_version_report",
        "captured_java_progress",
        "captured_java_success",
        "captured_java_version_report",
        "captured_python_progress",
        "captured_python_success",
        "captured_python_version_report",
        "progress_csharp_success",
        "progress_gateway_child_java",
        "progress_gateway_child_python",
        "event_all_null",
        "members_in_any_order",
    ] {
        let (_, message) = fixtures().into_iter().find(|(known, _)| known == name).expect(name);
        assert!(read(&message).is_some(), "{name}: {message}");
    }
}

#[test]
fn another_shape_is_left_to_the_general_reader() {
    let with_paras = |paras: &str| format!(r#"{{"services":[{{"paras":{paras}}}]}}"#);
    assert!(read(&with_paras(r#"{"progress":999999999999999999,"version":"é"}"#)).is_some());
    for paras in [
        "{\"version\":\"a\\u0062\"}",
        "{\"version\":\"tab\there\"}",
        "{\"progress\":1234567890123456789}",
        "{\"progress\":80.0}",
        "{\"progress\":-0}",
        "{\"progress\":08}",
        "{\"progress\":[]}",
        "{\"progress\":1,}",
        "{\"modules\":7}",
        "{\"vendors\":{}}",
        "[]",
        "7",
    ] {
        assert!(read(&with_paras(paras)).is_none(), "{paras}");
    }
    let one = r#"{"service_id":"$ota"}"#;
    for message in [
        String::new(),
        String::from("{}"),
        String::from(r#"{"services":[]}"#),
        String::from(r#"{"services":null}"#),
        format!(r#"{{"services":{one}}}"#),
        format!(r#"{{"services":[{one},{one}]}}"#),
        format!(r#"{{"services":[{one}],"services":[{one}]}}"#),
        format!(r#"{{"services":[{one}]}} 1"#),
        format!(r#"{{"services":[{one}]"#),
        format!(r#"{{"services":[{one}],}}"#),
    ] {
        assert!(read(&message).is_none(), "{message}");
    }
}

/// Breaks a message at every place in every way that means something to a reader of JSON.
#[test]
fn with_one_byte_more_less_or_different_both_readers_agree() {
    let message = "{\"object_device_id\":\"d1\",\n\"x\":true,\"services\":[{\"event_id\":null,\"event_type\":\
        \"upgrade_progress_report\", \"service_id\":\"$ota\",\"paras\":{\"result_code\":-10,\"progress\":7,\"version\":\"1é\"}}]}";
    let mut usual = 0;
    for at in 0..=message.len() {
        let (before, after) = message.as_bytes().split_at(at);
        for byte in b"\"\\{}[],:-+019.eEu \n\t\0\x1f\x7f\x80\xffntf" {
            for changed in [
                [before, &[*byte], after].concat(),
                [before, &[*byte], after.get(1..).unwrap_or_default()].concat(),
            ] {
                quick_reading_agrees(&changed);
                usual += usize::from(core::str::from_utf8(&changed).is_ok_and(|text| read(text).is_some()));
            }
        }
        quick_reading_agrees(&[before, after.get(1..).unwrap_or_default()].concat());
        quick_reading_agrees(before);
    }
    assert!(usual > 1000, "only {usual} of them were read quickly");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn of_fixtures_cut_up_and_put_together_both_readers_agree(
        (_, message) in select(fixtures()),
        edits in vec((any::<prop::sample::Index>(), 0usize..20, piece()), 0..4),
    ) {
        let mut bytes = message.into_bytes();
        for (at, removed, added) in edits {
            let at = at.index(bytes.len() + 1);
            let end = bytes.len().min(at + removed);
            bytes.splice(at..end, added.into_bytes());
        }
        quick_reading_agrees(&bytes);
    }

    #[test]
    fn of_nearly_usual_messages_both_readers_agree(message in nearly_usual()) {
        quick_reading_agrees(message.as_bytes());
    }
}

#[test]
fn the_first_special_byte_is_found_wherever_it_is() {
    for byte in 0..=255 {
        let is_special = matches!(byte, b'"' | b'\\' | 0..=0x1f);
        for around in [b' ', b'!', b'#', b'[', b']', b'a', 0x7f, 0x80, 0xff] {
            for at in 0..8 {
                let mut word = [around; 8];
                word[at] = byte;
                let found = special_bytes(u64::from_le_bytes(word));
                let expected = if is_special { at as u32 } else { 8 };
                assert_eq!(found.trailing_zeros() / 8, expected, "{word:?}");
                // What comes behind the first one changes nothing.
                word[at..].fill(byte);
                let found = special_bytes(u64::from_le_bytes(word));
                assert_eq!(found.trailing_zeros() / 8, expected, "{word:?}");
            }
        }
    }
}

/// Names and messages of `tests/wire`, as far as they are texts.
fn fixtures() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for folder in ["uplink", "uplink_refused"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire").join(folder);
        let mut files: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        for file in files {
            let text = std::fs::read_to_string(&file).unwrap();
            let (message, _) = text.split_once("\n====\n").unwrap();
            let (_, message) = message.split_once('\n').unwrap();
            let name = file.file_stem().unwrap().to_string_lossy().into_owned();
            found.push((name, String::from(message)));
        }
    }
    found
}

/// Something that may stand in JSON, or may not.
fn piece() -> impl Strategy<Value = String> {
    const PIECES: &[&str] = &[
        "",
        "\"",
        "\\",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "-",
        "0",
        "9",
        ".5",
        "e1",
        " ",
        "\t",
        "\r\n",
        "\0",
        "null",
        "true",
        "false",
        "é",
        "\\u0041",
        "\\n",
        "[]",
        "{}",
        "\"paras\":",
        "\"modules\":",
        "\"services\":",
        ",\"progress\":",
    ];
    prop_oneof![select(PIECES).prop_map(String::from), value()]
}

/// A value: usual ones, and their neighbours.
fn value() -> impl Strategy<Value = String> {
    const NUMBERS: &[&str] = &[
        "0",
        "-0",
        "00",
        "-",
        "-1",
        "100",
        "101",
        "80.0",
        "80.5",
        "1e2",
        "1E2",
        "999999999999999999",
        "-999999999999999999",
        "1000000000000000000",
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775808",
        "1e999",
    ];
    const TEXTS: &[&str] = &[
        "$ota",
        "version_report",
        "upgrade_progress_report",
        "$sdk_info",
        "sdk_info_report",
        "-1",
        "",
        "d1",
        "20250414T010203Z",
        "20250229T010203Z",
        "2025-04-14T09:02:03Z",
        "\\u0024ota",
        "42",
        "a\nb",
    ];
    prop_oneof![
        4 => select(TEXTS).prop_map(|text| format!("\"{text}\"")),
        2 => select(NUMBERS).prop_map(String::from),
        1 => any::<i64>().prop_map(|number| format!("{number}")),
        1 => any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        1 => "[ -~é]{0,40}".prop_map(|text| format!("\"{text}\"")),
        1 => select(&["null", "true", "false", "nul", "[]", "{}", "[1]", "{\"a\":\"}\"}", ""][..]).prop_map(String::from),
    ]
}

fn white() -> impl Strategy<Value = &'static str> {
    prop_oneof![8 => Just(""), 1 => Just(" "), 1 => Just("\r\n\t ")]
}

fn object(
    names: &'static [&'static str],
    value: impl Strategy<Value = String> + 'static,
) -> BoxedStrategy<String> {
    let member = (white(), select(names), white(), white(), value, white())
        .prop_map(|(a, name, b, c, value, d)| format!("{a}\"{name}\"{b}:{c}{value}{d}"));
    vec(member, 0..6).prop_map(|members| format!("{{{}}}", members.join(","))).boxed()
}

/// An envelope with events with parameters, in each of which something may be unusual.
fn nearly_usual() -> impl Strategy<Value = String> {
    let paras = object(
        &[
            "result_code",
            "progress",
            "version",
            "description",
            "fw_version",
            "sw_version",
            "modules",
            "other",
        ],
        value(),
    );
    let report = (select(&["version_report", "upgrade_progress_report"][..]), paras.clone(), white())
        .prop_map(|(event_type, paras, white)| {
            format!(r#"{{"service_id":"$ota",{white}"event_type":"{event_type}","paras":{paras}}}"#)
        });
    let member = prop_oneof![3 => value(), 1 => paras];
    let event = object(&["service_id", "event_type", "event_time", "event_id", "paras", "other"], member);
    let events = vec(prop_oneof![report, event], 0..3).prop_map(|events| format!("[{}]", events.join(",")));
    let one = (object(&["object_device_id", "other"], value()), events.clone(), white()).prop_map(
        |(rest, events, white)| {
            let rest = rest.strip_prefix('{').unwrap();
            let comma = if rest == "}" { "" } else { "," };
            format!("{white}{{\"services\":{events}{comma}{rest}{white}")
        },
    );
    let any = object(&["object_device_id", "services", "other"], prop_oneof![3 => events, 1 => value()]);
    prop_oneof![3 => one, 1 => any]
}
