//! Partitions: opening, appending, sealing, rewriting, listing.

use std::collections::BTreeSet;

use callvault_core::{Class, Day, KeyId, Sid, id::HoldId};
use callvault_store::{
    catalog::object_names,
    rows::{Garbage, HoldRow, KeyPurpose, PartitionRef, RewriteCommit, SealCommit, SegmentInsert, Shred, Tombstone},
};

use crate::conformance::{
    backends::CatalogBackend,
    checks::{check, conflicts, contents, table},
    rows::{
        RULES_VERSION, add_recording, at, begin, fill, id, key, leaf, loose, open_one, packed, partition, recording,
        segment, shred, stage,
    },
};

/// Many open the same partitions at once.
pub async fn the_winner_of_a_race_is_everybodys(backend: &impl CatalogBackend) {
    let catalog = backend.open_migrated().await;
    let (acme, _) = begin(&catalog).await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..8 {
        let (catalog, acme) = (
            if number % 2 == 0 {
                catalog.clone()
            } else {
                backend.open().await
            },
            acme.clone(),
        );
        tasks.spawn(async move {
            let mut new: Vec<_> = (0..20).map(|day| partition(&acme, Class::Call, day, 1)).collect();
            if number % 3 == 0 {
                new.reverse();
            }
            let opened = catalog.open_partitions(&new).await.expect("partitions");
            for (row, (asked, _)) in opened.iter().zip(&new) {
                assert_eq!(row.day, asked.day, "in the order asked for");
            }
            opened.iter().map(|row| (row.day, row.key)).collect::<BTreeSet<_>>()
        });
    }
    let seen: BTreeSet<_> = tasks.join_all().await.into_iter().collect();
    assert_eq!(seen.len(), 1, "all see the same keys");
    let twice = partition(&acme, Class::Message, 3, 1);
    let opened = catalog
        .open_partitions(&[twice.clone(), twice.clone()])
        .await
        .expect("partitions");
    assert_eq!((opened.len(), opened[0].key), (2, opened[1].key));
    check(&catalog).await;
}

/// New, repeated within a call, repeated later.
pub async fn rows_are_new_once(backend: &impl CatalogBackend) {
    let catalog = backend.open_migrated().await;
    let (acme, _) = begin(&catalog).await;
    let (one, two) = (open_one(&catalog, &acme, 1).await, open_one(&catalog, &acme, 2).await);
    assert!(catalog.append_loose(at(5), &[]).await.expect("nothing").is_empty());
    let rows: Vec<_> = (0..1_100).map(loose).collect();
    let mut batch: Vec<_> = rows.iter().map(|row| (one.clone(), row.clone())).collect();
    batch.push((one.clone(), rows[3].clone()));
    batch.push((two.clone(), rows[3].clone()));
    let new = catalog.append_loose(at(5), &batch).await.expect("rows");
    assert_eq!(new.iter().filter(|new| **new).count(), 1_101);
    assert!(!new[1_100] && new[1_101]);
    let mut changed = rows[9].clone();
    changed.body = vec![0; 5];
    let again = catalog
        .append_loose(at(4), &[(one.clone(), changed), (one.clone(), loose(9))])
        .await
        .expect("rows");
    assert_eq!(again, [false, true]);
    assert_eq!(
        catalog.find_loose(&one, rows[9].sid).await.expect("read").as_ref(),
        Some(&rows[9])
    );
    let listed = catalog.list_loose(&one).await.expect("rows");
    assert_eq!(listed.len(), 1_101);
    assert!(listed.is_sorted_by_key(|row| row.sid));
    check(&catalog).await;
}

