//! Products, artifacts and packages.

use std::ops::Bound;
use std::sync::Arc;

use otaru_core::WallTime;

use super::tables::{Tables, next_key};
use crate::error::StoreError;
use crate::rows::*;
use crate::rules::{self, action};

/// What comes after the last one seen.
pub(super) fn after<K>(seen: Option<K>) -> (Bound<K>, Bound<K>) {
    (seen.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded)
}

impl Tables {
    pub(crate) fn create_product(
        &mut self,
        actor: &Actor,
        product_id: &str,
        name: &str,
        now: WallTime,
    ) -> Result<ProductRow, StoreError> {
        self.check_project(actor)?;
        if self.products_by_id.contains_key(product_id) {
            return Err(StoreError::Exists { what: "product", id: product_id.to_owned() });
        }
        let key = ProductKey(next_key(&self.products, |key| key.0));
        let row = ProductRow {
            key,
            product_id: product_id.to_owned(),
            name: name.to_owned(),
            space: None,
            created_at: now,
        };
        self.products.insert(key, row.clone());
        self.products_by_id.insert(product_id.to_owned(), key);
        self.note(&actor.name, action::PRODUCT_CREATED, product_id, now);
        Ok(row)
    }

    pub(crate) fn patch_product(
        &mut self,
        actor: &Actor,
        product_id: &str,
        name: Option<&str>,
        members: Option<&str>,
        now: WallTime,
    ) -> Result<ProductRow, StoreError> {
        let missing = || StoreError::Missing { what: "product", id: product_id.to_owned() };
        let key = self.product_of(actor, product_id)?;
        let mut is_new = match members {
            Some(members) => self.merge_members(Thing::Product(key), members),
            None => false,
        };
        let row = self.products.get_mut(&key).ok_or_else(missing)?;
        if let Some(name) = name {
            is_new |= row.name != name;
            name.clone_into(&mut row.name);
        }
        let row = row.clone();
        if is_new {
            self.note(&actor.name, action::PRODUCT_CHANGED, product_id, now);
        }
        Ok(row)
    }

    pub(crate) fn delete_product(
        &mut self,
        actor: &Actor,
        product_id: &str,
        now: WallTime,
    ) -> Result<(), StoreError> {
        let key = self.product_of(actor, product_id)?;
        let device = self.devices.values().find(|device| !device.deleted && device.row.product == key);
        let device = device.map(|device| format!("device {}", device.row.device_id));
        let package = self.packages.values().find(|package| package.product_id == product_id);
        let package = package.map(|package| format!("package {}", package.package_id));
        let campaign = self.campaigns.values().find(|campaign| campaign.product == key);
        let campaign = campaign.map(|campaign| format!("campaign {}", campaign.row.campaign_id));
        if let Some(by) = device.or(package).or(campaign) {
            return Err(StoreError::InUse { what: "product", id: product_id.to_owned(), by });
        }
        self.products_by_id.remove(product_id);
        self.members.remove(&Thing::Product(key));
        self.modules.retain(|_, row| row.product_id != product_id);
        self.note(&actor.name, action::PRODUCT_DELETED, product_id, now);
        Ok(())
    }

    /// The product that an actor names; those of other projects do not exist for it.
    pub(super) fn product_of(&self, actor: &Actor, product_id: &str) -> Result<ProductKey, StoreError> {
        self.products_by_id
            .get(product_id)
            .filter(|_| self.is_of(actor))
            .copied()
            .ok_or_else(|| StoreError::Missing { what: "product", id: product_id.to_owned() })
    }

    pub(crate) fn product(&self, product_id: &str) -> Result<Option<ProductRow>, StoreError> {
        Ok(self.products_by_id.get(product_id).and_then(|key| self.products.get(key)).cloned())
    }

    pub(crate) fn products(&self, page: Page<ProductKey>) -> Result<Vec<ProductRow>, StoreError> {
        let live = |row: &&ProductRow| self.products_by_id.get(&row.product_id) == Some(&row.key);
        let rows = self.products.range(after(page.after)).map(|(_, row)| row).filter(live).cloned();
        Ok(rows.take(page.limit as usize).collect())
    }

    pub(crate) fn add_artifact(
        &mut self,
        actor: &Actor,
        added: &ArtifactRow,
    ) -> Result<ArtifactRow, StoreError> {
        self.idle_from(&added.artifact_id, added.created_at);
        if let Some(known) = self.artifacts.get(&added.artifact_id) {
            return Ok(known.clone());
        }
        self.check_project(actor)?;
        self.artifacts.insert(added.artifact_id.clone(), added.clone());
        self.note(&actor.name, action::ARTIFACT_KEPT, &added.artifact_id, added.created_at);
        Ok(added.clone())
    }

    pub(crate) fn artifact(&self, artifact_id: &str) -> Result<Option<ArtifactRow>, StoreError> {
        Ok(self.artifacts.get(artifact_id).cloned())
    }

