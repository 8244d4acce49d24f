//! docs/metrics.md and docs/logs.md against the code and against a real server: nothing is missing, nothing invented.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::running::{Server, TOKEN, ask_for_text, otaru, run, text};

#[tokio::test]
async fn the_page_of_metrics_and_what_a_server_shows_are_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let server = busy(dir.path(), &[]);
    let (_, shown) = ask_for_text(&server.http(), "", "GET", "/metrics", None).await;
    let listed = metrics_of_page(&page("metrics.md"));
    let scraped = Scraped::of(&shown);
    for (name, kind) in &scraped.kinds {
        let on_page = listed.get(name).unwrap_or_else(|| panic!("{name} is missing on docs/metrics.md"));
        assert_eq!(&on_page.kind, kind, "type of {name}");
        assert!(scraped.described.contains(name), "{name} has no HELP; describe it where it is counted");
        assert_eq!(on_page.labels, scraped.labels[name], "labels of {name}");
    }
    assert!(scraped.kinds.len() > 25, "there was no traffic: {shown}");
}

#[test]
fn the_page_of_metrics_and_the_code_name_the_same() {
    let text = page("metrics.md");
    let listed: BTreeSet<String> = metrics_of_page(&text).into_keys().collect();
    let mut in_code = BTreeSet::new();
    for file in sources() {
        in_code.extend(names(&file.text, '"').into_iter().filter(|name| is_metric(&file.text, name)));
    }
    assert_eq!(listed, in_code, "docs/metrics.md on the left, the code on the right");
    // Also where they are used: in the alerts and in other pages.
    let elsewhere = ["metrics.md", "logs.md", "operating.md"].map(|name| (name, page(name)));
    for (name, text) in &elsewhere {
        let words = text.split(|char: char| !(char.is_ascii_alphanumeric() || char == '_'));
        for word in words.filter(|word| word.starts_with("otaru_")) {
            let is_target = ["otaru_gateway", "otaru_engine", "otaru_gateway_"].contains(&word);
            assert!(is_target || listed.contains(word), "docs/{name} speaks of {word}, which is no metric");
        }
    }
}

#[test]
fn the_page_of_logs_and_the_code_name_the_same_fields_and_events() {
    let text = page("logs.md");
    let mut in_code = BTreeMap::new();
    let mut events = String::new();
    for file in sources() {
        for call in calls(&file.text) {
            for field in fields(call) {
                in_code.entry(field).or_insert_with(|| file.path.display().to_string());
            }
            events.push_str(call);
        }
    }
    let listed = fields_of_page(&text);
    let unlisted: Vec<_> = in_code.iter().filter(|(field, _)| !listed.contains(*field)).collect();
    assert!(unlisted.is_empty(), "missing on docs/logs.md: {unlisted:?}");
    let unused: Vec<_> = listed.iter().filter(|field| !in_code.contains_key(*field)).collect();
    assert!(unused.is_empty(), "on docs/logs.md and nowhere logged: {unused:?}");
    assert!(in_code.len() > 20, "the scan has found next to nothing: {in_code:?}");

    let (_, worth) = text.split_once("## Events worth knowing").unwrap();
    let named: Vec<&str> = rows(worth).flat_map(|cells| code(cells[1])).collect();
    assert!(named.len() > 10);
    for event in named {
        assert!(events.contains(&format!("\"{event}\"")), "no event of this name: {event}");
    }
}

#[tokio::test]
async fn a_line_of_json_has_the_listed_members_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let log = "log=info,otaru=debug,otaru_gateway=debug,otaru_engine=debug,otaru_api=debug";
    let server = busy(dir.path(), &["--set", log, "--set", "log_format=json"]);
    assert_eq!(ask_for_text(&server.http(), "wrong", "GET", "/api/v1/products", None).await.0, 401);
    let listed = fields_of_page(&page("logs.md"));
    let said = server.stderr();
    let mut seen = BTreeSet::new();
    // What is said before the log is started is no line of it.
    for line in said.lines().filter(|line| !line.starts_with("otaru: ")) {
        let line: BTreeMap<String, Value> =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        seen.extend(line.into_keys());
    }
    for member in ["timestamp", "level", "target", "message"] {
        assert!(seen.remove(member), "{member} is missing: {said}");
    }
    assert!(seen.contains("device_id") && seen.contains("request_id"), "{said}");
    assert!(seen.is_subset(&listed), "{:?}", seen.difference(&listed));
}

