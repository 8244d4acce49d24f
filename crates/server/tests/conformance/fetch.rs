//! HTTP as bytes: what is sent is what is written here, and the answer is shown as it came.

use std::time::Duration;

use otaru_fleet::{Endpoint, Socket};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::running::PATIENCE;

/// An answer as it came.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Status line and headers, without the empty line.
    pub head: String,
    pub body: Vec<u8>,
    /// How many bytes the first read brought.
    pub first_read: usize,
}

impl Answer {
    /// The value behind `name: `, with the letters exactly as given.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.split("\r\n").find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// Neither chunked nor compressed nor elsewhere.
    pub fn is_plain(&self) -> bool {
        let head = self.head.to_ascii_lowercase();
        !["transfer-encoding", "content-encoding", "location"].iter().any(|name| head.contains(name))
    }
}

/// Sends these bytes on a new connection and reads one answer, which must say its length.
pub async fn exchange(endpoint: &Endpoint, request: &[u8]) -> Answer {
    tokio::time::timeout(PATIENCE, exchanging(endpoint, request)).await.expect("an answer comes")
}

async fn exchanging(endpoint: &Endpoint, request: &[u8]) -> Answer {
    let mut socket = endpoint.dial().await.unwrap();
    socket.write_all(request).await.unwrap();
    socket.flush().await.unwrap();
    let mut answer = Vec::with_capacity(64 << 10);
    let mut first_read = 0;
    let (head_end, status, length) = loop {
        if let Some(end) = answer.windows(4).position(|part| part == b"\r\n\r\n") {
            let head = String::from_utf8(answer[..end].to_vec()).unwrap();
            let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
            let length = head.to_ascii_lowercase().split("\r\n").find_map(|line| {
                line.strip_prefix("content-length:").and_then(|value| value.trim().parse::<usize>().ok())
            });
            let is_bodiless = request.starts_with(b"HEAD ") || status == 204;
            let length = if is_bodiless { 0 } else { length.unwrap_or_else(|| panic!("no length: {head}")) };
            break (end, status, length);
        }
        let read = socket.read_buf(&mut answer).await.unwrap();
        assert!(read > 0, "closed without an answer: {:?}", String::from_utf8_lossy(&answer));
        if first_read == 0 {
            first_read = read;
        }
    };
    while answer.len() < head_end + 4 + length {
        let read = socket.read_buf(&mut answer).await.unwrap();
        assert!(read > 0, "the body is cut off");
    }
    let head = String::from_utf8(answer[..head_end].to_vec()).unwrap();
    Answer { status, head, body: answer[head_end + 4..].to_vec(), first_read }
}

/// A download that has begun and is not read any further; dropping it ends it.
pub async fn begin(endpoint: &Endpoint, request: &[u8]) -> Socket {
    let beginning = async {
        let mut socket = endpoint.dial().await.unwrap();
        socket.write_all(request).await.unwrap();
        socket.flush().await.unwrap();
        let mut start = [0; 15];
        socket.read_exact(&mut start).await.unwrap();
        assert_eq!(&start, b"HTTP/1.1 200 OK");
        socket
    };
    tokio::time::timeout(PATIENCE, beginning).await.expect("the download begins")
}

/// Asks again and again until the answer is as wanted.
pub async fn until(endpoint: &Endpoint, request: &[u8], is_wanted: impl Fn(&Answer) -> bool) -> Answer {
    let asking = async {
        loop {
            let answer = exchange(endpoint, request).await;
            if is_wanted(&answer) {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("the answer changes")
}

/// Scheme, host, port and path of a download's address, which names its port.
pub fn parts(url: &str) -> (&str, &str, u16, &str) {
    let (scheme, rest) = url.split_once("://").unwrap();
    let (authority, _) = rest.split_once('/').unwrap();
    let (host, port) = authority.rsplit_once(':').expect("the port is written out");
    (scheme, host, port.parse().unwrap(), &rest[authority.len()..])
}
