//! Schema, values, accounts, holds, tokens.

use callvault_core::{Class, Day, id::HoldId};
use callvault_store::{
    StoreError,
    rows::{AccountRow, HoldRow, KeyPurpose, TokenRow},
};
use futures::future::join_all;

use crate::conformance::{
    backends::CatalogBackend,
    checks::{check, conflicts},
    rows::{add_account, at, begin, fill, id, job, key, open_one, token},
};

/// Values.
pub async fn values_are_set_once_or_replaced(backend: &impl CatalogBackend) {
    let catalog = backend.open_migrated().await;
    assert_eq!(catalog.find_value("region").await.expect("a value"), None);
    assert_eq!(catalog.init_value("region", b"in").await.expect("a value"), b"in");
    assert_eq!(catalog.init_value("region", b"sg").await.expect("a value"), b"in");
    for name in ["hook/a/2", "hook/a/1", "hook/ab/1", "hook/b/1"] {
        catalog.put_value(name, name.as_bytes()).await.expect("a value");
    }
    assert!(catalog.delete_value("hook/b/1").await.expect("removed"));
    assert!(!catalog.delete_value("hook/b/1").await.expect("not there"));
    let listed = catalog.list_values("hook/a/").await.expect("values");
    let names: Vec<_> = listed.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["hook/a/1", "hook/a/2"]);
    assert_eq!(listed[0].1, b"hook/a/1");
    catalog.put_value("region", b"xx").await.expect("replaced");
    assert_eq!(
        catalog.find_value("region").await.expect("a value").as_deref(),
        Some(&b"xx"[..])
    );
    catalog.put_value("empty", b"").await.expect("an empty value");
    assert_eq!(
        catalog.find_value("empty").await.expect("a value").as_deref(),
        Some(&b""[..])
    );
}

/// Migrations.
pub async fn migrations_run_once_however_many_start(backend: &impl CatalogBackend) {
    let handles = join_all((0..6).map(|_| backend.open())).await;
    for migrated in join_all(handles.iter().map(|handle| handle.migrate())).await {
        migrated.expect("the schema");
    }
    handles[0].migrate().await.expect("again");
    handles[5].ping().await.expect("an answer");
    assert!(
        !handles[0].place().contains("://"),
        "no address with credentials: {}",
        handles[0].place()
    );
    handles[0].compact().await.expect("compacted");
}

/// Accounts.
pub async fn accounts_and_policies(backend: &impl CatalogBackend) {
    let catalog = backend.open_migrated().await;
    let (acme, acme_key) = begin(&catalog).await;
    for name in ["zeta", "a_b", "a-b", "a0b"] {
        add_account(&catalog, name).await;
    }
    let row = catalog.find_account(&acme).await.expect("read").expect("acme");
    assert_eq!((row.key, row.version, row.policy.as_str()), (acme_key, 1, "{}"));
    let again = AccountRow {
        created_at: at(9),
        ..row.clone()
    };
    conflicts(
        catalog
            .insert_account(&again, &key(&acme, KeyPurpose::Account, 1))
            .await,
    );

    let names = |rows: Vec<AccountRow>| rows.iter().map(|row| row.account.to_string()).collect::<Vec<_>>();
    let first = catalog.list_accounts(None, 3).await.expect("accounts");
    assert_eq!(names(first.clone()), ["a-b", "a0b", "a_b"], "in the order of bytes");
    let rest = catalog
        .list_accounts(Some(&first[2].account), 9)
        .await
        .expect("accounts");
    assert_eq!(names(rest), ["acme", "zeta"]);

    catalog
        .put_policy(&acme, "{\"v\":2}", 1, &[job("announce:1", "announce", at(0))])
        .await
        .expect("a policy");
    conflicts(
        catalog
            .put_policy(&acme, "{\"v\":3}", 1, &[job("announce:2", "announce", at(0))])
            .await,
    );
    let row = catalog.find_account(&acme).await.expect("read").expect("acme");
    assert_eq!((row.version, row.policy.as_str()), (2, "{\"v\":2}"));
    assert!(catalog.find_job("announce:1").await.expect("read").is_some());
    assert!(
        catalog.find_job("announce:2").await.expect("read").is_none(),
        "a conflict leaves no job"
    );
    check(&catalog).await;
}

