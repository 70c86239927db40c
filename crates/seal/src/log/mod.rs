//! The transparency log: RFC 6962 hashing, C2SP tiles (<https://c2sp.org/tlog-tiles>), checkpoints
//! (<https://c2sp.org/tlog-checkpoint>) and proofs (<https://c2sp.org/tlog-proof>).
//!
//! Nothing here stores anything. Whoever stores tiles or hashes hands in a [`HashReader`]; appending and proving read
//! a number of hashes that grows with the logarithm of the tree.

mod audit;
mod checkpoint;
mod proof;
mod proof_text;
#[cfg(test)]
mod tests;
mod tile;

pub use audit::Audit;
pub use checkpoint::Checkpoint;
pub use proof::{prove_consistency, prove_inclusion, tree_root, verify_consistency, verify_inclusion};
pub use proof_text::TlogProof;
pub use tile::{
    Growth, TILE_HASHES, TilePath, TileReader, decode_bundle, encode_bundle, entry_bundle_path, find_tile_path, grow,
    tiles_of, tiles_to_grow, tiles_to_prove_consistency, tiles_to_prove_inclusion,
};

use crate::{digest::sha256, note::NoteError};

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// What can go wrong with a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// A hash or tile that a tree of this size must have is not there.
    #[error("the log lacks a hash or tile it must have: {0}")]
    Missing(String),
    /// The store behind a reader failed.
    #[error("the log's store failed: {0}")]
    Store(String),
    /// An index or a size outside the tree.
    #[error("index or size lies outside the log")]
    Range,
    /// A proof does not lead to the root.
    #[error("the proof does not lead to the log's root")]
    Proof,
    /// A text or bundle is not in its format.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// An entry is longer than the 65,535 bytes a bundle can hold.
    #[error("a log entry holds at most 65535 bytes")]
    EntryTooLarge,
    /// A checkpoint is not signed as it must be.
    #[error(transparent)]
    Note(#[from] NoteError),
}

/// Gives hashes of complete subtrees: the one at `level` and `index` covers the leaves
/// `index << level .. (index + 1) << level`. Level 0 are the leaf hashes.
pub trait HashReader {
    /// The hash of a complete subtree.
    ///
    /// # Errors
    /// [`LogError::Missing`] or [`LogError::Store`].
    fn read(&self, level: u8, index: u64) -> Result<Hash, LogError>;
}

impl<F: Fn(u8, u64) -> Result<Hash, LogError>> HashReader for F {
    fn read(&self, level: u8, index: u64) -> Result<Hash, LogError> {
        self(level, index)
    }
}

/// The hash of a leaf: `SHA-256(0x00 || entry)` (RFC 6962, 2.1).
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> Hash {
    sha256(&[&[0], entry])
}

/// The hash of an inner node: `SHA-256(0x01 || left || right)` (RFC 6962, 2.1).
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    sha256(&[&[1], left, right])
}

/// The root of the empty tree: `SHA-256()` (RFC 6962, 2.1).
#[must_use]
pub fn empty_root() -> Hash {
    sha256(&[])
}

/// A decimal number as the C2SP formats write it: digits alone, no leading zero.
fn parse_decimal(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let leading_zero = text.len() > 1 && text.starts_with('0');
    if digits && !leading_zero {
        text.parse().ok()
    } else {
        None
    }
}
