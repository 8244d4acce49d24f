//! `otaru backup` of a server that devices report to, and a server on what `otaru restore` makes of it.

use std::path::Path;

use serde_json::{Value, json};

use crate::running::{Server, TOKEN, ask, otaru, run, text};

const PROFILE: &str = "package = \"20KiB\"\nrest = \"success\"\n[pace]\nstep = \"40ms\"\nreboot = \"100ms\"\n\
                       [share]\nfails_4 = 200\nreports_twice = 200\n";

fn server(data: &Path) -> Server {
    Server::start(data, &["--set", "timers.settle=200ms", "--set", "timers.settle_underway=500ms"])
}

fn url(server: &Server) -> String {
    format!("http://{}", server.address("http"))
}

fn back_up(server: &Server, to: &Path) -> std::process::Output {
    let mut command = otaru(&["backup", to.to_str().unwrap(), "--url", &url(server), "--json"]);
    command.env("OTARU_TOKEN", TOKEN).output().unwrap()
}

fn restore(from: &Path, to: &Path, more: &[&str]) -> std::process::Output {
    run(&[&["restore", from.to_str().unwrap(), "--data-dir", to.to_str().unwrap()], more].concat())
}

async fn get(server: &Server, path: &str) -> Value {
    let (status, told) = ask(&server.http(), TOKEN, "GET", path, None).await;
    assert_eq!(status, 200, "{path}: {told}");
    told
}

/// A campaign's counts, as its counters say and as its deployments are.
async fn counted(server: &Server, campaign_id: &str) -> (Value, Value) {
    let campaign = get(server, &format!("/api/v1/campaigns/{campaign_id}")).await;
    let listed = get(server, &format!("/api/v1/campaigns/{campaign_id}/deployments?limit=1000")).await;
    let mut rows = serde_json::Map::from_iter(
        campaign["counts"].as_object().unwrap().keys().map(|name| (name.clone(), json!(0))),
    );
    for deployment in listed["items"].as_array().unwrap() {
        let label = deployment["outcome"].as_str().or(deployment["state"].as_str()).unwrap();
        for name in [label, "total"] {
            let so_far = rows[name].as_u64().unwrap();
            rows[name] = json!(so_far + 1);
        }
    }
    (campaign["counts"].clone(), Value::Object(rows))
}

#[tokio::test]
async fn what_was_acknowledged_before_a_backup_under_load_is_there_after_a_restore() {
    let dir = tempfile::tempdir().unwrap();
    let (data, backup, restored) =
        (dir.path().join("data"), dir.path().join("backup"), dir.path().join("restored"));
    let serving = server(&data);
    let profile = dir.path().join("crowd.toml");
    std::fs::write(&profile, PROFILE).unwrap();
    let connect = serving.address("mqtt").to_string();
    let crowd = |seed: &str| {
        let profile = profile.to_str().unwrap();
        let url = url(&serving);
        let mut command = otaru(&["simulate", "--connect", &connect, "--url", &url, "--devices", "40"]);
        command.args(["--profile", profile, "--seed", seed, "--campaign", "--json"]);
        command.env("OTARU_TOKEN", TOKEN);
        command
    };

    let ended = crowd("1").output().unwrap();
    assert!(ended.status.success(), "{}", text(&ended.stderr));
    let ended: Value = serde_json::from_slice(&ended.stdout).unwrap();
    let before = ended["campaign"]["campaign_id"].as_str().unwrap();
    let deployments = format!("/api/v1/campaigns/{before}/deployments?limit=1000");
    let shown_before = get(&serving, &deployments).await;

    let under_load = std::thread::spawn({
        let mut command = crowd("2");
        move || command.output().unwrap()
    });
    // The second campaign has begun.
    let under_way = loop {
        let campaigns = get(&serving, "/api/v1/campaigns").await;
        let newest = campaigns["items"][0]["campaign_id"].as_str().unwrap().to_owned();
        if newest != before {
            break newest;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    };
    let made = back_up(&serving, &backup);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    assert_eq!(made["secrets"], json!(["master.key"]), "{made}");
    let loaded = under_load.join().unwrap();
    assert!(loaded.status.success(), "devices notice nothing: {}", text(&loaded.stderr));
    drop(serving);

    let done = restore(&backup, &restored, &[]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let again = server(&restored);
    assert_eq!(get(&again, &deployments).await, shown_before);
    for campaign in [before, &under_way] {
        let (counters, rows) = counted(&again, campaign).await;
        assert_eq!(counters, rows, "{campaign}");
        assert_ne!(counters["total"], 0, "{campaign}");
    }
    // Its devices come back and are upgraded: their secrets open, and their sessions are taken for new ones.
    let connect = again.address("mqtt").to_string();
    let mut command = otaru(&["simulate", "--connect", &connect, "--url", &url(&again), "--devices", "40"]);
    command.args(["--profile", profile.to_str().unwrap(), "--seed", "3", "--campaign", "--json"]);
    let after = command.env("OTARU_TOKEN", TOKEN).output().unwrap();
    assert!(after.status.success(), "{}", text(&after.stderr));
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let (data, backup) = (dir.path().join("data"), dir.path().join("backup"));
    let serving = server(&data);
    assert!(back_up(&serving, &backup).status.success());
    let twice = back_up(&serving, &backup);
    assert_eq!(twice.status.code(), Some(1));
    assert!(text(&twice.stderr).contains("is not empty"), "{}", text(&twice.stderr));

    let busy = restore(&backup, &data, &["--replace"]);
    assert_eq!(busy.status.code(), Some(3), "{}", text(&busy.stderr));
    drop(serving);
    let occupied = restore(&backup, &data, &[]);
    assert_eq!(occupied.status.code(), Some(1));
    assert!(text(&occupied.stderr).contains("--replace"), "{}", text(&occupied.stderr));
    let replaced = restore(&backup, &data, &["--replace"]);
    assert!(replaced.status.success(), "{}", text(&replaced.stderr));
    get(&server(&data), "/api/v1/products").await;
}
