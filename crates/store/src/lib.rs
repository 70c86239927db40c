//! Where things live. This crate sees ciphertext only.
//!
//! Two ports and two implementations of each:
//!
//! | port | embedded | scaled |
//! |---|---|---|
//! | [`Catalog`] | SQLite | PostgreSQL |
//! | [`Objects`] | local files | any S3 |
//!
//! Every method of a catalog port is one transaction: it happens whole or not at all, and when it returns `Ok` it is
//! durable. No method reads a clock; moments are parameters.

pub mod catalog;
mod credentials;
pub mod error;
mod failure;
pub mod files;
pub mod objects;
pub mod postgres;
pub mod rows;
pub mod s3;
pub mod sqlite;

pub use catalog::{Accounts, Catalog, Documents, Jobs, Keys, Log, Partitions, Recordings};
pub use credentials::{Credentials, LAST_WAY_IN};
pub use error::StoreError;
pub use objects::{Objects, Upload};
