//! The HTTP side as its callers see it: the real router on a real engine, with everything in memory.
//!
//! One file per resource, named as in the path; `requests` has what holds for all of them, `sockets` what only
//! shows on the wire. `house` is the machinery.

#![expect(clippy::unwrap_used, reason = "a test stops where it is surprised")]

mod acts;
mod artifacts;
mod backups;
mod campaigns;
mod connections;
mod deployments;
mod described;
mod device_http;
mod devices;
mod download;
mod errors_page;
mod events;
mod explain;
mod failures;
mod groups;
mod health;
mod house;
mod import;
mod metrics;
mod notes;
mod openapi;
mod packages;
mod products;
mod profile;
mod progress;
mod reports;
mod requests;
mod results;
mod sockets;
mod tokens;
