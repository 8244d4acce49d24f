//! `result_code`: how a device says that something has gone wrong.
//!
//! Always true:
//! - Total and lossless: every integer decodes, and encodes back to itself.
//! - There is no way to write down "failed with success".
//! - A vendor's code never shadows one of the published table.
//!
//! Not here: what to do about a failure.

use core::fmt;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// `paras.result_code` of an `upgrade_progress_report`.
///
/// The published table calls 0 "success", but it also arrives with `progress: 80`: it means *nothing has
/// gone wrong so far*.
///
/// Source: IoTDA API reference, "Device Reporting the Upgrade Status".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResultCode {
    /// 0: nothing has gone wrong so far.
    OnTrack,
    /// Anything else: the device has given up.
    Failed(FailureCode),
}

/// Why a device has given up.
///
/// The SDKs differ in how truthfully they choose: the C sample reports every failure as 1, the C# sample a
/// bad checksum as 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureCode {
    /// 1
    DeviceInUse,
    /// 2
    PoorSignal,
    /// 3
    AlreadyLatest,
    /// 4
    LowBattery,
    /// 5
    NoStorage,
    /// 6
    DownloadTimeout,
    /// 7
    VerifyFailed,
    /// 8
    UnsupportedPackage,
    /// 9
    NoMemory,
    /// 10
    InstallFailed,
    /// 255
    Internal,
    /// Outside the published table, kept so that an operator sees the number the device sent.
    Vendor(VendorCode),
}

/// A code outside the published table. Only decoding makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VendorCode(i64);

impl VendorCode {
    /// The number the device sent.
    pub fn get(self) -> i64 {
        self.0
    }
}

impl ResultCode {
    /// What the number means.
    pub fn from_wire(code: i64) -> ResultCode {
        match FailureCode::from_wire(code) {
            Some(failure) => ResultCode::Failed(failure),
            None => ResultCode::OnTrack,
        }
    }

    /// The number on the wire.
    pub fn to_wire(self) -> i64 {
        match self {
            ResultCode::OnTrack => 0,
            ResultCode::Failed(failure) => failure.to_wire(),
        }
    }
}

impl FailureCode {
    /// What the number means; `None` for 0, which is no failure.
    pub fn from_wire(code: i64) -> Option<FailureCode> {
        Some(match code {
            0 => return None,
            1 => FailureCode::DeviceInUse,
            2 => FailureCode::PoorSignal,
            3 => FailureCode::AlreadyLatest,
            4 => FailureCode::LowBattery,
            5 => FailureCode::NoStorage,
            6 => FailureCode::DownloadTimeout,
            7 => FailureCode::VerifyFailed,
            8 => FailureCode::UnsupportedPackage,
            9 => FailureCode::NoMemory,
            10 => FailureCode::InstallFailed,
            255 => FailureCode::Internal,
            other => FailureCode::Vendor(VendorCode(other)),
        })
    }

    /// The number on the wire; never 0.
    pub fn to_wire(self) -> i64 {
        match self {
            FailureCode::DeviceInUse => 1,
            FailureCode::PoorSignal => 2,
            FailureCode::AlreadyLatest => 3,
            FailureCode::LowBattery => 4,
            FailureCode::NoStorage => 5,
            FailureCode::DownloadTimeout => 6,
            FailureCode::VerifyFailed => 7,
            FailureCode::UnsupportedPackage => 8,
            FailureCode::NoMemory => 9,
            FailureCode::InstallFailed => 10,
            FailureCode::Internal => 255,
            FailureCode::Vendor(VendorCode(other)) => other,
        }
    }

