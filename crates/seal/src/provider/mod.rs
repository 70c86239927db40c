//! Key providers: who holds the region's roots, the keys at the top of the hierarchy.
//!
//! A region has one permanent root and one root per epoch. Destroying an epoch's root closes, for good, everything
//! that was wrapped under it, wherever a copy of the wrapped key may be.

mod pkcs11;
mod sealed_file;
#[cfg(test)]
mod tests;

pub use pkcs11::{Pkcs11, Pkcs11Settings, find_pkcs11_module};
pub use sealed_file::{PassphraseCost, SealedFile};
use zeroize::Zeroizing;

use crate::SealError;

/// Which root wraps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Root {
    /// The root that stays for the life of the region.
    Permanent,
    /// The root of one epoch.
    Epoch(u64),
}

/// Why a key provider does not do what it is asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// The passphrase, or the token's PIN, is wrong.
    #[error("the passphrase or PIN is wrong")]
    WrongPassphrase,
    /// What the provider stores is damaged.
    #[error("the key store is damaged: {0}")]
    Damaged(&'static str),
    /// There is no root for this epoch: it was never created, or it was destroyed.
    #[error("there is no root key for epoch {0}")]
    UnknownEpoch(u64),
    /// The provider cannot be reached or written at the moment.
    #[error("the key store is unavailable: {0}")]
    Unavailable(String),
    /// The provider is there and says no: bytes that do not open under this root and context, or an operation it
    /// does not allow.
    #[error("the key store refuses: {0}")]
    Refused(String),
}

impl From<SealError> for ProviderError {
    fn from(error: SealError) -> Self {
        match error {
            SealError::Random => Self::Unavailable(error.to_string()),
            other => Self::Refused(other.to_string()),
        }
    }
}

/// Holds a region's roots and wraps keys under them. Every method may block on a file or a device.
pub trait KeyProvider: Send + Sync {
    /// A short name of the kind of provider, for reports.
    fn kind(&self) -> &'static str;

    /// Makes the root of an epoch. Does nothing if there is one. After a destruction it makes a new, different one.
    ///
    /// # Errors
    /// [`ProviderError`].
    fn create_epoch_root(&self, epoch: u64) -> Result<(), ProviderError>;

    /// Destroys the root of an epoch. Does nothing if there is none. Once it returns, nobody wraps or unwraps with
    /// that root through this store any more.
    ///
    /// # Errors
    /// [`ProviderError`]; the root must then be taken to be alive.
    fn destroy_epoch_root(&self, epoch: u64) -> Result<(), ProviderError>;

    /// The epochs that have a root, in order.
    ///
    /// # Errors
    /// [`ProviderError`].
    fn list_epoch_roots(&self) -> Result<Vec<u64>, ProviderError>;

    /// Wraps a secret under a root, bound to `context`, in the form of [`envelope`](crate::envelope).
    ///
    /// # Errors
    /// [`ProviderError`].
    fn wrap(&self, root: Root, context: &[u8], secret: &[u8]) -> Result<Vec<u8>, ProviderError>;

    /// Unwraps what [`wrap`](Self::wrap) made with the same root and `context`.
    ///
    /// # Errors
    /// [`ProviderError`]; [`ProviderError::Refused`] when the bytes do not open.
    fn unwrap(&self, root: Root, context: &[u8], wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, ProviderError>;

    /// Remembers that the region's log has been this large. Smaller sizes change nothing.
    ///
    /// # Errors
    /// [`ProviderError`].
    fn note_log_size(&self, size: u64) -> Result<(), ProviderError>;

    /// The largest log size ever noted, which a catalog that was lost or rolled back cannot lower; 0 at first.
    ///
    /// # Errors
    /// [`ProviderError`].
    fn log_size(&self) -> Result<u64, ProviderError>;
}
