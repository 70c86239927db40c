//! The vault of one region: what every use case starts from.

use std::sync::Arc;

use callvault_core::{
    AccountSid, KeyId, TimeUs,
    hold::Hold,
    purge::{Purge, decide_purge},
    retention::{Floor, Policy},
};
use callvault_seal::{
    SecretKey,
    jws::CertifiedSigner,
    provider::{KeyProvider, Root},
    sign::LogSigner,
};
use callvault_store::{Catalog, Objects, rows::AccountRow};

use crate::{
    clock::Clock,
    conversion::{Mp3Encoder, NoEncoder},
    error::{Result, VaultError},
    keys::{AccountKeys, KeyRing},
    partition::SegmentCache,
    publish,
    realm::OperatorKeys,
};

pub(crate) const REGION: &str = "region";
const LOG_SEED: &str = "log-seed";
const PURGE_DAYS: &str = "purge-days";
const FLOORS: &str = "floors";
/// Stands from a restore's first row to its last step.
pub(crate) const RESTORING: &str = "restoring";
const ACCOUNTS_PAGE: u32 = 500;

/// What a region is made of.
#[derive(Clone)]
pub struct Parts {
    /// Name of the region, such as `in`.
    pub region: String,
    /// Where rows live.
    pub catalog: Arc<dyn Catalog>,
    /// Where objects live.
    pub objects: Arc<dyn Objects>,
    /// Where roots live.
    pub provider: Arc<dyn KeyProvider>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// This process, among those that work the region.
    pub worker: String,
}

/// One region, open.
pub struct Vault {
    pub(crate) region: String,
    pub(crate) catalog: Arc<dyn Catalog>,
    pub(crate) objects: Arc<dyn Objects>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) keys: KeyRing,
    pub(crate) signer: LogSigner,
    pub(crate) subjects: callvault_seal::blind::BlindIndex,
    pub(crate) operator_keys: Arc<OperatorKeys>,
    pub(crate) purge: Purge,
    pub(crate) floors: Vec<Floor>,
    pub(crate) segments: SegmentCache,
    pub(crate) publishing: tokio::sync::Mutex<()>,
    pub(crate) worker: String,
    pub(crate) mp3_encoder: Arc<dyn Mp3Encoder>,
    pub(crate) vcon_signer: tokio::sync::OnceCell<Arc<CertifiedSigner>>,
}

/// An account with everything a use case needs of it.
pub struct Account {
    /// Its SID.
    pub sid: AccountSid,
    /// Its rules; the region's floors are among them.
    pub policy: Policy,
    /// Its holds, lifted ones included.
    pub holds: Vec<Hold>,
    /// Its derived keys.
    pub keys: Arc<AccountKeys>,
    /// Country that national numbers are read in.
    pub country: phonenumber::country::Id,
    /// When it was made.
    pub created_at: TimeUs,
    pub(crate) key: KeyId,
    pub(crate) version: i64,
}

/// A page of accounts.
pub struct AccountPage {
    /// Open ones, in order of name; a page may have fewer than asked for.
    pub accounts: Vec<AccountSid>,
    /// Continues the listing; nothing at the end.
    pub next: Option<AccountSid>,
}

impl Vault {
    /// Opens a region: brings its catalog up to date, begins the first key epoch if there is none, and checks that
    /// the catalog knows every deletion.
    ///
    /// # Errors
    /// [`VaultError::Invalid`] when the catalog belongs to another region; [`VaultError::CatalogMissing`] when it is
    /// empty and the region is not new; [`VaultError::CatalogOlderThanLog`] when it is an older copy;
    /// [`VaultError::RestoreUnfinished`]; those of the stores and the key provider.
    pub async fn open(parts: Parts) -> Result<Self> {
        parts.catalog.migrate().await?;
        // The roots first: whoever made them has named the region in the catalog before.
        let is_new = parts.provider.list_epoch_roots()?.is_empty();
        if !is_new && parts.catalog.find_value(REGION).await?.is_none() {
            return Err(VaultError::CatalogMissing);
        }
        if is_restoring(parts.catalog.as_ref()).await? {
            return Err(VaultError::RestoreUnfinished);
        }
        let vault = Self::open_unchecked(parts).await?;
        let catalog = vault.catalog.log_size().await?;
        let known = vault.known_log_size().await?;
        if catalog < known {
            return Err(VaultError::CatalogOlderThanLog { catalog, known });
        }
        vault.keys.tick(vault.now(), vault.purge).await?;
        vault.keys.load().await?;
        Ok(vault)
    }

