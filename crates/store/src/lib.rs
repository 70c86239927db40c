//! Callvault: store.
