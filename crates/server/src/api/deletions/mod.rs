//! What was deleted, with proof.

pub mod certificate;
pub mod list;
