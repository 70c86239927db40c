//! What a use case can answer besides success.

use callvault_core::decision::Refusal;
use callvault_seal::{SealError, log::LogError, provider::ProviderError};
use callvault_store::StoreError;

/// A use case's failure. Texts carry no personal data and no secret.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// A rule says no; the reason is for the person who asked.
    #[error("{}", .0.reason)]
    Refused(Refusal),
    /// Something that was handed in is wrong.
    #[error("{field}: {reason}")]
    Invalid {
        /// The field, as the caller spells it.
        field: &'static str,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// There is no such thing, or it is gone, or it is another account's: the answer is the same.
    #[error("no such {what}")]
    NotFound {
        /// What was looked for.
        what: &'static str,
    },
    /// The catalog is older than the deletions the log knows of; a restore has to be finished first.
    #[error(
        "the catalog ends at log entry {catalog}, but {known} entries are known to exist: it is an older copy, and \
         serving it could bring deleted data back; move it away and run `callvault restore`"
    )]
    CatalogOlderThanLog {
        /// Entries in the catalog.
        catalog: u64,
        /// Entries known from the object store or the key provider.
        known: u64,
    },
    /// The same recording is there already; nothing was changed.
    #[error("the recording is there already")]
    RecordingKnown,
    /// A restore into this catalog began and has not ended.
    #[error(
        "a restore was interrupted: what it has not replayed yet could bring deleted data back; run `callvault restore` again"
    )]
    RestoreUnfinished,
    /// The catalog is empty, but the key store has keys of this region.
    #[error(
        "the catalog is empty, but the key store holds this region's keys: the catalog was lost or is another one; \
         put it back, or run `callvault restore`"
    )]
    CatalogMissing,
    /// The catalog or object store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A cipher refused: wrong key or changed bytes.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The key provider failed.
    #[error("key provider: {0}")]
    Provider(#[from] ProviderError),
    /// The transparency log is not as it should be.
    #[error("transparency log: {0}")]
    Log(#[from] LogError),
    /// A stored thing is not what was written.
    #[error("{what} is damaged: {reason}")]
    Damaged {
        /// What is damaged.
        what: &'static str,
        /// What was found.
        reason: String,
    },
    /// A file of the operator's could not be read or written.
    #[error("{what}: {source}")]
    File {
        /// Which file, by role and not by content.
        what: String,
        /// The system's answer.
        source: std::io::Error,
    },
}

impl VaultError {
    /// An [`VaultError::Invalid`].
    pub fn invalid(field: &'static str, reason: impl Into<String>) -> Self {
        Self::Invalid {
            field,
            reason: reason.into(),
        }
    }

    /// Whether another process got there first, so that deciding again may succeed.
    #[must_use]
    pub const fn is_conflict(&self) -> bool {
        matches!(
            self,
            Self::Store(StoreError::Conflict { .. } | StoreError::EpochClosed(_))
        )
    }
}

impl From<Refusal> for VaultError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// The result of a use case.
pub type Result<T> = std::result::Result<T, VaultError>;
