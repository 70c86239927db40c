//! Legal holds.

pub mod body;
pub mod create;
pub mod lift;
pub mod list;
