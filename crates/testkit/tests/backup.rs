//! Backups cannot bring it back: what was deleted after a backup stays deleted when the backup is restored, and the
//! backup's own files open nothing that was deleted once the epochs of its day are over.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "backup/refusals.rs"]
mod refusals;

use std::{path::Path, sync::Arc};

use callvault_app::{
    Parts, Vault, VaultError,
    backup::{Manifest, RestoreReport, restore},
    certificate,
    document::NewDocument,
    keys::KeyRing,
    read::Query,
};
use callvault_core::{AccountSid, Cause, Class, DocumentKind, Plan, Reader, Record, Sid, TimeUs};
use callvault_seal::provider::{PassphraseCost, SealedFile};
use callvault_store::{Catalog, Objects, files::Files, postgres::Postgres, rows::KeyRow, sqlite::Sqlite};
use callvault_testkit::{
    conformance::checks::check,
    services::postgres::Database,
    world::{PASSPHRASE, Pair, World, at, call, recording},
};
use futures::TryStreamExt;
use tempfile::TempDir;

const BACKED_UP: &str = "2027-03-02T03:00:00Z";
static AUDIO: [u8; 70_000] = [0x5a; 70_000];

/// A region with a backup in which everything is alive.
struct Scene {
    world: World,
    account: AccountSid,
    calls: Vec<Record>,
    old: Vec<Record>,
    recordings: Vec<Sid>,
    /// One that is deleted after the backup, one that stays.
    contacts: [Sid; 2],
    backup: TempDir,
    manifest: Manifest,
    /// The key file as it was on the day of the backup.
    old_keys: std::path::PathBuf,
}

impl Scene {
    async fn new(pair: Pair) -> Self {
        let world = World::new(pair, at("2027-03-01T12:00:00Z")).await;
        let account = world.account("acme", Plan::Growth).await;
        let day = at("2027-03-01T09:00:00Z");
        let calls: Vec<_> = (0..4_500)
            .map(|n| call(day.plus_seconds(i64::from(n)), n, n % 7, 100))
            .collect();
        let past = at("2026-03-02T13:00:00Z");
        let old: Vec<_> = (0..20)
            .map(|n| call(past.plus_seconds(i64::from(n)), 90_000 + n, 1, 2))
            .collect();
        world.vault.ingest(&account, &calls).await.unwrap();
        world.vault.ingest(&account, &old).await.unwrap();
        let mut recordings = Vec::new();
        for n in 0..3 {
            let new = recording(day.plus_seconds(i64::from(n)), n, 1, 2);
            recordings.push(world.vault.put_recording(&account, new, &AUDIO).await.unwrap());
        }
        world
            .vault
            .ingest(&account, &[call(day.plus_days(1).plus_seconds(-40_000), 95_000, 3, 4)])
            .await
            .unwrap();
        world.tick_at(at("2027-03-02T02:00:00Z")).await;
        let opened = world.vault.get_account(&account).await.unwrap();
        let contacts = [0, 1].map(|n| NewDocument {
            id: callvault_app::Account::fresh_sid(world.vault.now()).unwrap(),
            at: world.vault.now(),
            name: Some([n; 16]),
            body: n,
        });
        world
            .vault
            .insert_documents(&opened, DocumentKind::Contact, &contacts, None)
            .await
            .unwrap();
        // A deletion before the backup, so that its log is not empty.
        world
            .vault
            .delete_recordings(&account, &recordings.split_off(2), Cause::Request)
            .await
            .unwrap();
        world.clock.advance_to(at(BACKED_UP));
        let backup = TempDir::new().unwrap();
        let manifest = take(&world, backup.path()).await;
        let old_keys = world.folder.join("keys.of-that-day");
        std::fs::copy(world.folder.join("keys.sealed"), &old_keys).unwrap();
        Self {
            world,
            account,
            calls,
            old,
            recordings,
            contacts: contacts.map(|contact| contact.id),
            backup,
            manifest,
            old_keys,
        }
    }

