//! Documents: what lives and changes until it is deleted or its term is over. Each version of each is sealed under a key
//! of its own; a change destroys the old version's key, a deletion the last one's.

use std::collections::HashMap;

use callvault_core::{
    AccountSid, DocumentKind, Sid, TimeUs,
    hold::{Access, Cause, Facts, Reader, access, decide_deletion, find_hold, may_read},
};
use callvault_seal::{SecretKey, envelope};
use callvault_store::{
    StoreError,
    rows::{DocumentRow, KeyPurpose, KeyRow, Replaced},
};
use serde::{Serialize, de::DeserializeOwned};

pub use callvault_store::rows::DocumentQuery;

use crate::{
    deletion::{Doomed, KEYS_A_LEAF, is_conflict},
    error::{Result, VaultError},
    vault::{Account, Vault},
};

/// Attempts at a write that others keep overtaking.
const ATTEMPTS: u32 = 8;
/// Reads of documents that others keep changing.
const READS: u32 = 32;
/// Purpose of the key that a body is sealed under.
const BODY: &[u8] = b"callvault/document/v1";

/// A document to add.
pub struct NewDocument<T> {
    /// Identifier; begins with the moment it is made.
    pub id: Sid,
    /// When it is made. Its term counts from here.
    pub at: TimeUs,
    /// Blind hash of what no other of its kind may have.
    pub name: Option<[u8; 16]>,
    /// What it says.
    pub body: T,
}

/// A document as it is now.
#[derive(Clone)]
pub struct Document<T> {
    /// Identifier.
    pub id: Sid,
    /// When it was made.
    pub at: TimeUs,
    /// When it was changed last.
    pub updated_at: TimeUs,
    /// How many members it has, for a list.
    pub members: u64,
    /// What it says.
    pub body: T,
    row: DocumentRow,
}

impl Vault {
    /// Adds documents of a kind, as members of a list if one is named, in one transaction. Returns for each whether it was
    /// added: one whose id or name another has is left out.
    ///
    /// # Errors
    /// [`VaultError::NotFound`] when there is no such list; those of the stores, and then nothing is added.
    pub async fn insert_documents<T: Serialize>(
        &self,
        account: &Account,
        kind: DocumentKind,
        new: &[NewDocument<T>],
        list: Option<Sid>,
    ) -> Result<Vec<bool>> {
        for _ in 0..ATTEMPTS {
            let mut rows = Vec::with_capacity(new.len());
            for document in new {
                rows.push(self.seal_new(account, kind, document)?);
            }
            match self.catalog.insert_documents(&rows, list).await {
                Err(StoreError::EpochClosed(_)) => self.keys.load().await?,
                Err(StoreError::NotFound { what }) => return Err(VaultError::NotFound { what }),
                done => return Ok(done?),
            }
        }
        Err(StoreError::Conflict { what: "key epochs" }.into())
    }

    fn seal_new<T: Serialize>(
        &self,
        account: &Account,
        kind: DocumentKind,
        new: &NewDocument<T>,
    ) -> Result<(DocumentRow, KeyRow)> {
        let mut row = DocumentRow {
            account: account.sid.clone(),
            kind,
            id: new.id,
            name: new.name,
            at: new.at,
            updated_at: new.at,
            version: 0,
            members: 0,
            key: callvault_core::KeyId([0; 16]),
            body: Vec::new(),
        };
        let key = self.seal_body(&mut row, &new.body)?;
        Ok((row, key))
    }

    /// Seals a body under a new key and puts both into the row.
    fn seal_body<T: Serialize>(&self, row: &mut DocumentRow, body: &T) -> Result<KeyRow> {
        let (secret, key) = self.keys.make(&row.account, KeyPurpose::Document)?;
        let json = serde_json::to_vec(body).map_err(|error| VaultError::invalid("body", error.to_string()))?;
        let json = zeroize::Zeroizing::new(json);
        row.body = envelope::seal(&secret.derive(BODY), &context(row.kind, row.id), &json)?;
        row.key = key.key;
        Ok(key)
    }

