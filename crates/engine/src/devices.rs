//! Products and devices: registered, changed, frozen, deleted.

use std::collections::BTreeMap;

use otaru_core::deployment::Event;
use otaru_core::{Fingerprint, FingerprintError};
use otaru_proto::{DeviceId, DeviceIdError};
use otaru_store::{
    Auth, DeviceFilter, DeviceKey, DevicePatch, DeviceRecord, NewDevice, Page, ProductKey, ProductRow,
    StoreError, TagsChange, Wanted,
};

use crate::driver::Engine;
use crate::errors::{Faulty, Kind};
use crate::limits::{NAME_CHARS_MAX, NODE_ID_CHARS_MAX, SECRET_BYTES_MAX, TAG_CHARS_MAX, TAGS_MAX};
use crate::tokens::{Operator, random_hex};
use crate::views::{DeviceView, ReportView};

/// A device to be registered.
#[derive(Clone, Debug, Default)]
pub struct DeviceRequest {
    /// `{product_id}_{node_id}` if left out.
    pub device_id: Option<String>,
    /// The maker's own number.
    pub node_id: String,
    /// Which product.
    pub product_id: String,
    /// What it proves itself with.
    pub auth: Auth,
    /// Made if left out; a child needs none, and one with a certificate has none.
    pub secret: Option<String>,
    /// Of its certificate; left out, the certificate has to come from the device CA.
    pub fingerprint: Option<String>,
    /// Its gateway, for a child.
    pub gateway_id: Option<String>,
    /// For people.
    pub name: Option<String>,
    /// For choosing devices.
    pub tags: BTreeMap<String, String>,
}

/// What to change about a device; `None` leaves a member as it is.
#[derive(Clone, Debug, Default)]
pub struct DeviceChange {
    /// A name, or none.
    pub name: Option<Option<String>>,
    /// What becomes of its tags.
    pub tags: Option<TagsChange>,
    /// A JSON object of what applications say about it, each member in place of the one with the same name.
    pub members: Option<String>,
    /// Whether it is refused; freezing ends its session.
    pub frozen: Option<bool>,
    /// A new secret; ends its session.
    pub secret: Option<String>,
    /// The fingerprint of another certificate, or none; ends its session.
    pub fingerprint: Option<Option<String>>,
    /// A session that there is goes on with what it was opened with, until it ends by itself.
    pub keep_session: bool,
}

/// A device that was just registered.
#[derive(Clone, Debug)]
pub struct RegisteredDevice {
    /// As registered.
    pub record: DeviceRecord,
    /// Its secret; shown once. `None` for a child that never connects by itself, and for one with a certificate.
    pub secret: Option<String>,
}

/// A device that may be registered, as far as can be said without the store.
#[derive(Debug)]
pub struct CheckedDevice {
    pub(crate) device: NewDevice,
    pub(crate) secret: Option<String>,
    /// The secret was made here: whoever registers it does not know it yet.
    pub(crate) is_generated: bool,
}

