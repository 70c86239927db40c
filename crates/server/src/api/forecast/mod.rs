//! What will be deleted, and when.

pub mod get;