    /// Opens those of the rows that this reader may read now; the order stays. A row whose key is gone was changed or
    /// deleted since it was read: it is read again, and left out only when it is gone itself.
    async fn open_documents<T: DeserializeOwned>(
        &self,
        account: &Account,
        mut rows: Vec<DocumentRow>,
        reader: Reader,
    ) -> Result<Vec<Document<T>>> {
        let keys: Vec<_> = rows.iter().map(|row| row.key).collect();
        let mut secrets = self.keys.find_all(&account.sid, &keys).await?;
        for tries_left in (0..READS).rev() {
            let moved: Vec<&DocumentRow> = rows.iter().filter(|row| !secrets.contains_key(&row.key)).collect();
            let Some(kind) = moved.first().map(|row| row.kind) else {
                break;
            };
            if tries_left == 0 {
                return Err(StoreError::Conflict { what: "documents" }.into());
            }
            let ids: Vec<Sid> = moved.iter().map(|row| row.id).collect();
            let again = self.catalog.find_documents(&account.sid, kind, &ids).await?;
            let keys: Vec<_> = again.iter().map(|row| row.key).collect();
            let mut again: HashMap<Sid, DocumentRow> = again.into_iter().map(|row| (row.id, row)).collect();
            let present = |row: DocumentRow| match secrets.contains_key(&row.key) {
                true => Some(row),
                false => again.remove(&row.id),
            };
            rows = rows.into_iter().filter_map(present).collect();
            secrets.extend(self.keys.find_all(&account.sid, &keys).await?);
        }
        let now = self.now();
        let mut opened = Vec::with_capacity(rows.len());
        for row in rows {
            let parties = parties_of(&row);
            let facts = facts_of(&row, &parties);
            let readable = may_read(access(&account.policy, &account.holds, &facts, now), reader);
            if let Some(secret) = secrets.get(&row.key).filter(|_| readable) {
                opened.push(open_row(row, secret)?);
            }
        }
        Ok(opened)
    }

    /// One document.
    ///
    /// # Errors
    /// Those of the stores.
    pub async fn find_document<T: DeserializeOwned>(
        &self,
        account: &Account,
        kind: DocumentKind,
        id: Sid,
        reader: Reader,
    ) -> Result<Option<Document<T>>> {
        Ok(self.find_documents(account, kind, &[id], reader).await?.pop())
    }

    /// Those of these documents that exist, in any order.
    ///
    /// # Errors
    /// Those of the stores.
    pub async fn find_documents<T: DeserializeOwned>(
        &self,
        account: &Account,
        kind: DocumentKind,
        ids: &[Sid],
        reader: Reader,
    ) -> Result<Vec<Document<T>>> {
        let rows = self.catalog.find_documents(&account.sid, kind, ids).await?;
        self.open_documents(account, rows, reader).await
    }

    /// The document with this name.
    ///
    /// # Errors
    /// Those of the stores.
    pub async fn find_named<T: DeserializeOwned>(
        &self,
        account: &Account,
        kind: DocumentKind,
        name: [u8; 16],
        reader: Reader,
    ) -> Result<Option<Document<T>>> {
        match self.catalog.find_named(&account.sid, kind, name).await? {
            Some(row) => self.find_document(account, kind, row.id, reader).await,
            None => Ok(None),
        }
    }

    /// An account's documents of a kind, by the moment they were made.
    ///
    /// # Errors
    /// Those of the stores.
    pub async fn list_documents<T: DeserializeOwned>(
        &self,
        account: &Account,
        kind: DocumentKind,
        query: &DocumentQuery,
        reader: Reader,
    ) -> Result<Vec<Document<T>>> {
        let rows = self.catalog.list_documents(&account.sid, kind, query).await?;
        self.open_documents(account, rows, reader).await
    }

    /// As [`Vault::list_documents`], and moves the query to the next page; its `after` is nothing at the end.
    ///
    /// # Errors
    /// Those of the stores.
    pub async fn page_documents<T: DeserializeOwned>(
        &self,
        account: &Account,
        kind: DocumentKind,
        query: &mut DocumentQuery,
        reader: Reader,
    ) -> Result<Vec<Document<T>>> {
        let rows = self.catalog.list_documents(&account.sid, kind, query).await?;
        let is_full = rows.len() >= query.limit as usize;
        query.offset = 0;
        query.after = rows.last().filter(|_| is_full).map(|row| (row.at, row.id));
        self.open_documents(account, rows, reader).await
    }

