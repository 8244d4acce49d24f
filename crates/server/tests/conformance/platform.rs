//! The server under test, and its operator.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use otaru_fleet::{Endpoint, TlsTrust};
use serde_json::Value;

use crate::fetch::{Answer, exchange};
use crate::running::{Server, TOKEN, plain, run, text};

/// The timers of tests: short where a test waits for the end, long where a test must not meet it.
const USUAL: &[&str] = &[
    "timers.settle=20ms",
    "timers.settle_underway=50ms",
    "timers.download_quiet=200ms",
    "timers.reconnect_grace=0s",
    // One second is the shortest keep alive that MQTT can name.
    "limits.keep_alive=1,1200",
    // What is kept after a power failure is the subject of other tests.
    "store.synchronous=normal",
    "log=warn",
];

/// `otaru serve` with all four listeners.
pub struct Platform {
    /// Behind a lock only because tests on several threads share it.
    server: Mutex<Server>,
    pub cert: PathBuf,
    // After the server, which is ended first.
    _dir: tempfile::TempDir,
}

/// The server that tests with the usual settings share while one of them runs.
static SHARED: Mutex<Weak<Platform>> = Mutex::new(Weak::new());

impl Platform {
    pub fn usual() -> Arc<Platform> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let platform = Platform::with(&[]);
            *shared = Arc::downgrade(&platform);
            platform
        })
    }

    /// A server of one's own, with these settings over the usual ones.
    pub fn with(settings: &[&str]) -> Arc<Platform> {
        let dir = tempfile::tempdir().unwrap();
        let tls = dir.path().join("tls");
        let made = run(&["tls", "self-signed", "--out", tls.to_str().unwrap(), "--name", "127.0.0.1"]);
        assert!(made.status.success(), "{}", text(&made.stderr));
        let (cert, key) = (tls.join("cert.pem"), tls.join("key.pem"));
        let mut more = vec!["--mqtts", "127.0.0.1:0", "--https", "127.0.0.1:0"];
        more.extend(["--tls-cert", cert.to_str().unwrap(), "--tls-key", key.to_str().unwrap()]);
        for setting in USUAL.iter().chain(settings) {
            more.extend(["--set", setting]);
        }
        let server = Server::start(&dir.path().join("data"), &more);
        Arc::new(Platform { server: Mutex::new(server), cert, _dir: dir })
    }

    pub fn mqtt(&self) -> Endpoint {
        plain(self.address("mqtt"))
    }

    pub fn mqtts(&self) -> Endpoint {
        self.trusted("mqtts")
    }

    pub fn http(&self) -> Endpoint {
        plain(self.address("http"))
    }

    pub fn https(&self) -> Endpoint {
        self.trusted("https")
    }

    fn address(&self, name: &str) -> SocketAddr {
        self.server().address(name)
    }

    fn server(&self) -> MutexGuard<'_, Server> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trusted(&self, name: &str) -> Endpoint {
        let tls = TlsTrust::Ca(self.cert.clone()).client_config().unwrap();
        Endpoint { tls: Some(tls), ..plain(self.address(name)) }
    }

    // --- The operator ---

    pub async fn ask(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> Answer {
        let mut request = format!(
            "{method} /api/v1{path} HTTP/1.1\r\nHost: otaru\r\nAuthorization: Bearer {TOKEN}\r\n\
             Content-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend(body);
        exchange(&self.http(), &request).await
    }

    pub async fn get(&self, path: &str) -> Value {
        let answer = self.ask("GET", path, "application/json", b"").await;
        assert_eq!(answer.status, 200, "{path}: {}", text(&answer.body));
        answer.json()
    }

    pub async fn post(&self, path: &str, body: Value) -> Value {
        self.change("POST", path, body).await
    }

    pub async fn change(&self, method: &str, path: &str, body: Value) -> Value {
        let answer = self.ask(method, path, "application/json", body.to_string().as_bytes()).await;
        assert!(matches!(answer.status, 200..=299), "{path}: {}", text(&answer.body));
        answer.json()
    }

    /// The id of these bytes as an artifact.
    pub async fn artifact(&self, bytes: &[u8]) -> String {
        let answer = self.ask("POST", "/artifacts", "application/octet-stream", bytes).await;
        assert!(matches!(answer.status, 200 | 201), "{}", text(&answer.body));
        word(&answer.json(), "artifact_id")
    }

    /// The sum of the values of a metric, over the labels that contain `label`.
    pub async fn metric(&self, name: &str, label: &str) -> u64 {
        let request = "GET /metrics HTTP/1.1\r\nHost: otaru\r\nConnection: close\r\n\r\n";
        let shown = text(&exchange(&self.http(), request.as_bytes()).await.body);
        let lines = shown.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])) && line.contains(label)
        });
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the server's log ---\n{}", self.server().stderr());
        }
    }
}

/// A member that is a text.
pub fn word(value: &Value, member: &str) -> String {
    value[member].as_str().unwrap_or_else(|| panic!("no text {member} in {value}")).to_owned()
}
