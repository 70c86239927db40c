//! The backends that the suites run on.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use callvault_store::{Catalog, Objects, files::Files, postgres::Postgres, s3::S3, sqlite::Sqlite};
use tempfile::TempDir;

use crate::services::{goes_without, postgres::Database, s3_config, unique_name};

/// An empty place for a catalog.
#[async_trait]
pub trait CatalogBackend: Sized + Send + Sync {
    /// Makes the place, or nothing when this run goes without the service.
    async fn start() -> Option<Self>;

    /// Opens the catalog, as another process would.
    async fn open(&self) -> Arc<dyn Catalog>;

    /// Opens the catalog and brings its schema up to date.
    async fn open_migrated(&self) -> Arc<dyn Catalog> {
        let catalog = self.open().await;
        catalog.migrate().await.expect("the schema");
        catalog
    }
}

/// An empty place for objects.
#[async_trait]
pub trait ObjectsBackend: Sized + Send + Sync {
    /// Makes the place, or nothing when this run goes without the service.
    async fn start() -> Option<Self>;

    /// Opens the store, as another process would.
    async fn open(&self) -> Arc<dyn Objects>;
}

/// A SQLite file in a temporary folder.
#[derive(Debug)]
pub struct SqliteFile {
    folder: TempDir,
}

impl SqliteFile {
    /// The file.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("catalog.sqlite")
    }
}

#[async_trait]
impl CatalogBackend for SqliteFile {
    async fn start() -> Option<Self> {
        Some(Self {
            folder: TempDir::new().expect("a temporary folder"),
        })
    }

    async fn open(&self) -> Arc<dyn Catalog> {
        Arc::new(Sqlite::open(&self.path()).await.expect("SQLite"))
    }
}

/// A database of the run's PostgreSQL server.
#[derive(Debug)]
pub struct PostgresDatabase {
    /// The database.
    pub database: Database,
}

#[async_trait]
impl CatalogBackend for PostgresDatabase {
    async fn start() -> Option<Self> {
        (!goes_without("postgres")).then(|| Self {
            database: Database::create(),
        })
    }

    async fn open(&self) -> Arc<dyn Catalog> {
        Arc::new(Postgres::open(&self.database.address()).await.expect("PostgreSQL"))
    }
}

/// A temporary folder.
#[derive(Debug)]
pub struct Folder {
    /// The folder.
    pub folder: TempDir,
}

#[async_trait]
impl ObjectsBackend for Folder {
    async fn start() -> Option<Self> {
        Some(Self {
            folder: TempDir::new().expect("a temporary folder"),
        })
    }

    async fn open(&self) -> Arc<dyn Objects> {
        Arc::new(Files::open(&self.folder.path().join("objects")).await.expect("files"))
    }
}

/// A prefix of the run's bucket.
#[derive(Debug)]
pub struct Bucket {
    prefix: String,
}

#[async_trait]
impl ObjectsBackend for Bucket {
    async fn start() -> Option<Self> {
        (!goes_without("s3")).then(|| Self { prefix: unique_name() })
    }

    async fn open(&self) -> Arc<dyn Objects> {
        Arc::new(S3::open(&s3_config(&self.prefix)).await.expect("S3"))
    }
}