/// A partition that was rewritten or shredded meanwhile.
pub async fn a_stale_key_adds_nothing(backend: &impl CatalogBackend) {
    let catalog = backend.open_migrated().await;
    let (acme, _) = begin(&catalog).await;
    let good = open_one(&catalog, &acme, 1).await;
    let stale = PartitionRef {
        day: Day(2),
        key: KeyId([1; 16]),
        ..open_one(&catalog, &acme, 2).await
    };
    conflicts(
        catalog
            .append_loose(at(5), &[(good.clone(), loose(1)), (stale.clone(), loose(2))])
            .await,
    );
    assert!(
        catalog.list_loose(&good).await.expect("rows").is_empty(),
        "nothing of a refused call is added"
    );
    let hidden = Tombstone {
        sid: loose(1).sid,
        at: at(6),
    };
    conflicts(
        catalog
            .erase(
                &acme,
                RULES_VERSION,
                &[(good.clone(), hidden), (stale.clone(), hidden)],
                &leaf("erase"),
            )
            .await,
    );
    let insert = |partition: &PartitionRef| SegmentInsert {
        partition: partition.clone(),
        segment: packed(5),
    };
    conflicts(catalog.insert_segments(&[insert(&good), insert(&stale)], None).await);
    assert_eq!(catalog.log_size().await.expect("a size"), 0);
    check(&catalog).await;
}

/// A hold that is placed after a decision overtakes what was decided without it.
pub async fn other_rules_destroy_nothing(backend: &impl CatalogBackend) {
    let catalog = backend.open_migrated().await;
    let (acme, _) = begin(&catalog).await;
    let kept = open_one(&catalog, &acme, 1).await;
    let rows = fill(&catalog, &kept, 3).await;
    let (recorded, key) = recording(&acme, 1, [1, 2]);
    add_recording(&catalog, &recorded, &key).await;
    let row = HoldRow {
        account: acme.clone(),
        hold: HoldId(id()),
        rule: "{}".to_owned(),
        note: Vec::new(),
        lifted_at: None,
    };
    catalog.insert_hold(&row).await.expect("a hold");
    let hidden = Tombstone {
        sid: rows[0].sid,
        at: at(6),
    };
    let before = contents(&catalog).await;
    for stale in [RULES_VERSION, RULES_VERSION + 2] {
        let mut shredded = shred(&acme, vec![kept.clone()]);
        shredded.rules_version = stale;
        shredded.recordings = vec![(recorded.sid, recorded.key)];
        conflicts(catalog.shred(&shredded).await);
        conflicts(
            catalog
                .erase(&acme, stale, &[(kept.clone(), hidden)], &leaf("erase"))
                .await,
        );
        let mut rewrite = rewrite_of(&kept, 0, 3, 0, 3);
        rewrite.rules_version = stale;
        conflicts(catalog.rewrite(&rewrite).await);
    }
    assert!(contents(&catalog).await == before, "nothing is changed");
    let now = RULES_VERSION + 1;
    catalog
        .erase(&acme, now, &[(kept.clone(), hidden)], &leaf("erase"))
        .await
        .expect("hidden");
    let shredded = Shred {
        rules_version: now,
        ..shred(&acme, vec![kept])
    };
    catalog.shred(&shredded).await.expect("shredded");
    check(&catalog).await;
}

fn seal_of(partition: &PartitionRef, version: i64, rows: u64, remove_loose: Vec<Sid>) -> SealCommit {
    SealCommit {
        partition: partition.clone(),
        expected_version: version,
        add: vec![packed(rows)],
        remove_loose,
        remove_segments: Vec::new(),
    }
}

