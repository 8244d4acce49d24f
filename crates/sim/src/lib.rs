//! The proving ground: the real engine and machines that behave like devices, on a virtual clock, over a network that
//! loses, repeats, delays and lets messages overtake each other; with a store that is slow, fails and stands still, a
//! platform that is killed in the middle of anything, and wall clocks that jump.
//!
//! A [`Scenario`] is made from a seed and [`play`]ed; the promises of [`promises`] are looked at after every event, and
//! what came out in the end is compared with [`model`], which knows how devices behave and nothing of the platform.
//!
//! Always true:
//! - A seed replays: one thread, no clock but the virtual one, no random numbers but the seed's.
//! - Nothing in here is shipped.
//!
//! Not here: sockets and MQTT (the conformance suite of `server`), and the disk (`tests/crash`).

mod device;
mod events;
pub mod model;
mod play;
pub mod promises;
mod scenario;
mod world;

pub use device::{Device, Habit};
pub use play::{Played, play};
pub use promises::Broken;
pub use scenario::{Act, Scenario, Trouble};
