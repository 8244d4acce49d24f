//! What a member can say that is one word of several: the enums of the crates below, as named schemas.

use otaru_core::campaign::{CampaignState, OnConflict};
use otaru_core::deployment::Label;
use otaru_engine::{ActResult, Auth, PackageDelivery, Role};
use otaru_proto::PackageKind;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident $says:literal $values:expr;)*) => {$(
        $(#[$doc])*
        pub(crate) enum $name {}

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let values: Vec<Value> = $values;
                let schema = ObjectBuilder::new().schema_type(Type::String).description(Some($says));
                schema.enum_values(Some(values)).into()
            }
        }

        impl ToSchema for $name {
            fn name() -> std::borrow::Cow<'static, str> {
                stringify!($name).trim_end_matches("Word").into()
            }
        }
    )*};
}

words! {
    /// [`Role`].
    RoleWord "What the holder of a token may do; each includes the ones before it."
        said(&[Role::Viewer, Role::Operator, Role::Approver, Role::Admin]);
    /// [`Auth`].
    AuthWord "What a device proves itself with: a password made from its secret, or its certificate."
        said(&[Auth::Secret, Auth::X509]);
    /// [`PackageKind`].
    PackageKindWord "What is upgraded."
        said(&[PackageKind::Firmware, PackageKind::Software]);
    /// [`PackageDelivery`].
    DeliveryWord "How a device gets the bytes: with a token in a header, or with an address that has it."
        said(&[PackageDelivery::Token, PackageDelivery::SignedUrl]);
    /// What [`otaru_engine::Content::state`] answers.
    PackageStateWord "Whether the bytes of a package are here."
        otaru_engine::Content::STATES.iter().map(|state| json!(state)).collect();
    /// [`OnConflict`].
    OnConflictWord "What happens to a device that another campaign is working on: it waits, its deployment fails, or \
        the other's is superseded."
        said(&[OnConflict::Hold, OnConflict::Fail, OnConflict::Supersede]);
    /// [`CampaignState`].
    CampaignStateWord "Where a campaign is."
        said(&CampaignState::ALL);
    /// [`Label::state_name`].
    DeploymentStateWord "Where a deployment is."
        states();
    /// The outcomes among [`Label::ALL`].
    OutcomeWord "How a deployment ended."
        Label::ALL.iter().filter(|label| label.is_finished()).map(|label| json!(label.name())).collect();
    /// [`ActResult`].
    ActResultWord "What was done to a device's deployment, or why nothing was."
        ActResult::ALL.iter().map(|result| json!(result.name())).collect();
    /// What `otaru_engine::HeldBackShown` has as its reason.
    HeldBackReasonWord "Why a deployment is held back."
        HELD_BACK.iter().map(|word| json!(word)).collect();
    /// What `otaru_engine::Refusal::code` answers.
    RefusalWord "Why a device was not let in; `docs/errors.md` says what to do."
        REFUSALS.iter().map(|word| json!(word)).collect();
}

/// Every reason; the tests of `explain` and a look at the engine's source keep it whole.
pub(crate) const HELD_BACK: [&str; 12] = [
    "not_started",
    "scheduled",
    "paused",
    "unconfirmed",
    "wave_not_open",
    "counting_children",
    "offline",
    "busy",
    "too_many_at_once",
    "package_not_ready",
    "awaiting_retry",
    "nothing_to_start",
];

/// Every refusal.
pub(crate) const REFUSALS: [&str; 14] = [
    "bad_client_id",
    "bad_keep_alive",
    "unknown_device",
    "wrong_password",
    "certificate_needs_tls",
    "certificate_missing",
    "certificate_unknown",
    "certificate_not_issued",
    "certificate_expired",
    "certificate_other_name",
    "not_this_device",
    "stamp_outside_window",
    "frozen",
    "unavailable",
];

fn said<T: Serialize>(values: &[T]) -> Vec<Value> {
    values.iter().map(|value| serde_json::to_value(value).expect("a word is JSON")).collect()
}

fn states() -> Vec<Value> {
    let mut states: Vec<Value> = Label::ALL.iter().map(|label| json!(label.state_name())).collect();
    states.dedup();
    states
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_of_an_enum_is_missing() {
        // A new value stops the build here; it belongs into `words!` above.
        let _ = |role: Role| match role {
            Role::Viewer | Role::Operator | Role::Approver | Role::Admin => {}
        };
        let _ = |auth: Auth| match auth {
            Auth::Secret | Auth::X509 => {}
        };
        let _ = |kind: PackageKind| match kind {
            PackageKind::Firmware | PackageKind::Software => {}
        };
        let _ = |delivery: PackageDelivery| match delivery {
            PackageDelivery::Token | PackageDelivery::SignedUrl => {}
        };
        let _ = |on_conflict: OnConflict| match on_conflict {
            OnConflict::Hold | OnConflict::Fail | OnConflict::Supersede => {}
        };
        assert_eq!(states().last(), Some(&json!("finished")));
    }
}
