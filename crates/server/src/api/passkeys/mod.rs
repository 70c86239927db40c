//! Passkeys of who is signed in.

pub mod challenge;
pub mod list;
pub mod register;
pub mod remove;