    /// Deletes a recording, hides two records, and lets a day's partition lapse.
    async fn delete(&self) -> Vec<u64> {
        let (vault, account) = (&self.world.vault, &self.account);
        let mut leaves = vault
            .delete_recordings(account, &self.recordings[..1], Cause::Request)
            .await
            .unwrap();
        let sids = [self.calls[3].sid(), self.calls[4].sid()];
        leaves.extend(
            vault
                .erase_records(account, Class::Call, &sids, ERASES_CALLS)
                .await
                .unwrap(),
        );
        leaves.extend(
            vault
                .delete_documents(account, DocumentKind::Contact, &self.contacts[..1], Cause::Request)
                .await
                .unwrap(),
        );
        let report = self.world.tick_at(at("2027-03-03T00:00:00Z")).await;
        assert_eq!(report.shredded.len(), 1, "{report:?}");
        leaves.push(report.shredded[0].log_index);
        vault.publish().await.unwrap();
        leaves
    }

    fn from(&self) -> impl Future<Output = Files> {
        let folder = self.backup.path().join("objects");
        async move { Files::open(&folder).await.unwrap() }
    }

    /// Parts of a region that has lost its catalog.
    async fn parts(&self, pair: Pair, place: &Path, keys: &Path) -> (Parts, Option<Database>) {
        let (catalog, database) = empty_catalog(pair, place).await;
        let provider = World::provider(keys);
        (
            Parts {
                catalog,
                provider,
                ..self.world.parts.clone()
            },
            database,
        )
    }

    async fn assert_restored(&self, vault: &Vault, report: &RestoreReport) {
        self.assert_gone_and_kept(vault, "restored").await;
        assert_eq!((report.erased_again, report.dead_keys), (2, 0), "{report:?}");
        assert_eq!(
            report.destroyed_again, 3,
            "a recording's key, a contact's and a partition's: {report:?}"
        );
    }

    async fn assert_gone_and_kept(&self, vault: &Vault, place: &str) {
        let account = &self.account;
        for reader in [Reader::Account, Reader::Compliance] {
            for gone in [&self.calls[3], &self.calls[4], &self.old[0], &self.old[19]] {
                let found = vault.get_record(account, Class::Call, gone.sid(), reader).await;
                assert!(
                    matches!(found, Err(VaultError::NotFound { .. })),
                    "a deleted record is back: {place}"
                );
            }
            let found = vault.get_recording(account, self.recordings[0], reader).await;
            assert!(
                matches!(found, Err(VaultError::NotFound { .. })),
                "a deleted recording is back: {place}"
            );
        }
        let opened = vault.get_account(account).await.unwrap();
        let (kind, ids) = (DocumentKind::Contact, &self.contacts);
        let found = vault
            .find_documents::<u8>(&opened, kind, ids, Reader::Compliance)
            .await
            .unwrap();
        let found: Vec<u8> = found.iter().map(|contact| contact.body).collect();
        assert_eq!(found, [1], "of two contacts one was deleted: {place}");
        for kept in [0, 2, 5, 4_499] {
            let found = vault
                .get_record(account, Class::Call, self.calls[kept].sid(), Reader::Account)
                .await
                .unwrap();
            assert!(found == self.calls[kept]);
        }
        let query = Query {
            limit: 1_000,
            from: Some(at("2027-03-01T09:00:00Z")),
            newest_first: false,
            ..Query::default()
        };
        let page = vault
            .list_records(account, Class::Call, &query, Reader::Account)
            .await
            .unwrap();
        assert!(page.records[3] == self.calls[5] && page.records.len() == 1_000);
        assert!(audio(vault, account, self.recordings[1]).await.unwrap() == AUDIO);
        check(vault.catalog()).await;
    }
}

/// The one cause for which single calls may go before their term.
const ERASES_CALLS: Cause = Cause::IngestError;

async fn take(world: &World, folder: &Path) -> Manifest {
    let to = Files::open(&folder.join("objects")).await.unwrap();
    world.vault.backup(folder, &to, &mut |_| {}).await.unwrap()
}

