//! What a driver reports, sorted into what the catalog does about it.

use crate::StoreError;

/// A failed attempt at a transaction.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Decided by the catalog.
    Store(StoreError),
    /// Reported by the driver.
    Sql(sqlx::Error),
    /// No answer in time.
    Stalled,
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

/// What a database's error code means here.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// The same transaction may succeed now: a deadlock or a serialization failure.
    Again,
    /// A unique constraint: somebody else was first.
    Taken,
    /// No space.
    Full,
    /// No answer from the database, or none that can be used now.
    Unreachable(String),
    /// Contents or schema that this version does not understand.
    Damaged(String),
}

/// What an error means, given the driver's reading of its own codes.
pub(crate) fn meaning(error: &sqlx::Error, of_code: impl Fn(&str, &str) -> Meaning) -> Meaning {
    match error {
        sqlx::Error::Database(error) => of_code(error.code().as_deref().unwrap_or(""), error.message()),
        sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::StorageFull => Meaning::Full,
        sqlx::Error::Io(error) => Meaning::Unreachable(error.kind().to_string()),
        sqlx::Error::Tls(_) => Meaning::Unreachable("TLS failed".to_owned()),
        sqlx::Error::Protocol(_) => Meaning::Unreachable("the connection broke inside a message".to_owned()),
        sqlx::Error::PoolTimedOut => Meaning::Unreachable("no connection in time".to_owned()),
        sqlx::Error::PoolClosed => Meaning::Unreachable("closed".to_owned()),
        sqlx::Error::WorkerCrashed => Meaning::Unreachable("the connection's thread ended".to_owned()),
        sqlx::Error::Configuration(_) => Meaning::Unreachable("the address cannot be read".to_owned()),
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
            Meaning::Damaged("a column has another type".to_owned())
        }
        _ => Meaning::Damaged("an unexpected answer of the driver".to_owned()),
    }
}

impl Failure {
    /// Whether the same transaction may succeed when it is tried again at once.
    pub(crate) fn is_passing(&self, of_code: impl Fn(&str, &str) -> Meaning) -> bool {
        matches!(self, Self::Sql(error) if meaning(error, of_code) == Meaning::Again)
    }

    /// The error for the caller.
    pub(crate) fn into_error(self, of_code: impl Fn(&str, &str) -> Meaning) -> StoreError {
        const STORE: &str = "catalog";
        match self {
            Self::Store(error) => error,
            Self::Stalled => StoreError::Unavailable {
                store: STORE,
                reason: "no answer in time".to_owned(),
            },
            Self::Sql(error) => match meaning(&error, of_code) {
                Meaning::Again => StoreError::Unavailable {
                    store: STORE,
                    reason: "too many collisions with others".to_owned(),
                },
                Meaning::Taken => StoreError::Conflict {
                    what: "a row of the same name",
                },
                Meaning::Full => StoreError::Full { store: STORE },
                Meaning::Unreachable(reason) => StoreError::Unavailable { store: STORE, reason },
                Meaning::Damaged(reason) => StoreError::Damaged { store: STORE, reason },
            },
        }
    }
}

/// The catalog holds something that cannot be.
pub(crate) fn damaged(reason: impl Into<String>) -> Failure {
    Failure::Store(StoreError::Damaged {
        store: "catalog",
        reason: reason.into(),
    })
}

/// Somebody else changed this first.
pub(crate) fn conflict(what: &'static str) -> Failure {
    Failure::Store(StoreError::Conflict { what })
}
