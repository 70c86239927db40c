//! Shredding, purging, closing, replaying, and the log.

use std::collections::BTreeSet;

use callvault_core::{Class, Day, KeyId};
use callvault_store::rows::{Garbage, SegmentInsert, Shred};

use crate::conformance::{
    backends::CatalogBackend,
    checks::{check, conflicts, contents, table},
    rows::{
        add_account, add_recording, at, begin, challenge, fill, job, leaf, loose, open_one, recording, segment,
        session, shred, stage, token, user,
    },
};

/// Shred, then purge.
pub async fn shredding_leaves_garbage_that_is_purged_in_portions(backend: &impl CatalogBackend) {
    let catalog = backend.open_migrated().await;
    let (acme, _) = begin(&catalog).await;
    let (gone, kept) = (open_one(&catalog, &acme, 1).await, open_one(&catalog, &acme, 2).await);
    fill(&catalog, &gone, 25).await;
    fill(&catalog, &kept, 5).await;
    let large = segment(100);
    stage(&catalog, &acme, &large).await;
    let insert = SegmentInsert {
        partition: gone.clone(),
        segment: large.clone(),
    };
    catalog.insert_segments(&[insert], None).await.expect("a segment");
    conflicts(catalog.purge_rows(&acme, gone.key, 10).await);

    let index = catalog
        .shred(&shred(&acme, vec![gone.clone()]))
        .await
        .expect("shredded");
    assert_eq!(index, 0);
    assert!(catalog.find_keys(&acme, &[gone.key]).await.expect("keys").is_empty());
    assert_eq!(
        catalog.find_partition(&acme, Class::Call, Day(1)).await.expect("read"),
        None
    );
    conflicts(catalog.append_loose(at(9), &[(gone.clone(), loose(1))]).await);
    let garbage = catalog.list_garbage(10).await.expect("garbage");
    assert!(garbage.iter().all(|row| row.leaf == Some(0) && row.account == acme));
    assert_eq!(
        garbage
            .iter()
            .filter(|row| matches!(row.what, Garbage::Object(_)))
            .count(),
        2
    );
    assert!(garbage.iter().any(|row| row.what == Garbage::PartitionRows(gone.key)));

    let mut calls = 0;
    while !catalog.purge_rows(&acme, gone.key, 10).await.expect("purged") {
        calls += 1;
    }
    assert_eq!(calls, 2, "25 rows and a segment in tens");
    let all = contents(&catalog).await;
    assert_eq!((table(&all, "loose").len(), table(&all, "segments").len()), (5, 0));
    let (first, last) = garbage.split_at(2);
    let ids = |rows: &[callvault_store::rows::GarbageRow]| rows.iter().map(|row| row.id).collect::<Vec<_>>();
    catalog.drop_garbage(&ids(first), at(20)).await.expect("dropped");
    assert_eq!(
        catalog.find_destruction(0).await.expect("read").expect("one").purged_at,
        None
    );
    catalog.drop_garbage(&ids(last), at(30)).await.expect("dropped");
    let destruction = catalog.find_destruction(0).await.expect("read").expect("one");
    assert_eq!(
        (destruction.purged_at, destruction.statement),
        (Some(at(30)), leaf("shred").statement)
    );
    check(&catalog).await;
}

/// Refused shreds.
pub async fn a_missing_key_destroys_nothing(backend: &impl CatalogBackend) {
    let catalog = backend.open_migrated().await;
    let (acme, account_key) = begin(&catalog).await;
    let (other, _) = add_account(&catalog, "other").await;
    let (one, two) = (open_one(&catalog, &acme, 1).await, open_one(&catalog, &acme, 2).await);
    let (row, key) = recording(&acme, 1, [1, 2]);
    add_recording(&catalog, &row, &key).await;
    let before = contents(&catalog).await;
    let stale = callvault_store::rows::PartitionRef {
        key: KeyId([1; 16]),
        ..two.clone()
    };
    conflicts(catalog.shred(&shred(&acme, vec![one.clone(), stale])).await);
    conflicts(catalog.shred(&shred(&other, vec![one.clone()])).await);
    let wrong_key = Shred {
        recordings: vec![(row.sid, two.key)],
        ..shred(&acme, vec![one.clone()])
    };
    conflicts(catalog.shred(&wrong_key).await);
    let unknown = Shred {
        recordings: vec![(loose(3).sid, key.key)],
        ..shred(&acme, vec![one.clone()])
    };
    conflicts(catalog.shred(&unknown).await);
    let unnamed = Shred {
        account_key: Some(account_key),
        ..shred(&acme, vec![one.clone()])
    };
    conflicts(catalog.shred(&unnamed).await);
    let not_its_key = Shred {
        account_key: Some(two.key),
        ..shred(&acme, vec![one.clone()])
    };
    conflicts(catalog.shred(&not_its_key).await);
    assert_eq!(contents(&catalog).await, before);
    check(&catalog).await;
}

