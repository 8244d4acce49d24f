//! The loop that makes batches, and what happens around it: start, timers, outages, shutdown.
//!
//! Always true:
//! - One batch is in the store at a time; what arrives meanwhile makes up the next one.
//! - Acknowledgements and words to devices leave only after their batch is stored.
//! - A batch that cannot be stored is kept and tried again; nothing of it is acknowledged.
//! - An event that cannot be decided or stored by itself is kept aside and acknowledged as not stored, and
//!   does not hold up the others.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use otaru_core::{Epoch, ServiceTime};
use otaru_store::{
    Actor, BlobStore, Changes, Committed, DeviceKey, ProjectRow, QuarantinedEvent, Store, StoreError, Vault,
};
use tokio::sync::{Notify, RwLock, Semaphore};
use tokio::task::JoinHandle;

use crate::application_tokens::ApplicationTokens;
use crate::batch::{Answer, Around, decide, wanted};
use crate::campaign_work::CampaignWork;
use crate::clock::{Clock, ServiceClock};
use crate::connect::RefusedConnections;
use crate::device_http::{DeviceTokens, HttpDevices};
use crate::downloads::{DownloadActivity, DownloadTokens};
use crate::feed::Feed;
use crate::ids::IdMaker;
use crate::inbox::{Inbox, Input};
use crate::limits::{
    BATCH_EVENTS_MAX, CHILDREN_CHUNK, DUE_REST, HEARTBEAT_EVERY, RETRY_PAUSE, STORE_SILENCE_MAX,
    TOLD_AT_ONCE_MAX, WAKE_CHECK_EVERY,
};
use crate::message::message;
use crate::queues::{Questions, Slots};
use crate::sessions::{Delivery, SessionRef, Sessions, Settling};
use crate::settings::Settings;
use crate::tickets::Tickets;

/// The engine. Cheap to clone; all clones are the same one.
#[derive(Clone)]
pub struct Engine {
    pub(crate) shared: Arc<Shared>,
    tasks: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

/// Whether the platform does its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// It takes reports and answers.
    pub ready: bool,
    /// What is wrong, for people.
    pub reasons: Vec<String>,
}

/// Why the engine did not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store did not open.
    #[error("the store did not start")]
    Store(#[from] StoreError),
}

pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) store: Store,
    pub(crate) blobs: BlobStore,
    pub(crate) vault: Vault,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) service: ServiceClock,
    pub(crate) project: ProjectRow,
    pub(crate) ids: IdMaker,
    pub(crate) inbox: Inbox,
    pub(crate) sessions: Sessions,
    pub(crate) settling: Settling,
    pub(crate) downloads: DownloadActivity,
    pub(crate) download_tokens: DownloadTokens,
    pub(crate) refused: RefusedConnections,
    pub(crate) device_tokens: DeviceTokens,
    pub(crate) application_tokens: ApplicationTokens,
    pub(crate) http_devices: HttpDevices,
    pub(crate) campaign_work: CampaignWork,
    /// A campaign may start earlier than was known.
    pub(crate) schedule_changed: Notify,
    /// There may be packages to be read.
    pub(crate) contents_changed: Notify,
    pub(crate) feed: Feed,
    pub(crate) tickets: Tickets,
    /// Held by uploads from their last byte to their row, and alone by whoever takes bytes away.
    pub(crate) artifacts: RwLock<()>,
    /// Uploads are refused, because the disk is nearly full.
    pub(crate) disk_is_low: AtomicBool,
    /// Ends the wait for the next look at what has become old.
    pub(crate) forgetting: Notify,
    boot: i64,
    next_session: AtomicI64,
    next_request: AtomicI64,
    /// Tells those who wait for a message to be stored that it will not be.
    pub(crate) gave_up: Notify,
    /// The earliest deadline, as far as known; `i64::MAX` for none.
    next_wake: AtomicI64,
    pub(crate) slots: Slots,
    pub(crate) questions: Questions,
    /// One permit for each gateway that is being told about its children.
    pub(crate) telling: Semaphore,
    /// One permit for each gateway whose children are being looked for.
    looking: Semaphore,
    /// The permit of the one chunk of an import that may be in the store.
    pub(crate) importing: Semaphore,
    /// The permit of the one backup that may be made.
    pub(crate) backing_up: Arc<Semaphore>,
    outage: Mutex<Option<String>>,
    /// A batch could not be stored and is being tried again.
    batch_waits: AtomicBool,
    /// After a deadline that cannot be processed, none is looked at before this.
    due_rests_until: Mutex<Duration>,
    stopping: AtomicBool,
    stop: Notify,
    /// A task that ended though nobody stopped it.
    broken: OnceLock<&'static str>,
    broke: Notify,
    /// Counts changes that may have to end a session: frozen, deleted, secret changed.
    revocations: AtomicI64,
}

