//! What is seen: progress on stderr while it runs, results on stdout.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use otaru_core::deployment::{Label, OutcomeKind};
use otaru_fleet::{Tallies, TalliesNow};
use otaru_proto::FailureCode;
use serde_json::Value;
use tokio::time::Instant;

use super::cast::Cast;
use crate::client::ApiClient;
use crate::operator::{self, Shown};
use crate::platform::Listening;
use crate::say;
use crate::verdict::Verdict;

/// A line on stdout. The demo goes on if nobody listens.
macro_rules! shown {
    ($($words:tt)*) => { say::shown(format_args!($($words)*)) };
}

/// Often enough to look alive; each look is one indexed read.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(2);

/// What may be seen in the demo, in the order in which a device goes through it.
const ROWS: [Label; 12] = [
    Label::Queued,
    Label::Released,
    Label::Asked,
    Label::Offered,
    Label::Running,
    Label::Confirming,
    Label::Waiting,
    Label::Finished(OutcomeKind::Installed),
    Label::Finished(OutcomeKind::AlreadyInstalled),
    Label::Finished(OutcomeKind::Failed),
    Label::Finished(OutcomeKind::TimedOut),
    Label::Finished(OutcomeKind::VersionMismatch),
];

pub(super) fn opening(listening: &Listening, cast: &Cast) {
    let address = |at: Option<std::net::SocketAddr>| at.map_or_else(String::new, |at| at.to_string());
    shown!(
        "Otaru is up: MQTT {}, HTTP {}. Registering {} simulated devices.",
        address(listening.mqtt),
        address(listening.http),
        cast.players.len()
    );
}

