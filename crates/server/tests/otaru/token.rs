//! `otaru token` against a running server.

use serde_json::Value;

use crate::running::{Server, TOKEN, ask, otaru, run, serve, text};

#[tokio::test]
async fn a_token_is_made_used_listed_and_revoked() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("otaru-data");
    let server = Server::spawn(serve(&data, &[]));
    let url = format!("http://{}", server.address("http"));
    let data = data.to_str().unwrap();
    let token = |args: &[&str]| run(&[&["token"], args, &["--url", &url, "--data-dir", data]].concat());

    let made = token(&["create", "--name", "ci", "--role", "viewer"]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let secret = text(&made.stdout).trim().to_owned();
    assert_eq!(secret.lines().count(), 1, "stdout has the token and nothing else, for scripts");

    let (may_look, _) = ask(&server.http(), &secret, "GET", "/api/v1/products", None).await;
    assert_eq!(may_look, 200);
    let (may_change, problem) =
        ask(&server.http(), &secret, "POST", "/api/v1/products", Some(serde_json::json!({ "name": "x" })))
            .await;
    assert_eq!(may_change, 403, "{problem}");

    let listed = token(&["list", "--json"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let items = listed["items"].as_array().unwrap();
    let ci = items.iter().find(|token| token["name"] == "ci").unwrap();
    assert_eq!(ci["role"], "viewer");
    let table = text(&token(&["list"]).stdout);
    let id = ci["token_id"].as_str().unwrap();
    assert!(table.contains(id) && table.starts_with("TOKEN ID"), "{table}");
    assert!(!table.contains(&secret));

    // Beside its data, no flag is needed to find the token.
    let found = otaru(&["token", "list", "--url", &url]).current_dir(dir.path()).output().unwrap();
    assert!(found.status.success(), "{}", text(&found.stderr));

    assert!(token(&["revoke", id]).status.success());
    assert_eq!(ask(&server.http(), &secret, "GET", "/api/v1/products", None).await.0, 401);
    let again = token(&["revoke", id]);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("404"), "{}", text(&again.stderr));
}

#[test]
fn without_a_token_or_a_server_it_says_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let without = otaru(&["token", "list"]).current_dir(&dir).output().unwrap();
    assert_eq!(without.status.code(), Some(1));
    assert!(text(&without.stderr).contains("--data-dir"), "{}", text(&without.stderr));

    let no_file = run(&["token", "list", "--data-dir", dir.path().to_str().unwrap()]);
    assert!(text(&no_file.stderr).contains("admin.token"), "{}", text(&no_file.stderr));

    // A port that is taken, and that nobody listens on.
    let taken = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    taken.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let nobody = taken.local_addr().unwrap().as_socket().unwrap();
    let no_server = run(&["token", "list", "--token", TOKEN, "--url", &format!("http://{nobody}")]);
    assert!(text(&no_server.stderr).contains("is it running?"), "{}", text(&no_server.stderr));
    let no_url = run(&["token", "list", "--token", TOKEN, "--url", "here"]);
    assert!(text(&no_url.stderr).contains("http://127.0.0.1:8080"), "{}", text(&no_url.stderr));
}
