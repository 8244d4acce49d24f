//! The command line: what can be asked for, and how it is explained.
//!
//! Values of `serve` are taken as text and judged with the rest of the configuration, so that all mistakes show
//! at once.
//!
//! Not here: doing any of it.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::{Raw, Secrets, values};

/// Self-hosted over-the-air upgrades for devices that speak the IoTDA device protocol.
#[derive(Debug, Parser)]
#[command(
    name = "otaru",
    version,
    after_help = "\
First steps:
  otaru demo                  a platform with 200 simulated devices and a campaign, to look around
  otaru serve                 the platform on this machine, data in ./otaru-data
  otaru serve --print-config  every setting with its default

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 data directory in use, 4 a demo or a
simulated campaign ended otherwise than its scripts say."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Serve(ServeArgs),
    Demo(DemoArgs),
    Simulate(SimulateArgs),
    Token(TokenArgs),
    AccessKey(AccessKeyArgs),
    Rule(RuleArgs),
    Backup(BackupArgs),
    Restore(RestoreArgs),
    MasterKey(MasterKeyArgs),
    Tls(TlsArgs),
}

/// Run the platform: MQTT for devices, HTTP for downloads and for operators.
#[derive(Debug, Args)]
#[command(after_help = "\
Without flags, devices connect to 127.0.0.1:1883 and HTTP is at 127.0.0.1:8080, both plain and for this machine only.
One line on stdout says that it is ready; the log goes to stderr.

At the first start an admin token is made and its file is named on stderr; OTARU_ADMIN_TOKEN sets it instead, and at
a later start replaces the one that it set before.

Examples:
  On a laptop:
    otaru serve

  For a fleet, with TLS:
    otaru serve --data-dir /var/lib/otaru --mqtt off --http off --mqtts 0.0.0.0:8883 --https 0.0.0.0:8443 \\
      --tls-cert /etc/otaru/cert.pem --tls-key /etc/otaru/key.pem --public-url https://ota.example.com:8443

  From a file, with one setting changed:
    otaru serve --print-config > otaru.toml
    otaru serve --config otaru.toml --set timers.answer=5min

Every setting is also a variable: OTARU_ and the key in capitals, with _ for a dot (OTARU_TIMERS_ANSWER).
Flags outrank variables, and variables the file. OTARU_MASTER_KEY, if set, replaces DIR/master.key.")]
pub(crate) struct ServeArgs {
    /// Settings in TOML; --print-config shows them all [env: OTARU_CONFIG].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print every setting with its default, and end.
    #[arg(long)]
    pub(crate) print_config: bool,
    /// Everything that is remembered [default: ./otaru-data].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Plain MQTT, or "off" [default: 127.0.0.1:1883].
    #[arg(long, value_name = "ADDR")]
    mqtt: Option<String>,
    /// MQTT with TLS, or "off" [default: off].
    #[arg(long, value_name = "ADDR")]
    mqtts: Option<String>,
    /// Plain HTTP, or "off" [default: 127.0.0.1:8080].
    #[arg(long, value_name = "ADDR")]
    http: Option<String>,
    /// HTTP with TLS, or "off" [default: off].
    #[arg(long, value_name = "ADDR")]
    https: Option<String>,
    /// HTTPS a second time, on an address for devices alone, or "off" [default: off].
    #[arg(long, value_name = "ADDR")]
    device_https: Option<String>,
    /// Certificate chain, PEM.
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<String>,
    /// Private key, PEM.
    #[arg(long, value_name = "FILE")]
    tls_key: Option<String>,
    /// Where devices reach the HTTP side, with port: `https://ota.example.com:8443`.
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// Allow plain listeners that other machines can reach.
    #[arg(long)]
    allow_plaintext: bool,
    /// What is logged: info, debug, or by module.
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// text or json [default: text].
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// Any other setting, for example timers.online=2h. May be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl ServeArgs {
    /// All layers of the configuration. `variables` is the environment.
    pub(crate) fn raw(&self, variables: impl Fn() -> Vec<(String, String)>) -> Raw {
        let mut raw = Raw::new();
        let from_environment = || {
            let found = variables().into_iter().find(|(name, _)| name == "OTARU_CONFIG");
            found.map(|(_, path)| PathBuf::from(path))
        };
        if let Some(path) = self.config.clone().or_else(from_environment) {
            raw.add_file(&path);
        }
        raw.add_environment(variables().into_iter());
        let flags = [
            ("data_dir", &self.data_dir),
            ("mqtt", &self.mqtt),
            ("mqtts", &self.mqtts),
            ("http", &self.http),
            ("https", &self.https),
            ("device_https", &self.device_https),
            ("tls_cert", &self.tls_cert),
            ("tls_key", &self.tls_key),
            ("public_url", &self.public_url),
            ("log", &self.log),
            ("log_format", &self.log_format),
        ];
        for (key, value) in flags {
            if let Some(value) = value {
                raw.add_flag(key, value.clone());
            }
        }
        if self.allow_plaintext {
            raw.add_flag("allow_plaintext", "true".to_owned());
        }
        for setting in &self.set {
            raw.add_setting(setting);
        }
        raw
    }
}

