//! `otaru demo`: the platform, a crowd of devices and a campaign, in one process and through public doors only.
//!
//! What happens here is what an operator would do with `curl`: products, devices, packages and campaigns are made
//! over HTTP, devices connect over MQTT, and what is shown is read from the API.
//!
//! Start at `cast` for who takes part; `stage` is what the operator does, `show` what is seen meanwhile. What came
//! of it is `verdict`'s, beside this folder.

mod cast;
mod show;
mod stage;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use otaru_fleet::{Crowd, Downloader, Endpoint, Site};
use tokio::sync::oneshot;

use crate::cli::DemoArgs;
use crate::client::ApiClient;
use crate::config::{Raw, check};
use crate::platform::{Listening, Platform};
use crate::serve::Signals;
use crate::{exit, logging, operator, verdict};
pub(crate) use cast::Cast;

/// The demo's timers are small, so that silence shows within half a minute. Each is well above what a healthy
/// device needs at the demo's pace.
struct Patience {
    /// Devices come online at 500 a second; those that never do are given up after this.
    online: Duration,
    /// A connected device answers within milliseconds.
    answer: Duration,
    /// The slowest script takes about ten seconds.
    result: Duration,
    /// A Java-style device pauses half a second before it reboots.
    confirm: Duration,
}

impl Patience {
    /// A larger crowd needs longer: a hundred devices more, a second more. An answer is one small message; for it
    /// a fifth of that is plenty.
    fn with(devices: u32) -> Patience {
        let crowd = Duration::from_secs(u64::from(devices / 100));
        Patience {
            online: Duration::from_secs(15) + crowd,
            answer: Duration::from_secs(3) + crowd / 5,
            result: Duration::from_secs(20) + crowd,
            confirm: Duration::from_secs(4) + crowd,
        }
    }
}

pub(crate) fn run(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    let dir = tempfile::tempdir().context("the demo keeps its data in a temporary directory")?;
    let patience = Patience::with(args.devices);
    let config = check(settings(dir.path(), &patience), crate::config::Secrets::default())?;
    let log = std::env::var("OTARU_LOG").unwrap_or_else(|_| "error".to_owned());
    logging::start(&log, config.log_format);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut signals = Signals::install()?;
        let platform = Platform::open(config).await?;
        let token = platform.engine().ensure_admin(None).await?.context("a new store has no admin yet")?;
        let listening = platform.listening().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(platform.serve(async {
            // An error says that whoever stops is gone, which is the end as well.
            let _ = stopped.await;
        }));
        let played = tokio::select! {
            played = play(args, &listening, &token) => played,
            () = signals.first() => Err(anyhow::anyhow!("interrupted")),
        };
        let code = match played {
            Ok(Played { crowd, campaign_id, example, is_true }) => {
                if !args.exit {
                    show::tour(&listening, &token, &campaign_id, &example);
                    signals.first().await;
                }
                let panicked = crowd.stop().await;
                anyhow::ensure!(panicked == 0, "{panicked} simulated devices panicked");
                Ok(if is_true { ExitCode::SUCCESS } else { ExitCode::from(exit::UNTRUE) })
            }
            Err(error) => Err(error),
        };
        let _ = stop.send(());
        serving.await?;
        code
    })
}

/// A campaign that has ended.
struct Played {
    crowd: Crowd,
    campaign_id: String,
    /// A device worth looking at: one that failed, if any did.
    example: String,
    /// Every device ended as its script says.
    is_true: bool,
}

async fn play(args: &DemoArgs, listening: &Listening, token: &str) -> anyhow::Result<Played> {
    let http = listening.http.context("the demo's settings have an HTTP listener")?;
    let mqtt = listening.mqtt.context("the demo's settings have an MQTT listener")?;
    let api = ApiClient::new(&format!("http://{http}"), token, None)?;
    let cast = Cast::draw(args.devices, args.seed)?;

    show::opening(listening, &cast);
    let package = stage::prepare(&api, &cast).await?;
    let endpoint = Endpoint { host: mqtt.ip().to_string(), port: mqtt.port(), tls: None };
    let site = Site::new(endpoint, Downloader::default(), otaru_fleet::limits::CONNECTS_PER_SEC);
    let mut crowd = Crowd::at(site);
    for player in &cast.players {
        crowd.add(player.device.clone());
    }
    let campaign = stage::start(&api, &package).await?;
    let took = show::watch(&api, &campaign, args.devices, crowd.tallies()).await?;

    let deployments = operator::deployments(&api, &campaign).await?;
    let verdict = verdict::compare(cast.scripts(), &deployments);
    let tallies = crowd.tallies().now();
    show::breakdown(&deployments, took, &tallies);
    show::verdict(&verdict);
    // A notice said twice is run twice by real devices.
    let is_true = verdict.differences.is_empty() && tallies.notices_repeated == 0;
    Ok(Played { crowd, campaign_id: campaign, example: verdict.example, is_true })
}

/// Free ports, a temporary directory, and timers for somebody who watches.
fn settings(dir: &std::path::Path, patience: &Patience) -> Raw {
    let mut raw = Raw::new();
    let millis = |span: Duration| format!("{}ms", span.as_millis());
    for (key, value) in [
        ("data_dir", dir.display().to_string()),
        ("mqtt", "127.0.0.1:0".to_owned()),
        ("http", "127.0.0.1:0".to_owned()),
        ("timers.online", millis(patience.online)),
        ("timers.answer", millis(patience.answer)),
        ("timers.result", millis(patience.result)),
        ("timers.confirm", millis(patience.confirm)),
        // Simulated devices listen from the moment they are connected.
        ("timers.settle", "200ms".to_owned()),
    ] {
        raw.add_setting(&format!("{key}={value}"));
    }
    raw
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demos_settings_are_a_configuration_without_mistakes() {
        let config =
            check(settings(std::path::Path::new("/nowhere"), &Patience::with(200)), Default::default());
        let config = config.unwrap_or_else(|mistakes| panic!("{mistakes}"));
        assert_eq!(config.engine.timers.online_ms, 17_000);
        assert!(config.warnings.is_empty());
    }
}
