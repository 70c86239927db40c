//! Callvault: app.

pub mod import;
