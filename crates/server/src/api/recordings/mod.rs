//! Recordings: stored with a consent decision, read by range, deleted by a request that a second person approves,
//! or when consent is withdrawn.

pub mod audio;
pub mod body;
pub mod create;
pub mod get;
pub mod list;
pub mod presigned;
pub mod withdraw;
