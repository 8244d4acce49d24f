//! A small world to tell stories in: one product, one package, devices, campaigns.

use std::collections::BTreeMap;

use otaru_core::campaign::{CampaignState, Policy};
use otaru_core::deployment::{Deployment, Label, OutcomeKind};
use otaru_core::{ServiceTime, WallTime};
use otaru_proto::{DeviceId, PackageKind};

use crate::{
    Actor, ArtifactRow, CampaignKey, CampaignRow, Changes, Committed, DeploymentFilter, DeploymentKey,
    DeploymentRecord, DeploymentRow, DeviceKey, DeviceRecord, FurtherRun, Latest, Loaded, NewCampaign,
    NewDevice, NewPackage, NewReport, PackageRow, Page, Store, StoreError, Targets, Wanted, Which,
};

/// The time that is told to the store where it does not matter.
pub(super) const NOW: WallTime = WallTime(1_700_000_000_000);

pub(super) const PRODUCT: &str = "product1";

/// The answer, where the story goes on only with one.
pub(super) trait Must<T> {
    fn must(self) -> T;
}

impl<T> Must<T> for Result<T, StoreError> {
    #[track_caller]
    fn must(self) -> T {
        self.unwrap_or_else(|error| panic!("the store answered: {error}"))
    }
}

impl<T> Must<T> for Option<T> {
    #[track_caller]
    fn must(self) -> T {
        self.unwrap_or_else(|| panic!("it should be there"))
    }
}

/// A booted store and someone who may change it.
pub(super) struct World {
    pub(super) store: Store,
    pub(super) actor: Actor,
    /// Another project than the one there is.
    pub(super) stranger: Actor,
}

impl World {
    pub(super) async fn new(store: Store) -> World {
        let project = store.boot(NOW).await.must().project.key;
        let actor = Actor { name: "tester".to_owned(), project };
        let stranger = Actor { name: "stranger".to_owned(), project: crate::ProjectKey(project.0 + 1) };
        World { store, actor, stranger }
    }

    /// The product and its package, made at first.
    pub(super) async fn package(&self) -> PackageRow {
        if let Some(known) = self.store.package("package1").await.must() {
            return known;
        }
        if self.store.product(PRODUCT).await.must().is_none() {
            self.store.create_product(&self.actor, PRODUCT, "Product", NOW).await.must();
        }
        self.store.add_artifact(&self.actor, artifact()).await.must();
        self.store.create_package(&self.actor, new_package("package1", "v2"), NOW).await.must()
    }

    pub(super) async fn device(&self, name: &str) -> DeviceKey {
        self.device_with(new_device(name)).await.row.key
    }

    pub(super) async fn device_with(&self, device: NewDevice) -> DeviceRecord {
        self.package().await;
        self.store.create_device(&self.actor, device, NOW).await.must()
    }

    pub(super) async fn devices(&self, count: usize) -> Vec<DeviceKey> {
        let mut keys = Vec::with_capacity(count);
        for number in 0..count {
            keys.push(self.device(&format!("device{number:05}")).await);
        }
        keys
    }

    /// A campaign, told to start, without deployments.
    pub(super) async fn campaign(&self, campaign_id: &str, targets: Targets) -> CampaignRow {
        let package = self.package().await.key;
        let campaign = new_campaign(campaign_id, targets, package);
        self.store.create_campaign(&self.actor, campaign, NOW).await.must()
    }

    /// A campaign over all devices there are, each with a deployment like this.
    pub(super) async fn filled(&self, campaign_id: &str, initial: &Deployment) -> CampaignKey {
        let key = self.campaign(campaign_id, Targets::Product).await.key;
        while !self.store.fill_campaign(key, 1_000, NOW, initial, &[]).await.must().done {}
        key
    }

    /// Writes what `decide` says of these devices.
    pub(super) async fn batch<R: Send + 'static>(
        &self,
        devices: &[DeviceKey],
        decide: impl FnOnce(Loaded) -> (Changes, R) + Send + 'static,
    ) -> Result<Committed<R>, StoreError> {
        let wanted = Wanted { devices: devices.to_vec(), ..Wanted::default() };
        self.store.transact(NOW, wanted, decide).await
    }

    /// What a batch over these devices would see.
    pub(super) async fn load(&self, wanted: Wanted) -> Loaded {
        self.store.transact(NOW, wanted, |loaded| (Changes::default(), loaded)).await.must().answer
    }

    /// Brings a device's deployment of a campaign into a state.
    pub(super) async fn put(
        &self,
        campaign: CampaignKey,
        device: DeviceKey,
        deployment: Deployment,
    ) -> Result<(), StoreError> {
        let row = self.store.deployment_of(campaign, device).await?.must().row;
        let row = DeploymentRow { deployment, ..row };
        let changes = Changes { deployments: vec![row], ..Changes::default() };
        self.batch(&[device], |_| (changes, ())).await.map(|_| ())
    }

    /// Makes further runs, each of the latest one on a device.
    pub(super) async fn run_again(
        &self,
        campaign: CampaignKey,
        devices: &[DeviceKey],
        deployment: Deployment,
    ) -> Result<Vec<DeploymentKey>, StoreError> {
        let which = Which::Devices(devices.to_vec());
        let wanted = Wanted { latest: Some(Latest { campaign, which }), ..Wanted::default() };
        let decide = move |loaded: Loaded| {
            let again =
                |row: &DeploymentRow| FurtherRun { previous: row.key, deployment: deployment.clone() };
            (Changes { runs: loaded.latest.iter().map(again).collect(), ..Changes::default() }, ())
        };
        self.store.transact(NOW, wanted, decide).await.map(|committed| committed.runs)
    }

    /// Every deployment of a campaign, walked in small pages.
    pub(super) async fn deployments(
        &self,
        campaign: CampaignKey,
        filter: DeploymentFilter,
    ) -> Vec<DeploymentRecord> {
        let mut all: Vec<DeploymentRecord> = Vec::new();
        loop {
            let page = Page { after: all.last().map(|last| last.row.key), limit: 3 };
            let records = self.store.deployments(campaign, filter.clone(), page).await.must();
            assert!(records.len() <= 3);
            if records.is_empty() {
                return all;
            }
            all.extend(records);
        }
    }

    pub(super) async fn labels(&self, campaign: CampaignKey) -> Vec<Label> {
        let all = self.deployments(campaign, DeploymentFilter::default()).await;
        all.iter().map(|record| record.row.deployment.label()).collect()
    }

    pub(super) async fn state_of(&self, campaign: CampaignKey) -> CampaignState {
        self.store.campaign_by_key(campaign).await.must().must().0.state
    }

    /// The counters of a campaign, which must be what a recount says.
    pub(super) async fn counts(&self, campaign: CampaignKey) -> BTreeMap<Label, u64> {
        let (_, counts) = self.store.campaign_by_key(campaign).await.must().must();
        assert_eq!(counts, self.store.recount(campaign).await.must(), "counters against a recount");
        counts.0
    }
}

