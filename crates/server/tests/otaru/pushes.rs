//! What applications are told when the server is killed in the middle of it.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::running::{PATIENCE, Server, TOKEN, ask};

#[tokio::test]
async fn what_was_told_and_not_noted_is_told_again_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let call = async |server: &Server, method: &str, path: &str, body: Value| {
        let (status, answer) = ask(&server.http(), TOKEN, method, path, Some(body)).await;
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    };
    let key = call(&server, "POST", "/api/v1/access-keys", json!({"name": "app", "role": "operator"})).await;
    let below = format!("/v5/iot/{}", key["project_id"].as_str().unwrap());
    call(&server, "POST", "/api/v1/products", json!({"product_id": "lamp", "name": "Lamp"})).await;
    call(&server, "POST", "/api/v1/devices", json!({"product_id": "lamp", "node_id": "1"})).await;

    let application = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let subject = json!({"resource": "device", "event": "update"});
    let rule =
        call(&server, "POST", &format!("{below}/routing-rule/rules"), json!({"subject": subject})).await;
    let rule_id = rule["rule_id"].as_str().unwrap();
    let http = json!({"url": format!("http://{}/", application.local_addr().unwrap())});
    let action = json!({
        "rule_id": rule_id, "channel": "HTTP_FORWARDING", "channel_detail": {"http_forwarding": http},
    });
    call(&server, "POST", &format!("{below}/routing-rule/actions"), action).await;
    let path = format!("{below}/routing-rule/rules/{rule_id}");
    call(&server, "PUT", &path, json!({"active": true})).await;
    call(&server, "PATCH", "/api/v1/devices/lamp_1", json!({"name": "Hall"})).await;

    let (_unanswered, first) = heard(&application).await;
    server.signal("KILL");
    assert_eq!(server.wait().0, None);

    let server = Server::start(dir.path(), &[]);
    let (mut answered, second) = heard(&application).await;
    let told = |body: &Value| body["notify_data"]["body"].clone();
    assert_eq!(told(&first)["device_name"], "Hall");
    assert_eq!(told(&second), told(&first));
    answered.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    let noted = async {
        loop {
            let (_, rules) = ask(&server.http(), TOKEN, "GET", "/api/v1/rules", None).await;
            if rules["items"][0]["actions"][0]["due"] == 0 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, noted).await.unwrap();
}

/// The next request to an application, with the connection that it came on and is not answered on yet.
async fn heard(application: &TcpListener) -> (TcpStream, Value) {
    let hear = async {
        let (mut connection, _) = application.accept().await.unwrap();
        let mut text = Vec::new();
        loop {
            let n = connection.read_buf(&mut text).await.unwrap();
            assert!(n > 0, "it ended early");
            let found = String::from_utf8_lossy(&text).into_owned();
            if let Some((_, body)) = found.split_once("\r\n\r\n")
                && let Ok(body) = serde_json::from_str(body)
            {
                return (connection, body);
            }
        }
    };
    tokio::time::timeout(PATIENCE, hear).await.expect("the application is told")
}