    /// As [`Vault::open`], without the checks that the catalog is whole; only a restore may use it.
    pub(crate) async fn open_unchecked(parts: Parts) -> Result<Self> {
        let Parts {
            region,
            catalog,
            objects,
            provider,
            clock,
            worker,
        } = parts;
        catalog.migrate().await?;
        let stored = catalog.init_value(REGION, region.as_bytes()).await?;
        if stored != region.as_bytes() {
            return Err(VaultError::invalid("region", "this catalog belongs to another region"));
        }
        let context = format!("callvault log-seed/{region}").into_bytes();
        let fresh = provider.wrap(Root::Permanent, &context, SecretKey::generate()?.expose())?;
        let sealed = catalog.init_value(LOG_SEED, &fresh).await?;
        let seed = SecretKey::from_slice(&provider.unwrap(Root::Permanent, &context, &sealed)?)?;
        let signer = LogSigner::new(&publish::origin(&region), &seed.derive(b"ed25519"))
            .map_err(|error| VaultError::invalid("region", error.to_string()))?;
        let purge = match catalog.find_value(PURGE_DAYS).await? {
            Some(bytes) => parse_purge(&bytes)?,
            None => Purge::default(),
        };
        let floors = match catalog.find_value(FLOORS).await? {
            Some(bytes) => parse_floors(&bytes)?,
            None => Vec::new(),
        };
        let keys = KeyRing::new(&region, provider, Arc::clone(&catalog));
        keys.load().await?;
        Ok(Self {
            subjects: callvault_seal::blind::BlindIndex::new(seed.derive(b"erase-subjects")),
            operator_keys: Arc::new(OperatorKeys::new(&seed)),
            region,
            catalog,
            objects,
            clock,
            keys,
            signer,
            purge,
            floors,
            segments: SegmentCache::default(),
            publishing: tokio::sync::Mutex::new(()),
            worker,
            mp3_encoder: Arc::new(NoEncoder),
            vcon_signer: tokio::sync::OnceCell::new(),
        })
    }

    /// The same vault with an encoder for recordings that are asked for as MP3.
    #[must_use]
    pub fn with_mp3_encoder(mut self, encoder: Arc<dyn Mp3Encoder>) -> Self {
        self.mp3_encoder = encoder;
        self
    }

    /// Now, by the region's clock.
    #[must_use]
    pub fn now(&self) -> TimeUs {
        self.clock.now()
    }

    /// The region's name.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The purge deadline in force.
    #[must_use]
    pub const fn purge(&self) -> Purge {
        self.purge
    }

    /// The catalog.
    #[must_use]
    pub fn catalog(&self) -> &Arc<dyn Catalog> {
        &self.catalog
    }

    /// The object store.
    #[must_use]
    pub fn objects(&self) -> &Arc<dyn Objects> {
        &self.objects
    }

    /// The key ring.
    #[must_use]
    pub const fn keys(&self) -> &KeyRing {
        &self.keys
    }

    /// Sets the purge deadline, within the bounds of spec 5.1. Takes effect when the region is opened next.
    ///
    /// # Errors
    /// [`VaultError::Refused`] outside the bounds.
    pub async fn set_purge_days(&self, days: u32) -> Result<()> {
        decide_purge(days).into_result()?;
        Ok(self.catalog.put_value(PURGE_DAYS, days.to_string().as_bytes()).await?)
    }

    /// Sets the region's floors (spec 1.8). Takes effect when the region is opened next.
    ///
    /// A floor that began stays in the history: leaving it out, or giving it an end, ends it now or later. What it kept
    /// until then was kept, also for a hold that was placed meanwhile.
    ///
    /// # Errors
    /// [`VaultError::Refused`] when a floor would shorten a term or reach into the past.
    pub async fn set_floors(&self, floors: &[Floor]) -> Result<()> {
        let now = self.now();
        let known = match self.catalog.find_value(FLOORS).await? {
            Some(bytes) => parse_floors(&bytes)?,
            None => Vec::new(),
        };
        let same = |a: &Floor, b: &Floor| (a.class, a.term, a.from) == (b.class, b.term, b.from);
        let mut history = Vec::new();
        for mut old in known.iter().cloned() {
            let until = floors
                .iter()
                .find(|floor| same(floor, &old))
                .map_or(Some(now), |floor| floor.until);
            if old.until.is_none_or(|end| end > now) {
                old.until = until.map(|end| end.max(now));
            }
            if old.until.is_none_or(|end| old.from < end) {
                history.push(old);
            }
        }
        for floor in floors.iter().filter(|floor| !known.iter().any(|old| same(floor, old))) {
            callvault_core::retention::decide_floor(floor, now).into_result()?;
            history.push(floor.clone());
        }
        let json = serde_json::to_vec(&history).map_err(|error| VaultError::invalid("floors", error.to_string()))?;
        Ok(self.catalog.put_value(FLOORS, &json).await?)
    }

