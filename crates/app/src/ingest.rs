//! Records coming in, one by one or in bulk, as loose rows.

use std::collections::{BTreeMap, HashMap, HashSet};

use callvault_core::{AccountSid, Class, Day, KeyId, Record, Sid, TimeUs};
use callvault_seal::{SecretKey, envelope, random_bytes};
use callvault_store::{
    StoreError,
    rows::{KeyPurpose, LooseRow, PartitionRef, PartitionRow},
};

use crate::{
    error::{Result, VaultError},
    vault::{Account, Vault},
};

/// How far a record's moment may lie in the future: clocks differ.
pub const MAX_FUTURE_S: i64 = 300;
/// Attempts at a write that others keep overtaking.
const ATTEMPTS: u32 = 8;
/// Days that are asked for together lie no further apart than this, on average.
const SPAN_A_DAY: i64 = 8;
/// Code and reason for a record whose id belongs to an erased one.
pub(crate) const ERASED: (&str, &str) = (
    "deleted",
    "the record of this id was deleted; the id can be used again when the deletion is complete, as its certificate says",
);
/// Records taken in one call.
pub const MAX_BATCH: usize = 10_000;

/// What became of a record.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Taken {
    /// It is stored.
    New {
        /// Its SID.
        sid: Sid,
    },
    /// The same record was there already, with the same content; nothing changed.
    Known {
        /// Its SID.
        sid: Sid,
    },
    /// It is not stored.
    Rejected {
        /// Stable code.
        code: &'static str,
        /// What is wrong, without personal data.
        reason: String,
    },
}

impl Account {
    /// The SID of a record that its source calls `source_id`: always the same for the same id and moment.
    #[must_use]
    pub fn sid_of_source(&self, class: Class, source_id: &str, at: TimeUs) -> Sid {
        Sid::new(at, self.keys.blind.tail("source-id", &format!("{class}/{source_id}")))
    }

    /// A SID for a record whose source has no id.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn fresh_sid(at: TimeUs) -> Result<Sid> {
        Ok(Sid::new(at, random_bytes()?))
    }

    /// The blind hash of a number; the withheld number has none that is searched for.
    #[must_use]
    pub fn number_hash(&self, number: &callvault_core::Number) -> [u8; 16] {
        self.keys.blind.hash("number", number.as_str())
    }

    /// The blind hashes of a record's parties.
    #[must_use]
    pub fn party_hashes(&self, record: &Record) -> [[u8; 16]; 2] {
        record.parties().map(|number| self.number_hash(number))
    }
}

/// Why a record cannot be taken in, or nothing.
fn find_fault(account: &Account, record: &Record, now: TimeUs) -> Option<Taken> {
    find_misfit(record, now).or_else(|| find_expired(account, record.class(), record.at(), now))
}

/// What is wrong with a record whatever the account's rules are.
pub(crate) fn find_misfit(record: &Record, now: TimeUs) -> Option<Taken> {
    let rejected = |code, reason: String| Some(Taken::Rejected { code, reason });
    if record.sid().at_ms().0 != record.at().0.div_euclid(1_000) * 1_000 {
        return rejected("sid-time", "sid: does not begin with the record's time".to_owned());
    }
    if record.at() > now.plus_seconds(MAX_FUTURE_S) {
        return rejected("future", "at: lies in the future".to_owned());
    }
    None
}

/// Whether the term of a record of this moment is over.
pub(crate) fn find_expired(account: &Account, class: Class, at: TimeUs, now: TimeUs) -> Option<Taken> {
    let error = account.check_keeping(class, at, now).err()?;
    Some(Taken::Rejected {
        code: "expired",
        reason: format!("at: {error}"),
    })
}

/// What becomes of a record whose SID another one has: the same record is known, any other is refused.
fn decide_known(record: &Record, there: &Record) -> Taken {
    let sid = record.sid();
    if record == there {
        return Taken::Known { sid };
    }
    Taken::Rejected {
        code: "duplicate-id",
        reason: format!(
            "{}: another record has this id, and says something else",
            id_field(record)
        ),
    }
}

/// What becomes of a record whose id one has that was erased and is not wiped yet.
fn refuse_erased(record: &Record) -> Taken {
    Taken::Rejected {
        code: ERASED.0,
        reason: format!("{}: {}", id_field(record), ERASED.1),
    }
}

/// The field that the record's SID was made of.
const fn id_field(record: &Record) -> &'static str {
    if record.source_id().is_some() {
        "source_id"
    } else {
        "sid"
    }
}

impl Vault {
    /// Takes in records of one account. Those that can be stored are stored in one transaction and are durable when
    /// this returns; for the others the answer says why. Answers are in the order of the records.
    ///
    /// # Errors
    /// [`VaultError::Invalid`] above [`MAX_BATCH`] records; those of the stores, and then nothing is stored.
    pub async fn ingest(&self, sid: &AccountSid, records: &[Record]) -> Result<Vec<Taken>> {
        let account = self.get_account(sid).await?;
        self.ingest_into(&account, records).await
    }

