//! Where we hear more than the published pages allow.
//!
//! Every entry has a witness: a device that made it necessary. One whose witness is gone is removed.
//!
//! Not here: members nobody knows. Those are skipped, as the pages and all SDKs do.

use serde::{Serialize, Serializer};

/// A departure from the published form that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tolerance {
    /// `object_device_id` is `"-1"`: the connected device. Witness: the C SDK answering a message that named
    /// no device. A device whose id really were `-1` could not be named.
    SubjectMinusOne,
    /// `object_device_id` is empty: the connected device. Published in 2024 ("blank"); no SDK seen doing it.
    SubjectBlank,
    /// A known member is null: absent. Witness: the Java and C# SDKs (`event_id`, `event_time`), Java's and
    /// ArkTS's versions in `sdk_info_report`, Java's gateway sample (all members).
    NullMember,
    /// `event_id` or `event_time` is empty: absent. Witness: the Python SDK (`event_id` in every event) and
    /// its gateway sample (`event_time`). An empty `description` too: the Go SDK in every success.
    EmptyMember,
    /// A version is empty: not said. Witness: the Go SDK in a report of failure and in the half of a version
    /// report that the application left out.
    EmptyVersion,
    /// `event_time` is in another form: kept as text. Witness: the Python SDK (`2025-04-14T09:02:03Z`, local
    /// time at that) and ArkTS (with milliseconds).
    EventTimeOddFormat,
    /// `services` is one event instead of a list of events: a list of one. Witness: home-made clients.
    SingleServiceObject,
    /// `result_code` is an integer in quotes: that integer. Witness: home-made clients.
    ResultCodeAsText,
    /// `result_code` has a decimal point but no fraction (`0.0`): that integer. Witness: home-made clients in
    /// languages whose only number is a float.
    ResultCodeAsWholeFloat,
    /// `progress` is an integer in quotes: that integer. Witness: home-made clients.
    ProgressAsText,
    /// `progress` has a decimal point but no fraction (`80.0`): that integer. Witness: home-made clients in
    /// languages whose only number is a float.
    ProgressAsWholeFloat,
    /// `progress` is below 0 or above 100: absent, and the rest of the report counts. Witness: home-made
    /// clients; the C SDK refuses to send such a thing.
    ProgressOutOfRange,
    /// `progress` has a fraction or is no number: absent, and the rest of the report counts. Witness:
    /// home-made clients.
    ProgressUnusable,
    /// A member that a report can do without has a type that makes no sense (`"description": 7`): absent.
    /// Witness: home-made clients.
    UnusableMember,
    /// A version has more than 256 characters: cut, and equal to no target. Witness: home-made clients that
    /// send a build description for a version.
    VersionCut,
}

impl Tolerance {
    /// Every one, in the order of the declaration.
    pub const ALL: [Tolerance; 15] = [
        Tolerance::SubjectMinusOne,
        Tolerance::SubjectBlank,
        Tolerance::NullMember,
        Tolerance::EmptyMember,
        Tolerance::EmptyVersion,
        Tolerance::EventTimeOddFormat,
        Tolerance::SingleServiceObject,
        Tolerance::ResultCodeAsText,
        Tolerance::ResultCodeAsWholeFloat,
        Tolerance::ProgressAsText,
        Tolerance::ProgressAsWholeFloat,
        Tolerance::ProgressOutOfRange,
        Tolerance::ProgressUnusable,
        Tolerance::UnusableMember,
        Tolerance::VersionCut,
    ];

    /// The stable name, for metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Tolerance::SubjectMinusOne => "subject_minus_one",
            Tolerance::SubjectBlank => "subject_blank",
            Tolerance::NullMember => "null_member",
            Tolerance::EmptyMember => "empty_member",
            Tolerance::EmptyVersion => "empty_version",
            Tolerance::EventTimeOddFormat => "event_time_odd_format",
            Tolerance::SingleServiceObject => "single_service_object",
            Tolerance::ResultCodeAsText => "result_code_as_text",
            Tolerance::ResultCodeAsWholeFloat => "result_code_as_whole_float",
            Tolerance::ProgressAsText => "progress_as_text",
            Tolerance::ProgressAsWholeFloat => "progress_as_whole_float",
            Tolerance::ProgressOutOfRange => "progress_out_of_range",
            Tolerance::ProgressUnusable => "progress_unusable",
            Tolerance::UnusableMember => "unusable_member",
            Tolerance::VersionCut => "version_cut",
        }
    }
}

impl core::fmt::Display for Tolerance {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Tolerance {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
