//! Plays a scenario to its end.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use otaru_core::deployment::{Label, OutcomeKind};
use otaru_engine::{
    ActError, CampaignError, CampaignRequest, Declared, DeploymentSelection, DeviceRequest, DeviceSelection,
    Engine, Operator, PackageDelivery, PackageRequest,
};
use otaru_fleet::Random;
use otaru_proto::{DeviceId, Downlink, EventBody, PackageKind, decode_downlink, decode_uplink};
use otaru_store::{BlobStore, DeviceKey, Faults, Store};

use crate::device::{Device, Does, Habit};
use crate::events::{Event, OperatorDoes};
use crate::model::may_end;
use crate::promises::{
    Broken, Sight, Witness, acknowledgements_come_in_order, what_is_acknowledged_is_in_the_history,
};
use crate::scenario::{Act, Scenario};
use crate::world::{LifeClock, LinkId, Mail, Mailbox, SECRET, Uplinks, connect, open};

/// What came of a play.
#[derive(Debug)]
pub struct Played {
    /// Changes with everything that happened: two plays of one seed have the same.
    pub fingerprint: u64,
    /// Events that were played.
    pub events: u64,
    /// How often the platform was killed.
    pub crashes: u32,
    /// Milliseconds of the virtual clock.
    pub lasted: u64,
    /// What happened, if it was to be told.
    pub story: Vec<String>,
    /// The promise that was broken.
    pub broken: Option<Broken>,
    /// How deployments ended.
    pub endings: BTreeMap<OutcomeKind, u64>,
}

/// The versions that devices run, and that the first and the second campaign want.
const VERSIONS: [&str; 3] = ["1.0", "2.0", "3.0"];

/// An operator who is not answered asks again so much later, in milliseconds.
const ASK_AGAIN: u64 = 2_000;

/// Plays a scenario. With `tell`, what happens is told in words.
///
/// # Panics
///
/// If the runtime cannot be made.
#[must_use]
pub fn play(scenario: &Scenario, tell: bool) -> Played {
    let mut stage = Stage::new(scenario, tell);
    stage.broken = stage.run_to_the_end().err();
    Played {
        fingerprint: stage.fingerprint,
        events: stage.events,
        crashes: stage.crashes,
        lasted: stage.now,
        story: stage.story,
        broken: stage.broken,
        endings: stage.endings,
    }
}

struct Link {
    device: usize,
    uplinks: Uplinks,
    is_up: bool,
    /// Handed over and not acknowledged, oldest first.
    open: VecDeque<(u16, Vec<u8>)>,
    /// Nothing sent later arrives before this, unless it overtakes.
    last_up: u64,
    last_down: u64,
}

struct Stage<'a> {
    scenario: &'a Scenario,
    random: Random,
    store: Store,
    faults: Faults,
    blobs: BlobStore,
    jumped: Arc<AtomicI64>,
    now: u64,
    queue: BinaryHeap<Reverse<(u64, u64, Event)>>,
    queued: u64,
    devices: Vec<Device>,
    keys: Vec<DeviceKey>,
    links: BTreeMap<LinkId, Link>,
    linked: Vec<Option<LinkId>>,
    next_link: u64,
    /// By device; what it heard of them, it knows itself.
    notices_said: Vec<u32>,
    witness: Witness,
    packages: Vec<String>,
    first_campaign: String,
    /// What the operator has not done yet.
    to_do: VecDeque<OperatorDoes>,
    is_calm: bool,
    events: u64,
    crashes: u32,
    fingerprint: u64,
    tell: bool,
    story: Vec<String>,
    broken: Option<Broken>,
    endings: BTreeMap<OutcomeKind, u64>,
}

/// How a life of the platform ended.
enum LifeEnd {
    Killed { down: u64 },
    AllIsOver,
}

/// What an operator who meant single deployments does not try again: the campaign is in another state.
fn settled(error: ActError) -> Result<(), CampaignError> {
    match error {
        ActError::Campaign(error) => Err(error),
        ActError::Store(error) => Err(CampaignError::Store(error)),
        // He asks again.
        ActError::Preparing(id) | ActError::TooManyWaiting(id, _) => Err(CampaignError::Unknown(id)),
        ActError::NoDevices | ActError::TooManyDevices(_) => Ok(()),
    }
}

