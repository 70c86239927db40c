//! Imports, and objects that are staged before a commit names them.

use callvault_core::{Class, Day};
use callvault_store::{
    catalog::object_names,
    rows::{JobRow, SegmentInsert},
};

use crate::conformance::{
    backends::CatalogBackend,
    checks::{check, conflicts},
    rows::{at, begin, job, open_one, packed, segment, stage},
};

/// Imports.
pub async fn imports_commit_with_their_progress(backend: &impl CatalogBackend) {
    let catalog = backend.open_migrated().await;
    let (acme, _) = begin(&catalog).await;
    let partition = open_one(&catalog, &acme, 1).await;
    catalog.enqueue(&job("import:1", "import", at(0))).await.expect("a job");
    let job = catalog
        .lease_job("import:1", "w1", at(0), at(10))
        .await
        .expect("read")
        .expect("leased");
    let insert = || {
        [SegmentInsert {
            partition: partition.clone(),
            segment: packed(50),
        }]
    };
    let progress = JobRow {
        body: b"row 50".to_vec(),
        lease_until: Some(at(20)),
        ..job
    };
    catalog
        .insert_segments(&insert(), Some(&progress))
        .await
        .expect("imported");
    let stored = catalog.find_job("import:1").await.expect("read").expect("a job");
    assert_eq!((stored.body, stored.lease_until), (b"row 50".to_vec(), Some(at(20))));
    catalog
        .lease_job("import:1", "w2", at(30), at(40))
        .await
        .expect("read")
        .expect("taken over");
    conflicts(catalog.insert_segments(&insert(), Some(&progress)).await);
    let row = catalog
        .find_partition(&acme, Class::Call, Day(1))
        .await
        .expect("read")
        .expect("a partition");
    assert_eq!(
        (row.sealed_rows, row.segments),
        (50, 1),
        "a worker without its lease adds nothing"
    );
    check(&catalog).await;
}

/// Objects between their writing and their commit.
pub async fn staged_objects_are_taken_over_or_cleaned(backend: &impl CatalogBackend) {
    let catalog = backend.open_migrated().await;
    let (acme, _) = begin(&catalog).await;
    let partition = open_one(&catalog, &acme, 1).await;
    let insert = |segment: &callvault_store::rows::SegmentRow| {
        [SegmentInsert {
            partition: partition.clone(),
            segment: segment.clone(),
        }]
    };
    let (good, late, never) = (segment(5), segment(6), segment(7));
    stage(&catalog, &acme, &good).await;
    stage(&catalog, &acme, &late).await;
    assert!(
        catalog.list_staged(at(0), 9).await.expect("names").is_empty(),
        "not staged before that moment"
    );
    catalog.insert_segments(&insert(&good), None).await.expect("a segment");
    conflicts(catalog.insert_segments(&insert(&never), None).await);
    let names = catalog.list_staged(at(1), 9).await.expect("names");
    let mut expected = [
        object_names::segment(&acme, late.segment),
        object_names::locator(&acme, late.segment),
    ];
    expected.sort();
    assert_eq!(names, expected, "what a commit took over is not listed");
    conflicts(catalog.insert_segments(&insert(&late), None).await);
    assert_eq!(
        catalog.list_staged(at(1), 9).await.expect("names"),
        expected,
        "listed until they are removed"
    );
    catalog.unstage_objects(&names).await.expect("forgotten");
    assert!(catalog.list_staged(at(1), 9).await.expect("names").is_empty());
    check(&catalog).await;
}