impl Engine {
    /// Starts the engine on a store: resumes its service time, its deadlines and its unfinished campaigns.
    ///
    /// `vault` opens the device secrets that are in the store. Call [`Engine::stop`] at the end.
    ///
    /// # Errors
    ///
    /// `Store`: it could not be read or written; nothing runs.
    pub async fn open(
        settings: Settings,
        store: Store,
        blobs: BlobStore,
        vault: Vault,
        clock: Arc<dyn Clock>,
    ) -> Result<Engine, OpenError> {
        describe_metrics();
        let boot = store.boot(clock.wall()).await?;
        // A new store has no device to wait for.
        let grace = if boot.last_seen.is_some() { settings.reconnect_grace } else { Duration::ZERO };
        let service = ServiceClock::resume(clock.clone(), boot.service_time, grace);
        let download_tokens = DownloadTokens::new(vault.mac_key("download tokens"));
        let device_tokens = DeviceTokens::new(vault.mac_key("device tokens"));
        let application_tokens = ApplicationTokens::new(vault.mac_key("application tokens"));
        let first_id = u32::try_from(boot.number & 0xff).unwrap_or(0) << 24;
        let shared = Arc::new(Shared {
            ids: IdMaker::new(settings.node, first_id),
            settings,
            store,
            blobs,
            vault,
            service,
            clock,
            project: boot.project,
            inbox: Inbox::default(),
            sessions: Sessions::default(),
            settling: Settling::default(),
            downloads: DownloadActivity::watched_since(first_epoch(boot.number)),
            download_tokens,
            refused: RefusedConnections::default(),
            device_tokens,
            application_tokens,
            http_devices: HttpDevices::default(),
            campaign_work: CampaignWork::default(),
            schedule_changed: Notify::new(),
            contents_changed: Notify::new(),
            feed: Feed::default(),
            tickets: Tickets::default(),
            artifacts: RwLock::new(()),
            disk_is_low: AtomicBool::new(false),
            forgetting: Notify::new(),
            boot: boot.number,
            next_session: AtomicI64::new(0),
            next_request: AtomicI64::new(0),
            gave_up: Notify::new(),
            next_wake: AtomicI64::new(0),
            slots: Slots::default(),
            questions: Questions::default(),
            telling: Semaphore::new(TOLD_AT_ONCE_MAX),
            looking: Semaphore::new(TOLD_AT_ONCE_MAX),
            importing: Semaphore::new(1),
            backing_up: Arc::new(Semaphore::new(1)),
            outage: Mutex::new(None),
            batch_waits: AtomicBool::new(false),
            due_rests_until: Mutex::default(),
            stopping: AtomicBool::new(false),
            stop: Notify::new(),
            broken: OnceLock::new(),
            broke: Notify::new(),
            revocations: AtomicI64::new(0),
        });
        shared.store.heartbeat(shared.service.now(), shared.clock.wall()).await?;
        shared.resume_campaigns().await?;
        let tasks = vec![
            tokio::spawn(watched("batches", shared.clone(), make_batches(shared.clone()))),
            tokio::spawn(watched("heartbeat", shared.clone(), beat(shared.clone()))),
            tokio::spawn(watched(
                "schedule",
                shared.clone(),
                crate::campaign_work::keep_schedule(shared.clone()),
            )),
            tokio::spawn(watched("campaigns", shared.clone(), crate::campaign_work::work(shared.clone()))),
            tokio::spawn(watched(
                "reading of packages",
                shared.clone(),
                crate::contents::read(shared.clone()),
            )),
            tokio::spawn(watched("live", shared.clone(), crate::feed::tell(shared.clone()))),
            tokio::spawn(watched("forgetting", shared.clone(), crate::forget::now_and_then(shared.clone()))),
        ];
        Ok(Engine { shared, tasks: Arc::new(Mutex::new(tasks)) })
    }

