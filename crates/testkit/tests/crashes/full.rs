//! Full disks and a lost database under a whole vault.

use std::sync::Arc;

use callvault_app::{Parts, Vault};
use callvault_core::Reader;
use callvault_store::{
    postgres::{Limits, Postgres},
    sqlite::Sqlite,
};
use callvault_testkit::{
    services::{
        goes_without,
        proxy::{Mode, Proxy},
        quota::Quota,
    },
    world::{Pair, World, at, call, recording},
};

use super::{DAY, START, acme, count_calls, find_audio, settle};

fn is_full(error: &callvault_app::VaultError) -> bool {
    matches!(
        error,
        callvault_app::VaultError::Store(callvault_store::StoreError::Full { .. })
    )
}

#[tokio::test]
async fn a_full_catalog_refuses_and_keeps_what_it_acknowledged() {
    let mut world = World::new(Pair::Embedded, at(START)).await;
    let account = acme(&world).await;
    let catalog = Arc::new(
        Sqlite::open_limited(&world.folder.join("catalog.db"), Some(300))
            .await
            .unwrap(),
    );
    let vault = Vault::open(Parts {
        catalog,
        ..world.parts.clone()
    })
    .await
    .unwrap();
    let (mut kept, mut refused) = (0, None);
    for n in 0..500_u32 {
        let records: Vec<_> = (0..50)
            .map(|i| call(at(DAY).plus_seconds(i64::from(n)), n * 50 + i, i, 100))
            .collect();
        match vault.ingest(&account, &records).await {
            Ok(_) => kept += 50,
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    assert!(refused.as_ref().is_some_and(is_full), "{refused:?}");
    assert_eq!(
        count_calls(&vault, &account, Reader::Account).await,
        kept,
        "reading goes on"
    );
    drop(vault);
    world.restart().await;
    assert_eq!(count_calls(&world.vault, &account, Reader::Account).await, kept);
    settle(&world, "full catalog").await;
    assert_eq!(count_calls(&world.vault, &account, Reader::Account).await, kept);
}

#[tokio::test]
async fn a_full_object_store_refuses_and_loses_nothing() {
    let mut world = World::new(Pair::Embedded, at(START)).await;
    let account = acme(&world).await;
    let quota = Quota::new(Arc::clone(&world.parts.objects), 250_000);
    let objects = Arc::new(quota.clone());
    let vault = Vault::open(Parts {
        objects,
        ..world.parts.clone()
    })
    .await
    .unwrap();
    let records: Vec<_> = (0..4_000)
        .map(|n| call(at(DAY).plus_seconds(i64::from(n)), n, n % 9, 100))
        .collect();
    vault.ingest(&account, &records).await.unwrap();
    let audio = vec![9; 100_000];
    let mut kept = Vec::new();
    for n in 0..5 {
        match vault
            .put_recording(&account, recording(at(DAY).plus_seconds(n), n as u32, 1, 2), &audio)
            .await
        {
            Ok(sid) => kept.push(sid),
            Err(error) => assert!(is_full(&error), "{error}"),
        }
    }
    assert_eq!(kept.len(), 2);
    world.clock.advance_to(at("2027-03-02T02:00:00Z"));
    let report = vault.tick().await;
    assert!(!report.failures.is_empty(), "a tick that cannot seal says so");
    assert_eq!(count_calls(&vault, &account, Reader::Account).await, 4_000);
    drop(vault);
    world.restart().await;
    settle(&world, "full object store").await;
    assert_eq!(count_calls(&world.vault, &account, Reader::Account).await, 4_000);
    for sid in kept {
        assert!(find_audio(&world.vault, &account, sid).await.unwrap() == audio);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_database_connection_loses_nothing() {
    if goes_without("postgres") | goes_without("s3") {
        return;
    }
    let mut world = World::new(Pair::Scaled, at(START)).await;
    let account = acme(&world).await;
    let database = world.database.as_ref().unwrap();
    let proxy = Proxy::start(database.host()).await;
    let second = std::time::Duration::from_secs(1);
    let limits = Limits {
        connections: 4,
        connect: second,
        answer: second,
    };
    let catalog = Postgres::open_with(&database.address_through(proxy.port()), limits)
        .await
        .unwrap();
    let vault = Arc::new(
        Vault::open(Parts {
            catalog: Arc::new(catalog),
            ..world.parts.clone()
        })
        .await
        .unwrap(),
    );
    let (mut acknowledged, mut lost) = (Vec::new(), 0);
    for round in 0..12_u32 {
        // The line is cut while calls are on their way.
        let working = tokio::spawn({
            let (vault, account) = (Arc::clone(&vault), account.clone());
            async move {
                let mut done = Vec::new();
                let mut failed = 0;
                for n in 0..40_u32 {
                    let tail = round * 1_000 + n;
                    let record = call(at(DAY).plus_seconds(i64::from(tail)), tail, n, 100);
                    match vault.ingest(&account, std::slice::from_ref(&record)).await {
                        Ok(_) => done.push(record.sid()),
                        Err(_) => {
                            failed += 1;
                            break;
                        }
                    }
                }
                (done, failed)
            }
        });
        for _ in 0..round * 20 {
            tokio::task::yield_now().await;
        }
        proxy.set(if round % 3 == 2 { Mode::Stall } else { Mode::Cut });
        let (done, failed) = working.await.unwrap();
        lost += failed;
        acknowledged.extend(done);
        proxy.set(Mode::Pass);
    }
    assert!(lost > 3, "the line was cut while something was on it");
    proxy.set(Mode::Cut);
    let report = vault.tick().await;
    assert!(!report.failures.is_empty());
    drop(vault);
    world.restart().await;
    for sid in &acknowledged {
        let found = world
            .vault
            .get_record(&account, callvault_core::Class::Call, *sid, Reader::Account)
            .await;
        assert!(found.is_ok(), "an acknowledged call is missing");
    }
    settle(&world, "lost connection").await;
    assert!(count_calls(&world.vault, &account, Reader::Account).await >= acknowledged.len());
}
