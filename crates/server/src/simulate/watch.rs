//! Waiting for the end of a run, and showing how it goes meanwhile: on stderr, as a bar or as lines.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use otaru_fleet::Tallies;
use tokio::time::Instant;

use crate::client::{ApiClient, Refused};
use crate::{operator, say};

/// Often enough to look alive.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(2);

/// How long the API may be away before a run that waits for a campaign gives up. A server that is restarted is back
/// sooner; the crowd tries again by itself.
const API_PATIENCE: Duration = Duration::from_secs(120);

/// Why a run has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Everybody has played its script; whoever was refused for good never will.
    ScriptsDone,
    /// The campaign has ended.
    CampaignFinished,
    /// `--for` is over.
    TimeIsUp,
    /// Everybody has tried to connect, and nobody could.
    NobodyConnected,
    /// Somebody sent a signal.
    Interrupted,
}

impl End {
    /// As in `--json`.
    pub(super) fn name(self) -> &'static str {
        match self {
            End::ScriptsDone => "scripts_done",
            End::CampaignFinished => "campaign_finished",
            End::TimeIsUp => "time_is_up",
            End::NobodyConnected => "nobody_connected",
            End::Interrupted => "interrupted",
        }
    }

    pub(super) fn words(self) -> &'static str {
        match self {
            End::ScriptsDone => "all scripts are played",
            End::CampaignFinished => "the campaign has ended",
            End::TimeIsUp => "the time is up",
            End::NobodyConnected => "nobody could connect",
            End::Interrupted => "interrupted",
        }
    }
}

/// What is waited for.
pub(super) struct Goal<'a> {
    /// Scripts, those of children included.
    pub(super) scripts: u64,
    /// Devices that will connect.
    pub(super) connecting: u64,
    /// However far it has come, it ends then.
    pub(super) at_most: Option<Duration>,
    /// The campaign whose end is the end, and where to ask for it.
    pub(super) campaign: Option<(&'a ApiClient, &'a str)>,
}

/// Shows how it goes until it has ended. Cancel safe.
pub(super) async fn watch(goal: &Goal<'_>, tallies: &Tallies, begin: Instant) -> anyhow::Result<End> {
    let mut view = View::new(goal.scripts);
    let mut heard_at = begin;
    loop {
        view.update(tallies, goal.scripts, begin.elapsed());
        match goal.reached(tallies, begin).await {
            Ok(None) => heard_at = Instant::now(),
            Ok(Some(end)) => {
                view.end();
                return Ok(end);
            }
            Err(error) if error.is::<Refused>() || heard_at.elapsed() >= API_PATIENCE => {
                view.end();
                return Err(error);
            }
            Err(error) => tracing::warn!(%error, "the campaign cannot be asked for"),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

impl Goal<'_> {
    async fn reached(&self, tallies: &Tallies, begin: Instant) -> anyhow::Result<Option<End>> {
        let failed = tallies.refused.get() + tallies.links_lost.get();
        if self.connecting > 0 && tallies.arrived.get() == 0 && failed >= self.connecting {
            return Ok(Some(End::NobodyConnected));
        }
        if self.at_most.is_some_and(|most| begin.elapsed() >= most) {
            return Ok(Some(End::TimeIsUp));
        }
        if let Some((api, campaign)) = self.campaign {
            let campaign = operator::campaign(api, campaign).await?;
            if campaign["state"] == "finished" || campaign["state"] == "cancelled" {
                return Ok(Some(End::CampaignFinished));
            }
        } else if self.at_most.is_none()
            && tallies.scripts_done.get() + tallies.rejected.get() >= self.scripts
        {
            return Ok(Some(End::ScriptsDone));
        }
        Ok(None)
    }
}

/// A bar, or lines.
enum View {
    Bar(ProgressBar),
    Lines { said_at: Option<Duration>, said: String },
}

impl View {
    fn new(scripts: u64) -> View {
        if !std::io::stderr().is_terminal() {
            return View::Lines { said_at: None, said: String::new() };
        }
        let bar = ProgressBar::new(scripts);
        let style =
            ProgressStyle::with_template("{elapsed_precise} [{wide_bar:.green}] {pos}/{len} done, {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        View::Bar(bar)
    }

    fn update(&mut self, tallies: &Tallies, scripts: u64, elapsed: Duration) {
        let words = format!(
            "{} connected, {} refused, {} lost, {} notices, {} reports",
            tallies.connected.get(),
            tallies.refused.get(),
            tallies.links_lost.get(),
            tallies.notices.get(),
            tallies.reports.get()
        );
        let done = tallies.scripts_done.get();
        match self {
            View::Bar(bar) => {
                bar.set_position(done);
                bar.set_message(words);
            }
            View::Lines { said_at, said } => {
                let line = format!("{done}/{scripts} done, {words}");
                if line != *said && said_at.is_none_or(|at| elapsed >= at + LINE_EVERY) {
                    say::aside(format_args!("{:>6.1} s  {line}", elapsed.as_secs_f64()));
                    (*said_at, *said) = (Some(elapsed), line);
                }
            }
        }
    }

    fn end(&mut self) {
        if let View::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
