//! The key ring: region root -> epoch keys -> data keys.
//!
//! Epoch keys live in memory while the process runs; data keys are unwrapped when they are needed. A data key's row in
//! the catalog is the only way to it: when the row is gone, so is what it opened.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use callvault_core::{
    AccountSid, KeyId, TimeUs,
    proof::LeafBody,
    purge::{EpochItem, EpochStep, Purge, plan_epochs},
};
use callvault_seal::{
    SecretKey,
    blind::BlindIndex,
    provider::{KeyProvider, ProviderError, Root},
    random_bytes,
    wrap::{unwrap_key, wrap_key},
};
use callvault_store::{
    Catalog, StoreError,
    rows::{EpochRow, KeyPurpose, KeyRow, NewLeaf},
};

use crate::error::{Result, VaultError};

pub use callvault_core::proof::EpochEnd;

/// Keys re-wrapped in one catalog transaction.
const REWRAP_BATCH: u32 = 1_000;
/// Ends of epochs that certificates can still refer to by their true moment.
const EPOCH_ENDS_KEPT: usize = 400;
const EPOCH_ENDS: &str = "epoch-ends";
/// Account keys kept unwrapped at once.
const ACCOUNT_KEYS_KEPT: usize = 1_024;

/// What derives from an account's own key.
pub struct AccountKeys {
    /// Hashes its numbers and source ids.
    pub blind: BlindIndex,
    /// Seals its notes (holds' matters and reasons, job parameters).
    pub notes: SecretKey,
    /// Signs links to its recordings.
    pub links: SecretKey,
}

/// Opens and makes keys.
pub struct KeyRing {
    region: String,
    provider: Arc<dyn KeyProvider>,
    catalog: Arc<dyn Catalog>,
    epochs: RwLock<BTreeMap<u64, SecretKey>>,
    accounts: Mutex<HashMap<KeyId, Arc<AccountKeys>>>,
}

/// What [`KeyRing::tick`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct EpochReport {
    /// Epochs begun.
    pub created: u64,
    /// Keys wrapped anew.
    pub rewrapped: u64,
    /// Epochs destroyed.
    pub destroyed: u64,
}

impl KeyRing {
    /// A key ring over a provider and a catalog.
    #[must_use]
    pub fn new(region: &str, provider: Arc<dyn KeyProvider>, catalog: Arc<dyn Catalog>) -> Self {
        Self {
            region: region.to_owned(),
            provider,
            catalog,
            epochs: RwLock::default(),
            accounts: Mutex::default(),
        }
    }

    /// The provider.
    #[must_use]
    pub fn provider(&self) -> &Arc<dyn KeyProvider> {
        &self.provider
    }

    /// Reads the epochs' keys through the provider. An epoch whose root is destroyed is left out: what it wraps is
    /// gone.
    ///
    /// # Errors
    /// Those of the catalog and the provider.
    pub async fn load(&self) -> Result<()> {
        let rows = self.catalog.list_epochs().await?;
        let mut epochs = BTreeMap::new();
        for row in rows {
            let known = self
                .epochs
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .get(&row.epoch)
                .cloned();
            let key = match known {
                Some(key) => key,
                None => match self
                    .provider
                    .unwrap(Root::Epoch(row.epoch), &self.epoch_context(row.epoch), &row.wrapped)
                {
                    Ok(bytes) => SecretKey::from_slice(&bytes)?,
                    Err(ProviderError::UnknownEpoch(_)) => continue,
                    Err(error) => return Err(error.into()),
                },
            };
            epochs.insert(row.epoch, key);
        }
        *self.epochs.write().unwrap_or_else(PoisonError::into_inner) = epochs;
        Ok(())
    }

    fn epoch_context(&self, epoch: u64) -> Vec<u8> {
        format!("callvault epoch/{}/{epoch}", self.region).into_bytes()
    }

    fn key_context(&self, row: &KeyRow) -> Vec<u8> {
        let purpose = match row.purpose {
            KeyPurpose::Account => "account",
            KeyPurpose::Partition => "partition",
            KeyPurpose::Recording => "recording",
            KeyPurpose::Document => "document",
        };
        format!("callvault key/{}/{}/{purpose}/{}", self.region, row.account, row.key).into_bytes()
    }

