//! Who takes part: devices with their names and scripts, and the children behind the gateways.

use anyhow::Context as _;
use otaru_fleet::{Child, DeviceConfig, Random, Script, ScriptMix};
use otaru_proto::DeviceId;
use serde_json::{Value, json};

use super::profile::Profile;
use crate::cli::SimulateArgs;

/// Numbers have at least so many digits, so that names sort like numbers.
const DIGITS: usize = 5;

/// The devices of a crowd, and the bytes that a campaign brings them.
pub(super) struct Cast {
    pub(super) devices: Vec<DeviceConfig>,
    product: String,
    pub(super) package: Vec<u8>,
}

impl Cast {
    /// The cast that the seed decides.
    pub(super) fn draw(args: &SimulateArgs, profile: &Profile) -> anyhow::Result<Cast> {
        let mut random = Random::seeded(args.seed);
        let mix = ScriptMix { rest: profile.rest.clone(), shares: profile.shares.clone() };
        let scripts = mix.cast(args.devices as usize, &mut random);
        let mut devices = Vec::with_capacity(scripts.len());
        for (number, script) in scripts.into_iter().enumerate() {
            let name = format!("{}{number:0DIGITS$}", args.prefix);
            let behind = if script == Script::Gateway { profile.children } else { 0 };
            let children = (0..behind)
                .map(|child| {
                    let script = child_script(profile, &mut random);
                    let name = format!("{name}-{child:03}");
                    one(args, profile, &name, script, child as usize, &mut random)
                })
                .collect::<anyhow::Result<Vec<Child>>>()?;
            let Child { device_id, firmware, software, script, pace, seed } =
                one(args, profile, &name, script, number, &mut random)?;
            devices.push(DeviceConfig {
                device_id,
                secret: args.secret.clone(),
                firmware,
                software,
                script,
                pace,
                subscribes: number % 2 == 0,
                seed,
                children,
            });
        }
        let package = (0..profile.package_bytes.div_ceil(8)).flat_map(|_| random.next_u64().to_le_bytes());
        let package = package.take(profile.package_bytes).collect();
        Ok(Cast { devices, product: args.product.clone(), package })
    }

    /// Everybody, children included, with what they do.
    pub(super) fn scripts(&self) -> impl Iterator<Item = (&DeviceId, &Script)> {
        self.devices.iter().flat_map(|device| {
            let children = device.children.iter().map(|child| (&child.device_id, &child.script));
            std::iter::once((&device.device_id, &device.script)).chain(children)
        })
    }

    /// How many devices will ever connect.
    pub(super) fn connecting(&self) -> u64 {
        self.devices.iter().filter(|device| device.script != Script::NeverOnline).count() as u64
    }

    /// How the devices that connect are registered.
    pub(super) fn registrations(&self) -> impl Iterator<Item = Value> {
        self.devices.iter().map(|device| {
            json!({
                "node_id": self.node_id(&device.device_id),
                "product_id": self.product,
                "secret": device.secret,
            })
        })
    }

    /// How the children are registered, once their gateways are.
    pub(super) fn child_registrations(&self) -> impl Iterator<Item = Value> {
        self.devices.iter().flat_map(|gateway| {
            gateway.children.iter().map(|child| {
                json!({
                    "node_id": self.node_id(&child.device_id),
                    "product_id": self.product,
                    "gateway_id": gateway.device_id.as_str(),
                })
            })
        })
    }

    fn node_id<'a>(&self, id: &'a DeviceId) -> &'a str {
        id.as_str().get(self.product.len() + 1..).unwrap_or_default()
    }
}

fn one(
    args: &SimulateArgs,
    profile: &Profile,
    name: &str,
    script: Script,
    number: usize,
    random: &mut Random,
) -> anyhow::Result<Child> {
    let id = format!("{}_{name}", args.product);
    let device_id = DeviceId::parse(&id)
        .with_context(|| format!("--product and --prefix give {id:?}, which is no device id"))?;
    let runs = if script == Script::AlreadyLatest { &profile.new_version } else { &profile.firmware };
    let script = if let Script::Fails { code, .. } = script {
        // Both ways in which devices in the field report a failure.
        Script::Fails { code, names_target: number % 2 == 1 }
    } else {
        script
    };
    Ok(Child {
        device_id,
        firmware: runs.clone(),
        software: None,
        script,
        pace: profile.pace,
        seed: random.next_u64(),
    })
}

/// Each child draws for itself, because there are too few behind one gateway for every share to be there.
fn child_script(profile: &Profile, random: &mut Random) -> Script {
    let mut drawn = random.below(1000);
    for (script, share) in profile.shares.iter().filter(|(script, _)| *script != Script::Gateway) {
        match drawn.checked_sub(u64::from(*share)) {
            Some(rest) => drawn = rest,
            None => return script.clone(),
        }
    }
    // Two levels and no third: a child is no gateway.
    if profile.rest == Script::Gateway { Script::Succeeds { reboots: false } } else { profile.rest.clone() }
}