/// Why a product or device was not made, changed or found.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// There is none.
    #[error("there is no device {0}")]
    Unknown(String),
    /// There is no such product.
    #[error("there is no product {0}")]
    UnknownProduct(String),
    /// Only a child has a gateway to be changed.
    #[error("device {0} is no child of a gateway; register it as one")]
    NoChild(String),
    /// Not the form of an id.
    #[error("`{field}` is not accepted: {problem}")]
    BadId {
        /// Which member.
        field: &'static str,
        /// What is wrong with it.
        problem: DeviceIdError,
    },
    /// A text outside its range.
    #[error("`{field}` has {found} characters; {accepted} are accepted")]
    Length {
        /// Which member.
        field: &'static str,
        /// How many it has.
        found: usize,
        /// How many are accepted.
        accepted: &'static str,
    },
    /// Not the form of a fingerprint.
    #[error("`fingerprint` is not accepted: {0}")]
    Fingerprint(#[source] FingerprintError),
    /// It belongs to devices that prove themselves in the other way.
    #[error("`{field}` is not accepted for a device with `auth` {:?}; leave it out, or register the device with the other kind of `auth`", .auth.name())]
    NotWithAuth {
        /// Which member.
        field: &'static str,
        /// How the device proves itself.
        auth: Auth,
    },
    /// Too many tags.
    #[error("`tags` has {0} entries; up to 64 are accepted")]
    TooManyTags(usize),
    /// The machine has no randomness to give.
    #[error("the system's random source failed")]
    Random,
    /// Taken, missing, in use; or try again later; or ours.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl DeviceError {
    /// The member of a new device that is to be changed.
    #[must_use]
    pub fn field(&self) -> Option<&'static str> {
        match self {
            DeviceError::BadId { field, .. }
            | DeviceError::Length { field, .. }
            | DeviceError::NotWithAuth { field, .. } => Some(field),
            DeviceError::Fingerprint(_) => Some("fingerprint"),
            DeviceError::TooManyTags(_) => Some("tags"),
            DeviceError::Store(StoreError::Missing { what: "product", .. }) => Some("product_id"),
            DeviceError::Store(
                StoreError::Missing { what: "gateway", .. } | StoreError::ChildAsGateway { .. },
            ) => Some("gateway_id"),
            DeviceError::Store(StoreError::Exists { what: "device", .. }) => Some("device_id"),
            DeviceError::Store(StoreError::Exists { what: "node_id", .. }) => Some("node_id"),
            DeviceError::Unknown(_)
            | DeviceError::UnknownProduct(_)
            | DeviceError::NoChild(_)
            | DeviceError::Random
            | DeviceError::Store(_) => None,
        }
    }
}

impl Faulty for DeviceError {
    fn code(&self) -> &'static str {
        match self {
            DeviceError::Unknown(_) | DeviceError::UnknownProduct(_) => "not_found",
            DeviceError::NoChild(_) => "invalid",
            DeviceError::BadId { .. } => "invalid_id",
            DeviceError::Length { .. }
            | DeviceError::TooManyTags(_)
            | DeviceError::Fingerprint(_)
            | DeviceError::NotWithAuth { .. } => "invalid",
            DeviceError::Random => "internal",
            // The thing itself is not there only for `Unknown`; here it is what the request refers to.
            DeviceError::Store(StoreError::Missing { what, .. }) => match *what {
                "product" => "unknown_product",
                "gateway" => "unknown_gateway",
                _ => "not_found",
            },
            DeviceError::Store(error) => error.code(),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            DeviceError::Unknown(_) | DeviceError::UnknownProduct(_) => Kind::NotFound,
            DeviceError::NoChild(_)
            | DeviceError::BadId { .. }
            | DeviceError::Length { .. }
            | DeviceError::TooManyTags(_)
            | DeviceError::Fingerprint(_)
            | DeviceError::NotWithAuth { .. } => Kind::Invalid,
            DeviceError::Random => Kind::Internal,
            DeviceError::Store(StoreError::Missing { what: "product" | "gateway", .. }) => Kind::Invalid,
            DeviceError::Store(error) => error.kind(),
        }
    }
}

impl Engine {
    /// Makes a product. Without an id it gets 24 hex digits.
    ///
    /// # Errors
    ///
    /// `BadId`, `Length`; `Store(Exists)`: the id is taken.
    pub async fn create_product(
        &self,
        by: &Operator,
        product_id: Option<String>,
        name: String,
    ) -> Result<ProductRow, DeviceError> {
        let now = self.shared.clock.wall();
        let (product_id, name) = self.check_product(product_id, &name)?;
        Ok(self.shared.store.create_product(&by.actor, &product_id, &name, now).await?)
    }

    /// The id and the name of a product that may be made.
    pub(crate) fn check_product(
        &self,
        product_id: Option<String>,
        name: &str,
    ) -> Result<(String, String), DeviceError> {
        let product_id = match product_id {
            Some(id) => id_of("product_id", &id)?.to_string(),
            None => self.shared.ids.make(self.shared.clock.wall()),
        };
        let name = name.trim().to_owned();
        check_length("name", &name, 1, NAME_CHARS_MAX, "1 to 256 beside spaces")?;
        Ok((product_id, name))
    }

    /// A product.
    ///
    /// # Errors
    ///
    /// The store could not be read.
    pub async fn product(&self, product_id: &str) -> Result<Option<ProductRow>, StoreError> {
        self.shared.store.product(product_id).await
    }

