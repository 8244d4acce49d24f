//! `otaru master-key change` under a fleet that comes back.

use std::path::Path;

use crate::running::{Server, TOKEN, otaru, run, text};

fn upgrade(server: &Server, seed: &str) {
    let connect = server.address("mqtt").to_string();
    let url = format!("http://{}", server.address("http"));
    let mut command = otaru(&["simulate", "--connect", &connect, "--url", &url, "--devices", "10"]);
    command.args(["--seed", seed, "--for", "2s"]).env("OTARU_TOKEN", TOKEN);
    let ended = command.output().unwrap();
    assert!(ended.status.success(), "every device connects: {}", text(&ended.stderr));
}

fn change(data: &Path) -> std::process::Output {
    run(&["master-key", "change", "--data-dir", data.to_str().unwrap()])
}

#[test]
fn devices_connect_after_the_key_was_changed_and_a_server_keeps_it_from_being_changed() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let nothing = change(&data);
    assert_eq!(nothing.status.code(), Some(1));
    assert!(text(&nothing.stderr).contains("no store"), "{}", text(&nothing.stderr));
    assert!(!data.exists());

    let serving = Server::start(&data, &[]);
    upgrade(&serving, "1");
    let busy = change(&data);
    assert_eq!(busy.status.code(), Some(3), "{}", text(&busy.stderr));
    drop(serving);

    let before = std::fs::read(data.join("master.key")).unwrap();
    let done = change(&data);
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert!(text(&done.stdout).starts_with("10 secrets are sealed"), "{}", text(&done.stdout));
    assert_ne!(std::fs::read(data.join("master.key")).unwrap(), before);
    upgrade(&Server::start(&data, &[]), "2");

    std::fs::write(data.join("master.key"), &before).unwrap();
    let wrong = run(&[
        "serve",
        "--data-dir",
        data.to_str().unwrap(),
        "--mqtt",
        "127.0.0.1:0",
        "--http",
        "127.0.0.1:0",
    ]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(text(&wrong.stderr).contains("another master key"), "{}", text(&wrong.stderr));
}
