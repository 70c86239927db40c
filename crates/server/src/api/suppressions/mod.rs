//! Numbers that are not to be called or written to again.

pub mod create;
pub mod lift;
pub mod list;