    /// Products, the oldest first.
    ///
    /// # Errors
    ///
    /// The store could not be read.
    pub async fn products(&self, page: Page<ProductKey>) -> Result<Vec<ProductRow>, StoreError> {
        self.shared.store.products(page).await
    }

    /// Registers a device. Without a secret one is made, unless the device is a child or has a certificate.
    ///
    /// # Errors
    ///
    /// What about the request is not accepted; `Store(Exists)`: the device id or the node id is taken.
    pub async fn register_device(
        &self,
        by: &Operator,
        request: DeviceRequest,
    ) -> Result<RegisteredDevice, DeviceError> {
        let shared = &self.shared;
        let CheckedDevice { device, secret, .. } = self.check_device(request)?;
        let record = shared.store.create_device(&by.actor, device, shared.clock.wall()).await?;
        self.registered(&record);
        Ok(RegisteredDevice { record, secret })
    }

    /// Tells a gateway that it has a child more.
    pub(crate) fn registered(&self, record: &DeviceRecord) {
        if let (Some(gateway), Some(version)) = (record.row.gateway, record.row.joined) {
            self.shared.children_changed(gateway, version);
        }
    }

    /// Looks at everything about a device that can be said without the store, makes its secret if it needs one, and seals
    /// it.
    pub(crate) fn check_device(&self, request: DeviceRequest) -> Result<CheckedDevice, DeviceError> {
        check_length("node_id", &request.node_id, 1, NODE_ID_CHARS_MAX, "1 to 64")?;
        check_length("product_id", &request.product_id, 1, NAME_CHARS_MAX, "1 to 256")?;
        let device_id = match &request.device_id {
            Some(id) => id_of("device_id", id)?,
            None => id_of("node_id", &format!("{}_{}", request.product_id, request.node_id))?,
        };
        let gateway_id = request.gateway_id.as_deref().map(|id| id_of("gateway_id", id)).transpose()?;
        if let Some(name) = &request.name {
            check_length("name", name, 0, NAME_CHARS_MAX, "up to 256")?;
        }
        check_tags(&request.tags)?;
        let fingerprint =
            check_auth(request.auth, request.secret.as_deref(), request.fingerprint.as_deref())?;
        let is_generated = request.secret.is_none();
        let secret = match request.secret {
            Some(secret) => Some(secret),
            None if request.auth == Auth::X509 => None,
            None if gateway_id.is_some() => None,
            None => Some(random_hex::<16>().map_err(|_| DeviceError::Random)?),
        };
        if let Some(secret) = &secret {
            check_length("secret", secret, 1, SECRET_BYTES_MAX, "1 to 256")?;
        }
        let sealed_secret =
            secret.as_ref().map(|secret| self.shared.vault.seal(device_id.as_str(), secret.as_bytes()));
        let device = NewDevice {
            device_id,
            node_id: request.node_id,
            product_id: request.product_id,
            gateway_id,
            name: request.name,
            tags: request.tags,
            auth: request.auth,
            sealed_secret,
            fingerprint,
        };
        Ok(CheckedDevice { device, secret, is_generated })
    }

    /// A device with its last report, and whether it can be reached.
    ///
    /// # Errors
    ///
    /// The store could not be read.
    pub async fn device(&self, device_id: &str) -> Result<Option<DeviceView>, StoreError> {
        let Ok(id) = DeviceId::parse(device_id) else { return Ok(None) };
        let Some(record) = self.shared.store.device(&id).await? else { return Ok(None) };
        let last_report = self.last_report(record.row.key).await?;
        let sdk_version = self.shared.store.sdk_version(record.row.key).await?;
        let groups = self.shared.store.groups_of(record.row.key).await?;
        let group_ids = Some(groups.into_iter().map(|group| group.group_id).collect());
        Ok(Some(DeviceView { sdk_version, group_ids, ..self.view_of(record, last_report) }))
    }

    /// Devices, the oldest first, each with its last report.
    ///
    /// # Errors
    ///
    /// The store could not be read.
    pub async fn devices(
        &self,
        filter: DeviceFilter,
        page: Page<DeviceKey>,
    ) -> Result<Vec<DeviceView>, StoreError> {
        let records = self.shared.store.devices(filter, page).await?;
        let mut views = Vec::with_capacity(records.len());
        for record in records {
            let last_report = match record.state.last_report {
                Some(_) => self.last_report(record.row.key).await?,
                None => None,
            };
            views.push(self.view_of(record, last_report));
        }
        Ok(views)
    }

