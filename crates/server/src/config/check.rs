//! Turns what was given into what can be used, or into a list of everything that is wrong with it.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use otaru_core::campaign::Timers;
use otaru_engine::{Buckets, DeviceCa, OWN_BUCKET, PackageDelivery, Retention, Settings};
use otaru_gateway::{GatewayLimits, KeepAliveRule, UplinkRate};
use otaru_proto::SignWindow;
use otaru_store::{SqliteOptions, Synchronous};
use tracing_subscriber::EnvFilter;

use super::bucket;
use super::raw::{Mistake, Mistakes, Origin, Raw};
use super::url::{C_HOST_CHARS_MAX, PublicUrl};
use super::values::{self, ADDRESS, DURATION, SIZE};
use crate::tls::{self, ServerTls};

/// What `otaru serve` runs with. Every value has been checked; nobody asks again.
pub(crate) struct Config {
    pub(crate) data_dir: PathBuf,
    /// Where to listen for devices and for HTTP, plain.
    pub(crate) mqtt: Option<SocketAddr>,
    pub(crate) http: Option<SocketAddr>,
    /// The same with TLS; only present together with `tls`.
    pub(crate) mqtts: Option<SocketAddr>,
    pub(crate) https: Option<SocketAddr>,
    /// HTTPS a second time, for devices alone.
    pub(crate) device_https: Option<SocketAddr>,
    pub(crate) tls: Option<ServerTls>,
    /// Where the device CA in `engine` comes from.
    pub(crate) device_ca_file: Option<PathBuf>,
    /// `None`: the address of an HTTP listener, which is no wildcard.
    pub(crate) public_url: Option<PublicUrl>,
    /// The address in it is set when the listeners are known.
    pub(crate) engine: Settings,
    pub(crate) gateway: GatewayLimits,
    pub(crate) api: otaru_api::Limits,
    pub(crate) store: SqliteOptions,
    pub(crate) log_filter: String,
    pub(crate) log_format: LogFormat,
    pub(crate) secrets: Secrets,
    /// Allowed, but somebody should know.
    pub(crate) warnings: Vec<String>,
}

/// How a line of log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// What comes from the environment only. Not printed.
#[derive(Clone, Default)]
pub(crate) struct Secrets {
    pub(crate) admin_token: Option<String>,
    pub(crate) master_key: Option<String>,
}

/// Most children that a gateway may register by itself, twenty times what is published: a gateway is told of all of them, in
/// the order in which they came, whenever it has lost them.
const CHILDREN_MAX: u32 = 1_000_000;

/// Nothing is kept for less than a day: an upgrade may take one, and its reports belong to it.
const RETENTION_MIN: Duration = Duration::from_secs(86_400);

/// How far the time in an application's signature may be from ours: clocks differ by seconds, and a day is a zone that was
/// forgotten.
const SIGNED_WITHIN: RangeInclusive<Duration> = Duration::from_secs(10)..=Duration::from_secs(86_400);

/// An admin token shorter than this is warned of: 16 characters of 64 are 96 bits, more than anybody guesses over
/// HTTP. It is the owner's choice all the same.
const ADMIN_TOKEN_CHARS_ADVISED: usize = 16;

/// Checks everything and reports every mistake at once.
pub(crate) fn check(mut raw: Raw, secrets: Secrets) -> Result<Config, Mistakes> {
    let mistakes = raw.take_mistakes();
    let mut checker = Checker { raw, mistakes };
    let config = checker.config(secrets);
    if checker.mistakes.is_empty() { Ok(config) } else { Err(Mistakes(checker.mistakes)) }
}

/// Reads values and collects mistakes. A value that is wrong reads as something harmless, because nothing of the
/// result is used once there is a mistake.
struct Checker {
    raw: Raw,
    mistakes: Vec<Mistake>,
}

