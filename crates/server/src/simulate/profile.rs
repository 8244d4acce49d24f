//! Who is in a crowd and how it goes about its upgrades, read from TOML.
//!
//! Always true:
//! - The defaults are the embedded file `default-profile.toml`; there is no second list of them.
//! - All mistakes are reported at once, each with key, value and what is accepted.
//! - Shares that a file names replace the default's altogether: who writes `lies = 1000` gets liars and nobody else.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use otaru_fleet::{Pace, Script};
use otaru_proto::{FailureCode, Version};
use toml::{Table, Value};

use crate::config::{Mistake, Mistakes, Origin, meant, values};

/// The documented profile, which is also what is used without a file.
pub(super) const DEFAULT: &str = include_str!("../../default-profile.toml");

/// A checked profile.
#[derive(Debug)]
pub(super) struct Profile {
    pub(super) firmware: Version,
    pub(super) new_version: Version,
    /// 0 is all at once.
    pub(super) connects_per_sec: u32,
    pub(super) downloads: bool,
    pub(super) package_bytes: usize,
    pub(super) pace: Pace,
    pub(super) children: u32,
    pub(super) rest: Script,
    /// In thousandths; together at most 1000.
    pub(super) shares: Vec<(Script, u32)>,
}

/// Largest package: a simulation that uploads more wants a real one.
const PACKAGE_BYTES_MAX: u64 = 256 << 20;

/// Children of one gateway. Each step of each is looked at whenever its gateway wakes up.
const CHILDREN_MAX: u32 = 1_000;

const KEYS: [&str; 9] = [
    "firmware",
    "new_version",
    "connects_per_sec",
    "downloads",
    "package",
    "rest",
    "pace.step",
    "pace.reboot",
    "gateway.children",
];

/// The name of every behaviour, in the order in which shares are given out: where there are too few devices for all
/// of them, the first ones are there.
fn behaviours() -> Vec<(String, Script)> {
    let mut all: Vec<(String, Script)> = [
        ("gateway", Script::Gateway),
        ("lies", Script::Lies),
        ("silent", Script::FallsSilent),
        ("vanishes", Script::Vanishes),
        ("never_online", Script::NeverOnline),
        ("already_latest", Script::AlreadyLatest),
        ("reports_twice", Script::ReportsTwice),
        ("drops_link", Script::DropsLink),
        ("java_style", Script::JavaStyle),
        ("slow", Script::Slow),
        ("success", Script::Succeeds { reboots: false }),
        ("success_after_reboot", Script::Succeeds { reboots: true }),
    ]
    .into_iter()
    .map(|(name, script)| (name.to_owned(), script))
    .collect();
    let codes = (1..=10).chain([255]).filter_map(FailureCode::from_wire);
    all.extend(
        codes.map(|code| (format!("fails_{}", code.to_wire()), Script::Fails { code, names_target: false })),
    );
    all
}

/// The name of what a device does, as in a profile.
pub(super) fn name_of(script: &Script) -> String {
    if let Script::Fails { code, .. } = script {
        return format!("fails_{}", code.to_wire());
    }
    let found = behaviours().into_iter().find(|(_, known)| known == script);
    found.map_or_else(|| script.to_string(), |(name, _)| name)
}

impl Profile {
    /// The profile of a file, over the default one.
    pub(super) fn read(file: Option<&Path>) -> Result<Profile, Mistakes> {
        let Some(path) = file else { return Profile::parse(None) };
        let text = std::fs::read_to_string(path).map_err(|error| {
            let remedy = format!("cannot be read: {error}");
            Mistakes(vec![Mistake::at(
                "--profile",
                Some(path.display().to_string()),
                Origin::Flag("--profile"),
                remedy,
            )])
        })?;
        Profile::parse(Some((path.to_owned(), text)))
    }

    fn parse(file: Option<(PathBuf, String)>) -> Result<Profile, Mistakes> {
        let mut given = Given { values: BTreeMap::new(), mistakes: Vec::new() };
        given.add(DEFAULT, &Origin::Default);
        if let Some((path, text)) = file {
            let mut own = Given { values: BTreeMap::new(), mistakes: Vec::new() };
            own.add(&text, &Origin::File(path));
            if own.values.keys().any(|key| key.starts_with("share.")) {
                given.values.retain(|key, _| !key.starts_with("share."));
            }
            given.values.extend(own.values);
            given.mistakes.extend(own.mistakes);
        }
        let profile = given.check();
        let mistakes = given.mistakes;
        match profile {
            Some(profile) if mistakes.is_empty() => Ok(profile),
            Some(_) | None => Err(Mistakes(mistakes)),
        }
    }
}

/// Values by key, each with where it came from, and what was found wrong.
struct Given {
    values: BTreeMap<String, (Value, Origin)>,
    mistakes: Vec<Mistake>,
}

