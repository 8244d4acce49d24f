//! HTTP: turns requests into engine calls and engine answers into responses.
//!
//! Always true:
//! - No rule of the product lives here: a request is checked for its form, handed to the engine, and its
//!   answer is shown.
//! - Every answer outside 2xx carries a stable `code`, a message for the caller and a request id; what we know
//!   beyond that is in the log under the same id.
//! - A package download is never redirected, compressed or sent in chunks, and its head is spelled in title
//!   case: devices compare bytes.
//! - Every list ends: depth is reached by cursor only.
//!
//! Start at [`Api`] for sockets, at `router` for the map of paths, and at `routes/` for what one resource says.
//!
//! Not here: what is decided (`core`), what is remembered (`store`), and MQTT (`gateway`).

mod body;
mod caller;
mod csv;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod guarded;
mod import;
mod iotda;
pub mod limits;
mod metered;
mod observe;
mod openapi;
mod problem;
mod query;
mod request_id;
mod router;
mod routes;
mod server;
mod times;

pub use iotda::push::PushLimits;
pub use limits::Limits;
pub use problem::Code;
pub use router::{Metrics, router};
pub use server::{Api, ApiConfig, BindError};
