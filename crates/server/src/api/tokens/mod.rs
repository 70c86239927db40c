//! Tokens: what programs of an account come in with.

pub mod create;
pub mod list;
pub mod revoke;
pub mod rotate;
