//! What is played: who takes part, what the operator does, and what goes wrong. A seed decides all of it.

use otaru_core::campaign::{OnConflict, Policy, Retry, Slots, Timers};
use otaru_fleet::Random;
use otaru_proto::FailureCode;

use crate::device::Habit;

/// One play.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub seed: u64,
    /// Each with whether it says again what was not acknowledged.
    pub devices: Vec<(Habit, bool)>,
    pub policy: Policy,
    /// A second campaign wants all of them on a still newer version, from this moment on.
    pub second: Option<(u64, Policy)>,
    pub operator: Vec<(u64, Act)>,
    pub trouble: Trouble,
    /// When everything that goes wrong is over, in milliseconds.
    pub calm_at: u64,
    /// When everything must have come to its end.
    pub ends_at: u64,
    /// Milliseconds between two looks at everything.
    pub look_every: u64,
    /// Within so many milliseconds all devices are switched on.
    pub switched_on_within: u64,
}

/// What an operator does to the first campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Pause,
    Resume,
    Cancel,
    /// One device's deployment, or everything that is not finished.
    Stop(Option<usize>),
    /// The same for what ended without success.
    Retry(Option<usize>),
    /// The same for what waits to be confirmed.
    Confirm(Option<usize>),
}

/// What goes wrong.
#[derive(Clone, Debug, Default)]
pub struct Trouble {
    /// Of a thousand messages, so many are lost, and their link with them.
    pub lost: u64,
    /// So many arrive twice.
    pub twice: u64,
    /// So many overtake others.
    pub overtakes: u64,
    /// Longest way of a message, in milliseconds.
    pub delay: u64,
    /// Milliseconds from one lost link of a device to the next, about; 0: none.
    pub cuts_every: u64,
    /// When the platform is killed, after how many more turns of its tasks, and for how long it is down.
    pub crashes: Vec<(u64, u32, u64)>,
    /// When the next writes fail, and how many.
    pub failures: Vec<(u64, u32)>,
    /// When the store stands still, and for how long.
    pub stalls: Vec<(u64, u64)>,
    /// When the wall clock jumps, and how far.
    pub jumps: Vec<(u64, i64)>,
    /// Longest time of a write before it is carried out, and after, in milliseconds.
    pub store_delay: u64,
}

const MINUTE: u64 = 60_000;

impl Scenario {
    /// The play of this seed.
    pub fn of(seed: u64) -> Scenario {
        let mut random = Random::fork(seed, 0);
        let calm_at = 4 * MINUTE + random.below(6 * MINUTE);
        let devices: Vec<_> =
            (0..2 + random.below(5)).map(|_| (habit(&mut random), random.below(3) > 0)).collect();
        let second = (random.below(3) == 0).then(|| (random.below(calm_at), policy(&mut random)));
        let mut operator = Vec::new();
        if random.below(4) == 0 {
            let at = random.below(calm_at);
            operator.extend([(at, Act::Pause), (at + 1_000 + random.below(calm_at), Act::Resume)]);
        }
        if random.below(8) == 0 {
            operator.push((random.below(calm_at), Act::Cancel));
        }
        operator.extend(single_acts(seed, devices.len(), calm_at));
        let confirmations = confirmations(seed, devices.len(), calm_at);
        let need_confirm = !confirmations.is_empty();
        operator.extend(confirmations);
        let trouble = Trouble::of(&mut random, calm_at);
        Scenario {
            seed,
            devices,
            policy: Policy { need_confirm, ..policy(&mut random) },
            second,
            operator,
            trouble,
            calm_at,
            ends_at: calm_at + 8 * 60 * MINUTE,
            look_every: 20_000,
            switched_on_within: 30_000,
        }
    }

    /// A day of a large campaign on a usual network: some links are lost, nothing else goes wrong.
    pub fn day(seed: u64, devices: usize) -> Scenario {
        let mut random = Random::fork(seed, 1);
        let hour = 60 * MINUTE;
        Scenario {
            seed,
            devices: (0..devices).map(|_| (habit(&mut random), true)).collect(),
            policy: Policy { slots: Slots { concurrency: Some(2_000) }, ..Policy::default() },
            second: None,
            operator: vec![(2 * hour, Act::Pause), (3 * hour, Act::Resume)],
            trouble: Trouble { lost: 2, twice: 5, delay: 400, cuts_every: 4 * hour, ..Trouble::default() },
            calm_at: 20 * hour,
            ends_at: 80 * hour,
            look_every: hour,
            switched_on_within: 12 * hour,
        }
    }
}

