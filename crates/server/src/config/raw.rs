//! Everything that was given, as text, with where it came from. Nothing is judged here but the names of keys.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::DEFAULT_FILE;
use super::keys::{self, KEYS, OTHER_VARIABLES, PREFIX};

/// Values by key, and what has been found wrong so far.
#[derive(Debug, Default)]
pub(crate) struct Raw {
    given: BTreeMap<&'static str, Given>,
    /// Keys that operators name themselves, below `buckets.`.
    buckets: BTreeMap<String, Given>,
    mistakes: Vec<Mistake>,
    warnings: Vec<String>,
}

/// A value as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) text: String,
    pub(super) origin: Origin,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Default,
    File(PathBuf),
    Variable(String),
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(path) => write!(f, "{}", path.display()),
            Origin::Variable(name) => f.write_str(name),
            Origin::Flag(name) => f.write_str(name),
        }
    }
}

/// One thing that is wrong: what, where it was said, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    pub(super) key: String,
    pub(super) value: Option<String>,
    pub(super) origin: Origin,
    pub(super) remedy: String,
}

impl Mistake {
    /// A mistake in a file that is not the configuration.
    pub(crate) fn at(key: &str, value: Option<String>, origin: Origin, remedy: String) -> Mistake {
        Mistake { key: key.to_owned(), value, origin, remedy }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)?;
        if let Some(value) = &self.value {
            write!(f, " = {value:?}")?;
        }
        if self.origin != Origin::Default {
            write!(f, " ({})", self.origin)?;
        }
        write!(f, ": {}", self.remedy)
    }
}

