//! The live events, over real sockets.

use std::time::Duration;

use otaru_api::Limits;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::house::{Gadget, House, campaign_when, text};
use crate::sockets::{Open, ask};

/// Longer than changes are put together.
const A_WHILE: Duration = Duration::from_millis(900);

/// A stream of events, read as a browser does.
struct Stream {
    socket: TcpStream,
    read: String,
}

#[derive(Debug)]
struct Event {
    name: String,
    id: String,
    data: Value,
}

impl Stream {
    /// Opens it and reads the head; what it answers if that is no stream.
    async fn open(open: &Open, query: &str, headers: &str) -> Result<Stream, String> {
        let mut socket = open.plain().await;
        let request = format!("GET /api/v1/events{query} HTTP/1.1\r\nHost: h\r\n{headers}\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut stream = Stream { socket, read: String::new() };
        while !stream.read.contains("\r\n\r\n") {
            assert!(stream.more().await, "{}", stream.read);
        }
        if !stream.read.starts_with("HTTP/1.1 200 ") {
            return Err(stream.read);
        }
        let (head, rest) = stream.read.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("\r\nContent-Type: text/event-stream\r\n"), "{head}");
        assert!(head.contains("\r\nCache-Control: no-store\r\n"), "{head}");
        stream.read = rest.to_owned();
        Ok(stream)
    }

    async fn of(house: &House, open: &Open, query: &str, headers: &str) -> Stream {
        let ticket = house.viewer().post("/api/v1/events/ticket", json!({})).await.ok(201);
        assert_eq!(ticket["expires_in_secs"], 30);
        let mark = if query.is_empty() { '?' } else { '&' };
        let query = format!("{query}{mark}ticket={}", text(&ticket["ticket"]));
        Stream::open(open, &query, headers).await.unwrap()
    }

    async fn more(&mut self) -> bool {
        let mut part = [0; 4096];
        match self.socket.read(&mut part).await {
            Ok(0) | Err(_) => false,
            Ok(count) => {
                self.read.push_str(&String::from_utf8_lossy(&part[..count]));
                true
            }
        }
    }

