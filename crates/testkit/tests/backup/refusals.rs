//! What a restore refuses, finishes and revokes.

use std::sync::Arc;

use callvault_app::{
    Parts, Vault, VaultError,
    account::Role,
    backup::restore,
    session::{Lifetime, Method},
};
use callvault_store::files::Files;
use callvault_testkit::{
    fault::{Faults, Mode},
    world::Pair,
};
use tempfile::TempDir;

use super::{Scene, load_dump, take};

/// Dies after each call that changed something; nothing is served until a second restore has ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_restore_is_finished_by_another() {
    for pair in Pair::all() {
        let scene = Scene::new(pair).await;
        // The second backup's log is as long as the newest; only the first one's restore has to replay.
        let older = scene.from().await;
        scene.delete().await;
        let later = TempDir::new().unwrap();
        take(&scene.world, later.path()).await;
        let newer = Files::open(&later.path().join("objects")).await.unwrap();
        let log = Arc::clone(&scene.world.parts.objects);
        let keys = scene.world.folder.join("keys.sealed");
        for (folder, from) in [(scene.backup.path(), &older), (later.path(), &newer)] {
            let (mut n, mut half) = (0, 0);
            loop {
                let place = TempDir::new().unwrap();
                let (mut parts, _database) = scene.parts(pair, place.path(), &keys).await;
                parts.objects = Arc::new(Files::open(&place.path().join("objects")).await.unwrap());
                let faults = Faults::default();
                faults.arm(n, Mode::DiesAfter);
                let done = restore(folder, from, log.as_ref(), faults.wrap(&parts), true).await;
                let Some(struck) = faults.struck() else {
                    assert!(done.is_ok());
                    break;
                };
                let opened = Vault::open(parts.clone()).await;
                match opened {
                    Err(VaultError::CatalogMissing) => {}
                    Err(VaultError::RestoreUnfinished | VaultError::CatalogOlderThanLog { .. }) => half += 1,
                    Err(error) => panic!("{struck}: {error}"),
                    // All of it was done, and only the answer lost.
                    Ok(vault) => scene.assert_gone_and_kept(&vault, &struck).await,
                }
                match restore(folder, from, log.as_ref(), parts.clone(), true).await {
                    Ok((vault, _)) => scene.assert_gone_and_kept(&vault, &struck).await,
                    Err(error) => {
                        assert!(error.to_string().contains("not empty"), "{struck}: {error}");
                        let vault = Vault::open(parts).await.unwrap();
                        scene.assert_gone_and_kept(&vault, &struck).await;
                    }
                }
                n += 1;
            }
            assert!(half >= 4, "{half} of {n}");
        }
    }
}

/// A catalog that is there is never taken for the backup, older or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_over_another_catalog_is_refused() {
    let scene = Scene::new(Pair::Embedded).await;
    scene.delete().await;
    let place = TempDir::new().unwrap();
    let keys = scene.world.folder.join("keys.sealed");
    let (parts, _) = scene.parts(Pair::Embedded, place.path(), &keys).await;
    let older = Parts {
        catalog: load_dump(scene.backup.path(), &place.path().join("older")).await,
        ..parts
    };
    let (from, log) = (scene.from().await, Arc::clone(&scene.world.parts.objects));
    let refused = restore(scene.backup.path(), &from, log.as_ref(), older, true).await;
    let refused = refused.err().unwrap();
    assert!(refused.to_string().contains("not empty"), "{refused}");
}

/// A token that was revoked after the backup stays revoked, and so does a user who was removed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_revokes_the_backups_tokens() {
    let scene = Scene::new(Pair::Embedded).await;
    let vault = &scene.world.vault;
    let token = vault.create_token(&scene.account, Role::Developer).await.unwrap();
    let realm = vault.get_realm(Some(&scene.account)).await.unwrap();
    let invited = vault
        .invite_user(&realm, "asha@example.in", None, Role::Admin, None)
        .await;
    let (user, _) = invited.unwrap();
    let password = callvault_seal::password::PasswordHash::new(b"lotus under rain").unwrap();
    let user = vault.accept_invitation(&realm, user, None, &password).await.unwrap();
    let session = vault
        .begin_session(&realm, &user, Method::Password, None, None)
        .await
        .unwrap();
    let later = TempDir::new().unwrap();
    take(&scene.world, later.path()).await;
    vault.revoke_token(&scene.account, &token.token_key).await.unwrap();
    vault.delete_user(&realm, user.id(), None).await.unwrap();
    let from = Files::open(&later.path().join("objects")).await.unwrap();
    let (keys, log) = (
        scene.world.folder.join("keys.sealed"),
        Arc::clone(&scene.world.parts.objects),
    );
    for (keeps_tokens, revoked) in [(false, 1), (true, 0)] {
        let place = TempDir::new().unwrap();
        let (parts, _) = scene.parts(Pair::Embedded, place.path(), &keys).await;
        let (restored, report) = restore(later.path(), &from, log.as_ref(), parts, keeps_tokens)
            .await
            .unwrap();
        assert_eq!(report.tokens_revoked, revoked);
        let found = restored.find_caller(&token.token_key, &token.secret).await.unwrap();
        assert_eq!(found.is_some(), keeps_tokens);
        assert_eq!(report.users_disabled, u64::from(!keeps_tokens));
        let signed = restored.find_session(&session, Lifetime::default()).await.unwrap();
        assert_eq!(signed.is_some(), keeps_tokens);
    }
}

/// An empty catalog beside keys that are in use is a lost one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_catalog_is_restored_and_not_made_anew() {
    for pair in Pair::all() {
        let scene = Scene::new(pair).await;
        scene.delete().await;
        let place = TempDir::new().unwrap();
        let keys = scene.world.folder.join("keys.sealed");
        let (parts, _database) = scene.parts(pair, place.path(), &keys).await;
        let refused = Vault::open(parts.clone()).await.err().unwrap();
        assert!(matches!(refused, VaultError::CatalogMissing), "{refused}");
        let (from, log) = (scene.from().await, Arc::clone(&scene.world.parts.objects));
        let (vault, report) = restore(scene.backup.path(), &from, log.as_ref(), parts, true)
            .await
            .unwrap();
        scene.assert_restored(&vault, &report).await;
    }
}
