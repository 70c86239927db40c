//! Deleting: every cause ends in [`Vault::shred`], which destroys keys.

mod check;

use callvault_core::{
    AccountSid, Class, DocumentKind, KeyId, Sid, TimeUs,
    hold::{Cause, decide_deletion},
    id::Subject,
    proof::{
        AccountHash, AccountSalt, CertificateBody, Certified, Copies, CopyState, Deletion, Keys, LeafBody, Subjects,
    },
};
use callvault_seal::{digest::sha256, random_bytes};
use callvault_store::{
    StoreError,
    rows::{DocumentQuery, NewLeaf, PartitionRef, RecordingQuery, RecordingRow, Shred, Tombstone},
};

use crate::{
    error::{Result, VaultError},
    vault::{Account, Vault},
};

/// Keys that one leaf names at most; keeps a leaf under 65,535 bytes.
pub(crate) const KEYS_A_LEAF: usize = 1_000;
/// Decisions on a deletion that others keep overtaking.
const ATTEMPTS: u32 = 8;

/// The copies' states in a stored statement; a certificate gets the true ones when it is issued.
const UNKNOWN: Copies = Copies {
    catalog: CopyState::None,
    objects: CopyState::None,
    index: CopyState::None,
    cache: CopyState::None,
    backups: CopyState::None,
    exports: CopyState::None,
};

/// What a leaf says beside keys and account.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Said {
    /// Class, or nothing when an account's own key goes.
    pub(crate) class: Option<Class>,
    pub(crate) cause: Cause,
    pub(crate) records: u64,
    /// First and last moment.
    pub(crate) span: Option<(TimeUs, TimeUs)>,
    pub(crate) at: TimeUs,
}

impl Said {
    fn deletion<W, T>(&self, region: &str, whose: W, taken: T) -> Deletion<W, T> {
        let (from, last) = self.span.unwrap_or((self.at, self.at));
        Deletion {
            region: region.to_owned(),
            whose,
            class: self.class,
            records: self.records,
            from,
            to: TimeUs(last.0.saturating_add(1)),
            cause: self.cause,
            at: self.at,
            taken,
        }
    }
}

/// What is destroyed together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Doomed {
    pub(crate) partitions: Vec<PartitionRef>,
    pub(crate) recordings: Vec<(Sid, KeyId)>,
    pub(crate) documents: Vec<(DocumentKind, Sid, KeyId)>,
    pub(crate) account_key: Option<KeyId>,
    /// Names of marks that keep what goes from being taken in again.
    pub(crate) marks: Vec<String>,
    /// Records that become unreadable.
    pub(crate) records: u64,
    /// First and last moment of what goes.
    pub(crate) span: Option<(TimeUs, TimeUs)>,
}

impl Vault {
    /// Destroys keys, with their leaf, in one transaction. Returns the leaf's index. A hold that was placed since the
    /// account was read makes it a conflict.
    pub(crate) async fn shred(
        &self,
        account: &Account,
        class: Option<Class>,
        cause: Cause,
        doomed: Doomed,
        now: TimeUs,
    ) -> Result<u64> {
        let mut keys: Vec<KeyId> = doomed.partitions.iter().map(|partition| partition.key).collect();
        keys.extend(doomed.recordings.iter().map(|(_, key)| *key));
        keys.extend(doomed.documents.iter().map(|(_, _, key)| *key));
        keys.extend(doomed.account_key);
        let said = Said {
            class,
            cause,
            records: doomed.records,
            span: doomed.span,
            at: now,
        };
        let leaf = self.shred_leaf(&account.sid, &said, keys.clone())?;
        let shred = Shred {
            account: account.sid.clone(),
            rules_version: account.version,
            at: now,
            partitions: doomed.partitions,
            recordings: doomed.recordings,
            documents: doomed.documents,
            account_key: doomed.account_key,
            marks: doomed.marks,
            leaf,
        };
        let index = self.catalog.shred(&shred).await?;
        self.segments.forget(&keys);
        Ok(index)
    }

