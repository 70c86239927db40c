//! Epochs and data keys.

use std::sync::Arc;

use callvault_core::Class;
use callvault_store::{StoreError, rows::KeyRow};

use crate::conformance::{
    backends::CatalogBackend,
    checks::{check, conflicts},
    rows::{add_recording, begin, epoch, leaf, open_one, partition, recording, shred},
};

/// Epochs.
pub async fn epochs_close_and_go(backend: &impl CatalogBackend) {
    let catalog = backend.open_migrated().await;
    let (acme, _) = begin(&catalog).await;
    let first = open_one(&catalog, &acme, 1).await;
    conflicts(catalog.insert_epoch(&epoch(1)).await);
    assert!(
        catalog.list_epochs().await.expect("epochs")[0].open,
        "a refused epoch closes none"
    );
    catalog.insert_epoch(&epoch(2)).await.expect("an epoch");
    let epochs = catalog.list_epochs().await.expect("epochs");
    let seen: Vec<_> = epochs
        .iter()
        .map(|epoch| (epoch.epoch, epoch.open, epoch.live_keys))
        .collect();
    assert_eq!(seen, [(1, false, 2), (2, true, 0)]);

    let late = partition(&acme, Class::Call, 2, 1);
    let refused = catalog.open_partitions(std::slice::from_ref(&late)).await;
    assert!(matches!(refused, Err(StoreError::EpochClosed(1))), "{refused:?}");
    assert_eq!(
        catalog
            .find_partition(&acme, Class::Call, late.0.day)
            .await
            .expect("read"),
        None
    );
    let again = catalog
        .open_partitions(&[(first.clone(), late.1)])
        .await
        .expect("what is open needs no epoch");
    assert_eq!(again[0].key, first.key);
    let (row, key) = recording(&acme, 1, [1, 2]);
    let refused = catalog.insert_recording(&row, &key, "deleted/none").await;
    assert!(matches!(refused, Err(StoreError::EpochClosed(1))), "{refused:?}");

    conflicts(catalog.delete_epoch(2, &leaf("open")).await);
    conflicts(catalog.delete_epoch(1, &leaf("in use")).await);
    assert_eq!(
        catalog.log_size().await.expect("a size"),
        0,
        "a conflict leaves no leaf"
    );
    let keys = catalog.list_keys_in_epoch(1, 10).await.expect("keys");
    let moved: Vec<KeyRow> = keys
        .iter()
        .map(|key| KeyRow {
            epoch: 2,
            wrapped: vec![8; 60],
            ..key.clone()
        })
        .collect();
    assert_eq!(catalog.rewrap(1, &moved).await.expect("moved"), 2);
    catalog.delete_epoch(1, &leaf("epoch 1")).await.expect("deleted");
    conflicts(catalog.delete_epoch(1, &leaf("gone")).await);
    assert_eq!(catalog.list_leaves(0..9).await.expect("leaves"), [leaf("epoch 1").body]);
    check(&catalog).await;
}

/// Re-wrapping.
pub async fn rewrap_moves_what_still_exists(backend: &impl CatalogBackend) {
    let catalog = backend.open_migrated().await;
    let (acme, account_key) = begin(&catalog).await;
    let (kept, gone) = (open_one(&catalog, &acme, 1).await, open_one(&catalog, &acme, 2).await);
    let (row, key) = recording(&acme, 1, [1, 2]);
    add_recording(&catalog, &row, &key).await;
    let keys = catalog.list_keys_in_epoch(1, 10).await.expect("keys");
    assert_eq!(catalog.list_keys_in_epoch(1, 2).await.expect("keys").len(), 2);
    catalog.insert_epoch(&epoch(2)).await.expect("an epoch");
    catalog
        .shred(&shred(&acme, vec![gone.clone()]))
        .await
        .expect("shredded");
    let moved: Vec<KeyRow> = keys
        .iter()
        .map(|key| KeyRow {
            epoch: 2,
            wrapped: vec![8; 60],
            ..key.clone()
        })
        .collect();
    assert_eq!(
        catalog.rewrap(1, &moved).await.expect("moved"),
        3,
        "the shredded key stays away"
    );
    assert_eq!(catalog.rewrap(1, &moved).await.expect("moved"), 0);
    let back: Vec<KeyRow> = keys
        .iter()
        .map(|key| KeyRow {
            epoch: 1,
            ..key.clone()
        })
        .collect();
    let refused = catalog.rewrap(2, &back).await;
    assert!(matches!(refused, Err(StoreError::EpochClosed(1))), "{refused:?}");
    let found = catalog
        .find_keys(&acme, &[kept.key, gone.key, account_key])
        .await
        .expect("keys");
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|key| key.epoch == 2 && key.wrapped == vec![8; 60]));
    let other = "other".parse().expect("a name");
    assert!(
        catalog.find_keys(&other, &[kept.key]).await.expect("keys").is_empty(),
        "keys are their account's"
    );
    check(&catalog).await;
}

/// Epochs close while others insert keys.
pub async fn no_key_enters_a_closed_epoch(backend: &impl CatalogBackend) {
    let catalog = backend.open_migrated().await;
    let (acme, _) = begin(&catalog).await;
    let mut inserters = tokio::task::JoinSet::new();
    for worker in 0..4 {
        let (catalog, acme) = (
            if worker % 2 == 0 {
                catalog.clone()
            } else {
                backend.open().await
            },
            acme.clone(),
        );
        inserters.spawn(async move {
            let (mut epoch, mut inserted) = (1, 0);
            for number in 0..30 {
                let new = partition(&acme, Class::Call, worker * 1_000 + number, epoch);
                match catalog.open_partitions(&[new]).await {
                    Ok(_) => inserted += 1,
                    Err(StoreError::EpochClosed(_)) => {
                        epoch = catalog.list_epochs().await.expect("epochs").last().expect("one").epoch;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            inserted
        });
    }
    let closer = Arc::clone(&catalog);
    let mut in_closed = Vec::new();
    for number in 2..6 {
        closer.insert_epoch(&epoch(number)).await.expect("an epoch");
        in_closed.push((
            number - 1,
            closer.list_keys_in_epoch(number - 1, 1_000).await.expect("keys").len(),
        ));
        tokio::task::yield_now().await;
    }
    let inserted: usize = inserters.join_all().await.into_iter().sum();
    for (closed, then) in in_closed {
        let now = catalog.list_keys_in_epoch(closed, 1_000).await.expect("keys").len();
        assert_eq!(then, now, "epoch {closed} took keys after it was closed");
    }
    let open = catalog
        .list_epochs()
        .await
        .expect("epochs")
        .into_iter()
        .filter(|epoch| epoch.open)
        .count();
    assert_eq!(open, 1);
    let keys: u64 = catalog
        .list_epochs()
        .await
        .expect("epochs")
        .iter()
        .map(|epoch| epoch.live_keys)
        .sum();
    assert_eq!(keys, inserted as u64 + 1);
    check(&catalog).await;
}
