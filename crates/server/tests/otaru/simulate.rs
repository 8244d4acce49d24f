//! `otaru simulate` against a server of its own, as an operator runs it.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::running::{Server, TOKEN, ask, otaru, run, text};

/// Quick, and everyone has a name.
const PACE: &str = "[pace]\nstep = \"40ms\"\nreboot = \"100ms\"\n";

fn profile(dir: &Path, more: &str) -> PathBuf {
    let path = dir.join("crowd.toml");
    std::fs::write(&path, more).unwrap();
    path
}

/// A server that settles quickly: simulated devices listen from the moment they are connected.
fn server(dir: &Path) -> Server {
    Server::start(
        &dir.join("data"),
        &["--set", "timers.settle=200ms", "--set", "timers.settle_underway=500ms"],
    )
}

/// Runs `otaru simulate` against a server and returns its exit code, stdout and stderr.
fn simulate(server: &Server, more: &[&str]) -> (Option<i32>, String, String) {
    let connect = server.address("mqtt").to_string();
    let mut command = otaru(&["simulate", "--connect", &connect]);
    let ended = command.args(more).env("OTARU_TOKEN", TOKEN).output().unwrap();
    (ended.status.code(), text(&ended.stdout), text(&ended.stderr))
}

fn url(server: &Server) -> String {
    format!("http://{}", server.address("http"))
}

/// Registers and upgrades a crowd; returns the JSON that the run printed.
fn upgraded(server: &Server, profile: &Path, devices: &str) -> Value {
    let (profile, url) = (profile.to_str().unwrap(), url(server));
    let (code, shown, said) = simulate(
        server,
        &["--devices", devices, "--profile", profile, "--url", &url, "--campaign", "--json"],
    );
    assert_eq!(code, Some(0), "{said}\n{shown}\n{}", server.stderr());
    serde_json::from_str(&shown).unwrap_or_else(|error| panic!("{error}: {shown}"))
}

async fn campaign(server: &Server, shown: &Value) -> Value {
    let id = shown["campaign"]["campaign_id"].as_str().unwrap();
    let (status, told) = ask(&server.http(), TOKEN, "GET", &format!("/api/v1/campaigns/{id}"), None).await;
    assert_eq!(status, 200, "{told}");
    told
}

/// How many reports of a device are stored.
async fn reports(server: &Server, device: &str) -> usize {
    let path = format!("/api/v1/devices/{device}/reports?limit=1000");
    let (status, told) = ask(&server.http(), TOKEN, "GET", &path, None).await;
    assert_eq!(status, 200, "{told}");
    told["items"].as_array().unwrap().len()
}

#[tokio::test]
async fn thirty_mixed_devices_and_their_children_end_as_the_platform_says() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    let more = format!(
        "package = \"20KiB\"\nrest = \"success\"\n{PACE}[gateway]\nchildren = 3\n[share]\ngateway = 60\nlies = 30\n\
         silent = 30\nvanishes = 30\nnever_online = 30\nalready_latest = 60\nreports_twice = 60\ndrops_link = 60\n\
         java_style = 60\nslow = 30\nsuccess_after_reboot = 100\nfails_1 = 30\nfails_2 = 30\nfails_4 = 30\n\
         fails_7 = 30\nfails_10 = 60\nfails_255 = 30\n"
    );
    let shown = upgraded(&server, &profile(dir.path(), &more), "30");

    // 2 gateways with 3 children each.
    assert_eq!((&shown["devices"], &shown["children"]), (&json!(30), &json!(6)), "{shown}");
    assert_eq!(shown["ended"], "campaign_finished");
    assert_eq!(shown["campaign"]["differences"], json!([]), "{shown}");
    assert_eq!(shown["tallies"]["arrived"], 29, "one is never online: {shown}");
    assert_eq!(shown["tallies"]["notices_repeated"], 0, "{shown}");
    assert_eq!(shown["behaviours"]["gateway"], 2, "{shown}");
    for latency in ["connect", "query_to_report", "notice_to_done", "report_to_ack"] {
        let seen = &shown["latency_ms"][latency];
        let at = |name: &str| seen[name].as_f64().unwrap();
        assert!(at("count") >= 20.0, "{latency}: {seen}");
        assert!(
            at("p50") <= at("p90") && at("p90") <= at("p99") && at("p99") <= at("max"),
            "{latency}: {seen}"
        );
    }

    // Outcome by outcome what the campaign itself counts, and nobody is missing.
    let counts = campaign(&server, &shown).await["counts"].clone();
    let outcomes = shown["campaign"]["outcomes"].as_object().unwrap();
    for (outcome, count) in counts.as_object().unwrap() {
        let found = outcomes.get(outcome).and_then(Value::as_u64).unwrap_or(0);
        let expected = if outcome == "total" { 0 } else { count.as_u64().unwrap() };
        assert_eq!(found, expected, "{outcome}: {counts} against {outcomes:?}");
    }
    assert_eq!(counts["total"], 36, "{counts}");
    for outcome in ["installed", "already_installed", "failed", "timed_out", "version_mismatch"] {
        assert!(outcomes.contains_key(outcome), "{outcome}: {outcomes:?}");
    }
    let failures = shown["campaign"]["failures"].as_object().unwrap();
    for code in ["1", "2", "4", "7", "10", "255"] {
        assert!(failures.contains_key(code), "{code}: {failures:?}");
    }
    let failed: u64 = failures.values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(json!(failed), counts["failed"]);
}