/// Everything that is wrong with a configuration or a profile. Never empty.
#[derive(Debug)]
pub(crate) struct Mistakes(pub(crate) Vec<Mistake>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let many = if self.0.len() == 1 { "1 mistake" } else { &format!("{} mistakes", self.0.len()) };
        write!(f, "{many} in the configuration; nothing was started")?;
        for mistake in &self.0 {
            write!(f, "\n  {mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

impl Raw {
    /// The defaults.
    pub(crate) fn new() -> Raw {
        let mut raw = Raw::default();
        raw.add_toml(DEFAULT_FILE, &Origin::Default);
        raw
    }

    /// Adds a file that an operator named.
    pub(crate) fn add_file(&mut self, path: &Path) {
        let origin = Origin::File(path.to_owned());
        match std::fs::read_to_string(path) {
            Ok(text) => self.add_toml(&text, &origin),
            Err(error) => self.mistakes.push(Mistake {
                key: "--config".into(),
                value: Some(path.display().to_string()),
                origin: Origin::Flag("--config"),
                remedy: format!("cannot be read: {error}"),
            }),
        }
    }

    /// Adds what the environment says. `variables` are all of them; other programs' are left alone.
    pub(crate) fn add_environment(&mut self, variables: impl Iterator<Item = (String, String)>) {
        // Sorted, so that RUST_LOG comes after OTARU_LOG, whatever order the system has.
        let variables: BTreeMap<String, String> = variables.collect();
        for (name, text) in variables {
            if name == "RUST_LOG" && !self.is_from_variable("log") {
                self.add("log", text, Origin::Variable(name));
            } else if let Some(key) = keys::of_variable(&name) {
                self.add(key.name, text, Origin::Variable(name));
            } else if name.starts_with(PREFIX) && !OTHER_VARIABLES.contains(&name.as_str()) {
                self.unknown_variable(name, text);
            }
        }
    }

    /// A variable that is nearly ours is a typing error; any other one may be somebody else's, who likes our prefix.
    fn unknown_variable(&mut self, name: String, text: String) {
        let all: Vec<String> = KEYS.iter().map(keys::Key::variable).collect();
        let suffixes = all.iter().map(|variable| &variable[PREFIX.len()..]);
        match keys::meant(&name[PREFIX.len()..], suffixes) {
            Some(suffix) => {
                let remedy = no_such("variable", Some(&format!("{PREFIX}{suffix}")));
                self.mistakes.push(Mistake { key: name, value: Some(text), origin: Origin::Default, remedy });
            }
            None => self
                .warnings
                .push(format!("the environment variable {name} is none of ours and does nothing")),
        }
    }

    /// Adds the flag of a key. `name` is the key.
    pub(crate) fn add_flag(&mut self, name: &'static str, text: String) {
        let flag =
            keys::named(name).and_then(|key| key.flag).expect("called for keys with a flag of their own");
        self.add(name, text, Origin::Flag(flag));
    }

    /// Adds `--set KEY=VALUE`.
    pub(crate) fn add_setting(&mut self, setting: &str) {
        let origin = Origin::Flag("--set");
        let Some((name, text)) = setting.split_once('=') else {
            return self.mistakes.push(Mistake {
                key: "--set".into(),
                value: Some(setting.to_owned()),
                origin: Origin::Default,
                remedy: "KEY=VALUE is accepted, for example timers.online=2h".into(),
            });
        };
        self.add_named(name, text.to_owned(), &origin);
    }

    pub(super) fn get(&self, name: &str) -> Option<&Given> {
        self.given.get(name)
    }

    /// Where a key's value came from; the default if there is none.
    pub(super) fn origin(&self, name: &str) -> Origin {
        self.get(name).map_or(Origin::Default, |given| given.origin.clone())
    }

    /// The mistakes found so far; they are the checker's from here on.
    pub(super) fn take_mistakes(&mut self) -> Vec<Mistake> {
        std::mem::take(&mut self.mistakes)
    }

    pub(super) fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    fn is_from_variable(&self, name: &str) -> bool {
        matches!(self.origin(name), Origin::Variable(_))
    }

    pub(super) fn add_toml(&mut self, text: &str, origin: &Origin) {
        match text.parse::<toml::Table>() {
            Ok(table) => self.add_table("", table, origin),
            Err(error) => self.mistakes.push(Mistake {
                key: origin.to_string(),
                value: None,
                origin: Origin::Default,
                remedy: format!("not TOML: {}", error.to_string().trim_end().replace('\n', "\n    ")),
            }),
        }
    }

    fn add_table(&mut self, section: &str, table: toml::Table, origin: &Origin) {
        for (name, value) in table {
            let name = if section.is_empty() { name } else { format!("{section}.{name}") };
            match value {
                toml::Value::Table(table) => self.add_table(&name, table, origin),
                toml::Value::String(text) => self.add_named(&name, text, origin),
                toml::Value::Integer(number) => self.add_named(&name, number.to_string(), origin),
                toml::Value::Float(number) => self.add_named(&name, number.to_string(), origin),
                toml::Value::Boolean(truth) => self.add_named(&name, truth.to_string(), origin),
                toml::Value::Datetime(time) => self.add_named(&name, time.to_string(), origin),
                toml::Value::Array(list) => {
                    // No key takes a list; its text form is what the mistake will show.
                    self.add_named(&name, toml::Value::Array(list).to_string(), origin);
                }
            }
        }
    }

    /// Buckets by name, as they were given.
    pub(super) fn buckets(&self) -> &BTreeMap<String, Given> {
        &self.buckets
    }

    fn add_named(&mut self, name: &str, text: String, origin: &Origin) {
        if let Some(bucket) = name.strip_prefix(keys::BUCKETS) {
            self.buckets.insert(bucket.to_owned(), Given { text, origin: origin.clone() });
            return;
        }
        match keys::named(name) {
            Some(key) => self.add(key.name, text, origin.clone()),
            None => {
                let remedy = no_such("key", keys::meant(name, KEYS.iter().map(|key| key.name)));
                let (key, value) = (name.to_owned(), Some(text));
                self.mistakes.push(Mistake { key, value, origin: origin.clone(), remedy });
            }
        }
    }

    fn add(&mut self, name: &'static str, text: String, origin: Origin) {
        self.given.insert(name, Given { text, origin });
    }
}

fn no_such(what: &str, meant: Option<&str>) -> String {
    match meant {
        Some(meant) => format!("there is no such {what}; {meant} is one"),
        None => format!("there is no such {what}; `otaru serve --print-config` shows all keys"),
    }
}
