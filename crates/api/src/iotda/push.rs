//! Tells applications of changes over HTTP: takes what is due from the store, says how each thing is now, and notes what
//! became of it.
//!
//! ```text
//!                    ┌─ 2xx ───────────────► told
//! due ──► POST url ──┼─ 5xx, 408, 429, none ► due again, after a pause of the whole action that doubles up to three minutes;
//!                    │                        for a day, then kept aside
//!                    └─ anything else ──────► due again twice, then kept aside
//! ```
//!
//! Always true:
//! - What was told is noted afterwards: a crash in between tells it once more, and never less.
//! - One action that does not answer holds up no other.
//!
//! Not here: what makes something due (`otaru-store`), and the rules (`rules`).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt, stream};
use hmac::{Hmac, KeyInit, Mac};
use otaru_core::deployment::Label;
use otaru_engine::{
    CampaignKey, DeploymentKey, DeploymentView, DeviceKey, DeviceView, Engine, PushAction, PushActionKey,
    PushBecame, PushDue, PushSettled, PushSubject, StoreError, Thing,
};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::apps::Apps;
use super::filter::Filter;
use super::input::{millis, seconds};
use super::rules;
use super::words::{Progress, SubStatus, TaskStatus, error_of, task_type};
use super::{devices, members, tasks};
use crate::problem::Problem;

/// How patiently applications are told. `Default` is what the published platform does.
#[derive(Clone, Copy, Debug)]
pub struct PushLimits {
    /// How long an application may take to answer.
    pub answer: Duration,
    /// The pause after a first failure; it doubles with each further one.
    pub pause: Duration,
    /// The longest pause.
    pub pause_max: Duration,
    /// How often it is looked for what is due.
    pub look_every: Duration,
}

impl Default for PushLimits {
    fn default() -> PushLimits {
        PushLimits {
            answer: Duration::from_secs(15),
            pause: Duration::from_secs(1),
            pause_max: Duration::from_secs(180),
            look_every: Duration::from_millis(250),
        }
    }
}

/// Things taken at once, a few times a second: about as many a second as the published platform drains its backlog with.
const AT_ONCE: u32 = 200;

/// Of these, told beside each other: at 50 ms an answer they are done before it is looked again, with few connections.
const BESIDE_EACH_OTHER: usize = 16;

/// How often something is told in vain to an application that answers: it will not take it.
const REFUSED_MAX: u32 = 3;

/// How often something is told in vain to an application that does not: at the longest pause, that is a day.
const FAILED_MAX: u32 = 480;

/// Attempts in vain are kept as one number. A refusal counts for more than all failures that there can be, so that each of
/// the two is read from it by itself; what is refused comes after what is not.
const REFUSAL: u32 = 1_000;
const _: () = assert!(FAILED_MAX < REFUSAL);

/// Whether it has been told in vain for long enough.
const fn is_final(attempts: u32) -> bool {
    attempts / REFUSAL >= REFUSED_MAX || attempts % REFUSAL >= FAILED_MAX
}

/// Carries the signature of a notification.
const SIGNATURE: &str = "X-Otaru-Signature";

/// Tells applications. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Pusher {
    engine: Engine,
    client: reqwest::Client,
    limits: PushLimits,
}

/// What came of telling one action.
#[derive(Debug)]
pub(crate) enum Told {
    /// It took it.
    Taken { status: u16 },
    /// It answered, and did not take it.
    Refused { status: u16 },
    /// It did not answer, or cannot take anything now.
    Failed { why: String },
}

impl Pusher {
    pub(crate) fn new(engine: Engine, limits: PushLimits) -> Pusher {
        // Installed already where TLS is served; a second time changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .timeout(limits.answer)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("otaru/", env!("CARGO_PKG_VERSION")))
            .build()
            .expect("nothing about the client depends on the system but its trust store, which is read when it is used");
        Pusher { engine, client, limits }
    }

