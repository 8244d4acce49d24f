//! The endpoint over real sockets, in front of a real engine: what devices can count on, and what nobody can do
//! to them.

#![expect(clippy::unwrap_used, reason = "what a test relies on is said by its failing there")]

mod acknowledgements;
mod certificates;
mod connecting;
mod downlinks;
mod foreign_client;
mod hostile;
mod limits;
mod link;
mod openssl;
mod platform;
mod secured;
mod services;
mod silence;
