//! Backup and restore (spec 5.1): taken while the vault runs, and unable to bring back what was deleted.
//!
//! A backup is a folder: `manifest.json`, `catalog.dump`, `objects/` with every object the catalog named, `log/` with the
//! published log. It holds ciphertext and wrapped keys; the roots stay with the key provider. Keys that were destroyed
//! after the backup are wrapped in it under epochs that end within the purge deadline, and a restore destroys them again
//! before it serves a read.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use callvault_core::{AccountSid, Class, KeyId, Sid, TimeUs, hold::Cause, id::Subject, proof::LeafBody};
use callvault_seal::log::{Checkpoint, decode_bundle, entry_bundle_path, grow, leaf_hash};
use callvault_store::{
    Objects, StoreError,
    catalog::object_names,
    rows::{RecordingQuery, Tombstone},
};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncWriteExt, BufReader};

use crate::{
    error::{Result, VaultError},
    forecast::all_days,
    partition::CLASSES,
    publish::{find_checkpoint, log_object, with_tiles},
    vault::{Parts, REGION, RESTORING, Vault, is_restoring},
};

const MANIFEST: &str = "manifest.json";
const DUMP: &str = "catalog.dump";
/// Log entries taken over at once.
const REPLAY_BATCH: u64 = 4_096;

/// What a backup holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the layout.
    pub version: u32,
    /// Region.
    pub region: String,
    /// When it was begun.
    pub taken_at: TimeUs,
    /// Until when the epochs that wrap its keys are sure to live; after that it can no longer be opened.
    pub restorable_until: TimeUs,
    /// Log entries in it.
    pub log_size: u64,
    /// Objects in it.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The objects that are in a backup already.
#[derive(Default)]
struct Copied {
    names: BTreeSet<String>,
    bytes: u64,
}

/// What a restore did.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RestoreReport {
    /// Log entries that came after the backup and were taken over.
    pub replayed: u64,
    /// Keys that the backup held and a later entry destroyed.
    pub destroyed_again: u64,
    /// Records hidden again.
    pub erased_again: u64,
    /// Objects copied back.
    pub objects: u64,
    /// Tokens that the backup holds and that were in force: which of them were revoked since is not known, so all are.
    pub tokens_revoked: u64,
    /// Users who were disabled, with every session ended.
    pub users_disabled: u64,
    /// When the backup was taken. Holds, retention settings and floors are those of then.
    pub taken_at: TimeUs,
    /// Keys whose epoch is over: what they open is lost. Zero for a backup within its time.
    pub dead_keys: u64,
}

fn in_file(what: &str) -> impl Fn(std::io::Error) -> VaultError + '_ {
    move |source| VaultError::File {
        what: what.to_owned(),
        source,
    }
}

impl Vault {
    /// Takes a backup into an empty or new folder, which `to` writes to, while the vault goes on working. `report` is
    /// told the number of objects copied.
    ///
    /// # Errors
    /// Those of the stores; a backup without a manifest is none.
    pub async fn backup(
        &self,
        folder: &Path,
        to: &dyn Objects,
        report: &mut (dyn FnMut(u64) + Send),
    ) -> Result<Manifest> {
        let taken_at = self.now();
        if tokio::fs::try_exists(folder.join(MANIFEST))
            .await
            .map_err(in_file("backup folder"))?
        {
            return Err(VaultError::invalid(
                "folder",
                "holds a backup already; choose a new one",
            ));
        }
        self.publish().await?;
        let mut copied = Copied::default();
        // Before the dump, so that what is merged or written anew meanwhile is here for the dump that still names it.
        self.copy_named(to, &mut copied, report).await?;
        let mut file = tokio::fs::File::create(folder.join(DUMP))
            .await
            .map_err(in_file("catalog dump"))?;
        self.catalog.dump(&mut file).await?;
        file.flush().await.map_err(in_file("catalog dump"))?;
        file.sync_all().await.map_err(in_file("catalog dump"))?;
        // After it, for what came meanwhile.
        self.copy_named(to, &mut copied, report).await?;
        for object in self.objects.list("log/").await? {
            to.put(&object.name, self.objects.get(&object.name).await?).await?;
        }
        let log_size = match find_checkpoint(to).await? {
            Some(note) => Checkpoint::open(&note, self.signer.verifier_key())?.size,
            None => 0,
        };
        let newest = self
            .catalog
            .list_epochs()
            .await?
            .last()
            .map_or(taken_at, |epoch| epoch.created_at);
        let manifest = Manifest {
            version: 1,
            region: self.region.clone(),
            taken_at,
            restorable_until: TimeUs(newest.0.saturating_add(self.purge.epoch_life_us())),
            log_size,
            objects: copied.names.len() as u64,
            bytes: copied.bytes,
        };
        let json = serde_json::to_vec_pretty(&manifest).unwrap_or_default();
        let mut file = tokio::fs::File::create(folder.join(MANIFEST))
            .await
            .map_err(in_file("manifest"))?;
        file.write_all(&json).await.map_err(in_file("manifest"))?;
        file.sync_all().await.map_err(in_file("manifest"))?;
        Ok(manifest)
    }