    /// An open account.
    ///
    /// # Errors
    /// [`VaultError::NotFound`] when there is none, or it is closed.
    pub async fn get_account(&self, sid: &AccountSid) -> Result<Account> {
        let row = self
            .catalog
            .find_account(sid)
            .await?
            .ok_or(VaultError::NotFound { what: "account" })?;
        self.account_of(row).await
    }

    pub(crate) async fn account_of(&self, row: AccountRow) -> Result<Account> {
        if row.closed_at.is_some() {
            return Err(VaultError::NotFound { what: "account" });
        }
        self.load_account(row).await
    }

    /// As [`Vault::account_of`], for one whose closing began as well.
    pub(crate) async fn load_account(&self, row: AccountRow) -> Result<Account> {
        let keys = self.keys.get_account_keys(&row.account, row.key).await?;
        let mut policy: Policy = serde_json::from_str(&row.policy).map_err(|_| VaultError::Damaged {
            what: "catalog",
            reason: format!("the policy of account {} is not readable", row.account),
        })?;
        policy.floors.clone_from(&self.floors);
        let mut holds = Vec::new();
        for hold in self.catalog.list_holds(&row.account).await? {
            holds.push(serde_json::from_str(&hold.rule).map_err(|_| VaultError::Damaged {
                what: "catalog",
                reason: format!("hold {} is not readable", hold.hold),
            })?);
        }
        let country = row.country.parse().map_err(|_| VaultError::Damaged {
            what: "catalog",
            reason: format!("the country of account {} is unknown", row.account),
        })?;
        Ok(Account {
            sid: row.account,
            policy,
            holds,
            keys,
            country,
            created_at: row.created_at,
            key: row.key,
            version: row.version,
        })
    }

    /// Every open account, in order of name.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn list_accounts(&self) -> Result<Vec<AccountSid>> {
        self.list_accounts_where(|row| row.closed_at.is_none()).await
    }

    /// Accounts after this one, in order of name; closed ones are left out.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn list_accounts_after(&self, after: Option<&AccountSid>, limit: usize) -> Result<AccountPage> {
        let limit = u32::try_from(limit).unwrap_or(ACCOUNTS_PAGE);
        let rows = self.catalog.list_accounts(after, limit).await?;
        let is_full = u32::try_from(rows.len()).is_ok_and(|count| count == limit);
        let next = rows.last().filter(|_| is_full).map(|row| row.account.clone());
        let open = rows.into_iter().filter(|row| row.closed_at.is_none());
        Ok(AccountPage {
            accounts: open.map(|row| row.account).collect(),
            next,
        })
    }

    /// Accounts whose closing began and has not ended.
    pub(crate) async fn list_closing(&self) -> Result<Vec<AccountSid>> {
        self.list_accounts_where(|row| row.closed_at.is_some() && !row.is_closed())
            .await
    }

    async fn list_accounts_where(&self, wanted: impl Fn(&AccountRow) -> bool) -> Result<Vec<AccountSid>> {
        let mut open = Vec::new();
        let mut after: Option<AccountSid> = None;
        loop {
            let page = self.catalog.list_accounts(after.as_ref(), ACCOUNTS_PAGE).await?;
            let Some(last) = page.last() else { return Ok(open) };
            after = Some(last.account.clone());
            open.extend(page.into_iter().filter(|row| wanted(row)).map(|row| row.account));
        }
    }
}

/// Whether a restore into this catalog began and has not ended.
pub(crate) async fn is_restoring(catalog: &dyn Catalog) -> Result<bool> {
    Ok(catalog
        .find_value(RESTORING)
        .await?
        .is_some_and(|mark| !mark.is_empty()))
}

fn parse_floors(bytes: &[u8]) -> Result<Vec<Floor>> {
    serde_json::from_slice(bytes).map_err(|_| VaultError::Damaged {
        what: "catalog",
        reason: "the floors are not readable".to_owned(),
    })
}

fn parse_purge(bytes: &[u8]) -> Result<Purge> {
    let days = std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok());
    let damaged = VaultError::Damaged {
        what: "catalog",
        reason: "the purge deadline is not readable".to_owned(),
    };
    match days.map(decide_purge) {
        Some(decision) => Ok(decision.into_result()?),
        None => Err(damaged),
    }
}
