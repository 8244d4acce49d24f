//! The application API as its clients see it: the real router on a real engine, with everything in memory.
//!
//! One file per resource, named as in `src/iotda/`; `access` has what holds for all calls, `mangled` what no call may lead
//! to, `document` that the OpenAPI document has all of it. `client` is the machinery, on top of that of the native API.

#![expect(clippy::unwrap_used, reason = "a test stops where it is surprised")]

mod access;
mod apps;
mod client;
#[path = "../routes/described.rs"]
mod described;
mod devices;
mod document;
mod groups;
#[path = "../routes/house.rs"]
#[expect(dead_code, reason = "the tests of the native API use all of it")]
mod house;
mod mangled;
mod modules;
mod packages;
mod products;
mod rules;
mod search;
mod tags;
mod tasks;