async fn empty_catalog(pair: Pair, place: &Path) -> (Arc<dyn Catalog>, Option<Database>) {
    match pair {
        Pair::Embedded => (Arc::new(Sqlite::open(&place.join("new.db")).await.unwrap()), None),
        Pair::Scaled => {
            let database = Database::create();
            (
                Arc::new(Postgres::open(&database.address()).await.unwrap()),
                Some(database),
            )
        }
    }
}

async fn audio(vault: &Vault, account: &AccountSid, sid: Sid) -> Result<Vec<u8>, VaultError> {
    let stream = vault
        .read_recording(account, sid, 0..u64::MAX, Reader::Compliance)
        .await?;
    Ok(stream.try_collect::<Vec<_>>().await?.concat())
}

async fn load_dump(backup: &Path, place: &Path) -> Arc<dyn Catalog> {
    let (catalog, _) = empty_catalog(Pair::Embedded, place).await;
    catalog.migrate().await.unwrap();
    let dump = std::fs::read(backup.join("catalog.dump")).unwrap();
    catalog.load(&mut &dump[..], &[]).await.unwrap();
    catalog
}

/// Every wrapped key of a catalog.
async fn all_keys(catalog: &Arc<dyn Catalog>) -> Vec<KeyRow> {
    let mut keys = Vec::new();
    for epoch in catalog.list_epochs().await.unwrap() {
        keys.extend(catalog.list_keys_in_epoch(epoch.epoch, u32::MAX).await.unwrap());
    }
    keys
}

