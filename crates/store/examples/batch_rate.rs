//! How many rows a second the store on disk takes, every commit durable.
//!
//! `cargo run --release -p otaru-store --example batch_rate [devices] [directory]`
//!
//! Registers devices, fills a campaign over all of them, releases and offers it, and then writes batches of
//! progress reports: a few devices that report often, and many devices that report once. One batch at a time, as
//! a busy platform does; what a decision itself costs is not in it. A directory on the disk in question gives
//! figures about that disk; `/tmp` may be memory. With `NORMAL` set in the environment, commits are not waited for:
//! what remains is the processor's part.
#![expect(clippy::print_stdout, reason = "it is a tool for people")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use otaru_core::campaign::Policy;
use otaru_core::deployment::{Deployment, State, Underway};
use otaru_core::{Epoch, ServiceTime, WallTime};
use otaru_proto::{DeviceId, Percent};
use otaru_store::*;

const NOW: WallTime = WallTime(1_700_000_000_000);

/// A progress report as devices send it.
const PAYLOAD: &[u8] = br#"{"object_device_id":"64c0b2f8b8b2e7a1f0a1b2c3_sensor-000001","services":[{"service_id":"$ota","event_type":"upgrade_progress_report","event_time":"20261123T101500Z","event_id":"1700000000000","paras":{"result_code":0,"progress":42,"version":"V1.0.7","description":"downloading, 4200 of 10000 blocks written"}}]}"#;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), StoreError> {
    let mut arguments = std::env::args().skip(1);
    let devices: usize = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(100_000);
    let scratch = tempfile::tempdir().map_err(|error| StoreError::Unavailable(error.to_string()))?;
    let dir = arguments.next().map_or_else(|| scratch.path().to_owned(), PathBuf::from);
    let synchronous =
        if std::env::var_os("NORMAL").is_some() { Synchronous::Normal } else { Synchronous::Full };
    let options = SqliteOptions { synchronous, ..SqliteOptions::default() };
    let store = Store::open_sqlite(&dir, options).await?;
    let actor = Actor { name: "bench".to_owned(), project: store.boot(NOW).await?.project.key };

    let keys = register(&store, &actor, devices).await?;
    let campaign = fill(&store, &actor, devices).await?;
    offer(&store, &keys).await?;
    begin(&store, &keys).await?;
    reports(&store, "1 600 reports over 100 devices", &keys, 100, 16).await?;
    reports(&store, "1 000 reports over 1 000 devices", &keys, 1_000, 1).await?;
    reports(&store, "1 000 reports over the same 1 000 devices", &keys[..1_000], 1_000, 1).await?;
    reports(&store, "64 reports over 64 devices", &keys, 64, 1).await?;
    connects(&store, devices).await?;

    let start = clock();
    let counts = store.recount(campaign).await?;
    println!("recount of {}: {:?}", counts.total(), start.elapsed());
    let (_, counters) = store.campaign_by_key(campaign).await?.unwrap_or_else(|| panic!("it was made"));
    assert_eq!(counters, counts);
    let start = clock();
    drop(store);
    println!("closing: {:?}", start.elapsed());
    Ok(())
}

async fn register(store: &Store, actor: &Actor, devices: usize) -> Result<Vec<DeviceKey>, StoreError> {
    store.create_product(actor, "product", "", NOW).await?;
    let start = clock();
    let mut keys = Vec::with_capacity(devices);
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..devices {
        if tasks.len() >= 64 {
            keys.extend(tasks.join_next().await.map(|made| made.unwrap_or_else(|stop| panic!("{stop}"))));
        }
        let (store, actor) = (store.clone(), actor.clone());
        tasks.spawn(async move {
            let device = NewDevice {
                device_id: device_id(number),
                node_id: format!("sensor-{number:07}"),
                product_id: "product".to_owned(),
                gateway_id: None,
                name: None,
                tags: BTreeMap::new(),
                auth: otaru_store::Auth::Secret,
                sealed_secret: Some(vec![0; 61]),
                fingerprint: None,
            };
            store.create_device(&actor, device, NOW).await.map(|made| made.row.key)
        });
    }
    while let Some(made) = tasks.join_next().await {
        keys.push(made.unwrap_or_else(|stop| panic!("{stop}")));
    }
    let mut keys = keys.into_iter().collect::<Result<Vec<_>, _>>()?;
    keys.sort();
    say("devices registered, 64 at once", devices, start.elapsed());
    Ok(keys)
}