    /// As [`Vault::ingest`], for an account that is loaded already.
    ///
    /// # Errors
    /// As [`Vault::ingest`].
    pub async fn ingest_into(&self, account: &Account, records: &[Record]) -> Result<Vec<Taken>> {
        if records.len() > MAX_BATCH {
            return Err(VaultError::invalid(
                "records",
                format!("at most {MAX_BATCH} in one request"),
            ));
        }
        for _ in 0..ATTEMPTS {
            match self.try_ingest(account, records).await {
                // A partition was rewritten or an epoch began meanwhile.
                Err(VaultError::Store(StoreError::Conflict { .. })) => {}
                Err(VaultError::Store(StoreError::EpochClosed(_))) => self.keys.load().await?,
                done => return done,
            }
        }
        Err(StoreError::Conflict { what: "partitions" }.into())
    }

    async fn try_ingest(&self, account: &Account, records: &[Record]) -> Result<Vec<Taken>> {
        let now = self.now();
        let mut answers: Vec<Option<Taken>> = records.iter().map(|record| find_fault(account, record, now)).collect();
        let mut days: BTreeMap<(Class, Day), Vec<usize>> = BTreeMap::new();
        for (index, record) in records.iter().enumerate() {
            if answers.get(index).is_some_and(Option::is_none) {
                days.entry((record.class(), record.at().day())).or_default().push(index);
            }
        }
        let places: Vec<(Class, Day)> = days.keys().copied().collect();
        let partitions = self.open_partitions(account, &places).await?;
        let mut rows = Vec::new();
        let mut row_of = Vec::new();
        for ((partition, secret), indexes) in partitions.iter().zip(days.values()) {
            let loose = secret.derive(LOOSE);
            let mine: Vec<&Record> = indexes.iter().filter_map(|index| records.get(*index)).collect();
            let known = self.find_sealed(partition, secret, &mine).await?;
            let erased = self.find_erased(partition).await?;
            let mut seen: HashMap<Sid, &Record> = HashMap::new();
            for (index, record) in indexes.iter().zip(mine) {
                let sid = record.sid();
                if erased.contains(&sid) {
                    if let Some(answer) = answers.get_mut(*index) {
                        *answer = Some(refuse_erased(record));
                    }
                    continue;
                }
                if let Some(there) = known.get(&sid).or_else(|| seen.get(&sid).copied()) {
                    if let Some(answer) = answers.get_mut(*index) {
                        *answer = Some(decide_known(record, there));
                    }
                    continue;
                }
                seen.insert(sid, record);
                let row = LooseRow {
                    sid,
                    at: record.at(),
                    body: seal_loose(&loose, record)?,
                };
                rows.push((partition.reference(), row));
                row_of.push(*index);
            }
        }
        let new = if rows.is_empty() {
            Vec::new()
        } else {
            self.catalog.append_loose(now, &rows).await?
        };
        let mut there: Vec<(usize, &Record)> = Vec::new();
        for (index, is_new) in row_of.into_iter().zip(new) {
            let (Some(answer), Some(record)) = (answers.get_mut(index), records.get(index)) else {
                continue;
            };
            match is_new {
                true => *answer = Some(Taken::New { sid: record.sid() }),
                false => there.push((index, record)),
            }
        }
        for (index, taken) in self.compare_loose(account, &there).await? {
            if let Some(answer) = answers.get_mut(index) {
                *answer = Some(taken);
            }
        }
        Ok(answers.into_iter().flatten().collect())
    }

    /// The SIDs of a partition's records that were erased, until it is rewritten without them.
    pub(crate) async fn find_erased(&self, partition: &PartitionRow) -> Result<HashSet<Sid>> {
        if partition.tombstones == 0 {
            return Ok(HashSet::new());
        }
        let hidden = self.catalog.list_tombstones(&partition.reference()).await?;
        Ok(hidden.into_iter().map(|tombstone| tombstone.sid).collect())
    }

    /// What becomes of records whose SIDs are there as loose rows.
    async fn compare_loose(&self, account: &Account, records: &[(usize, &Record)]) -> Result<Vec<(usize, Taken)>> {
        let mut days: BTreeMap<(Class, Day), Vec<(usize, &Record)>> = BTreeMap::new();
        for (index, record) in records {
            let place = (record.class(), record.at().day());
            days.entry(place).or_default().push((*index, record));
        }
        let mut taken = Vec::with_capacity(records.len());
        for ((class, day), group) in days {
            let mut stored: HashMap<Sid, Record> = HashMap::new();
            if let Some(partition) = self.catalog.find_partition(&account.sid, class, day).await?
                && let Some(secret) = self.partition_key(&partition).await?
            {
                let loose = self.catalog.list_loose(&partition.reference()).await?;
                let wanted: HashSet<Sid> = group.iter().map(|(_, record)| record.sid()).collect();
                let loose: Vec<LooseRow> = loose.into_iter().filter(|row| wanted.contains(&row.sid)).collect();
                let open = open_loose(&secret, &loose)?;
                stored.extend(open.into_iter().map(|record| (record.sid(), record)));
                let sealed: Vec<&Record> = group.iter().map(|(_, record)| *record).collect();
                if stored.len() < wanted.len() {
                    // They were sealed since.
                    stored.extend(self.find_sealed(&partition, &secret, &sealed).await?);
                }
            }
            taken.extend(group.into_iter().map(|(index, record)| {
                let sid = record.sid();
                let known = stored.get(&sid).map(|there| decide_known(record, there));
                // What was there a moment ago and is gone now cannot be compared any more.
                (index, known.unwrap_or(Taken::Known { sid }))
            }));
        }
        Ok(taken)
    }