    /// How many documents of a kind an account has.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn count_documents(&self, account: &Account, kind: DocumentKind) -> Result<u64> {
        Ok(self.catalog.count_documents(&account.sid, kind).await?.0)
    }

    /// Changes a document. The version that was read is gone for good, in backups at the purge deadline. Returns the
    /// document as it is now, or nothing when another one has the name.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when somebody else changed or deleted it since it was read.
    pub async fn replace_document<T: Serialize>(
        &self,
        old: &Document<T>,
        name: Option<[u8; 16]>,
        body: T,
    ) -> Result<Option<Document<T>>> {
        for _ in 0..ATTEMPTS {
            let mut row = DocumentRow {
                name,
                version: old.row.version + 1,
                updated_at: self.now(),
                ..old.row.clone()
            };
            let key = self.seal_body(&mut row, &body)?;
            match self.catalog.replace_document(&row, &key).await {
                Err(StoreError::EpochClosed(_)) => self.keys.load().await?,
                Ok(Replaced::NameTaken) => return Ok(None),
                Ok(Replaced::Done) => return Ok(Some(of_row(row, body))),
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Conflict { what: "key epochs" }.into())
    }

    /// The hold that freezes a document now, if one does.
    #[must_use]
    pub fn find_document_hold<T>(&self, account: &Account, document: &Document<T>) -> Option<callvault_core::HoldId> {
        let parties = parties_of(&document.row);
        let facts = facts_of(&document.row, &parties);
        find_hold(&account.policy, &account.holds, &facts, self.now()).map(|hold| hold.id)
    }

    /// Deletes documents. They are unreadable when this returns. Returns the log entries that say so.
    ///
    /// # Errors
    /// [`VaultError::Refused`] when one is held or a law keeps it; [`VaultError::NotFound`] when one is not there.
    /// Nothing is deleted then.
    pub async fn delete_documents(
        &self,
        sid: &AccountSid,
        kind: DocumentKind,
        ids: &[Sid],
        cause: Cause,
    ) -> Result<Vec<u64>> {
        let mut leaves = Vec::new();
        let mut left = ids.to_vec();
        left.sort_unstable();
        left.dedup();
        for _ in 0..ATTEMPTS {
            let done = self
                .try_delete_documents(sid, kind, &mut left, cause, &mut leaves)
                .await;
            if !is_conflict(&done) {
                return done.map(|()| leaves);
            }
        }
        Err(StoreError::Conflict { what: "documents" }.into())
    }

    /// Decides on what is left and deletes it; what went is taken off.
    async fn try_delete_documents(
        &self,
        sid: &AccountSid,
        kind: DocumentKind,
        left: &mut Vec<Sid>,
        cause: Cause,
        leaves: &mut Vec<u64>,
    ) -> Result<()> {
        let now = self.now();
        let account = self.get_account(sid).await?;
        let rows = self.catalog.find_documents(sid, kind, left).await?;
        let mut doomed = Vec::with_capacity(rows.len());
        for row in rows {
            let parties = parties_of(&row);
            let facts = facts_of(&row, &parties);
            if access(&account.policy, &account.holds, &facts, now) == Access::Gone {
                continue;
            }
            let hold = find_hold(&account.policy, &account.holds, &facts, now).map(|hold| hold.id);
            let floor = account.policy.find_floor(kind.class(), row.at, now);
            decide_deletion(kind.class(), cause, hold, floor).into_result()?;
            doomed.push(row);
        }
        if doomed.len() != left.len() {
            return Err(VaultError::NotFound { what: kind.as_str() });
        }
        for chunk in doomed.chunks(KEYS_A_LEAF) {
            leaves.push(self.shred_documents(&account, kind, chunk, cause, now).await?);
            left.retain(|id| chunk.iter().all(|row| row.id != *id));
        }
        Ok(())
    }

    /// Shreds documents of one kind, at most [`KEYS_A_LEAF`], with one leaf.
    pub(crate) async fn shred_documents(
        &self,
        account: &Account,
        kind: DocumentKind,
        rows: &[DocumentRow],
        cause: Cause,
        now: TimeUs,
    ) -> Result<u64> {
        let first = rows.iter().map(|row| row.at).min();
        let last = rows.iter().map(|row| row.at).max();
        let doomed = Doomed {
            documents: rows.iter().map(|row| (kind, row.id, row.key)).collect(),
            records: rows.len() as u64,
            span: first.zip(last),
            ..Doomed::default()
        };
        self.shred(account, Some(kind.class()), cause, doomed, now).await
    }
}

/// What a body is bound to: it opens as no other document.
fn context(kind: DocumentKind, id: Sid) -> Vec<u8> {
    [kind.as_str().as_bytes(), b"/", &id.0].concat()
}

fn of_row<T>(row: DocumentRow, body: T) -> Document<T> {
    Document {
        id: row.id,
        at: row.at,
        updated_at: row.updated_at,
        members: row.members,
        body,
        row,
    }
}

fn open_row<T: DeserializeOwned>(row: DocumentRow, secret: &SecretKey) -> Result<Document<T>> {
    let json = envelope::open(&secret.derive(BODY), &context(row.kind, row.id), &row.body)?;
    let json = zeroize::Zeroizing::new(json);
    let body = serde_json::from_slice(&json).map_err(|_| VaultError::Damaged {
        what: "document",
        reason: format!("the body of a {} is not readable", row.kind),
    })?;
    Ok(of_row(row, body))
}

/// The blind hashes that a hold finds a document by: a contact's name is its number.
pub(crate) fn parties_of(row: &DocumentRow) -> Vec<[u8; 16]> {
    match row.kind {
        DocumentKind::Contact => row.name.into_iter().collect(),
        _ => Vec::new(),
    }
}

/// What the rules need to know of a document.
pub(crate) fn facts_of<'p>(row: &DocumentRow, parties: &'p [[u8; 16]]) -> Facts<'p> {
    Facts {
        class: row.kind.class(),
        sid: row.id,
        call_sid: None,
        at: row.at,
        kept_since: row.at,
        parties,
    }
}
