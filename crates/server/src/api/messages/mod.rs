//! Reading messages.

pub mod get;
pub mod list;
