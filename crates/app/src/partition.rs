//! What is in a partition: loose rows, packed segments, Parquet segments, minus what is hidden.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use callvault_core::{
    AccountSid, Class, KeyId, ObjectId, Record, Sid, TimeUs,
    hold::{Cause, Facts, is_held},
    plan::Keep,
};
use callvault_seal::{SecretKey, random_bytes};
use callvault_store::{
    Objects, StoreError,
    catalog::object_names,
    objects::End,
    rows::{KeyPurpose, Packed, PartitionRef, PartitionRow, RewriteCommit, SealCommit, SegmentRow},
};

use crate::{
    deletion::Said,
    error::{Result, VaultError},
    ingest::open_loose,
    segment::{self, Fence, Footer, Locator, RangeRead, SegmentError, SegmentKind, SegmentReader},
    vault::{Account, Vault},
};

/// The classes whose records live in partitions and that can be taken in today.
pub(crate) const CLASSES: [Class; 6] = [
    Class::Call,
    Class::Message,
    Class::CampaignReport,
    Class::Activity,
    Class::ApiAccess,
    Class::WebhookDelivery,
];
/// Segments whose footers and locator headers are kept open at once.
const SEGMENTS_KEPT: usize = 512;
/// Fewer records than this are looked up one by one in a segment; for more it is read whole.
const LOOK_UP_BELOW: usize = 64;

/// Opened footers and locator headers. Entries hold a segment's derived keys, so they go with the partition's key.
#[derive(Default)]
pub(crate) struct SegmentCache(Mutex<HashMap<ObjectId, Kept>>);

#[derive(Clone)]
struct Kept {
    account: AccountSid,
    partition: KeyId,
    footer: Option<Arc<Footer>>,
    fence: Option<Arc<Fence>>,
}

impl SegmentCache {
    fn get(&self, segment: ObjectId) -> Option<Kept> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&segment)
            .cloned()
    }

    /// Adds what was opened to what is kept of a segment.
    fn keep(
        &self,
        segment: ObjectId,
        partition: &PartitionRef,
        footer: Option<Arc<Footer>>,
        fence: Option<Arc<Fence>>,
    ) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= SEGMENTS_KEPT && !all.contains_key(&segment) {
            all.clear();
        }
        let kept = all.entry(segment).or_insert_with(|| Kept {
            account: partition.account.clone(),
            partition: partition.key,
            footer: None,
            fence: None,
        });
        kept.footer = footer.or(kept.footer.take());
        kept.fence = fence.or(kept.fence.take());
    }

    /// Forgets what a destroyed key opened.
    pub(crate) fn forget(&self, keys: &[KeyId]) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, kept| !keys.contains(&kept.partition));
    }

    /// The partitions with something kept.
    pub(crate) fn partitions(&self) -> HashMap<AccountSid, Vec<KeyId>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found: HashMap<AccountSid, Vec<KeyId>> = HashMap::new();
        for kept in all.values() {
            found.entry(kept.account.clone()).or_default().push(kept.partition);
        }
        found
    }
}

/// An object of the object store as a segment reader sees it. The catalog knows its length.
struct StoredObject {
    objects: Arc<dyn Objects>,
    name: String,
}

#[async_trait]
impl RangeRead for StoredObject {
    async fn len_bytes(&self) -> std::result::Result<u64, SegmentError> {
        let size = self
            .objects
            .find_size(&self.name)
            .await
            .map_err(|error| SegmentError::Fetch(Box::new(error)))?;
        size.ok_or(SegmentError::Damaged("its object is missing"))
    }

    async fn read(&self, range: Range<u64>) -> std::result::Result<Bytes, SegmentError> {
        self.objects
            .get_range(&self.name, range)
            .await
            .map_err(|error| SegmentError::Fetch(Box::new(error)))
    }

    async fn read_end(&self, end: End, bytes: u64) -> std::result::Result<(Bytes, u64), SegmentError> {
        self.objects
            .get_end(&self.name, end, bytes)
            .await
            .map_err(|error| match error {
                StoreError::NotFound { .. } => SegmentError::Damaged("its object is missing"),
                error => SegmentError::Fetch(Box::new(error)),
            })
    }

    async fn read_many(&self, ranges: &[Range<u64>]) -> std::result::Result<Vec<Bytes>, SegmentError> {
        self.objects
            .get_ranges(&self.name, ranges)
            .await
            .map_err(|error| SegmentError::Fetch(Box::new(error)))
    }
}

impl From<SegmentError> for VaultError {
    fn from(error: SegmentError) -> Self {
        match error {
            SegmentError::Fetch(source) => match source.downcast::<callvault_store::StoreError>() {
                Ok(store) => Self::Store(*store),
                Err(other) => Self::Damaged {
                    what: "segment",
                    reason: other.to_string(),
                },
            },
            SegmentError::Seal(error) => Self::Seal(error),
            other => Self::Damaged {
                what: "segment",
                reason: other.to_string(),
            },
        }
    }
}

