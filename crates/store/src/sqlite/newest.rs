//! Lists that have the newest first, as applications page them: by the last one seen, and by leaving some out.
//!
//! Always true:
//! - A page begins right before the last one seen, in the order of an index; nothing is sorted.
//! - Counting stops at [`COUNTED_MAX`] and says so.
//!
//! Where several things are asked for, the narrowest index is walked and the rest is looked at row by row: that costs what
//! lies between, within the time limit of a reader.

use otaru_core::campaign::CampaignState;
use rusqlite::params_from_iter;
use rusqlite::types::Value;

use super::Reading;
use super::columns::Statements;
use crate::error::StoreError;
use crate::limits::COUNTED_MAX;
use crate::rows::*;

/// A walk over an index, from its newest end: keys of what holds.
struct Walk {
    /// `FROM … WHERE …`, with what holds for every row.
    rest: String,
    /// What the keys are called.
    key: &'static str,
    values: Vec<Value>,
}

impl Walk {
    fn new(key: &'static str, rest: &str) -> Walk {
        Walk { rest: rest.to_owned(), key, values: Vec::new() }
    }

    /// One more condition; `{}` in it is the value.
    fn and(&mut self, condition: &str, value: impl Into<Value>) {
        self.values.push(value.into());
        let place = format!("?{}", self.values.len());
        self.rest.push_str(" AND ");
        self.rest.push_str(&condition.replace("{}", &place));
    }

    /// Only what has one of these spaces there. Looked at row by row: no index is walked for it.
    fn within(&mut self, column: &str, spaces: Spaces) {
        match spaces {
            Spaces::All => {}
            Spaces::Default => self.and(&format!("+{column} IS {{}}"), Value::Null),
            Spaces::One(key) => self.and(&format!("+{column} IS {{}}"), key.0),
        }
    }

    fn keys<K: rusqlite::types::FromSql>(
        &self,
        reading: &Reading<'_>,
        before: Option<i64>,
        skip: u32,
        limit: u32,
    ) -> Result<Vec<K>, StoreError> {
        let mut values = self.values.clone();
        let places = values.len();
        values.extend([before.unwrap_or(i64::MAX).into(), i64::from(limit).into(), i64::from(skip).into()]);
        let (key, rest) = (self.key, &self.rest);
        let sql = format!(
            "SELECT {key} {rest} AND {key} < ?{} ORDER BY {key} DESC LIMIT ?{} OFFSET ?{}",
            places + 1,
            places + 2,
            places + 3
        );
        reading.conn.all(&sql, params_from_iter(values), |row| row.get(0))
    }

    fn count(&self, reading: &Reading<'_>) -> Result<Total, StoreError> {
        let (key, rest) = (self.key, &self.rest);
        let sql = format!("SELECT count(*) FROM (SELECT {key} {rest} LIMIT {})", COUNTED_MAX + 1);
        let n: Option<i64> = reading.conn.one(&sql, params_from_iter(&self.values), |row| row.get(0))?;
        let (n, most) = (n.unwrap_or(0).unsigned_abs(), u64::from(COUNTED_MAX));
        Ok(Total { n: n.min(most), is_capped: n > most })
    }
}