    /// The leaf and the statement that say which keys are destroyed and why.
    pub(crate) fn shred_leaf(&self, account: &AccountSid, said: &Said, keys: Vec<KeyId>) -> Result<NewLeaf> {
        let (whose, hash) = self.name_account(account)?;
        let leaf = LeafBody::Shred(said.deletion(&self.region, hash, Keys { keys: keys.clone() }));
        let deletion = said.deletion(&self.region, whose, Keys { keys });
        let certificate = CertificateBody::Shred(Certified {
            deletion,
            copies: UNKNOWN,
            issued_at: said.at,
        });
        Ok(NewLeaf {
            body: leaf.to_json().into_bytes(),
            statement: certificate.to_json(),
        })
    }

    /// The leaf and the statement that say which records are hidden and why.
    fn erase_leaf(&self, account: &AccountSid, said: &Said, subjects: Vec<Subject>) -> Result<NewLeaf> {
        let (whose, hash) = self.name_account(account)?;
        let leaf = LeafBody::Erase(said.deletion(
            &self.region,
            hash,
            Subjects {
                subjects: subjects.clone(),
            },
        ));
        let deletion = said.deletion(&self.region, whose, Subjects { subjects });
        let certificate = CertificateBody::Erase(Certified {
            deletion,
            copies: UNKNOWN,
            issued_at: said.at,
        });
        Ok(NewLeaf {
            body: leaf.to_json().into_bytes(),
            statement: certificate.to_json(),
        })
    }

    /// The account as its certificates name it, and as everybody else sees it.
    fn name_account(&self, account: &AccountSid) -> Result<(AccountSalt, AccountHash)> {
        let salt = random_bytes::<32>()?;
        let account_hash = hex::encode(sha256(&[&salt, account.as_str().as_bytes()]));
        Ok((
            AccountSalt {
                account: account.clone(),
                salt: hex::encode(salt),
            },
            AccountHash { account_hash },
        ))
    }

    /// Deletes single recordings. They are unreadable when this returns.
    ///
    /// # Errors
    /// [`VaultError::Refused`] when one is held or a law keeps it; [`VaultError::NotFound`] when one is not there.
    /// Nothing is deleted then.
    pub async fn delete_recordings(&self, sid: &AccountSid, recordings: &[Sid], cause: Cause) -> Result<Vec<u64>> {
        let mut leaves = Vec::new();
        let mut left = recordings.to_vec();
        left.sort_unstable();
        left.dedup();
        for _ in 0..ATTEMPTS {
            let done = self.try_delete_recordings(sid, &mut left, cause, &mut leaves).await;
            if !is_conflict(&done) {
                return done.map(|()| leaves);
            }
        }
        Err(StoreError::Conflict { what: "recordings" }.into())
    }

    /// Decides on what is left and deletes it; what went is taken off. A conflict says that something changed between
    /// the two, such as a hold that was placed: then all of it is decided anew.
    async fn try_delete_recordings(
        &self,
        sid: &AccountSid,
        left: &mut Vec<Sid>,
        cause: Cause,
        leaves: &mut Vec<u64>,
    ) -> Result<()> {
        let now = self.now();
        let account = self.get_account(sid).await?;
        let mut rows = Vec::with_capacity(left.len());
        for recording in left.iter() {
            rows.push(self.get_deletable(&account, *recording, cause, now).await?);
        }
        for chunk in rows.chunks(KEYS_A_LEAF) {
            leaves.extend(self.shred_recordings(&account, chunk, cause, now).await?);
            left.drain(..chunk.len());
        }
        Ok(())
    }

    /// Whether a recording was deleted before its term, so that an import of the same file is refused.
    pub(crate) async fn was_deleted(&self, account: &AccountSid, recording: Sid) -> Result<bool> {
        Ok(self
            .catalog
            .find_value(&self.deleted_mark(account, recording))
            .await?
            .is_some())
    }

    /// The name of the mark that a deleted recording leaves: a keyed hash of its SID.
    pub(crate) fn deleted_mark(&self, account: &AccountSid, recording: Sid) -> String {
        format!("deleted/{}", self.subject(account, Class::Recording, recording))
    }

