//! The four pairs of a catalog and an object store, and catalogs that move from one engine to the other.

use callvault_testkit::conformance::{
    backends::{Bucket, CatalogBackend, Folder, ObjectsBackend, PostgresDatabase, SqliteFile},
    pairs,
};

async fn run<C: CatalogBackend, O: ObjectsBackend>() {
    if let (Some(catalog), Some(objects)) = (C::start().await, O::start().await) {
        pairs::a_partition_lives_and_leaves_nothing(&catalog, &objects).await;
    }
}

#[tokio::test]
async fn sqlite_and_files() {
    run::<SqliteFile, Folder>().await;
}

#[tokio::test]
async fn sqlite_and_s3() {
    run::<SqliteFile, Bucket>().await;
}

#[tokio::test]
async fn postgres_and_files() {
    run::<PostgresDatabase, Folder>().await;
}

#[tokio::test]
async fn postgres_and_s3() {
    run::<PostgresDatabase, Bucket>().await;
}

#[tokio::test]
async fn a_catalog_moves_to_postgres_and_back() {
    let (Some(first), Some(second), Some(third)) = (
        SqliteFile::start().await,
        PostgresDatabase::start().await,
        SqliteFile::start().await,
    ) else {
        return;
    };
    pairs::a_catalog_moves(&first, &second, &third).await;
}
