//! Which of a campaign's packages fits the version a device runs.

use alloc::{string::String, vec::Vec};

use otaru_proto::PackageKind;

use crate::limits::CAMPAIGN_PACKAGES_MAX;

/// What deciding needs to know of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageFacts {
    /// Its public id, for messages.
    pub package_id: String,
    /// The product it is for, by public id.
    pub product_id: String,
    /// Which version slot of the device it fills.
    pub kind: PackageKind,
    /// The version a device runs after it.
    pub version: String,
    /// The versions it can start from; empty means any.
    pub source_versions: Vec<String>,
}

/// What to do with a device that runs a certain version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Tell it: the package with this index.
    Tell(usize),
    /// It runs what the package with this index would bring.
    HasIt(usize),
    /// No package starts from this version.
    NoneFits,
}

/// Chooses by the version the device has just reported.
///
/// A package that names the version as a source outranks one that takes any; a device that runs a package's
/// own version and is no other package's source has nothing to do. Versions are compared as exact text.
#[must_use]
pub fn choose(packages: &[PackageFacts], running: &str) -> Choice {
    let named = packages.iter().position(|p| p.source_versions.iter().any(|v| v == running));
    let any = packages.iter().position(|p| p.source_versions.is_empty());
    let fits = named.or(any);
    match fits {
        Some(index) if packages[index].version != running => Choice::Tell(index),
        _ => match packages.iter().position(|p| p.version == running) {
            Some(index) => Choice::HasIt(index),
            None => Choice::NoneFits,
        },
    }
}

/// Why these packages cannot be one campaign's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PackagesError {
    /// Nothing to install.
    #[error("`package_ids` is empty; 1 to 10 packages are accepted")]
    Empty,
    /// Too many.
    #[error("`package_ids` has {0} entries; 1 to 10 are accepted")]
    TooMany(usize),
    /// Two products or two kinds.
    #[error(
        "packages {first} and {second} differ in {what}; the packages of one campaign are of one product and kind"
    )]
    Mixed {
        /// One of them.
        first: String,
        /// The other.
        second: String,
        /// `product` or `kind`.
        what: &'static str,
    },
    /// A version with two ways to go.
    #[error("packages {first} and {second} both start from {version}; source versions must not overlap")]
    Overlap {
        /// One of them.
        first: String,
        /// The other.
        second: String,
        /// The version, or `any version`.
        version: String,
    },
}

/// Checks that the packages can be one campaign's: one product, one kind, one way to go from any version.
///
/// # Errors
///
/// The first pair that does not go together, with the reason.
pub fn check_packages(packages: &[PackageFacts]) -> Result<(), PackagesError> {
    if packages.is_empty() {
        return Err(PackagesError::Empty);
    }
    if packages.len() > CAMPAIGN_PACKAGES_MAX {
        return Err(PackagesError::TooMany(packages.len()));
    }
    for (at, second) in packages.iter().enumerate() {
        for first in &packages[..at] {
            check_pair(first, second)?;
        }
    }
    Ok(())
}

fn check_pair(first: &PackageFacts, second: &PackageFacts) -> Result<(), PackagesError> {
    let ids = || (first.package_id.clone(), second.package_id.clone());
    for (differ, what) in
        [(first.product_id != second.product_id, "product"), (first.kind != second.kind, "kind")]
    {
        if differ {
            let (first, second) = ids();
            return Err(PackagesError::Mixed { first, second, what });
        }
    }
    let shared = if first.source_versions.is_empty() && second.source_versions.is_empty() {
        Some("any version".into())
    } else {
        first.source_versions.iter().find(|v| second.source_versions.contains(v)).cloned()
    };
    match shared {
        Some(version) => {
            let (first, second) = ids();
            Err(PackagesError::Overlap { first, second, version })
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

    use super::*;

    #[test]
    fn without_sources_any_other_version_is_told() {
        let packages = [package("p", "v2", &[])];
        assert_eq!(choose(&packages, "v1"), Choice::Tell(0));
        assert_eq!(choose(&packages, "v2"), Choice::HasIt(0));
        assert_eq!(choose(&packages, "V2"), Choice::Tell(0), "versions are exact text");
    }

    #[test]
    fn a_named_source_outranks_any_and_steps_chain() {
        let packages =
            [package("any", "v9", &[]), package("step", "v3", &["v2"]), package("first", "v2", &["v1"])];
        assert_eq!(choose(&packages, "v1"), Choice::Tell(2));
        assert_eq!(
            choose(&packages, "v2"),
            Choice::Tell(1),
            "v2 is a target and a source: the chain goes on"
        );
        assert_eq!(choose(&packages, "v3"), Choice::Tell(0));
        assert_eq!(choose(&packages, "v9"), Choice::HasIt(0));
    }

    #[test]
    fn a_version_nobody_starts_from_is_not_eligible() {
        let packages = [package("p", "v3", &["v2"])];
        assert_eq!(choose(&packages, "v1"), Choice::NoneFits);
        assert_eq!(choose(&packages, "v3"), Choice::HasIt(0));
    }

    #[test]
    fn packages_that_do_not_go_together_are_named() {
        let overlap = check_packages(&[package("a", "v3", &["v1", "v2"]), package("b", "v4", &["v2"])]);
        assert_eq!(
            alloc::format!("{}", overlap.unwrap_err()),
            "packages a and b both start from v2; source versions must not overlap"
        );
        let mut software = package("b", "v4", &["v5"]);
        software.kind = PackageKind::Software;
        assert!(matches!(
            check_packages(&[package("a", "v3", &[]), software]),
            Err(PackagesError::Mixed { .. })
        ));
        assert_eq!(check_packages(&[]), Err(PackagesError::Empty));
        assert_eq!(check_packages(&[package("a", "v3", &[]), package("b", "v4", &["v3"])]), Ok(()));
    }

    fn package(id: &str, version: &str, sources: &[&str]) -> PackageFacts {
        PackageFacts {
            package_id: id.into(),
            product_id: "product".into(),
            kind: PackageKind::Firmware,
            version: version.into(),
            source_versions: sources.iter().map(|s| (*s).into()).collect::<Vec<_>>(),
        }
    }

    #[test]
    fn at_most_ten() {
        assert_eq!(check_packages(&vec![package("a", "v", &["x"]); 11]), Err(PackagesError::TooMany(11)));
    }
}