#[tokio::test]
async fn what_is_said_twice_is_stored_twice_and_counts_once() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    let more = format!("rest = \"reports_twice\"\n{PACE}[share]\nlies = 0\n");
    let shown = upgraded(&server, &profile(dir.path(), &more), "2");
    assert_eq!(shown["campaign"]["outcomes"], json!({ "installed": 2 }), "{shown}");
    assert_eq!(
        (&shown["tallies"]["notices"], &shown["tallies"]["downloads"]),
        (&json!(2), &json!(2)),
        "{shown}"
    );
    // Versions at the start, to the question and after the reboot; 10, 50, 90 and 100 % twice each.
    assert!(reports(&server, "simulated_d00000").await >= 11, "{shown}");
}

#[tokio::test]
async fn a_link_lost_while_downloading_is_no_failure_and_no_second_notice() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    let more = format!("rest = \"drops_link\"\n{PACE}[share]\nlies = 0\n");
    let shown = upgraded(&server, &profile(dir.path(), &more), "3");
    assert_eq!(shown["campaign"]["outcomes"], json!({ "installed": 3 }), "{shown}");
    let tallies = &shown["tallies"];
    assert_eq!((&tallies["connects"], &tallies["notices"]), (&json!(6), &json!(3)), "{shown}");
    assert!(tallies["download_bytes"].as_u64().unwrap() > 3 * (64 << 10), "halves came twice: {shown}");
}

#[tokio::test]
async fn children_are_upgraded_through_their_gateway() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    let more =
        format!("rest = \"gateway\"\ndownloads = false\n{PACE}[gateway]\nchildren = 5\n[share]\nlies = 0\n");
    let profile = profile(dir.path(), &more);
    let shown = upgraded(&server, &profile, "2");
    assert_eq!(shown["campaign"]["outcomes"], json!({ "installed": 12 }), "{shown}");
    let tallies = &shown["tallies"];
    assert_eq!((&tallies["connects"], &tallies["notices"]), (&json!(2), &json!(12)), "{shown}");
    assert_eq!(tallies["downloads"], 0, "{shown}");
    let path = "/api/v1/devices/simulated_d00001-004";
    let (_, child) = ask(&server.http(), TOKEN, "GET", path, None).await;
    assert_eq!(child["gateway_id"], "simulated_d00001", "{child}");
    assert_eq!(child["firmware_version"], "2.0.0", "{child}");

    // Once more: everybody is registered, the package is there, and the devices run the old version again.
    let again = upgraded(&server, &profile, "2");
    assert_eq!(again["campaign"]["outcomes"], json!({ "installed": 12 }), "{again}");
    assert_ne!(again["campaign"]["campaign_id"], shown["campaign"]["campaign_id"]);
}

#[test]
fn devices_that_nobody_registered_are_refused_and_the_run_has_failed() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    let (code, shown, said) = simulate(&server, &["--devices", "3", "--prefix", "nobody"]);
    assert_eq!(code, Some(1), "{said}\n{shown}");
    assert!(shown.contains("nobody could connect"), "{shown}");
    assert!(said.contains("3 of 3 devices were never connected (3 connections refused"), "{said}");
}

#[test]
fn a_run_lasts_as_long_as_it_was_told_and_shows_what_happened() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    let profile = profile(dir.path(), "rest = \"success\"\nconnects_per_sec = 0\n[share]\nsilent = 1\n");
    let (profile, url) = (profile.to_str().unwrap(), url(&server));
    let (code, shown, said) =
        simulate(&server, &["--devices", "4", "--profile", profile, "--url", &url, "--for", "1s"]);
    assert_eq!(code, Some(0), "{said}\n{shown}");
    assert!(said.contains("4 devices, 4 of them newly registered"), "{said}");
    for expected in
        ["4 devices and 0 children, 1.", "the time is up", "notice -> done", "4  devices that were connected"]
    {
        assert!(shown.contains(expected), "missing: {expected}\nin: {shown}");
    }
}

#[test]
fn over_tls_devices_and_operator_trust_the_certificate_that_was_named_or_anybody() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("tls");
    let made = run(&["tls", "self-signed", "--out", out.to_str().unwrap(), "--name", "127.0.0.1"]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let (cert, key) = (out.join("cert.pem"), out.join("key.pem"));
    let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
    let more = ["--mqtts", "127.0.0.1:0", "--https", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key];
    let server = Server::start(&dir.path().join("data"), &more);
    let profile = profile(dir.path(), &format!("rest = \"success\"\n{PACE}[share]\nlies = 0\n"));
    let connect = format!("mqtts://{}", server.address("mqtts"));
    let url = format!("https://{}", server.address("https"));
    let args =
        ["simulate", "--connect", &connect, "--url", &url, "--token", TOKEN, "--devices", "2", "--campaign"];
    let profile = ["--profile", profile.to_str().unwrap()];
    for trust in [&["--ca", cert][..], &["--insecure"]] {
        let ended = run(&[&args[..], &profile, trust].concat());
        let (said, shown) = (text(&ended.stderr), text(&ended.stdout));
        assert_eq!(ended.status.code(), Some(0), "{said}\n{shown}");
        assert!(shown.contains("Every one of the 2 ended as its script says."), "{shown}");
        assert!(shown.contains("           2  downloads\n"), "the package came over https: {shown}");
    }
    let ended = run(&[&args[..], &profile].concat());
    assert_eq!(ended.status.code(), Some(1));
    assert!(text(&ended.stderr).contains("mqtts needs --ca FILE"), "{}", text(&ended.stderr));
}

