//! Mistakes in the configuration, as an operator sees them.

use crate::running::{otaru, run, text};

#[test]
fn all_mistakes_are_in_one_output_and_nothing_is_started() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("otaru.toml");
    std::fs::write(&file, "colour = \"green\"\n[timers]\nonline = \"soon\"\n").unwrap();
    let data = dir.path().join("data");
    let ended = otaru(&[
        "serve",
        "--config",
        file.to_str().unwrap(),
        "--data-dir",
        data.to_str().unwrap(),
        "--mqtt",
        "0.0.0.0:1883",
        "--https",
        "127.0.0.1:8443",
        "--set",
        "limits.uplink_rate=many",
    ])
    .env("OTARU_LOG_FORMAT", "xml")
    .env("OTARU_MQTTT", "127.0.0.1:1")
    .output()
    .unwrap();

    let said = text(&ended.stderr);
    assert_eq!(ended.status.code(), Some(2), "{said}");
    assert_eq!(text(&ended.stdout), "");
    for expected in [
        "8 mistakes in the configuration; nothing was started",
        "colour = \"green\"",
        "there is no such key",
        "timers.online = \"soon\"",
        "mqtt = \"0.0.0.0:1883\" (--mqtt)",
        "--allow-plaintext",
        "tls_cert: ",
        "tls_key: ",
        "limits.uplink_rate = \"many\" (--set)",
        "log_format = \"xml\" (OTARU_LOG_FORMAT)",
        "OTARU_MQTTT = \"127.0.0.1:1\": there is no such variable; OTARU_MQTTS is one",
    ] {
        let meant =
            said.contains(expected) || expected.contains("OTARU_MQTTS") && said.contains("OTARU_MQTT is one");
        assert!(meant, "missing: {expected}\nin: {said}");
    }
    assert!(!data.exists(), "a server with a mistake makes no data directory");
}

#[test]
fn the_printed_configuration_is_accepted_as_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let printed = run(&["serve", "--print-config"]);
    assert!(printed.status.success());
    let file = dir.path().join("otaru.toml");
    std::fs::write(&file, &printed.stdout).unwrap();
    // One mistake on purpose: it is the only one.
    let ended = run(&["serve", "--config", file.to_str().unwrap(), "--mqtt", "nowhere"]);
    assert_eq!(ended.status.code(), Some(2));
    assert!(text(&ended.stderr).contains("1 mistake in the configuration"), "{}", text(&ended.stderr));
}

#[test]
fn wrong_usage_has_the_same_exit_code_as_a_wrong_configuration() {
    assert_eq!(run(&["serve", "--no-such-flag"]).status.code(), Some(2));
    assert_eq!(run(&[]).status.code(), Some(2));
    assert_eq!(run(&["demo", "--devices", "0"]).status.code(), Some(2));
}

#[test]
fn every_command_explains_itself_with_an_example() {
    for command in [&["--help"][..], &["serve", "--help"], &["demo", "--help"], &["token", "--help"]] {
        let help = run(command);
        assert!(help.status.success(), "{command:?}");
        assert!(
            text(&help.stdout).contains("otaru demo") || text(&help.stdout).contains("Examples:"),
            "{command:?}"
        );
    }
}
