//! The two kinds of package the protocol knows.

use serde::{Deserialize, Serialize};

/// What is being upgraded. Decides which event type announces it and which member of a version report
/// answers for it.
///
/// Not here: custom modules, for which no device message is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PackageKind {
    /// The device's system image; answered by `fw_version`.
    Firmware,
    /// An application on the device; answered by `sw_version`.
    Software,
}

impl PackageKind {
    /// The stable name: `firmware` or `software`.
    pub fn as_str(self) -> &'static str {
        match self {
            PackageKind::Firmware => "firmware",
            PackageKind::Software => "software",
        }
    }
}

impl core::fmt::Display for PackageKind {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(self.as_str())
    }
}