/// Sealing.
pub async fn seal_replaces_loose_rows(backend: &impl CatalogBackend) {
    let catalog = backend.open_migrated().await;
    let (acme, _) = begin(&catalog).await;
    let partition = open_one(&catalog, &acme, 1).await;
    let rows = fill(&catalog, &partition, 600).await;
    let late = loose(700);
    catalog
        .append_loose(at(50), &[(partition.clone(), late.clone())])
        .await
        .expect("a late row");
    let sids: Vec<Sid> = rows.iter().map(|row| row.sid).collect();
    conflicts(catalog.seal(&seal_of(&partition, 7, 600, sids.clone())).await);
    let mut unknown = sids.clone();
    unknown.push(loose(1).sid);
    conflicts(catalog.seal(&seal_of(&partition, 0, 601, unknown)).await);
    assert_eq!(catalog.list_loose(&partition).await.expect("rows").len(), 601);
    let version = catalog.list_unsealed(1, Day(0), 9).await.expect("partitions")[0].version;
    let seal = seal_of(&partition, version, 600, sids);
    catalog.seal(&seal).await.expect("sealed");
    assert_eq!(catalog.list_loose(&partition).await.expect("rows"), [late]);
    let row = catalog
        .find_partition(&acme, Class::Call, Day(1))
        .await
        .expect("read")
        .expect("a partition");
    assert_eq!(
        (row.loose_rows, row.sealed_rows, row.segments, row.loose_since),
        (1, 600, 1, Some(at(50)))
    );
    assert_eq!(catalog.list_segments(&partition).await.expect("segments"), seal.add);
    conflicts(catalog.seal(&seal).await);
    check(&catalog).await;
}

/// Merging large segments.
pub async fn merged_objects_become_garbage(backend: &impl CatalogBackend) {
    let catalog = backend.open_migrated().await;
    let (acme, _) = begin(&catalog).await;
    let partition = open_one(&catalog, &acme, 1).await;
    let (large, small, whole) = (segment(500), packed(5), segment(505));
    stage(&catalog, &acme, &large).await;
    let inserts = [large.clone(), small.clone()].map(|segment| SegmentInsert {
        partition: partition.clone(),
        segment,
    });
    catalog.insert_segments(&inserts, None).await.expect("segments");
    let other = open_one(&catalog, &acme, 2).await;
    let more: Vec<SegmentInsert> = (1..=3)
        .map(|rows| SegmentInsert {
            partition: other.clone(),
            segment: packed(rows),
        })
        .collect();
    catalog.insert_segments(&more, None).await.expect("segments");
    let unknown = KeyId([9; 16]);
    let keys = [other.key, unknown, partition.key];
    let several = catalog.list_segments_of(&acme, &keys).await.expect("segments");
    for (key, at) in [(partition.key, &partition), (other.key, &other)] {
        let one: Vec<_> = several
            .iter()
            .filter(|row| row.0 == key)
            .map(|row| row.1.clone())
            .collect();
        assert_eq!(one, catalog.list_segments(at).await.expect("segments"));
    }
    assert_eq!(several.len(), 5, "what does not exist has none");
    assert_eq!(catalog.list_segments_of(&acme, &[]).await.expect("segments"), []);
    stage(&catalog, &acme, &whole).await;
    let mut merge = seal_of(&partition, 1, 0, Vec::new());
    merge.add = vec![whole.clone()];
    merge.remove_segments = vec![large.segment, small.segment];
    catalog.seal(&merge).await.expect("merged");
    let garbage = catalog.list_garbage(10).await.expect("garbage");
    let objects: Vec<_> = garbage.iter().map(|row| (row.leaf, row.what.clone())).collect();
    let expected = [
        object_names::segment(&acme, large.segment),
        object_names::locator(&acme, large.segment),
    ]
    .map(Garbage::Object);
    assert_eq!(
        objects,
        expected.map(|what| (None, what)),
        "a small segment has no object"
    );
    assert_eq!(catalog.list_segments(&partition).await.expect("segments"), [whole]);
    check(&catalog).await;
}

fn rewrite_of(partition: &PartitionRef, version: i64, loose: u64, tombstones: u64, rows: u64) -> RewriteCommit {
    RewriteCommit {
        partition: partition.clone(),
        expected_version: version,
        rules_version: RULES_VERSION,
        expected_loose_rows: loose,
        expected_tombstones: tombstones,
        new_key: key(&partition.account, KeyPurpose::Partition, 1),
        add: if rows == 0 { Vec::new() } else { vec![packed(rows)] },
        at: at(80),
        leaf: leaf("rewrite"),
    }
}

