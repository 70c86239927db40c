//! The transparency log over its leaves: tiles and checkpoints in the object store, proofs from them.
//!
//! Leaves are appended in the transaction that destroys; publishing follows and may be repeated. Objects lie under
//! `log/` with the names of C2SP tlog-tiles, so that any HTTP server can serve them.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use bytes::Bytes;
use callvault_core::TimeUs;
use callvault_seal::log::{
    Checkpoint, Hash, LogError, TilePath, TileReader, TlogProof, encode_bundle, entry_bundle_path, grow, leaf_hash,
    prove_consistency, prove_inclusion,
};
use callvault_store::{Objects, StoreError};

use crate::{
    error::{Result, VaultError},
    vault::Vault,
};

/// Leaves published at once; bounds memory.
const PUBLISH_BATCH: u64 = 16 * 256;
/// How long one process keeps the right to publish.
const PUBLISH_LEASE_S: i64 = 60;
const BUNDLE_LEAVES: u64 = 256;
const PUBLISHED: &str = "log-published";
const PUBLISH_JOB: &str = "publish";

/// The log's name, which is also its key's name.
#[must_use]
pub fn origin(region: &str) -> String {
    format!("callvault/{region}")
}

/// The object name of a part of the log.
#[must_use]
pub fn log_object(path: &str) -> String {
    format!("log/{path}")
}

/// Gives a tile's bytes, nothing when there is no such tile, or the error that it has to be fetched first.
type Fetch<'a> = &'a dyn Fn(&TilePath) -> std::result::Result<Option<Vec<u8>>, LogError>;