    async fn last_report(&self, device: DeviceKey) -> Result<Option<ReportView>, StoreError> {
        Ok(self.shared.store.reports(device, None, 1).await?.pop().map(ReportView::of))
    }

    pub(crate) fn view_of(&self, record: DeviceRecord, last_report: Option<ReportView>) -> DeviceView {
        let online = self.shared.sessions.is_connected(&record.row, &record.state);
        DeviceView { record, online, last_report, sdk_version: None, group_ids: None }
    }

    /// Changes a device. Freezing it or changing its secret or fingerprint ends its session.
    ///
    /// # Errors
    ///
    /// `Unknown`; what about the change is not accepted.
    pub async fn patch_device(
        &self,
        by: &Operator,
        device_id: &str,
        change: DeviceChange,
    ) -> Result<DeviceRecord, DeviceError> {
        let shared = &self.shared;
        let id = DeviceId::parse(device_id).map_err(|_| DeviceError::Unknown(device_id.to_owned()))?;
        if let Some(Some(name)) = &change.name {
            check_length("name", name, 0, NAME_CHARS_MAX, "up to 256")?;
        }
        match &change.tags {
            Some(TagsChange::Replaced(tags) | TagsChange::Added { tags, .. }) => check_tags(tags)?,
            Some(TagsChange::Removed(_)) | None => {}
        }
        if let Some(secret) = &change.secret {
            check_length("secret", secret, 1, SECRET_BYTES_MAX, "1 to 256")?;
        }
        let fingerprint = match &change.fingerprint {
            Some(Some(text)) => Some(Some(fingerprint_of(text)?)),
            Some(None) => Some(None),
            None => None,
        };
        if change.secret.is_some() || fingerprint.is_some() {
            // A device keeps its kind of proof as long as it lives, so that this look is enough.
            let record = shared.store.device(&id).await?;
            let record = record.ok_or_else(|| DeviceError::Unknown(device_id.to_owned()))?;
            check_fields(record.row.auth, change.secret.is_some(), fingerprint.is_some())?;
        }
        let patch = DevicePatch {
            name: change.name,
            tags: change.tags,
            members: change.members,
            frozen: change.frozen,
            sealed_secret: change
                .secret
                .as_ref()
                .map(|secret| shared.vault.seal(id.as_str(), secret.as_bytes())),
            fingerprint,
        };
        let ends_session = if change.frozen == Some(true) {
            Some("frozen")
        } else if change.keep_session {
            None
        } else if change.secret.is_some() {
            Some("secret_changed")
        } else {
            fingerprint.is_some().then_some("certificate_changed")
        };
        let record = shared.store.patch_device(&by.actor, &id, patch, shared.clock.wall()).await;
        let record = record.map_err(|error| unknown_device(device_id, error))?;
        if let Some(reason) = ends_session {
            shared.revoke(record.row.key, reason);
        }
        Ok(record)
    }

    /// Gives a device a new secret and answers it; its session ends.
    ///
    /// # Errors
    ///
    /// `Unknown`; it proves itself with a certificate, and has no secret.
    pub async fn reset_secret(&self, by: &Operator, device_id: &str) -> Result<String, DeviceError> {
        let secret = random_hex::<16>().map_err(|_| DeviceError::Random)?;
        let change = DeviceChange { secret: Some(secret.clone()), ..DeviceChange::default() };
        self.patch_device(by, device_id, change).await?;
        Ok(secret)
    }