/// Closing.
pub async fn closing_an_account_takes_everything(backend: &impl CatalogBackend) {
    let catalog = backend.open_migrated().await;
    let (acme, account_key) = begin(&catalog).await;
    let (other, _) = add_account(&catalog, "other").await;
    let partition = open_one(&catalog, &acme, 1).await;
    fill(&catalog, &partition, 5).await;
    let (row, key) = recording(&acme, 1, [1, 2]);
    add_recording(&catalog, &row, &key).await;
    for (account, token_key) in [(&acme, "k1"), (&other, "k2")] {
        let token = token(account, token_key, "developer");
        catalog.insert_token(&token).await.expect("a token");
    }
    let person = user(Some(&acme), "owner");
    catalog.insert_user(&person).await.expect("a user");
    catalog
        .insert_session(&session(&person, 1, 2), None)
        .await
        .expect("a session");
    catalog
        .insert_challenge(&challenge(&person, 1))
        .await
        .expect("a question");
    let mut own = job("own", "export", at(0));
    own.account = Some(acme.clone());
    catalog.enqueue(&own).await.expect("a job");
    let close = Shred {
        recordings: vec![(row.sid, row.key)],
        account_key: Some(account_key),
        ..shred(&acme, vec![partition.clone()])
    };
    let index = catalog.shred(&close).await.expect("closed");
    let closed = catalog
        .find_account(&acme)
        .await
        .expect("read")
        .expect("it is remembered");
    assert_eq!((closed.closed_at, closed.policy.as_str()), (Some(close.at), ""));
    assert_eq!(catalog.find_token("k1").await.expect("read"), None);
    assert!(catalog.find_token("k2").await.expect("read").is_some());
    assert_eq!(catalog.list_users(Some(&acme)).await.expect("read"), []);
    assert_eq!(catalog.find_session(&[1; 32]).await.expect("read"), None);
    assert_eq!(catalog.take_challenge(Some(&acme), &[1; 32]).await.expect("read"), None);
    conflicts(catalog.insert_user(&user(Some(&acme), "owner")).await);
    assert_eq!(catalog.find_job("own").await.expect("read"), None);
    assert_eq!(catalog.find_recording(&acme, row.sid).await.expect("read"), None);
    let late = crate::conformance::rows::partition(&acme, Class::Call, 9, 1);
    conflicts(catalog.open_partitions(&[late]).await);
    let (row, key) = recording(&acme, 2, [1, 2]);
    conflicts(catalog.insert_recording(&row, &key, "deleted/none").await);
    conflicts(catalog.put_policy(&acme, "{}", closed.version, &[]).await);
    conflicts(catalog.shred(&close).await);
    let listed = catalog.list_destructions(&acme, None, 9).await.expect("destructions");
    assert_eq!(listed.iter().map(|row| row.leaf).collect::<Vec<_>>(), [index]);
    assert!(
        catalog
            .list_destructions(&other, None, 9)
            .await
            .expect("destructions")
            .is_empty()
    );
    let left = contents(&catalog).await;
    assert!(table(&left, "data_keys").iter().all(|key| key[0] != "acme"));
    check(&catalog).await;
}

