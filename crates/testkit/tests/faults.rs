//! Full disks, broken and stalled connections.

use std::time::Duration;

use bytes::Bytes;
use callvault_store::{
    Accounts as _, Catalog, Objects, Partitions as _, StoreError,
    postgres::{Limits, Postgres},
    s3::S3,
    sqlite::Sqlite,
};
use callvault_testkit::{
    conformance::{
        backends::{CatalogBackend as _, Folder, ObjectsBackend as _, PostgresDatabase},
        checks::check,
        rows::{at, begin, loose, open_one},
    },
    services::{
        garage, goes_without,
        proxy::{Mode, Proxy},
        quota::Quota,
        s3_config, unique_name,
    },
};

fn is_unavailable<T: std::fmt::Debug>(result: Result<T, StoreError>) {
    assert!(matches!(result, Err(StoreError::Unavailable { .. })), "{result:?}");
}

fn is_full<T: std::fmt::Debug>(result: Result<T, StoreError>) {
    assert!(matches!(result, Err(StoreError::Full { .. })), "{result:?}");
}

/// The disk is full: SQLite's page limit gives the same answer (`SQLITE_FULL`) at a place of our choice.
#[tokio::test]
async fn a_full_catalog_says_so_and_keeps_what_it_has() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("catalog.sqlite");
    let catalog: std::sync::Arc<dyn Catalog> =
        std::sync::Arc::new(Sqlite::open_limited(&path, Some(150)).await.unwrap());
    catalog.migrate().await.unwrap();
    let (acme, _) = begin(&catalog).await;
    let partition = open_one(&catalog, &acme, 1).await;
    let mut kept = 0;
    let refused = loop {
        let rows: Vec<_> = (0..100).map(|second| (partition.clone(), loose(second))).collect();
        match catalog.append_loose(at(1), &rows).await {
            Ok(_) => kept += 100,
            Err(error) => break error,
        }
        assert!(kept < 100_000, "the limit is never reached");
    };
    is_full::<()>(Err(refused));
    assert_eq!(
        catalog.list_loose(&partition).await.unwrap().len(),
        kept,
        "a refused call adds nothing"
    );
    check(&catalog).await;
    drop(catalog);
    let roomy: std::sync::Arc<dyn Catalog> = std::sync::Arc::new(Sqlite::open(&path).await.unwrap());
    roomy
        .append_loose(at(2), &[(partition.clone(), loose(1))])
        .await
        .unwrap();
    check(&roomy).await;
}

#[tokio::test]
async fn a_full_object_store_says_so() {
    let folder = Folder::start().await.unwrap();
    let quota = Quota::new(folder.open().await, 1_000);
    quota.put("a", Bytes::from(vec![1; 900])).await.unwrap();
    is_full(quota.put("b", Bytes::from(vec![1; 900])).await);
    let mut upload = quota.begin("c").await.unwrap();
    is_full(upload.write(Bytes::from(vec![1; 900])).await);
    upload.abort().await.unwrap();
    assert_eq!(quota.list("").await.unwrap().len(), 1);
    quota.set_room(5_000);
    quota.put("b", Bytes::from(vec![1; 900])).await.unwrap();
}

#[tokio::test]
async fn a_full_bucket_says_so() {
    if goes_without("s3") {
        return;
    }
    let mut config = s3_config("");
    config.bucket = garage::create_limited_bucket(&unique_name(), 100_000);
    let bucket = S3::open(&config).await.unwrap();
    bucket.put("a", Bytes::from(vec![1; 90_000])).await.unwrap();
    // The store counts what a bucket holds a moment later.
    let mut full = None;
    for n in 0..200 {
        let name = format!("b{n}");
        let put = bucket.put(&name, Bytes::from(vec![1; 90_000])).await;
        if put.is_err() {
            full = Some((name, put));
            break;
        }
    }
    let (name, put) = full.expect("the bucket takes no more at some time");
    is_full(put);
    assert_eq!(bucket.find_size(&name).await.unwrap(), None);
}

fn impatient() -> Limits {
    Limits {
        connections: 4,
        connect: Duration::from_secs(1),
        answer: Duration::from_secs(1),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_database_is_found_again() {
    let Some(backend) = PostgresDatabase::start().await else {
        return;
    };
    let direct = backend.open_migrated().await;
    let (acme, _) = begin(&direct).await;
    let partition = open_one(&direct, &acme, 1).await;
    let proxy = Proxy::start(backend.database.host()).await;
    let address = backend.database.address_through(proxy.port());
    let catalog = Postgres::open_with(&address, impatient()).await.unwrap();
    catalog
        .append_loose(at(1), &[(partition.clone(), loose(1))])
        .await
        .unwrap();
    for broken in [Mode::Cut, Mode::Stall] {
        proxy.set(broken);
        is_unavailable(catalog.append_loose(at(1), &[(partition.clone(), loose(2))]).await);
        is_unavailable(catalog.find_value("x").await);
        proxy.set(Mode::Pass);
        let mut tries = 0;
        while catalog
            .append_loose(at(1), &[(partition.clone(), loose(3))])
            .await
            .is_err()
        {
            tries += 1;
            assert!(tries < 20, "not found again after {broken:?}");
        }
    }
    check(&direct).await;
    proxy.set(Mode::Cut);
    let refused = Postgres::open_with(&address, impatient()).await;
    is_unavailable(refused);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_bucket_is_found_again() {
    if goes_without("s3") {
        return;
    }
    let mut config = s3_config(&unique_name());
    let proxy = Proxy::start(config.endpoint.trim_start_matches("http://").to_owned()).await;
    config.endpoint = format!("http://127.0.0.1:{}", proxy.port());
    config.patience = Duration::from_secs(1);
    let bucket = S3::open(&config).await.unwrap();
    bucket.put("a", Bytes::from_static(b"a")).await.unwrap();
    for broken in [Mode::Cut, Mode::Stall] {
        proxy.set(broken);
        is_unavailable(bucket.put("b", Bytes::from_static(b"b")).await);
        is_unavailable(bucket.get("a").await);
        proxy.set(Mode::Pass);
        assert_eq!(bucket.get("a").await.unwrap(), "a");
    }
    config.secret_key = "1".repeat(64);
    let refused = S3::open(&config).await.unwrap_err();
    assert!(!refused.to_string().contains(&config.secret_key) && !format!("{config:?}").contains(&config.secret_key));
    is_unavailable::<()>(Err(refused));
}
