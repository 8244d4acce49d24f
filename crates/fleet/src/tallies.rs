//! What a crowd has done so far, counted by all its devices at once.
//!
//! Counters only grow, but for `connected`. A device adds; whoever looks takes [`Tallies::now`].

use std::sync::atomic::{AtomicU64, Ordering};

use crate::histogram::{Histogram, Quantiles};

/// The counters of a crowd. Shared by its devices.
#[derive(Debug, Default)]
pub struct Tallies {
    /// Devices that are connected right now.
    pub connected: Counter,
    /// Devices that were connected at least once.
    pub arrived: Counter,
    /// Devices, with the children they would answer for, that were refused for good before they were ever connected: nothing more is to
    /// be expected of them until a person does something.
    pub rejected: Counter,
    /// Links that were accepted.
    pub connects: Counter,
    /// Links that were refused by CONNACK.
    pub refused: Counter,
    /// Links that could not be made, or ended without the device wanting it.
    pub links_lost: Counter,
    /// Version questions heard.
    pub questions: Counter,
    /// Notices heard.
    pub notices: Counter,
    /// Notices heard again while the upgrade they announce was going on, or after it had succeeded.
    pub notices_repeated: Counter,
    /// Messages from the platform that a device could not read, or that name nobody it answers for.
    pub unreadable: Counter,
    /// Packages fetched completely, with the announced size and digest.
    pub downloads: Counter,
    /// Packages that could not be fetched, or were not what was announced.
    pub downloads_failed: Counter,
    /// Bytes of packages.
    pub download_bytes: Counter,
    /// Version reports and progress reports that were acknowledged.
    pub reports: Counter,
    /// Devices, children included, that played their script to its end; each counts once.
    pub scripts_done: Counter,
    /// From the first byte of TCP to CONNACK.
    pub connecting: Histogram,
    /// From PUBLISH to PUBACK.
    pub reporting: Histogram,
    /// From a version question to the PUBACK of its answer.
    pub answering: Histogram,
    /// From a notice to the PUBACK of the last report about it.
    pub upgrading: Histogram,
}

/// One counter.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Takes one away; only for what can shrink.
    pub(crate) fn drop_one(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The tallies at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each member is the one of the same name in `Tallies`")]
pub struct TalliesNow {
    pub connected: u64,
    pub arrived: u64,
    pub rejected: u64,
    pub connects: u64,
    pub refused: u64,
    pub links_lost: u64,
    pub questions: u64,
    pub notices: u64,
    pub notices_repeated: u64,
    pub unreadable: u64,
    pub downloads: u64,
    pub downloads_failed: u64,
    pub download_bytes: u64,
    pub reports: u64,
    pub scripts_done: u64,
    pub connecting: Quantiles,
    pub reporting: Quantiles,
    pub answering: Quantiles,
    pub upgrading: Quantiles,
}

impl Tallies {
    /// What has been counted up to now.
    #[must_use]
    pub fn now(&self) -> TalliesNow {
        TalliesNow {
            connected: self.connected.get(),
            arrived: self.arrived.get(),
            rejected: self.rejected.get(),
            connects: self.connects.get(),
            refused: self.refused.get(),
            links_lost: self.links_lost.get(),
            questions: self.questions.get(),
            notices: self.notices.get(),
            notices_repeated: self.notices_repeated.get(),
            unreadable: self.unreadable.get(),
            downloads: self.downloads.get(),
            downloads_failed: self.downloads_failed.get(),
            download_bytes: self.download_bytes.get(),
            reports: self.reports.get(),
            scripts_done: self.scripts_done.get(),
            connecting: self.connecting.quantiles(),
            reporting: self.reporting.quantiles(),
            answering: self.answering.quantiles(),
            upgrading: self.upgrading.quantiles(),
        }
    }
}