    /// Shreds recordings, a leaf for every thousand.
    pub(crate) async fn shred_recordings(
        &self,
        account: &Account,
        rows: &[RecordingRow],
        cause: Cause,
        now: TimeUs,
    ) -> Result<Vec<u64>> {
        let mut leaves = Vec::new();
        for chunk in rows.chunks(KEYS_A_LEAF) {
            let from = chunk.iter().map(|row| row.at).min();
            let to = chunk.iter().map(|row| row.at).max();
            // What goes before its term must not come back from a source that still has it.
            let marked = matches!(
                cause,
                Cause::Request | Cause::Right | Cause::ConsentWithdrawn | Cause::IngestError
            );
            let marks = chunk.iter().filter(|_| marked);
            let doomed = Doomed {
                marks: marks.map(|row| self.deleted_mark(&account.sid, row.sid)).collect(),
                recordings: chunk.iter().map(|row| (row.sid, row.key)).collect(),
                records: chunk.len() as u64,
                span: from.zip(to),
                ..Doomed::default()
            };
            leaves.push(self.shred(account, Some(Class::Recording), cause, doomed, now).await?);
        }
        Ok(leaves)
    }

    /// Hides single records of a partitioned class at once; their partitions' keys are destroyed within the erase
    /// window (spec 5.1). Returns the log entries that say so.
    ///
    /// # Errors
    /// As [`Vault::delete_recordings`].
    pub async fn erase_records(&self, sid: &AccountSid, class: Class, sids: &[Sid], cause: Cause) -> Result<Vec<u64>> {
        let mut leaves = Vec::new();
        let mut left = sids.to_vec();
        left.sort_unstable();
        left.dedup();
        for _ in 0..ATTEMPTS {
            let done = self.try_erase(sid, class, &mut left, cause, &mut leaves).await;
            if !is_conflict(&done) {
                return done.map(|()| leaves);
            }
        }
        Err(StoreError::Conflict { what: "records" }.into())
    }

    /// As [`Vault::try_delete_recordings`], for records of a partitioned class.
    async fn try_erase(
        &self,
        sid: &AccountSid,
        class: Class,
        left: &mut Vec<Sid>,
        cause: Cause,
        leaves: &mut Vec<u64>,
    ) -> Result<()> {
        let now = self.now();
        let account = self.get_account(sid).await?;
        let mut rows = Vec::with_capacity(left.len());
        for record_sid in left.iter().copied() {
            let (partition, record) = self
                .find_row(
                    &account,
                    class,
                    record_sid,
                    callvault_core::hold::Reader::Compliance,
                    now,
                )
                .await?
                .ok_or(VaultError::NotFound { what: "record" })?;
            let parties = account.party_hashes(&record);
            let facts = crate::read::facts_of(&record, &parties);
            let hold = callvault_core::hold::find_hold(&account.policy, &account.holds, &facts, now);
            let floor = account.policy.find_floor(class, record.at(), now);
            decide_deletion(class, cause, hold.map(|hold| hold.id), floor).into_result()?;
            rows.push((
                partition,
                Tombstone {
                    sid: record_sid,
                    at: now,
                },
                record.at(),
            ));
        }
        for chunk in rows.chunks(KEYS_A_LEAF) {
            let span = chunk
                .iter()
                .map(|row| row.2)
                .min()
                .zip(chunk.iter().map(|row| row.2).max());
            let subjects = chunk.iter().map(|row| self.subject(sid, class, row.1.sid)).collect();
            let said = Said {
                class: Some(class),
                cause,
                records: chunk.len() as u64,
                span,
                at: now,
            };
            let leaf = self.erase_leaf(sid, &said, subjects)?;
            let tombstones: Vec<_> = chunk.iter().map(|row| (row.0.clone(), row.1)).collect();
            leaves.push(self.catalog.erase(sid, account.version, &tombstones, &leaf).await?);
            left.drain(..chunk.len());
        }
        Ok(())
    }

    /// What a leaf calls an erased record: a keyed hash that only this vault can compute again.
    pub(crate) fn subject(&self, account: &AccountSid, class: Class, sid: Sid) -> Subject {
        Subject(self.subjects.hash("erased", &format!("{account}/{class}/{sid}")))
    }

    /// Closes an account: it is frozen and unreadable at once, and every key of it is destroyed. What a crash leaves
    /// undone the next tick does. The checks of spec section 6 come before.
    ///
    /// # Errors
    /// [`VaultError::Refused`] while a hold is in force; [`VaultError::NotFound`] when there is no such account.
    pub async fn close_account(&self, sid: &AccountSid) -> Result<Vec<u64>> {
        for attempt in 1.. {
            let row = self.catalog.find_account(sid).await?;
            let row = row
                .filter(|row| !row.is_closed())
                .ok_or(VaultError::NotFound { what: "account" })?;
            if row.closed_at.is_some() {
                break;
            }
            let account = self.account_of(row).await?;
            check::decide_closure(&account)?;
            match self.catalog.begin_closing(sid, account.version, self.now()).await {
                // A hold was placed meanwhile, or another process was first: it is decided anew.
                Err(StoreError::Conflict { .. }) if attempt < ATTEMPTS => {}
                done => {
                    done?;
                    break;
                }
            }
        }
        self.finish_closing(sid).await
    }