    /// Tells what is due until `closed` resolves.
    pub(crate) async fn run(self, closed: impl Future<Output = ()>) {
        let mut closed = std::pin::pin!(closed);
        let mut at_work: JoinSet<(PushActionKey, Result<Came, StoreError>)> = JoinSet::new();
        let mut resting: BTreeMap<PushActionKey, Rest> = BTreeMap::new();
        let mut looks = tokio::time::interval(self.limits.look_every);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = &mut closed => break,
                Some(ended) = at_work.join_next(), if !at_work.is_empty() => {
                    if let Ok((action, came)) = ended {
                        let rest = resting.entry(action).or_default();
                        rest.after(came.unwrap_or(Came::Failed), self.limits);
                    }
                    continue;
                }
                _ = looks.tick() => {}
            }
            // An outage of the store is told of elsewhere.
            let Ok(actions) = self.engine.push_actions(None).await else { continue };
            resting.retain(|key, _| actions.iter().any(|action| action.key == *key));
            for action in actions.into_iter().filter(|action| action.active) {
                let rest = resting.entry(action.key).or_default();
                if !rest.is_at_work && rest.until.is_none_or(|until| until <= Instant::now()) {
                    rest.is_at_work = true;
                    let pusher = self.clone();
                    at_work.spawn(async move {
                        let key = action.key;
                        let telling = AssertUnwindSafe(pusher.tell_due(Arc::new(action)));
                        // It is tried again, and holds up nothing else.
                        let came = telling.catch_unwind().await.unwrap_or(Ok(Came::Failed));
                        (key, came)
                    });
                }
            }
        }
        // What is under way is told once more after the next start.
        at_work.shutdown().await;
    }

    /// Tells some of what is due for an action.
    async fn tell_due(&self, action: Arc<PushAction>) -> Result<Came, StoreError> {
        let due = self.engine.pushes_due(action.key, AT_ONCE).await?;
        if due.is_empty() {
            return Ok(Came::Nothing);
        }
        let told = stream::iter(due).map(|due| {
            let action = Arc::clone(&action);
            async move { self.tell_one(&action, due).await }
        });
        let told: Vec<(PushSettled, bool)> = told.buffer_unordered(BESIDE_EACH_OTHER).collect().await;
        // Where something was taken, the application is there.
        let taken = told.iter().any(|(settled, _)| matches!(settled.became, PushBecame::Told));
        let failed = !taken && told.iter().any(|(_, failed)| *failed);
        let settled: Vec<PushSettled> = told.into_iter().map(|(settled, _)| settled).collect();
        count(&settled);
        self.engine.settle_pushes(action.key, settled).await?;
        Ok(if failed { Came::Failed } else { Came::Told })
    }

    /// Tells of one thing; also whether the application is the reason that it was not told.
    async fn tell_one(&self, action: &PushAction, due: PushDue) -> (PushSettled, bool) {
        let body = match self.notification(action, due.thing).await {
            Ok(Some(body)) => body.to_string(),
            // It is gone, or not what the rule is about.
            Ok(None) => return (PushSettled { due, became: PushBecame::Told }, false),
            Err(_) => return (PushSettled { due, became: PushBecame::Failed { weight: 1 } }, true),
        };
        let (weight, why, failed) = match self.post(action, body.clone()).await {
            Told::Taken { .. } => return (PushSettled { due, became: PushBecame::Told }, false),
            Told::Refused { status } => (REFUSAL, format!("it was answered with {status}"), false),
            Told::Failed { why } => (1, why, true),
        };
        let attempts = due.attempts + weight;
        let tried = attempts / REFUSAL + attempts % REFUSAL;
        let became = if is_final(attempts) {
            tracing::warn!(
                action_id = action.action_id,
                attempts = tried,
                error = why,
                "a notification was given up"
            );
            PushBecame::Dead { body, error: why }
        } else {
            tracing::debug!(
                action_id = action.action_id,
                attempts = tried,
                error = why,
                "a notification was not taken"
            );
            PushBecame::Failed { weight }
        };
        (PushSettled { due, became }, failed)
    }

    /// Sends a body to where an action tells.
    pub(crate) async fn post(&self, action: &PushAction, body: String) -> Told {
        let mut request = self.client.post(&action.url).header("Content-Type", "application/json");
        match self.engine.push_token(action) {
            Ok(None) => {}
            Ok(Some(token)) => {
                let signed = signature(&token, self.engine.wall().0 / 1_000, &body);
                request = request.header(SIGNATURE, signed);
            }
            Err(error) => return Told::Failed { why: error.to_string() },
        }
        match request.body(body).send().await {
            Ok(answer) => {
                let status = answer.status();
                match status.as_u16() {
                    taken if status.is_success() => Told::Taken { status: taken },
                    408 | 429 => Told::Failed { why: format!("it was answered with {status}") },
                    _ if status.is_server_error() => {
                        Told::Failed { why: format!("it was answered with {status}") }
                    }
                    refused => Told::Refused { status: refused },
                }
            }
            // Its address may have a secret in it.
            Err(error) => Told::Failed { why: chain(&error.without_url()) },
        }
    }

    /// What is told of a thing as it is now; `None` if it is gone, or the rule's condition does not hold.
    async fn notification(&self, action: &PushAction, thing: i64) -> Result<Option<Value>, Problem> {
        let (engine, of_store) = (&self.engine, super::refusal::of_store);
        let rule = engine.push_rule(&action.rule_id).await.map_err(of_store)?;
        let Some(rule) = rule else { return Ok(None) };
        let data = match action.subject {
            PushSubject::Campaign => self.campaign(CampaignKey(thing)).await?,
            PushSubject::Device => match engine.pushed_device(DeviceKey(thing)).await.map_err(of_store)? {
                Some(device) => Some(self.device(&device).await?),
                None => None,
            },
            PushSubject::Deployment => {
                match engine.pushed_deployment(DeploymentKey(thing)).await.map_err(of_store)? {
                    Some(deployment) => Some(self.deployment(&deployment).await?),
                    None => None,
                }
            }
        };
        let Some(data) = data else { return Ok(None) };
        let told = self.enveloped(action.subject, "update", data)?;
        let condition = Filter::of_rule(&rule.members);
        let is_of_its_space = rules::is_told_of(&rule, &told["notify_data"]["body"]["app_id"]);
        Ok((is_of_its_space && condition.holds(&told)).then_some(told))
    }

    /// With what every notification has around it.
    pub(crate) fn enveloped(&self, subject: PushSubject, event: &str, data: Value) -> Result<Value, Problem> {
        let now = self.engine.wall();
        Ok(json!({
            "resource": resource(subject),
            "event": event,
            "event_time": seconds(now),
            "event_time_ms": millis(now),
            "request_id": super::new_uuid()?,
            "notify_data": data,
        }))
    }

    async fn campaign(&self, key: CampaignKey) -> Result<Option<Value>, Problem> {
        let found = self.engine.pushed_campaign(key).await.map_err(super::refusal::of_store)?;
        let Some((row, counts)) = found else { return Ok(None) };
        let kept = members::of(&self.engine, Thing::Campaign(key)).await?;
        let (refused, expected) = tasks::beside(kept);
        let progress = Progress::of(&row, &counts, refused, expected);
        let kind = row.packages.first().map_or("", |package| task_type(package.kind));
        Ok(Some(json!({"body": {
            "app_id": self.app_of(&row.product_id).await?,
            "task_id": row.campaign_id,
            "task_type": kind,
            "status": TaskStatus::of(&row, &progress).name(),
            "status_desc": tasks::status_desc(&row),
        }})))
    }

    /// The resource space of a product.
    async fn app_of(&self, product_id: &str) -> Result<String, Problem> {
        let product = self.engine.product(product_id).await.map_err(super::refusal::of_store)?;
        let apps = Apps::of(&self.engine).await?;
        Ok(apps.id(Apps::of_product(product.as_ref())).to_owned())
    }

    async fn device(&self, view: &DeviceView) -> Result<Value, Problem> {
        let body = devices::told(&self.engine, view).await?;
        Ok(json!({"header": header(&body), "body": body}))
    }

    async fn deployment(&self, view: &DeploymentView) -> Result<Value, Problem> {
        let device = self.engine.device(&view.device_id).await.map_err(super::refusal::of_store)?;
        let header = match &device {
            Some(device) => header(&devices::told(&self.engine, device).await?),
            None => json!({"device_id": view.device_id}),
        };
        let word = view.outcome.unwrap_or(view.state);
        // A campaign that moved a deployment has begun.
        let status = Label::ALL.into_iter().find(|label| label.name() == word);
        let status = status.map(|label| SubStatus::of(label, true));
        let app_id = match header["app_id"].as_str() {
            Some(app_id) => app_id.to_owned(),
            // The device was deleted.
            None => match self.engine.campaign(&view.campaign_id).await.map_err(super::refusal::of_store)? {
                Some((campaign, _)) => self.app_of(&campaign.product_id).await?,
                None => self.engine.project_id().to_owned(),
            },
        };
        let mut body = json!({
            "app_id": app_id,
            "deployment_id": view.deployment_id,
            "task_id": view.campaign_id,
            "device_id": view.device_id,
            "state": view.state,
            "outcome": view.outcome,
            "status": status.map(SubStatus::name),
            "result_code": view.result_code,
            "progress": view.progress,
            "version_before": view.version_before,
            "reported_version": view.reported_version,
            "target_version": view.target_version,
            "attempt": view.attempt,
            "run": view.run,
            "explanation": view.explanation,
            "updated_at": millis(view.updated_at),
        });
        if let Some(error) = status.and_then(|status| error_of(view, status)) {
            body["error"] = json!(error);
        }
        Ok(json!({"header": header, "body": body}))
    }
}

