//! What devices say beside upgrades.

use super::world::{Must, NOW, World, id};
use crate::limits::{LOG_LINES_KEPT, PROPERTY_BYTES_KEPT, PROPERTY_SERVICES_KEPT};
use crate::{Changes, DeviceKey, LogRow, Note, PropertyRow};

async fn write(world: &World, notes: Vec<Note>) {
    let changes = Changes { notes, ..Changes::default() };
    world.batch(&[], |_| (changes, ())).await.must();
}

fn property(device: DeviceKey, service_id: &str, properties: &str) -> Note {
    let (service_id, properties) = (service_id.to_owned(), properties.to_owned());
    Note::Property {
        device,
        row: PropertyRow { service_id, properties, event_time: Some("t".to_owned()), received_at: NOW },
    }
}

fn line(device: DeviceKey, content: &str) -> Note {
    let row = LogRow { timestamp: None, kind: None, content: content.to_owned(), received_at: NOW };
    Note::Log { device, row }
}

pub(super) async fn the_last_of_what_a_device_says_is_kept(world: &World) {
    let (one, other) = (world.device("one").await, world.device("other").await);
    let sdk = |text: &str| Note::Sdk { device: one, sdk_version: text.to_owned() };
    write(world, vec![sdk("C_1"), property(one, "b", "{}"), property(one, "a", "{}"), sdk("C_2")]).await;
    write(world, vec![property(one, "b", r#"{"x":1}"#), property(one, "b", r#"{"x":2}"#)]).await;
    assert_eq!(world.store.sdk_version(one).await.must().as_deref(), Some("C_2"));
    let all = world.store.properties(one, None, 10).await.must();
    let shown: Vec<_> = all.iter().map(|row| (row.service_id.as_str(), row.properties.as_str())).collect();
    assert_eq!(shown, [("a", "{}"), ("b", r#"{"x":2}"#)]);
    assert_eq!(world.store.properties(one, Some("a"), 10).await.must(), all[1..]);
    assert_eq!(world.store.sdk_version(other).await.must(), None);
    assert_eq!(world.store.properties(other, None, 10).await.must(), []);
}

pub(super) async fn what_is_kept_of_a_device_is_bounded(world: &World) {
    let device = world.device("one").await;
    let services = (0..=PROPERTY_SERVICES_KEPT).map(|n| property(device, &format!("s{n:04}"), "{}"));
    write(world, services.collect()).await;
    write(world, vec![property(device, "s0000", r#"{"x":1}"#)]).await;
    let kept = world.store.properties(device, None, u32::MAX).await.must();
    assert_eq!(kept.len(), PROPERTY_SERVICES_KEPT as usize);
    assert_eq!(kept[0].properties, r#"{"x":1}"#, "a known service is still taken");

    let roomy = world.device("two").await;
    let json = |bytes: usize| format!(r#"{{"x":"{}"}}"#, "ä".repeat((bytes - 8) / 2));
    let half = PROPERTY_BYTES_KEPT / 2;
    write(world, vec![property(roomy, "a", &json(half)), property(roomy, "b", &json(half - 2))]).await;
    write(world, vec![property(roomy, "c", "{}"), property(roomy, "b", &json(half - 4))]).await;
    let services = async |device| {
        let kept = world.store.properties(device, None, u32::MAX).await.must();
        kept.into_iter().map(|row| (row.service_id, row.properties.len())).collect::<Vec<_>>()
    };
    assert_eq!(
        services(roomy).await,
        [("a".to_owned(), half), ("b".to_owned(), half - 4)],
        "no room for more; bytes, not characters"
    );
    write(world, vec![property(roomy, "b", &json(half))]).await;
    assert_eq!(services(roomy).await, [("a".to_owned(), half)], "what it said earlier is not its last");
    write(world, vec![property(roomy, "c", "{}")]).await;
    assert_eq!(services(roomy).await, [("a".to_owned(), half), ("c".to_owned(), 2)]);

    let lines = (0..LOG_LINES_KEPT + 2).map(|n| line(device, &format!("{n}")));
    write(world, lines.collect()).await;
    let kept = world.store.log(device, None, u32::MAX).await.must();
    assert_eq!(kept.len(), LOG_LINES_KEPT as usize);
    assert_eq!(kept[0].1.content, (LOG_LINES_KEPT + 1).to_string(), "newest first");
    assert_eq!(world.store.log(device, Some(kept[0].0), 2).await.must(), kept[1..3]);
}

pub(super) async fn what_a_deleted_device_said_is_gone(world: &World) {
    let device = world.device("one").await;
    let all = || vec![property(device, "a", "{}"), line(device, "l"), sdk(device)];
    fn sdk(device: DeviceKey) -> Note {
        Note::Sdk { device, sdk_version: "C_1".to_owned() }
    }
    write(world, all()).await;
    world.store.delete_device(&world.actor, &id("one"), NOW).await.must();
    write(world, all()).await;
    assert_eq!(world.store.sdk_version(device).await.must(), None);
    assert_eq!(world.store.properties(device, None, 10).await.must(), []);
    assert_eq!(world.store.log(device, None, 10).await.must(), []);
}
