//! The binary as operators meet it: started, asked, stopped, killed.

#![allow(clippy::unwrap_used, reason = "tests")]

mod backup;
mod config;
mod demo;
mod import;
mod master_key;
mod pages;
mod pushes;
mod renewal;
mod running;
mod serve;
mod simulate;
mod tls;
mod token;
