//! A crowd of simulated devices over real MQTT: demo, simulate, load.
//!
//! A [`Device`] connects, answers, downloads, verifies, reboots and reports like a device in the field, and its
//! [`Script`] says how its upgrades go: well, badly, or not at all. A [`Crowd`] is many of them. [`load`] is the
//! other extreme: connections that do nothing but report, as fast as they are acknowledged.
//!
//! Always true:
//! - Devices know the wire protocol and nothing else: no rule of the server is shared with them.
//! - What a script must lead to is written beside the script ([`Script::ending`]), so that a run can be judged
//!   without looking at how the platform decides.
//! - The same seed gives the same cast, the same pauses and the same choices.
//! - Tallies are atomics and histograms of fixed size; a device keeps no history.
//!
//! Not here: registering devices and making campaigns, which are an operator's.

mod clock;
mod crowd;
mod device;
mod download;
mod gate;
mod histogram;
pub mod limits;
mod link;
pub mod load;
mod net;
mod random;
mod script;
mod tallies;

pub use crowd::{Crowd, Site};
pub use device::{Child, Device, DeviceConfig, StopSignal};
pub use download::{DownloadError, Downloader, Fetched};
pub use gate::Gate;
pub use histogram::{Histogram, Quantiles};
pub use link::{ConnectError, Login};
pub use net::{Endpoint, NetError, Socket, TlsTrust};
pub use random::Random;
pub use script::{Ending, Pace, Script, ScriptMix, Step};
pub use tallies::{Tallies, TalliesNow};