impl Checker {
    fn config(&mut self, secrets: Secrets) -> Config {
        let allow_plaintext = self.truth("allow_plaintext");
        let (mqtt, http) = (self.plain("mqtt", allow_plaintext), self.plain("http", allow_plaintext));
        let (mqtts, https) = (self.address("mqtts"), self.address("https"));
        let device_https = self.address("device_https");
        if self.are_off(&["mqtt", "mqtts"]) {
            self.wrong(
                "mqtt",
                "mqtt and mqtts are both off, so that no device can connect; give one an address",
            );
        }
        if self.are_off(&["http", "https", "device_https"]) {
            self.wrong(
                "http",
                "http, https and device_https are all off, so that nobody can download; give one an address",
            );
        }
        let tls = self.tls([mqtts, https, device_https].iter().any(Option::is_some));
        let uplink_rate = self.uplink_rate();
        let public_url = self.public_url(&[("device_https", device_https), ("https", https), ("http", http)]);
        self.secrets(&secrets);
        let mut warnings = self.raw.take_warnings();
        if mqtts.is_none() && self.given("device_ca").is_some() {
            warnings.push(
                "device_ca does nothing while mqtts is off: certificates are presented over TLS only".into(),
            );
        }
        if let Some(url) = &public_url
            && url.host().chars().count() > C_HOST_CHARS_MAX
        {
            warnings.push(format!(
                "the host of public_url has {} characters; devices with the C SDK hold at most {C_HOST_CHARS_MAX} and \
                 will not download",
                url.host().chars().count()
            ));
        }
        if secrets.admin_token.as_ref().is_some_and(|token| token.len() < ADMIN_TOKEN_CHARS_ADVISED) {
            warnings.push(format!(
                "OTARU_ADMIN_TOKEN has fewer than {ADMIN_TOKEN_CHARS_ADVISED} characters and may be guessed; \
                 `openssl rand -hex 32` prints a good one"
            ));
        }
        Config {
            data_dir: self.data_dir(),
            mqtt,
            http,
            mqtts,
            https,
            device_https,
            tls,
            device_ca_file: self.given("device_ca").map(PathBuf::from),
            public_url,
            engine: self.engine(uplink_rate),
            gateway: self.gateway(uplink_rate),
            api: self.api(),
            store: self.store(),
            log_filter: self.log_filter(),
            log_format: self.choice("log_format", &[("text", LogFormat::Text), ("json", LogFormat::Json)]),
            secrets,
            warnings,
        }
    }

    /// Of one device: a second for long, and at once. The same over MQTT and over HTTP.
    fn uplink_rate(&mut self) -> (u32, u32) {
        (self.count("limits.uplink_rate", 0, u32::MAX), self.count("limits.uplink_burst", 1, u32::MAX))
    }

    fn engine(&mut self, uplink_rate: (u32, u32)) -> Settings {
        let timers = Timers {
            online_ms: self.timer_ms("timers.online"),
            answer_ms: self.timer_ms("timers.answer"),
            result_ms: self.timer_ms("timers.result"),
            confirm_ms: self.timer_ms("timers.confirm"),
            settle_underway_ms: self.timer_ms("timers.settle_underway"),
            download_quiet_ms: self.timer_ms("timers.download_quiet"),
        };
        Settings {
            timers,
            settle: self.duration("timers.settle"),
            reconnect_grace: self.duration("timers.reconnect_grace"),
            outage_patience: self.duration("timers.outage_patience"),
            token_life: self.some_duration("timers.download_token"),
            device_token_life: self.some_duration("timers.device_token"),
            signed_within: self.signed_within(),
            http_rate: uplink_rate,
            sign_window: self.sign_window(),
            device_ca: self.device_ca(),
            keep_properties: self.truth("keep.properties"),
            keep_log: self.truth("keep.log"),
            retention: Retention {
                reports: self.retention("retention.reports"),
                device_logs: self.retention("retention.device_logs"),
                audit: self.retention("retention.audit"),
                quarantine: self.retention("retention.quarantine"),
                campaigns: self.retention("retention.campaigns"),
                artifacts: self.retention("retention.artifacts"),
            },
            children_max: u64::from(self.count("limits.children", 0, CHILDREN_MAX)),
            delivery: self.choice(
                "delivery",
                &[
                    ("package", None),
                    ("token", Some(PackageDelivery::Token)),
                    ("signed_url", Some(PackageDelivery::SignedUrl)),
                ],
            ),
            buckets: self.buckets(),
            artifact_bytes_max: self.size("limits.artifact", 1),
            disk_reserve_bytes: self.size("limits.disk_reserve", 0),
            ..Settings::default()
        }
    }