/// A variable that has something in it.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// What only the environment tells.
pub(crate) fn secrets_of_environment() -> Secrets {
    Secrets { admin_token: variable("OTARU_ADMIN_TOKEN"), master_key: variable("OTARU_MASTER_KEY") }
}

/// Show what Otaru does: a platform, simulated devices that go well, badly and silent, and a campaign over them.
#[derive(Debug, Args)]
#[command(after_help = "\
Everything runs on free ports of this machine and in a temporary directory, through the same MQTT and HTTP that real
devices and operators use. When the campaign has ended, the platform stays up for looking around.

Examples:
  otaru demo
  otaru demo --devices 2000 --seed 7
  otaru demo --exit               for scripts: ends with 0 if every device ended as its script says, else with 4")]
pub(crate) struct DemoArgs {
    /// How many devices.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) devices: u32,
    /// End when the campaign has ended.
    #[arg(long)]
    pub(crate) exit: bool,
    /// Decides which device plays which script.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
}

/// Connect a crowd of simulated devices to a server, over real MQTT.
#[derive(Debug, Args)]
#[command(after_help = "\
Device ids are PRODUCT_PREFIXnnnnn, numbered from 00000; children of gateways are PRODUCT_PREFIXnnnnn-nnn. All devices
have the same secret. The server may be any that speaks the protocol, if they are registered there; with --url they are
registered first through Otaru's API, and being registered already is fine.

Without --for, a run ends when every device has played its script: was told to upgrade, and did what the profile says.
With --campaign it ends with the campaign. Ctrl-C ends it at any time; the figures are printed all the same.

What they do is decided by the profile and the seed:
  otaru simulate --print-profile > crowd.toml
A first-boot storm is --connects-per-sec 0: everybody at once. Each device takes an open file, and one more while it
downloads: `ulimit -n` bounds the crowd.

Examples:
  1000 devices on the server of this machine, registered and upgraded:
    otaru simulate --connect 127.0.0.1:1883 --url http://127.0.0.1:8080 --data-dir ./otaru-data \\
      --devices 1000 --campaign

  Devices that are registered elsewhere, over TLS, for ten minutes, and the figures for a script:
    otaru simulate --connect mqtts://ota.example.com:8883 --ca ca.pem --product pump --prefix sn --secret s3cret \\
      --devices 200 --profile crowd.toml --for 10min --no-downloads --json