/// Erasing and rewriting.
pub async fn rewrite_changes_the_key(backend: &impl CatalogBackend) {
    let catalog = backend.open_migrated().await;
    let (acme, _) = begin(&catalog).await;
    let partition = open_one(&catalog, &acme, 1).await;
    let rows = fill(&catalog, &partition, 10).await;
    let large = segment(100);
    stage(&catalog, &acme, &large).await;
    let insert = SegmentInsert {
        partition: partition.clone(),
        segment: large,
    };
    catalog.insert_segments(&[insert], None).await.expect("a segment");
    let hidden = [(
        partition.clone(),
        Tombstone {
            sid: rows[2].sid,
            at: at(60),
        },
    )];
    let erased = catalog
        .erase(&acme, RULES_VERSION, &hidden, &leaf("erase"))
        .await
        .expect("hidden");
    assert_eq!(
        catalog.list_tombstones(&partition).await.expect("tombstones"),
        [hidden[0].1]
    );
    let again = catalog
        .erase(&acme, RULES_VERSION, &hidden, &leaf("again"))
        .await
        .expect("hidden before");
    catalog.hide(&hidden).await.expect("hidden before");
    let unpurged = catalog.list_unpurged(9).await.expect("destructions");
    assert_eq!(unpurged.iter().map(|row| row.leaf).collect::<Vec<_>>(), [erased, again]);
    let due = catalog.list_tombstoned(at(60), 9).await.expect("partitions");
    assert_eq!((due.len(), due[0].tombstones, due[0].version), (1, 1, 1));
    assert!(catalog.list_tombstoned(at(59), 9).await.expect("partitions").is_empty());

    conflicts(catalog.rewrite(&rewrite_of(&partition, 0, 10, 1, 109)).await);
    conflicts(catalog.rewrite(&rewrite_of(&partition, 1, 9, 1, 109)).await);
    conflicts(catalog.rewrite(&rewrite_of(&partition, 1, 10, 0, 109)).await);
    assert_eq!(catalog.log_size().await.expect("a size"), 2);
    let rewrite = rewrite_of(&partition, 1, 10, 1, 109);
    let leaf = catalog.rewrite(&rewrite).await.expect("rewritten");
    let row = catalog
        .find_partition(&acme, Class::Call, Day(1))
        .await
        .expect("read")
        .expect("a partition");
    assert_eq!(
        (row.key, row.version, row.sealed_rows, row.tombstones),
        (rewrite.new_key.key, 2, 109, 0)
    );
    assert!(
        catalog
            .find_keys(&acme, &[partition.key])
            .await
            .expect("keys")
            .is_empty(),
        "the old key is gone"
    );
    conflicts(catalog.append_loose(at(81), &[(partition.clone(), loose(1))]).await);

    for pending in [erased, again, leaf] {
        let destruction = catalog
            .find_destruction(pending)
            .await
            .expect("read")
            .expect("a destruction");
        assert_eq!(
            destruction.purged_at, None,
            "leaf {pending} is not done while bytes remain"
        );
    }
    let garbage = catalog.list_garbage(10).await.expect("garbage");
    assert_eq!(garbage.len(), 3, "two objects and the rows under the old key");
    while !catalog.purge_rows(&acme, partition.key, 4).await.expect("purged") {}
    catalog
        .drop_garbage(&garbage.iter().map(|row| row.id).collect::<Vec<_>>(), at(90))
        .await
        .expect("dropped");
    for done in [erased, again, leaf] {
        let destruction = catalog
            .find_destruction(done)
            .await
            .expect("read")
            .expect("a destruction");
        assert_eq!(destruction.purged_at, Some(at(90)), "leaf {done}");
    }
    assert!(catalog.list_unpurged(9).await.expect("destructions").is_empty());
    assert!(table(&contents(&catalog).await, "erasures").is_empty());
    let renewed = PartitionRef {
        key: rewrite.new_key.key,
        ..partition.clone()
    };
    let tombstone = Tombstone {
        sid: rows[4].sid,
        at: at(95),
    };
    catalog.hide(&[(renewed.clone(), tombstone)]).await.expect("hidden");
    conflicts(catalog.hide(&[(partition.clone(), tombstone)]).await);
    assert_eq!(
        catalog.list_tombstones(&renewed).await.expect("tombstones"),
        [tombstone]
    );
    assert_eq!(catalog.log_size().await.expect("a size"), 3, "hiding needs no leaf");
    check(&catalog).await;
}

