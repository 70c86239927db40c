//! The catalog suite's cases.

pub mod basics;
pub mod credentials;
pub mod documents;
pub mod dumps;
pub mod imports;
pub mod jobs;
pub mod keys;
pub mod partitions;
pub mod recordings;
pub mod shreds;