    /// The next event; `None` at the end of the stream.
    async fn next(&mut self) -> Option<Event> {
        loop {
            // Chunks are framed by lines with their length, which belong to no event.
            if let Some(begin) = self.read.find("event: ")
                && let Some(length) = self.read[begin..].find("\n\n")
            {
                let event = self.read[begin..begin + length].to_owned();
                self.read = self.read[begin + length..].to_owned();
                let line = |name: &str| {
                    let found = event.lines().find_map(|line| line.strip_prefix(name));
                    found.unwrap_or_else(|| panic!("no {name} in {event}")).to_owned()
                };
                let data = serde_json::from_str(&line("data: ")).unwrap();
                return Some(Event { name: line("event: "), id: line("id: "), data });
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// The next event of this name for which `wanted` holds.
    async fn until(&mut self, name: &str, wanted: impl Fn(&Value) -> bool) -> Event {
        loop {
            let event = self.next().await.expect("the stream goes on");
            if event.name == name && wanted(&event.data) {
                return event;
            }
        }
    }

    async fn is_silent(&mut self) -> bool {
        tokio::time::timeout(A_WHILE, self.next()).await.is_err()
    }
}

#[tokio::test]
async fn ready_comes_first_and_then_what_changes_with_exact_counts() {
    let house = House::open().await;
    let lamp = house.furnish().await;
    let open = Open::start(&house, Limits::default()).await;
    let mut stream = Stream::of(&house, &open, "", "").await;
    let ready = stream.next().await.unwrap();
    assert_eq!((ready.name.as_str(), ready.data), ("ready", json!({})));

    let id = house.operator().campaign(&lamp.package_id, &["lamp_1"]).await;
    let running = stream.until("campaign", |data| data["state"] == "running").await;
    assert_eq!(running.data["campaign_id"], id);
    assert_eq!(
        (&running.data["counts"]["total"], &running.data["counts"]["released"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(running.data["finished_at"], Value::Null);
    let mut members: Vec<&str> = running.data.as_object().unwrap().keys().map(String::as_str).collect();
    members.sort_unstable();
    assert_eq!(members, ["campaign_id", "counts", "finished_at", "name", "started_at", "state"]);

    house.operator().post(&format!("/api/v1/campaigns/{id}/cancel"), json!({})).await.ok(200);
    let ended = stream.until("campaign", |data| data["counts"]["cancelled"] == 1).await;
    let shown = house.viewer().get(&format!("/api/v1/campaigns/{id}")).await.ok(200);
    assert_eq!(ended.data["counts"], shown["counts"], "the same as in the campaign itself");
    house.operator().delete(&format!("/api/v1/campaigns/{id}")).await.ok(204);
    let deleted = stream.until("campaign_deleted", |_| true).await;
    assert_eq!(deleted.data, json!({"campaign_id": id}));
}

#[tokio::test]
async fn devices_that_come_and_go_are_counted() {
    let house = House::open().await;
    let lamp = house.furnish().await.device;
    let open = Open::start(&house, Limits::default()).await;
    let mut stream = Stream::of(&house, &open, "", "").await;
    let gadget = Gadget::connect(&house, &lamp).await;
    stream.until("fleet", |data| *data == json!({"connected": 1})).await;
    drop(gadget);
    stream.until("fleet", |data| *data == json!({"connected": 0})).await;
}

#[tokio::test]
async fn only_the_campaigns_that_are_asked_for_are_heard() {
    let house = House::open().await;
    let lamp = house.furnish().await;
    let one = house.operator().campaign(&lamp.package_id, &["lamp_1"]).await;
    campaign_when(house.viewer(), &one, |c| c["state"] == "running").await;
    let open = Open::start(&house, Limits::default()).await;
    let mut stream = Stream::of(&house, &open, &format!("?campaign={one}"), "").await;
    assert_eq!(stream.next().await.unwrap().name, "ready");
    let other = house.operator().campaign(&lamp.package_id, &["lamp_1"]).await;
    campaign_when(house.viewer(), &other, |c| c["state"] == "running").await;
    let _gadget = Gadget::connect(&house, &lamp.device).await;
    house.operator().post(&format!("/api/v1/campaigns/{one}/pause"), json!({})).await.ok(200);
    let heard = stream.until("campaign", |data| data["state"] == "paused").await;
    assert_eq!(heard.data["campaign_id"], one);
    house.operator().post(&format!("/api/v1/campaigns/{other}/pause"), json!({})).await.ok(200);
    assert!(stream.is_silent().await, "{}", stream.read);

    let refused = house.viewer().get("/api/v1/events?campaign=nothing").await.refused(404, "not_found");
    assert!(refused.contains("nothing"), "{refused}");
    let many: Vec<String> = (0..21).map(|n| format!("campaign={n}")).collect();
    house.viewer().get(&format!("/api/v1/events?{}", many.join("&"))).await.refused(400, "invalid_parameter");
    house.viewer().get("/api/v1/events?campaigns=x").await.refused(400, "invalid_parameter");
}

#[tokio::test]
async fn who_comes_back_hears_what_was_missed_and_whose_place_is_lost_looks_anew() {
    let house = House::open().await;
    let lamp = house.furnish().await;
    let open = Open::start(&house, Limits::default()).await;
    let mut stream = Stream::of(&house, &open, "", "").await;
    let ready = stream.next().await.unwrap();
    drop(stream);
    let id = house.operator().campaign(&lamp.package_id, &["lamp_1"]).await;
    campaign_when(house.viewer(), &id, |c| c["state"] == "running").await;
    let back = format!("Last-Event-ID: {}\r\n", ready.id);
    let mut stream = Stream::of(&house, &open, "", &back).await;
    let missed = stream.until("campaign", |data| data["state"] == "running").await;
    let mut again = Stream::of(&house, &open, "", &format!("Last-Event-ID: {}\r\n", missed.id)).await;
    assert!(again.is_silent().await, "it has heard everything: {}", again.read);

    let mut by_query = Stream::of(&house, &open, &format!("?after={}", ready.id), "").await;
    by_query.until("campaign", |data| data["state"] == "running").await;

    for lost in ["0-7", "99-1", "nonsense", "1-99999999"] {
        let mut stream = Stream::of(&house, &open, "", &format!("Last-Event-ID: {lost}\r\n")).await;
        let resync = stream.next().await.unwrap();
        assert_eq!(resync.name, "resync", "{lost}");
        house.operator().post(&format!("/api/v1/campaigns/{id}/pause"), json!({})).await.ok(200);
        house.operator().post(&format!("/api/v1/campaigns/{id}/resume"), json!({})).await.ok(200);
        assert_eq!(stream.next().await.unwrap().name, "campaign", "it goes on from there");
    }
}

#[tokio::test]
async fn nothing_is_told_before_it_is_stored() {
    let house = House::open().await;
    let lamp = house.furnish().await;
    let id = house.operator().campaign(&lamp.package_id, &["lamp_1"]).await;
    campaign_when(house.viewer(), &id, |c| c["state"] == "running").await;
    let open = Open::start(&house, Limits::default()).await;
    let mut stream = Stream::of(&house, &open, &format!("?campaign={id}"), "").await;
    assert_eq!(stream.next().await.unwrap().name, "ready");
    while !stream.is_silent().await {}
    let pause = format!("/api/v1/campaigns/{id}/pause");
    house.faults.stall();
    let operator = house.operator();
    let mut paused = std::pin::pin!(operator.post(&pause, json!({})));
    let silent = stream.is_silent();
    tokio::select! {
        biased;
        _ = paused.as_mut() => panic!("the store stands still"),
        silent = silent => assert!(silent, "told though it is not stored"),
    }
    house.faults.resume();
    paused.await.ok(200);
    stream.until("campaign", |data| data["state"] == "paused").await;
}

#[tokio::test]
async fn a_ticket_opens_one_stream_and_a_token_does_as_well() {
    let house = House::open().await;
    let open = Open::start(&house, Limits::default()).await;
    let ticket = text(&house.viewer().post("/api/v1/events/ticket", json!({})).await.ok(201)["ticket"]);
    let query = format!("?ticket={ticket}");
    let mut stream = Stream::open(&open, &query, "").await.unwrap();
    assert_eq!(stream.next().await.unwrap().name, "ready");
    let refused = Stream::open(&open, &query, "").await.err().unwrap();
    assert!(refused.starts_with("HTTP/1.1 401 ") && refused.contains("ticket_invalid"), "{refused}");
    house.stranger().get("/api/v1/events?ticket=guessed").await.refused(401, "ticket_invalid");
    house.stranger().get("/api/v1/events").await.refused(401, "token_missing");
    house.stranger().post("/api/v1/events/ticket", json!({})).await.refused(401, "token_missing");
    let made = house.admin().post("/api/v1/tokens", json!({"name": "ci", "role": "viewer"})).await.ok(201);
    let token = format!("Authorization: Bearer {}\r\n", text(&made["token"]));
    let mut stream = Stream::open(&open, "", &token).await.unwrap();
    assert_eq!(stream.next().await.unwrap().name, "ready");
    // A ticket is for events alone.
    let ticket = text(&house.viewer().post("/api/v1/events/ticket", json!({})).await.ok(201)["ticket"]);
    house.with_token(&ticket).get("/api/v1/products").await.refused(401, "unauthorized");
}

#[tokio::test]
async fn one_listener_too_many_is_told_so_and_gets_in_once_another_has_gone() {
    let house = House::open().await;
    let mut listeners: Vec<_> =
        (0..otaru_engine::limits::LISTENERS_MAX).map(|_| house.engine.listen(None, None).unwrap()).collect();
    let refused = house.viewer().get("/api/v1/events").await;
    assert!(refused.refused(503, "too_many_listeners").contains("100 listeners"));
    assert_eq!(refused.header("retry-after"), "5");
    listeners.pop();
    let open = Open::start(&house, Limits::default()).await;
    Stream::of(&house, &open, "", "").await;
}

#[tokio::test]
async fn streams_end_when_the_server_stops() {
    let house = House::open().await;
    let open = Open::start(&house, Limits::default()).await;
    let mut stream = Stream::of(&house, &open, "", "").await;
    assert_eq!(stream.next().await.unwrap().name, "ready");
    // Before the requests under way are dropped: the stream does not hold the server up.
    let stopped = tokio::time::timeout(Duration::from_secs(10), open.stop());
    let (heard, stopped) = tokio::join!(stream.next(), stopped);
    assert!(heard.is_none(), "{heard:?}");
    assert!(stopped.is_ok(), "the server waited for the stream");
    // A whole answer, by HTTP.
    assert!(stream.read.ends_with("0\r\n\r\n"), "{:?}", stream.read);
}

#[tokio::test]
async fn a_request_that_is_no_stream_is_answered_on_the_same_connection() {
    let house = House::open().await;
    let open = Open::start(&house, Limits::default()).await;
    let mut socket = open.plain().await;
    for _ in 0..2 {
        let answer = ask(&mut socket, "GET /api/v1/events HTTP/1.1\r\nHost: h\r\n\r\n").await;
        assert!(answer.head.starts_with("HTTP/1.1 401 "), "{}", answer.head);
    }
}
