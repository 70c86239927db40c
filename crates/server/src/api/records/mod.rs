//! Calls and messages coming in, and as they are shown.

pub mod body;
pub mod bulk;
pub mod create;
pub mod listing;