Exit codes: 0 done, 1 failed, or devices were never connected, 2 wrong usage or profile, 4 the campaign ended otherwise
than the scripts say, or a device was told twice.")]
pub(crate) struct SimulateArgs {
    /// Where devices connect: host:port or mqtt://host:port is plain, mqtts://host:port is TLS.
    #[arg(long, value_name = "ADDR", value_parser = door, required_unless_present = "print_profile")]
    pub(crate) connect: Option<Door>,
    /// How many devices connect. Children of gateways come on top.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=30_000))]
    pub(crate) devices: u32,
    /// What they do, in TOML.
    #[arg(long, value_name = "FILE")]
    pub(crate) profile: Option<PathBuf>,
    /// Print the profile that is used without --profile, and end.
    #[arg(long)]
    pub(crate) print_profile: bool,
    /// How many may connect each second, whatever the profile says; 0 is all at once.
    #[arg(long, value_name = "N")]
    pub(crate) connects_per_sec: Option<u32>,
    /// End after this time, for example 90s or 10min, however far it has come.
    #[arg(long = "for", value_name = "DURATION", value_parser = length)]
    pub(crate) length: Option<Duration>,
    /// Decides who does what, and every pause.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// For TLS: trust the certificates of this PEM file.
    #[arg(long, value_name = "FILE", env = "OTARU_CA", conflicts_with = "insecure")]
    pub(crate) ca: Option<PathBuf>,
    /// For TLS: trust anybody.
    #[arg(long)]
    pub(crate) insecure: bool,
    /// The product of all devices.
    #[arg(long, value_name = "ID", default_value = "simulated")]
    pub(crate) product: String,
    /// What the names of devices begin with.
    #[arg(long, value_name = "PREFIX", default_value = "d")]
    pub(crate) prefix: String,
    /// The secret of all devices.
    #[arg(long, value_name = "SECRET", default_value = "simulated-secret")]
    pub(crate) secret: String,
    /// Register the devices with the server whose HTTP side is here.
    #[arg(long, value_name = "URL", env = "OTARU_URL")]
    pub(crate) url: Option<String>,
    /// For --url: the token of an operator.
    #[arg(long, value_name = "TOKEN", env = "OTARU_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// For --url: take the token from DIR/admin.token.
    #[arg(long, value_name = "DIR", conflicts_with = "token")]
    pub(crate) data_dir: Option<PathBuf>,
    /// For --url: upload a package and start a campaign over the devices, with timers for this pace.
    #[arg(long, requires = "url")]
    pub(crate) campaign: bool,
    /// Fetch no packages, whatever the profile says; devices say that they did.
    #[arg(long)]
    pub(crate) no_downloads: bool,
    /// Print one JSON object instead of tables.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Where devices connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Door {
    /// Without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) is_secure: bool,
}

fn door(text: &str) -> Result<Door, String> {
    let (is_secure, authority) = match text.split_once("://") {
        None | Some(("mqtt", _)) => (false, text.trim_start_matches("mqtt://")),
        Some(("mqtts", rest)) => (true, rest),
        Some((_, _)) => return Err(DOOR.to_owned()),
    };
    let (host, port) = authority.rsplit_once(':').ok_or(DOOR)?;
    let host = match host.strip_prefix('[') {
        Some(bracketed) => bracketed.strip_suffix(']').ok_or(DOOR)?,
        None => host,
    };
    let port = port.parse().ok().filter(|port| *port > 0).ok_or(DOOR)?;
    if host.is_empty() || host.contains('/') {
        return Err(DOOR.to_owned());
    }
    Ok(Door { host: host.to_owned(), port, is_secure })
}

const DOOR: &str = "an address with port such as 127.0.0.1:1883, mqtt://[::1]:1883 or mqtts://ota.example.com:8883 is accepted";

fn length(text: &str) -> Result<Duration, String> {
    values::duration(text).ok_or_else(|| values::DURATION.to_owned())
}

/// Copy everything that a running server remembers into a directory on its machine.
#[derive(Debug, Args)]
#[command(after_help = "\
The server makes the copy as its own user, while it serves. Without --no-secrets the copy has the master key and the
admin token, so keep it as you keep these. Artifacts are hard links where that is possible: copy the directory to
another disk.

Examples:
  otaru backup /var/backups/otaru/monday --data-dir /var/lib/otaru
  otaru restore /var/backups/otaru/monday --data-dir /var/lib/otaru")]
