//! Forgetting what has become old, as the settings say.
//!
//! Always true:
//! - It goes in chunks with rests between them, so that reports do not wait.
//! - Nothing is forgotten by a wall clock that has jumped.
//! - What is unfinished is not touched, and the device's own state is not either.

use std::sync::Arc;
use std::time::Duration;

use otaru_core::WallTime;
use otaru_store::{Aging, StoreError};

use crate::driver::{Engine, Shared};
use crate::limits::{
    CLOCK_DRIFT_MAX, CLOCK_TRUSTED_AFTER, FORGET_CHUNK, FORGET_EVERY, FORGET_PAGE, FORGET_PAUSE,
};
use crate::settings::Retention;

/// How much was forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForgottenOld {
    /// Reports.
    pub reports: u64,
    /// Lines of devices' logs.
    pub device_logs: u64,
    /// Lines of the audit log.
    pub audit: u64,
    /// Events that were kept aside.
    pub quarantine: u64,
    /// Campaigns; their deployments follow in the background.
    pub campaigns: u64,
    /// Artifacts.
    pub artifacts: u64,
    /// Files that belonged to no artifact.
    pub orphans: u64,
}

impl Engine {
    /// Forgets now what is older than the settings say. The platform does this by itself every hour; calling it again
    /// finds nothing more.
    ///
    /// # Errors
    ///
    /// The store could not be read or written; what was forgotten until then is gone.
    pub async fn forget_old(&self) -> Result<ForgottenOld, StoreError> {
        self.shared.forget_old().await
    }
}

/// Looks every hour, until the engine stops.
pub(crate) async fn now_and_then(shared: Arc<Shared>) {
    let mut trust = Trust::new(shared.clock.elapsed(), shared.clock.wall());
    while !shared.is_stopping() {
        tokio::select! {
            () = tokio::time::sleep(FORGET_EVERY) => {}
            () = shared.forgetting.notified() => continue,
        }
        if !trust.look(shared.clock.elapsed(), shared.clock.wall()) {
            tracing::warn!(
                "the wall clock has jumped: nothing is forgotten until it has gone evenly for a day"
            );
            continue;
        }
        match shared.forget_old().await {
            Ok(ForgottenOld { .. }) => {}
            Err(error) => {
                tracing::warn!(%error, "could not forget what is old; it is tried again in an hour")
            }
        }
    }
}

/// Whether the wall clock can be believed in what is old.
struct Trust {
    last: (Duration, WallTime),
    /// Not before this.
    from: Duration,
}

impl Trust {
    fn new(elapsed: Duration, wall: WallTime) -> Trust {
        Trust { last: (elapsed, wall), from: elapsed }
    }

    /// Compares both clocks with what they showed last.
    fn look(&mut self, elapsed: Duration, wall: WallTime) -> bool {
        let (elapsed_then, wall_then) = self.last;
        self.last = (elapsed, wall);
        let even = i64::try_from(elapsed.saturating_sub(elapsed_then).as_millis()).unwrap_or(i64::MAX);
        let off = wall.0.saturating_sub(wall_then.0).saturating_sub(even).unsigned_abs();
        if u128::from(off) > CLOCK_DRIFT_MAX.as_millis() {
            self.from = elapsed + CLOCK_TRUSTED_AFTER;
        }
        elapsed >= self.from
    }
}

impl Shared {
    async fn forget_old(&self) -> Result<ForgottenOld, StoreError> {
        let Retention { reports, device_logs, audit, quarantine, campaigns, artifacts } =
            self.settings.retention.clone();
        let forgotten = ForgottenOld {
            reports: self.forget_rows(Aging::Reports, reports).await?,
            device_logs: self.forget_rows(Aging::DeviceLogs, device_logs).await?,
            audit: self.forget_rows(Aging::Audit, audit).await?,
            quarantine: self.forget_rows(Aging::Quarantine, quarantine).await?,
            campaigns: self.forget_campaigns(campaigns).await?,
            artifacts: self.forget_artifacts(artifacts).await?,
            orphans: self.delete_orphans().await?,
        };
        if forgotten != ForgottenOld::default() {
            tracing::info!(?forgotten, "forgot what was old");
        }
        Ok(forgotten)
    }

    /// What is from before this is old; `None`: nothing ever is.
    fn before(&self, kept: Option<Duration>) -> Option<WallTime> {
        let kept = i64::try_from(kept?.as_millis()).unwrap_or(i64::MAX);
        Some(WallTime(self.clock.wall().0.saturating_sub(kept)))
    }

    async fn forget_rows(&self, kind: Aging, kept: Option<Duration>) -> Result<u64, StoreError> {
        let Some(before) = self.before(kept) else { return Ok(0) };
        let (mut from, mut rows) = (0, 0);
        while !self.is_stopping() {
            let step = self.store.forget(kind, before, from, FORGET_CHUNK).await?;
            rows += u64::from(step.rows);
            match step.next {
                Some(next) => from = next,
                None => break,
            }
            tokio::time::sleep(FORGET_PAUSE).await;
        }
        count(name_of(kind), rows);
        Ok(rows)
    }

    async fn forget_campaigns(&self, kept: Option<Duration>) -> Result<u64, StoreError> {
        let Some(before) = self.before(kept) else { return Ok(0) };
        let mut gone = 0;
        loop {
            let old = self.store.ended_campaigns(before, FORGET_PAGE).await?;
            let mut here = 0;
            for campaign_id in &old {
                if self.delete_campaign(&self.platform(), campaign_id).await? {
                    here += 1;
                }
                tokio::time::sleep(FORGET_PAUSE).await;
            }
            gone += here;
            // Those with something unfinished are looked at again next time.
            if here < u64::from(FORGET_PAGE) || self.is_stopping() {
                count("campaigns", gone);
                return Ok(gone);
            }
        }
    }

    async fn forget_artifacts(&self, kept: Option<Duration>) -> Result<u64, StoreError> {
        let Some(before) = self.before(kept) else { return Ok(0) };
        let (mut after, mut gone): (Option<String>, u64) = (None, 0);
        while !self.is_stopping() {
            let old = self.store.unused_artifacts(before, after.as_deref(), FORGET_PAGE).await?;
            let Some(last) = old.last() else { break };
            after = Some(last.artifact_id.clone());
            for row in &old {
                match self.delete_artifact(&self.platform(), &row.artifact_id).await {
                    Ok(is_gone) => gone += u64::from(is_gone),
                    // A package was made of it since.
                    Err(StoreError::InUse { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        count("artifacts", gone);
        Ok(gone)
    }
}

fn name_of(kind: Aging) -> &'static str {
    match kind {
        Aging::Reports => "reports",
        Aging::DeviceLogs => "device_logs",
        Aging::Audit => "audit",
        Aging::Quarantine => "quarantine",
    }
}

fn count(kind: &'static str, rows: u64) {
    metrics::counter!("otaru_forgotten_total", "kind" => kind).increment(rows);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_jumped_is_trusted_after_a_day_of_going_evenly() {
        const HOUR: u64 = 3_600;
        let mut trust = Trust::new(Duration::ZERO, WallTime(0));
        let mut look = |hours: u64, wall_hours: u64| {
            trust.look(Duration::from_secs(hours * HOUR), WallTime((wall_hours * HOUR * 1_000) as i64))
        };
        assert!(look(1, 1));
        assert!(!look(2, 9_000), "years ahead");
        assert!(!look(25, 9_023));
        assert!(look(26, 9_024));
        assert!(!look(27, 28), "and back again");
        assert!(look(52, 53));
    }
}
