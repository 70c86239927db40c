//! The catalog in one SQLite file: write-ahead log, one writer, many readers.

mod dialect;
#[path = "sql/mod.rs"]
#[expect(
    clippy::duplicate_mod,
    reason = "each query is written once and compiled for each driver"
)]
mod sql;

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{
    ConnectOptions, Pool, Transaction,
    pool::PoolOptions,
    sqlite::{SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

use crate::{StoreError, failure::Failure};

type Db = sqlx::Sqlite;
type Backend = Sqlite;

/// How long a writer waits for a writer of another process.
const BUSY: Duration = Duration::from_secs(10);
/// Connections that read.
const READERS: u32 = 4;

/// A catalog in a SQLite file. Cheap to clone; clones share the connections.
#[derive(Debug, Clone)]
pub struct Sqlite {
    path: PathBuf,
    writer: Pool<Db>,
    readers: Pool<Db>,
}

impl Sqlite {
    /// Opens the file, creating it (mode 0600) and its folder (0700) where they are missing. Call
    /// [`crate::Catalog::migrate`] before anything else.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the file cannot be created or opened, [`StoreError::Damaged`] when it is no
    /// SQLite file.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_limited(path, None).await
    }

    /// Like [`Self::open`], for a file that may not grow beyond this many pages of 4096 bytes. What does not fit
    /// answers as a full disk does.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_limited(path: &Path, max_pages: Option<u32>) -> Result<Self, StoreError> {
        create_private(path)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .auto_vacuum(SqliteAutoVacuum::Incremental)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY)
            .pragma("secure_delete", "ON")
            .statement_cache_capacity(512)
            .row_buffer_size(512)
            .disable_statement_logging();
        let writing = match max_pages {
            Some(pages) => options.clone().pragma("max_page_count", pages.to_string()),
            None => options.clone(),
        };
        let writer = PoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .connect_with(writing)
            .await
            .map_err(|error| Failure::Sql(error).into_error(dialect::meaning_of_code))?;
        let readers = PoolOptions::new()
            .max_connections(READERS)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .connect_lazy_with(options);
        Ok(Self {
            path: path.to_owned(),
            writer,
            readers,
        })
    }

    /// Closes every connection, after which the write-ahead log is part of the file.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    async fn begin(&self) -> Result<Transaction<'static, Db>, Failure> {
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }

    async fn begin_reading(&self) -> Result<Transaction<'static, Db>, Failure> {
        Ok(self.readers.begin().await?)
    }

    fn reading(&self) -> &Pool<Db> {
        &self.readers
    }

    fn writing(&self) -> &Pool<Db> {
        &self.writer
    }

    fn patience(&self) -> Duration {
        2 * BUSY
    }

    fn describe(&self) -> String {
        format!("file {}", self.path.display())
    }
}

fn create_private(path: &Path) -> Result<(), StoreError> {
    let unavailable = |error: &std::io::Error| StoreError::Unavailable {
        store: "catalog",
        reason: error.kind().to_string(),
    };
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty() && !folder.exists())
    {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| unavailable(&error))?;
    }
    match fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
    {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) if error.kind() == ErrorKind::StorageFull => Err(StoreError::Full { store: "catalog" }),
        Err(error) => Err(unavailable(&error)),
    }
}

#[cfg(test)]
mod tests;