pub(crate) struct BackupArgs {
    /// Empty, or not there yet; outside the data directory.
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Leave out the master key and the admin token.
    #[arg(long)]
    pub(crate) no_secrets: bool,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// Make a data directory from a backup. No server may use the directory meanwhile.
#[derive(Debug, Args)]
#[command(after_help = "\
What was acknowledged after the backup was made is gone; docs/operating.md says what that means for devices. If it is
interrupted, run it again: until then, no server starts on the directory.

Example:
  otaru restore /var/backups/otaru/monday --data-dir /var/lib/otaru")]
pub(crate) struct RestoreArgs {
    /// What `otaru backup` has made.
    #[arg(value_name = "BACKUP")]
    pub(crate) backup: PathBuf,
    /// The data directory to be made.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: PathBuf,
    /// Move a store that is there already aside, into DIR/replaced-….
    #[arg(long)]
    pub(crate) replace: bool,
}

/// The key that the secrets of devices are sealed with.
#[derive(Debug, Args)]
pub(crate) struct MasterKeyArgs {
    #[command(subcommand)]
    pub(crate) command: MasterKeyCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum MasterKeyCommand {
    /// Seal every secret again with another key. No server may use the directory meanwhile.
    Change(ChangeKeyArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "\
The new key is random, or the one in OTARU_NEW_MASTER_KEY (`openssl rand -hex 32` makes one), and takes the place of
DIR/master.key. If the old one is in OTARU_MASTER_KEY, the new one has to be in OTARU_NEW_MASTER_KEY, and the server
gets it from its environment from then on.

All secrets are sealed again, or none; if it is interrupted, run it again, or start the server: it finds the right key.
Download addresses and device tokens given out before stop working: devices that are downloading fail and are told
again only if their campaign retries, so change the key while no campaign runs.

Example:
  systemctl stop otaru
  sudo -u otaru otaru master-key change --data-dir /var/lib/otaru
  systemctl start otaru")]
pub(crate) struct ChangeKeyArgs {
    /// The data directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: PathBuf,
    /// The old key is lost: start over with a new one. The secrets it sealed never open again.
    #[arg(long)]
    pub(crate) give_up_secrets: bool,
}

/// Make, list and revoke API tokens of a running server.
#[derive(Debug, Args)]
#[command(after_help = "\
The server is asked over HTTP, with an admin token from --token, OTARU_TOKEN, or DIR/admin.token of --data-dir; without
any of these, from ./otaru-data/admin.token if there is one.

Examples:
  otaru token create --name ci --role operator --data-dir /var/lib/otaru
  OTARU_URL=https://ota.example.com:8443 OTARU_TOKEN=… otaru token list
  otaru token revoke 65d31bf2581ed33a42a58d76 --data-dir ./otaru-data")]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    pub(crate) command: TokenCommand,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token. It is printed once and never shown again.
    Create {
        /// What it is for, for people.
        #[arg(long, value_name = "NAME")]
        name: String,
        /// What its holder may do; each role includes the ones before it.
        #[arg(long, value_enum)]
        role: RoleArg,
    },
    /// Show all tokens, without the tokens themselves.
    List,
    /// Make a token useless.
    Revoke {
        /// As `list` shows it.
        token_id: String,
    },
}

/// Make, list and revoke access keys, with which applications sign their requests.
#[derive(Debug, Args)]
#[command(after_help = "\
For applications that use the IoTDA API through one of its SDKs: an access key, its secret and the project id are what
they are configured with, and this server is their endpoint (docs/applications.md). The server is asked as by
`otaru token`.

Examples:
  otaru access-key create --name fleet-app --role operator --data-dir /var/lib/otaru
  otaru access-key list --data-dir /var/lib/otaru
  otaru access-key revoke 6A1F3C5E7B9D02468ACE --data-dir /var/lib/otaru")]
pub(crate) struct AccessKeyArgs {
    #[command(subcommand)]
    pub(crate) command: AccessKeyCommand,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AccessKeyCommand {
    /// Make an access key. Its secret is printed once and never shown again.
    Create {
        /// Which application it is for, for people.
        #[arg(long, value_name = "NAME")]
        name: String,
        /// What the application may do; each role includes the ones before it.
        #[arg(long, value_enum)]
        role: RoleArg,
    },
    /// Show all access keys, without their secrets.
    List,
    /// Make an access key useless.
    Revoke {
        /// As `list` shows it.
        access_key: String,
    },
}

/// Look at the rules by which applications are told of changes, and try them.
#[derive(Debug, Args)]
#[command(after_help = "\
Rules are made by applications, through the IoTDA API (docs/applications.md). The server is asked as by `otaru token`.

Examples:
  otaru rule list --data-dir /var/lib/otaru
  otaru rule test 0f4c2c58-4b57-4b1f-9d0e-3b7c6a5d4e3f --data-dir /var/lib/otaru
  otaru rule dead-letters 0f4c2c58-4b57-4b1f-9d0e-3b7c6a5d4e3f --data-dir /var/lib/otaru")]
pub(crate) struct RuleArgs {
    #[command(subcommand)]
    pub(crate) command: RuleCommand,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RuleCommand {
    /// Show the rules, where to they tell, and how much they have not told yet.
    List,
    /// Send a notification with the event `test` to each action of a rule. Ends with 1 if one does not take it.
    Test {
        /// As `list` shows it.
        rule_id: String,
    },
    /// Show what the applications of a rule did not take, the newest first.
    DeadLetters {
        /// As `list` shows it.
        rule_id: String,
    },
}

/// The roles, in rising order.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum RoleArg {
    /// Looks.
    Viewer,
    /// Changes devices, packages and campaigns.
    Operator,
    /// Approves what needs a second person.
    Approver,
    /// Makes and revokes tokens.
    Admin,
}

impl RoleArg {
    /// The word of the API.
    pub(crate) fn name(self) -> &'static str {
        match self {
            RoleArg::Viewer => "viewer",
            RoleArg::Operator => "operator",
            RoleArg::Approver => "approver",
            RoleArg::Admin => "admin",
        }
    }
}

/// Which server, and who asks.
#[derive(Debug, Args)]
pub(crate) struct ServerArgs {
    /// Where the server's HTTP side is.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "OTARU_URL",
        default_value = "http://127.0.0.1:8080"
    )]
    pub(crate) url: String,
    /// An admin token.
    #[arg(long, global = true, value_name = "TOKEN", env = "OTARU_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// Take the token from DIR/admin.token.
    #[arg(long, global = true, value_name = "DIR", conflicts_with = "token")]
    pub(crate) data_dir: Option<PathBuf>,
    /// For https: trust the certificates of this PEM file.
    #[arg(long, global = true, value_name = "FILE", env = "OTARU_CA")]
    pub(crate) ca: Option<PathBuf>,
    /// Print JSON instead of text.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// Certificates.
#[derive(Debug, Args)]
pub(crate) struct TlsArgs {
    #[command(subcommand)]
    pub(crate) command: TlsCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TlsCommand {
    /// Make a certificate that signs itself, to try things out with, and its key.
    #[command(after_help = "\
Writes DIR/cert.pem and DIR/key.pem (mode 0600) and overwrites nothing. Devices have to be given cert.pem as the
authority they trust.

Example:
  otaru tls self-signed --out ./tls --name ota.example.com --name 192.0.2.10")]
    SelfSigned {
        /// Where the two files go; made if it is missing.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// Host name or IP address under which devices reach the server. May be repeated.
        #[arg(long = "name", value_name = "HOST", required = true)]
        names: Vec<String>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_connect_to_a_host_and_a_port_plain_or_with_tls() {
        let shown = |text| door(text).map(|door| (door.host, door.port, door.is_secure));
        assert_eq!(shown("127.0.0.1:1883"), Ok(("127.0.0.1".into(), 1883, false)));
        assert_eq!(shown("mqtt://ota.example.com:1884"), Ok(("ota.example.com".into(), 1884, false)));
        assert_eq!(shown("mqtts://[::1]:8883"), Ok(("::1".into(), 8883, true)));
        for wrong in
            ["", "host", "host:", "host:0", "host:x", ":1883", "http://host:1883", "mqtt://host", "[::1:1"]
        {
            assert!(shown(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_command_line_is_one() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }
}
