//! What the product decides, as pure functions from state and event to state and what to say next.
//!
//! Always true:
//! - Nothing here reads a clock, a socket, a database or a random source; time and facts are arguments.
//! - The same arguments give the same answer, so a history can be replayed.
//!
//! Not here: how a decision is stored (`store`), when it is asked for (`engine`), how it travels (`gateway`).
#![no_std]
#![warn(missing_docs)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod campaign;
pub mod deployment;
mod fingerprint;
pub mod limits;
mod time;

pub use fingerprint::{Fingerprint, FingerprintError};
pub use time::{Epoch, ServiceTime, WallTime};
