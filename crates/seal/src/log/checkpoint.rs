//! Checkpoints (<https://c2sp.org/tlog-checkpoint>): origin, size and root, signed.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{Hash, LogError, parse_decimal};
use crate::{
    note,
    sign::{LogSigner, VerifierKey},
};

/// The state of a log at one size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log; also the name of the key that signs.
    pub origin: String,
    /// How many leaves.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
}

impl Checkpoint {
    /// The three lines that are signed.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root))
    }

    /// Reads the three lines. Extension lines, which the specification advises against, are refused.
    ///
    /// # Errors
    /// [`LogError::Malformed`].
    pub fn parse(text: &str) -> Result<Self, LogError> {
        let malformed = || LogError::Malformed("checkpoint");
        let body = text.strip_suffix('\n').ok_or_else(malformed)?;
        let mut lines = body.split('\n');
        let (Some(origin), Some(size), Some(root), None) = (lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(malformed());
        };
        if origin.is_empty() {
            return Err(malformed());
        }
        let root = STANDARD.decode(root).map_err(|_| malformed())?;
        Ok(Self {
            origin: origin.to_owned(),
            size: parse_decimal(size).ok_or_else(malformed)?,
            root: root.try_into().map_err(|_| malformed())?,
        })
    }

    /// Signs the checkpoint; the result is what a log serves at `/checkpoint`.
    ///
    /// # Errors
    /// [`LogError::Malformed`] when the origin is not the signer's name; [`LogError::Note`].
    pub fn sign(&self, signer: &LogSigner) -> Result<String, LogError> {
        if self.origin != signer.name() {
            return Err(LogError::Malformed("checkpoint origin"));
        }
        Ok(note::sign(signer, &self.to_text())?)
    }

    /// Reads a signed checkpoint that carries the signature of `key` alone and names it as origin.
    ///
    /// # Errors
    /// [`LogError::Note`] or [`LogError::Malformed`].
    pub fn open(signed: &str, key: &VerifierKey) -> Result<Self, LogError> {
        Self::of_log(note::verify_sole(signed, key)?, key)
    }

    /// As [`open`](Self::open), for a checkpoint that witnesses may have signed as well.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_witnessed(signed: &str, key: &VerifierKey) -> Result<Self, LogError> {
        Self::of_log(note::verify(signed, key)?, key)
    }

    fn of_log(text: &str, key: &VerifierKey) -> Result<Self, LogError> {
        let checkpoint = Self::parse(text)?;
        if checkpoint.origin == key.name() {
            Ok(checkpoint)
        } else {
            Err(LogError::Malformed("checkpoint origin"))
        }
    }
}
