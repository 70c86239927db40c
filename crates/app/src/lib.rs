//! Callvault: app.

pub mod segment;