    /// Deletes a device: its unfinished deployments end as `removed`, its session is closed, its history stays
    /// with its campaigns.
    ///
    /// # Errors
    ///
    /// `Unknown`; `Store(InUse)`: it still has children.
    pub async fn delete_device(&self, by: &Operator, device_id: &str) -> Result<(), DeviceError> {
        let shared = &self.shared;
        let id = DeviceId::parse(device_id).map_err(|_| DeviceError::Unknown(device_id.to_owned()))?;
        let record = shared.store.device(&id).await?;
        let record = record.ok_or_else(|| DeviceError::Unknown(device_id.to_owned()))?;
        let children = DeviceFilter { gateway_id: Some(id.clone()), ..DeviceFilter::default() };
        let first = shared.store.devices(children, Page { after: None, limit: 1 }).await?;
        if let Some(child) = first.first() {
            let by = format!("its child {}; delete the children first", child.row.device_id);
            return Err(StoreError::InUse { what: "device", id: device_id.to_owned(), by }.into());
        }
        let wanted = Wanted { devices: vec![record.row.key], ..Wanted::default() };
        shared.end_deployments(wanted, None, Event::Removed).await?;
        let deleted = shared.store.delete_device(&by.actor, &id, shared.clock.wall()).await;
        let version = deleted.map_err(|error| unknown_device(device_id, error))?;
        if let (Some(gateway), Some(version)) = (record.row.gateway, version) {
            shared.children_changed(gateway, version);
        }
        shared.revoke(record.row.key, "device_deleted");
        Ok(())
    }

    /// Who did what, the oldest first.
    ///
    /// # Errors
    ///
    /// The store could not be read.
    pub async fn audit(&self, page: Page<i64>) -> Result<Vec<otaru_store::AuditRow>, StoreError> {
        self.shared.store.audit(page).await
    }

    /// A device's history, the newest first; `before` is the last entry already seen.
    ///
    /// # Errors
    ///
    /// `Unknown`.
    pub async fn reports(
        &self,
        device_id: &str,
        before: Option<otaru_store::ReportSeq>,
        limit: u32,
    ) -> Result<Vec<ReportView>, DeviceError> {
        let id = DeviceId::parse(device_id).map_err(|_| DeviceError::Unknown(device_id.to_owned()))?;
        let record = self.shared.store.device(&id).await?;
        let record = record.ok_or_else(|| DeviceError::Unknown(device_id.to_owned()))?;
        let reports = self.shared.store.reports(record.row.key, before, limit).await?;
        Ok(reports.into_iter().map(ReportView::of).collect())
    }
}

pub(crate) fn unknown_device(device_id: &str, error: StoreError) -> DeviceError {
    if matches!(error, StoreError::Missing { what: "device", .. }) {
        return DeviceError::Unknown(device_id.to_owned());
    }
    DeviceError::Store(error)
}

pub(crate) fn id_of(field: &'static str, id: &str) -> Result<DeviceId, DeviceError> {
    DeviceId::parse(id).map_err(|problem| DeviceError::BadId { field, problem })
}

/// The fingerprint, if what is given goes together.
fn check_auth(
    auth: Auth,
    secret: Option<&str>,
    fingerprint: Option<&str>,
) -> Result<Option<Fingerprint>, DeviceError> {
    check_fields(auth, secret.is_some(), fingerprint.is_some())?;
    fingerprint.map(fingerprint_of).transpose()
}

fn check_fields(auth: Auth, has_secret: bool, has_fingerprint: bool) -> Result<(), DeviceError> {
    match auth {
        Auth::Secret if has_fingerprint => Err(DeviceError::NotWithAuth { field: "fingerprint", auth }),
        Auth::X509 if has_secret => Err(DeviceError::NotWithAuth { field: "secret", auth }),
        Auth::Secret | Auth::X509 => Ok(()),
    }
}

fn fingerprint_of(text: &str) -> Result<Fingerprint, DeviceError> {
    Fingerprint::parse(text).map_err(DeviceError::Fingerprint)
}

pub(crate) fn check_length(
    field: &'static str,
    text: &str,
    least: usize,
    most: usize,
    accepted: &'static str,
) -> Result<(), DeviceError> {
    let found = text.chars().count();
    if found < least || found > most { Err(DeviceError::Length { field, found, accepted }) } else { Ok(()) }
}

fn check_tags(tags: &BTreeMap<String, String>) -> Result<(), DeviceError> {
    if tags.len() > TAGS_MAX {
        return Err(DeviceError::TooManyTags(tags.len()));
    }
    for (key, value) in tags {
        check_length("tags", key, 1, TAG_CHARS_MAX, "1 to 128 in a key")?;
        check_length("tags", value, 0, TAG_CHARS_MAX, "up to 128 in a value")?;
    }
    Ok(())
}
