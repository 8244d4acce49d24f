//! What the published device SDKs do, row by row, against the real listeners over real sockets.
//!
//! Each test begins with the row that it shows; `docs/protocol.md` lists the rows, and `page` holds the two together.
//! The devices here are bytes: what an SDK sends is sent as it is, what it needs is looked for in what comes back.
//!
//! Always true:
//! - Nothing sleeps to let something happen: a test waits until it is so, or shows that something did not happen by
//!   what came instead.
//! - The server is the binary. A test that needs other settings than the usual ones starts its own.
//!
//! Not here: the readings of single messages (`proto/tests/wire`) and the decisions in all their combinations
//! (`core/src/deployment`).

#![allow(clippy::unwrap_used, reason = "tests")]

mod captures;
mod connecting;
mod decision_table;
mod device;
mod downloads;
mod fetch;
mod flow;
mod hello;
#[path = "../../../gateway/tests/endpoint/link.rs"]
#[allow(dead_code, reason = "the endpoint's own tests say more with it")]
mod link;
mod malformed;
mod minimum_server;
mod page;
mod platform;
mod quirks;
mod recorded;
#[path = "../otaru/running.rs"]
#[allow(dead_code, reason = "the tests of the binary do more with it")]
mod running;
mod services;
mod stage;