/// A server with TLS that has upgraded a few devices.
fn busy(dir: &Path, more: &[&str]) -> Server {
    let made =
        run(&["tls", "self-signed", "--out", dir.join("tls").to_str().unwrap(), "--name", "127.0.0.1"]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let file = |name: &str| dir.join("tls").join(name).to_str().unwrap().to_owned();
    let (cert, key) = (file("cert.pem"), file("key.pem"));
    let mut args = vec![
        "--set",
        "timers.settle=200ms",
        "--set",
        "timers.settle_underway=500ms",
        "--mqtts",
        "127.0.0.1:0",
        "--tls-cert",
        &cert,
    ];
    args.extend(["--tls-key", &key]);
    args.extend(more);
    let server = Server::start(&dir.join("data"), &args);
    let profile = dir.join("crowd.toml");
    let crowd = "package = \"2KiB\"\nrest = \"success\"\n[pace]\nstep = \"10ms\"\nreboot = \"20ms\"\n";
    std::fs::write(&profile, crowd).unwrap();
    let (connect, url) = (server.address("mqtt").to_string(), format!("http://{}", server.address("http")));
    let mut command =
        otaru(&["simulate", "--connect", &connect, "--devices", "3", "--url", &url, "--campaign"]);
    command.args(["--profile", profile.to_str().unwrap()]).env("OTARU_TOKEN", TOKEN);
    let ended = command.output().unwrap();
    assert!(ended.status.success(), "{}\n{}", text(&ended.stderr), server.stderr());
    server
}

struct OnPage {
    kind: String,
    labels: BTreeSet<String>,
}

/// The first column of the tables names a metric with its labels, the second its type.
fn metrics_of_page(text: &str) -> BTreeMap<String, OnPage> {
    let mut listed = BTreeMap::new();
    for cells in rows(text) {
        let Some(metric) = code(cells[0]).find(|metric| metric.starts_with("otaru_")) else { continue };
        let (name, labels) = metric.trim_end_matches('}').split_once('{').unwrap_or((metric, ""));
        let labels = labels.split(',').filter(|label| !label.is_empty()).map(str::to_owned).collect();
        let before = listed.insert(name.to_owned(), OnPage { kind: cells[1].trim().to_owned(), labels });
        assert!(before.is_none(), "{name} is listed twice");
        assert!(cells.len() == 5 && !cells[3].trim().is_empty(), "what does {name} mean?");
    }
    listed
}

/// What Prometheus reads.
#[derive(Default)]
struct Scraped {
    kinds: BTreeMap<String, String>,
    described: BTreeSet<String>,
    labels: BTreeMap<String, BTreeSet<String>>,
}

impl Scraped {
    fn of(shown: &str) -> Scraped {
        let mut scraped = Scraped::default();
        let mut current = String::new();
        for line in shown.lines().filter(|line| !line.is_empty()) {
            let words: Vec<&str> = line.splitn(4, ' ').collect();
            match words.as_slice() {
                ["#", "HELP", name, _] => drop(scraped.described.insert((*name).to_owned())),
                ["#", "TYPE", name, kind] => {
                    current = (*name).to_owned();
                    scraped.kinds.insert(current.clone(), (*kind).to_owned());
                    scraped.labels.entry(current.clone()).or_default();
                }
                _ => scraped.labels.get_mut(&current).unwrap().extend(labels(line)),
            }
        }
        scraped
    }
}

fn labels(line: &str) -> Vec<String> {
    let Some((_, rest)) = line.split_once('{') else { return Vec::new() };
    let named = rest.split("=\"").map(|part| part.rsplit(['"', ',', '{']).next().unwrap());
    let all = named.filter(|label| !label.is_empty() && !label.contains(['}', ' ']));
    all.filter(|label| *label != "quantile").map(str::to_owned).collect()
}

/// Fields in the table of the page about logs.
fn fields_of_page(text: &str) -> BTreeSet<String> {
    let (_, text) = text.split_once("## Fields").unwrap();
    let (text, _) = text.split_once("\n## ").unwrap();
    rows(text).flat_map(|cells| code(cells[0])).map(str::to_owned).collect()
}

/// The cells of each row of a table, without heads.
fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let is_row = |line: &&str| line.starts_with("| ");
    text.lines().filter(is_row).map(|line| line.trim_matches('|').split('|').collect())
}

