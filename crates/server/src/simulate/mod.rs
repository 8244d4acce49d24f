//! `otaru simulate`: a crowd of devices against any server that speaks the protocol.
//!
//! Devices know nothing but the address and their secret. If a server of this kind is named with `--url`, they are
//! registered there first, and `--campaign` gives them something to do.
//!
//! Start at `profile` for what can be asked for; `cast` is who takes part, `stage` what an operator does for them,
//! `watch` when it ends, `report` what came of it.
//!
//! Always true: the exit status is 0 only if everybody who was to connect was connected, and a campaign that was
//! waited for ended as the scripts say.

mod cast;
mod profile;
mod report;
mod stage;
mod watch;

use std::process::ExitCode;

use anyhow::Context as _;
use otaru_fleet::{Crowd, Downloader, Endpoint, Site, TlsTrust};
use tokio::time::Instant;

use crate::cli::SimulateArgs;
use crate::client::ApiClient;
use crate::config::LogFormat;
use crate::serve::Signals;
use crate::{exit, logging, operator, say, token};
use cast::Cast;
use profile::Profile;
use report::{CampaignReport, Report};
use watch::{End, Goal};

pub(crate) fn run(args: &SimulateArgs) -> anyhow::Result<ExitCode> {
    if args.print_profile {
        say::out(profile::DEFAULT.trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut profile = Profile::read(args.profile.as_deref())?;
    profile.connects_per_sec = args.connects_per_sec.unwrap_or(profile.connects_per_sec);
    profile.downloads &= !args.no_downloads;
    let cast = Cast::draw(args, &profile)?;
    let log = std::env::var("OTARU_LOG").unwrap_or_else(|_| "error".to_owned());
    logging::start(&log, LogFormat::Text);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut signals = Signals::install()?;
        let report = simulate(args, &profile, &cast, &mut signals).await?;
        if args.json {
            say::out(report.json())?;
        } else {
            report.print()?;
        }
        Ok(judge(&report))
    })
}

async fn simulate(
    args: &SimulateArgs,
    profile: &Profile,
    cast: &Cast,
    signals: &mut Signals,
) -> anyhow::Result<Report> {
    let trust = match (&args.ca, args.insecure) {
        (_, true) => Some(TlsTrust::Anyone),
        (Some(path), false) => Some(TlsTrust::Ca(path.clone())),
        (None, false) => None,
    };
    let (endpoint, downloader) = doors(args, profile, trust.as_ref())?;
    let api = match &args.url {
        None => None,
        Some(url) => {
            let token = token::token(args.token.as_deref(), args.data_dir.as_deref())?;
            Some(ApiClient::new(url, &token, trust.as_ref())?)
        }
    };
    // Whoever mistyped the address learns it now, and not from a crowd that tries for minutes.
    endpoint.dial().await.context("no device can connect")?;

    let mut campaign = None;
    if let Some(api) = &api {
        let made = stage::register(api, &args.product, cast).await?;
        let all = cast.scripts().count();
        say::aside(format_args!("{all} devices, {made} of them newly registered"));
        if args.campaign {
            let id = stage::start_campaign(api, &args.product, profile, cast).await?;
            say::aside(format_args!("campaign {id} is started"));
            campaign = Some((api, id));
        }
    }
    let begin = Instant::now();
    let mut crowd = Crowd::at(Site::new(endpoint, downloader, profile.connects_per_sec));
    for device in &cast.devices {
        crowd.add(device.clone());
    }
    let goal = Goal {
        scripts: cast.scripts().count() as u64,
        connecting: cast.connecting(),
        at_most: args.length,
        campaign: campaign.as_ref().map(|(api, id)| (*api, id.as_str())),
    };
    let end = tokio::select! {
        end = watch::watch(&goal, crowd.tallies(), begin) => end?,
        () = signals.first() => End::Interrupted,
    };
    let mut report = Report::new(end, begin.elapsed(), args.seed, cast, crowd.tallies().now());
    if let Some((api, id)) = campaign {
        let shown = operator::deployments(api, &id).await?;
        report.campaign = Some(CampaignReport::of(id, end == End::CampaignFinished, cast, &shown));
    }
    let panicked = crowd.stop().await;
    anyhow::ensure!(panicked == 0, "{panicked} simulated devices panicked");
    Ok(report)
}

/// Where devices connect, and how they fetch.
fn doors(
    args: &SimulateArgs,
    profile: &Profile,
    trust: Option<&TlsTrust>,
) -> anyhow::Result<(Endpoint, Downloader)> {
    let door = args.connect.as_ref().context("--connect ADDR says where devices connect to")?;
    let tls = trust.map(TlsTrust::client_config).transpose()?;
    let downloader = match &tls {
        _ if !profile.downloads => Downloader::pretending(),
        Some(tls) => Downloader::with_tls(tls.clone()),
        None => Downloader::default(),
    };
    let tls = if door.is_secure {
        let why =
            "mqtts needs --ca FILE, the certificate of the authority or the server's own, or --insecure";
        Some(tls.context(why)?)
    } else {
        None
    };
    Ok((Endpoint { host: door.host.clone(), port: door.port, tls }, downloader))
}

/// Says on stderr what is wrong with a run, and how to end for it.
fn judge(report: &Report) -> ExitCode {
    let did = &report.did;
    let absent = report.connecting.saturating_sub(did.arrived);
    if absent > 0 && report.end != End::Interrupted {
        say::aside(format_args!(
            "otaru: {absent} of {} devices were never connected ({} connections refused, {} lost or not made); are \
             they registered with this secret? OTARU_LOG=debug says why",
            report.connecting, did.refused, did.links_lost
        ));
        return ExitCode::from(exit::FAILURE);
    }
    let is_untrue = report.campaign.as_ref().is_some_and(CampaignReport::is_untrue);
    if is_untrue || (report.campaign.is_some() && did.notices_repeated > 0) {
        say::aside(format_args!(
            "otaru: the campaign did not go as the scripts say ({} notices were heard again)",
            did.notices_repeated
        ));
        return ExitCode::from(exit::UNTRUE);
    }
    ExitCode::SUCCESS
}
