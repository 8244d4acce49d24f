//! Starting the binary and talking to it.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use otaru_fleet::{Endpoint, TlsTrust};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Nothing here takes longer on a machine that works, however busy it is.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub const TOKEN: &str = "a-token-that-tests-chose";

/// The binary with the environment of nobody.
pub fn otaru(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_otaru"));
    let names: Vec<String> = std::env::vars().map(|(name, _)| name).collect();
    for name in names.iter().filter(|name| name.starts_with("OTARU_") || *name == "RUST_LOG") {
        command.env_remove(name);
    }
    command.args(args).stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub fn run(args: &[&str]) -> Output {
    otaru(args).output().unwrap()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A server that runs until it is stopped or dropped.
pub struct Server {
    child: Running,
    /// The one line on stdout.
    pub ready: String,
    /// Everything that stdout has after that line, when the server has ended.
    rest: mpsc::Receiver<String>,
    stderr: tempfile::NamedTempFile,
}

impl Server {
    /// `otaru serve` on free ports, with a token that tests know.
    pub fn start(dir: &Path, more: &[&str]) -> Server {
        let mut command = serve(dir, more);
        command.env("OTARU_ADMIN_TOKEN", TOKEN);
        Server::spawn(command)
    }

    pub fn spawn(command: Command) -> Server {
        ready(Server::spawn_until(command, |_| true))
    }

    /// A server whose log goes elsewhere: `stderr()` has nothing of it.
    pub fn spawn_logging_to(command: Command, stderr: impl Into<Stdio>) -> Server {
        let nothing = tempfile::NamedTempFile::new().unwrap();
        ready(Server::spawn_with(command, stderr.into(), nothing, |_| true))
    }

    /// Starts a command and waits until stdout has a line that `is_last` says is enough. Returns all lines up to
    /// that one.
    pub fn spawn_until(
        command: Command,
        is_last: impl Fn(&str) -> bool + Send + 'static,
    ) -> (Server, String) {
        let stderr = tempfile::NamedTempFile::new().unwrap();
        let log = stderr.reopen().unwrap().into();
        Server::spawn_with(command, log, stderr, is_last)
    }

    fn spawn_with(
        mut command: Command,
        log: Stdio,
        stderr: tempfile::NamedTempFile,
        is_last: impl Fn(&str) -> bool + Send + 'static,
    ) -> (Server, String) {
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let (send, parts) = mpsc::channel();
        std::thread::spawn(move || {
            let mut shown = String::new();
            loop {
                let begin = shown.len();
                let read = stdout.read_line(&mut shown).unwrap_or(0);
                if read == 0 || is_last(&shown[begin..]) {
                    break;
                }
            }
            let _ = send.send(shown);
            let mut rest = String::new();
            let _ = stdout.read_to_string(&mut rest);
            let _ = send.send(rest);
        });
        let shown = parts.recv_timeout(PATIENCE).expect("the command says what is waited for, or ends");
        (Server { child: Running(child), ready: String::new(), rest: parts, stderr }, shown)
    }

    /// The address after `name=` in the ready line.
    pub fn address(&self, name: &str) -> SocketAddr {
        let listed = self.ready.split(' ').find_map(|word| word.strip_prefix(&format!("{name}=")));
        listed.unwrap_or_else(|| panic!("no {name} in {:?}", self.ready)).parse().unwrap()
    }

    pub fn http(&self) -> Endpoint {
        plain(self.address("http"))
    }

    pub fn stderr(&self) -> String {
        std::fs::read_to_string(self.stderr.path()).unwrap()
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.0.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success(), "{kill}");
    }

    /// Whether the process has not ended. One that has ended and was not waited for can still be signalled.
    pub fn is_running(&self) -> bool {
        let state = std::fs::read_to_string(format!("/proc/{}/stat", self.child.0.id())).unwrap();
        !state.contains(") Z ")
    }

    /// Waits for the end. Returns the exit code (`None` after a signal) and what stdout had after the ready line.
    pub fn wait(mut self) -> (Option<i32>, String) {
        // stdout ends when the process does.
        let rest =
            self.rest.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("does not end\n{}", self.stderr()));
        (self.child.0.wait().unwrap().code(), rest)
    }
}

/// A server that has said that it is ready.
fn ready((server, first): (Server, String)) -> Server {
    assert!(first.starts_with("otaru ready"), "{first:?}\n{}", server.stderr());
    Server { ready: first.trim_end().to_owned(), ..server }
}

/// A process that does not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Already gone is fine.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `otaru serve` on free ports.
pub fn serve(dir: &Path, more: &[&str]) -> Command {
    let dir = dir.to_str().unwrap();
    let mut command = otaru(&["serve", "--data-dir", dir, "--mqtt", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
    command.args(more);
    command
}

pub fn plain(address: SocketAddr) -> Endpoint {
    Endpoint { host: address.ip().to_string(), port: address.port(), tls: None }
}

pub fn secure(address: SocketAddr, ca: &Path) -> Endpoint {
    Endpoint { tls: Some(TlsTrust::Ca(ca.to_owned()).client_config().unwrap()), ..plain(address) }
}

/// One request. Returns the status and the answer, which is `Null` unless it is JSON.
pub async fn ask(
    endpoint: &Endpoint,
    token: &str,
    method: &str,
    path: &str,
    body: Option<Value>,
) -> (u16, Value) {
    let (status, body) = ask_for_text(endpoint, token, method, path, body).await;
    (status, serde_json::from_str(&body).unwrap_or(Value::Null))
}

/// The value of a metric without labels.
pub async fn metric(endpoint: &Endpoint, name: &str) -> u64 {
    let (status, shown) = ask_for_text(endpoint, "", "GET", "/metrics", None).await;
    assert_eq!(status, 200, "{shown}");
    let value = shown.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or_else(|| panic!("no {name} in {shown}"))
}

pub async fn ask_for_text(
    endpoint: &Endpoint,
    token: &str,
    method: &str,
    path: &str,
    body: Option<Value>,
) -> (u16, String) {
    let asking = async {
        let mut socket = endpoint.dial().await.unwrap();
        let body = body.map_or_else(String::new, |body| body.to_string());
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}:{}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            endpoint.host,
            endpoint.port,
            body.len()
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        socket.write_all(body.as_bytes()).await.unwrap();
        socket.flush().await.unwrap();
        let mut answer = Vec::new();
        // A TLS peer that closes without a word is fine here: lengths are checked below by parsing.
        let _ = socket.read_to_end(&mut answer).await;
        text(&answer)
    };
    let answer = tokio::time::timeout(PATIENCE, asking).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("{head}")), body.to_owned())
}
