//! The rules of `callvault-core` against plain definitions of them, and as a whole in a small simulated vault.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod campaigns;
mod changes;
mod consent;
mod deletion;
mod flow;
mod model;
mod planning;
mod proofs;
mod purging;
mod requests;
mod retention;
mod vault;
