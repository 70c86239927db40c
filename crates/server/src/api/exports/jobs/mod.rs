//! Export jobs: exports that are written in the background, with progress.

pub mod body;
pub mod create;
pub mod delete;
pub mod get;
pub mod list;
