//! The use cases of one region's vault, and its background work.
//!
//! [`Vault`] is where everything starts: it joins a catalog, an object store, a key provider and a clock. Background
//! work is [`Vault::tick`]; nothing here sleeps, spawns or reads the time by itself.

pub mod account;
pub mod assembly;
pub mod audio;
pub mod backup;
pub mod bulk;
pub mod certificate;
pub mod clock;
pub mod consent;
pub mod contact;
pub mod conversion;
pub mod coverage;
mod deletion;
pub mod doctor;
pub mod document;
pub mod error;
pub mod exophone;
pub mod export;
pub mod flow;
pub mod forecast;
pub mod hold;
pub mod import;
pub mod ingest;
pub mod keys;
pub mod line;
mod partition;
pub mod passkey;
pub mod prompt;
pub mod publish;
pub mod read;
pub mod realm;
pub mod recording;
pub mod schedule;
pub mod scope;
pub mod segment;
pub mod session;
pub mod tick;
pub mod token;
pub mod user;
pub mod vault;

pub use callvault_core as core;
pub use callvault_seal as seal;
pub use callvault_store as store;

pub use clock::{Clock, ManualClock};
pub use error::{Result, VaultError};
pub use vault::{Account, Parts, Vault};