    fn gateway(&mut self, (rate, burst): (u32, u32)) -> GatewayLimits {
        let in_flight = self.count("limits.uplinks_in_flight", 1, u32::from(u16::MAX));
        let defaults = GatewayLimits::default();
        GatewayLimits {
            handshake_time_max: self.some_duration("limits.handshake"),
            uplink_rate: UplinkRate::new(rate, burst),
            uplinks_in_flight_max: u16::try_from(in_flight)
                .ok()
                .and_then(NonZeroU16::new)
                .unwrap_or(defaults.uplinks_in_flight_max),
            connections_max: self.count("limits.mqtt_connections", 1, u32::MAX) as usize,
            connections_per_address_max: self.count("limits.mqtt_connections_per_address", 1, u32::MAX)
                as usize,
            keep_alive: self.keep_alive(),
            silence_at_work_max: self.duration("limits.silence_at_work"),
            ..defaults
        }
    }

    fn api(&mut self) -> otaru_api::Limits {
        let connections_max = self.count("limits.http_connections", 1, u32::MAX) as usize;
        otaru_api::Limits { connections_max, ..otaru_api::Limits::default() }
    }

    fn store(&mut self) -> SqliteOptions {
        let synchronous = [("full", Synchronous::Full), ("normal", Synchronous::Normal)];
        SqliteOptions {
            synchronous: self.choice("store.synchronous", &synchronous),
            cache_bytes: self.size("store.cache", 1 << 20),
            wal_limit_bytes: self.size("store.wal_limit", 1 << 20),
            ..SqliteOptions::default()
        }
    }

    fn data_dir(&mut self) -> PathBuf {
        let text = self.text("data_dir");
        if text.is_empty() {
            self.wrong("data_dir", "a directory is accepted; it is made if it is missing");
        }
        PathBuf::from(text)
    }

    /// A listener without TLS. Beyond this machine it has to be allowed.
    fn plain(&mut self, name: &'static str, allow_plaintext: bool) -> Option<SocketAddr> {
        let address = self.address(name)?;
        if !address.ip().is_loopback() && !allow_plaintext {
            let with_tls = if name == "mqtt" { "mqtts" } else { "https" };
            self.wrong(
                name,
                &format!(
                    "other machines could read everything sent there; use {with_tls}, or say --allow-plaintext if \
                     the network is yours or TLS ends in front of Otaru"
                ),
            );
        }
        Some(address)
    }

