//! Reads one of four messages again and again, for counting what that costs.
//!
//! ```sh
//! cargo build --release -p otaru-proto --example reading_cost
//! valgrind --tool=callgrind target/release/examples/reading_cost progress 1000
//! ```
//!
//! The difference of two counts, divided by the difference of the two numbers, is the cost of one reading,
//! with letting go of what was read.
#![expect(clippy::print_stdout, reason = "it is a tool for people")]

use std::hint::black_box;

use otaru_proto::decode_uplink;

/// What may be read. `progress` is what `otaru-load` sends.
const MESSAGES: [(&str, &str); 4] = [
    (
        "progress",
        r#"{"object_device_id":"bench_17","services":[{"service_id":"$ota","event_type":"upgrade_progress_report","event_time":"20261126T101500Z","paras":{"result_code":0,"progress":50,"version":"1.0.0","description":"upgrade processing, 50 %.............................................................................................."}}]}"#,
    ),
    (
        "version",
        r#"{"object_device_id":"bench_17","services":[{"service_id":"$ota","event_type":"version_report","event_time":"20261126T101500Z","paras":{"fw_version":"V1.0.7","sw_version":"V1.0.7"}}]}"#,
    ),
    (
        "java",
        r#"{"object_device_id":null,"services":[{"paras":{"result_code":0,"progress":30,"version":"v1.0.0","description":"downloading"},"service_id":"$ota","event_type":"upgrade_progress_report","event_time":"20261126T101500Z","event_id":null}]}"#,
    ),
    (
        "spaced",
        r#"{"object_device_id": "d-1", "services": [{"service_id": "$ota", "event_type": "upgrade_progress_report", "event_time": "2026-11-26T10:15:00Z", "event_id": "", "paras": {"result_code": 0, "progress": 30, "version": "v1.0.0", "description": "正在下载"}}]}"#,
    ),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let message = arguments.first().and_then(|wanted| MESSAGES.iter().find(|(name, _)| name == wanted));
    let times = arguments.get(1).and_then(|times| times.parse::<u64>().ok());
    let (Some((name, message)), Some(times)) = (message, times) else {
        let names: Vec<&str> = MESSAGES.iter().map(|(name, _)| *name).collect();
        println!("usage: reading_cost {} TIMES", names.join("|"));
        return;
    };
    for _ in 0..times {
        assert!(decode_uplink(black_box(message.as_bytes())).is_ok());
    }
    println!("{name}: {} bytes, read {times} times", message.len());
}
