//! Every key of the configuration, once.

/// A key and the flag that sets it, if it has one of its own.
pub(super) struct Key {
    /// As in the file, with a dot after the section.
    pub(super) name: &'static str,
    pub(super) flag: Option<&'static str>,
}

const fn key(name: &'static str) -> Key {
    Key { name, flag: None }
}

const fn flagged(name: &'static str, flag: &'static str) -> Key {
    Key { name, flag: Some(flag) }
}

/// In the order of the default file.
pub(super) const KEYS: &[Key] = &[
    flagged("data_dir", "--data-dir"),
    flagged("mqtt", "--mqtt"),
    flagged("http", "--http"),
    flagged("mqtts", "--mqtts"),
    flagged("https", "--https"),
    flagged("device_https", "--device-https"),
    flagged("tls_cert", "--tls-cert"),
    flagged("tls_key", "--tls-key"),
    key("device_ca"),
    flagged("public_url", "--public-url"),
    flagged("allow_plaintext", "--allow-plaintext"),
    flagged("log", "--log"),
    flagged("log_format", "--log-format"),
    key("timers.online"),
    key("timers.answer"),
    key("timers.result"),
    key("timers.confirm"),
    key("timers.settle"),
    key("timers.settle_underway"),
    key("timers.download_quiet"),
    key("timers.reconnect_grace"),
    key("timers.outage_patience"),
    key("timers.download_token"),
    key("timers.device_token"),
    key("timers.application_signature"),
    key("limits.uplink_rate"),
    key("limits.uplink_burst"),
    key("limits.uplinks_in_flight"),
    key("limits.mqtt_connections"),
    key("limits.mqtt_connections_per_address"),
    key("limits.http_connections"),
    key("limits.handshake"),
    key("limits.keep_alive"),
    key("limits.silence_at_work"),
    key("limits.sign_window"),
    key("limits.children"),
    key("limits.artifact"),
    key("limits.disk_reserve"),
    key("keep.properties"),
    key("keep.log"),
    key("retention.reports"),
    key("retention.device_logs"),
    key("retention.audit"),
    key("retention.quarantine"),
    key("retention.campaigns"),
    key("retention.artifacts"),
    key("delivery"),
    key("store.synchronous"),
    key("store.cache"),
    key("store.wal_limit"),
];

/// Environment variables of ours that are no keys: secrets, the addresses of other commands, and the file itself.
pub(super) const OTHER_VARIABLES: &[&str] = &[
    "OTARU_ADMIN_TOKEN",
    "OTARU_MASTER_KEY",
    "OTARU_NEW_MASTER_KEY",
    "OTARU_CONFIG",
    "OTARU_URL",
    "OTARU_TOKEN",
    "OTARU_CA",
];

/// What keys begin with whose rest is the name of a bucket.
pub(super) const BUCKETS: &str = "buckets.";

/// What variables of ours begin with.
pub(super) const PREFIX: &str = "OTARU_";

impl Key {
    /// `timers.online` is `OTARU_TIMERS_ONLINE`.
    pub(super) fn variable(&self) -> String {
        format!("{PREFIX}{}", self.name.to_ascii_uppercase().replace('.', "_"))
    }
}

pub(super) fn named(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

pub(super) fn of_variable(variable: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.variable() == variable)
}

/// The candidate that was probably meant: at most a third of its characters are different.
pub(crate) fn meant<'a>(found: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .map(|candidate| (edits(found, candidate), candidate))
        .filter(|(edits, candidate)| *edits <= candidate.len() / 3)
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many characters have to be added, removed or changed (Levenshtein).
fn edits(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in to.chars().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_finds_its_key() {
        let names = || KEYS.iter().map(|key| key.name);
        assert_eq!(meant("timer.online", names()), Some("timers.online"));
        assert_eq!(meant("publicurl", names()), Some("public_url"));
        assert_eq!(meant("colour", names()), None);
        assert_eq!(edits("kitten", "sitting"), 3);
    }
}