impl Vault {
    /// A segment's reader.
    pub(crate) async fn open_segment(
        &self,
        partition: &PartitionRef,
        secret: &SecretKey,
        row: &SegmentRow,
    ) -> Result<SegmentReader> {
        if let Some(packed) = &row.packed {
            return Ok(SegmentReader::open_packed(&packed.body, secret, row.segment.0)?);
        }
        let source = self.stored(object_names::segment(&partition.account, row.segment));
        if let Some(footer) = self.segments.get(row.segment).and_then(|kept| kept.footer) {
            return Ok(SegmentReader::with_footer(source, footer));
        }
        let reader = SegmentReader::open_parquet(source, secret, row.segment.0).await?;
        self.segments.keep(row.segment, partition, reader.footer(), None);
        Ok(reader)
    }

    /// A segment's locator.
    pub(crate) async fn open_locator(
        &self,
        partition: &PartitionRef,
        secret: &SecretKey,
        row: &SegmentRow,
    ) -> Result<Locator> {
        if let Some(packed) = &row.packed {
            let source: Arc<dyn RangeRead> = Arc::new(Bytes::copy_from_slice(&packed.locator));
            return Ok(Locator::open(source, secret, row.segment.0).await?);
        }
        let source = self.stored(object_names::locator(&partition.account, row.segment));
        if let Some(fence) = self.segments.get(row.segment).and_then(|kept| kept.fence) {
            return Ok(Locator::with_fence(source, fence));
        }
        let locator = Locator::open(source, secret, row.segment.0).await?;
        self.segments.keep(row.segment, partition, None, Some(locator.fence()));
        Ok(locator)
    }

    fn stored(&self, name: String) -> Arc<dyn RangeRead> {
        Arc::new(StoredObject {
            objects: Arc::clone(&self.objects),
            name,
        })
    }

    /// The key of a partition.
    pub(crate) async fn partition_key(&self, partition: &PartitionRow) -> Result<Option<SecretKey>> {
        self.keys.find(&partition.account, partition.key).await
    }

    /// Every record of a partition that is not hidden, oldest first, with the partition's key. Nothing when the
    /// partition is gone.
    pub(crate) async fn read_partition(
        &self,
        _account: &Account,
        row: &PartitionRow,
    ) -> Result<(Option<SecretKey>, Vec<Record>)> {
        let Some(secret) = self.partition_key(row).await? else {
            return Ok((None, Vec::new()));
        };
        let partition = row.reference();
        let hidden: HashSet<Sid> = match row.tombstones {
            0 => HashSet::new(),
            _ => self
                .catalog
                .list_tombstones(&partition)
                .await?
                .into_iter()
                .map(|tombstone| tombstone.sid)
                .collect(),
        };
        let mut records = open_loose(&secret, &self.catalog.list_loose(&partition).await?)?;
        for segment in self.catalog.list_segments(&partition).await? {
            let reader = self.open_segment(&partition, &secret, &segment).await?;
            records.extend(reader.read_between(TimeUs(i64::MIN)..TimeUs::NEVER).await?);
        }
        records.retain(|record| !hidden.contains(&record.sid()));
        sort(&mut records);
        Ok((Some(secret), records))
    }

    /// Those of these records whose SID is in a sealed segment of the partition already, as they are there.
    pub(crate) async fn find_sealed(
        &self,
        row: &PartitionRow,
        secret: &SecretKey,
        records: &[&Record],
    ) -> Result<HashMap<Sid, Record>> {
        let mut known = HashMap::new();
        if (row.segments == 0 && row.loose_rows == 0) || records.is_empty() {
            return Ok(known);
        }
        let partition = row.reference();
        let wanted: HashSet<Sid> = records.iter().map(|record| record.sid()).collect();
        for segment in self.catalog.list_segments(&partition).await? {
            let near = |sid: &Sid| (segment.min_at.0 - 1_000..=segment.max_at.0).contains(&sid.at_ms().0);
            let here: Vec<Sid> = wanted.iter().filter(|sid| near(sid)).copied().collect();
            if here.is_empty() {
                continue;
            }
            let reader = self.open_segment(&partition, secret, &segment).await?;
            if here.len() < LOOK_UP_BELOW {
                for sid in here {
                    known.extend(reader.find_sid(sid).await?.map(|(_, record)| (sid, record)));
                }
            } else {
                let all = reader.read_between(TimeUs(i64::MIN)..TimeUs::NEVER).await?;
                known.extend(
                    all.into_iter()
                        .filter(|record| wanted.contains(&record.sid()))
                        .map(|r| (r.sid(), r)),
                );
            }
        }
        Ok(known)
    }

