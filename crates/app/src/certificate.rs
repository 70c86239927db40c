//! Certificates: what a log entry destroyed, how far every copy is, and the proof that the log holds it (spec 5.3).

use callvault_core::{
    AccountSid, Class, TimeUs,
    hold::Cause,
    proof::{CertificateBody, CopyFacts, LeafBody, Part, copies},
};
use callvault_seal::certificate;
use callvault_store::rows::DestructionRow;

use crate::{
    error::{Result, VaultError},
    keys::EpochEnd,
    vault::Vault,
};

/// A deletion, for listings.
#[derive(Debug, Clone, serde::Serialize)]
pub struct DeletionSummary {
    /// Index in the log; names the certificate.
    pub log_index: u64,
    /// When.
    pub at: TimeUs,
    /// Class, or nothing when the account's own key went.
    pub class: Option<Class>,
    /// How many records.
    pub records: u64,
    /// Why.
    pub cause: Cause,
    /// Whether every row and object is removed.
    pub purged: bool,
}

impl Vault {
    /// An account's deletions with a log index below `before`, newest first. They outlive the account.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn list_deletions(
        &self,
        account: &AccountSid,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<DeletionSummary>> {
        let rows = self.catalog.list_destructions(account, before, limit).await?;
        rows.iter().map(summary).collect()
    }

    /// The certificate of a log entry, as it stands now. An entry that is not published yet is published for it.
    ///
    /// # Errors
    /// [`VaultError::NotFound`] for an entry of another account, or one that another process is about to publish.
    pub async fn certificate(&self, account: &AccountSid, log_index: u64) -> Result<String> {
        let now = self.now();
        let row = self.catalog.find_destruction(log_index).await?;
        let row = row.filter(|row| row.account == *account && !row.statement.is_empty());
        let row = row.ok_or(VaultError::NotFound { what: "certificate" })?;
        let mut body = parse(&row)?;
        let facts = self.copy_facts(&row, &body, now).await?;
        let states = copies(&facts, now, self.purge);
        match &mut body {
            CertificateBody::Shred(certified) => (certified.copies, certified.issued_at) = (states, now),
            CertificateBody::Erase(certified) => (certified.copies, certified.issued_at) = (states, now),
        }
        let leaves = self.catalog.list_leaves(log_index..log_index + 1).await?;
        let entry = leaves.first().ok_or_else(unreadable)?;
        if self.published_size().await? <= log_index {
            self.publish().await?;
        }
        let proof = self.prove_leaf(log_index).await?;
        certificate::issue(&self.signer, &body.to_json(), entry, &proof).map_err(|error| VaultError::Damaged {
            what: "certificate",
            reason: error.to_string(),
        })
    }

    async fn copy_facts(&self, row: &DestructionRow, body: &CertificateBody, now: TimeUs) -> Result<CopyFacts> {
        let purged_at = row.purged_at;
        // Erased rows go with the key their partition had: the last such key when its last bytes are removed.
        let destroyed_at = match body {
            CertificateBody::Shred(_) => Some(row.at),
            CertificateBody::Erase(_) => purged_at,
        };
        let bytes = purged_at.map_or(Part::There, Part::Gone);
        Ok(CopyFacts {
            deleted_at: row.at,
            key_destroyed_at: destroyed_at,
            rows: bytes,
            objects: bytes,
            cache: destroyed_at.map_or(Part::There, Part::Gone),
            epochs_destroyed_at: match destroyed_at {
                Some(at) => self.epochs_gone_at(at, now).await?,
                None => None,
            },
            exports: Part::Never,
        })
    }

    /// When the last epoch ended that can have wrapped a key destroyed at `at`.
    async fn epochs_gone_at(&self, at: TimeUs, now: TimeUs) -> Result<Option<TimeUs>> {
        let living = self.catalog.list_epochs().await?;
        if living.iter().any(|epoch| epoch.created_at <= at) {
            return Ok(None);
        }
        let ends = self.keys.epoch_ends().await?;
        let last = ends
            .iter()
            .filter(|end: &&EpochEnd| end.created_at <= at)
            .map(|end| end.at)
            .max();
        Ok(Some(last.unwrap_or(now)))
    }
}

fn summary(row: &DestructionRow) -> Result<DeletionSummary> {
    let (class, records, cause) = match parse(row)? {
        CertificateBody::Shred(body) => (body.deletion.class, body.deletion.records, body.deletion.cause),
        CertificateBody::Erase(body) => (body.deletion.class, body.deletion.records, body.deletion.cause),
    };
    Ok(DeletionSummary {
        log_index: row.leaf,
        at: row.at,
        class,
        records,
        cause,
        purged: row.purged_at.is_some(),
    })
}

fn parse(row: &DestructionRow) -> Result<CertificateBody> {
    CertificateBody::parse(&row.statement).map_err(|_| unreadable())
}

fn unreadable() -> VaultError {
    VaultError::Damaged {
        what: "catalog",
        reason: "a certificate's statement is not readable".to_owned(),
    }
}

/// What an offline check of a certificate found.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Verified {
    /// What was destroyed, and the state of every copy when the certificate was issued.
    #[serde(skip)]
    pub body: CertificateBody,
    /// Index in the log.
    pub log_index: u64,
    /// Size of the log that the proof leads to.
    pub tree_size: u64,
}

/// Checks a certificate offline: form, signature, proof, and that statement and leaf say the same. Needs nothing but
/// the operator's verifier key.
///
/// # Errors
/// What is wrong, in words.
pub fn verify(text: &str, verifier_key: &str) -> std::result::Result<Verified, String> {
    let key = verifier_key
        .trim()
        .parse()
        .map_err(|error| format!("verifier key: {error}"))?;
    let opened = certificate::open(text, &key).map_err(|error| error.to_string())?;
    let body = CertificateBody::parse(&opened.json).map_err(|error| error.to_string())?;
    let leaf = std::str::from_utf8(&opened.leaf).map_err(|_| "the log leaf is no text".to_owned())?;
    let leaf = LeafBody::parse(leaf).map_err(|error| error.to_string())?;
    let whose = body.whose();
    let salt = hex::decode(&whose.salt).map_err(|_| "the salt is not hexadecimal".to_owned())?;
    let hash = callvault_seal::digest::sha256(&[&salt, whose.account.as_str().as_bytes()]);
    callvault_core::proof::agrees(&body, &leaf, &hex::encode(hash)).map_err(|error| error.to_string())?;
    Ok(Verified {
        body,
        log_index: opened.index,
        tree_size: opened.tree_size,
    })
}
