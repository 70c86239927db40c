//! Callvault: testkit.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "code of tests"
)]

pub mod conformance;
pub mod fault;
pub mod services;
pub mod world;
