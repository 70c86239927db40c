//! The text form of an inclusion proof (<https://c2sp.org/tlog-proof>).

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{Checkpoint, Hash, LogError, leaf_hash, parse_decimal, verify_inclusion};
use crate::sign::VerifierKey;

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";
/// A tree of 2^63 leaves has 63 levels.
const MOST_HASHES: usize = 63;

/// An inclusion proof with the checkpoint it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogProof {
    /// Data the specification leaves to the application; it is not authenticated. Callvault writes none.
    pub extra: Option<Vec<u8>>,
    /// The leaf's index.
    pub index: u64,
    /// The hashes from the leaf's sibling to the root's child.
    pub hashes: Vec<Hash>,
    /// The signed checkpoint, as issued.
    pub checkpoint: String,
}

impl TlogProof {
    /// The text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("{FIRST_LINE}\n");
        if let Some(extra) = &self.extra {
            text.push_str(&format!("extra {}\n", STANDARD.encode(extra)));
        }
        text.push_str(&format!("index {}\n", self.index));
        for hash in &self.hashes {
            text.push_str(&STANDARD.encode(hash));
            text.push('\n');
        }
        text.push('\n');
        text.push_str(&self.checkpoint);
        text
    }

    /// Reads the text, strictly: what this accepts, [`to_text`](Self::to_text) writes byte for byte.
    ///
    /// # Errors
    /// [`LogError::Malformed`].
    pub fn parse(text: &str) -> Result<Self, LogError> {
        Self::parse_lines(text).ok_or(LogError::Malformed("tlog-proof"))
    }

    fn parse_lines(text: &str) -> Option<Self> {
        let (head, checkpoint) = text.split_once("\n\n")?;
        let mut lines = head.split('\n').peekable();
        if lines.next()? != FIRST_LINE {
            return None;
        }
        let extra = match lines.peek()?.strip_prefix("extra ") {
            Some(encoded) => {
                lines.next();
                Some(STANDARD.decode(encoded).ok()?)
            }
            None => None,
        };
        let index = parse_decimal(lines.next()?.strip_prefix("index ")?)?;
        let hashes: Option<Vec<Hash>> = lines.map(|line| STANDARD.decode(line).ok()?.try_into().ok()).collect();
        let hashes = hashes.filter(|hashes| hashes.len() <= MOST_HASHES)?;
        Some(Self {
            extra,
            index,
            hashes,
            checkpoint: checkpoint.to_owned(),
        })
    }

    /// Checks the checkpoint's signature and that `entry` lies at the index under its root.
    ///
    /// # Errors
    /// [`LogError::Note`], [`LogError::Malformed`], [`LogError::Range`] or [`LogError::Proof`].
    pub fn verify(&self, entry: &[u8], key: &VerifierKey) -> Result<Checkpoint, LogError> {
        let checkpoint = Checkpoint::open(&self.checkpoint, key)?;
        verify_inclusion(
            &leaf_hash(entry),
            self.index,
            checkpoint.size,
            &self.hashes,
            &checkpoint.root,
        )?;
        Ok(checkpoint)
    }
}
