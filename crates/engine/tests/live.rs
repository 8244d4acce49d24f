//! The live feed, from the side of those who listen.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod support;

use otaru_core::campaign::Policy;
use otaru_engine::limits::{FEED_REMEMBERED, TICKET_LIFE, TICKETS_MAX};
use otaru_engine::{EventId, Heard, LiveChange};
use support::Platform;

#[tokio::test]
async fn who_does_not_listen_for_long_is_told_to_look_anew_and_nothing_is_kept_for_them() {
    let (platform, id, package) = Platform::with_a_device().await;
    let mut slow = platform.engine.listen(None, None).unwrap();
    let mut quick = platform.engine.listen(None, None).unwrap();
    let mut heard = 0;
    // Each campaign is an event of its own, at least.
    for _ in 0..=FEED_REMEMBERED {
        platform.campaign(&package, &[&id], Policy::default()).await;
    }
    while heard <= FEED_REMEMBERED {
        match quick.next().await {
            Heard::Event(event) => {
                assert!(matches!(event.change, LiveChange::Campaign(_)));
                heard += 1;
            }
            // All of it was told at once, and that is more than is remembered.
            Heard::Resync(_) => break,
            Heard::End => panic!("the platform goes on"),
        }
    }
    let Heard::Resync(place) = slow.next().await else { panic!("it has missed something") };
    // From there it goes on.
    let campaign = platform.campaign(&package, &[&id], Policy::default()).await;
    loop {
        let Heard::Event(event) = slow.next().await else { panic!("it is up to date") };
        assert!(event.id > place);
        let LiveChange::Campaign(live) = &event.change else { continue };
        if live.campaign_id == campaign {
            break;
        }
    }
}

#[tokio::test]
async fn listeners_share_the_bytes_of_an_event() {
    let (platform, id, package) = Platform::with_a_device().await;
    let mut listeners =
        [platform.engine.listen(None, None).unwrap(), platform.engine.listen(None, None).unwrap()];
    platform.campaign(&package, &[&id], Policy::default()).await;
    let mut written = 0;
    for listener in &mut listeners {
        let Heard::Event(event) = listener.next().await else { panic!("something has changed") };
        event.written(|event| {
            written += 1;
            event.id.to_string().into()
        });
    }
    assert_eq!(written, 1);
}

#[tokio::test]
async fn a_platform_that_stops_ends_every_listener() {
    let platform = Platform::in_memory().await;
    let mut listener = platform.engine.listen(None, None).unwrap();
    let waiting = tokio::spawn(async move { listener.next().await });
    tokio::task::yield_now().await;
    platform.engine.stop().await;
    assert!(matches!(waiting.await.unwrap(), Heard::End));
}

#[tokio::test]
async fn a_ticket_is_good_once_and_soon() {
    let platform = Platform::in_memory().await;
    let ticket = platform.engine.make_ticket(&platform.by).unwrap();
    assert_eq!(platform.engine.take_ticket("another"), None);
    assert_eq!(platform.engine.take_ticket(&ticket), Some(platform.by.clone()));
    assert_eq!(platform.engine.take_ticket(&ticket), None);
    let late = platform.engine.make_ticket(&platform.by).unwrap();
    platform.clock.pass(TICKET_LIFE);
    assert_eq!(platform.engine.take_ticket(&late), None);
    let first = platform.engine.make_ticket(&platform.by).unwrap();
    for _ in 0..TICKETS_MAX {
        platform.engine.make_ticket(&platform.by).unwrap();
    }
    assert_eq!(platform.engine.take_ticket(&first), None, "it made room");
}

#[test]
fn the_place_of_an_event_is_read_back() {
    for text in ["5-17", "1-0", "0-18446744073709551615"] {
        assert_eq!(EventId::parse(text).unwrap().to_string(), text);
    }
    for text in ["", "5", "5-", "-5", "5-x", "5-17-1", "5-99999999999999999999"] {
        assert_eq!(EventId::parse(text), None, "{text}");
    }
}