async fn fill(store: &Store, actor: &Actor, devices: usize) -> Result<CampaignKey, StoreError> {
    let new = NewCampaign {
        campaign_id: "campaign".to_owned(),
        name: String::new(),
        started: true,
        start_at: None,
        product_id: "product".to_owned(),
        packages: Vec::new(),
        policy: Policy::default(),
        targets: Targets::Product,
        ext_info: None,
    };
    let campaign = store.create_campaign(actor, new, NOW).await?.key;
    let (start, mut slowest) = (clock(), Duration::ZERO);
    loop {
        let step = clock();
        let done = store.fill_campaign(campaign, 5_000, NOW, &Deployment::queued(), &[]).await?.done;
        slowest = slowest.max(step.elapsed());
        if done {
            break;
        }
    }
    say(&format!("deployments filled, by 5 000 (slowest step {slowest:?})"), devices, start.elapsed());
    let start = clock();
    let released = Deployment::released(ServiceTime(1_000_000));
    while !store.release_chunk(campaign, 5_000, NOW, &released).await?.done {}
    say("deployments released, by 5 000", devices, start.elapsed());
    Ok(campaign)
}

/// Released to offered, with a line of the outbox each.
async fn offer(store: &Store, keys: &[DeviceKey]) -> Result<(), StoreError> {
    let start = clock();
    for chunk in keys.chunks(1_000) {
        let wanted = Wanted { devices: chunk.to_vec(), ..Wanted::default() };
        store
            .transact(NOW, wanted, |loaded| {
                let mut changes = Changes::default();
                for (device, view) in loaded.devices {
                    for mut row in view.unfinished {
                        row.deployment.state = State::Offered(underway());
                        let line = OutboxLine {
                            device,
                            via: device,
                            epoch: Epoch(1),
                            deployment: row.key,
                            say: Say::Notice { package: 0, attempt: 1 },
                        };
                        changes.outbox.push(line);
                        changes.deployments.push(row);
                    }
                }
                (changes, ())
            })
            .await?;
    }
    say("deployments offered, by 1 000", keys.len(), start.elapsed());
    Ok(())
}

/// The first report of each device, in scattered order: offered to running.
async fn begin(store: &Store, keys: &[DeviceKey]) -> Result<(), StoreError> {
    let mut scattered = Scattered { keys, place: 0 };
    let (start, mut rows) = (clock(), 0);
    while rows < keys.len() && start.elapsed() < Duration::from_secs(30) {
        let wanted = Wanted { devices: scattered.next(1_000), ..Wanted::default() };
        rows += store.transact(NOW, wanted, |loaded| progressed(loaded, 1)).await?.answer;
    }
    say("first reports (offered to running), 1 000 over 1 000 devices", rows, start.elapsed());
    Ok(())
}

/// Steps of a prime through all devices: at random for the page cache, the same in every run.
struct Scattered<'k> {
    keys: &'k [DeviceKey],
    place: usize,
}

impl Scattered<'_> {
    fn next(&mut self, count: usize) -> Vec<DeviceKey> {
        let step = |_| {
            self.place = (self.place + 7_919) % self.keys.len();
            self.keys[self.place]
        };
        (0..count).map(step).collect()
    }
}

