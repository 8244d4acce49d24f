//! `/devices/import`: many devices at once, each line answered when its device is stored.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, header};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::BodyExt;
use otaru_api::Limits;
use otaru_engine::limits::IMPORT_CHUNK;
use otaru_engine::{Page, Role};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tower::ServiceExt;

use crate::house::{Answer, Caller, Gadget, House, PATIENCE, Registered, text};
use crate::sockets::Open;

const IMPORT: &str = "/api/v1/devices/import";

#[tokio::test]
async fn each_line_is_answered_in_order_and_what_is_wrong_with_one_is_no_obstacle_for_the_others() {
    let house = House::open().await;
    house.operator().product("lamp").await;
    house.operator().device("lamp", "old").await;
    let answers = import(
        house.operator(),
        [
            r#"{"product_id": "lamp", "node_id": "1"}"#,
            "",
            r#"{"product_id": "lamp", "node_id": "2", "device_id": "second", "secret": "given"}"#,
            r#"{"product_id": "lamp", "node_id": "old"}"#,
            r#"{"product_id": "lamp", "node_id": "old", "device_id": "another"}"#,
            r#"{"product_id": "none", "node_id": "3"}"#,
            r#"{"product_id": "lamp", "node_id": "ä"}"#,
            r#"{"product_id": "lamp"}"#,
            r#"{"product_id": "lamp", "node_id": "4", "colour": "red"}"#,
            r#"{"product_id": "lamp", "node_id": 5}"#,
            r#"["lamp", "5"]"#,
            r#"{"product_id": "lamp", "#,
            r#"{"product_id": "lamp", "node_id": "6", "secret": ""}"#,
            r#"{"product_id": "lamp", "node_id": "7", "gateway_id": "nobody"}"#,
            r#"{"product_id": "lamp", "node_id": "8", "auth": "x509"}"#,
        ]
        .join("\n"),
    )
    .await;
    let lines: Vec<String> = answers.iter().map(shown).collect();
    assert_eq!(
        lines,
        [
            "1 created lamp_1 with a secret",
            "3 created second",
            "4 exists lamp_old",
            "5 error exists_already node_id",
            "6 error unknown_product product_id",
            "7 error invalid_id node_id",
            "8 error invalid_member node_id",
            "9 error invalid_member colour",
            "10 error invalid_member node_id",
            "11 error invalid_member -",
            "12 error invalid_json -",
            "13 error invalid secret",
            "14 error unknown_gateway gateway_id",
            "15 created lamp_8",
        ]
    );
    assert_eq!(
        answers[9]["message"], "the line: invalid type: sequence, expected a JSON object at column 0",
        "{}",
        answers[9]
    );
    let devices = house.viewer().get("/api/v1/devices").await.ok(200);
    let ids: Vec<&str> =
        devices["items"].as_array().unwrap().iter().filter_map(|d| d["device_id"].as_str()).collect();
    assert_eq!(ids, ["lamp_old", "lamp_1", "second", "lamp_8"]);
}

