//! Recordings: stored with a consent decision, read by range, deleted by destroying their key.

pub mod audio;
pub mod body;
pub mod create;
pub mod delete;
pub mod get;
pub mod list;
pub mod presigned;
