//! Callvault: testkit.
