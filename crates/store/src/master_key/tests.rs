//! Keys in a real directory, with a real store beside them.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use otaru_core::WallTime;
use otaru_proto::DeviceId;
use tempfile::TempDir;

use super::*;
use crate::rows::{Actor, Auth, DevicePatch, NewDevice};
use crate::sqlite::SqliteOptions;

const NOW: WallTime = WallTime(1_790_000_000_000);
const KEY: &str = "1111111111111111111111111111111111111111111111111111111111111111";
const OTHER: &str = "2222222222222222222222222222222222222222222222222222222222222222";

struct House {
    dir: TempDir,
    store: Store,
}

impl House {
    /// A store with `devices` devices, each with a secret of its own.
    async fn with(devices: u32, env_key: Option<&str>) -> House {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open_sqlite(dir.path(), SqliteOptions::default()).await.unwrap();
        let project = store.boot(NOW).await.unwrap().project.key;
        let vault = open_vault(&store, dir.path(), env_key).await.unwrap();
        let actor = Actor { name: "test".to_owned(), project };
        store.create_product(&actor, "lamp", "Lamp", NOW).await.unwrap();
        for number in 0..devices {
            let device_id = id(number);
            let device = NewDevice {
                node_id: device_id.to_string(),
                product_id: "lamp".to_owned(),
                gateway_id: None,
                name: None,
                tags: BTreeMap::new(),
                auth: Auth::Secret,
                sealed_secret: Some(vault.seal(device_id.as_str(), secret(number).as_bytes())),
                fingerprint: None,
                device_id,
            };
            store.create_device(&actor, device, NOW).await.unwrap();
        }
        House { dir, store }
    }

    async fn vault(&self) -> Result<Vault, MasterKeyError> {
        open_vault(&self.store, self.dir.path(), None).await
    }

    async fn change(&self) -> Result<KeyChange, MasterKeyError> {
        change_master_key(&self.store, self.dir.path(), None, None, false).await
    }

    async fn opened(&self, vault: &Vault, number: u32) -> String {
        let id = id(number);
        let device = self.store.device(&id).await.unwrap().unwrap();
        let plain = vault.open(id.as_str(), device.row.sealed_secret.as_ref().unwrap()).unwrap();
        String::from_utf8(plain).unwrap()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn key(&self) -> String {
        fs::read_to_string(self.file("master.key")).unwrap()
    }
}

fn id(number: u32) -> DeviceId {
    DeviceId::parse(&format!("d{number}")).unwrap()
}

fn secret(number: u32) -> String {
    format!("secret of {number}")
}

fn refusal<T>(result: Result<T, MasterKeyError>) -> MasterKeyError {
    match result {
        Ok(_) => panic!("it was accepted"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn every_secret_opens_with_the_new_key_and_none_with_the_old_one() {
    // More than are read at once.
    let house = House::with(1_003, None).await;
    let (old, old_key) = (house.vault().await.unwrap(), house.key());
    let changed = house.change().await.unwrap();
    assert_eq!(changed, KeyChange { sealed_again: Some(1_003), kept_in: Some(house.file("master.key")) });
    assert_ne!(house.key(), old_key);
    assert!(!house.file("master.key.next").exists());
    let new = house.vault().await.unwrap();
    for number in [0, 1, 999, 1_000, 1_002] {
        assert_eq!(house.opened(&new, number).await, secret(number));
    }
    let id = id(0);
    let sealed = house.store.device(&id).await.unwrap().unwrap().row.sealed_secret.clone().unwrap();
    assert!(old.open("d0", &sealed).is_err());
}

#[tokio::test]
async fn a_change_that_was_interrupted_leaves_the_key_that_opens_the_secrets() {
    let house = House::with(2, None).await;
    let before = house.key();
    // Before the transaction: the next key is there and opens nothing.
    keep_key(house.dir.path(), &house.file("master.key.next"), &format!("{OTHER}\n")).unwrap();
    assert_eq!(house.opened(&house.vault().await.unwrap(), 1).await, secret(1));
    assert_eq!(house.key(), before);
    // After the transaction: only the place is still the old one.
    house.change().await.unwrap();
    let after = house.key();
    fs::rename(house.file("master.key"), house.file("master.key.next")).unwrap();
    fs::write(house.file("master.key"), &before).unwrap();
    assert_eq!(house.opened(&house.vault().await.unwrap(), 1).await, secret(1));
    assert_eq!(house.key(), after);
}

#[tokio::test]
async fn another_key_than_the_one_of_the_store_is_refused_and_none_is_made() {
    let house = House::with(1, None).await;
    let key = house.key();
    fs::write(house.file("master.key"), OTHER).unwrap();
    assert!(matches!(refusal(house.vault().await), MasterKeyError::Other { .. }));
    assert!(matches!(refusal(house.change().await), MasterKeyError::Other { .. }));
    fs::remove_file(house.file("master.key")).unwrap();
    assert!(matches!(refusal(house.vault().await), MasterKeyError::Gone { .. }));
    assert!(!house.file("master.key").exists());
    let with_env = open_vault(&house.store, house.dir.path(), Some(OTHER)).await;
    assert!(refusal(with_env).to_string().contains("OTARU_MASTER_KEY"));
    let with_env = open_vault(&house.store, house.dir.path(), Some(key.trim())).await.unwrap();
    assert_eq!(house.opened(&with_env, 0).await, secret(0));
}

#[tokio::test]
async fn a_key_from_a_variable_is_changed_for_one_from_a_variable() {
    let house = House::with(1, Some(KEY)).await;
    let change = async |old, new| change_master_key(&house.store, house.dir.path(), old, new, false).await;
    assert!(matches!(refusal(change(Some(KEY), None).await), MasterKeyError::NowhereToKeep));
    assert!(matches!(refusal(change(Some(KEY), Some(KEY)).await), MasterKeyError::Same));
    assert!(matches!(refusal(change(Some(KEY), Some("abc")).await), MasterKeyError::Vault(_)));
    let changed = change(Some(KEY), Some(OTHER)).await.unwrap();
    assert_eq!(changed, KeyChange { sealed_again: Some(1), kept_in: None });
    let vault = open_vault(&house.store, house.dir.path(), Some(OTHER)).await.unwrap();
    assert_eq!(house.opened(&vault, 0).await, secret(0));
    assert!(!house.file("master.key").exists() && !house.file("master.key.next").exists());
}

#[tokio::test]
async fn a_secret_that_does_not_open_is_named_and_nothing_is_changed() {
    let house = House::with(3, None).await;
    let vault = house.vault().await.unwrap();
    let (key, id) = (house.key(), id(1));
    let project = house.store.boot(NOW).await.unwrap().project.key;
    let actor = Actor { name: "test".to_owned(), project };
    let patch = DevicePatch { sealed_secret: Some(vec![9]), ..Default::default() };
    house.store.patch_device(&actor, &id, patch, NOW).await.unwrap();
    let error = refusal(house.change().await);
    assert!(matches!(&error, MasterKeyError::Closed { context } if context == "d1"), "{error}");
    assert_eq!(house.key(), key);
    assert_eq!(house.opened(&vault, 0).await, secret(0));
    assert_eq!(house.opened(&house.vault().await.unwrap(), 2).await, secret(2));
}

#[tokio::test]
async fn a_lost_key_is_replaced_when_its_secrets_are_given_up() {
    let house = House::with(1, None).await;
    fs::remove_file(house.file("master.key")).unwrap();
    let changed = change_master_key(&house.store, house.dir.path(), None, None, true).await.unwrap();
    assert_eq!(changed.sealed_again, None);
    house.vault().await.unwrap();
}
