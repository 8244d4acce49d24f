//! Packages: an artifact offered as firmware or software of a version for a product.

use otaru_core::WallTime;
use otaru_proto::{PackageKind, TargetVersionError, Version};
use otaru_store::{Delivery, NewContent, NewPackage, PackageKey, PackageRow, Page, StoreError};

use crate::driver::Engine;
use crate::errors::{Faulty, Kind};
use crate::limits::{CUSTOM_INFO_CHARS_MAX, FILE_NAME_CHARS_MAX, SOURCE_VERSIONS_MAX};
use crate::tokens::Operator;

/// A package to be made.
#[derive(Clone, Debug)]
pub struct PackageRequest {
    /// For which product.
    pub product_id: String,
    /// Which version slot it fills.
    pub kind: PackageKind,
    /// The version a device runs after it.
    pub version: String,
    /// Its bytes, uploaded before or to be read.
    pub content: NewContent,
    /// The name the device is told.
    pub file_name: String,
    /// The versions it starts from; empty means any.
    pub source_versions: Vec<String>,
    /// Passed on to the device as it is.
    pub custom_info: Option<String>,
    /// How the device gets the bytes.
    pub delivery: Delivery,
}

/// Why a package was not made, found or deleted.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// There is none.
    #[error("there is no package {0}")]
    Unknown(String),
    /// Not a version that devices could report.
    #[error("`{field}` is not accepted: {problem}")]
    Version {
        /// Which member.
        field: &'static str,
        /// What is wrong with it.
        problem: TargetVersionError,
    },
    /// Too many source versions.
    #[error("`source_versions` has {0} entries; up to 20 are accepted")]
    TooManySources(usize),
    /// Not a plain file name.
    #[error(
        "`file_name` is {0:?}; 1 to 128 characters of A-Z a-z 0-9 . _ - are accepted, not starting with a dot"
    )]
    FileName(String),
    /// Too long.
    #[error("`custom_info` has {0} characters; up to 4096 are accepted")]
    CustomInfo(usize),
    /// Taken, missing, in use; or try again later; or ours.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Faulty for PackageError {
    fn code(&self) -> &'static str {
        match self {
            PackageError::Unknown(_) => "not_found",
            PackageError::Version { .. } => "invalid_version",
            PackageError::FileName(_) => "invalid_file_name",
            PackageError::TooManySources(_) | PackageError::CustomInfo(_) => "invalid",
            PackageError::Store(StoreError::Missing { what, .. }) => match *what {
                "product" => "unknown_product",
                "artifact" => "unknown_artifact",
                _ => "not_found",
            },
            PackageError::Store(error) => error.code(),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            PackageError::Unknown(_) => Kind::NotFound,
            PackageError::Version { .. }
            | PackageError::TooManySources(_)
            | PackageError::FileName(_)
            | PackageError::CustomInfo(_)
            | PackageError::Store(StoreError::Missing { what: "product" | "artifact", .. }) => Kind::Invalid,
            PackageError::Store(error) => error.kind(),
        }
    }
}

impl Engine {
    /// Makes a package from an uploaded artifact.
    ///
    /// # Errors
    ///
    /// What about the request is not accepted; `Store(Exists)`: product, kind and version are taken.
    pub async fn create_package(
        &self,
        by: &Operator,
        request: PackageRequest,
    ) -> Result<PackageRow, PackageError> {
        let (package, now) = self.check_package(request)?;
        let row = self.shared.store.create_package(&by.actor, package, now).await?;
        self.shared.contents_changed.notify_one();
        Ok(row)
    }

    /// A package that may be made, as far as can be said without the store; and the time.
    pub(crate) fn check_package(
        &self,
        request: PackageRequest,
    ) -> Result<(NewPackage, WallTime), PackageError> {
        check_version("version", &request.version)?;
        if request.source_versions.len() > SOURCE_VERSIONS_MAX {
            return Err(PackageError::TooManySources(request.source_versions.len()));
        }
        for source in &request.source_versions {
            check_version("source_versions", source)?;
        }
        check_file_name(&request.file_name)?;
        let info_chars = request.custom_info.as_ref().map_or(0, |info| info.chars().count());
        if info_chars > CUSTOM_INFO_CHARS_MAX {
            return Err(PackageError::CustomInfo(info_chars));
        }
        let now = self.shared.clock.wall();
        let package = NewPackage {
            package_id: self.shared.ids.make(now),
            product_id: request.product_id,
            kind: request.kind,
            version: request.version,
            source_versions: request.source_versions,
            content: request.content,
            file_name: request.file_name,
            custom_info: request.custom_info.filter(|info| !info.is_empty()),
            delivery: request.delivery,
        };
        Ok((package, now))
    }

    /// A package.
    ///
    /// # Errors
    ///
    /// The store could not be read.
    pub async fn package(&self, package_id: &str) -> Result<Option<PackageRow>, StoreError> {
        self.shared.store.package(package_id).await
    }

    /// Packages, the oldest first, of one product if given.
    ///
    /// # Errors
    ///
    /// The store could not be read.
    pub async fn packages(
        &self,
        product_id: Option<&str>,
        page: Page<PackageKey>,
    ) -> Result<Vec<PackageRow>, StoreError> {
        self.shared.store.packages(product_id, page).await
    }

    /// Deletes a package that no campaign refers to. Its artifact stays.
    ///
    /// # Errors
    ///
    /// `Unknown`; `Store(InUse)`: a campaign refers to it.
    pub async fn delete_package(&self, by: &Operator, package_id: &str) -> Result<(), PackageError> {
        match self.shared.store.delete_package(&by.actor, package_id, self.shared.clock.wall()).await {
            Err(StoreError::Missing { what: "package", .. }) => {
                Err(PackageError::Unknown(package_id.to_owned()))
            }
            other => Ok(other?),
        }
    }
}

fn check_version(field: &'static str, version: &str) -> Result<(), PackageError> {
    Version::parse_target(version).map(|_| ()).map_err(|problem| PackageError::Version { field, problem })
}

/// Plain enough for a URL, a `Content-Disposition` without quotes, and every file system.
fn check_file_name(name: &str) -> Result<(), PackageError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let is_fine =
        (1..=FILE_NAME_CHARS_MAX).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with('.');
    if is_fine {
        Ok(())
    } else {
        Err(PackageError::FileName(name.chars().take(FILE_NAME_CHARS_MAX).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_that_climb_quote_or_break_a_head_are_refused() {
        for name in ["", "..", ".hidden", "a/b", "a b", "a\"b", "a\r\nb", "\u{e4}.bin", &"a".repeat(129)] {
            assert!(check_file_name(name).is_err(), "{name:?}");
        }
        for name in ["app.bin", "v1.2.3_full-image.tar.gz", &"a".repeat(128)] {
            assert!(check_file_name(name).is_ok(), "{name:?}");
        }
    }
}