#[test]
fn whoever_interrupts_a_run_gets_the_figures_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    let (connect, url) = (server.address("mqtt").to_string(), url(&server));
    let mut command = otaru(&["simulate", "--connect", &connect, "--url", &url, "--devices", "3", "--json"]);
    command.env("OTARU_TOKEN", TOKEN).stdout(std::process::Stdio::piped());
    let log = tempfile::NamedTempFile::new().unwrap();
    let running = command.stderr(log.reopen().unwrap()).spawn().unwrap();
    let begun = std::time::Duration::from_millis(20);
    while !std::fs::read_to_string(log.path()).unwrap().contains("done,") {
        std::thread::sleep(begun);
    }
    let kill = format!("kill -INT {}", running.id());
    assert!(std::process::Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    let ended = running.wait_with_output().unwrap();
    let shown: Value = serde_json::from_str(&text(&ended.stdout)).unwrap();
    assert_eq!((ended.status.code(), &shown["ended"]), (Some(0), &json!("interrupted")), "{shown}");
}

#[tokio::test]
async fn a_campaign_that_goes_otherwise_than_the_scripts_say_is_told_from_a_failure() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    let profile = profile(dir.path(), "rest = \"silent\"\n[share]\nlies = 0\n");
    let (connect, url) = (server.address("mqtt").to_string(), url(&server));
    let mut command =
        otaru(&["simulate", "--connect", &connect, "--url", &url, "--devices", "2", "--campaign"]);
    command.args(["--json", "--profile", profile.to_str().unwrap()]).env("OTARU_TOKEN", TOKEN);
    let running =
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    // The devices would time out; somebody else ends the campaign before.
    let id = loop {
        let (_, listed) = ask(&server.http(), TOKEN, "GET", "/api/v1/campaigns", None).await;
        match listed["items"][0]["campaign_id"].as_str() {
            Some(id) => break id.to_owned(),
            None => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
        }
    };
    let cancel = format!("/api/v1/campaigns/{id}/cancel");
    let (status, told) = ask(&server.http(), TOKEN, "POST", &cancel, None).await;
    assert!(status < 300, "{status} {told}");
    let ended = running.wait_with_output().unwrap();
    let (shown, said) = (text(&ended.stdout), text(&ended.stderr));
    assert_eq!(ended.status.code(), Some(4), "{said}\n{shown}");
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let differences = shown["campaign"]["differences"].to_string();
    assert!(differences.contains("falls silent: expected timed_out, got cancelled"), "{shown}");
    assert!(said.contains("did not go as the scripts say"), "{said}");
}

#[test]
fn an_address_where_nobody_listens_is_named() {
    let ended = run(&["simulate", "--connect", "127.0.0.1:1", "--devices", "3"]);
    assert_eq!(ended.status.code(), Some(1));
    let said = text(&ended.stderr);
    assert!(said.contains("cannot connect to 127.0.0.1:1"), "{said}");
}

#[test]
fn wrong_usage_says_what_is_accepted_and_starts_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let wrong = profile(dir.path(), "[share]\nliess = 1\n");
    for (args, expected) in [
        (&["--connect", "http://127.0.0.1:1"][..], "an address with port such as 127.0.0.1:1883"),
        (&["--connect", "127.0.0.1:1", "--campaign"], "--url"),
        (&["--connect", "127.0.0.1:1", "--for", "10"], "a duration such as"),
        (
            &["--connect", "127.0.0.1:1", "--profile", wrong.to_str().unwrap()],
            "there is no such behaviour; lies is one",
        ),
        (&[], "--connect"),
    ] {
        let ended = run(&[&["simulate"][..], args].concat());
        let said = text(&ended.stderr);
        assert_eq!(ended.status.code(), Some(2), "{said}");
        assert!(said.contains(expected), "missing: {expected}\nin: {said}");
        assert_eq!(text(&ended.stdout), "");
    }
}

#[test]
fn the_printed_profile_can_be_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let printed = run(&["simulate", "--print-profile"]);
    assert_eq!(printed.status.code(), Some(0));
    let path = profile(dir.path(), &text(&printed.stdout));
    let ended = run(&["simulate", "--connect", "127.0.0.1:1", "--profile", path.to_str().unwrap()]);
    // Its address is the first thing that is wrong with it.
    assert!(text(&ended.stderr).contains("cannot connect"), "{}", text(&ended.stderr));
}