    /// Encodes records as one segment and writes what is large. The objects are staged first, so that a crash leaves
    /// no unknown object behind.
    pub(crate) async fn write_segment(
        &self,
        account: &Account,
        secret: &SecretKey,
        records: Arc<Vec<Record>>,
    ) -> Result<SegmentRow> {
        let id = ObjectId(random_bytes()?);
        let (secret, keys) = (secret.clone(), Arc::clone(&account.keys));
        let encoded = tokio::task::spawn_blocking(move || {
            let hash = |number: &callvault_core::Number| keys.blind.hash("number", number.as_str());
            segment::encode(&records, &secret, id.0, &hash)
        });
        let encoded = encoded.await.map_err(|_| VaultError::Damaged {
            what: "segment",
            reason: "the encoder stopped".to_owned(),
        })??;
        let bytes = (encoded.bytes.len() + encoded.locator.len()) as u64;
        let mut row = SegmentRow {
            segment: id,
            rows: u64::from(encoded.rows),
            bytes,
            min_at: encoded.min_at,
            max_at: encoded.max_at,
            packed: None,
        };
        match encoded.kind {
            SegmentKind::Packed => {
                row.packed = Some(Packed {
                    body: encoded.bytes,
                    locator: encoded.locator,
                })
            }
            SegmentKind::Parquet => {
                let names = [
                    object_names::segment(&account.sid, id),
                    object_names::locator(&account.sid, id),
                ];
                self.catalog.stage_objects(&names, self.now()).await?;
                let [body, locator] = &names;
                futures::try_join!(
                    self.objects.put(body, encoded.bytes.into()),
                    self.objects.put(locator, encoded.locator.into())
                )?;
            }
        }
        Ok(row)
    }

    /// Seals a partition's loose rows into a segment; with `merge`, its segments too become one.
    pub(crate) async fn seal_partition(&self, account: &Account, row: &PartitionRow, merge: bool) -> Result<()> {
        let partition = row.reference();
        let Some(secret) = self.partition_key(row).await? else {
            return Ok(());
        };
        let loose = self.catalog.list_loose(&partition).await?;
        let mut records = open_loose(&secret, &loose)?;
        let mut remove_segments = Vec::new();
        let small = |segment: &SegmentRow| segment.packed.is_some();
        for segment in self.catalog.list_segments(&partition).await? {
            // A day's small segments become one as rows trickle in; a large one stays until many have gathered.
            if merge || small(&segment) {
                let reader = self.open_segment(&partition, &secret, &segment).await?;
                records.extend(reader.read_between(TimeUs(i64::MIN)..TimeUs::NEVER).await?);
                remove_segments.push(segment.segment);
            }
        }
        if records.is_empty() {
            return Ok(());
        }
        sort(&mut records);
        let commit = SealCommit {
            add: vec![self.write_segment(account, &secret, Arc::new(records)).await?],
            partition,
            expected_version: row.version,
            remove_loose: loose.iter().map(|row| row.sid).collect(),
            remove_segments,
        };
        Ok(self.catalog.seal(&commit).await?)
    }

    /// Writes a partition anew under a new key, without what is not to be kept, and destroys the old key. Returns how
    /// many visible records went, and the log entry.
    pub(crate) async fn rewrite_partition(
        &self,
        account: &Account,
        row: &PartitionRow,
        keep: Keep,
        cause: Cause,
        now: TimeUs,
    ) -> Result<(u64, u64)> {
        let (secret, mut records) = self.read_partition(account, row).await?;
        if secret.is_none() {
            return Err(callvault_store::StoreError::Conflict { what: "partition" }.into());
        }
        let before = records.len() as u64;
        if keep == Keep::HeldOnly {
            records.retain(|record| {
                let parties = account.party_hashes(record);
                let facts = Facts {
                    class: row.class,
                    sid: record.sid(),
                    call_sid: None,
                    at: record.at(),
                    kept_since: record.at(),
                    parties: &parties,
                };
                is_held(&account.policy, &account.holds, &facts, now)
            });
        }
        let gone = before - records.len() as u64;
        let (new_secret, new_key) = self.keys.make(&account.sid, KeyPurpose::Partition)?;
        let add = match records.is_empty() {
            true => Vec::new(),
            false => vec![self.write_segment(account, &new_secret, Arc::new(records)).await?],
        };
        let span = Some((row.day.start(), TimeUs(row.day.end().0 - 1)));
        let said = Said {
            class: Some(row.class),
            cause,
            records: gone,
            span,
            at: now,
        };
        let commit = RewriteCommit {
            partition: row.reference(),
            expected_version: row.version,
            rules_version: account.version,
            expected_loose_rows: row.loose_rows,
            expected_tombstones: row.tombstones,
            new_key,
            add,
            at: now,
            leaf: self.shred_leaf(&account.sid, &said, vec![row.key])?,
        };
        let leaf = self.catalog.rewrite(&commit).await?;
        self.segments.forget(&[row.key]);
        Ok((gone, leaf))
    }
}

/// The order within a segment.
pub(crate) fn sort(records: &mut [Record]) {
    records.sort_unstable_by_key(|record| (record.at(), record.sid()));
}
