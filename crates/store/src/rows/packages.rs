//! Artifacts, and the packages that offer them.

use otaru_core::WallTime;
use otaru_proto::PackageKind;
use serde::{Deserialize, Serialize};

use super::{PackageKey, Spaces};

/// Bytes that are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArtifactRow {
    /// SHA-256, 64 lower-case hex digits.
    pub artifact_id: String,
    /// How many bytes.
    pub size_bytes: u64,
    /// When they were first kept.
    pub created_at: WallTime,
}

/// How a device gets the bytes of a package.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// With a bearer token in the notice (the `firmware_upgrade` form).
    #[default]
    Token,
    /// With a signed address (the `_v2` form).
    SignedUrl,
}

/// A package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageRow {
    /// Inside the store.
    pub key: PackageKey,
    /// 24 lower-case hex digits.
    pub package_id: String,
    /// For which product, by public id.
    pub product_id: String,
    /// Which version slot it fills.
    pub kind: PackageKind,
    /// The version a device runs after it.
    pub version: String,
    /// The versions it starts from; empty means any.
    pub source_versions: Vec<String>,
    /// Its bytes.
    pub content: Content,
    /// The name the device is told.
    pub file_name: String,
    /// Passed on to the device as it is.
    pub custom_info: Option<String>,
    /// How the device gets the bytes.
    pub delivery: Delivery,
    /// When it was made.
    pub created_at: WallTime,
}

/// A package to be made. Key and time are the store's to give.
#[derive(Clone, Debug)]
pub struct NewPackage {
    /// Already made.
    pub package_id: String,
    /// For which product, by public id.
    pub product_id: String,
    /// Which version slot it fills.
    pub kind: PackageKind,
    /// The version a device runs after it.
    pub version: String,
    /// The versions it starts from.
    pub source_versions: Vec<String>,
    /// Its bytes.
    pub content: NewContent,
    /// The name the device is told.
    pub file_name: String,
    /// Passed on to the device.
    pub custom_info: Option<String>,
    /// How the device gets the bytes.
    pub delivery: Delivery,
}

impl NewPackage {
    /// The row that it becomes.
    pub(crate) fn into_row(self, key: PackageKey, content: Content, created_at: WallTime) -> PackageRow {
        PackageRow {
            key,
            package_id: self.package_id,
            product_id: self.product_id,
            kind: self.kind,
            version: self.version,
            source_versions: self.source_versions,
            content,
            file_name: self.file_name,
            custom_info: self.custom_info,
            delivery: self.delivery,
            created_at,
        }
    }
}

/// What is known of the bytes of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// They are kept.
    Ready {
        /// As which artifact.
        artifact_id: String,
        /// How many they are.
        size_bytes: u64,
    },
    /// They are still to be read from where they are.
    Pending {
        /// Why that did not work yet; it is tried again.
        problem: Option<String>,
    },
    /// They were not what was promised, or are not there any more. No device is told of the package.
    Invalid {
        /// Why.
        problem: String,
    },
}

impl Content {
    /// Every answer of [`state`](Content::state).
    pub const STATES: [&'static str; 3] = ["ready", "pending", "invalid"];

    /// Which of these it is, as applications and operators are shown it.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match self {
            Content::Ready { .. } => "ready",
            Content::Pending { .. } => "pending",
            Content::Invalid { .. } => "invalid",
        }
    }

    /// Why the bytes are not kept, as far as that is known.
    #[must_use]
    pub fn problem(&self) -> Option<&str> {
        match self {
            Content::Ready { .. } => None,
            Content::Pending { problem } => problem.as_deref(),
            Content::Invalid { problem } => Some(problem),
        }
    }

    /// The artifact and its size, if the bytes are kept.
    #[must_use]
    pub fn artifact(&self) -> Option<(&str, u64)> {
        match self {
            Content::Ready { artifact_id, size_bytes } => Some((artifact_id, *size_bytes)),
            Content::Pending { .. } | Content::Invalid { .. } => None,
        }
    }

    /// Whether devices can be told.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.artifact().is_some()
    }
}

/// Where the bytes of a package to be made are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewContent {
    /// Kept already, as this artifact.
    Kept(String),
    /// To be read from there.
    At(ObjectPlace),
}

/// Where an object is that is to become an artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectPlace {
    /// The name of a configured bucket.
    pub bucket: String,
    /// Which object in it.
    pub key: String,
    /// What its digest has to be, 64 lower-case hex digits.
    pub sha256: Option<String>,
}

/// A package whose bytes are still to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingPackage {
    /// Which one.
    pub key: PackageKey,
    /// From where.
    pub place: ObjectPlace,
}

/// What became of reading the bytes of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// They are kept as this artifact.
    Kept(String),
    /// They cannot be had now; it is tried again.
    Delayed(String),
    /// They are not what was promised.
    Refused(String),
}

/// Which packages of a list that has the newest first are wanted; everything given must hold.
#[derive(Clone, Debug, Default)]
pub struct NewestPackages {
    /// Only of this kind.
    pub kind: Option<PackageKind>,
    /// Only of this product, by public id.
    pub product_id: Option<String>,
    /// Only of this version.
    pub version: Option<String>,
    /// Only of products in these.
    pub spaces: Spaces,
}
