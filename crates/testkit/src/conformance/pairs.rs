//! A catalog and an object store together, and catalogs that change their engine.

use bytes::Bytes;
use callvault_store::{
    StoreError,
    catalog::object_names,
    rows::{Garbage, SegmentInsert},
};

use super::{
    backends::{CatalogBackend, ObjectsBackend},
    catalog::dumps::populate,
    checks::{check, dump},
    rows::{at, begin, fill, open_one, segment, shred, stage},
};

/// A large segment is staged, written, committed, shredded, purged; a writer that died in between leaves nothing.
///
/// # Panics
/// When something is not as it should be.
pub async fn a_partition_lives_and_leaves_nothing(catalog: &impl CatalogBackend, objects: &impl ObjectsBackend) {
    let (catalog, objects) = (catalog.open_migrated().await, objects.open().await);
    let (acme, _) = begin(&catalog).await;
    let partition = open_one(&catalog, &acme, 1).await;
    fill(&catalog, &partition, 10).await;
    let (kept, died) = (segment(50), segment(60));
    for segment in [&kept, &died] {
        stage(&catalog, &acme, segment).await;
        let mut upload = objects
            .begin(&object_names::segment(&acme, segment.segment))
            .await
            .expect("an upload");
        upload.write(Bytes::from(vec![1; 3_500])).await.expect("written");
        upload.finish().await.expect("finished");
        objects
            .put(&object_names::locator(&acme, segment.segment), Bytes::from(vec![2; 90]))
            .await
            .expect("put");
    }
    let insert = SegmentInsert {
        partition: partition.clone(),
        segment: kept.clone(),
    };
    catalog.insert_segments(&[insert], None).await.expect("committed");

    let abandoned = catalog.list_staged(at(1), 10).await.expect("names");
    for name in &abandoned {
        objects.delete(name).await.expect("deleted");
    }
    catalog.unstage_objects(&abandoned).await.expect("forgotten");
    let mut names: Vec<_> = objects
        .list("accounts/")
        .await
        .expect("objects")
        .into_iter()
        .map(|info| info.name)
        .collect();
    names.sort();
    let mut expected = [
        object_names::segment(&acme, kept.segment),
        object_names::locator(&acme, kept.segment),
    ];
    expected.sort();
    assert_eq!(names, expected, "only what the catalog names is left");

    let leaf = catalog.shred(&shred(&acme, vec![partition])).await.expect("shredded");
    let garbage = catalog.list_garbage(100).await.expect("garbage");
    for row in &garbage {
        match &row.what {
            Garbage::Object(name) => {
                objects.delete(name).await.expect("deleted");
                assert!(matches!(objects.get(name).await, Err(StoreError::NotFound { .. })));
            }
            Garbage::PartitionRows(key) => while !catalog.purge_rows(&row.account, *key, 3).await.expect("purged") {},
        }
    }
    catalog
        .drop_garbage(&garbage.iter().map(|row| row.id).collect::<Vec<_>>(), at(9))
        .await
        .expect("dropped");
    assert!(objects.list("accounts/").await.expect("objects").is_empty());
    let destruction = catalog.find_destruction(leaf).await.expect("read").expect("one");
    assert_eq!(destruction.purged_at, Some(at(9)));
    catalog.compact().await.expect("compacted");
    check(&catalog).await;
}

/// A dump of one engine fills the next, and the same text comes out at the end.
///
/// # Panics
/// When it does not.
pub async fn a_catalog_moves(first: &impl CatalogBackend, second: &impl CatalogBackend, third: &impl CatalogBackend) {
    let (first, second, third) = (
        first.open_migrated().await,
        second.open_migrated().await,
        third.open_migrated().await,
    );
    populate(&first).await;
    let text = dump(&first).await;
    for catalog in [&second, &third] {
        catalog.load(&mut text.as_bytes(), &[]).await.expect("loaded");
        assert_eq!(dump(catalog).await, text);
        check(catalog).await;
    }
}
