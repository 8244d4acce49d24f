//! What can be set about the engine.

use std::time::Duration;

use otaru_core::campaign::Timers;
use otaru_proto::SignWindow;

use crate::certificates::DeviceCa;
use crate::objects::Buckets;

/// What can be set. `Default` is what a fresh server on a laptop needs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where devices reach the HTTP side, without a slash at the end: `http://127.0.0.1:8080`.
    pub public_url: String,
    /// Timers of new campaigns.
    pub timers: Timers,
    /// From CONNACK to the first downlink.
    ///
    /// Android and C# devices subscribe only after they have connected, and Java installs its handlers around
    /// that time: 1 to 2 s are enough.
    pub settle: Duration,
    /// How long deadlines stand still after a start or an outage, for devices to come back.
    ///
    /// SDKs back off up to 30 s, Android up to 4 min; two minutes let nearly all of them return.
    pub reconnect_grace: Duration,
    /// How long sessions are kept while the store is out, before they are closed.
    pub outage_patience: Duration,
    /// Life of a download token. The published platform's tokens live 24 h.
    pub token_life: Duration,
    /// Life of the token with which a device speaks over HTTP. The published example is one second less than a day.
    pub device_token_life: Duration,
    /// How far the time in an application's signature may be from ours; within it a request can be sent again.
    ///
    /// The published platform allows 15 minutes.
    pub signed_within: Duration,
    /// Requests of one device over HTTP: a second for long, and at once. 0 in either: as many as it likes.
    pub http_rate: (u32, u32),
    /// For client ids of sign type 1; `None` takes their hour as text, like that of sign type 0.
    pub sign_window: Option<SignWindow>,
    /// Who issues certificates to devices; `None`: only registered fingerprints count.
    pub device_ca: Option<DeviceCa>,
    /// Whether the last properties of devices are kept.
    ///
    /// They cost a row a report and service, which a fleet that sends much of them may not want to pay.
    pub keep_properties: bool,
    /// Whether the last lines of devices' logs are kept.
    pub keep_log: bool,
    /// How long what grows with time is kept.
    pub retention: Retention,
    /// Children that a gateway may register by itself; 0: operators register them.
    ///
    /// A device that calls itself a gateway may claim any free id, which a fleet without gateways need not
    /// allow.
    pub children_max: u64,
    /// How packages are fetched, whatever they say themselves; `None`: as they say.
    pub delivery: Option<otaru_store::Delivery>,
    /// Directories whose files applications may make packages of, by the name of the bucket.
    pub buckets: Buckets,
    /// Largest artifact, in bytes.
    pub artifact_bytes_max: u64,
    /// Free bytes that uploads leave on the disk.
    pub disk_reserve_bytes: u64,
    /// This node's number in ids.
    pub node: u16,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            public_url: "http://127.0.0.1:8080".into(),
            timers: Timers::default(),
            settle: Duration::from_millis(1_500),
            reconnect_grace: Duration::from_secs(120),
            outage_patience: Duration::from_secs(30),
            token_life: Duration::from_secs(24 * 3600),
            device_token_life: Duration::from_secs(86_399),
            signed_within: Duration::from_secs(15 * 60),
            http_rate: crate::limits::HTTP_RATE,
            sign_window: None,
            device_ca: None,
            keep_properties: true,
            keep_log: true,
            retention: Retention::default(),
            children_max: crate::limits::CHILDREN_PER_GATEWAY_MAX,
            delivery: None,
            buckets: Buckets::new(),
            artifact_bytes_max: crate::limits::ARTIFACT_BYTES_MAX,
            disk_reserve_bytes: crate::limits::DISK_RESERVE_BYTES,
            node: 0,
        }
    }
}

/// How long what grows with time is kept; `None`: for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Reports, from when they were received. What became of the deployment stays.
    pub reports: Option<Duration>,
    /// Lines of devices' logs, which are bounded in number as well.
    pub device_logs: Option<Duration>,
    /// The audit log.
    pub audit: Option<Duration>,
    /// What could not be processed and was kept aside.
    pub quarantine: Option<Duration>,
    /// Campaigns, from their end, with their deployments.
    pub campaigns: Option<Duration>,
    /// Artifacts that no package has, from their last upload or package.
    pub artifacts: Option<Duration>,
}

impl Default for Retention {
    fn default() -> Retention {
        let days = |days: u64| Some(Duration::from_secs(days * 86_400));
        Retention {
            reports: days(180),
            device_logs: days(30),
            audit: days(730),
            quarantine: days(90),
            campaigns: days(730),
            artifacts: days(30),
        }
    }
}
