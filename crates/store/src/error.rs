//! What can go wrong below the application.

/// A catalog or object store's failure. Texts never carry row contents.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Somebody else changed the same thing first; read again and decide again.
    #[error("changed by another process meanwhile: {what}")]
    Conflict {
        /// What was changed.
        what: &'static str,
    },
    /// The epoch no longer takes new keys; use the newest one.
    #[error("key epoch {0} is closed")]
    EpochClosed(u64),
    /// The named thing is not there.
    #[error("{what} not found")]
    NotFound {
        /// What was looked for.
        what: &'static str,
    },
    /// The disk, tablespace or bucket is full. Nothing was written.
    #[error("out of space in the {store}")]
    Full {
        /// `catalog` or `object store`.
        store: &'static str,
    },
    /// The store cannot be reached, or broke the connection. Trying again may help.
    #[error("the {store} is unreachable: {reason}")]
    Unavailable {
        /// `catalog` or `object store`.
        store: &'static str,
        /// The driver's words, without values.
        reason: String,
    },
    /// What is stored is not what was written, or has a shape this version does not know.
    #[error("the {store} is damaged: {reason}")]
    Damaged {
        /// `catalog` or `object store`.
        store: &'static str,
        /// What was found.
        reason: String,
    },
}