/// The word of the application API for what is told.
pub(crate) fn resource(subject: PushSubject) -> &'static str {
    match subject {
        PushSubject::Campaign => "batchtask",
        PushSubject::Device => "device",
        PushSubject::Deployment => "deployment",
    }
}

/// The members of a device that a notification begins with.
fn header(device: &Value) -> Value {
    let names = ["app_id", "device_id", "node_id", "product_id", "gateway_id"];
    names.iter().map(|name| ((*name).to_owned(), device[*name].clone())).collect()
}

/// `t=SECONDS,v1=HEX`: the HMAC-SHA256 of `SECONDS.BODY` with the token of the action.
fn signature(token: &str, seconds: i64, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(token.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(format!("{seconds}.{body}").as_bytes());
    let mut text = format!("t={seconds},v1=");
    for byte in mac.finalize().into_bytes() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// What came of a turn of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    Nothing,
    Told,
    Failed,
}

/// Between two turns of an action.
#[derive(Default)]
struct Rest {
    is_at_work: bool,
    failures: u32,
    until: Option<Instant>,
}

impl Rest {
    fn after(&mut self, came: Came, limits: PushLimits) {
        self.is_at_work = false;
        match came {
            Came::Nothing | Came::Told => {
                self.failures = 0;
                self.until = None;
            }
            Came::Failed => {
                let doubled =
                    limits.pause.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX));
                self.failures = (self.failures + 1).min(30);
                self.until = Some(Instant::now() + doubled.min(limits.pause_max));
            }
        }
    }
}

