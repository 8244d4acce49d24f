//! Decisions applied: the only writer of state.
//!
//! Events from all sessions are collected into one batch; the batch is loaded, decided by `core` and written in
//! one transaction; then, and only then, its messages are acknowledged and its outbox is said.
//!
//! Always true:
//! - Nothing is acknowledged before everything that follows from it is stored.
//! - Messages of one session are acknowledged in the order in which they came.
//! - What is said to a device is in the outbox first, and is said in one session only.
//! - The engine never calls a device: it fills mailboxes, and whoever holds the session empties them.
//!
//! Not here: what is decided (`core`), how it is stored (`store`), and any protocol (`gateway`, `api`).

mod access_keys;
mod actions;
mod application_tokens;
mod applications;
mod artifacts;
mod backups;
mod batch;
mod campaign_work;
mod campaigns;
mod certificates;
mod clock;
mod connect;
mod contents;
mod coverage;
mod device_http;
mod devices;
mod downloads;
mod driver;
mod errors;
mod explain;
mod feed;
mod forget;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod groups;
mod ids;
mod import;
mod inbox;
pub mod limits;
mod lists;
mod message;
mod modules;
mod objects;
mod packages;
mod pushes;
mod queues;
mod reading;
mod results;
mod sessions;
mod settings;
mod spaces;
mod tickets;
mod tokens;
mod told;
mod topology;
mod views;

pub use access_keys::{AccessKeyError, NewAccessKey, Signer, random};
pub use actions::{ActAnswer, ActError, ActResult, ActedDeployment, ActedDevice, DeploymentSelection};
pub use application_tokens::{ApplicationToken, ApplicationTokenError};
pub use applications::{DeviceAlternative, DeviceQuery};
pub use artifacts::{Declared, IngestError};
pub use backups::BackupError;
pub use campaigns::{CampaignError, CampaignRequest, DeviceSelection};
pub use certificates::{Channel, DeviceCa, DeviceCaError};
pub use clock::{Clock, ServiceClock, SystemClock};
pub use connect::{ConnectRequest, Refusal, RefusedConnection};
pub use contents::why_not_ready;
pub use device_http::{DeviceAuth, DeviceHttpError, DeviceToken, DeviceVisit};
pub use devices::{CheckedDevice, DeviceChange, DeviceError, DeviceRequest, RegisteredDevice};
pub use downloads::{Download, DownloadError, DownloadTally, DownloadView};
pub use driver::{Engine, Health, OpenError};
pub use errors::{Faulty, Kind};
pub use explain::{DeploymentExplanation, DeviceExplanation, HeldBackShown};
pub use feed::{EventId, Heard, Listener, LiveCampaign, LiveChange, LiveEvent, TooManyListeners};
pub use forget::ForgottenOld;
pub use groups::{GroupError, GroupRequest, MembersMoved};
pub use import::ImportOutcome;
pub use inbox::{Uplink, UplinkReading};
pub use modules::{ModuleError, ModuleRequest};
pub use objects::{Bucket, Buckets, OWN_BUCKET, ObjectError, S3Bucket, S3Error, S3Place};
pub use packages::{PackageError, PackageRequest};
pub use results::{ResultView, Results};
pub use sessions::{Delivery, Session};
pub use settings::{Retention, Settings};
pub use spaces::SpaceError;
pub use tokens::{NewToken, Operator, TokenError};
pub use told::Told;
pub use views::{CodeSays, DeploymentView, DeviceStatus, DeviceView, FailuresView, ReportView};

pub use otaru_store::{
    AccessKeyRow, Actor, ArtifactRow, AuditRow, Auth, BlobPieces, BlobReader, CampaignFilter, CampaignKey,
    CampaignRow, Content, Counts, Delivery as PackageDelivery, DeploymentFilter, DeploymentKey,
    DeviceCondition, DeviceFact, DeviceFilter, DeviceKey, DeviceRecord, DeviceText, Fault, GroupKey,
    GroupRow, KnownDevice, LogRow, Manifest, ModuleKey, ModulePatch, ModuleRow, NewContent, Newest,
    NewestDevices, NewestModules, NewestPackages, ObjectPlace, OutboxSeq, PackageKey, PackageRow, Page,
    ProductKey, ProductRow, PropertyRow, PushAction, PushActionKey, PushBecame, PushDead, PushDue, PushRule,
    PushRuleKey, PushSettled, PushSubject, ReportSeq, Role, SpaceKey, SpaceRow, Spaces, StoreError,
    TagCondition, TagsChange, TextIs, Thing, TokenRow, Total,
};