/// How many of a backup's keys a key file opens.
async fn count_opened(catalog: &Arc<dyn Catalog>, keys: &Path) -> usize {
    let ring = KeyRing::new("in", World::provider(keys), Arc::clone(catalog));
    ring.load().await.unwrap();
    let mut opened = 0;
    for row in all_keys(catalog).await {
        opened += usize::from(ring.open(&row).await.unwrap().is_some());
    }
    opened
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_destroys_again_what_was_deleted_after_the_backup() {
    for pair in Pair::all() {
        let scene = Scene::new(pair).await;
        let leaves = scene.delete().await;
        let from = scene.from().await;
        // The catalog is lost; the object store and the key file are not.
        let place = TempDir::new().unwrap();
        let (parts, _database) = scene
            .parts(pair, place.path(), &scene.world.folder.join("keys.sealed"))
            .await;
        let log = Arc::clone(&scene.world.parts.objects);
        let (vault, report) = restore(scene.backup.path(), &from, log.as_ref(), parts, true)
            .await
            .unwrap();
        scene.assert_restored(&vault, &report).await;
        // The log goes on where it was, and certificates can still be checked.
        let key = vault.verifier_key();
        let old = vault.publish().await.unwrap();
        let more = vault
            .delete_recordings(&scene.account, &scene.recordings[1..2], Cause::Request)
            .await
            .unwrap();
        assert_eq!(vault.publish().await.unwrap(), old + 1);
        assert!(!vault.prove_extension(old, old + 1).await.unwrap().is_empty());
        let text = vault.certificate(&scene.account, more[0]).await.unwrap();
        certificate::verify(&text, &key).unwrap();
        assert!(leaves.iter().all(|leaf| *leaf < old));
        for leaf in &leaves {
            vault.prove_leaf(*leaf).await.unwrap();
        }
        scene.world.clock.advance_to(at("2027-03-05T06:00:00Z"));
        let ticked = vault.tick().await;
        assert!(ticked.failures.is_empty() && ticked.rewritten >= 1, "{ticked:?}");
        let found = vault
            .get_record(&scene.account, Class::Call, scene.calls[5].sid(), Reader::Account)
            .await
            .unwrap();
        assert!(found == scene.calls[5]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_needs_the_log_and_brings_back_lost_objects() {
    for pair in Pair::all() {
        let scene = Scene::new(pair).await;
        scene.delete().await;
        let from = scene.from().await;
        // The object store is lost too; the log was mirrored.
        let mirror = TempDir::new().unwrap();
        let log = Files::open(mirror.path()).await.unwrap();
        for part in scene.world.parts.objects.list("log/").await.unwrap() {
            log.put(&part.name, scene.world.parts.objects.get(&part.name).await.unwrap())
                .await
                .unwrap();
        }
        let place = TempDir::new().unwrap();
        let keys = scene.world.folder.join("keys.sealed");
        let (mut parts, _database) = scene.parts(pair, place.path(), &keys).await;
        parts.objects = Arc::new(Files::open(&place.path().join("objects")).await.unwrap());

        // The backup's own log ends before the deletions: nothing is restored with it, and nothing served.
        let refused = restore(scene.backup.path(), &from, &from, parts.clone(), true)
            .await
            .err()
            .unwrap();
        assert!(refused.to_string().contains("could come back"), "{refused}");
        // Without its manifest, or with half a dump, it is no backup.
        let broken = TempDir::new().unwrap();
        std::fs::copy(
            scene.backup.path().join("catalog.dump"),
            broken.path().join("catalog.dump"),
        )
        .unwrap();
        assert!(restore(broken.path(), &from, &log, parts.clone(), true).await.is_err());
        std::fs::copy(
            scene.backup.path().join("manifest.json"),
            broken.path().join("manifest.json"),
        )
        .unwrap();
        let dump = std::fs::read(broken.path().join("catalog.dump")).unwrap();
        std::fs::write(broken.path().join("catalog.dump"), &dump[..dump.len() - 30]).unwrap();
        assert!(restore(broken.path(), &from, &log, parts.clone(), true).await.is_err());
        assert!(
            parts.catalog.list_accounts(None, 10).await.unwrap().is_empty(),
            "nothing was restored"
        );

        let (vault, report) = restore(scene.backup.path(), &from, &log, parts.clone(), true)
            .await
            .unwrap();
        scene.assert_restored(&vault, &report).await;
        assert!(report.objects >= 2, "{report:?}");
        // An older catalog is not served, whoever copies it into place.
        let again = TempDir::new().unwrap();
        let catalog = load_dump(scene.backup.path(), again.path()).await;
        let refused = Vault::open(Parts { catalog, ..parts }).await.err().unwrap();
        assert!(matches!(refused, VaultError::CatalogOlderThanLog { .. }), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forked_log_is_refused() {
    let scene = Scene::new(Pair::Embedded).await;
    // Somebody with the keys of that day runs a copy of the region, where other things are deleted.
    let place = TempDir::new().unwrap();
    let copy = Parts {
        catalog: load_dump(scene.backup.path(), place.path()).await,
        objects: scene.from().await.into_arc(),
        provider: World::provider(&scene.old_keys),
        ..scene.world.parts.clone()
    };
    let forked = Vault::open(copy.clone()).await.unwrap();
    for sid in scene.recordings.iter().rev() {
        forked
            .delete_recordings(&scene.account, &[*sid], Cause::Request)
            .await
            .unwrap();
    }
    for n in 0..20 {
        forked
            .create_account(&format!("other{n}").parse().unwrap(), Plan::Growth, "IN")
            .await
            .unwrap();
        forked
            .close_account(&format!("other{n}").parse().unwrap())
            .await
            .unwrap();
    }
    forked.publish().await.unwrap();

    scene.delete().await;
    let later = TempDir::new().unwrap();
    take(&scene.world, later.path()).await;
    let from = Files::open(&later.path().join("objects")).await.unwrap();
    let keys = scene.world.folder.join("keys.sealed");
    let (parts, _) = scene
        .parts(Pair::Embedded, place.path().join("a").as_path(), &keys)
        .await;
    let refused = restore(later.path(), &from, copy.objects.as_ref(), parts, true)
        .await
        .err()
        .unwrap();
    assert!(refused.to_string().contains("does not continue"), "{refused}");

    // A log with one changed entry does not lead to its checkpoint.
    let changed = TempDir::new().unwrap();
    let log = Files::open(changed.path()).await.unwrap();
    for part in scene.world.parts.objects.list("log/").await.unwrap() {
        let mut bytes = scene.world.parts.objects.get(&part.name).await.unwrap().to_vec();
        if part.name.contains("/entries/") {
            let last = bytes.len() - 20;
            bytes[last] ^= 1;
        }
        log.put(&part.name, bytes.into()).await.unwrap();
    }
    let (parts, _) = scene
        .parts(Pair::Embedded, place.path().join("b").as_path(), &keys)
        .await;
    let refused = restore(scene.backup.path(), &from, &log, parts, true)
        .await
        .err()
        .unwrap();
    assert!(matches!(refused, VaultError::Invalid { field: "log", .. }), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_store_made_anew_restores_nothing() {
    let scene = Scene::new(Pair::Embedded).await;
    let place = TempDir::new().unwrap();
    let keys = place.path().join("new.sealed");
    SealedFile::create(&keys, PASSPHRASE.as_bytes(), PassphraseCost::TEST).unwrap();
    let (parts, _) = scene.parts(Pair::Embedded, place.path(), &keys).await;
    let (from, log) = (scene.from().await, scene.world.parts.objects.as_ref());
    let catalog = Arc::clone(&parts.catalog);
    let refused = restore(scene.backup.path(), &from, log, parts, true)
        .await
        .err()
        .unwrap();
    assert!(
        matches!(refused, VaultError::Invalid { field: "keys", .. }),
        "{refused}"
    );
    catalog.migrate().await.unwrap();
    assert_eq!(catalog.find_value("region").await.unwrap(), None, "nothing was loaded");
}

/// With today's key file a backup opens nothing that was deleted; a copy of that day's key file is the one thing that
/// does, which is why the documented rule is to destroy such copies within the purge deadline (docs/backup.md).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_the_epochs_are_over_the_backup_opens_nothing() {
    let scene = Scene::new(Pair::Embedded).await;
    scene.delete().await;
    let now = scene.world.folder.join("keys.sealed");
    let place = TempDir::new().unwrap();
    let dump = load_dump(scene.backup.path(), place.path()).await;
    let all = all_keys(&dump).await.len();
    assert!(all >= 5);
    assert_eq!(
        count_opened(&dump, &now).await,
        all,
        "before the epochs are over the files open: the test can fail"
    );
    let mut over_at = None;
    for day in 1..=31 {
        let moment = at("2027-03-03T00:00:00Z").plus_days(day);
        scene.world.tick_at(moment).await;
        if over_at.is_none() && count_opened(&dump, &now).await == 0 {
            over_at = Some(moment);
        }
    }
    assert_eq!(count_opened(&dump, &now).await, 0);
    let (promised, deadline) = (scene.manifest.restorable_until, at(BACKED_UP).plus_days(30));
    let over_at: TimeUs = over_at.unwrap();
    assert!(
        promised <= over_at && over_at <= deadline,
        "{promised} {over_at} {deadline}"
    );

    // What is alive is alive, in today's epochs.
    let vault = &scene.world.vault;
    assert!(audio(vault, &scene.account, scene.recordings[1]).await.unwrap() == AUDIO);
    let (parts, _) = scene.parts(Pair::Embedded, &place.path().join("late"), &now).await;
    let late = restore(
        scene.backup.path(),
        &scene.from().await,
        scene.world.parts.objects.as_ref(),
        parts,
        true,
    )
    .await;
    let late = late.map(|(_, report)| report.dead_keys);
    assert!(
        late.as_ref().map_or(true, |dead| *dead > 0),
        "too late is said: {late:?}"
    );

    // The copy of that day's key file, if it was kept against the rule, opens the deleted recording.
    assert_eq!(count_opened(&dump, &scene.old_keys).await, all);
    let kept = Parts {
        catalog: dump,
        objects: scene.from().await.into_arc(),
        provider: World::provider(&scene.old_keys),
        clock: Arc::new(callvault_app::ManualClock::new(at(BACKED_UP))),
        ..scene.world.parts.clone()
    };
    let kept = Vault::open(kept).await.unwrap();
    assert!(audio(&kept, &scene.account, scene.recordings[0]).await.unwrap() == AUDIO);
}

trait IntoArc {
    fn into_arc(self) -> Arc<dyn Objects>;
}

impl IntoArc for Files {
    fn into_arc(self) -> Arc<dyn Objects> {
        Arc::new(self)
    }
}