fn count(settled: &[PushSettled]) {
    for one in settled {
        let became = match one.became {
            PushBecame::Told => "told",
            PushBecame::Failed { .. } => "failed",
            PushBecame::Dead { .. } => "dead",
        };
        metrics::counter!("otaru_pushes_total", "became" => became).increment(1);
    }
}

/// Says what is counted here.
pub(crate) fn describe_metrics() {
    metrics::describe_counter!(
        "otaru_pushes_total",
        "Notifications to applications, by what became of them."
    );
    for became in ["told", "failed", "dead"] {
        metrics::counter!("otaru_pushes_total", "became" => became).increment(0);
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let _ = write!(text, ": {source}");
        next = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_covers_the_time_and_the_body() {
        let signed = signature("secret", 1_790_000_000, "{}");
        // Made with another program.
        let hmac = "d0cadd434460d4af55e7ab90d79c1802591d7001a77c9e06471d0e3ec8cc85ae";
        assert_eq!(signed, format!("t=1790000000,v1={hmac}"));
        assert_ne!(signed, signature("secret", 1_790_000_001, "{}"));
        assert_ne!(signed, signature("secret", 1_790_000_000, "{ }"));
        assert_ne!(signed, signature("other", 1_790_000_000, "{}"));
    }

    #[test]
    fn refusals_and_failures_are_counted_apart() {
        for (refused, failed, expected) in
            [(0, 0, false), (2, 479, false), (3, 0, true), (0, 480, true), (1, 480, true), (3, 479, true)]
        {
            assert_eq!(
                is_final(refused * REFUSAL + failed),
                expected,
                "{refused} refusals, {failed} failures"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_pause_doubles_up_to_the_longest_and_ends_with_a_success() {
        let (mut rest, limits) = (Rest::default(), PushLimits::default());
        let mut pauses = Vec::new();
        for _ in 0..10 {
            rest.after(Came::Failed, limits);
            pauses.push((rest.until.unwrap() - Instant::now()).as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 180, 180]);
        rest.after(Came::Told, limits);
        assert!(rest.until.is_none());
        rest.after(Came::Failed, limits);
        assert_eq!(rest.until.unwrap() - Instant::now(), limits.pause);
    }
}