impl Given {
    fn add(&mut self, text: &str, origin: &Origin) {
        match text.parse::<Table>() {
            Ok(table) => self.add_table("", table, origin),
            Err(error) => {
                let remedy = format!("not TOML: {}", error.to_string().trim_end().replace('\n', "\n    "));
                self.mistakes.push(Mistake::at(&origin.to_string(), None, Origin::Default, remedy));
            }
        }
    }

    fn add_table(&mut self, section: &str, table: Table, origin: &Origin) {
        for (name, value) in table {
            let key = if section.is_empty() { name } else { format!("{section}.{name}") };
            let is_section = matches!(key.as_str(), "pace" | "gateway" | "share");
            if is_section {
                match value {
                    Value::Table(table) => self.add_table(&key, table, origin),
                    Value::String(_)
                    | Value::Integer(_)
                    | Value::Float(_)
                    | Value::Boolean(_)
                    | Value::Datetime(_)
                    | Value::Array(_) => {
                        self.wrong(&key, &value, origin, "a section, written as [NAME], is accepted");
                    }
                }
            } else if section == "share" || KEYS.contains(&key.as_str()) {
                self.values.insert(key, (value, origin.clone()));
            } else {
                let remedy = match meant(&key, KEYS.into_iter()) {
                    Some(meant) => format!("there is no such key; {meant} is one"),
                    None => "there is no such key; `otaru simulate --print-profile` shows all keys".into(),
                };
                self.wrong(&key, &value, origin, &remedy);
            }
        }
    }

    fn check(&mut self) -> Option<Profile> {
        let version = |value: &Value| Version::parse_target(value.as_str()?).ok();
        let duration = |value: &Value| values::duration(value.as_str()?);
        let size = |value: &Value| {
            let bytes = match value.as_str() {
                Some(text) => values::size(text)?,
                None => u64::try_from(value.as_integer()?).ok()?,
            };
            usize::try_from(bytes).ok().filter(|_| (1..=PACKAGE_BYTES_MAX).contains(&bytes))
        };
        const VERSION: &str = "a version of 1 to 256 characters, in quotes, is accepted";
        let firmware = self.take("firmware", version, VERSION);
        let new_version = self.take("new_version", version, VERSION);
        let connects_per_sec = self.take(
            "connects_per_sec",
            |value| u32::try_from(value.as_integer()?).ok().filter(|rate| *rate <= 1_000_000),
            "a number from 0 to 1000000 is accepted; 0 is all at once",
        );
        let downloads = self.take("downloads", Value::as_bool, "true or false is accepted");
        let package_bytes = self.take(
            "package",
            size,
            "a number of bytes or a size such as \"64KiB\", up to \"256MiB\", is accepted",
        );
        let step = self.take("pace.step", duration, values::DURATION);
        let reboot = self.take("pace.reboot", duration, values::DURATION);
        let children = self.take(
            "gateway.children",
            |value| u32::try_from(value.as_integer()?).ok().filter(|many| *many <= CHILDREN_MAX),
            &format!("a number from 0 to {CHILDREN_MAX} is accepted"),
        );
        let behaviours = behaviours();
        let names: Vec<&str> = behaviours.iter().map(|(name, _)| name.as_str()).collect();
        let rest = self.take(
            "rest",
            |value| {
                let name = value.as_str()?;
                behaviours.iter().find(|(one, _)| one == name).map(|(_, script)| script.clone())
            },
            &format!("one of {} is accepted", names.join(", ")),
        );
        let shares = self.shares(&behaviours, &names);
        Some(Profile {
            firmware: firmware?,
            new_version: new_version?,
            connects_per_sec: connects_per_sec?,
            downloads: downloads?,
            package_bytes: package_bytes?,
            pace: Pace { step: step?, reboot: reboot? },
            children: children?,
            rest: rest?,
            shares,
        })
    }

    fn shares(&mut self, behaviours: &[(String, Script)], names: &[&str]) -> Vec<(Script, u32)> {
        let mut given: BTreeMap<String, (Value, Origin)> = self
            .values
            .iter()
            .filter_map(|(key, value)| Some((key.strip_prefix("share.")?.to_owned(), value.clone())))
            .collect();
        let (mut shares, mut sum, mut origin) = (Vec::new(), 0, Origin::Default);
        for (name, script) in behaviours {
            let Some((value, from)) = given.remove(name) else { continue };
            match value
                .as_integer()
                .and_then(|share| u32::try_from(share).ok())
                .filter(|share| *share <= 1000)
            {
                Some(0) => {}
                Some(share) => {
                    sum += share;
                    shares.push((script.clone(), share));
                }
                None => {
                    let remedy = "a number of thousandths, 0 to 1000, is accepted";
                    self.wrong(&format!("share.{name}"), &value, &from, remedy);
                }
            }
            origin = from;
        }
        for (name, (value, from)) in given {
            let remedy = match meant(&name, names.iter().copied()) {
                Some(meant) => format!("there is no such behaviour; {meant} is one"),
                None => format!("there is no such behaviour; {} are accepted", names.join(", ")),
            };
            self.wrong(&format!("share.{name}"), &value, &from, &remedy);
        }
        if sum > 1000 {
            let remedy = "all shares together; up to 1000 thousandths are accepted";
            self.wrong("share", &Value::Integer(i64::from(sum)), &origin, remedy);
        }
        shares
    }