/// Reads tiles from an object store that is asynchronous for computations that are not: a computation that lacks a
/// tile says so, the tile is fetched, and the computation runs again. A proof needs a tile or two a level.
pub(crate) async fn with_tiles<T>(
    objects: &dyn Objects,
    size: u64,
    compute: impl Fn(&TileReader<Fetch<'_>>) -> std::result::Result<T, LogError>,
) -> Result<T> {
    let mut tiles: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut absent = BTreeSet::new();
    loop {
        // What computes is gone before anything waits: it cannot move between threads.
        let (outcome, wanted) = {
            let wanted = RefCell::new(None);
            let fetch = |path: &TilePath| {
                let name = path.to_string();
                if let Some(bytes) = tiles.get(&name) {
                    return Ok(Some(bytes.clone()));
                }
                if absent.contains(&name) {
                    return Ok(None);
                }
                *wanted.borrow_mut() = Some(name.clone());
                Err(LogError::Missing(name))
            };
            let fetch: Fetch<'_> = &fetch;
            let outcome = compute(&TileReader::new(size, fetch));
            (outcome, wanted.into_inner())
        };
        let Some(name) = wanted else { return Ok(outcome?) };
        match objects.get(&log_object(&name)).await {
            Ok(bytes) => _ = tiles.insert(name, bytes.to_vec()),
            Err(StoreError::NotFound { .. }) => _ = absent.insert(name),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Reads the newest checkpoint of a log kept in an object store, if it has one.
pub(crate) async fn find_checkpoint(objects: &dyn Objects) -> Result<Option<String>> {
    match objects.get(&log_object("checkpoint")).await {
        Ok(bytes) => String::from_utf8(bytes.to_vec())
            .map(Some)
            .map_err(|_| VaultError::Damaged {
                what: "log",
                reason: "the checkpoint is no text".to_owned(),
            }),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl Vault {
    /// The public key that checks this log, as a C2SP verifier key string.
    #[must_use]
    pub fn verifier_key(&self) -> String {
        self.signer.verifier_key().to_string()
    }

    /// The newest signed checkpoint; an empty log has one too.
    ///
    /// # Errors
    /// Those of the object store.
    pub async fn get_checkpoint(&self) -> Result<String> {
        match find_checkpoint(self.objects.as_ref()).await? {
            Some(note) => Ok(note),
            None => {
                let origin = origin(&self.region);
                Ok(Checkpoint {
                    origin,
                    size: 0,
                    root: callvault_seal::log::empty_root(),
                }
                .sign(&self.signer)?)
            }
        }
    }

    /// A published part of the log by its C2SP path, such as `tile/0/000.p/5`.
    ///
    /// # Errors
    /// [`VaultError::NotFound`] when there is none.
    pub async fn get_log_part(&self, path: &str) -> Result<Bytes> {
        let known = path == "checkpoint" || path.starts_with("tile/");
        if !known || callvault_store::objects::check_name(&log_object(path)).is_err() {
            return Err(VaultError::NotFound {
                what: "part of the log",
            });
        }
        match self.objects.get(&log_object(path)).await {
            Ok(bytes) => Ok(bytes),
            Err(StoreError::NotFound { .. }) => Err(VaultError::NotFound {
                what: "part of the log",
            }),
            Err(error) => Err(error.into()),
        }
    }

    /// The number of log entries that are known to exist outside the catalog.
    pub(crate) async fn known_log_size(&self) -> Result<u64> {
        let published = match find_checkpoint(self.objects.as_ref()).await? {
            Some(note) => Checkpoint::open(&note, self.signer.verifier_key())?.size,
            None => 0,
        };
        Ok(published.max(self.keys.provider().log_size()?))
    }

    pub(crate) async fn published_size(&self) -> Result<u64> {
        Ok(match self.catalog.find_value(PUBLISHED).await? {
            Some(bytes) => std::str::from_utf8(&bytes)
                .ok()
                .and_then(|text| text.parse().ok())
                .unwrap_or(0),
            None => 0,
        })
    }

    /// Publishes every leaf that the catalog has. Returns the number published in all; when another process is at it,
    /// that process's leaves may be missing from the number.
    ///
    /// # Errors
    /// Those of the stores; the leaves stay and are published later.
    pub async fn publish(&self) -> Result<u64> {
        let _one_at_a_time = self.publishing.lock().await;
        let published = self.published_size().await?;
        if self.catalog.log_size().await? == published {
            return Ok(published);
        }
        let now = self.now();
        let job = callvault_store::rows::JobRow {
            id: PUBLISH_JOB.to_owned(),
            account: None,
            kind: PUBLISH_JOB.to_owned(),
            body: Vec::new(),
            run_at: TimeUs(0),
            lease_until: None,
            leased_by: None,
            attempts: 0,
            state: callvault_store::rows::JobState::Open,
            error: None,
            created_at: now,
        };
        self.catalog.enqueue(&job).await?;
        let until = now.plus_seconds(PUBLISH_LEASE_S);
        let Some(lease) = self.catalog.lease_job(PUBLISH_JOB, &self.worker, now, until).await? else {
            return self.published_size().await;
        };
        let outcome = self.publish_leased().await;
        self.catalog.release(&lease).await?;
        outcome
    }

    async fn publish_leased(&self) -> Result<u64> {
        loop {
            let published = self.published_size().await?;
            let size = self.catalog.log_size().await?.min(published + PUBLISH_BATCH);
            if size <= published {
                return Ok(published);
            }
            self.publish_up_to(published, size).await?;
        }
    }

    async fn publish_up_to(&self, published: u64, size: u64) -> Result<()> {
        let first_bundle = published / BUNDLE_LEAVES;
        let leaves = self.catalog.list_leaves(first_bundle * BUNDLE_LEAVES..size).await?;
        let skip = usize::try_from(published - first_bundle * BUNDLE_LEAVES).unwrap_or(0);
        let hashes: Vec<Hash> = leaves.iter().skip(skip).map(|leaf| leaf_hash(leaf)).collect();
        let growth = with_tiles(self.objects.as_ref(), published, |reader| {
            grow(published, &hashes, reader)
        })
        .await?;
        for (bundle, index) in leaves.chunks(256).zip(first_bundle..) {
            let width = u16::try_from(bundle.len()).unwrap_or(256);
            let name = log_object(&entry_bundle_path(index, width));
            self.objects.put(&name, encode_bundle(bundle)?.into()).await?;
        }
        for (path, bytes) in growth.tiles {
            self.objects.put(&log_object(&path.to_string()), bytes.into()).await?;
        }
        let checkpoint = Checkpoint {
            origin: origin(&self.region),
            size,
            root: growth.root,
        };
        self.objects
            .put(&log_object("checkpoint"), checkpoint.sign(&self.signer)?.into())
            .await?;
        self.catalog.put_value(PUBLISHED, size.to_string().as_bytes()).await?;
        Ok(self.keys.provider().note_log_size(size)?)
    }

    /// The proof that a published leaf is in the log, in the C2SP tlog-proof format.
    ///
    /// # Errors
    /// [`VaultError::NotFound`] while the leaf is not published.
    pub async fn prove_leaf(&self, index: u64) -> Result<String> {
        let checkpoint = self.get_checkpoint().await?;
        let size = Checkpoint::open(&checkpoint, self.signer.verifier_key())?.size;
        if index >= size {
            return Err(VaultError::NotFound {
                what: "published log entry",
            });
        }
        let hashes = with_tiles(self.objects.as_ref(), size, |reader| {
            prove_inclusion(index, size, reader)
        })
        .await?;
        Ok(TlogProof {
            extra: None,
            index,
            hashes,
            checkpoint,
        }
        .to_text())
    }

    /// The proof that the log of size `new` continues the log of size `old` (RFC 6962, 2.1.2).
    ///
    /// # Errors
    /// [`LogError::Range`] unless `old <= new <=` the published size.
    pub async fn prove_extension(&self, old: u64, new: u64) -> Result<Vec<Hash>> {
        let size = self.published_size().await?;
        if new > size || old > new {
            return Err(LogError::Range.into());
        }
        with_tiles(self.objects.as_ref(), new, |reader| prove_consistency(old, new, reader)).await
    }
}