    /// Those of these partitions that exist. Days that lie close together are asked for at once.
    async fn find_places(
        &self,
        account: &Account,
        places: &[(Class, Day)],
    ) -> Result<HashMap<(Class, Day), PartitionRow>> {
        let mut days: BTreeMap<Class, Vec<Day>> = BTreeMap::new();
        for (class, day) in places {
            days.entry(*class).or_default().push(*day);
        }
        let mut found = HashMap::new();
        for (class, days) in days {
            let (first, last) = (days.iter().min().copied(), days.iter().max().copied());
            let span = first.zip(last).filter(|(first, last)| {
                days.len() > 1 && i64::from(last.0) - i64::from(first.0) < SPAN_A_DAY * days.len() as i64
            });
            let rows = match span {
                Some((first, last)) => {
                    let all = self.catalog.list_partitions(&account.sid, class, first..last.plus(1));
                    all.await?
                }
                None => {
                    let mut rows = Vec::new();
                    for day in days {
                        rows.extend(self.catalog.find_partition(&account.sid, class, day).await?);
                    }
                    rows
                }
            };
            found.extend(rows.into_iter().map(|row| ((row.class, row.day), row)));
        }
        Ok(found)
    }

    /// The partitions of these days with their keys, opened where they did not exist.
    pub(crate) async fn open_partitions(
        &self,
        account: &Account,
        places: &[(Class, Day)],
    ) -> Result<Vec<(PartitionRow, SecretKey)>> {
        let mut made: HashMap<KeyId, SecretKey> = HashMap::new();
        let mut found: Vec<Option<PartitionRow>> = Vec::with_capacity(places.len());
        let mut missing = Vec::new();
        let mut known = self.find_places(account, places).await?;
        for (class, day) in places {
            let partition = known.remove(&(*class, *day));
            if partition.is_none() {
                let (secret, key) = self.keys.make(&account.sid, KeyPurpose::Partition)?;
                let reference = PartitionRef {
                    account: account.sid.clone(),
                    class: *class,
                    day: *day,
                    key: key.key,
                };
                made.insert(key.key, secret);
                missing.push((reference, key));
            }
            found.push(partition);
        }
        let opened = if missing.is_empty() {
            Vec::new()
        } else {
            self.catalog.open_partitions(&missing).await?
        };
        let mut opened = opened.into_iter();
        let rows: Vec<PartitionRow> = found
            .into_iter()
            .filter_map(|row| row.or_else(|| opened.next()))
            .collect();
        let foreign: Vec<KeyId> = rows
            .iter()
            .map(|row| row.key)
            .filter(|key| !made.contains_key(key))
            .collect();
        if !foreign.is_empty() {
            made.extend(self.keys.find_all(&account.sid, &foreign).await?);
        }
        let gone = || VaultError::Store(StoreError::Conflict { what: "partition key" });
        rows.into_iter()
            .map(|row| {
                let secret = made.get(&row.key).cloned().ok_or_else(gone)?;
                Ok((row, secret))
            })
            .collect()
    }
}

/// Purpose of the key that loose rows are sealed under.
const LOOSE: &[u8] = b"callvault/loose/v1";

/// Seals a record for the catalog. It is bound to its SID.
fn seal_loose(loose: &SecretKey, record: &Record) -> Result<Vec<u8>> {
    let json = zeroize::Zeroizing::new(serde_json::to_vec(record).map_err(|error| VaultError::Damaged {
        what: "record",
        reason: error.to_string(),
    })?);
    Ok(envelope::seal(loose, &record.sid().0, &json)?)
}

/// Opens loose rows of one partition.
pub(crate) fn open_loose(partition: &SecretKey, rows: &[LooseRow]) -> Result<Vec<Record>> {
    let loose = callvault_seal::envelope::Cipher::new(&partition.derive(LOOSE))?;
    rows.iter()
        .map(|row| {
            let json = zeroize::Zeroizing::new(loose.open(&row.sid.0, &row.body)?);
            serde_json::from_slice(&json).map_err(|_| VaultError::Damaged {
                what: "loose row",
                reason: "not a record".to_owned(),
            })
        })
        .collect()
}