impl Reading<'_> {
    pub(crate) fn newest_products(
        &self,
        spaces: Spaces,
        name: Option<&str>,
        page: Newest<ProductKey>,
    ) -> Result<(Vec<ProductRow>, Total), StoreError> {
        let mut walk = Walk::new("key", "FROM product WHERE deleted_at IS NULL");
        walk.within("space", spaces);
        if let Some(name) = name {
            walk.and("name = {}", name.to_owned());
        }
        let keys: Vec<ProductKey> = walk.keys(self, page.before.map(|key| key.0), page.skip, page.limit)?;
        let mut products = Vec::with_capacity(keys.len());
        for key in keys {
            products.extend(self.product_by_key(key)?);
        }
        Ok((products, walk.count(self)?))
    }

    pub(crate) fn newest_packages(
        &self,
        filter: &NewestPackages,
        page: Newest<PackageKey>,
    ) -> Result<(Vec<PackageRow>, Total), StoreError> {
        let mut walk = Walk::new("key", "FROM package WHERE key > 0");
        walk.within("(SELECT p.space FROM product p WHERE p.key = product)", filter.spaces);
        if let Some(product_id) = &filter.product_id {
            let Some(product) = self.product(product_id)? else { return Ok(Default::default()) };
            walk.and("+product = {}", product.key.0);
        }
        if let Some(kind) = filter.kind {
            walk.and("kind = {}", kind.as_str().to_owned());
        }
        if let Some(version) = &filter.version {
            walk.and("version = {}", version.clone());
        }
        let keys: Vec<PackageKey> = walk.keys(self, page.before.map(|key| key.0), page.skip, page.limit)?;
        let mut packages = Vec::with_capacity(keys.len());
        for key in keys {
            packages.extend(self.package_by_key(key)?);
        }
        Ok((packages, walk.count(self)?))
    }

    pub(crate) fn newest_modules(
        &self,
        filter: &NewestModules,
        page: Newest<ModuleKey>,
    ) -> Result<(Vec<ModuleRow>, Total), StoreError> {
        let mut walk = Walk::new("key", "FROM ota_module WHERE key > 0");
        if let Some(product_id) = &filter.product_id {
            let Some(product) = self.product(product_id)? else { return Ok(Default::default()) };
            walk.and("+product = {}", product.key.0);
        }
        walk.within("(SELECT p.space FROM product p WHERE p.key = product)", filter.spaces);
        let keys: Vec<ModuleKey> = walk.keys(self, page.before.map(|key| key.0), page.skip, page.limit)?;
        let mut modules = Vec::with_capacity(keys.len());
        for key in keys {
            modules.extend(self.module_by_key(key)?);
        }
        Ok((modules, walk.count(self)?))
    }

    pub(crate) fn newest_groups(
        &self,
        spaces: Spaces,
        name: Option<&str>,
        page: Newest<GroupKey>,
    ) -> Result<(Vec<GroupRow>, Total), StoreError> {
        let mut walk = Walk::new("key", "FROM device_group WHERE key > 0");
        walk.within("space", spaces);
        if let Some(name) = name {
            walk.and("instr(name, {}) > 0", name.to_owned());
        }
        let keys: Vec<GroupKey> = walk.keys(self, page.before.map(|key| key.0), page.skip, page.limit)?;
        let mut groups = Vec::with_capacity(keys.len());
        for key in keys {
            groups.extend(self.group_by_key(key)?);
        }
        Ok((groups, walk.count(self)?))
    }

    pub(crate) fn newest_devices(
        &self,
        filter: &NewestDevices,
        page: Newest<DeviceKey>,
    ) -> Result<(Vec<DeviceRecord>, Total), StoreError> {
        let Some(walk) = self.devices_walk(filter)? else { return Ok(Default::default()) };
        let keys: Vec<DeviceKey> = walk.keys(self, page.before.map(|key| key.0), page.skip, page.limit)?;
        let mut devices = Vec::with_capacity(keys.len());
        for key in keys {
            devices.extend(self.device_by_key(key)?);
        }
        Ok((devices, walk.count(self)?))
    }

    /// `None`: it names something that there is not.
    fn devices_walk(&self, filter: &NewestDevices) -> Result<Option<Walk>, StoreError> {
        let product = match &filter.product_id {
            Some(product_id) => match self.product(product_id)? {
                Some(product) => Some(product.key.0),
                None => return Ok(None),
            },
            None => None,
        };
        // Most spaces have one product, whose index is walked then.
        let product = match (product, filter.spaces) {
            (None, Spaces::One(space)) => {
                let all: Vec<i64> = self.conn.all(
                    "SELECT key FROM product WHERE space = ?1 AND deleted_at IS NULL LIMIT 2",
                    [space],
                    |row| row.get(0),
                )?;
                match all[..] {
                    [] => return Ok(None),
                    [one] => Some(one),
                    _ => None,
                }
            }
            (product, Spaces::All | Spaces::Default | Spaces::One(_)) => product,
        };
        let mut walk = if let Some(gateway_id) = &filter.gateway_id {
            let Some(gateway) = self.device(gateway_id)? else { return Ok(None) };
            let mut walk = Walk::new("d.key", "FROM device d WHERE d.deleted_at IS NULL");
            walk.and("d.gateway = {}", gateway.row.key.0);
            walk
        } else if let Some(group_id) = &filter.group_id {
            let Some(group) = self.group(group_id)? else { return Ok(None) };
            let mut walk = Walk::new(
                "m.device",
                "FROM device_group_member m CROSS JOIN device d ON d.key = m.device WHERE d.deleted_at IS NULL",
            );
            walk.and("m.grp = {}", group.key.0);
            walk
        } else {
            Walk::new("d.key", "FROM device d WHERE d.deleted_at IS NULL")
        };
        if let Some(product) = product {
            // Where something narrower is walked, the index of the product is not to be used in its place.
            let narrower = filter.gateway_id.is_some();
            walk.and(if narrower { "+d.product = {}" } else { "d.product = {}" }, product);
        }
        walk.within("(SELECT p.space FROM product p WHERE p.key = d.product)", filter.spaces);
        if let Some(node_id) = &filter.node_id {
            walk.and("d.node_id = {}", node_id.clone());
        }
        if let Some(part) = &filter.name_part {
            walk.and("instr(d.name, {}) > 0", part.clone());
        }
        if let Some(from) = filter.from {
            walk.and("d.created_at >= {}", from.0);
        }
        if let Some(until) = filter.until {
            walk.and("d.created_at < {}", until.0);
        }
        if !filter.any_tag.is_empty() {
            let pairs: Vec<[&String; 2]> = filter.any_tag.iter().map(|(tag, value)| [tag, value]).collect();
            let pairs = super::columns::to_json(&pairs)?;
            walk.and(
                "EXISTS (SELECT 1 FROM json_each({}) pair CROSS JOIN device_tag t
                     WHERE t.tag = pair.value ->> 0 AND t.value = pair.value ->> 1 AND t.device = d.key)",
                pairs,
            );
        }
        Ok(Some(walk))
    }

    pub(crate) fn newest_campaigns(
        &self,
        spaces: Spaces,
        kind: otaru_proto::PackageKind,
        states: Option<&[CampaignState]>,
        page: Newest<CampaignKey>,
    ) -> Result<(Vec<(CampaignRow, Counts)>, Total), StoreError> {
        let mut walk = Walk::new("c.key", "FROM campaign c WHERE c.key > 0");
        walk.within("(SELECT p.space FROM product p WHERE p.key = c.product)", spaces);
        walk.and(
            "EXISTS (SELECT 1 FROM campaign_package m CROSS JOIN package k ON k.key = m.package
                 WHERE m.campaign = c.key AND k.kind = {})",
            kind.as_str().to_owned(),
        );
        if let Some(states) = states {
            let names: Vec<&str> = states.iter().map(|state| state.name()).collect();
            walk.and(
                "EXISTS (SELECT 1 FROM json_each({}) WHERE value = c.state)",
                super::columns::to_json(&names)?,
            );
        }
        let keys: Vec<CampaignKey> = walk.keys(self, page.before.map(|key| key.0), page.skip, page.limit)?;
        let mut campaigns = Vec::with_capacity(keys.len());
        for key in keys {
            campaigns.extend(self.campaign_by_key(key)?);
        }
        Ok((campaigns, walk.count(self)?))
    }

    /// The campaign with the largest id that is smaller than this.
    pub(crate) fn campaign_before(&self, campaign_id: &str) -> Result<Option<CampaignKey>, StoreError> {
        self.conn.one(
            "SELECT key FROM campaign WHERE campaign_id < ?1 ORDER BY campaign_id DESC LIMIT 1",
            [campaign_id],
            |row| row.get(0),
        )
    }

    pub(crate) fn newest_deployments(
        &self,
        campaign: CampaignKey,
        filter: &DeploymentFilter,
        page: Newest<DeploymentKey>,
    ) -> Result<Vec<DeploymentRecord>, StoreError> {
        let before = page.before.map_or(i64::MAX, |key| key.0);
        let mut values: Vec<Value> =
            vec![campaign.0.into(), before.into(), i64::from(page.limit).into(), i64::from(page.skip).into()];
        let mut parts = Vec::new();
        for label in filter.taken() {
            values.push(label.name().to_owned().into());
            parts.push(format!(
                "SELECT key FROM deployment WHERE campaign = ?1 AND label = ?{} AND replaced = 0 AND key < ?2",
                values.len()
            ));
        }
        if parts.is_empty() {
            return Ok(Vec::new());
        }
        let sql = format!("{} ORDER BY key DESC LIMIT ?3 OFFSET ?4", parts.join(" UNION ALL "));
        let keys: Vec<DeploymentKey> = self.conn.all(&sql, params_from_iter(values), |row| row.get(0))?;
        let mut records = Vec::with_capacity(keys.len());
        for key in keys {
            records.extend(self.deployment(key)?);
        }
        Ok(records)
    }
}