    fn find_epoch(&self, epoch: u64) -> Option<SecretKey> {
        self.epochs
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&epoch)
            .cloned()
    }

    fn newest_epoch(&self) -> Option<(u64, SecretKey)> {
        let epochs = self.epochs.read().unwrap_or_else(PoisonError::into_inner);
        epochs.last_key_value().map(|(epoch, key)| (*epoch, key.clone()))
    }

    /// Makes a data key, wrapped in the newest epoch. It is stored by the catalog operation that first uses it; when
    /// that answers [`StoreError::EpochClosed`], [`KeyRing::load`] and make another.
    ///
    /// # Errors
    /// [`VaultError::Damaged`] when there is no epoch (the vault was never opened).
    pub fn make(&self, account: &AccountSid, purpose: KeyPurpose) -> Result<(SecretKey, KeyRow)> {
        let (epoch, epoch_key) = self.newest_epoch().ok_or_else(no_epoch)?;
        let secret = SecretKey::generate()?;
        let mut row = KeyRow {
            account: account.clone(),
            key: KeyId(random_bytes()?),
            purpose,
            epoch,
            wrapped: Vec::new(),
        };
        row.wrapped = wrap_key(&epoch_key, &self.key_context(&row), &secret)?;
        Ok((secret, row))
    }

    /// Wraps a data key that is not stored yet in the newest epoch.
    ///
    /// # Errors
    /// As [`KeyRing::make`].
    pub fn wrap_again(&self, row: &KeyRow, secret: &SecretKey) -> Result<KeyRow> {
        let (epoch, epoch_key) = self.newest_epoch().ok_or_else(no_epoch)?;
        let wrapped = wrap_key(&epoch_key, &self.key_context(row), secret)?;
        Ok(KeyRow {
            epoch,
            wrapped,
            ..row.clone()
        })
    }

    /// Unwraps a data key, or finds that its epoch was destroyed.
    ///
    /// # Errors
    /// Those of the cipher, the catalog and the provider.
    pub async fn open(&self, row: &KeyRow) -> Result<Option<SecretKey>> {
        let mut epoch_key = self.find_epoch(row.epoch);
        if epoch_key.is_none() {
            self.load().await?;
            epoch_key = self.find_epoch(row.epoch);
        }
        let Some(epoch_key) = epoch_key else { return Ok(None) };
        Ok(Some(unwrap_key(&epoch_key, &self.key_context(row), &row.wrapped)?))
    }

    /// The data key with this id, if it exists.
    ///
    /// # Errors
    /// Those of [`KeyRing::open`].
    pub async fn find(&self, account: &AccountSid, key: KeyId) -> Result<Option<SecretKey>> {
        match self.catalog.find_keys(account, &[key]).await?.first() {
            Some(row) => self.open(row).await,
            None => Ok(None),
        }
    }

    /// Several data keys at once; those that do not exist are left out.
    ///
    /// # Errors
    /// Those of [`KeyRing::open`].
    pub async fn find_all(&self, account: &AccountSid, keys: &[KeyId]) -> Result<HashMap<KeyId, SecretKey>> {
        let mut found = HashMap::with_capacity(keys.len());
        for row in self.catalog.find_keys(account, keys).await? {
            if let Some(secret) = self.open(&row).await? {
                found.insert(row.key, secret);
            }
        }
        Ok(found)
    }

    /// What derives from an account's key.
    ///
    /// # Errors
    /// [`VaultError::NotFound`] when the account's key is gone.
    pub async fn get_account_keys(&self, account: &AccountSid, key: KeyId) -> Result<Arc<AccountKeys>> {
        if let Some(keys) = self.accounts.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(Arc::clone(keys));
        }
        let secret = self
            .find(account, key)
            .await?
            .ok_or(VaultError::NotFound { what: "account" })?;
        let keys = Arc::new(AccountKeys {
            blind: BlindIndex::new(secret.derive(b"blind-index")),
            notes: secret.derive(b"notes"),
            links: secret.derive(b"recording-links"),
        });
        let mut kept = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= ACCOUNT_KEYS_KEPT {
            kept.clear();
        }
        kept.insert(key, Arc::clone(&keys));
        Ok(keys)
    }

    /// Forgets an account's key in memory, when the account goes.
    pub fn forget_account(&self, key: KeyId) {
        self.accounts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&key);
    }

    /// Begins, re-wraps and destroys epochs as the purge deadline asks (spec 5.1). Each step may be repeated after a
    /// crash.
    ///
    /// # Errors
    /// Those of the catalog and the provider; what was done stays done.
    pub async fn tick(&self, now: TimeUs, purge: Purge) -> Result<EpochReport> {
        let mut report = EpochReport::default();
        // A step changes what the next one sees: plan again until nothing is due.
        loop {
            let rows = self.catalog.list_epochs().await?;
            let items: Vec<_> = rows
                .iter()
                .map(|row| EpochItem {
                    epoch: row.epoch,
                    created_at: row.created_at,
                    live_keys: row.live_keys,
                })
                .collect();
            let steps = plan_epochs(&items, now, purge);
            let Some(step) = steps.into_iter().next() else { break };
            match step {
                EpochStep::Create { epoch } => {
                    self.execute_create(epoch, now).await?;
                    report.created += 1;
                }
                EpochStep::Rewrap { from, to } => report.rewrapped += self.execute_rewrap(from, to).await?,
                EpochStep::Destroy { epoch } => {
                    let created_at = rows
                        .iter()
                        .find(|row| row.epoch == epoch)
                        .map_or(now, |row| row.created_at);
                    self.execute_destroy(epoch, created_at, now).await?;
                    report.destroyed += 1;
                }
            }
        }
        self.sweep_roots().await?;
        Ok(report)
    }

    /// Begins an epoch now and moves every living key into it: rotation as a command. Older epochs end when their time
    /// is over, so that backups stay restorable as long as they would have been.
    ///
    /// # Errors
    /// As [`KeyRing::tick`].
    pub async fn rotate(&self, now: TimeUs) -> Result<EpochReport> {
        let old = self.catalog.list_epochs().await?;
        let to = old.last().map_or(1, |row| row.epoch + 1);
        self.execute_create(to, now).await?;
        let mut report = EpochReport {
            created: 1,
            ..EpochReport::default()
        };
        for row in old {
            report.rewrapped += self.execute_rewrap(row.epoch, to).await?;
        }
        Ok(report)
    }

    async fn execute_create(&self, epoch: u64, now: TimeUs) -> Result<()> {
        self.provider.create_epoch_root(epoch)?;
        let key = SecretKey::generate()?;
        let wrapped = self
            .provider
            .wrap(Root::Epoch(epoch), &self.epoch_context(epoch), key.expose())?;
        let row = EpochRow {
            epoch,
            created_at: now,
            wrapped,
            open: true,
            live_keys: 0,
        };
        match self.catalog.insert_epoch(&row).await {
            Ok(()) | Err(StoreError::Conflict { .. }) => self.load().await,
            Err(error) => Err(error.into()),
        }
    }

    async fn execute_rewrap(&self, from: u64, to: u64) -> Result<u64> {
        if self.find_epoch(to).is_none() {
            self.load().await?;
        }
        let (newest, newest_key) = self.newest_epoch().ok_or_else(no_epoch)?;
        if newest != to {
            return Err(StoreError::Conflict { what: "key epochs" }.into());
        }
        let mut moved = 0;
        loop {
            let rows = self.catalog.list_keys_in_epoch(from, REWRAP_BATCH).await?;
            if rows.is_empty() {
                return Ok(moved);
            }
            let mut wrapped = Vec::with_capacity(rows.len());
            for row in rows {
                let secret = self.open(&row).await?.ok_or(VaultError::Damaged {
                    what: "key ring",
                    reason: format!("the root of epoch {from} is gone while keys are wrapped in it"),
                })?;
                let context = self.key_context(&row);
                wrapped.push(KeyRow {
                    epoch: to,
                    wrapped: wrap_key(&newest_key, &context, &secret)?,
                    ..row
                });
            }
            moved += self.catalog.rewrap(from, &wrapped).await?;
        }
    }

    async fn execute_destroy(&self, epoch: u64, created_at: TimeUs, now: TimeUs) -> Result<()> {
        self.epochs
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&epoch);
        self.provider.destroy_epoch_root(epoch)?;
        let end = EpochEnd {
            region: self.region.clone(),
            epoch,
            created_at,
            at: now,
        };
        let body = LeafBody::Epoch(end.clone()).to_json().into_bytes();
        let mut ends = self.epoch_ends().await?;
        ends.retain(|known| known.epoch != epoch);
        ends.push(end);
        let surplus = ends.len().saturating_sub(EPOCH_ENDS_KEPT);
        ends.drain(..surplus);
        let json = serde_json::to_vec(&ends).unwrap_or_default();
        self.catalog.put_value(EPOCH_ENDS, &json).await?;
        Ok(self
            .catalog
            .delete_epoch(
                epoch,
                &NewLeaf {
                    body,
                    statement: String::new(),
                },
            )
            .await?)
    }

    /// The ends of the latest epochs, oldest first.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn epoch_ends(&self) -> Result<Vec<EpochEnd>> {
        let Some(json) = self.catalog.find_value(EPOCH_ENDS).await? else {
            return Ok(Vec::new());
        };
        serde_json::from_slice(&json).map_err(|_| VaultError::Damaged {
            what: "catalog",
            reason: "the epochs' ends are not readable".to_owned(),
        })
    }

    /// Removes roots that no epoch uses: a crash came between making the root and writing the epoch.
    async fn sweep_roots(&self) -> Result<()> {
        let rows = self.catalog.list_epochs().await?;
        let newest = rows.last().map_or(0, |row| row.epoch);
        for root in self.provider.list_epoch_roots()? {
            // A root above the newest epoch may be another process's that is just beginning it.
            if root < newest && rows.iter().all(|row| row.epoch != root) {
                self.provider.destroy_epoch_root(root)?;
            }
        }
        Ok(())
    }
}

fn no_epoch() -> VaultError {
    VaultError::Damaged {
        what: "key ring",
        reason: "there is no key epoch".to_owned(),
    }
}