/// Shows the campaign until it has ended. Returns how long that took.
pub(super) async fn watch(
    api: &ApiClient,
    campaign_id: &str,
    devices: u32,
    tallies: &Tallies,
) -> anyhow::Result<Duration> {
    let begin = Instant::now();
    let mut view = View::new(devices);
    loop {
        let campaign = operator::campaign(api, campaign_id).await?;
        view.update(&campaign["counts"], tallies, begin.elapsed());
        if campaign["state"] == "finished" {
            view.end();
            return Ok(begin.elapsed());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// A table that is refreshed in place, or lines.
enum View {
    Table { all: MultiProgress, total: ProgressBar, rows: Vec<(Label, ProgressBar)> },
    Lines { said_at: Option<Duration>, said: String },
}

impl View {
    fn new(devices: u32) -> View {
        if !std::io::stderr().is_terminal() {
            return View::Lines { said_at: None, said: String::new() };
        }
        let style = |template| {
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
        };
        let (all, devices) = (MultiProgress::new(), u64::from(devices));
        let total = all.add(ProgressBar::new(devices));
        total.set_style(style("{elapsed_precise} [{wide_bar:.green}] {pos}/{len} finished, {msg}"));
        let rows = ROWS
            .into_iter()
            .map(|label| {
                let row = all.add(ProgressBar::new(devices));
                row.set_style(style("{prefix:>18} {pos:>6} {wide_bar:.cyan}"));
                row.set_prefix(label.name());
                (label, row)
            })
            .collect();
        View::Table { all, total, rows }
    }

    fn update(&mut self, counts: &Value, tallies: &Tallies, elapsed: Duration) {
        let count = |label: Label| counts[label.name()].as_u64().unwrap_or(0);
        let finished = Label::ALL.into_iter().filter(|label| label.is_finished()).map(count).sum();
        match self {
            View::Table { total, rows, .. } => {
                total.set_position(finished);
                total.set_message(format!(
                    "{} devices connected, {} reports acknowledged",
                    tallies.connected.get(),
                    tallies.reports.get()
                ));
                for (label, row) in rows {
                    row.set_position(count(*label));
                }
            }
            View::Lines { said_at, said } => {
                let words: Vec<String> = Label::ALL
                    .into_iter()
                    .filter(|label| count(*label) > 0)
                    .map(|label| format!("{} {}", label.name(), count(label)))
                    .collect();
                let line = words.join(", ");
                let is_due = said_at.is_none_or(|at| elapsed >= at + LINE_EVERY);
                if line != *said && is_due {
                    say::aside(format_args!("{:>5.1} s  {line}", elapsed.as_secs_f64()));
                    (*said_at, *said) = (Some(elapsed), line);
                }
            }
        }
    }

    fn end(&mut self) {
        if let View::Table { all, .. } = self {
            // What remains to be said is said in the breakdown. A terminal that went away need not be tidied.
            let _ = all.clear();
        }
    }
}

/// How many ended how, and why.
pub(super) fn breakdown(deployments: &[Shown], took: Duration, tallies: &TalliesNow) {
    shown!("");
    shown!("The campaign ended after {:.0} s. {} devices:", took.as_secs_f64(), deployments.len());
    for (place, of_place) in grouped(deployments, place) {
        let label = place.map(|place| Label::ALL[place]);
        shown!("  {:>6}  {}", of_place.len(), label.map_or("unknown", Label::name));
        match label {
            Some(Label::Finished(OutcomeKind::Installed)) => {}
            Some(Label::Finished(OutcomeKind::Failed)) => by_code(&of_place),
            Some(_) | None => {
                for (explanation, of_reason) in grouped(&of_place, |shown| shown.explanation.clone()) {
                    shown!("          {:>4}  {explanation}", of_reason.len());
                    shown!("                for example {}", of_reason[0].device_id);
                }
            }
        }
    }
    shown!("");
    shown!(
        "The devices connected {} times, heard {} questions and {} notices ({} of them twice), downloaded {} packages \
         ({:.1} MiB), and had {} reports acknowledged in {:.1} ms (half of them) to {:.1} ms (99 of 100).",
        tallies.connects,
        tallies.questions,
        tallies.notices,
        tallies.notices_repeated,
        tallies.downloads,
        tallies.download_bytes as f64 / f64::from(1 << 20),
        tallies.reports,
        tallies.reporting.p50.as_secs_f64() * 1000.0,
        tallies.reporting.p99.as_secs_f64() * 1000.0,
    );
}

/// Failures by what the devices reported.
fn by_code(failed: &[Shown]) {
    for (code, of_code) in grouped(failed, |shown| shown.result_code) {
        let phrase = code.and_then(FailureCode::from_wire).map_or("", FailureCode::phrase);
        let code = code.map_or_else(|| "-".to_owned(), |code| code.to_string());
        shown!("          {:>4}  code {code:>3}  {phrase}", of_code.len());
        shown!("                for example {}: {}", of_code[0].device_id, of_code[0].explanation);
    }
}

/// Where a deployment stands in [`Label::ALL`], so that groups are shown in that order.
fn place(shown: &Shown) -> Option<usize> {
    let name = shown.outcome.as_deref().unwrap_or(&shown.state);
    Label::ALL.iter().position(|label| label.name() == name)
}

/// Groups by what `key` says; none of them is empty.
fn grouped<K: Ord>(shown: &[Shown], key: impl Fn(&Shown) -> K) -> BTreeMap<K, Vec<Shown>> {
    let mut groups = BTreeMap::<K, Vec<Shown>>::new();
    for one in shown {
        groups.entry(key(one)).or_default().push(one.clone());
    }
    groups
}

/// Whether that was the truth.
pub(super) fn verdict(verdict: &Verdict) {
    shown!("");
    if verdict.differences.is_empty() {
        shown!("Every one of the {} devices ended as its script says.", verdict.devices);
        return;
    }
    shown!(
        "{} of {} devices ended otherwise than their scripts say:",
        verdict.differences.len(),
        verdict.devices
    );
    for difference in &verdict.differences {
        shown!("  {difference}");
    }
}

/// How to look around.
pub(super) fn tour(listening: &Listening, token: &str, campaign_id: &str, device: &str) {
    let http = listening.http.map_or_else(String::new, |at| at.to_string());
    let curl = |what: &str, path: &str| {
        shown!("  # {what}");
        shown!("  curl -s -H 'Authorization: Bearer {token}' 'http://{http}{path}'");
    };
    shown!("");
    shown!("The platform and the devices stay up. Look around, and end with Ctrl-C:");
    curl("the campaign and its counts", &format!("/api/v1/campaigns/{campaign_id}"));
    curl(
        "the deployments that failed, each with its explanation",
        &format!("/api/v1/campaigns/{campaign_id}/deployments?outcome=failed"),
    );
    curl("why one device is where it is", &format!("/api/v1/devices/{device}/explain"));
    curl(
        "what that device said, word for word, and how it was read",
        &format!("/api/v1/devices/{device}/reports"),
    );
    curl("metrics for Prometheus", "/metrics");
}