/// Two processes remove the last two pieces at once.
pub async fn the_last_piece_finishes_the_leaf(backend: &impl CatalogBackend) {
    let (one, two) = (backend.open_migrated().await, backend.open().await);
    let (acme, _) = begin(&one).await;
    for day in 0..8 {
        let partitions = vec![open_one(&one, &acme, day).await, open_one(&one, &acme, day + 100).await];
        let index = one.shred(&shred(&acme, partitions)).await.expect("shredded");
        let garbage = one.list_garbage(10).await.expect("garbage");
        assert_eq!(garbage.len(), 2);
        let (first, second) = ([garbage[0].id], [garbage[1].id]);
        let (a, b) = tokio::join!(one.drop_garbage(&first, at(5)), two.drop_garbage(&second, at(5)));
        a.and(b).expect("dropped");
        let destruction = one.find_destruction(index).await.expect("read").expect("one");
        assert_eq!(destruction.purged_at, Some(at(5)), "leaf {index}");
    }
    let before = one.list_destructions(&acme, Some(6), 2).await.expect("destructions");
    assert_eq!(
        before.iter().map(|row| row.leaf).collect::<Vec<_>>(),
        [5, 4],
        "newest first"
    );
}

/// Eight shredders, two handles.
pub async fn leaf_indexes_have_no_gap(backend: &impl CatalogBackend) {
    let catalog = backend.open_migrated().await;
    let (acme, _) = begin(&catalog).await;
    let mut tasks = tokio::task::JoinSet::new();
    for worker in 0..8 {
        let (catalog, acme) = (
            if worker % 2 == 0 {
                catalog.clone()
            } else {
                backend.open().await
            },
            acme.clone(),
        );
        tasks.spawn(async move {
            let mut indexes = Vec::new();
            for number in 0..10 {
                let partition = open_one(&catalog, &acme, worker * 100 + number).await;
                let mut bad = shred(&acme, vec![partition.clone()]);
                bad.recordings.push((loose(1).sid, partition.key));
                conflicts(catalog.shred(&bad).await);
                indexes.push(catalog.shred(&shred(&acme, vec![partition])).await.expect("shredded"));
            }
            indexes
        });
    }
    let indexes: Vec<u64> = tasks.join_all().await.into_iter().flatten().collect();
    assert_eq!(
        indexes.iter().copied().collect::<BTreeSet<_>>(),
        (0..80).collect(),
        "each index once, no gap"
    );
    let own = catalog
        .append_leaf(Some(&acme), at(1), &leaf("checkpoint"))
        .await
        .expect("a leaf");
    assert_eq!((own, catalog.log_size().await.expect("a size")), (80, 81));
    assert_eq!(catalog.list_leaves(79..200).await.expect("leaves").len(), 2);
    check(&catalog).await;
}

/// A restored catalog takes the published log.
pub async fn a_replay_destroys_again(backend: &impl CatalogBackend) {
    let catalog = backend.open_migrated().await;
    let (acme, _) = begin(&catalog).await;
    let (bye, bye_key) = add_account(&catalog, "bye").await;
    let (gone, kept) = (open_one(&catalog, &acme, 1).await, open_one(&catalog, &acme, 2).await);
    fill(&catalog, &gone, 5).await;
    let (row, key) = recording(&acme, 1, [1, 2]);
    add_recording(&catalog, &row, &key).await;
    catalog.append_leaf(None, at(1), &leaf("old")).await.expect("a leaf");

    let published: Vec<Vec<u8>> = ["old", "a", "b", "c"].map(|text| leaf(text).body).into();
    let named = [gone.key, row.key, bye_key, KeyId([1; 16])];
    conflicts(catalog.replay(2, &published[2..], &named, at(9)).await);
    conflicts(catalog.replay(0, &published[1..], &named, at(9)).await);
    assert_eq!(catalog.log_size().await.expect("a size"), 1);
    assert_eq!(catalog.replay(0, &published, &named, at(9)).await.expect("replayed"), 3);
    assert_eq!(catalog.replay(0, &published, &named, at(9)).await.expect("again"), 0);
    assert_eq!(catalog.list_leaves(0..9).await.expect("leaves"), published);
    assert_eq!(
        catalog.find_partition(&acme, Class::Call, Day(1)).await.expect("read"),
        None
    );
    assert!(
        catalog
            .find_partition(&acme, Class::Call, Day(2))
            .await
            .expect("read")
            .is_some_and(|p| p.key == kept.key)
    );
    assert_eq!(catalog.find_recording(&acme, row.sid).await.expect("read"), None);
    assert_eq!(
        catalog
            .find_account(&bye)
            .await
            .expect("read")
            .expect("an account")
            .closed_at,
        Some(at(9))
    );
    let garbage = catalog.list_garbage(9).await.expect("garbage");
    assert_eq!(garbage.len(), 2);
    assert!(garbage.iter().all(|row| row.leaf.is_none()));
    check(&catalog).await;
}