    /// Whether all were switched off, rather than one of them being misspelt.
    fn are_off(&self, listeners: &[&'static str]) -> bool {
        listeners.iter().all(|name| values::address(&self.text(name)) == Some(None))
    }

    fn tls(&mut self, is_needed: bool) -> Option<ServerTls> {
        let (cert, key) = (self.given("tls_cert"), self.given("tls_key"));
        let needs = "is needed for mqtts, https and device_https; `otaru tls self-signed` makes one for trying things out";
        for (name, file) in [("tls_cert", &cert), ("tls_key", &key)] {
            if file.is_none() && (is_needed || cert.is_some() || key.is_some()) {
                self.wrong(name, &format!("a PEM file {needs}"));
            }
        }
        let (cert, key) = (PathBuf::from(cert?), PathBuf::from(key?));
        match tls::server_tls(&cert, &key) {
            Ok(config) => Some(config),
            Err(error) => {
                let name = if error.is_about_key() { "tls_key" } else { "tls_cert" };
                self.wrong(name, &crate::exit::chain(&error));
                None
            }
        }
    }

    fn device_ca(&mut self) -> Option<DeviceCa> {
        let file = PathBuf::from(self.given("device_ca")?);
        match tls::device_ca(&file) {
            Ok(ca) => Some(ca),
            Err(error) => {
                self.wrong("device_ca", &crate::exit::chain(&error));
                None
            }
        }
    }

    fn public_url(&mut self, listeners: &[(&str, Option<SocketAddr>)]) -> Option<PublicUrl> {
        let Some(text) = self.given("public_url") else {
            let is_wildcard = |at: Option<SocketAddr>| at.is_some_and(|at| at.ip().is_unspecified());
            if let Some((listener, _)) = listeners.iter().find(|(_, at)| is_wildcard(*at)) {
                self.wrong(
                    "public_url",
                    &format!(
                        "is needed because {listener} listens on all addresses and devices have to be told one, for \
                         example https://ota.example.com:8443"
                    ),
                );
            }
            return None;
        };
        match PublicUrl::parse(&text) {
            Ok(url) => Some(url),
            Err(why) => {
                self.wrong(
                    "public_url",
                    &format!(
                        "{why}; scheme, host and port are accepted, for example https://ota.example.com:8443"
                    ),
                );
                None
            }
        }
    }

    fn secrets(&mut self, secrets: &Secrets) {
        let is_usable =
            |token: &String| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        if secrets.admin_token.as_ref().is_some_and(|token| !is_usable(token)) {
            self.mistakes.push(Mistake {
                key: "OTARU_ADMIN_TOKEN".into(),
                value: None, // a secret
                origin: Origin::Default,
                remedy: "letters, digits and signs without spaces are accepted, as `openssl rand -hex 32` prints them"
                    .into(),
            });
        }
    }

    fn log_filter(&mut self) -> String {
        let filter = self.text("log");
        if EnvFilter::try_new(&filter).is_err() {
            self.wrong("log", "error, warn, info, debug, trace or directives like \"info,otaru_gateway=debug\" are accepted");
        }
        filter
    }

    fn keep_alive(&mut self) -> KeepAliveRule {
        let text = self.text("limits.keep_alive");
        let range = || {
            let (from, to) = text.split_once(',')?;
            let (from, to): (u16, u16) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
            (1..=to).contains(&from).then_some(KeepAliveRule { accepted_secs: from..=to, zero_as_secs: None })
        };
        match text.as_str() {
            "lenient" => KeepAliveRule::lenient(),
            "strict" => KeepAliveRule::strict(),
            _ => range().unwrap_or_else(|| {
                self.wrong(
                    "limits.keep_alive",
                    "\"lenient\", \"strict\" or the shortest and the longest in seconds such as \"1,1200\" are accepted",
                );
                KeepAliveRule::lenient()
            }),
        }
    }

    /// Where images are, by the names that applications use.
    fn buckets(&mut self) -> Buckets {
        let mut buckets = Buckets::new();
        for (name, given) in self.raw.buckets().clone() {
            let is_name = (3..=63).contains(&name.len())
                && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b));
            let remedy = if !is_name {
                "the name of a bucket has 3 to 63 characters of a-z, 0-9, - and .".to_owned()
            } else if name == OWN_BUCKET {
                "this bucket has what was uploaded to the platform; choose another name".to_owned()
            } else {
                match bucket::parse(&given.text) {
                    Ok(bucket) => {
                        buckets.insert(name, bucket);
                        continue;
                    }
                    Err(remedy) => remedy,
                }
            };
            let key = format!("{}{name}", super::keys::BUCKETS);
            // A password may stand where none is taken.
            let shown = given.text.split(['?', '@']).next().map(str::to_owned);
            self.mistakes.push(Mistake::at(&key, shown, given.origin, remedy));
        }
        buckets
    }

    /// `None`: for ever.
    fn retention(&mut self, name: &'static str) -> Option<Duration> {
        let text = self.text(name);
        if text == "off" {
            return None;
        }
        let span = values::duration(&text).filter(|span| *span >= RETENTION_MIN);
        if span.is_none() {
            self.wrong(name, "\"off\" or a duration of a day or more such as \"180d\" is accepted");
        }
        span
    }

    fn signed_within(&mut self) -> Duration {
        let name = "timers.application_signature";
        let span = values::duration(&self.text(name)).filter(|span| SIGNED_WITHIN.contains(span));
        span.unwrap_or_else(|| {
            self.wrong(name, "a duration from \"10s\" to \"24h\" such as \"15min\" is accepted");
            *SIGNED_WITHIN.start()
        })
    }

    fn sign_window(&mut self) -> Option<SignWindow> {
        let text = self.text("limits.sign_window");
        if text == "off" {
            return None;
        }
        let parts = text.split_once(',').and_then(|(back, ahead)| {
            let (back_hours, ahead_hours) = (back.trim().parse().ok()?, ahead.trim().parse().ok()?);
            Some(SignWindow { back_hours, ahead_hours })
        });
        if parts.is_none() {
            self.wrong(
                "limits.sign_window",
                "\"off\" or hours behind and ahead such as \"1,26\" are accepted",
            );
        }
        parts
    }

    fn address(&mut self, name: &'static str) -> Option<SocketAddr> {
        match values::address(&self.text(name)) {
            Some(address) => address,
            None => {
                self.wrong(name, ADDRESS);
                None
            }
        }
    }

    fn duration(&mut self, name: &'static str) -> Duration {
        values::duration(&self.text(name)).unwrap_or_else(|| {
            self.wrong(name, DURATION);
            Duration::ZERO
        })
    }

    /// A duration that must not be zero.
    fn some_duration(&mut self, name: &'static str) -> Duration {
        let mistakes = self.mistakes.len();
        let span = self.duration(name);
        if span.is_zero() && self.mistakes.len() == mistakes {
            self.wrong(name, "it must be longer than zero");
        }
        span
    }

    fn timer_ms(&mut self, name: &'static str) -> u64 {
        u64::try_from(self.some_duration(name).as_millis()).unwrap_or(u64::MAX)
    }

    fn size(&mut self, name: &'static str, min: u64) -> u64 {
        match values::size(&self.text(name)) {
            Some(bytes) if bytes >= min => bytes,
            Some(_) => {
                self.wrong(name, &format!("at least {min} bytes are accepted"));
                min
            }
            None => {
                self.wrong(name, SIZE);
                min
            }
        }
    }

    fn count(&mut self, name: &'static str, min: u32, max: u32) -> u32 {
        match self.text(name).trim().parse() {
            Ok(count) if (min..=max).contains(&count) => count,
            Ok(_) | Err(_) => {
                self.wrong(name, &format!("a whole number from {min} to {max} is accepted"));
                min
            }
        }
    }

    fn truth(&mut self, name: &'static str) -> bool {
        self.choice(name, &[("true", true), ("false", false)])
    }

    fn choice<T: Clone>(&mut self, name: &'static str, choices: &[(&str, T)]) -> T {
        let text = self.text(name);
        let (_, first) = choices.first().expect("a choice has something to choose from");
        match choices.iter().find(|(word, _)| *word == text) {
            Some((_, chosen)) => chosen.clone(),
            None => {
                let words: Vec<String> = choices.iter().map(|(word, _)| format!("{word:?}")).collect();
                self.wrong(name, &format!("{} is accepted", words.join(" or ")));
                first.clone()
            }
        }
    }

    fn text(&self, name: &'static str) -> String {
        self.given(name).unwrap_or_default()
    }

    fn given(&self, name: &'static str) -> Option<String> {
        self.raw.get(name).map(|given| given.text.clone())
    }

    fn wrong(&mut self, name: &'static str, remedy: &str) {
        let (key, value) = (name.to_owned(), self.given(name));
        self.mistakes.push(Mistake { key, value, origin: self.raw.origin(name), remedy: remedy.to_owned() });
    }
}

