//! Reading calls.

pub mod get;
pub mod list;
pub mod recording;