impl Trouble {
    fn of(random: &mut Random, calm_at: u64) -> Trouble {
        let mut some = |most: u64| random.below(most + 1);
        let mut times = |most: u64| (0..some(most)).map(|_| some(calm_at)).collect::<Vec<u64>>();
        let (crashes, failures, stalls, jumps) = (times(3), times(3), times(2), times(2));
        Trouble {
            lost: some(60),
            twice: some(150),
            overtakes: some(2) * some(60),
            delay: 20 + some(3_000),
            cuts_every: some(1) * (20_000 + some(120_000)),
            crashes: crashes
                .into_iter()
                .map(|at| (at, u32::try_from(some(60)).unwrap_or(0), 500 + some(20_000)))
                .collect(),
            failures: failures.into_iter().map(|at| (at, 1 + u32::try_from(some(12)).unwrap_or(0))).collect(),
            stalls: stalls.into_iter().map(|at| (at, 200 + some(45_000))).collect(),
            jumps: jumps
                .into_iter()
                .map(|at| (at, i64::try_from(some(400_000_000)).unwrap_or(0) - 200_000_000))
                .collect(),
            store_delay: some(2) * some(200),
        }
    }
}

/// What an operator who does not leave things alone does to single deployments. Its numbers are its own, so that what
/// else is in a seed stays as it is.
fn single_acts(seed: u64, devices: usize, calm_at: u64) -> Vec<(u64, Act)> {
    let mut random = Random::fork(seed, 3);
    if random.below(3) > 0 {
        return Vec::new();
    }
    let act = |_| {
        let device = usize::try_from(random.below(devices as u64)).unwrap_or(0);
        let device = (random.below(3) > 0).then_some(device);
        let at = random.below(calm_at + calm_at / 2);
        (at, if random.below(5) < 2 { Act::Stop(device) } else { Act::Retry(device) })
    };
    (0..5).map(act).collect()
}

/// What an operator confirms, in a campaign where that is needed: some early, and in the end everything.
fn confirmations(seed: u64, devices: usize, calm_at: u64) -> Vec<(u64, Act)> {
    let mut random = Random::fork(seed, 4);
    if random.below(5) > 0 {
        return Vec::new();
    }
    let mut all: Vec<(u64, Act)> = (0..random.below(4))
        .map(|_| {
            let device = usize::try_from(random.below(devices as u64)).unwrap_or(0);
            (random.below(calm_at), Act::Confirm((random.below(4) > 0).then_some(device)))
        })
        .collect();
    // After the last retry, which waits to be confirmed as well.
    all.push((2 * calm_at, Act::Confirm(None)));
    all
}

fn policy(random: &mut Random) -> Policy {
    let timers = Timers {
        online_ms: 40 * MINUTE,
        answer_ms: 30_000,
        result_ms: 40 * MINUTE,
        confirm_ms: MINUTE,
        settle_underway_ms: 5_000,
        download_quiet_ms: 5_000,
    };
    let concurrency = (random.below(3) == 0).then(|| 1 + u32::try_from(random.below(3)).unwrap_or(0));
    let on_conflict = match random.below(4) {
        0 => OnConflict::Fail,
        1 => OnConflict::Supersede,
        _ => OnConflict::Hold,
    };
    Policy {
        slots: Slots { concurrency },
        retry: Retry { count: u32::try_from(random.below(3)).unwrap_or(0), interval_secs: random.below(90) },
        on_conflict,
        timers,
        ..Policy::default()
    }
}

fn habit(random: &mut Random) -> Habit {
    match random.below(16) {
        0..=2 => Habit::Succeeds,
        3 | 4 => Habit::Reboots,
        5 | 6 => Habit::OldVersionFirst,
        7 => Habit::SaysTwice,
        8 => Habit::Slow,
        9 => Habit::FallsSilent,
        10 => Habit::Vanishes,
        11 => Habit::Lies,
        12 => Habit::HasIt,
        13 => Habit::NeverOnline,
        _ => {
            let code = i64::try_from(1 + random.below(10)).unwrap_or(1);
            Habit::Fails(FailureCode::from_wire(code).unwrap_or(FailureCode::LowBattery))
        }
    }
}