    fn take<T>(&mut self, key: &str, read: impl Fn(&Value) -> Option<T>, remedy: &str) -> Option<T> {
        let (value, origin) = self.values.get(key).cloned()?;
        let read = read(&value);
        if read.is_none() {
            self.wrong(key, &value, &origin, remedy);
        }
        read
    }

    fn wrong(&mut self, key: &str, value: &Value, origin: &Origin, remedy: &str) {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        self.mistakes.push(Mistake::at(key, Some(text), origin.clone(), remedy.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn parse(text: &str) -> Result<Profile, Mistakes> {
        Profile::parse(Some(("crowd.toml".into(), text.to_owned())))
    }

    fn mistakes(text: &str) -> String {
        parse(text).expect_err("it has mistakes").to_string()
    }

    #[test]
    fn the_printed_profile_has_every_key_and_every_behaviour() {
        let profile = Profile::read(None).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        assert_eq!(profile.pace.step, Duration::from_secs(2));
        assert_eq!(profile.package_bytes, 64 << 10);
        let names: Vec<String> = profile.shares.iter().map(|(script, _)| name_of(script)).collect();
        for (name, script) in behaviours() {
            assert!(names.contains(&name) || profile.rest == script, "{name} is nowhere");
            assert_eq!(name_of(&script), name);
        }
        // Printing it and reading it again changes nothing.
        let again = parse(DEFAULT).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        assert_eq!(format!("{again:?}"), format!("{profile:?}"));
    }

    #[test]
    fn what_a_file_does_not_name_is_the_defaults_but_for_shares() {
        let profile = parse("connects_per_sec = 0\n[share]\nlies = 1000\n").unwrap();
        assert_eq!(profile.connects_per_sec, 0);
        assert_eq!(profile.children, 4);
        assert_eq!(profile.shares, [(Script::Lies, 1000)]);
        let default = Profile::read(None).unwrap();
        assert_eq!(parse("downloads = false").unwrap().shares, default.shares);
    }

    #[test]
    fn every_mistake_is_named_with_its_value_and_what_is_accepted() {
        let said = mistakes(
            "firmwere = \"1\"\nconnects_per_sec = -1\ndownloads = \"yes\"\npackage = \"1GiB\"\nrest = \"fails_11\"\n\
             [pace]\nstep = 2\n[gateway]\nchildren = 1001\n[share]\nlie = 1\nsilent = 1001\nfails_10 = \"x\"\n",
        );
        for expected in [
            "firmwere = \"1\" (crowd.toml): there is no such key; firmware is one",
            "connects_per_sec = \"-1\" (crowd.toml): a number from 0 to 1000000 is accepted; 0 is all at once",
            "downloads = \"yes\" (crowd.toml): true or false is accepted",
            "package = \"1GiB\" (crowd.toml): a number of bytes or a size",
            "rest = \"fails_11\" (crowd.toml): one of gateway, lies,",
            "pace.step = \"2\" (crowd.toml): a duration such as",
            "gateway.children = \"1001\" (crowd.toml): a number from 0 to 1000 is accepted",
            "share.lie = \"1\" (crowd.toml): there is no such behaviour; lies is one",
            "share.silent = \"1001\" (crowd.toml): a number of thousandths, 0 to 1000, is accepted",
            "share.fails_10 = \"x\" (crowd.toml): a number of thousandths",
        ] {
            assert!(said.contains(expected), "missing: {expected}\nin: {said}");
        }
        assert!(said.starts_with("10 mistakes"), "{said}");
    }

    #[test]
    fn shares_of_more_than_everybody_are_a_mistake() {
        let said = mistakes("[share]\nlies = 600\nsilent = 600\n");
        assert!(said.contains("share = \"1200\" (crowd.toml): all shares together; up to 1000"), "{said}");
    }

    #[test]
    fn what_is_no_toml_says_where() {
        let said = mistakes("[share\n");
        assert!(said.contains("crowd.toml: not TOML"), "{said}");
        let said = mistakes("share = 3\n");
        assert!(said.contains("share = \"3\" (crowd.toml): a section"), "{said}");
        let said = Profile::read(Some(Path::new("/nowhere/crowd.toml"))).unwrap_err().to_string();
        assert!(said.contains("--profile = \"/nowhere/crowd.toml\""), "{said}");
    }
}
