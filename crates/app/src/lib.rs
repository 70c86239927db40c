//! Callvault: app.

pub mod audio;
pub mod import;
