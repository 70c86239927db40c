//! Callvault's cryptography: keys and envelopes, streaming encryption, the blind index, key providers, and the
//! signatures, Merkle log and certificates that prove a deletion.
//!
//! Every primitive is `ring`'s; the passphrase goes through Argon2id. All byte formats are in `docs/formats.md`.
//! This crate knows no other crate of the workspace, reads no clock and writes no log line.

pub mod blind;
pub mod certificate;
pub mod digest;
pub mod envelope;
mod error;
pub mod jws;
mod key;
pub mod log;
pub mod note;
pub mod password;
pub mod provider;
pub mod sign;
pub mod stream;
pub mod webauthn;
pub mod wrap;

pub use error::SealError;
pub use key::{KEY_BYTES, SecretKey, hmac_sha256, random_bytes};
