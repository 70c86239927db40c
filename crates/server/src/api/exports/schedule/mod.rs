//! Exports on schedule: to the account's own bucket or folder, before records lapse.

pub mod body;
pub mod delete;
pub mod get;
pub mod put;