fn trouble(what: &'static str) -> impl Fn(String) -> Broken {
    move |seen| Broken { promise: what, seen }
}

impl<'a> Stage<'a> {
    fn new(scenario: &'a Scenario, tell: bool) -> Stage<'a> {
        let (store, faults) = Store::memory_with_faults();
        let devices: Vec<Device> = scenario
            .devices
            .iter()
            .enumerate()
            .map(|(n, (habit, says_again))| {
                let id = DeviceId::parse(&format!("p_{n}")).expect("the id is made of letters and digits");
                let runs = if *habit == Habit::HasIt { VERSIONS[1] } else { VERSIONS[0] };
                Device::new(id, *habit, *says_again, runs, Random::fork(scenario.seed, 1_000 + n as u64))
            })
            .collect();
        Stage {
            scenario,
            random: Random::fork(scenario.seed, 2),
            store,
            faults,
            blobs: BlobStore::memory(),
            jumped: Arc::default(),
            now: 0,
            queue: BinaryHeap::new(),
            queued: 0,
            linked: vec![None; devices.len()],
            notices_said: vec![0; devices.len()],
            devices,
            keys: Vec::new(),
            links: BTreeMap::new(),
            next_link: 1,
            witness: Witness::default(),
            packages: Vec::new(),
            first_campaign: String::new(),
            to_do: VecDeque::new(),
            is_calm: false,
            events: 0,
            crashes: 0,
            fingerprint: 0xcbf2_9ce4_8422_2325,
            tell,
            story: Vec::new(),
            broken: None,
            endings: BTreeMap::new(),
        }
    }

    /// Life after life, until everything has come to its end.
    fn run_to_the_end(&mut self) -> Result<(), Broken> {
        self.write_the_programme();
        loop {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .map_err(|error| trouble("a_runtime_can_be_made")(error.to_string()))?;
            let end = runtime.block_on(self.life())?;
            // Everything that the platform was about to do ends here, in the middle of it.
            drop(runtime);
            match end {
                LifeEnd::AllIsOver => return Ok(()),
                LifeEnd::Killed { down } => self.is_down(down),
            }
        }
    }

    fn write_the_programme(&mut self) {
        let scenario = self.scenario;
        for device in 0..self.devices.len() {
            let at = self.random.below(scenario.switched_on_within);
            self.at(at, Event::SwitchOn(device));
            self.cut_someday(device, at);
        }
        let trouble = &scenario.trouble;
        for (at, turns, down) in trouble.crashes.clone() {
            self.at(at, Event::Crash { turns, down });
        }
        for (at, times) in trouble.failures.clone() {
            self.at(at, Event::Fail(times));
        }
        for (at, span) in trouble.stalls.clone() {
            self.at(at, Event::Stall(span));
        }
        for (at, by) in trouble.jumps.clone() {
            self.at(at, Event::Jump(by));
        }
        for (at, act) in &scenario.operator {
            let does = match act {
                Act::Pause => OperatorDoes::Pause,
                Act::Resume => OperatorDoes::Resume,
                Act::Cancel => OperatorDoes::Cancel,
                Act::Stop(device) => OperatorDoes::Stop(*device),
                Act::Retry(device) => OperatorDoes::Retry(*device),
                Act::Confirm(device) => OperatorDoes::Confirm(*device),
            };
            self.at(*at, Event::Operator(does));
        }
        if let Some((at, _)) = scenario.second {
            self.at(at, Event::Operator(OperatorDoes::BeginSecond));
        }
        self.at(scenario.calm_at, Event::Calm);
        self.at(scenario.look_every, Event::Look);
    }

    fn at(&mut self, at: u64, event: Event) {
        self.queued += 1;
        self.queue.push(Reverse((at, self.queued, event)));
    }

    fn cut_someday(&mut self, device: usize, from: u64) {
        let every = self.scenario.trouble.cuts_every;
        if every > 0 && !self.is_calm {
            let after = every / 2 + self.random.below(every);
            self.at(from + after, Event::CutSomeday(device));
        }
    }

    /// The platform is gone: all links are, and nobody is let in for a while.
    fn is_down(&mut self, down: u64) {
        self.crashes += 1;
        let links: Vec<LinkId> = self.links.keys().copied().collect();
        for link in links {
            self.loses(link, down);
        }
        self.faults.resume();
        self.faults.heal();
        self.now += down;
    }

    // --- A life --------------------------------------------------------------------------------------------------

    async fn life(&mut self) -> Result<LifeEnd, Broken> {
        let clock =
            Arc::new(LifeClock::starting_at(Duration::from_millis(self.now), Arc::clone(&self.jumped)));
        let engine = loop {
            match open(&self.store, &self.blobs, &clock).await {
                Ok(engine) => break engine,
                // As whoever supervises it would.
                Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
            }
        };
        let operator = self.set_the_stage(&engine).await.map_err(trouble("a_platform_can_be_furnished"))?;
        let mailbox = Arc::new(Mailbox::default());
        loop {
            for (link, mail) in mailbox.take() {
                self.now = clock.now().max(self.now);
                self.takes(link, mail).await?;
            }
            let Some(Reverse((at, _, _))) = self.queue.peek() else {
                return Err(trouble("everything_ends")("nothing is left to happen".to_owned()));
            };
            if *at > clock.now() {
                let until = clock.instant_of(*at);
                tokio::select! {
                    biased;
                    () = mailbox.arrived() => continue,
                    () = tokio::time::sleep_until(until) => {}
                }
            }
            let Some(Reverse((_, _, event))) = self.queue.pop() else { continue };
            self.now = clock.now().max(self.now);
            self.events += 1;
            self.note(&event);
            if let Event::Crash { turns, down } = event {
                if self.is_calm {
                    continue;
                }
                for _ in 0..turns {
                    tokio::task::yield_now().await;
                }
                return Ok(LifeEnd::Killed { down });
            }
            let is_look = event == Event::Look;
            if self.happens(event, &engine, &operator, &mailbox).await? {
                engine.stop().await;
                return Ok(LifeEnd::AllIsOver);
            }
            if is_look || self.scenario.look_every < 60_000 {
                self.looks().await?;
            }
            assert!(!engine.is_broken(), "a part of the engine has ended");
        }
    }

    async fn set_the_stage(&mut self, engine: &Engine) -> Result<Operator, String> {
        const TOKEN: &str = "otaru_sim";
        fn text(error: impl std::fmt::Display) -> String {
            error.to_string()
        }
        engine.ensure_admin(Some(TOKEN)).await.map_err(text)?;
        let by = engine.operator(TOKEN).await.map_err(text)?;
        if !self.first_campaign.is_empty() {
            return Ok(by);
        }
        engine.create_product(&by, Some("p".into()), "Pump".into()).await.map_err(text)?;
        for device in &self.devices {
            let request = DeviceRequest {
                node_id: device.id.as_str().trim_start_matches("p_").to_owned(),
                product_id: "p".into(),
                secret: Some(SECRET.into()),
                ..DeviceRequest::default()
            };
            let registered = engine.register_device(&by, request).await.map_err(text)?;
            self.keys.push(registered.record.row.key);
        }
        for version in &VERSIONS[1..] {
            let bytes = Bytes::from(format!("image {version}"));
            let body = futures_util::stream::iter([Ok::<_, std::io::Error>(bytes)]);
            let (artifact, _) = engine.ingest(&by, Declared::default(), body).await.map_err(text)?;
            let request = PackageRequest {
                product_id: "p".into(),
                kind: PackageKind::Firmware,
                version: (*version).into(),
                content: otaru_engine::NewContent::Kept(artifact.artifact_id),
                file_name: "app.bin".into(),
                source_versions: Vec::new(),
                custom_info: None,
                delivery: PackageDelivery::Token,
            };
            self.packages.push(engine.create_package(&by, request).await.map_err(text)?.package_id);
        }
        let request = self.campaign(0, self.scenario.policy.clone());
        self.first_campaign = engine.create_campaign(&by, request).await.map_err(text)?.campaign_id;
        let delay = Duration::from_millis(self.scenario.trouble.store_delay);
        self.faults.slow(delay, self.scenario.seed);
        Ok(by)
    }

    fn campaign(&self, package: usize, policy: otaru_core::campaign::Policy) -> CampaignRequest {
        CampaignRequest {
            name: format!("campaign {package}"),
            package_ids: vec![self.packages[package].clone()],
            devices: DeviceSelection::Product("p".into()),
            policy,
            ext_info: None,
            start_at: None,
            start: true,
        }
    }

    // --- What happens --------------------------------------------------------------------------------------------

    /// Plays one event. Answers whether everything is over.
    async fn happens(
        &mut self,
        event: Event,
        engine: &Engine,
        operator: &Operator,
        mailbox: &Arc<Mailbox>,
    ) -> Result<bool, Broken> {
        match event {
            Event::SwitchOn(device) => {
                if self.linked[device].is_none() && !self.devices[device].is_gone {
                    let link = LinkId(self.next_link);
                    self.next_link += 1;
                    let uplinks = connect(engine, self.devices[device].id.clone(), link, mailbox);
                    let (open, last_up, last_down) = Default::default();
                    self.links.insert(link, Link { device, uplinks, is_up: false, open, last_up, last_down });
                    self.linked[device] = Some(link);
                }
            }
            Event::Arrives { link, ticket, payload } => self.arrives(link, ticket, payload),
            Event::Hears { link, payload } => self.hears(link, &payload),
            Event::HearsAcknowledgement { link, ticket } => {
                if let Some(link) = self.links.get(&link) {
                    self.devices[link.device].is_acknowledged(ticket);
                }
            }
            Event::Cut(link) => self.loses(link, 0),
            Event::CutSomeday(device) => {
                if let Some(link) = self.linked[device].filter(|_| !self.is_calm) {
                    self.loses(link, 0);
                }
                self.cut_someday(device, self.now);
            }
            Event::Woken { device, wake } => {
                let does = self.devices[device].is_woken(wake);
                self.perform(device, does);
            }
            Event::Fail(times) if !self.is_calm => self.faults.fail(times),
            Event::Stall(span) if !self.is_calm => {
                self.faults.stall();
                self.at(self.now + span, Event::Resume);
            }
            Event::Fail(_) | Event::Stall(_) => {}
            Event::Resume => self.faults.resume(),
            Event::Jump(by) => {
                self.jumped.fetch_add(by, Ordering::Relaxed);
            }
            Event::Operator(does) => {
                self.to_do.push_back(does);
                if self.to_do.len() == 1 {
                    self.operates(engine, operator).await;
                }
            }
            Event::OperatorInsists => self.operates(engine, operator).await,
            Event::Calm => {
                self.is_calm = true;
                self.faults.heal();
                self.faults.resume();
            }
            Event::Crash { .. } => {}
            Event::Look => {
                if self.is_calm && self.is_everything_over().await? {
                    return Ok(true);
                }
                if self.now > self.scenario.ends_at {
                    let left = self.left().await;
                    return Err(trouble("everything_ends")(left));
                }
                self.at(self.now + self.scenario.look_every, Event::Look);
            }
        }
        Ok(false)
    }

    /// Does the first thing that is to be done; what comes after it waits until it is done.
    async fn operates(&mut self, engine: &Engine, operator: &Operator) {
        let Some(&does) = self.to_do.front() else { return };
        let id = self.first_campaign.clone();
        let patience = Duration::from_millis(ASK_AGAIN);
        let act = async |act, device: Option<usize>| {
            let device_ids = device.map(|device| vec![self.devices[device].id.to_string()]);
            let chosen = DeploymentSelection { device_ids, ..DeploymentSelection::default() };
            engine.act(operator, &id, act, chosen).await.map(|_| ())
        };
        let done = async {
            match does {
                OperatorDoes::Pause => engine.pause_campaign(operator, &id).await.map(|_| ()),
                OperatorDoes::Resume => engine.resume_campaign(operator, &id).await.map(|_| ()),
                OperatorDoes::Cancel => engine.cancel_campaign(operator, &id).await.map(|_| ()),
                OperatorDoes::BeginSecond => match &self.scenario.second {
                    Some((_, policy)) => {
                        engine.create_campaign(operator, self.campaign(1, policy.clone())).await.map(|_| ())
                    }
                    None => Ok(()),
                },
                OperatorDoes::Stop(device) => {
                    act(otaru_core::campaign::Act::Stop, device).await.or_else(settled)
                }
                OperatorDoes::Retry(device) => {
                    act(otaru_core::campaign::Act::Retry, device).await.or_else(settled)
                }
                OperatorDoes::Confirm(device) => {
                    act(otaru_core::campaign::Act::Confirm, device).await.or_else(settled)
                }
            }
        };
        // Nobody else moves while it is waited for, so that it is not waited for long; a store that stands still would
        // keep standing.
        let done = tokio::time::timeout(patience, done).await;
        let is_done = match done {
            Ok(Ok(()) | Err(CampaignError::WrongState { .. })) => true,
            // It may have been carried out all the same, and a campaign that was made is there.
            Ok(Err(_)) | Err(_) if does == OperatorDoes::BeginSecond => {
                let begun = self
                    .store
                    .campaigns(
                        otaru_store::CampaignFilter::default(),
                        otaru_store::Page { after: None, limit: 10 },
                    )
                    .await;
                begun.is_ok_and(|campaigns| campaigns.len() > 1)
            }
            Ok(Err(_)) | Err(_) => false,
        };
        if is_done {
            self.to_do.pop_front();
        }
        if !self.to_do.is_empty() {
            self.at(self.now + ASK_AGAIN, Event::OperatorInsists);
        }
    }

    /// A message of a device reaches the platform.
    fn arrives(&mut self, id: LinkId, ticket: u16, payload: Vec<u8>) {
        let Some(link) = self.links.get_mut(&id).filter(|link| link.is_up) else { return };
        if let Ok(message) = decode_uplink(&payload) {
            let named = self.witness.named.entry(self.devices[link.device].id.to_string()).or_default();
            for event in message.events {
                match event.body {
                    EventBody::VersionReport(report) => {
                        named.extend(report.fw_version.map(|version| version.as_str().to_owned()));
                    }
                    EventBody::ProgressReport(report) => {
                        named.extend(report.version.map(|version| version.as_str().to_owned()));
                    }
                    EventBody::OtherService { .. }
                    | EventBody::UnknownOta { .. }
                    | EventBody::Nameless
                    | EventBody::Rejected { .. } => {}
                }
            }
        }
        link.open.push_back((ticket, payload.clone()));
        // The platform may have closed it a moment ago.
        let _ = link.uplinks.send((ticket, payload));
    }

    /// A message of the platform reaches a device.
    fn hears(&mut self, id: LinkId, payload: &Bytes) {
        let Some(link) = self.links.get(&id) else { return };
        let device = link.device;
        if let Ok((_, downlink)) = decode_downlink(payload) {
            let does = self.devices[device].hears(&downlink);
            self.perform(device, does);
        }
    }

    /// Something came of a link.
    async fn takes(&mut self, id: LinkId, mail: Mail) -> Result<(), Broken> {
        self.mix(&[id.0, self.now, mail.number()]);
        if self.tell {
            self.story.push(format!("{:>9} link {} {}", self.now, id.0, mail.words()));
        }
        let Some(link) = self.links.get_mut(&id) else { return Ok(()) };
        let device = link.device;
        match mail {
            Mail::Up(_) => {
                link.is_up = true;
                let does = self.devices[device].is_connected();
                self.perform(device, does);
            }
            Mail::Refused(_) | Mail::Closed => self.loses(id, 0),
            Mail::Acknowledged(ticket) => {
                let open = link.open.pop_front();
                acknowledgements_come_in_order(open.as_ref().map(|(open, _)| *open), ticket)?;
                if let Some((_, payload)) = open
                    && self.scenario.look_every < 60_000
                {
                    what_is_acknowledged_is_in_the_history(&self.store, self.keys[device], &payload).await?;
                }
                self.goes_down(id, Event::HearsAcknowledgement { link: id, ticket });
            }
            Mail::Said(payload) => {
                if let Ok((_, Downlink::Notice(notice))) = decode_downlink(&payload) {
                    self.notices_said[device] += 1;
                    self.a_notice_was_said(id, device, &notice.url).await?;
                }
                self.goes_down(id, Event::Hears { link: id, payload });
            }
        }
        Ok(())
    }

    async fn a_notice_was_said(&mut self, link: LinkId, device: usize, url: &str) -> Result<(), Broken> {
        let wrong = |error: otaru_store::StoreError| trouble("the_store_can_be_read")(error.to_string());
        let deployments = self.store.deployments_of_device(self.keys[device], 100).await.map_err(wrong)?;
        // The address names the run.
        let about = deployments.iter().find(|one| url.contains(&format!("{:08x}/app.bin", one.row.key.0)));
        match about {
            Some(one) => self.witness.no_notice_is_said_twice_in_a_session(
                link.0,
                one.row.key,
                one.row.deployment.attempt,
            ),
            None => Err(trouble("a_notice_is_about_a_deployment_of_its_device")(url.to_owned())),
        }
    }

    // --- Devices and the network ---------------------------------------------------------------------------------

    fn perform(&mut self, device: usize, does: Vec<Does>) {
        for does in does {
            match does {
                Does::Say { ticket, payload } => {
                    if let Some(link) = self.linked[device] {
                        self.goes_up(link, ticket, payload);
                    }
                }
                Does::Wake(span) => {
                    let wake = self.devices[device].wake;
                    self.at(self.now + span, Event::Woken { device, wake });
                }
                Does::Off(span) => {
                    if let Some(link) = self.linked[device] {
                        self.loses(link, span);
                    }
                }
                Does::Gone => {
                    if let Some(link) = self.linked[device] {
                        self.loses(link, 0);
                    }
                }
            }
        }
    }

    fn goes_up(&mut self, id: LinkId, ticket: u16, payload: Vec<u8>) {
        let Some(way) = self.way(id) else { return };
        let Some(link) = self.links.get_mut(&id).filter(|link| link.is_up) else { return };
        let at = if way.overtakes { self.now + way.delay } else { (self.now + way.delay).max(link.last_up) };
        // A repetition keeps its place, too: what is said after it arrives after it.
        let again = way.twice.then(|| at + way.delay);
        link.last_up = link.last_up.max(again.unwrap_or(at));
        self.at(at, Event::Arrives { link: id, ticket, payload: payload.clone() });
        if let Some(again) = again {
            self.at(again, Event::Arrives { link: id, ticket, payload });
        }
    }

    fn goes_down(&mut self, id: LinkId, event: Event) {
        let Some(way) = self.way(id) else { return };
        let Some(link) = self.links.get_mut(&id) else { return };
        let at =
            if way.overtakes { self.now + way.delay } else { (self.now + way.delay).max(link.last_down) };
        link.last_down = link.last_down.max(at);
        self.at(at, event);
    }

    /// How a message fares. `None`: it is lost, and the link with it, for else it would be sent again.
    fn way(&mut self, link: LinkId) -> Option<Way> {
        let trouble = &self.scenario.trouble;
        if self.is_calm {
            return Some(Way { delay: 20, overtakes: false, twice: false });
        }
        let (lost, overtakes, twice) =
            [trouble.lost, trouble.overtakes, trouble.twice].map(|of| self.random.below(1_000) < of).into();
        let delay = 5 + self.random.below(trouble.delay);
        if lost {
            let after = self.now + self.random.below(8_000);
            self.at(after, Event::Cut(link));
            return None;
        }
        Some(Way { delay, overtakes, twice })
    }

    /// A device's link is lost; it dials again after `off` and some seconds.
    fn loses(&mut self, id: LinkId, off: u64) {
        let Some(link) = self.links.remove(&id) else { return };
        let device = link.device;
        self.linked[device] = None;
        self.devices[device].is_cut_off();
        let back = self.now + off + 500 + self.random.below(8_000);
        self.at(back, Event::SwitchOn(device));
    }

    // --- Looking -------------------------------------------------------------------------------------------------

    async fn looks(&mut self) -> Result<(), Broken> {
        let sight = self.sight().await?;
        self.witness.look(&sight)
    }

    async fn sight(&self) -> Result<Sight, Broken> {
        Sight::of(&self.store).await.map_err(|error| trouble("the_store_can_be_read")(error.to_string()))
    }

    /// Whether all campaigns are over; then what came out is compared with the model.
    async fn is_everything_over(&mut self) -> Result<bool, Broken> {
        let sight = self.sight().await?;
        let wanted = 1 + usize::from(self.scenario.second.is_some());
        if !self.to_do.is_empty()
            || sight.acts_wait
            || sight.campaigns.len() < wanted
            || !sight.campaigns.iter().all(|campaign| campaign.is_over)
        {
            return Ok(false);
        }
        let mut endings = BTreeMap::new();
        for campaign in &sight.campaigns {
            let version = &campaign.versions[0];
            let is_second = version == VERSIONS[2];
            if campaign.deployments.len() != self.devices.len() {
                let seen = format!("{} of {}", campaign.deployments.len(), self.devices.len());
                return Err(trouble("every_device_has_its_deployment")(seen));
            }
            for one in &campaign.deployments {
                let label = one.row.deployment.label();
                let Label::Finished(kind) = label else {
                    if campaign.is_cancelled {
                        // Ending a campaign takes a while.
                        return Ok(false);
                    }
                    let seen = format!("{} is {}", one.device_id, label.name());
                    return Err(trouble("a_campaign_that_is_over_has_no_unfinished_deployment")(seen));
                };
                *endings.entry(kind).or_default() += 1;
                let device = self.devices.iter().position(|device| device.id == one.device_id);
                let device = device.expect("only these devices were registered");
                let mut may = may_end(self.scenario, device, is_second);
                // As many as are said in one attempt.
                let lost = self.notices_said[device].saturating_sub(self.devices[device].notices);
                if lost >= campaign.policy.notices_max {
                    may.insert(OutcomeKind::TimedOut);
                }
                // A report names no campaign: what is said again of an earlier upgrade is taken for the one that the
                // device was told of and did not hear of.
                if lost > 0 && self.scenario.second.is_some() && self.devices[device].says_again {
                    may.insert(OutcomeKind::VersionMismatch);
                }
                if !may.contains(&kind) {
                    let habit = self.devices[device].habit;
                    let seen = format!(
                        "{} ({habit:?}) in the campaign for {version} ended as {}, where {may:?} would be true; {:?}",
                        one.device_id,
                        kind.name(),
                        one.row.deployment
                    );
                    return Err(trouble("every_device_ends_as_it_behaves")(seen));
                }
                let says_installed = matches!(kind, OutcomeKind::Installed | OutcomeKind::AlreadyInstalled);
                if says_installed && !self.devices[device].ran.contains(version) {
                    let seen = format!("{} never ran {version}", one.device_id);
                    return Err(trouble("what_counts_as_installed_runs")(seen));
                }
            }
        }
        self.endings = endings;
        Ok(true)
    }

    async fn left(&self) -> String {
        match self.sight().await {
            Ok(sight) => {
                let open = sight.campaigns.iter().flat_map(|campaign| &campaign.deployments);
                let open = open.filter(|one| !one.row.deployment.label().is_finished());
                let open: Vec<String> = open
                    .take(3)
                    .map(|one| format!("{}: {:?}", one.device_id, one.row.deployment.state))
                    .collect();
                format!("{} campaigns; unfinished: {open:?}", sight.campaigns.len())
            }
            Err(broken) => broken.to_string(),
        }
    }

    fn note(&mut self, event: &Event) {
        if self.tell {
            self.story.push(format!("{:>9} {}", self.now, event.words()));
        }
        let (number, detail) = event.number();
        self.mix(&[self.now, number, detail]);
    }

    /// FNV-1a, by words.
    fn mix(&mut self, words: &[u64]) {
        for word in words {
            self.fingerprint = (self.fingerprint ^ word).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

struct Way {
    delay: u64,
    overtakes: bool,
    twice: bool,
}
