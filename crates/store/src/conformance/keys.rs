//! The key that the secrets are sealed with.

use super::world::{Must, World, id, new_device};
use crate::rows::KeyMark;
use crate::{NewDevice, StoreError};

pub(super) async fn all_secrets_are_sealed_again_or_none(world: &World) {
    assert_eq!(world.store.key_mark().await.must(), None);
    world.store.note_key_mark(KeyMark([1; 32])).await.must();
    let without = NewDevice { sealed_secret: None, ..new_device("without") };
    for device in [new_device("a"), without, new_device("b")] {
        world.device_with(device).await;
    }
    let fails = |context: &str, sealed: &[u8]| match context {
        "b" => Err(StoreError::Corrupt { what: "device secret", problem: "no".to_owned() }),
        _ => Ok([sealed, &[4]].concat()),
    };
    let refused = world.store.seal_again(KeyMark([2; 32]), Box::new(fails)).await;
    assert!(refused.is_err());
    assert_eq!(world.store.key_mark().await.must(), Some(KeyMark([1; 32])));
    assert_eq!(sealed(world, "a").await, Some(vec![1, 2, 3]));

    let adds = |context: &str, sealed: &[u8]| Ok([sealed, context.as_bytes()].concat());
    assert_eq!(world.store.seal_again(KeyMark([2; 32]), Box::new(adds)).await.must(), 2);
    assert_eq!(world.store.key_mark().await.must(), Some(KeyMark([2; 32])));
    assert_eq!(sealed(world, "a").await, Some(b"\x01\x02\x03a".to_vec()));
    assert_eq!(sealed(world, "b").await, Some(b"\x01\x02\x03b".to_vec()));
    assert_eq!(sealed(world, "without").await, None);
}

async fn sealed(world: &World, name: &str) -> Option<Vec<u8>> {
    world.store.device(&id(name)).await.must().expect("it is registered").row.sealed_secret.clone()
}
