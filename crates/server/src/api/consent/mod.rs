//! The account's documented consent to record (spec 2.4).

pub mod body;
pub mod get;
pub mod list;
pub mod put;