/// What stands between backticks.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

struct Source {
    path: PathBuf,
    /// Without its tests.
    text: String,
}

/// What the binary is made of.
fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    for name in ["proto", "core", "store", "engine", "gateway", "api", "places", "fleet", "server"] {
        collect(&root().join("crates").join(name).join("src"), &mut found);
    }
    found
}

fn collect(dir: &Path, found: &mut Vec<Source>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let shipped = text.split("#[cfg(test)]\nmod tests").next().unwrap().to_owned();
            found.push(Source { path, text: shipped });
        }
    }
}

/// String literals that look like a metric.
fn names(text: &str, quote: char) -> BTreeSet<String> {
    let literals = text.split(quote).filter(|word| word.starts_with("otaru_"));
    let is_name = |word: &&str| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    literals.filter(is_name).map(str::to_owned).collect()
}

/// Whether the literal is given to one of the macros of metrics, at once or through a constant.
fn is_metric(text: &str, name: &str) -> bool {
    let squeezed: String = text.split_whitespace().collect();
    let constant = squeezed.split(&format!(":&str=\"{name}\"")).next();
    let through = constant
        .filter(|before| before.len() < squeezed.len())
        .and_then(|before| before.rsplit("const").next());
    [Some(format!("\"{name}\"")), through.map(str::to_owned)].iter().flatten().any(|given| {
        ["counter!(", "gauge!(", "histogram!("]
            .iter()
            .any(|called| squeezed.contains(&format!("{called}{given}")))
    })
}

/// The arguments of everything that is logged.
fn calls(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for level in ["error", "warn", "info", "debug", "trace"] {
        for (at, called) in text.match_indices(&format!("{level}!(")) {
            let begin = at + called.len();
            found.push(&text[begin..begin + end_of(&text[begin..])]);
        }
    }
    found
}

/// Where the parenthesis closes that is open at the beginning.
fn end_of(text: &str) -> usize {
    let (mut depth, mut quoted, mut escaped) = (1, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'(' | b'[' | b'{' if !quoted => depth += 1,
            b')' | b']' | b'}' if !quoted => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// The names before the message: `name`, `%name`, `?name` or `name = value`.
fn fields(call: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = call.trim_start();
    while !rest.is_empty() && !rest.starts_with('"') {
        let name: String = rest
            .trim_start_matches(['%', '?'])
            .chars()
            .take_while(|char| char.is_ascii_alphanumeric() || *char == '_' || *char == '.')
            .collect();
        assert!(!name.is_empty(), "this cannot be read: {call}");
        // A value and what is after it are behind the comma that belongs to nothing inside.
        let mut end = 0;
        while end < rest.len() && !rest[end..].starts_with(',') {
            let is_open = rest[end..].starts_with(['(', '[', '{']);
            end += if is_open {
                2 + end_of(&rest[end + 1..])
            } else {
                rest[end..].chars().next().unwrap().len_utf8()
            };
        }
        found.push(name);
        rest = rest[end..].trim_start_matches(',').trim_start();
    }
    found
}

fn page(name: &str) -> String {
    std::fs::read_to_string(root().join("docs").join(name)).unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
