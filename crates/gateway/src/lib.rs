//! MQTT: holds sessions with devices, turns bytes into events and takes messages out of the outbox.
//!
//! A connection goes through `listener` (accepted, counted, secured), `handshake` (CONNECT read, the engine asked,
//! answered) and `session` (everything after that). `wire` is the protocol, `frame` its first bytes; `uplink` says
//! what a topic is for; `rate` and `keepalive` decide, given a time; every number is in `limits`.
//!
//! Always true:
//! - Nothing is acknowledged before the engine says that it is stored, and nothing out of order.
//! - What a device publishes never costs it its connection, except QoS 2, oversize and what is no MQTT.
//! - One device, however it behaves, costs its own session at most: there is a limit for everything it can do, and
//!   a panic ends one connection.
//! - Back-pressure is by not reading. Nothing that was read is dropped.
//!
//! Not here: who may connect, what a message means and what is said to a device (`otaru-engine`).

mod admission;
mod certificates;
mod closing;
mod failures;
mod frame;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod gateway;
mod handshake;
mod keepalive;
pub mod limits;
mod listener;
mod meters;
mod rate;
mod session;
mod stop;
mod transport;
mod uplink;
mod wire;

pub use certificates::certificates_are_welcome;
pub use gateway::{BindError, Gateway, GatewayConfig};
pub use keepalive::KeepAliveRule;
pub use limits::{DownlinkQos, GatewayLimits, LimitError, TcpProbe};
pub use rate::UplinkRate;
