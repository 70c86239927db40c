//! Recordings: stored with a consent decision, read by range, deleted by a request that a second person approves.

pub mod audio;
pub mod body;
pub mod create;
pub mod get;
pub mod list;
pub mod presigned;