    /// Closes the sessions, stores what has arrived, and ends. Nothing is lost that was acknowledged; what was
    /// not, devices send again. A second call returns at once.
    pub async fn stop(&self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        self.shared.sessions.close_all("server_shutting_down");
        self.shared.stop.notify_one();
        self.shared.inbox.wake();
        self.shared.campaign_work.wake();
        self.shared.schedule_changed.notify_one();
        self.shared.contents_changed.notify_one();
        self.shared.forgetting.notify_one();
        self.shared.feed.wake();
        let tasks: Vec<_> = {
            let mut tasks = self.tasks.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            tasks.drain(..).collect()
        };
        for task in tasks {
            if let Err(failed) = task.await {
                tracing::error!(error = %failed, "a task of the engine ended badly");
            }
        }
        // What came after the last batch.
        self.shared.gave_up.notify_waiters();
    }

    /// What was set.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// Whether the platform does its work.
    #[must_use]
    pub fn health(&self) -> Health {
        let mut reasons = Vec::new();
        if let Some(problem) = self.shared.lock_outage().as_ref() {
            reasons.push(format!("store: {problem}"));
        }
        if self.shared.stopping.load(Ordering::Relaxed) {
            reasons.push("shutting down".to_owned());
        }
        if let Some(task) = self.shared.broken.get() {
            reasons
                .push(format!("the part of the engine that does the {task} has ended; restart the platform"));
        }
        Health { ready: reasons.is_empty(), reasons }
    }

    /// Resolves when a part of the engine has ended that should not have: nothing more is acknowledged, and only a
    /// restart helps. Answers with its name.
    pub async fn broken(&self) -> &'static str {
        loop {
            let told = self.shared.broke.notified();
            if let Some(task) = self.shared.broken.get() {
                return task;
            }
            told.await;
        }
    }

    /// Whether a part of the engine has ended that should not have.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.shared.broken.get().is_some()
    }

    /// Resolves when the inbox has room. Await it before reading more from a socket.
    pub async fn room(&self) {
        self.shared.inbox.room().await;
    }
}

fn describe_metrics() {
    crate::feed::describe_metrics();
    metrics::describe_counter!("otaru_uplinks_total", "Messages of devices, by what became of them.");
    metrics::describe_counter!("otaru_deployments_finished_total", "Deployments that ended, by outcome.");
    metrics::describe_counter!("otaru_store_outages_total", "How often the store could not be written.");
    metrics::describe_counter!(
        "otaru_quarantined_events_total",
        "Events that could not be processed and were kept aside; every one is a bug."
    );
    metrics::describe_gauge!(
        "otaru_disk_free_bytes",
        metrics::Unit::Bytes,
        "Room on the disk of the artifacts; uploads stop at `limits.disk_reserve`."
    );
    metrics::describe_counter!("otaru_forgotten_total", "What was forgotten because of its age, by kind.");
    metrics::describe_histogram!("otaru_batch_events", "Messages and other events per transaction.");
    metrics::describe_counter!(
        "otaru_shadow_requests_dropped_total",
        "Questions for a shadow that were left unanswered because the one before was being answered."
    );
    // There from the start, so that the first one is a change.
    metrics::counter!("otaru_store_outages_total").increment(0);
    metrics::counter!("otaru_quarantined_events_total").increment(0);
    metrics::counter!("otaru_shadow_requests_dropped_total").increment(0);
}