/// Appends and rewrites at the same time.
pub async fn no_acknowledged_row_is_lost_to_a_rewrite(backend: &impl CatalogBackend) {
    let catalog = backend.open_migrated().await;
    let (acme, _) = begin(&catalog).await;
    open_one(&catalog, &acme, 1).await;
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..4 {
        let (catalog, acme) = (
            if number % 2 == 0 {
                catalog.clone()
            } else {
                backend.open().await
            },
            acme.clone(),
        );
        writers.spawn(async move {
            let mut acknowledged = 0;
            while acknowledged < 30 {
                let row = catalog
                    .find_partition(&acme, Class::Call, Day(1))
                    .await
                    .expect("read")
                    .expect("there");
                if catalog
                    .append_loose(at(1), &[(row.reference(), loose(1))])
                    .await
                    .is_ok()
                {
                    acknowledged += 1;
                }
            }
            acknowledged
        });
    }
    let mut rewrites = 0;
    while rewrites < 5 || !writers.is_empty() {
        let row = catalog
            .find_partition(&acme, Class::Call, Day(1))
            .await
            .expect("read")
            .expect("there");
        let all = row.loose_rows + row.sealed_rows;
        let commit = rewrite_of(&row.reference(), row.version, row.loose_rows, 0, all);
        rewrites += u64::from(catalog.rewrite(&commit).await.is_ok());
        while writers.try_join_next().is_some() {}
        tokio::task::yield_now().await;
    }
    let row = catalog
        .find_partition(&acme, Class::Call, Day(1))
        .await
        .expect("read")
        .expect("there");
    assert_eq!(row.loose_rows + row.sealed_rows, 120);
    check(&catalog).await;
}

/// The lists that background work reads.
pub async fn lists_find_what_is_to_do(backend: &impl CatalogBackend) {
    let catalog = backend.open_migrated().await;
    let (acme, _) = begin(&catalog).await;
    for (day, loose, segments) in [(1, 3, 0), (2, 0, 1), (3, 30, 4), (4, 2, 9)] {
        let partition = open_one(&catalog, &acme, day).await;
        fill(&catalog, &partition, loose).await;
        let inserts: Vec<_> = (0..segments)
            .map(|_| SegmentInsert {
                partition: partition.clone(),
                segment: packed(5),
            })
            .collect();
        catalog.insert_segments(&inserts, None).await.expect("segments");
    }
    let days = |rows: Vec<callvault_store::rows::PartitionRow>| rows.iter().map(|row| row.day.0).collect::<Vec<_>>();
    assert_eq!(days(catalog.list_unsealed(20, Day(4), 9).await.expect("read")), [3, 1]);
    assert_eq!(days(catalog.list_unsealed(20, Day(4), 1).await.expect("read")), [3]);
    assert_eq!(
        days(catalog.list_unsealed(2, Day(0), 9).await.expect("read")),
        [3, 1, 4]
    );
    assert_eq!(days(catalog.list_fragmented(3, 9).await.expect("read")), [4, 3]);
    assert_eq!(
        days(
            catalog
                .list_partitions_before(Class::Call, Day(3), 9)
                .await
                .expect("read")
        ),
        [1, 2]
    );
    assert!(
        catalog
            .list_partitions_before(Class::Message, Day(9), 9)
            .await
            .expect("read")
            .is_empty()
    );
    assert_eq!(
        days(
            catalog
                .list_partitions(&acme, Class::Call, Day(2)..Day(4))
                .await
                .expect("read")
        ),
        [2, 3]
    );
    check(&catalog).await;
}