impl Config {
    /// The address that devices are told, once the listeners have their ports.
    ///
    /// The listener for devices if there is one; otherwise TLS if it is spoken, because C devices fetch over nothing else
    /// and the others over both; otherwise plain.
    pub(crate) fn public_url(
        &self,
        http: Option<SocketAddr>,
        https: Option<SocketAddr>,
        device_https: Option<SocketAddr>,
    ) -> PublicUrl {
        if let Some(url) = &self.public_url {
            return url.clone();
        }
        match (device_https.or(https), http) {
            (Some(at), _) => PublicUrl::of_listener("https", at),
            (None, Some(at)) => PublicUrl::of_listener("http", at),
            (None, None) => unreachable!("a configuration has at least one HTTP listener"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DEFAULT_FILE;
    use crate::config::keys::{self, KEYS};

    fn with(settings: &[&str]) -> Raw {
        let mut raw = Raw::new();
        for setting in settings {
            raw.add_setting(setting);
        }
        raw
    }

    fn mistakes(raw: Raw) -> Vec<String> {
        match check(raw, Secrets::default()) {
            Ok(_) => Vec::new(),
            Err(mistakes) => mistakes.0.iter().map(ToString::to_string).collect(),
        }
    }

    fn checked(settings: &[&str]) -> Config {
        check(with(settings), Secrets::default()).unwrap_or_else(|mistakes| panic!("{mistakes}"))
    }

    #[test]
    fn the_default_file_is_what_the_parts_have_as_defaults() {
        let config = checked(&[]);
        let [engine, engine_default] = [&config.engine, &Settings::default()].map(|s| format!("{s:#?}"));
        assert_eq!(engine, engine_default);
        let [gateway, gateway_default] =
            [&config.gateway, &GatewayLimits::default()].map(|l| format!("{l:#?}"));
        assert_eq!(gateway, gateway_default);
        let [api, api_default] = [&config.api, &otaru_api::Limits::default()].map(|l| format!("{l:#?}"));
        assert_eq!(api, api_default);
        let [store, store_default] = [&config.store, &SqliteOptions::default()].map(|o| format!("{o:#?}"));
        assert_eq!(store, store_default);

        assert_eq!(config.mqtt, Some("127.0.0.1:1883".parse().unwrap()));
        assert_eq!(config.http, Some("127.0.0.1:8080".parse().unwrap()));
        assert_eq!((config.mqtts, config.https, config.device_https), (None, None, None));
        assert_eq!(config.data_dir, PathBuf::from("./otaru-data"));
        assert_eq!(config.public_url(config.http, None, None).to_string(), "http://127.0.0.1:8080");
        assert!(config.warnings.is_empty());
    }

    #[test]
    fn the_default_file_has_every_key_and_no_other() {
        let table: toml::Table = DEFAULT_FILE.parse().unwrap();
        let mut found = Vec::new();
        for (name, value) in &table {
            match value.as_table() {
                Some(section) => found.extend(section.keys().map(|key| format!("{name}.{key}"))),
                None => found.push(name.clone()),
            }
        }
        // A key without a default stands there as a comment.
        let commented = DEFAULT_FILE.lines().filter_map(|line| line.strip_prefix("# ")?.split_once(" = "));
        found.extend(commented.map(|(key, _)| key.to_owned()).filter(|key| keys::named(key).is_some()));
        let mut all: Vec<_> = KEYS.iter().map(|key| key.name.to_owned()).collect();
        found.sort();
        all.sort();
        assert_eq!(found, all);
    }

    #[test]
    fn a_flag_outranks_the_environment_and_that_outranks_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("otaru.toml");
        std::fs::write(
            &file,
            "http = \"127.0.0.1:1\"\nmqtt = \"127.0.0.1:2\"\n[timers]\nanswer = \"1s\"\nonline = \"2s\"\n",
        )
        .unwrap();
        let mut raw = Raw::new();
        raw.add_file(&file);
        let variable = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        raw.add_environment(
            [
                variable("OTARU_HTTP", "127.0.0.1:3"),
                variable("OTARU_TIMERS_ONLINE", "3s"),
                variable("OTARU_LOG", "warn"),
                variable("RUST_LOG", "trace"),
                variable("OTARU_ADMIN_TOKEN", "not a key, and not looked at here"),
                variable("PATH", "/bin"),
            ]
            .into_iter(),
        );
        raw.add_flag("http", "127.0.0.1:4".into());
        let config = check(raw, Secrets::default()).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        assert_eq!(config.http, Some("127.0.0.1:4".parse().unwrap()));
        assert_eq!(config.mqtt, Some("127.0.0.1:2".parse().unwrap()));
        assert_eq!(config.engine.timers.answer_ms, 1_000);
        assert_eq!(config.engine.timers.online_ms, 3_000);
        assert_eq!(config.engine.timers.result_ms, 24 * 3_600_000);
        assert_eq!(config.log_filter, "warn");
    }

    #[test]
    fn every_mistake_is_reported_at_once_with_where_it_was_made() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("otaru.toml");
        std::fs::write(
            &file,
            "htp = \"127.0.0.1:1\"\n[timers]\nonline = \"25\"\n[limits]\nuplink_burst = [1]\n",
        )
        .unwrap();
        let mut raw = Raw::new();
        raw.add_file(&file);
        raw.add_environment([("OTARU_TIMER_ANSWER".to_owned(), "1s".to_owned())].into_iter());
        raw.add_flag("mqtt", "1883".into());
        raw.add_flag("mqtts", "0.0.0.0:8883".into());
        raw.add_setting("store.synchronous=maybe");
        raw.add_setting("nonsense");
        let secrets = Secrets { admin_token: Some("with space".into()), master_key: None };
        let Err(mistakes) = check(raw, secrets) else { panic!("all that was accepted") };
        let text = mistakes.to_string().replace(&file.display().to_string(), "FILE");
        for expected in [
            "htp = \"127.0.0.1:1\" (FILE): there is no such key; http is one",
            "timers.online = \"25\" (FILE): a duration such as",
            "limits.uplink_burst = \"[1]\" (FILE): a whole number from 1 to 4294967295 is accepted",
            "OTARU_TIMER_ANSWER = \"1s\": there is no such variable; OTARU_TIMERS_ANSWER is one",
            "mqtt = \"1883\" (--mqtt): an address with port such as",
            "tls_cert: a PEM file is needed for mqtts, https and device_https",
            "tls_key: a PEM file is needed for mqtts, https and device_https",
            "store.synchronous = \"maybe\" (--set): \"full\" or \"normal\" is accepted",
            "--set = \"nonsense\": KEY=VALUE is accepted",
            "OTARU_ADMIN_TOKEN: letters, digits and signs without spaces",
        ] {
            assert!(text.contains(expected), "missing: {expected}\nin: {text}");
        }
        assert!(text.starts_with("10 mistakes in the configuration; nothing was started"), "{text}");
        assert!(!text.contains("with space"), "a secret is not shown: {text}");
    }

    #[test]
    fn a_short_admin_token_and_somebody_elses_variable_are_only_warned_of() {
        let mut raw = Raw::new();
        raw.add_environment([("OTARU_BUILD_DIR".to_owned(), "/tmp".to_owned())].into_iter());
        let secrets = Secrets { admin_token: Some("short".into()), master_key: None };
        let config = check(raw, secrets).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        assert_eq!(config.warnings.len(), 2, "{:?}", config.warnings);
    }

    #[test]
    fn plain_listeners_stay_on_this_machine_unless_that_is_allowed() {
        let refused = mistakes(with(&["mqtt=192.0.2.1:1883", "http=192.0.2.1:8080"]));
        assert_eq!(refused.len(), 2, "{refused:?}");
        assert!(refused[0].contains("use mqtts, or say --allow-plaintext"), "{refused:?}");
        assert!(refused[1].contains("use https, or say --allow-plaintext"), "{refused:?}");
        let config = checked(&["mqtt=192.0.2.1:1883", "http=192.0.2.1:8080", "allow_plaintext=true"]);
        assert_eq!(config.public_url(config.http, None, None).to_string(), "http://192.0.2.1:8080");
    }

    #[test]
    fn listening_everywhere_needs_an_address_to_tell_devices() {
        let everywhere = ["http=0.0.0.0:8080", "allow_plaintext=true"];
        let refused = mistakes(with(&everywhere));
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert!(
            refused[0].starts_with("public_url: is needed because http listens on all addresses"),
            "{refused:?}"
        );

        let told = |url: &str| with(&[everywhere[0], everywhere[1], &format!("public_url={url}")]);
        let refused = mistakes(told("https://ota.example.com"));
        assert!(refused[0].contains("it has no port, which C devices need"), "{refused:?}");
        let long = format!("https://{}.example.com:8443", "x".repeat(40));
        let Ok(config) = check(told(&long), Secrets::default()) else {
            panic!("a long host is only warned of")
        };
        assert_eq!(config.warnings.len(), 1);
        assert!(config.warnings[0].contains("52 characters"), "{:?}", config.warnings);
    }

    #[test]
    fn the_listener_for_devices_needs_a_certificate_and_is_what_devices_are_told() {
        let refused = mistakes(with(&["device_https=0.0.0.0:8943"]));
        assert_eq!(refused.len(), 3, "{refused:?}");
        let named = refused.iter().any(|mistake| {
            mistake.starts_with("public_url: is needed because device_https listens on all addresses")
        });
        assert!(named, "{refused:?}");
        let alone = mistakes(with(&["http=off", "device_https=127.0.0.1:8943"]));
        assert_eq!(alone.len(), 2, "only the certificate and its key are missing: {alone:?}");
        let config = checked(&[]);
        let at = |port: u16| Some(SocketAddr::from(([127, 0, 0, 1], port)));
        let url = config.public_url(at(8080), at(8443), at(8943));
        assert_eq!(url.to_string(), "https://127.0.0.1:8943");
        let url = config.public_url(at(8080), at(8443), None);
        assert_eq!(url.to_string(), "https://127.0.0.1:8443", "C devices fetch over nothing else");
    }

    #[test]
    fn a_server_without_a_way_in_is_refused() {
        let refused = mistakes(with(&["mqtt=off", "http=off"]));
        assert_eq!(refused.len(), 2, "{refused:?}");
    }

    #[test]
    fn devices_are_told_the_address_with_tls_if_there_is_one() {
        let (http, https) = ("127.0.0.1:8080".parse().unwrap(), "127.0.0.1:8443".parse().unwrap());
        let told = |http, https| checked(&[]).public_url(http, https, None).to_string();
        assert_eq!(told(Some(http), Some(https)), "https://127.0.0.1:8443");
        assert_eq!(told(None, Some(https)), "https://127.0.0.1:8443");
        assert_eq!(told(Some(http), None), "http://127.0.0.1:8080");
    }

    #[test]
    fn keep_alive_is_a_word_or_a_range() {
        let rule = |from, to| KeepAliveRule { accepted_secs: from..=to, zero_as_secs: None };
        for (setting, expected) in [
            ("lenient", KeepAliveRule::lenient()),
            ("strict", rule(30, 1200)),
            ("10,600", rule(10, 600)),
            ("1, 1", rule(1, 1)),
        ] {
            assert_eq!(checked(&[&format!("limits.keep_alive={setting}")]).gateway.keep_alive, expected);
        }
        for wrong in ["", "any", "0,600", "600,10", "1,70000", "10", "10,20,30"] {
            assert_eq!(mistakes(with(&[&format!("limits.keep_alive={wrong}")])).len(), 1, "{wrong:?}");
        }
    }

    #[test]
    fn a_device_ca_is_read_and_a_file_without_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let files = tls::self_sign(dir.path(), &["a".into()]).unwrap();
        let (cert, key) = (files.cert.display(), files.key.display());
        let ca = format!("device_ca={cert}");
        let config = checked(&[&ca]);
        assert!(config.engine.device_ca.is_some());
        assert!(config.warnings[0].contains("while mqtts is off"), "{:?}", config.warnings);
        let secured = [&ca, "mqtts=127.0.0.1:0", &format!("tls_cert={cert}"), &format!("tls_key={key}")];
        assert!(checked(&secured).warnings.is_empty());
        let refused = mistakes(with(&[&format!("device_ca={key}")]));
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert!(
            refused[0].contains("device_ca") && refused[0].contains("it holds no certificate"),
            "{refused:?}"
        );
    }

