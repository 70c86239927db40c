//! Reading calls, and their consent while they go on.

pub mod get;
pub mod list;
pub mod recording;
pub mod session;