#[tokio::test]
async fn a_device_connects_with_the_secret_that_it_got_in_an_import() {
    let house = House::open().await;
    house.operator().product("lamp").await;
    let answers = import(house.operator(), r#"{"product_id": "lamp", "node_id": "1"}"#).await;
    let device =
        Registered { device_id: text(&answers[0]["device_id"]), secret: text(&answers[0]["secret"]) };
    Gadget::connect(&house, &device).await.runs("v1").await;
}

#[tokio::test]
async fn an_import_can_be_repeated_and_shows_a_secret_once() {
    let house = House::open().await;
    house.operator().product("lamp").await;
    let lines = lines(1_200);
    let first = import(house.operator(), lines.clone()).await;
    assert_eq!(count(&first, "created"), 1_200);
    assert!(first.iter().all(|line| line["secret"].as_str().is_some_and(|secret| secret.len() == 32)));
    let again = import(house.operator(), lines).await;
    assert_eq!(count(&again, "exists"), 1_200);
    assert!(again.iter().all(|line| line["secret"].is_null()));
    let numbers: Vec<u64> = again.iter().filter_map(|line| line["line"].as_u64()).collect();
    assert_eq!(numbers, (1..=1_200).collect::<Vec<u64>>());
}

#[tokio::test]
async fn the_audit_log_has_a_line_for_each_chunk_and_none_for_each_device() {
    let house = House::open().await;
    house.operator().product("lamp").await;
    import(house.operator(), lines(1_200)).await;
    let audit = house.engine.audit(Page { after: None, limit: 100 }).await.unwrap();
    let subjects: Vec<&str> = audit
        .iter()
        .rev()
        .filter(|line| line.action == "devices_imported")
        .map(|line| line.subject.as_str())
        .collect();
    let counted: u32 =
        subjects.iter().map(|subject| subject.split_once(' ').unwrap().0.parse::<u32>().unwrap()).sum();
    assert_eq!(counted, 1_200, "{subjects:?}");
    assert!(subjects.len() <= 1_200_usize.div_ceil(IMPORT_CHUNK) + 1, "{subjects:?}");
    let first = format!("{IMPORT_CHUNK} devices: lamp_0 to lamp_{}", IMPORT_CHUNK - 1);
    assert!(subjects[0].starts_with(&first), "{subjects:?}");
    assert!(audit.iter().all(|line| line.action != "device_created"));
}

#[tokio::test]
async fn children_come_after_their_gateway_in_the_same_import() {
    let house = House::open().await;
    house.operator().product("lamp").await;
    let line = |node: &str, gateway: &str| {
        json!({"product_id": "lamp", "node_id": node, "gateway_id": gateway}).to_string()
    };
    let lines = [
        line("early", "lamp_hub"),
        json!({"product_id": "lamp", "node_id": "hub"}).to_string(),
        line("a", "lamp_hub"),
        line("b", "lamp_hub"),
        line("c", "lamp_a"),
    ];
    let answers = import(house.operator(), lines.join("\n")).await;
    let lines: Vec<String> = answers.iter().map(shown).collect();
    assert_eq!(
        lines,
        [
            "1 error unknown_gateway gateway_id",
            "2 created lamp_hub with a secret",
            "3 created lamp_a",
            "4 created lamp_b",
            "5 error invalid gateway_id",
        ]
    );
    let children = house.viewer().get("/api/v1/devices?gateway_id=lamp_hub").await.ok(200);
    assert_eq!(children["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn csv_names_its_columns_in_the_first_row() {
    let house = House::open().await;
    house.operator().product("lamp").await;
    let rows = [
        "\u{feff}product_id,node_id,name,tag:site,auth,device_id",
        "lamp,1,\"Hall, north\",n,,\r",
        "lamp,2,,,x509,second",
        "",
        "lamp,3",
        "lamp,,x,,,",
        "lamp,4,\"open,,,",
        "lamp,5,,,password,",
        "lamp,1,,,,",
        "lamp,6,,,,",
    ];
    let answer = send(house.operator(), "text/csv; charset=utf-8", rows.join("\n")).await;
    let answers = read(&answer);
    let lines: Vec<String> = answers.iter().map(shown).collect();
    assert_eq!(
        lines,
        [
            "2 created lamp_1 with a secret",
            "3 created second",
            "5 error invalid_line -",
            "6 error invalid_member node_id",
            "7 error invalid_line -",
            "8 error invalid_member auth",
            "9 exists lamp_1",
            "10 created lamp_6 with a secret",
        ]
    );
    let device = house.viewer().get("/api/v1/devices/lamp_1").await.ok(200);
    assert_eq!((&device["name"], &device["tags"]), (&json!("Hall, north"), &json!({"site": "n"})));
    assert_eq!(house.viewer().get("/api/v1/devices/second").await.ok(200)["auth"], "x509");
}

#[tokio::test]
async fn a_file_whose_first_row_names_no_columns_is_refused_whole() {
    let house = House::open().await;
    for (body, says) in [
        ("", "empty"),
        ("\n\n", "empty"),
        ("product_id,node_id,colour\nlamp,1,red", "\"colour\"; accepted are device_id"),
        ("product_id\nlamp", "`node_id` is needed"),
    ] {
        let refused = send(house.operator(), "text/csv", body).await.refused(400, "invalid_line");
        assert!(refused.contains(says), "{refused}");
    }
    let not_text = send(house.operator(), "text/csv", Bytes::from_static(b"product_id,\xff\n")).await;
    assert!(not_text.refused(400, "invalid_line").contains("UTF-8"));
}

#[tokio::test]
async fn a_line_that_is_no_text_or_too_long_costs_itself_only() {
    let house = House::open().await;
    house.operator().product("lamp").await;
    let mut body = Vec::new();
    body.extend_from_slice(b"{\"product_id\": \"lamp\", \"node_id\": \"\xff\"}\n");
    let long = json!({"product_id": "lamp", "node_id": "long", "name": "x".repeat(200_000)}).to_string();
    body.extend_from_slice(long.as_bytes());
    body.extend_from_slice(b"\r\n{\"product_id\": \"lamp\", \"node_id\": \"1\"}");
    let answers = read(&send(house.operator(), "application/x-ndjson", body).await);
    let lines: Vec<String> = answers.iter().map(shown).collect();
    assert_eq!(lines, ["1 error invalid_line -", "2 error invalid_line -", "3 created lamp_1 with a secret"]);
    assert!(text(&answers[1]["message"]).contains("131072"), "{}", answers[1]);
}

#[tokio::test]
async fn an_import_says_what_it_is() {
    let house = House::open().await;
    house.operator().product("lamp").await;
    let line = r#"{"product_id": "lamp", "node_id": "1"}"#;
    for content_type in ["application/json", "text/plain", "application/xml"] {
        let refused = send(house.operator(), content_type, line).await.refused(415, "format_unknown");
        assert!(refused.contains(content_type) && refused.contains("text/csv"), "{refused}");
    }
    for content_type in
        ["application/x-ndjson", "application/x-www-form-urlencoded", "application/jsonl; charset=utf-8"]
    {
        let answer = send(house.operator(), content_type, line).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, "application/x-ndjson"),
            "{content_type}"
        );
    }
    assert!(read(&send(house.operator(), "application/x-ndjson", "").await).is_empty());
    send(house.viewer(), "application/x-ndjson", line).await.refused(403, "role_too_low");
    send(house.stranger(), "application/x-ndjson", line).await.refused(401, "token_missing");
}

#[tokio::test]
async fn a_device_may_be_called_import() {
    let house = House::open().await;
    house.operator().product("lamp").await;
    let line = r#"{"product_id": "lamp", "node_id": "1", "device_id": "import"}"#;
    assert_eq!(shown(&import(house.operator(), line).await[0]), "1 created import with a secret");
    assert_eq!(house.viewer().get(IMPORT).await.ok(200)["device_id"], "import");
    assert_eq!(house.operator().patch(IMPORT, json!({"name": "odd"})).await.ok(200)["name"], "odd");
    house.viewer().get(&format!("{IMPORT}/reports")).await.ok(200);
    house.operator().delete(IMPORT).await.ok(204);
    house.viewer().get(IMPORT).await.refused(404, "not_found");
    house.operator().send(Method::PUT, IMPORT, &[], Body::empty()).await.refused(405, "method_not_allowed");
}

#[tokio::test]
async fn a_store_that_fails_for_a_moment_is_waited_for() {
    let house = House::open().await;
    house.operator().product("lamp").await;
    house.faults.fail(1);
    assert_eq!(count(&import(house.operator(), lines(3)).await, "created"), 3);
}

#[tokio::test]
async fn a_platform_that_stops_ends_the_import_and_says_of_which_lines_it_does_not_know() {
    let house = House::open().await;
    house.operator().product("lamp").await;
    let by = house.operator();
    let request = request_of(&house, Body::from(lines(3))).await;
    house.engine.stop().await;
    let answers = lines_of(house.router.clone().oneshot(request).await.unwrap().into_body()).await;
    assert!(answers.iter().all(|line| shown(line).ends_with("error unavailable -")), "{answers:?}");
    assert_eq!(answers.len(), 3);
    by.get("/api/v1/devices/lamp_0").await.refused(404, "not_found");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stands_still_is_given_up_and_what_came_is_answered() {
    let house = House::open().await;
    house.operator().product("lamp").await;
    let begun = stream::iter([Ok::<_, std::io::Error>(Bytes::from(format!("{}\n{{\"prod", lines(2))))]);
    let request = request_of(&house, Body::from_stream(begun.chain(stream::pending()))).await;
    let answers = lines_of(house.router.clone().oneshot(request).await.unwrap().into_body()).await;
    let lines: Vec<String> = answers.iter().map(shown).collect();
    assert_eq!(
        lines,
        ["1 created lamp_0 with a secret", "2 created lamp_1 with a secret", "3 error body_incomplete -"]
    );
}

#[tokio::test]
async fn only_so_many_imports_go_on_at_once() {
    let house = House::open().await;
    house.operator().product("lamp").await;
    let mut under_way = Vec::new();
    for _ in 0..otaru_api::limits::IMPORTS_MAX {
        let body = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let request = request_of(&house, body).await;
        under_way.push(house.router.clone().oneshot(request).await.unwrap());
    }
    let refused = send(house.operator(), "application/x-ndjson", lines(1)).await;
    assert_eq!(refused.header("retry-after"), "5");
    refused.refused(503, "too_many_imports");
    // Whoever goes away makes room.
    under_way.pop();
    assert_eq!(count(&import(house.operator(), lines(1)).await, "created"), 1);
}

#[tokio::test]
async fn who_reads_each_answer_before_the_next_line_gets_through() {
    let house = House::open().await;
    house.operator().product("lamp").await;
    let mut import = Importing::begin(&house).await;
    for node in 0..5 {
        import.say(&format!("{}\n", line(node))).await;
        assert_eq!(shown(&import.answer().await), format!("{} created lamp_{node} with a secret", node + 1));
        // What was answered is stored, whatever becomes of the connection.
        house.viewer().get(&format!("/api/v1/devices/lamp_{node}")).await.ok(200);
    }
    drop(import);
    let answers = self::import(house.operator(), lines(6)).await;
    assert_eq!((count(&answers, "exists"), count(&answers, "created")), (5, 1));
}

#[tokio::test]
async fn who_waits_to_be_told_to_continue_is_told() {
    let house = House::open().await;
    house.operator().product("lamp").await;
    let mut import = Importing::begin_with(&house, "Expect: 100-continue\r\n").await;
    assert_eq!(import.line().await, "HTTP/1.1 100 Continue\r\n");
    assert_eq!(import.line().await, "\r\n");
    for node in 0..3 {
        import.say(&format!("{}\n", line(node))).await;
        assert_eq!(shown(&import.answer().await), format!("{} created lamp_{node} with a secret", node + 1));
    }
    import.end().await;
    import.is_over().await;
}

#[tokio::test]
async fn who_sends_everything_before_reading_anything_gets_through() {
    let house = House::open().await;
    house.operator().product("lamp").await;
    let mut import = Importing::begin(&house).await;
    // Far more than what sockets hold on the way.
    let count = 150_000;
    let mut text = String::new();
    for node in 0..count {
        text.push_str(&line(node));
        text.push('\n');
        if node % 1_000 == 999 {
            import.say(&text).await;
            text.clear();
        }
    }
    import.end().await;
    for node in 0..count {
        let answer = import.answer().await;
        assert_eq!((answer["line"].as_u64(), answer["status"].as_str()), (Some(node + 1), Some("created")));
    }
    import.is_over().await;
}

/// An import over a real connection, with a body of unknown length.
struct Importing {
    _open: Open,
    writing: tokio::net::tcp::OwnedWriteHalf,
    reading: BufReader<tokio::net::tcp::OwnedReadHalf>,
    waiting: Vec<u8>,
    head_is_read: bool,
}

impl Importing {
    async fn begin(house: &House) -> Importing {
        Importing::begin_with(house, "").await
    }

    /// `more`: further header lines.
    async fn begin_with(house: &House, more: &str) -> Importing {
        let open = Open::start(house, Limits::default()).await;
        let token = operator_token(house).await;
        let (reading, mut writing) = open.plain().await.into_split();
        let head = format!(
            "POST {IMPORT} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n{more}\r\n"
        );
        writing.write_all(head.as_bytes()).await.unwrap();
        Importing {
            _open: open,
            writing,
            reading: BufReader::new(reading),
            waiting: Vec::new(),
            head_is_read: false,
        }
    }

    async fn say(&mut self, text: &str) {
        let chunk = format!("{:x}\r\n{text}\r\n", text.len());
        let said = self.writing.write_all(chunk.as_bytes());
        tokio::time::timeout(PATIENCE, said).await.expect("what is sent is read").unwrap();
    }

    async fn end(&mut self) {
        self.writing.write_all(b"0\r\n\r\n").await.unwrap();
    }

    async fn answer(&mut self) -> Value {
        loop {
            if let Some(end) = self.waiting.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.waiting.drain(..=end).collect();
                return serde_json::from_slice(&line).unwrap();
            }
            let chunk = self.chunk().await.expect("there is an answer");
            self.waiting.extend(chunk);
        }
    }

    async fn is_over(&mut self) {
        assert_eq!((self.chunk().await, self.waiting.len()), (None, 0));
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.reading.read_line(&mut line);
        tokio::time::timeout(PATIENCE, read).await.expect("something comes").unwrap();
        line
    }

    /// The next chunk of the answer; `None` at its end.
    async fn chunk(&mut self) -> Option<Vec<u8>> {
        if !self.head_is_read {
            assert_eq!(self.line().await, "HTTP/1.1 200 OK\r\n");
            while self.line().await != "\r\n" {}
            self.head_is_read = true;
        }
        let size = usize::from_str_radix(self.line().await.trim(), 16).unwrap();
        let mut chunk = vec![0; size + 2];
        tokio::io::AsyncReadExt::read_exact(&mut self.reading, &mut chunk).await.unwrap();
        chunk.truncate(size);
        (size > 0).then_some(chunk)
    }
}

async fn operator_token(house: &House) -> String {
    let made = house.admin().post("/api/v1/tokens", json!({"name": "ci", "role": Role::Operator})).await;
    text(&made.ok(201)["token"])
}

async fn request_of(house: &House, body: Body) -> Request<Body> {
    let token = operator_token(house).await;
    Request::post(IMPORT).header(header::AUTHORIZATION, format!("Bearer {token}")).body(body).unwrap()
}

async fn send(caller: Caller<'_>, content_type: &str, body: impl Into<Body>) -> Answer {
    caller.send(Method::POST, IMPORT, &[("Content-Type", content_type)], body.into()).await
}

async fn import(caller: Caller<'_>, lines: impl Into<Body>) -> Vec<Value> {
    let answer = send(caller, "application/x-ndjson", lines).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    read(&answer)
}

fn read(answer: &Answer) -> Vec<Value> {
    read_lines(&answer.body)
}

async fn lines_of(body: Body) -> Vec<Value> {
    let collected = tokio::time::timeout(Duration::from_secs(600), body.collect()).await.expect("it ends");
    read_lines(&collected.unwrap().to_bytes())
}

fn read_lines(body: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(body).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "{text}");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn line(node: u64) -> String {
    format!(r#"{{"product_id": "lamp", "node_id": "{node}"}}"#)
}

fn lines(count: u64) -> String {
    (0..count).map(line).collect::<Vec<_>>().join("\n")
}

fn count(answers: &[Value], status: &str) -> usize {
    answers.iter().filter(|line| line["status"] == status).count()
}

/// A line in a few words. Also looks at its form.
fn shown(line: &Value) -> String {
    let (number, status) = (line["line"].as_u64().unwrap(), line["status"].as_str().unwrap());
    if status == "error" {
        assert!(line["message"].as_str().is_some_and(|message| !message.is_empty()), "{line}");
        return format!("{number} error {} {}", text(&line["code"]), line["field"].as_str().unwrap_or("-"));
    }
    assert!(line["code"].is_null() && line["message"].is_null() && line["field"].is_null(), "{line}");
    let secret = if line["secret"].is_string() { " with a secret" } else { "" };
    format!("{number} {status} {}{secret}", text(&line["device_id"]))
}