    /// Copies the objects that the catalog names now and that are not copied yet.
    async fn copy_named(
        &self,
        to: &dyn Objects,
        copied: &mut Copied,
        report: &mut (dyn FnMut(u64) + Send),
    ) -> Result<()> {
        for name in self.named_objects().await? {
            if copied.names.contains(&name) {
                continue;
            }
            match self.objects.get(&name).await {
                Ok(content) => {
                    copied.bytes += content.len() as u64;
                    to.put(&name, content).await?;
                    copied.names.insert(name);
                    report(copied.names.len() as u64);
                }
                // Objects never change: one that is named and gone was destroyed or replaced meanwhile.
                Err(StoreError::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Every object that the catalog names.
    pub(crate) async fn named_objects(&self) -> Result<BTreeSet<String>> {
        let mut names = BTreeSet::new();
        for sid in self.list_accounts().await? {
            for class in CLASSES {
                for partition in self.catalog.list_partitions(&sid, class, all_days()).await? {
                    for segment in self.catalog.list_segments(&partition.reference()).await? {
                        if segment.packed.is_none() {
                            names.insert(object_names::segment(&sid, segment.segment));
                            names.insert(object_names::locator(&sid, segment.segment));
                        }
                    }
                }
            }
            let mut query = RecordingQuery {
                limit: 1_000,
                ..RecordingQuery::default()
            };
            loop {
                let rows = self.catalog.list_recordings(&sid, &query).await?;
                let Some(last) = rows.last() else { break };
                query.after = Some((last.at, last.sid));
                names.extend(rows.iter().map(|row| object_names::recording(&sid, row.object)));
            }
        }
        Ok(names)
    }
}

/// Restores a backup into an empty catalog. What was destroyed after the backup is destroyed again before this
/// returns, and the catalog cannot be opened for reading until it is.
///
/// `log` is where the newest log is: the region's object store, or a mirror of it. `objects` may be the surviving
/// object store; what it lacks is copied back. Tokens are revoked and users disabled unless
/// `keeps_tokens`: one that was revoked after the backup would be in force again.
///
/// # Errors
/// [`VaultError::Invalid`] when the key store holds no key, or `log` is older than the log that the key store has seen;
/// then nothing was restored. When `log` does not continue the backup's, the catalog is loaded and stays closed; a
/// restore with the right log goes on from there.
pub async fn restore(
    folder: &Path,
    from: &dyn Objects,
    log: &dyn Objects,
    parts: Parts,
    keeps_tokens: bool,
) -> Result<(Vault, RestoreReport)> {
    let json = tokio::fs::read(folder.join(MANIFEST))
        .await
        .map_err(in_file("manifest"))?;
    let manifest: Manifest = serde_json::from_slice(&json)
        .map_err(|_| VaultError::invalid("folder", "its manifest is not readable; it is no whole backup"))?;
    if manifest.region != parts.region {
        return Err(VaultError::invalid(
            "folder",
            format!("it is a backup of region {}", manifest.region),
        ));
    }
    if parts.provider.list_epoch_roots()?.is_empty() {
        return Err(VaultError::invalid(
            "keys",
            "the key store holds no key: put the region's key file (or token) in place, then restore",
        ));
    }
    let seen = parts.provider.log_size()?;
    let newest = match find_checkpoint(log).await? {
        Some(note) => Some((unverified_size(&note)?, note)),
        None => None,
    };
    let available = newest.as_ref().map_or(0, |(size, _)| *size);
    if available < seen.max(manifest.log_size) {
        return Err(VaultError::invalid(
            "log",
            format!(
                "it ends at entry {available}, but the key store has seen {} entries: what was deleted since could \
                 come back; give the newest copy of the log",
                seen.max(manifest.log_size)
            ),
        ));
    }
    parts.catalog.migrate().await?;
    let dump = tokio::fs::File::open(folder.join(DUMP))
        .await
        .map_err(in_file("catalog dump"))?;
    let mut report = RestoreReport {
        taken_at: manifest.taken_at,
        ..RestoreReport::default()
    };
    // With the mark the catalog cannot be opened; a restore that is interrupted after this goes on from here.
    if parts.catalog.find_value(REGION).await?.is_none() {
        let mark: (&str, &[u8]) = (RESTORING, b"1");
        parts.catalog.load(&mut BufReader::new(dump), &[mark]).await?;
    } else if !is_restoring(parts.catalog.as_ref()).await? {
        let reason = "the region's catalog is not empty; move it away, a restore goes into an empty one";
        return Err(VaultError::invalid("catalog", reason));
    }
    let now = parts.clock.now();
    let objects = Arc::clone(&parts.objects);
    let vault = Vault::open_unchecked(parts.clone()).await?;
    // The objects come first: the replay looks for hidden records in them.
    for name in vault.named_objects().await? {
        if objects.find_size(&name).await?.is_none() {
            match from.get(&name).await {
                Ok(bytes) => {
                    objects.put(&name, bytes).await?;
                    report.objects += 1;
                }
                Err(StoreError::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    if let Some((size, note)) = newest {
        Checkpoint::open(&note, vault.signer.verifier_key())?;
        replay(&vault, log, size, &note, now, &mut report).await?;
        copy_log(log, objects.as_ref()).await?;
    }
    vault
        .catalog
        .put_value("log-published", available.to_string().as_bytes())
        .await?;
    if !keeps_tokens {
        report.tokens_revoked = revoke_tokens(&vault, now).await?;
        report.users_disabled = vault.catalog.disable_all_users(now).await?;
    }
    for epoch in vault.catalog.list_epochs().await? {
        if !vault.keys.provider().list_epoch_roots()?.contains(&epoch.epoch) {
            report.dead_keys += epoch.live_keys;
        }
    }
    vault.catalog.put_value(RESTORING, b"").await?;
    drop(vault);
    Ok((Vault::open(parts).await?, report))
}

/// Revokes every token. Returns how many were in force.
async fn revoke_tokens(vault: &Vault, now: TimeUs) -> Result<u64> {
    let mut revoked = 0;
    for sid in vault.list_accounts().await? {
        for token in vault.catalog.list_tokens(&sid).await? {
            revoked += u64::from(vault.catalog.revoke_token(&sid, &token.token_key, now).await?);
        }
    }
    Ok(revoked)
}

fn unverified_size(note: &str) -> Result<u64> {
    let size = note.lines().nth(1).and_then(|line| line.parse().ok());
    size.ok_or_else(|| VaultError::invalid("log", "its checkpoint is not readable"))
}

/// Takes over every entry after the catalog's last, after checking that the log really continues what the catalog has
/// and leads to the signed root.
async fn replay(
    vault: &Vault,
    log: &dyn Objects,
    size: u64,
    note: &str,
    now: TimeUs,
    report: &mut RestoreReport,
) -> Result<()> {
    let start = vault.catalog.log_size().await?;
    let entries = read_entries(log, 0, size).await?;
    let own = vault.catalog.list_leaves(0..start).await?;
    let forked = || VaultError::invalid("log", "it does not continue the backup's log");
    if own.len() > entries.len() || own.iter().zip(&entries).any(|(own, entry)| own != entry) {
        return Err(forked());
    }
    let hashes: Vec<_> = entries.iter().map(|entry| leaf_hash(entry)).collect();
    let growth = with_tiles(log, 0, |reader| grow(0, &hashes, reader)).await?;
    if growth.root != Checkpoint::open(note, vault.signer.verifier_key())?.root {
        return Err(VaultError::invalid("log", "its entries do not lead to its checkpoint"));
    }
    let mut at = start;
    while at < size {
        let end = size.min(at + REPLAY_BATCH);
        let batch: Vec<Vec<u8>> = entries
            .iter()
            .skip(usize::try_from(at).unwrap_or(usize::MAX))
            .take((end - at) as usize)
            .cloned()
            .collect();
        let mut keys: Vec<KeyId> = Vec::new();
        for entry in &batch {
            let leaf = parse_leaf(entry)?;
            keys.extend(leaf.keys());
            if let LeafBody::Erase(erase) = leaf {
                let class = erase.class.ok_or_else(forked)?;
                let subjects: BTreeSet<Subject> = erase.taken.subjects.iter().copied().collect();
                report.erased_again +=
                    erase_again(vault, class, erase.from, erase.to, &subjects, erase.cause, erase.at).await?;
            }
        }
        report.destroyed_again += vault.catalog.replay(at, &batch, &keys, now).await?;
        report.replayed += end - at;
        at = end;
    }
    Ok(())
}

fn parse_leaf(entry: &[u8]) -> Result<LeafBody> {
    let text = std::str::from_utf8(entry)
        .ok()
        .and_then(|text| LeafBody::parse(text).ok());
    text.ok_or_else(|| VaultError::invalid("log", "an entry is not readable"))
}

async fn read_entries(log: &dyn Objects, from: u64, to: u64) -> Result<Vec<Vec<u8>>> {
    let mut entries = Vec::new();
    for bundle in from / 256..to.div_ceil(256) {
        let width = u16::try_from((to - bundle * 256).min(256)).unwrap_or(256);
        let bytes = log.get(&log_object(&entry_bundle_path(bundle, width))).await?;
        entries.extend(
            decode_bundle(&bytes)?
                .into_iter()
                .take(usize::from(width))
                .map(<[u8]>::to_vec),
        );
    }
    Ok(entries)
}

async fn copy_log(log: &dyn Objects, objects: &dyn Objects) -> Result<()> {
    if log.place() == objects.place() {
        return Ok(());
    }
    let mut parts = log.list("log/").await?;
    // The checkpoint last: it promises the rest.
    parts.sort_by_key(|part| part.name.ends_with("/checkpoint"));
    for part in parts {
        objects.put(&part.name, log.get(&part.name).await?).await?;
    }
    Ok(())
}

/// Hides records that an entry after the backup had hidden: every account's partitions of its span are looked through
/// for the subjects that the entry names. The tombstones bear the entry's moment, so that the purge deadline stays.
async fn erase_again(
    vault: &Vault,
    class: Class,
    from: TimeUs,
    to: TimeUs,
    subjects: &BTreeSet<Subject>,
    _cause: Cause,
    erased_at: TimeUs,
) -> Result<u64> {
    let mut hidden = 0;
    let accounts: Vec<AccountSid> = vault.list_accounts().await?;
    for sid in accounts {
        let account = vault.get_account(&sid).await?;
        let days = from.day()..TimeUs(to.0 - 1).day().plus(1);
        for row in vault.catalog.list_partitions(&sid, class, days).await? {
            let (_, records) = vault.read_partition(&account, &row).await?;
            let found: Vec<Sid> = records
                .iter()
                .map(callvault_core::Record::sid)
                .filter(|record| subjects.contains(&vault.subject(&sid, class, *record)))
                .collect();
            let rows: Vec<_> = found
                .into_iter()
                .map(|sid| (row.reference(), Tombstone { sid, at: erased_at }))
                .collect();
            hidden += rows.len() as u64;
            if !rows.is_empty() {
                vault.catalog.hide(&rows).await?;
            }
        }
    }
    Ok(hidden)
}
