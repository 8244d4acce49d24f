//! Who takes part in the demo: mostly devices that do well, and one or more of every kind that does not.

use std::time::Duration;

use otaru_fleet::{DeviceConfig, Pace, Random, Script, ScriptMix};
use otaru_proto::{DeviceId, FailureCode, Version};

pub(super) const PRODUCT: &str = "demo";
pub(super) const OLD_VERSION: &str = "1.4.0";
pub(super) const NEW_VERSION: &str = "1.5.0";

/// The demo's devices and the bytes they will run.
pub(crate) struct Cast {
    pub(super) players: Vec<Player>,
    pub(super) package: Vec<u8>,
}

/// One device, and under which number it is registered.
pub(super) struct Player {
    pub(super) node_id: String,
    pub(super) device: DeviceConfig,
}

/// Quick enough to watch, slow enough to see the progress move.
const PACE: Pace = Pace { step: Duration::from_millis(400), reboot: Duration::from_millis(800) };

/// Large enough to take several reads, small enough for a thousand devices on one machine.
const PACKAGE_BYTES: usize = 192 * 1024;

/// Shares in thousandths. Failures come in the two ways in which devices in the field report them: naming the
/// version that runs, and, as the C and C# samples do, the one that was to be installed.
fn mix() -> ScriptMix {
    let fails = |code: FailureCode, names_target| Script::Fails { code, names_target };
    ScriptMix {
        rest: Script::Succeeds { reboots: true },
        shares: vec![
            (Script::Lies, 5),
            (fails(FailureCode::PoorSignal, false), 20),
            (fails(FailureCode::LowBattery, true), 15),
            (fails(FailureCode::NoStorage, false), 15),
            (fails(FailureCode::VerifyFailed, true), 20),
            (fails(FailureCode::InstallFailed, true), 20),
            (fails(FailureCode::Internal, false), 10),
            (Script::FallsSilent, 15),
            (Script::Vanishes, 10),
            (Script::NeverOnline, 10),
            (Script::AlreadyLatest, 30),
            (Script::JavaStyle, 100),
            (Script::Slow, 50),
            (Script::Succeeds { reboots: false }, 200),
        ],
    }
}

impl Cast {
    /// The cast that a seed decides.
    pub(crate) fn draw(devices: u32, seed: u64) -> anyhow::Result<Cast> {
        let mut random = Random::seeded(seed);
        let scripts = mix().cast(devices as usize, &mut random);
        let mut players = Vec::with_capacity(scripts.len());
        for (number, script) in scripts.into_iter().enumerate() {
            let node_id = format!("{number:04}");
            let runs = if script == Script::AlreadyLatest { NEW_VERSION } else { OLD_VERSION };
            let device = DeviceConfig {
                device_id: DeviceId::parse(&format!("{PRODUCT}_{node_id}"))?,
                // Not secret: it guards a simulated device on this machine's loopback.
                secret: format!("demo-{:016x}", random.next_u64()),
                firmware: Version::parse_target(runs)?,
                software: None,
                script,
                pace: PACE,
                subscribes: number % 2 == 0,
                seed: random.next_u64(),
                children: Vec::new(),
            };
            players.push(Player { node_id, device });
        }
        let package = (0..PACKAGE_BYTES / 8).flat_map(|_| random.next_u64().to_le_bytes()).collect();
        Ok(Cast { players, package })
    }

    /// Every device with what it does.
    pub(crate) fn scripts(&self) -> impl Iterator<Item = (&DeviceId, &Script)> {
        self.players.iter().map(|player| (&player.device.device_id, &player.device.script))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use otaru_fleet::Ending;
    use std::collections::BTreeMap;

    #[test]
    fn the_smallest_useful_cast_has_every_kind() {
        let cast = Cast::draw(24, 1).unwrap();
        let mut endings = BTreeMap::new();
        for player in &cast.players {
            let ending = player.device.script.ending();
            *endings.entry((ending.outcome(), ending.result_code())).or_insert(0) += 1;
        }
        for expected in [
            ("installed", None),
            ("already_installed", None),
            ("failed", Some(2)),
            ("failed", Some(4)),
            ("failed", Some(5)),
            ("failed", Some(7)),
            ("failed", Some(10)),
            ("failed", Some(255)),
            ("timed_out", None),
            ("version_mismatch", None),
        ] {
            assert!(endings.contains_key(&expected), "{expected:?} in {endings:?}");
        }
    }

    #[test]
    fn most_of_the_usual_cast_does_well_and_one_lies() {
        let cast = Cast::draw(200, 1).unwrap();
        let count =
            |ending| cast.players.iter().filter(|player| player.device.script.ending() == ending).count();
        assert_eq!(count(Ending::VersionMismatch), 1);
        assert!(count(Ending::Installed) > 150);
    }
}