/// A page of what is not finished of a campaign.
pub(super) fn unfinished_of(campaign: CampaignKey, after: Option<DeploymentKey>, limit: u32) -> Latest {
    let page = Page { after, limit };
    Latest { campaign, which: Which::Page { filter: DeploymentFilter::unfinished(), page, until: None } }
}

pub(super) fn id(text: &str) -> DeviceId {
    DeviceId::parse(text).unwrap_or_else(|error| panic!("{error}"))
}

pub(super) fn artifact() -> ArtifactRow {
    ArtifactRow { artifact_id: "ab".repeat(32), size_bytes: 42, created_at: NOW }
}

pub(super) fn new_package(package_id: &str, version: &str) -> NewPackage {
    NewPackage {
        package_id: package_id.to_owned(),
        product_id: PRODUCT.to_owned(),
        kind: PackageKind::Firmware,
        version: version.to_owned(),
        source_versions: vec!["v1".to_owned(), "v0 \"beta\"".to_owned()],
        content: crate::NewContent::Kept(artifact().artifact_id),
        file_name: "image.bin".to_owned(),
        custom_info: Some("{}".to_owned()),
        delivery: crate::Delivery::SignedUrl,
    }
}

pub(super) fn new_device(name: &str) -> NewDevice {
    NewDevice {
        device_id: id(name),
        node_id: format!("node-{name}"),
        product_id: PRODUCT.to_owned(),
        gateway_id: None,
        name: None,
        tags: BTreeMap::new(),
        auth: crate::Auth::Secret,
        sealed_secret: Some(vec![1, 2, 3]),
        fingerprint: None,
    }
}

pub(super) fn tags(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(tag, value)| ((*tag).to_owned(), (*value).to_owned())).collect()
}

pub(super) fn new_campaign(campaign_id: &str, targets: Targets, package: crate::PackageKey) -> NewCampaign {
    NewCampaign {
        campaign_id: campaign_id.to_owned(),
        name: "Campaign".to_owned(),
        started: true,
        start_at: None,
        product_id: PRODUCT.to_owned(),
        packages: vec![package],
        policy: Policy::default(),
        targets,
        ext_info: None,
    }
}

pub(super) fn report(device: DeviceKey, text: &str) -> NewReport {
    NewReport {
        device,
        deployment: None,
        received_at: NOW,
        payload: text.to_owned().into_bytes().into(),
        reading: "{}".to_owned(),
    }
}

pub(super) fn released(until: i64) -> Deployment {
    Deployment::released(ServiceTime(until))
}

pub(super) fn asked(until: i64) -> Deployment {
    let later = until + 1;
    stored(&format!(
        r#"{{"asked":{{"question":{{"epoch":1,"until":{until},"times":1}},"released_until":{later}}}}}"#
    ))
}

pub(super) fn offered(until: i64) -> Deployment {
    stored(&format!(r#"{{"offered":{{"told_in":1,"until":{until}}}}}"#))
}

pub(super) fn running(until: i64) -> Deployment {
    stored(&format!(r#"{{"running":{{"told_in":1,"until":{until}}}}}"#))
}

pub(super) fn waiting(until: i64) -> Deployment {
    stored(&format!(r#"{{"waiting":{{"until":{until},"because":"no_result"}}}}"#))
}

/// Ended after the device was asked, so that a package was chosen.
pub(super) fn finished(kind: OutcomeKind) -> Deployment {
    let kind = kind.name();
    let ended = stored(&format!(r#"{{"finished":{{"kind":"{kind}","because":"wanted_version_seen"}}}}"#));
    Deployment { package: Some(0), ..ended }
}

/// A deployment as stores have kept it from the first release on.
fn stored(state: &str) -> Deployment {
    let json = format!(r#"{{"state":{state},"attempt":1,"notices":1}}"#);
    serde_json::from_str(&json).unwrap_or_else(|error| panic!("{json}: {error}"))
}
