//! Callvault: app.
