//! What holds for any configuration file, setting and variable, and for any value. `fuzz/README.md` lists the promises.
//!
//! Not part of any build but tests and `cargo fuzz`.

#![allow(clippy::unwrap_used, reason = "a promise that is broken is to be seen")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::keys::{self, KEYS};
use super::raw::{Origin, Raw};
use super::url::PublicUrl;
use super::values::{address, duration, size};
use super::{Config, Secrets, check};

/// A file. Lines that begin with `--set ` are settings, and those that begin with `OTARU_` or `RUST_LOG` are the environment.
///
/// Either everything is in order, or every mistake is named; and what is in order is so however it is given.
pub(crate) fn check_file(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let is_variable = |line: &&str| line.starts_with("OTARU_") || line.starts_with("RUST_LOG");
    let settings: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("--set ")).collect();
    let variables: BTreeMap<String, String> = text
        .lines()
        .filter(is_variable)
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let file: Vec<&str> =
        text.lines().filter(|line| !line.starts_with("--set ") && !is_variable(line)).collect();
    let raw = || {
        let mut raw = Raw::new();
        raw.add_toml(&file.join("\n"), &Origin::File(PathBuf::from("otaru.toml")));
        raw.add_environment(variables.clone().into_iter());
        settings.iter().for_each(|setting| raw.add_setting(setting));
        raw
    };
    let given = raw();
    if ["tls_cert", "tls_key", "device_ca"].iter().any(|name| given.get(name).is_some()) {
        return; // Checking it would read files.
    }
    for setting in &settings {
        if let Some((name, value)) = setting.split_once('=')
            && let Some(key) = keys::named(name)
        {
            assert!(
                given.get(key.name).is_some_and(|given| given.origin == Origin::Flag("--set")),
                "{value:?}"
            );
        }
    }
    match check(raw(), Secrets::default()) {
        Ok(config) => {
            is_usable(&config);
            // The same values as settings.
            let mut again = Raw::new();
            for key in KEYS {
                if let Some(value) = given.get(key.name) {
                    again.add_setting(&format!("{}={}", key.name, value.text));
                }
            }
            let again = check(again, Secrets::default()).unwrap_or_else(|mistakes| panic!("{mistakes}"));
            assert_eq!(shown(&again), shown(&config));
        }
        Err(mistakes) => {
            assert!(!mistakes.0.is_empty());
            let all = mistakes.to_string();
            for mistake in &mistakes.0 {
                assert!(!mistake.remedy.is_empty() && all.contains(&mistake.to_string()));
            }
            let again = check(raw(), Secrets::default()).map(|_| ()).unwrap_err();
            assert_eq!(again.to_string(), all, "the same mistakes in the same order");
        }
    }
}

/// Nobody asks again, so nothing is to be found here that somebody would have to ask about.
fn is_usable(config: &Config) {
    let timers = &config.engine.timers;
    for millis in [
        timers.online_ms,
        timers.answer_ms,
        timers.result_ms,
        timers.confirm_ms,
        timers.settle_underway_ms,
        timers.download_quiet_ms,
    ] {
        assert!(millis > 0 && Duration::from_millis(millis) <= CENTURY);
    }
    assert!(!config.engine.token_life.is_zero() && !config.engine.device_token_life.is_zero());
    assert!(!config.engine.signed_within.is_zero());
    assert!(!config.gateway.handshake_time_max.is_zero() && config.gateway.connections_max > 0);
    assert!(config.mqtt.or(config.mqtts).is_some(), "no device can connect");
    assert!(config.http.or(config.https).or(config.device_https).is_some(), "nobody can download");
    assert!(!config.data_dir.as_os_str().is_empty());
    let keep_alive = &config.gateway.keep_alive.accepted_secs;
    assert!(keep_alive.start() <= keep_alive.end());
    let url = config.public_url(config.http, config.https, config.device_https).to_string();
    assert!(url.starts_with("http://") || url.starts_with("https://"));
}

fn shown(config: &Config) -> String {
    format!(
        "{:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
        config.data_dir,
        config.mqtt,
        config.http,
        config.mqtts,
        config.https,
        config.device_https,
        config.public_url,
        config.engine,
        config.gateway,
        config.api,
        config.store,
        config.log_filter,
        config.log_format
    )
}

/// Durations, sizes, addresses, URLs and names of keys: an accepted value, written in its plainest form, is the same value.
pub(crate) fn check_value(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Some(span) = duration(&text) {
        assert!(span <= CENTURY);
        assert_eq!(duration(&format!("{}ms", span.as_millis())), Some(span));
        assert_eq!(duration(text.trim()), Some(span));
        assert!(size(&text).is_none(), "{text:?} is a duration and a size");
    }
    if let Some(bytes) = size(&text) {
        assert_eq!(size(&bytes.to_string()), Some(bytes));
    }
    match address(&text) {
        Some(Some(address_read)) => {
            assert_eq!(address(&address_read.to_string()), Some(Some(address_read)));
        }
        Some(None) => assert_eq!(text.trim(), "off"),
        None => assert!(text.trim().parse::<SocketAddr>().is_err()),
    }
    match PublicUrl::parse(&text) {
        Ok(url) => {
            let shown = url.to_string();
            assert_eq!(PublicUrl::parse(&shown), Ok(url.clone()));
            assert!(!url.host().is_empty() && shown.contains(url.host()));
            assert!(!shown.chars().any(|c| c.is_whitespace() || c.is_control()), "{shown:?}");
            let port = shown.rsplit(':').next().unwrap();
            assert!(port.bytes().all(|byte| byte.is_ascii_digit()), "{shown:?}");
        }
        Err(why) => assert!(!why.is_empty()),
    }
    if let Some(meant) = keys::meant(&text, KEYS.iter().map(|key| key.name)) {
        assert!(keys::named(meant).is_some());
        assert_eq!(keys::named(&text).is_some(), meant == text, "a key is nearest to itself");
    }
}

const CENTURY: Duration = Duration::from_secs(100 * 365 * 86_400);

#[cfg(test)]
#[path = "../../../../fuzz/replay.rs"]
mod corpus;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_keep_what_is_promised() {
        corpus::replay("config_file", check_file);
    }

    #[test]
    fn values_keep_what_is_promised() {
        corpus::replay("config_value", check_value);
    }
}
