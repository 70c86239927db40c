//! Callvault: voice.
