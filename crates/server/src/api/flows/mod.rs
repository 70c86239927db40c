//! Call flows (spec 2.3).

pub mod body;
pub mod create;
pub mod delete;
pub mod get;
pub mod list;
pub mod put;
