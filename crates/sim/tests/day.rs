//! A day of a large campaign in some seconds.

use otaru_sim::{Scenario, play};

/// `./test` asks for 10 000.
fn devices() -> usize {
    std::env::var("OTARU_SIM_DEVICES").map_or(500, |count| count.parse().expect("a number of devices"))
}

#[test]
fn a_day_of_a_large_campaign_ends_as_its_devices_behave() {
    let played = play(&Scenario::day(1, devices()), false);
    assert_eq!(played.broken, None);
    assert!(played.lasted >= 24 * 3_600_000, "{} ms", played.lasted);
    assert_eq!(played.endings.values().sum::<u64>(), devices() as u64);
}
