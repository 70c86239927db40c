//! Callvault: seal.
