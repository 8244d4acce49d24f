//! What simulated devices and the load generator do over real sockets, against a platform that decides nothing.

#![allow(clippy::unwrap_used, reason = "tests")]

mod devices;
mod downloads;
mod links;
mod load;
mod stage;