async fn reports(
    store: &Store,
    what: &str,
    keys: &[DeviceKey],
    per_batch: usize,
    each: usize,
) -> Result<(), StoreError> {
    let mut scattered = Scattered { keys, place: 0 };
    let few = scattered.next(per_batch);
    let mut slowest = Duration::ZERO;
    let computed_before = computed("store-writer");
    let (mut rows, start) = (0, clock());
    while start.elapsed() < Duration::from_secs(5) {
        // Those who report often are the same ones; those who report once are others each time.
        let devices = if each > 1 { few.clone() } else { scattered.next(per_batch) };
        let step = clock();
        let wanted = Wanted { devices, ..Wanted::default() };
        let written = store.transact(NOW, wanted, move |loaded| progressed(loaded, each)).await?;
        slowest = slowest.max(step.elapsed());
        rows += written.answer;
    }
    let each_micros = (computed("store-writer") - computed_before) * 1e6 / rows as f64;
    let what = format!("{what} (slowest batch {slowest:.1?}, writer computes {each_micros:.1} us a report)");
    say(&what, rows, start.elapsed());
    Ok(())
}

fn progressed(loaded: Loaded, each: usize) -> (Changes, usize) {
    let mut changes = Changes::default();
    for (device, view) in loaded.devices {
        for mut row in view.unfinished {
            for _ in 0..each {
                changes.reports.push(NewReport {
                    device,
                    deployment: Some(row.key),
                    received_at: NOW,
                    payload: bytes::Bytes::from_static(PAYLOAD),
                    reading: r#"{"progress":42,"result_code":0}"#.to_owned(),
                });
            }
            let percent = row.deployment.progress.map_or(0, Percent::get);
            row.deployment.state = State::Running(underway());
            row.deployment.progress = Percent::new(i64::from((percent + 1) % 100)).ok();
            row.deployment.reported_version = Some("V1.0.7".to_owned());
            changes.deployments.push(row);
        }
    }
    let rows = changes.reports.len();
    (changes, rows)
}

async fn connects(store: &Store, devices: usize) -> Result<(), StoreError> {
    let (start, asked) = (clock(), 100_000.min(devices));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..asked {
        if tasks.len() >= 64 {
            tasks.join_next().await;
        }
        let (store, id) = (store.clone(), device_id(number * 7_919 % devices));
        tasks.spawn(async move { store.connect_facts(&id).await });
    }
    while tasks.join_next().await.is_some() {}
    say("facts for connecting, 64 at once", asked, start.elapsed());
    let ids: Vec<DeviceId> = (0..30_000.min(devices)).map(|n| device_id(n * 7_919 % devices)).collect();
    let start = clock();
    let known = store.keys_of(&ids).await?;
    say("ids of a list checked", known.len(), start.elapsed());
    Ok(())
}

fn underway() -> Underway {
    let json = r#"{"told_in":1,"until":86400000}"#;
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}"))
}

fn device_id(number: usize) -> DeviceId {
    DeviceId::parse(&format!("64c0b2f8b8b2e7a1f0a1b2c3_sensor-{number:07}"))
        .unwrap_or_else(|error| panic!("{error}"))
}

#[expect(clippy::disallowed_methods, reason = "a benchmark looks at the clock")]
fn clock() -> Instant {
    Instant::now()
}

fn say(what: &str, rows: usize, took: Duration) {
    println!("{:>9.0}/s  {what}: {rows} in {took:.2?}", rows as f64 / took.as_secs_f64());
}

/// Seconds that the threads of this process with this name have computed, for telling a busy machine from a slow
/// store. Linux only; 0 elsewhere.
fn computed(name: &str) -> f64 {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return 0.0 };
    let of_thread = |path: PathBuf| -> Option<f64> {
        let stat = std::fs::read_to_string(path.join("stat")).ok()?;
        let (before, after) = stat.rsplit_once(") ")?;
        // utime and stime are fields 14 and 15, in hundredths of a second.
        let field = |n: usize| after.split(' ').nth(n - 3).and_then(|text| text.parse::<f64>().ok());
        before.ends_with(name).then_some(())?;
        Some((field(14)? + field(15)?) / 100.0)
    };
    threads.filter_map(|thread| of_thread(thread.ok()?.path())).sum()
}
