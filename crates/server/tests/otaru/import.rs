//! An import into a real server, and its end by force.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::running::{PATIENCE, Server, TOKEN, ask};

/// Lines that are sent; more than are registered until the kill.
const LINES: usize = 200_000;

/// Lines that are waited for before it.
const ANSWERED: usize = 5_000;

#[tokio::test]
async fn what_an_import_answered_is_there_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let product = json!({"product_id": "lamp", "name": "Lamp"});
    assert_eq!(ask(&server.http(), TOKEN, "POST", "/api/v1/products", Some(product)).await.0, 201);

    let mut link = TcpStream::connect(server.address("http")).unwrap();
    link.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!(
        "POST /api/v1/devices/import HTTP/1.1\r\nHost: otaru\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    link.write_all(head.as_bytes()).unwrap();
    let mut sending = link.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        for first in (0..LINES).step_by(500) {
            let lines: String = (first..first + 500)
                .map(|n| format!("{{\"product_id\":\"lamp\",\"node_id\":\"{n}\"}}\n"))
                .collect();
            let chunk = format!("{:x}\r\n{lines}\r\n", lines.len());
            if sending.write_all(chunk.as_bytes()).is_err() {
                return; // it was killed
            }
        }
    });
    // Every line of JSON in the answer, whatever the sizes of its chunks between them.
    let answers = BufReader::new(link).lines().map_while(Result::ok);
    let mut answers =
        answers.filter_map(|line| serde_json::from_str::<Value>(&line).ok()).filter(Value::is_object);
    let mut answered: Vec<Value> = answers.by_ref().take(ANSWERED).collect();
    assert_eq!(answered.len(), ANSWERED);
    server.signal("KILL");
    answered.extend(answers); // what was on its way
    assert_eq!(server.wait().0, None, "by a signal");
    sender.join().unwrap();
    let created = |answer: &Value| {
        assert_eq!(answer["status"], "created", "{answer}");
        answer["device_id"].as_str().unwrap().to_owned()
    };
    let answered: BTreeSet<String> = answered.iter().map(created).collect();
    assert!(answered.len() < LINES, "it was killed in the middle");

    let server = Server::start(dir.path(), &[]);
    let (mut stored, mut path) = (BTreeSet::new(), "/api/v1/devices?limit=1000".to_owned());
    loop {
        let (status, page) = ask(&server.http(), TOKEN, "GET", &path, None).await;
        assert_eq!(status, 200, "{page}");
        let ids =
            page["items"].as_array().unwrap().iter().map(|device| device["device_id"].as_str().unwrap());
        stored.extend(ids.map(str::to_owned));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/api/v1/devices?limit=1000&cursor={cursor}");
    }
    let lost: Vec<&String> = answered.difference(&stored).take(5).collect();
    assert!(lost.is_empty(), "answered as created and not there: {lost:?}");
}
