//! Webhooks: where an account's events go.

pub mod create;
pub mod delete;
pub mod list;
pub mod replay;