impl Shared {
    /// The number of the next session, larger than that of any before it, also of earlier runs.
    pub(crate) fn next_epoch(&self) -> Epoch {
        Epoch(first_epoch(self.boot).0 | self.next_session.fetch_add(1, Ordering::Relaxed))
    }

    /// The number of a request of a device: below zero, so that it is no session's, and never used up.
    pub(crate) fn next_request(&self) -> Epoch {
        Epoch(-1 - self.next_request.fetch_add(1, Ordering::Relaxed))
    }

    /// For rows that the platform writes by itself.
    pub(crate) fn platform(&self) -> Actor {
        Actor { name: "platform".to_owned(), project: self.project.key }
    }

    /// What ended needs no more care.
    pub(crate) fn note_finished(&self, answer: &Answer) {
        for (deployment, outcome) in &answer.finished {
            self.downloads.forget(*deployment);
            metrics::counter!("otaru_deployments_finished_total", "outcome" => outcome.name()).increment(1);
        }
        let next = self.questions.ended(answer.finished.iter().map(|(deployment, _)| *deployment));
        self.inbox.consider_all(next);
    }

    /// A deadline was written: look at the clock again.
    pub(crate) fn note_wake(&self, wake: Option<ServiceTime>) {
        self.next_wake.store(wake.map_or(i64::MAX, |t| t.0), Ordering::Relaxed);
        self.inbox.wake();
    }

