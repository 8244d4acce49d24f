//! What came of it: a table for people, one JSON object for machines. Both say the same.

use std::collections::BTreeMap;
use std::time::Duration;

use otaru_fleet::{Quantiles, TalliesNow};
use serde_json::{Value, json};

use super::cast::Cast;
use super::profile::name_of;
use super::watch::End;
use crate::operator::Shown;
use crate::say;
use crate::verdict::{self, Verdict};

/// A run that has ended.
pub(super) struct Report {
    pub(super) end: End,
    pub(super) took: Duration,
    pub(super) seed: u64,
    pub(super) devices: usize,
    children: usize,
    /// How many devices were to connect.
    pub(super) connecting: u64,
    /// How many do what, by the names of the profile.
    behaviours: BTreeMap<String, u64>,
    pub(super) did: TalliesNow,
    pub(super) campaign: Option<CampaignReport>,
}

/// What the platform says, and whether it is what the scripts say.
pub(super) struct CampaignReport {
    campaign_id: String,
    is_finished: bool,
    outcomes: BTreeMap<String, u64>,
    /// Of failures, by the result code.
    failures: BTreeMap<String, u64>,
    verdict: Verdict,
}

impl CampaignReport {
    pub(super) fn of(campaign_id: String, is_finished: bool, cast: &Cast, shown: &[Shown]) -> CampaignReport {
        let (mut outcomes, mut failures) = (BTreeMap::new(), BTreeMap::new());
        for one in shown {
            let outcome = one.outcome.as_deref().unwrap_or(&one.state);
            *outcomes.entry(outcome.to_owned()).or_insert(0) += 1;
            if let (Some("failed"), Some(code)) = (one.outcome.as_deref(), one.result_code) {
                *failures.entry(code.to_string()).or_insert(0) += 1;
            }
        }
        let verdict = verdict::compare(cast.scripts(), shown);
        CampaignReport { campaign_id, is_finished, outcomes, failures, verdict }
    }

    /// Whether the campaign ended, and not as the scripts say. One that was not waited for is not judged.
    pub(super) fn is_untrue(&self) -> bool {
        self.is_finished && !self.verdict.differences.is_empty()
    }
}

impl Report {
    pub(super) fn new(end: End, took: Duration, seed: u64, cast: &Cast, did: TalliesNow) -> Report {
        let mut behaviours = BTreeMap::new();
        for (_, script) in cast.scripts() {
            *behaviours.entry(name_of(script)).or_insert(0) += 1;
        }
        let devices = cast.devices.len();
        Report {
            end,
            took,
            seed,
            devices,
            children: cast.scripts().count() - devices,
            connecting: cast.connecting(),
            behaviours,
            did,
            campaign: None,
        }
    }

    fn latencies(&self) -> [(&'static str, &'static str, Quantiles); 4] {
        [
            ("connect", "connect", self.did.connecting),
            ("query_to_report", "query -> report", self.did.answering),
            ("notice_to_done", "notice -> done", self.did.upgrading),
            ("report_to_ack", "report -> PUBACK", self.did.reporting),
        ]
    }

    fn tallies(&self) -> [(&'static str, &'static str, u64); 16] {
        let did = &self.did;
        [
            ("arrived", "devices that were connected", did.arrived),
            ("rejected", "devices and children refused for good", did.rejected),
            ("connected", "connected at the end", did.connected),
            ("connects", "connections", did.connects),
            ("refused", "connections refused", did.refused),
            ("links_lost", "connections lost or not made", did.links_lost),
            ("questions", "version questions", did.questions),
            ("notices", "notices", did.notices),
            ("notices_repeated", "notices heard again", did.notices_repeated),
            ("unreadable", "messages not understood", did.unreadable),
            ("reports", "reports acknowledged", did.reports),
            ("downloads", "downloads", did.downloads),
            ("downloads_failed", "downloads failed", did.downloads_failed),
            ("download_bytes", "bytes downloaded", did.download_bytes),
            ("scripts_done", "scripts played to the end", did.scripts_done),
            ("scripts", "scripts in all", (self.devices + self.children) as u64),
        ]
    }

