//! What the endpoint counts. Names begin with `otaru_gateway_`.
//!
//! The handles are made once, so that counting on the hot path is one addition. Whoever installs a recorder does
//! so before [`Gateway::bind`](crate::Gateway::bind).

use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};

use crate::closing::Closing;
use crate::uplink::Kind;

pub(crate) struct Meters {
    pub(crate) connections: Gauge,
    pub(crate) sessions: Gauge,
    pub(crate) accepted: Counter,
    pub(crate) received_bytes: Counter,
    pub(crate) sent_bytes: Counter,
    pub(crate) throttled: Counter,
    pub(crate) in_flight_full: Counter,
    pub(crate) acknowledged: Counter,
    pub(crate) said: Counter,
    pub(crate) downlinks_too_large: Counter,
    pub(crate) downlinks_held: Counter,
    pub(crate) stale_acknowledgements: Counter,
    pub(crate) panics: Counter,
    pub(crate) refusals_delayed: Counter,
    uplinks: [Counter; Kind::ALL.len()],
}

impl Meters {
    pub(crate) fn new() -> Meters {
        describe();
        Meters {
            connections: gauge!("otaru_gateway_connections"),
            sessions: gauge!("otaru_gateway_sessions"),
            accepted: counter!("otaru_gateway_connects_total", "outcome" => "accepted"),
            received_bytes: counter!("otaru_gateway_received_bytes_total"),
            sent_bytes: counter!("otaru_gateway_sent_bytes_total"),
            throttled: counter!("otaru_gateway_throttled_total"),
            in_flight_full: counter!("otaru_gateway_in_flight_full_total"),
            acknowledged: counter!("otaru_gateway_acknowledged_total"),
            said: counter!("otaru_gateway_downlinks_total"),
            downlinks_too_large: counter!("otaru_gateway_downlinks_too_large_total"),
            downlinks_held: counter!("otaru_gateway_downlinks_held_total"),
            stale_acknowledgements: counter!("otaru_gateway_stale_acknowledgements_total"),
            panics: counter!("otaru_gateway_panics_total"),
            refusals_delayed: counter!("otaru_gateway_refusals_delayed_total"),
            uplinks: Kind::ALL.map(|kind| counter!("otaru_gateway_uplinks_total", "topic" => kind.label())),
        }
    }

    pub(crate) fn uplink(&self, kind: Kind) {
        self.uplinks[kind as usize].increment(1);
    }

    /// A connection that did not become a session.
    pub(crate) fn refused(&self, outcome: &'static str) {
        counter!("otaru_gateway_connects_total", "outcome" => outcome).increment(1);
    }

    pub(crate) fn closed(&self, closing: Closing) {
        counter!("otaru_gateway_closed_total", "reason" => closing.label()).increment(1);
    }
}

/// One in a gauge, until dropped.
pub(crate) struct Counted(Gauge);

impl Counted {
    pub(crate) fn new(gauge: &Gauge) -> Counted {
        gauge.increment(1);
        Counted(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

fn describe() {
    describe_gauge!("otaru_gateway_connections", "Connections held, with and without a session.");
    describe_gauge!("otaru_gateway_sessions", "Devices connected here.");
    describe_counter!("otaru_gateway_connects_total", "Connections by how their CONNECT ended.");
    describe_counter!("otaru_gateway_closed_total", "Sessions that ended, by reason.");
    describe_counter!("otaru_gateway_uplinks_total", "Publications of devices, by what their topic is for.");
    describe_counter!("otaru_gateway_received_bytes_total", "Bytes read from devices with a session.");
    describe_counter!("otaru_gateway_sent_bytes_total", "Bytes written to devices with a session.");
    describe_counter!(
        "otaru_gateway_throttled_total",
        "Times a device was not read because it spoke too fast."
    );
    describe_counter!(
        "otaru_gateway_in_flight_full_total",
        "Times a device was not read because too much of it was not stored yet."
    );
    describe_counter!("otaru_gateway_acknowledged_total", "PUBACKs written to devices.");
    describe_counter!("otaru_gateway_downlinks_total", "Messages published to devices.");
    describe_counter!(
        "otaru_gateway_downlinks_too_large_total",
        "Messages not published because the device does not take packets of their size."
    );
    describe_counter!(
        "otaru_gateway_downlinks_held_total",
        "Messages that had to wait for a PUBACK of the device."
    );
    describe_counter!(
        "otaru_gateway_stale_acknowledgements_total",
        "PUBACKs of devices for what was not published in their session."
    );
    describe_counter!(
        "otaru_gateway_refusals_delayed_total",
        "Refusals that waited, because their address was refused often."
    );
    describe_counter!("otaru_gateway_panics_total", "Connections that ended in a panic.");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_topic_has_its_own_counter() {
        for (place, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, place, "{kind:?}");
        }
    }
}
