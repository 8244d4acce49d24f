//! The suite, and the faults.

use std::time::Duration;

use otaru_core::{ServiceTime, WallTime};

use crate::conformance::behaves_like_a_store;
use crate::{Changes, Store, StoreError, Wanted};

const NOW: WallTime = WallTime(1);

#[tokio::test]
async fn memory_behaves_like_a_store() {
    behaves_like_a_store(async || Store::memory()).await;
}

#[tokio::test]
async fn the_next_writes_fail_and_write_nothing() {
    let (store, faults) = Store::memory_with_faults();
    store.heartbeat(ServiceTime(1), NOW).await.unwrap();
    faults.fail(2);
    let beat = store.heartbeat(ServiceTime(2), NOW).await;
    assert!(matches!(beat, Err(StoreError::Unavailable(_))), "{beat:?}");
    let batch = store.transact(NOW, Wanted::default(), |_| (Changes::default(), ())).await;
    assert!(matches!(batch, Err(StoreError::Unavailable(_))), "{batch:?}");
    assert_eq!(store.boot(NOW).await.unwrap().service_time, ServiceTime(1));
}

#[tokio::test]
async fn it_fails_until_it_is_healed_and_can_be_read_meanwhile() {
    let (store, faults) = Store::memory_with_faults();
    faults.fail_until_healed();
    for _ in 0..5 {
        assert!(store.heartbeat(ServiceTime(1), NOW).await.is_err());
        assert_eq!(store.next_wake().await.unwrap(), None);
    }
    faults.heal();
    store.heartbeat(ServiceTime(1), NOW).await.unwrap();
}

#[tokio::test]
async fn a_disk_that_is_all_but_full_takes_the_heartbeat_and_no_batch() {
    let (store, faults) = Store::memory_with_faults();
    faults.fail_large_until_healed();
    let batch = async || store.transact(NOW, Wanted::default(), |_| (Changes::default(), ())).await;
    store.heartbeat(ServiceTime(1), NOW).await.unwrap();
    assert!(matches!(batch().await, Err(StoreError::Unavailable(_))));
    assert_eq!(faults.passed(), 1);
    faults.heal();
    batch().await.unwrap();
}

#[tokio::test]
async fn a_stalled_store_answers_when_it_goes_on() {
    let (store, faults) = Store::memory_with_faults();
    faults.stall();
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { store.heartbeat(ServiceTime(1), NOW).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waiting.is_finished());
    faults.resume();
    waiting.await.unwrap().unwrap();
}
