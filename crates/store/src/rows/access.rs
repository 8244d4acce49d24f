//! Who may do what: tokens, access keys, roles.

use otaru_core::WallTime;
use serde::{Deserialize, Serialize};

use super::ProjectKey;

/// An API token. The token itself is not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRow {
    /// 24 lower-case hex digits, for listing and revoking.
    pub token_id: String,
    /// For people.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// SHA-256 of the token, 64 lower-case hex digits.
    pub hash: String,
    /// Of which tenant.
    pub project: ProjectKey,
    /// When it was made.
    pub created_at: WallTime,
}

/// An access key: its secret signs requests.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessKeyRow {
    /// 20 characters of `A-Z 0-9`; sent with each request.
    pub access_key: String,
    /// For people.
    pub name: String,
    /// What its holder may do.
    pub role: Role,
    /// Sealed by the vault, for the context `access-key/` and the key.
    pub sealed_secret: Vec<u8>,
    /// Of which tenant.
    pub project: ProjectKey,
    /// When it was made.
    pub created_at: WallTime,
}

impl std::fmt::Debug for AccessKeyRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessKeyRow")
            .field("access_key", &self.access_key)
            .field("name", &self.name)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

/// What the holder of a token may do. Each includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Look.
    Viewer,
    /// Change devices, packages and campaigns.
    Operator,
    /// Approve what needs a second person.
    Approver,
    /// Make and revoke tokens.
    Admin,
}
