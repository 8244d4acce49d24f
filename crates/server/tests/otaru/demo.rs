//! The demo is also the widest test: real devices, real sockets, and every ending there is.

use crate::running::{Server, ask, otaru, plain, run, text};

#[test]
fn every_device_of_the_demo_ends_as_its_script_says() {
    let ended = run(&["demo", "--exit", "--devices", "24", "--seed", "1"]);
    let (said, shown) = (text(&ended.stderr), text(&ended.stdout));
    assert_eq!(ended.status.code(), Some(0), "{said}\n{shown}");
    assert!(shown.contains("Every one of the 24 devices ended as its script says."), "{shown}");
    for expected in ["installed", "already_installed", "failed", "code   7", "timed_out", "version_mismatch"]
    {
        assert!(shown.contains(expected), "missing: {expected}\nin: {shown}");
    }
    assert!(shown.contains("(0 of them twice)"), "{shown}");
}

#[tokio::test]
async fn after_the_campaign_everything_can_be_looked_at_with_the_commands_it_prints() {
    let (demo, shown) =
        Server::spawn_until(otaru(&["demo", "--devices", "8"]), |line| line.contains("/metrics'"));
    let commands: Vec<&str> = shown.lines().map(str::trim).filter(|line| line.starts_with("curl ")).collect();
    assert_eq!(commands.len(), 5, "{shown}");
    for (command, expected) in
        commands.iter().zip(["\"state\":\"finished\"", "explanation", "", "payload", ""])
    {
        let token = command.split("Bearer ").nth(1).and_then(|rest| rest.split('\'').next()).unwrap();
        let (address, path) = command.split("http://").nth(1).and_then(|rest| rest.split_once('/')).unwrap();
        let path = format!("/{}", path.trim_end_matches('\''));
        let (status, answer) = ask(&plain(address.parse().unwrap()), token, "GET", &path, None).await;
        assert_eq!(status, 200, "{command}: {answer}");
        assert!(answer.to_string().contains(expected), "{command}: {answer}");
    }
    demo.signal("INT");
    assert_eq!(demo.wait().0, Some(0));
}