    /// The stable name, for APIs and metrics; `vendor` for everything outside the table.
    pub fn as_str(self) -> &'static str {
        match self {
            FailureCode::DeviceInUse => "device_in_use",
            FailureCode::PoorSignal => "poor_signal",
            FailureCode::AlreadyLatest => "already_latest",
            FailureCode::LowBattery => "low_battery",
            FailureCode::NoStorage => "no_storage",
            FailureCode::DownloadTimeout => "download_timeout",
            FailureCode::VerifyFailed => "verify_failed",
            FailureCode::UnsupportedPackage => "unsupported_package",
            FailureCode::NoMemory => "no_memory",
            FailureCode::InstallFailed => "install_failed",
            FailureCode::Internal => "internal",
            FailureCode::Vendor(_) => "vendor",
        }
    }

    /// What the device says, as a sentence for an operator.
    pub fn phrase(self) -> &'static str {
        match self {
            FailureCode::DeviceInUse => "The device is busy and does not want to be interrupted.",
            FailureCode::PoorSignal => "The signal is too weak for a download.",
            FailureCode::AlreadyLatest => "The device says it already runs this version.",
            FailureCode::LowBattery => "The battery is too low to upgrade safely.",
            FailureCode::NoStorage => "There is not enough storage for the package.",
            FailureCode::DownloadTimeout => "The download did not finish.",
            FailureCode::VerifyFailed => "The package failed its check on the device.",
            FailureCode::UnsupportedPackage => "The device cannot use this type of package.",
            FailureCode::NoMemory => "The device ran out of memory.",
            FailureCode::InstallFailed => "The package was downloaded but could not be installed.",
            FailureCode::Internal => "Something inside the device went wrong.",
            FailureCode::Vendor(_) => "The device gave a reason of its maker's own.",
        }
    }

    /// The published platform's own words for such an end, where it has some. Which code gets which is our reading: the
    /// page lists the words without codes.
    pub fn published_words(self) -> Option<&'static str> {
        match self {
            FailureCode::NoStorage => Some("Not enough storage for the new firmware package"),
            FailureCode::DownloadTimeout => Some("Waiting for device downloaded package timeout"),
            FailureCode::VerifyFailed => Some("Integrity check failure for new downloaded package"),
            FailureCode::UnsupportedPackage => Some("Unsupported package type"),
            FailureCode::NoMemory => Some("Out of memory during downloading process"),
            FailureCode::InstallFailed => Some("Firmware update failed"),
            FailureCode::DeviceInUse
            | FailureCode::PoorSignal
            | FailureCode::AlreadyLatest
            | FailureCode::LowBattery
            | FailureCode::Internal
            | FailureCode::Vendor(_) => None,
        }
    }

    /// Whether the same attempt may succeed later without anyone changing anything: the device was busy
    /// (1), the signal poor (2), the battery low (4) or the download slow (6).
    pub fn is_transient(self) -> bool {
        match self {
            FailureCode::DeviceInUse
            | FailureCode::PoorSignal
            | FailureCode::LowBattery
            | FailureCode::DownloadTimeout => true,
            FailureCode::AlreadyLatest
            | FailureCode::NoStorage
            | FailureCode::VerifyFailed
            | FailureCode::UnsupportedPackage
            | FailureCode::NoMemory
            | FailureCode::InstallFailed
            | FailureCode::Internal
            | FailureCode::Vendor(_) => false,
        }
    }
}

/// The number and the phrase: `7: The package failed its check on the device.`
impl fmt::Display for FailureCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.to_wire(), self.phrase())
    }
}

impl Serialize for ResultCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.to_wire())
    }
}

impl<'de> Deserialize<'de> for ResultCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ResultCode, D::Error> {
        deserializer.deserialize_i64(Integer).map(ResultCode::from_wire)
    }
}

impl Serialize for FailureCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.to_wire())
    }
}

impl<'de> Deserialize<'de> for FailureCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<FailureCode, D::Error> {
        let code = deserializer.deserialize_i64(Integer)?;
        FailureCode::from_wire(code).ok_or_else(|| de::Error::custom("result code 0 is no failure"))
    }
}

struct Integer;

impl Visitor<'_> for Integer {
    type Value = i64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a result code, an integer")
    }

    fn visit_i64<E: de::Error>(self, code: i64) -> Result<i64, E> {
        Ok(code)
    }

    fn visit_u64<E: de::Error>(self, code: u64) -> Result<i64, E> {
        i64::try_from(code).map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[test]
    fn the_published_table_is_pinned() {
        let published: Vec<(i64, &str)> = (1..=10)
            .chain([255])
            .filter_map(|code| Some((code, FailureCode::from_wire(code)?.as_str())))
            .collect();
        assert_eq!(
            published,
            [
                (1, "device_in_use"),
                (2, "poor_signal"),
                (3, "already_latest"),
                (4, "low_battery"),
                (5, "no_storage"),
                (6, "download_timeout"),
                (7, "verify_failed"),
                (8, "unsupported_package"),
                (9, "no_memory"),
                (10, "install_failed"),
                (255, "internal"),
            ]
        );
        assert_eq!(ResultCode::from_wire(0), ResultCode::OnTrack);
    }

    #[test]
    fn only_waiting_helps_against_what_is_transient() {
        let transient: Vec<i64> = (-1..=300)
            .filter(|code| FailureCode::from_wire(*code).is_some_and(FailureCode::is_transient))
            .collect();
        assert_eq!(transient, [1, 2, 4, 6]);
    }

    #[test]
    fn zero_is_no_failure_even_when_read_from_storage() {
        assert!(serde_json::from_str::<FailureCode>("0").is_err());
        assert_eq!(serde_json::from_str::<FailureCode>("7").unwrap(), FailureCode::VerifyFailed);
    }

    proptest! {
        #[test]
        fn every_integer_is_a_code_and_comes_back_as_itself(code in any::<i64>(), small in -5i64..300) {
            for code in [code, small] {
                let decoded = ResultCode::from_wire(code);
                prop_assert_eq!(decoded.to_wire(), code);
                let stored = serde_json::to_string(&decoded).unwrap();
                prop_assert_eq!(serde_json::from_str::<ResultCode>(&stored).unwrap(), decoded);
            }
        }
    }
}