    pub(super) fn json(&self) -> Value {
        let millis = |span: Duration| (span.as_secs_f64() * 1e6).round() / 1e3;
        let latency = |seen: Quantiles| {
            json!({
                "count": seen.count,
                "p50": millis(seen.p50),
                "p90": millis(seen.p90),
                "p99": millis(seen.p99),
                "max": millis(seen.max),
            })
        };
        let named = |(name, value): (&str, Value)| (name.to_owned(), value);
        let latencies = self.latencies().map(|(name, _, seen)| named((name, latency(seen))));
        let tallies = self.tallies().map(|(name, _, count)| named((name, json!(count))));
        let campaign = self.campaign.as_ref().map(|campaign| {
            json!({
                "campaign_id": campaign.campaign_id,
                "is_finished": campaign.is_finished,
                "outcomes": campaign.outcomes,
                "failures": campaign.failures,
                "differences": campaign.verdict.differences,
            })
        });
        json!({
            "ended": self.end.name(),
            "took_secs": self.took.as_secs_f64(),
            "seed": self.seed,
            "devices": self.devices,
            "children": self.children,
            "behaviours": self.behaviours,
            "tallies": Value::Object(tallies.into_iter().collect()),
            "latency_ms": Value::Object(latencies.into_iter().collect()),
            "campaign": campaign,
        })
    }

    pub(super) fn print(&self) -> anyhow::Result<()> {
        let (devices, children, took) = (self.devices, self.children, self.took.as_secs_f64());
        say::out(format_args!(
            "{devices} devices and {children} children, {took:.1} s: {}",
            self.end.words()
        ))?;
        say::out("")?;
        let head = ["", "COUNT", "P50 MS", "P90 MS", "P99 MS", "MAX MS"];
        let [name, count, p50, p90, p99, max] = head;
        say::out(format_args!("{name:<18}{count:>9}{p50:>11}{p90:>11}{p99:>11}{max:>11}"))?;
        for (_, words, seen) in self.latencies() {
            let [p50, p90, p99, max] =
                [seen.p50, seen.p90, seen.p99, seen.max].map(|span| span.as_secs_f64() * 1000.0);
            let count = seen.count;
            say::out(format_args!("{words:<18}{count:>9}{p50:>11.1}{p90:>11.1}{p99:>11.1}{max:>11.1}"))?;
        }
        say::out("")?;
        for (_, words, count) in self.tallies() {
            say::out(format_args!("{count:>12}  {words}"))?;
        }
        say::out("")?;
        say::out("What they do:")?;
        for (name, count) in &self.behaviours {
            say::out(format_args!("{count:>12}  {name}"))?;
        }
        self.campaign.as_ref().map_or(Ok(()), CampaignReport::print)
    }
}

impl CampaignReport {
    fn print(&self) -> anyhow::Result<()> {
        say::out("")?;
        say::out(format_args!("The platform says of campaign {}:", self.campaign_id))?;
        for (outcome, count) in &self.outcomes {
            say::out(format_args!("{count:>12}  {outcome}"))?;
        }
        for (code, count) in &self.failures {
            say::out(format_args!("{count:>12}  of them failed with code {code}"))?;
        }
        if !self.is_finished {
            return say::out("It has not ended, and is not judged.");
        }
        let Verdict { devices, differences, .. } = &self.verdict;
        if differences.is_empty() {
            return say::out(format_args!("Every one of the {devices} ended as its script says."));
        }
        say::out(format_args!("{} of {devices} ended otherwise than their scripts say:", differences.len()))?;
        for difference in differences {
            say::out(format_args!("  {difference}"))?;
        }
        Ok(())
    }
}