    pub(crate) fn create_package(
        &mut self,
        actor: &Actor,
        new: &NewPackage,
        now: WallTime,
    ) -> Result<PackageRow, StoreError> {
        self.product_of(actor, &new.product_id)?;
        let (content, place) = match &new.content {
            NewContent::Kept(artifact_id) => {
                let missing = || StoreError::Missing { what: "artifact", id: artifact_id.clone() };
                let size_bytes = self.artifacts.get(artifact_id).ok_or_else(missing)?.size_bytes;
                (Content::Ready { artifact_id: artifact_id.clone(), size_bytes }, None)
            }
            NewContent::At(place) => (Content::Pending { problem: None }, Some(place.clone())),
        };
        for known in self.packages.values() {
            if known.package_id == new.package_id {
                return Err(StoreError::Exists { what: "package", id: new.package_id.clone() });
            }
        }
        let version = |product: &str, kind, version: &str| (product.to_owned(), kind, version.to_owned());
        let wanted = version(&new.product_id, new.kind, &new.version);
        if self
            .packages
            .values()
            .any(|known| version(&known.product_id, known.kind, &known.version) == wanted)
        {
            return Err(StoreError::Exists { what: "package version", id: new.version.clone() });
        }
        self.last_package += 1;
        let row = new.clone().into_row(PackageKey(self.last_package), content, now);
        self.packages.insert(row.key, Arc::new(row.clone()));
        self.package_places.extend(place.map(|place| (row.key, place)));
        self.note(&actor.name, action::PACKAGE_CREATED, &new.package_id, now);
        Ok(row)
    }

    pub(crate) fn settle_package(
        &mut self,
        actor: &Actor,
        key: PackageKey,
        outcome: &ReadOutcome,
        now: WallTime,
    ) -> Result<Option<PackageRow>, StoreError> {
        let row = self.packages.get(&key);
        let Some(row) = row.filter(|row| matches!(row.content, Content::Pending { .. })) else {
            return Ok(None);
        };
        let artifact = match outcome {
            ReadOutcome::Kept(artifact_id) => self.artifacts.get(artifact_id),
            ReadOutcome::Delayed(_) | ReadOutcome::Refused(_) => None,
        };
        let (content, action) = rules::read_content(outcome, artifact)?;
        let row = PackageRow { content, ..PackageRow::clone(row) };
        self.package_changed(&row);
        if let Some(action) = action {
            self.note(&actor.name, action, &row.package_id, now);
        }
        Ok(Some(row))
    }

    pub(crate) fn retry_package(
        &mut self,
        actor: &Actor,
        package_id: &str,
        now: WallTime,
    ) -> Result<PackageRow, StoreError> {
        let missing = || StoreError::Missing { what: "package", id: package_id.to_owned() };
        let mut row = self.package(package_id)?.filter(|_| self.is_of(actor)).ok_or_else(missing)?;
        if matches!(row.content, Content::Invalid { .. }) {
            row.content = Content::Pending { problem: None };
            self.package_changed(&row);
            self.note(&actor.name, action::PACKAGE_RETRIED, package_id, now);
        }
        Ok(row)
    }

    /// Campaigns are kept with their packages.
    fn package_changed(&mut self, row: &PackageRow) {
        let row = Arc::new(row.clone());
        for campaign in self.campaigns.values_mut() {
            if let Some(at) = campaign.row.packages.iter().position(|package| package.key == row.key) {
                Arc::make_mut(&mut campaign.row).packages[at] = Arc::clone(&row);
            }
        }
        self.packages.insert(row.key, row);
    }

    pub(crate) fn pending_packages(
        &self,
        after_key: Option<PackageKey>,
        limit: u32,
    ) -> Result<Vec<PendingPackage>, StoreError> {
        let rows = self.packages.range(after(after_key)).map(|(_, row)| row);
        let pending = rows.filter(|row| matches!(row.content, Content::Pending { .. })).filter_map(|row| {
            let place = self.package_places.get(&row.key)?.clone();
            Some(PendingPackage { key: row.key, place })
        });
        Ok(pending.take(limit as usize).collect())
    }

    pub(crate) fn package(&self, package_id: &str) -> Result<Option<PackageRow>, StoreError> {
        let row = self.packages.values().find(|row| row.package_id == package_id);
        Ok(row.map(|row| PackageRow::clone(row)))
    }

    pub(crate) fn package_by_key(&self, key: PackageKey) -> Result<Option<PackageRow>, StoreError> {
        Ok(self.packages.get(&key).map(|row| PackageRow::clone(row)))
    }

    pub(crate) fn packages(
        &self,
        product_id: Option<&str>,
        page: Page<PackageKey>,
    ) -> Result<Vec<PackageRow>, StoreError> {
        let rows = self.packages.range(after(page.after)).map(|(_, row)| row);
        let rows = rows.filter(|row| product_id.is_none_or(|wanted| row.product_id == wanted));
        Ok(rows.take(page.limit as usize).map(|row| PackageRow::clone(row)).collect())
    }

    pub(crate) fn delete_package(
        &mut self,
        actor: &Actor,
        package_id: &str,
        now: WallTime,
    ) -> Result<(), StoreError> {
        let missing = || StoreError::Missing { what: "package", id: package_id.to_owned() };
        let key = self.package(package_id)?.filter(|_| self.is_of(actor)).ok_or_else(missing)?.key;
        let user = self
            .campaigns
            .values()
            .find(|campaign| campaign.row.packages.iter().any(|package| package.key == key));
        if let Some(campaign) = user {
            let by = format!("campaign {}", campaign.row.campaign_id);
            return Err(StoreError::InUse { what: "package", id: package_id.to_owned(), by });
        }
        self.package_places.remove(&key);
        if let Some(package) = self.packages.remove(&key)
            && let Some((artifact_id, _)) = package.content.artifact()
        {
            self.idle_from(artifact_id, now);
        }
        self.note(&actor.name, action::PACKAGE_DELETED, package_id, now);
        Ok(())
    }
}
