//! Random histories: whatever happens, the counters and the indexes tell the truth.

use otaru_core::ServiceTime;
use otaru_core::deployment::{Deployment, Label, OutcomeKind};
use otaru_proto::ResultCode;

use super::world::{Must, World, asked, finished, offered, released, report, running, waiting};
use crate::{CampaignKey, Changes, DeploymentFilter, DeviceKey, StoreError, Wanted};

/// Enough for every pair of labels to be met several times.
const ROUNDS: u64 = 120;

pub(super) async fn counters_are_what_a_recount_says_after_any_history(world: &World) {
    let devices = world.devices(8).await;
    let campaigns = [
        world.filled("c1", &Deployment::queued()).await,
        world.filled("c2", &released(50)).await,
        world.filled("c3", &released(60)).await,
    ];
    let mut dice = Dice(0x5eed);
    let (mut refused, mut again) = (0, 0);
    for round in 0..ROUNDS {
        match random_batch(world, &devices, &mut dice).await {
            Ok(()) => {}
            Err(StoreError::Constraint(_) | StoreError::DecisionPanicked(_)) => refused += 1,
            Err(other) => panic!("round {round}: {other}"),
        }
        if dice.roll(10) == 0 {
            let campaign = campaigns[dice.roll(3)];
            let limit = dice.roll(4) as u32;
            world.store.release_chunk(campaign, limit, super::world::NOW, &released(40)).await.must();
        }
        if dice.roll(4) == 0 {
            let (campaign, device) = (campaigns[dice.roll(3)], devices[dice.roll(8)]);
            match world.run_again(campaign, &[device], released(40)).await {
                Ok(runs) => again += runs.len(),
                Err(StoreError::Constraint(_)) => refused += 1,
                Err(other) => panic!("round {round}: {other}"),
            }
        }
        holds(world, &campaigns, &devices, round).await;
    }
    assert!(again > 3, "some have a further run, or this shows little");
    assert!(refused > 3, "some batches break a rule, or this shows little");
    let mut kept = 0;
    for device in devices {
        let reports = world.store.reports(device, None, 10_000).await.must();
        assert!(reports.windows(2).all(|pair| pair[0].seq > pair[1].seq));
        kept += reports.len();
    }
    assert!(kept > 80, "{kept} reports show little");
}

/// Moves some deployments of some devices anywhere; now and then against a rule, now and then with a panic.
async fn random_batch(world: &World, devices: &[DeviceKey], dice: &mut Dice) -> Result<(), StoreError> {
    let chosen: Vec<DeviceKey> = devices.iter().copied().filter(|_| dice.roll(3) == 0).collect();
    let mut dice_inside = Dice(dice.next());
    let decide = move |loaded: crate::Loaded| {
        let dice = &mut dice_inside;
        let mut changes = Changes::default();
        for (device, view) in &loaded.devices {
            for row in &view.unfinished {
                if dice.roll(2) == 0 {
                    let mut row = row.clone();
                    row.deployment = random_deployment(dice);
                    changes.deployments.push(row);
                }
            }
            if dice.roll(3) > 0 {
                changes.reports.push(report(*device, "r"));
            }
        }
        assert!(dice.roll(12) > 0, "now and then a decision panics");
        (changes, ())
    };
    world.batch(&chosen, decide).await.map(|_| ())
}

fn random_deployment(dice: &mut Dice) -> Deployment {
    let until = dice.roll(100) as i64;
    match dice.roll(16) {
        0..3 => Deployment::queued(),
        3..6 => released(until),
        6..8 => asked(until),
        8..10 => offered(until),
        10..13 => running(until),
        13..15 => waiting(until),
        _ => {
            let kind = [OutcomeKind::Installed, OutcomeKind::Failed, OutcomeKind::TimedOut][dice.roll(3)];
            let code = [None, Some(0), Some(4), Some(-7)][dice.roll(4)];
            Deployment { result_code: code.map(ResultCode::from_wire), ..finished(kind) }
        }
    }
}

/// What must hold after any history.
async fn holds(world: &World, campaigns: &[CampaignKey], devices: &[DeviceKey], round: u64) {
    let mut earliest: Option<ServiceTime> = None;
    let mut at_work = std::collections::BTreeMap::<DeviceKey, usize>::new();
    for campaign in campaigns {
        let (_, counts) = world.store.campaign_by_key(*campaign).await.must().must();
        assert_eq!(counts, world.store.recount(*campaign).await.must(), "round {round}");
        assert_eq!(counts.total(), devices.len() as u64, "round {round}");
        let all = world.deployments(*campaign, DeploymentFilter::default()).await;
        for label in Label::ALL {
            let listed = world.deployments(*campaign, DeploymentFilter::only(label)).await.len();
            assert_eq!(counts.of(label), listed as u64, "round {round}, {}", label.name());
        }
        let mut failures = std::collections::BTreeMap::<(Label, Option<i64>), u64>::new();
        for record in all.iter().filter(|record| record.row.deployment.label().is_failure()) {
            let deployment = &record.row.deployment;
            let code = deployment.result_code.map(ResultCode::to_wire);
            *failures.entry((deployment.label(), code)).or_default() += 1;
        }
        let counted = world.store.failures(*campaign, 1_000, 0).await.must();
        let counted = counted.into_iter().map(|group| ((group.label, group.code), group.n));
        assert_eq!(counted.collect::<std::collections::BTreeMap<_, _>>(), failures, "round {round}");
        for record in &all {
            let deployment = &record.row.deployment;
            earliest = earliest.into_iter().chain(deployment.wake_at()).min();
            *at_work.entry(record.row.device).or_default() += usize::from(deployment.label().holds_slot());
        }
    }
    assert_eq!(world.store.next_wake().await.must(), earliest, "round {round}");
    assert!(at_work.values().all(|n| *n <= 1), "round {round}: two at work on one device");
    let loaded = world.load(Wanted { devices: devices.to_vec(), ..Wanted::default() }).await;
    for (device, view) in &loaded.devices {
        let history = world.store.deployments_of_device(*device, 1_000).await.must();
        let unfinished = history.iter().rev().filter(|record| !record.row.deployment.label().is_finished());
        assert!(unfinished.map(|record| &record.row).eq(&view.unfinished), "round {round}");
        assert_eq!(view.last_finished.as_ref().map(|row| row.key), view.state.last_finished, "round {round}");
    }
}

/// A small generator of numbers that look random (xorshift): the same seed gives the same history.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    pub(super) fn roll(&mut self, sides: usize) -> usize {
        (self.next() >> 11) as usize % sides
    }
}