    /// Destroys what an account has whose closing began.
    pub(crate) async fn finish_closing(&self, sid: &AccountSid) -> Result<Vec<u64>> {
        let mut leaves = Vec::new();
        loop {
            let row = self.catalog.find_account(sid).await?;
            // Another process did the rest.
            let Some(row) = row.filter(|row| !row.is_closed()) else {
                return Ok(leaves);
            };
            let account = self.load_account(row).await?;
            let done = self.try_closing(&account, &mut leaves).await;
            if !is_conflict(&done) {
                return done.map(|()| leaves);
            }
        }
    }

    async fn try_closing(&self, account: &Account, leaves: &mut Vec<u64>) -> Result<()> {
        let now = self.now();
        self.shred_contents(account, now, leaves).await?;
        let doomed = Doomed {
            account_key: Some(account.key),
            ..Doomed::default()
        };
        self.delete_takes(&account.sid).await?;
        leaves.push(self.shred(account, None, Cause::Closure, doomed, now).await?);
        self.keys.forget_account(account.key);
        // A call that went on until now may have added to its take; from now on it cannot.
        self.delete_takes(&account.sid).await
    }

    /// Destroys every key of an account but its own.
    async fn shred_contents(&self, account: &Account, now: TimeUs, leaves: &mut Vec<u64>) -> Result<()> {
        let sid = &account.sid;
        loop {
            let query = RecordingQuery {
                limit: 1_000,
                ..RecordingQuery::default()
            };
            let rows = self.catalog.list_recordings(sid, &query).await?;
            if rows.is_empty() {
                break;
            }
            leaves.extend(self.shred_recordings(account, &rows, Cause::Closure, now).await?);
        }
        for kind in DocumentKind::ALL {
            loop {
                let query = DocumentQuery {
                    limit: KEYS_A_LEAF as u32,
                    ..DocumentQuery::default()
                };
                let rows = self.catalog.list_documents(sid, kind, &query).await?;
                if rows.is_empty() {
                    break;
                }
                leaves.push(self.shred_documents(account, kind, &rows, Cause::Closure, now).await?);
            }
        }
        for class in crate::partition::CLASSES {
            let partitions = self
                .catalog
                .list_partitions(sid, class, crate::forecast::all_days())
                .await?;
            for chunk in partitions.chunks(KEYS_A_LEAF) {
                let doomed = Doomed::of_partitions(chunk);
                leaves.push(self.shred(account, Some(class), Cause::Closure, doomed, now).await?);
            }
        }
        Ok(())
    }
}

impl Doomed {
    /// Whole partitions.
    pub(crate) fn of_partitions(rows: &[callvault_store::rows::PartitionRow]) -> Self {
        let first = rows.iter().map(|row| row.day.start()).min();
        let last = rows.iter().map(|row| TimeUs(row.day.end().0 - 1)).max();
        Self {
            partitions: rows
                .iter()
                .map(callvault_store::rows::PartitionRow::reference)
                .collect(),
            records: rows
                .iter()
                .map(|row| (row.loose_rows + row.sealed_rows).saturating_sub(row.tombstones))
                .sum(),
            span: first.zip(last),
            ..Self::default()
        }
    }
}

/// What the rules need to know of a recording.
pub(crate) fn facts_of(row: &RecordingRow) -> callvault_core::hold::Facts<'_> {
    callvault_core::hold::Facts {
        class: Class::Recording,
        sid: row.sid,
        call_sid: row.call_sid,
        at: row.at,
        kept_since: row.kept_since,
        parties: &row.parties,
    }
}

/// Whether a store's answer means that there is nothing (left) to do.
pub(crate) fn is_conflict<T>(result: &Result<T>) -> bool {
    matches!(result, Err(VaultError::Store(StoreError::Conflict { .. })))
}