    #[test]
    fn a_bucket_is_named_with_what_is_wrong_and_without_a_password() {
        let wrong = mistakes(with(&["buckets.images=s3://images?endpoint=https://me:hush@store:9000"]));
        assert_eq!(wrong.len(), 1, "{wrong:?}");
        assert!(
            wrong[0].contains("buckets.images = \"s3://images\"") && wrong[0].contains("endpoint is http"),
            "{wrong:?}"
        );
        assert!(!wrong[0].contains("hush"), "{wrong:?}");
        for (bucket, says) in
            [("otaru=/tmp", "choose another name"), ("A=/tmp", "3 to 63"), ("images=tmp", "absolute path")]
        {
            let wrong = mistakes(with(&[&format!("buckets.{bucket}")]));
            assert!(wrong.len() == 1 && wrong[0].contains(says), "{bucket}: {wrong:?}");
        }
        assert_eq!(checked(&["buckets.images=/tmp"]).engine.buckets.len(), 1);
    }

    #[test]
    fn no_rate_means_no_limit() {
        assert!(checked(&["limits.uplink_rate=0"]).gateway.uplink_rate.is_none());
        assert_eq!(checked(&["limits.uplink_rate=9"]).engine.http_rate, (9, 200), "over HTTP as well");
        assert_eq!(checked(&["limits.children=0"]).engine.children_max, 0);
        assert_eq!(checked(&["limits.sign_window=1,26"]).engine.sign_window, Some(SignWindow::default()));
        assert_eq!(mistakes(with(&["timers.result=0s"])).len(), 1);
        for (good, secs) in [("10s", 10), ("1h", 3_600), ("24h", 86_400)] {
            let config = checked(&[&format!("timers.application_signature={good}")]);
            assert_eq!(config.engine.signed_within, Duration::from_secs(secs));
        }
        for wrong in ["9s", "0s", "25h", "15", "off", ""] {
            let refused = mistakes(with(&[&format!("timers.application_signature={wrong}")]));
            let remedy = "a duration from \"10s\" to \"24h\" such as \"15min\" is accepted";
            assert!(refused.len() == 1 && refused[0].contains(remedy), "{wrong}: {refused:?}");
        }
        assert_eq!(checked(&["retention.reports=off"]).engine.retention.reports, None);
        assert_eq!(checked(&[]).engine.retention, otaru_engine::Retention::default());
        for wrong in ["retention.audit=23h", "retention.audit=0d", "retention.audit=never"] {
            assert_eq!(mistakes(with(&[wrong])).len(), 1, "{wrong}");
        }
    }
}