/// Holds and tokens.
pub async fn holds_and_tokens(backend: &impl CatalogBackend) {
    let catalog = backend.open_migrated().await;
    let (acme, _) = begin(&catalog).await;
    let (other, _) = add_account(&catalog, "other").await;
    let holds: Vec<HoldRow> = (0..5)
        .map(|number| HoldRow {
            account: acme.clone(),
            hold: HoldId(id()),
            rule: format!("{{\"n\":{number}}}"),
            note: vec![number; 4],
            lifted_at: None,
        })
        .collect();
    for hold in &holds {
        catalog.insert_hold(hold).await.expect("a hold");
    }
    assert_eq!(catalog.list_holds(&acme).await.expect("holds"), holds, "oldest first");
    assert!(catalog.list_holds(&other).await.expect("holds").is_empty());
    assert!(
        !catalog
            .lift_hold(&other, holds[1].hold, "{}", at(3))
            .await
            .expect("no hold of another account")
    );
    assert!(
        catalog
            .lift_hold(&acme, holds[1].hold, "{\"lifted\":1}", at(3))
            .await
            .expect("lifted")
    );
    assert!(
        !catalog
            .lift_hold(&acme, holds[1].hold, "{}", at(4))
            .await
            .expect("lifted before")
    );
    let lifted = &catalog.list_holds(&acme).await.expect("holds")[1];
    assert_eq!(
        (lifted.lifted_at, lifted.rule.as_str()),
        (Some(at(3)), "{\"lifted\":1}")
    );

    let token = token(&acme, "k1", "developer");
    catalog.insert_token(&token).await.expect("a token");
    conflicts(
        catalog
            .insert_token(&TokenRow {
                account: other.clone(),
                ..token.clone()
            })
            .await,
    );
    assert_eq!(catalog.find_token("k1").await.expect("read"), Some(token.clone()));
    assert_eq!(catalog.find_token("k2").await.expect("read"), None);
    assert!(
        !catalog
            .revoke_token(&other, "k1", at(1))
            .await
            .expect("not of another account")
    );
    assert!(catalog.revoke_token(&acme, "k1", at(1)).await.expect("revoked"));
    assert!(!catalog.revoke_token(&acme, "k1", at(2)).await.expect("revoked before"));
    assert_eq!(
        catalog.list_tokens(&acme).await.expect("tokens")[0].revoked_at,
        Some(at(1))
    );
}

/// What a catalog of the first schema has is there afterwards, and the new tables work.
pub async fn an_older_catalog_is_brought_up_to_date(backend: &impl CatalogBackend) {
    let old = backend.open().await;
    old.migrate_to(1).await.expect("the first schema");
    let (acme, acme_key) = begin(&old).await;
    old.put_value("region", b"in").await.expect("a value");
    let partition = open_one(&old, &acme, 20_000).await;
    fill(&old, &partition, 3).await;
    assert!(
        old.list_users(Some(&acme)).await.is_err(),
        "the first schema has no users"
    );
    drop(old);
    let catalog = backend.open_migrated().await;
    let row = catalog.find_account(&acme).await.expect("read").expect("acme");
    assert_eq!(row.key, acme_key);
    assert_eq!(catalog.list_loose(&partition).await.expect("rows").len(), 3);
    let token = token(&acme, "k1", "owner");
    catalog.insert_token(&token).await.expect("a token");
    assert_eq!(catalog.find_token("k1").await.expect("read"), Some(token));
    assert_eq!(catalog.list_users(Some(&acme)).await.expect("users"), []);
    check(&catalog).await;
}

/// Another handle sees what the first one was told is done.
pub async fn a_restart_loses_nothing(backend: &impl CatalogBackend) {
    let catalog = backend.open_migrated().await;
    let (acme, _) = begin(&catalog).await;
    let partition = open_one(&catalog, &acme, 20_000).await;
    let rows = fill(&catalog, &partition, 40).await;
    drop(catalog);
    let catalog = backend.open_migrated().await;
    let row = catalog
        .find_partition(&acme, Class::Call, Day(20_000))
        .await
        .expect("read")
        .expect("a partition");
    assert_eq!((row.loose_rows, row.reference()), (40, partition.clone()));
    assert_eq!(
        catalog
            .find_loose(&partition, rows[7].sid)
            .await
            .expect("read")
            .as_ref(),
        Some(&rows[7])
    );
    let gone = catalog.find_partition(&acme, Class::Message, Day(20_000)).await;
    assert_eq!(gone.expect("read"), None);
    let missing = key(&"nobody".parse().expect("a name"), KeyPurpose::Partition, 1);
    let reference = callvault_store::rows::PartitionRef {
        account: missing.account.clone(),
        key: missing.key,
        ..partition
    };
    let refused = catalog.open_partitions(&[(reference, missing)]).await;
    assert!(matches!(refused, Err(StoreError::NotFound { .. })), "{refused:?}");
    check(&catalog).await;
}