    /// Which run of the platform on this store it is.
    pub(crate) fn run(&self) -> i64 {
        self.boot
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Nobody can be served: it is being stopped, or a part of it has ended.
    pub(crate) fn is_out_of_service(&self) -> bool {
        self.is_stopping() || self.broken.get().is_some()
    }

    /// A device was frozen or deleted, or its secret changed: call this once that is stored.
    pub(crate) fn revoke(&self, device: DeviceKey, reason: &'static str) {
        self.revocations.fetch_add(1, Ordering::SeqCst);
        self.sessions.close_device(device, reason);
    }

    pub(crate) fn revocations(&self) -> i64 {
        self.revocations.load(Ordering::SeqCst)
    }

    fn due(&self) -> Option<ServiceTime> {
        let rests_until = *self.due_rests_until.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if self.clock.elapsed() < rests_until {
            return None;
        }
        let now = self.service.now();
        (self.next_wake.load(Ordering::Relaxed) <= now.0).then_some(now)
    }

    /// How long nothing has to be done, if nothing arrives.
    fn idle_for(&self) -> Duration {
        let mut idle = WAKE_CHECK_EVERY;
        let wake = self.next_wake.load(Ordering::Relaxed);
        if wake != i64::MAX {
            idle = idle.min(self.service.wait_until(ServiceTime(wake)));
        }
        if let Some(settles) = self.settling.next() {
            idle = idle.min(settles.saturating_sub(self.clock.elapsed()));
        }
        // A timer that fires a little early, or a deadline that rests, would find nothing to do and spin.
        idle.max(Duration::from_millis(1))
    }

    fn lock_outage(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.outage.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The store does not answer: time stands still for devices.
    fn outage_begins(&self, problem: &StoreError) {
        let mut outage = self.lock_outage();
        if outage.is_none() {
            tracing::error!(error = %problem, "the store is out; nothing is acknowledged until it is back");
            metrics::counter!("otaru_store_outages_total").increment(1);
        }
        *outage = Some(problem.to_string());
        self.service.freeze();
    }

    /// Waits for the store. One that does not answer is out as well: what devices wait for does not come, so that their
    /// time must not go on either.
    async fn watching_the_clock<T>(&self, stored: impl Future<Output = T>) -> T {
        let mut stored = std::pin::pin!(stored);
        tokio::select! {
            biased;
            answer = &mut stored => return answer,
            () = tokio::time::sleep(STORE_SILENCE_MAX) => {}
        }
        let silent = format!("no answer for {} s", STORE_SILENCE_MAX.as_secs());
        self.outage_begins(&StoreError::Unavailable(silent));
        // A heartbeat that is answered meanwhile proves nothing: it may have been in front.
        self.batch_waits.store(true, Ordering::Relaxed);
        stored.await
    }

    /// Ends an outage if the store takes a write again. Harmless without one.
    async fn try_to_recover(&self) {
        if self.lock_outage().is_some() {
            self.write_heartbeat().await;
        }
    }

    /// The heartbeat is also the proof that the store can be written, whatever else goes on.
    async fn write_heartbeat(&self) {
        match self.store.heartbeat(self.service.now(), self.clock.wall()).await {
            // A full disk may still have room for one small row: what waits is the better proof.
            Ok(()) if self.batch_waits.load(Ordering::Relaxed) => {}
            Ok(()) => self.outage_ends(),
            Err(error) => self.outage_begins(&error),
        }
    }

    fn outage_ends(&self) {
        // Held until time goes on, so that an outage that begins meanwhile stops it again.
        let mut outage = self.lock_outage();
        if outage.take().is_some() {
            tracing::info!("the store is back");
            self.service.thaw(self.settings.reconnect_grace);
        }
    }
}

/// The first session of a run of the platform.
fn first_epoch(boot: i64) -> Epoch {
    Epoch(boot << 32)
}

/// Runs a task that is to last as long as the engine; if it ends before, the engine is broken and says so.
async fn watched(name: &'static str, shared: Arc<Shared>, task: impl Future<Output = ()> + Send) {
    struct Watch(&'static str, Arc<Shared>);

    impl Drop for Watch {
        fn drop(&mut self) {
            if !self.1.is_stopping() {
                let _ = self.1.broken.set(self.0);
                self.1.sessions.close_all("engine_broken");
                self.1.broke.notify_waiters();
                self.1.gave_up.notify_waiters();
            }
        }
    }

    let _watch = Watch(name, shared);
    task.await;
}

/// Makes batches until the engine stops and everything that arrived is stored.
async fn make_batches(shared: Arc<Shared>) {
    let mut looked_at = shared.clock.elapsed();
    loop {
        let settling = shared.settling.due(shared.clock.elapsed()).into_iter();
        let settled = settling.filter(|(device, epoch)| shared.sessions.settle(*device, *epoch));
        shared.inbox.reachable_all(settled);
        if shared.is_stopping() {
            shared.inbox.forget_looks(); // devices connect again at the next start, and are looked at then
        }
        let inputs = shared.inbox.take(BATCH_EVENTS_MAX, shared.is_stopping());
        // On the way out deadlines need not be kept: they are still there at the next start.
        let due = if shared.is_stopping() { None } else { shared.due() };
        if inputs.is_empty() && due.is_none() {
            if shared.is_stopping() && shared.inbox.is_empty() {
                return;
            }
            let now = shared.clock.elapsed();
            if now.saturating_sub(looked_at) >= WAKE_CHECK_EVERY {
                looked_at = now;
                // The truth about deadlines is in the store; what we remember only saves asking.
                if let Ok(wake) = shared.store.next_wake().await {
                    shared.next_wake.store(wake.map_or(i64::MAX, |t| t.0), Ordering::Relaxed);
                }
                continue;
            }
            // Biased, here and below: which is looked at first does not matter, but a seed has to replay.
            tokio::select! {
                biased;
                () = shared.inbox.arrival() => {}
                () = tokio::time::sleep(shared.idle_for()) => {}
            }
            continue;
        }
        let began = shared.clock.elapsed();
        let looks = inputs.iter().filter(|input| input.is_look()).count();
        store_batch(&shared, inputs, due).await;
        shared.inbox.note_batch(shared.clock.elapsed().saturating_sub(began), looks);
    }
}

/// Stores one batch, however long it takes, and lets out what follows from it.
async fn store_batch(shared: &Arc<Shared>, inputs: Vec<Input>, due: Option<ServiceTime>) {
    let mut parts = vec![(Arc::new(inputs), due)];
    while let Some((inputs, due)) = parts.pop() {
        match store_part(shared, &inputs, due).await {
            Ok(committed) => after_commit(shared, &inputs, committed),
            // A deadline may be what cannot be stored; then no event is to blame.
            Err(Unstorable::Poisoned(_)) if due.is_some() && !inputs.is_empty() => {
                parts.push((Arc::default(), due));
                parts.push((inputs, None));
            }
            Err(Unstorable::Poisoned(error)) if inputs.is_empty() => {
                parts.push((Arc::new(due_one_by_one(shared, &error).await), None));
            }
            Err(Unstorable::Poisoned(error)) if inputs.len() == 1 => {
                quarantine(shared, &inputs, &error).await;
            }
            Err(Unstorable::Poisoned(error)) => {
                tracing::warn!(events = inputs.len(), %error, "a batch holds a poisoned event; halving it");
                let (front, back) = inputs.split_at(inputs.len() / 2);
                parts.push((Arc::new(back.to_vec()), None));
                parts.push((Arc::new(front.to_vec()), None));
            }
            Err(Unstorable::GaveUp) => {}
        }
    }
}

enum Unstorable {
    /// One of its events cannot be decided or stored.
    Poisoned(StoreError),
    /// The store stayed out for so long that the sessions were closed; their devices will send again.
    GaveUp,
}

async fn store_part(
    shared: &Arc<Shared>,
    inputs: &Arc<Vec<Input>>,
    due: Option<ServiceTime>,
) -> Result<Committed<Answer>, Unstorable> {
    let began = shared.clock.elapsed();
    let mut pause = RETRY_PAUSE.0;
    loop {
        let (for_decision, world) = (inputs.clone(), shared.clone());
        let (now, wall) = (shared.service.now(), shared.clock.wall());
        let decision = move |loaded| {
            let around = Around {
                now,
                wall,
                sessions: &world.sessions,
                downloads: &world.downloads,
                questions: &world.questions,
                settings: &world.settings,
            };
            decide(loaded, &for_decision, &around)
        };
        let stored = shared.store.transact(wall, wanted(inputs, due), decision);
        match shared.watching_the_clock(stored).await {
            Ok(committed) => {
                shared.batch_waits.store(false, Ordering::Relaxed);
                // A batch that wrote nothing proves nothing.
                shared.try_to_recover().await;
                return Ok(committed);
            }
            Err(
                error @ (StoreError::Constraint(_)
                | StoreError::DecisionPanicked(_)
                | StoreError::Corrupt { .. }),
            ) => {
                // The store has answered.
                shared.batch_waits.store(false, Ordering::Relaxed);
                return Err(Unstorable::Poisoned(error));
            }
            Err(error) => {
                shared.outage_begins(&error);
                shared.batch_waits.store(true, Ordering::Relaxed);
                let lasted = shared.clock.elapsed().saturating_sub(began);
                if lasted > shared.settings.outage_patience || shared.is_stopping() {
                    shared.sessions.close_all("store_unavailable");
                    shared.inbox.forget_uplinks();
                    shared.gave_up.notify_waiters(); // after forgetting: what comes from here on is in the next batch
                    shared.batch_waits.store(false, Ordering::Relaxed);
                    return Err(Unstorable::GaveUp);
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(RETRY_PAUSE.1);
            }
        }
    }
}

/// One of the deadlines that have come cannot be processed: look at their devices one by one, so that only that
/// one is held up. It stays due; deadlines rest for a while, so that it is not all that is done.
async fn due_one_by_one(shared: &Arc<Shared>, error: &StoreError) -> Vec<Input> {
    tracing::error!(%error, "a deadline cannot be processed; looking for it");
    let rest = shared.clock.elapsed() + DUE_REST;
    *shared.due_rests_until.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = rest;
    let look = |loaded: otaru_store::Loaded| {
        let devices: Vec<DeviceKey> = loaded.devices.keys().copied().collect();
        (Changes::default(), devices)
    };
    match shared.store.transact(shared.clock.wall(), wanted(&[], Some(shared.service.now())), look).await {
        Ok(committed) => committed.answer.into_iter().map(|device| Input::Due { device }).collect(),
        Err(error) => {
            tracing::error!(%error, "the deadlines that have come cannot even be listed");
            Vec::new()
        }
    }
}

/// Keeps an event aside that cannot be processed, and acknowledges it then. One that cannot even be kept aside is not
/// acknowledged: its device sends it again, to us or after the next start.
async fn quarantine(shared: &Arc<Shared>, inputs: &Arc<Vec<Input>>, error: &StoreError) {
    metrics::counter!("otaru_quarantined_events_total").increment(1);
    let Some(input) = inputs.first() else { return };
    let (device, payload) = match input {
        Input::Uplink { session, uplink, .. } => (Some(session.device), uplink.payload.clone()),
        Input::Opened { device, .. }
        | Input::Reachable { device, .. }
        | Input::Lost { device }
        | Input::Consider { device }
        | Input::Fetched { device, .. }
        | Input::Due { device } => (Some(*device), Bytes::from(format!("{input:?}"))),
        Input::Said(_) => (None, Bytes::from(format!("{input:?}"))),
    };
    tracing::error!(device_key = ?device, %error, "an event cannot be processed; kept aside");
    let at = shared.clock.wall();
    let event = QuarantinedEvent { device, at, payload, error: error.to_string() };
    loop {
        let changes = Changes { quarantined: vec![event.clone()], ..Changes::default() };
        match shared.store.transact(at, Default::default(), move |_| (changes, ())).await {
            Ok(_) => break,
            Err(error) if error.fault() == otaru_store::Fault::Unavailable && !shared.is_stopping() => {
                shared.outage_begins(&error);
                tokio::time::sleep(RETRY_PAUSE.1).await;
            }
            Err(error) => {
                tracing::error!(%error, "the event could not even be kept aside; it is not acknowledged");
                // Devices send again what is not acknowledged when they connect again.
                if let Some(device) = device {
                    shared.sessions.close_device(device, "store_unavailable");
                }
                return;
            }
        }
    }
    shared.try_to_recover().await;
    acknowledge(inputs);
}

/// Lets out what follows from a stored batch: acknowledgements first, then words, then what is to be done next.
fn after_commit(shared: &Arc<Shared>, inputs: &[Input], committed: Committed<Answer>) {
    acknowledge(inputs);
    let Committed { mut answer, outbox, next_wake, runs: _ } = committed;
    shared.next_wake.store(next_wake.map_or(i64::MAX, |t| t.0), Ordering::Relaxed);
    for ((line, words), spoken) in outbox.into_iter().zip(&answer.spoken) {
        let session = shared.sessions.current(words.via, words.epoch);
        match session.zip(message(shared, &words, spoken)) {
            Some((session, bytes)) => session.say(line, bytes),
            None => shared.inbox.push(Input::Said(line)), // its session is gone, and with it the line
        }
    }
    for answered in &answer.answered {
        answered.session.answer(answered.bytes(shared));
    }
    for device in &answer.deleted {
        shared.revoke(*device, "device_deleted");
    }
    for asked in std::mem::take(&mut answer.shadows) {
        shared.answer_shadow(asked);
    }
    for (session, version) in &answer.syncs {
        shared.tell_children(session.clone(), *version);
    }
    for (device, at_work) in &answer.at_work {
        if let Some(session) = shared.sessions.get(*device) {
            session.set_at_work(*at_work);
        }
    }
    shared.feed.campaigns_moved(answer.moved.iter().copied());
    shared.note_finished(&answer);
    let slots = shared.slots.hand_out(&answer.held_for_slot, &answer.free_slots);
    let children = shared.questions.note(&answer.questions, &answer.held_for_answer, shared.clock.elapsed());
    shared.inbox.consider_all(slots.into_iter().chain(children));
    for (gateway, epoch) in answer.gateways {
        tokio::spawn(look_at_children(shared.clone(), gateway, epoch));
    }
    let tally = &answer.tally;
    for (what, count) in [
        ("kept", tally.kept),
        ("rejected", tally.rejected),
        ("not_ours", tally.not_ours),
        ("served", tally.served),
        ("ignored", tally.ignored),
    ] {
        if count > 0 {
            metrics::counter!("otaru_uplinks_total", "as" => what).increment(count);
        }
    }
    metrics::histogram!("otaru_batch_events").record(inputs.len() as f64);
}

/// Acknowledges every message of the batch, in the order in which its session sent them.
fn acknowledge(inputs: &[Input]) {
    let mut tickets: Vec<(&SessionRef, u16)> = inputs
        .iter()
        .filter_map(|input| match input {
            Input::Uplink { session, uplink, .. } => uplink.ticket.map(|ticket| (session, ticket)),
            Input::Opened { .. }
            | Input::Reachable { .. }
            | Input::Lost { .. }
            | Input::Consider { .. }
            | Input::Fetched { .. }
            | Input::Due { .. }
            | Input::Said(_) => None,
        })
        .collect();
    tickets.sort_by_key(|(session, _)| session.epoch); // stable: the order within a session stays
    for of_session in tickets.chunk_by(|a, b| a.0.epoch == b.0.epoch) {
        let session = of_session[0].0;
        session.deliver_all(of_session.iter().map(|(_, ticket)| Delivery::Acknowledge(*ticket)));
    }
}

/// A gateway is back: its children that have work can be reached. How many are asked at once is the batch's to say.
async fn look_at_children(shared: Arc<Shared>, gateway: DeviceKey, epoch: Epoch) {
    let mut after = None;
    let Ok(_turn) = shared.looking.acquire().await else { return };
    while !shared.is_stopping() && shared.sessions.current(gateway, epoch).is_some() {
        shared.inbox.few_looks().await;
        let Ok(children) = shared.store.children_with_work(gateway, after, CHILDREN_CHUNK).await else {
            tokio::time::sleep(RETRY_PAUSE.1).await;
            continue;
        };
        if children.is_empty() {
            return;
        }
        after = children.last().copied();
        shared.inbox.reachable_all(children.into_iter().map(|device| (device, epoch)));
    }
}

/// Writes the heartbeat, from which the next run knows how long it was away, and tidies up.
async fn beat(shared: Arc<Shared>) {
    while !shared.is_stopping() {
        let pause = if shared.lock_outage().is_some() { RETRY_PAUSE.1 } else { HEARTBEAT_EVERY };
        tokio::select! {
            biased;
            () = tokio::time::sleep(pause) => {}
            () = shared.stop.notified() => {}
        }
        shared.write_heartbeat().await;
        shared.look_at_the_disk().await;
        shared.downloads.tidy(shared.service.now(), || shared.next_epoch());
        shared.http_devices.tidy(shared.clock.elapsed());
        let first = shared.slots.first_of_each().into_iter();
        let children = shared.questions.tidy(&shared.sessions, shared.clock.elapsed());
        shared.inbox.consider_all(first.chain(children));
    }
}
