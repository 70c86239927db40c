//! How long an account's data is kept.

pub mod body;
pub mod get;
pub mod preview;
pub mod put;
