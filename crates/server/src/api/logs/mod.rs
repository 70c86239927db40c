//! The account's own logs.

pub mod list;
