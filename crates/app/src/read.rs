//! Reading records: one by SID, many by filter, with stable paging.

use std::collections::{HashMap, HashSet};

use callvault_core::{
    AccountSid, Class, Day, KeyId, Number, Record, Sid, TimeUs,
    hold::{Facts, Reader, access, may_read},
};
use callvault_seal::SecretKey;
use callvault_store::rows::{PartitionRef, PartitionRow, SegmentRow};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::{
    error::{Result, VaultError},
    ingest::open_loose,
    segment::Order,
    vault::{Account, Vault},
};

/// The most records of one page.
pub const MAX_PAGE: usize = 1_000;
/// Days looked at for one page at most when a filter rejects nearly everything; the cursor continues from there.
const MAX_DAYS: usize = 4_000;
/// Days whose keys and segments are asked for at once when a number is looked for.
const DAYS_ASKED: usize = 64;
/// Days read at the same time when a number is looked for: most of the time is waiting for the disk.
const DAYS_AHEAD: usize = 4;

/// Where a listing stopped. A page that continues after it repeats nothing and skips nothing that was there, whatever
/// is taken in meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Moment of the last record.
    pub at: TimeUs,
    /// Its SID.
    pub sid: Sid,
}

/// Decides whether a record is listed.
pub type Filter<'a> = &'a (dyn Fn(&Record) -> bool + Send + Sync);

/// Which records to list. All given conditions must hold.
#[derive(Clone)]
pub struct Query<'a> {
    /// At or after.
    pub from: Option<TimeUs>,
    /// Before.
    pub to: Option<TimeUs>,
    /// With this party.
    pub number: Option<Number>,
    /// Whatever else the caller asks of a record.
    pub filter: Option<Filter<'a>>,
    /// Continue after this one.
    pub after: Option<Cursor>,
    /// Newest first; otherwise oldest first.
    pub newest_first: bool,
    /// At most this many, up to [`MAX_PAGE`].
    pub limit: usize,
}

impl Default for Query<'_> {
    fn default() -> Self {
        Self {
            from: None,
            to: None,
            number: None,
            filter: None,
            after: None,
            newest_first: true,
            limit: 50,
        }
    }
}

/// A page of a listing.
pub struct Page {
    /// The records, in order.
    pub records: Vec<Record>,
    /// Where to go on, or nothing at the end.
    pub next: Option<Cursor>,
}

/// What is read of one partition for one page.
struct Window<'q> {
    query: &'q Query<'q>,
    hash: Option<[u8; 16]>,
    /// Moments to look at, from the query and the cursor.
    from: TimeUs,
    to: TimeUs,
    reader: Reader,
    now: TimeUs,
    want: usize,
}

/// A partition's key and segments.
struct Sealed {
    secret: SecretKey,
    segments: Vec<SegmentRow>,
}

impl Vault {
    /// One record.
    ///
    /// # Errors
    /// [`VaultError::NotFound`] when there is none, or this reader may not see it.
    pub async fn get_record(&self, sid: &AccountSid, class: Class, record: Sid, reader: Reader) -> Result<Record> {
        let account = self.get_account(sid).await?;
        match self.find_row(&account, class, record, reader, self.now()).await? {
            Some((_, record)) => Ok(record),
            None => Err(VaultError::NotFound { what: "record" }),
        }
    }

    /// A readable record and its partition.
    pub(crate) async fn find_row(
        &self,
        account: &Account,
        class: Class,
        sid: Sid,
        reader: Reader,
        now: TimeUs,
    ) -> Result<Option<(PartitionRef, Record)>> {
        let mut seen = None;
        loop {
            let Some(row) = self.catalog.find_partition(&account.sid, class, sid.day()).await? else {
                return Ok(None);
            };
            let state = Some((row.key, row.version));
            let found = self.find_in(&row, sid).await;
            if seen == state || matches!(found, Ok(Some(_))) {
                let found = found?.filter(|record| is_readable(account, record, reader, now));
                return Ok(found.map(|record| (row.reference(), record)));
            }
            // Nothing found, or an error: unless the partition stands still, it moved under our eyes.
            seen = state;
        }
    }

    async fn find_in(&self, row: &PartitionRow, sid: Sid) -> Result<Option<Record>> {
        let Some(secret) = self.partition_key(row).await? else {
            return Ok(None);
        };
        let partition = row.reference();
        if row.tombstones > 0 && self.hidden(row).await?.contains(&sid) {
            return Ok(None);
        }
        if let Some(loose) = self.catalog.find_loose(&partition, sid).await? {
            return Ok(open_loose(&secret, &[loose])?.pop());
        }
        if row.segments > 0 || row.loose_rows > 0 {
            for segment in self.catalog.list_segments(&partition).await? {
                if (segment.min_at.0 - 1_000..=segment.max_at.0).contains(&sid.at_ms().0) {
                    let reader = self.open_segment(&partition, &secret, &segment).await?;
                    if let Some((_, record)) = reader.find_sid(sid).await? {
                        return Ok(Some(record));
                    }
                }
            }
        }
        Ok(None)
    }

    pub(crate) async fn hidden(&self, row: &PartitionRow) -> Result<HashSet<Sid>> {
        let tombstones = self.catalog.list_tombstones(&row.reference()).await?;
        Ok(tombstones.into_iter().map(|tombstone| tombstone.sid).collect())
    }

    /// A page of an account's records.
    ///
    /// # Errors
    /// [`VaultError::Invalid`] for a limit outside 1 to [`MAX_PAGE`]; those of the stores.
    pub async fn list_records(
        &self,
        sid: &AccountSid,
        class: Class,
        query: &Query<'_>,
        reader: Reader,
    ) -> Result<Page> {
        let account = self.get_account(sid).await?;
        self.list_records_of(&account, class, query, reader).await
    }

    /// As [`Vault::list_records`], for an account that is loaded already.
    ///
    /// # Errors
    /// As [`Vault::list_records`].
    pub async fn list_records_of(
        &self,
        account: &Account,
        class: Class,
        query: &Query<'_>,
        reader: Reader,
    ) -> Result<Page> {
        if query.limit == 0 || query.limit > MAX_PAGE {
            return Err(VaultError::invalid("limit", format!("expected 1 to {MAX_PAGE}")));
        }
        let mut window = Window {
            query,
            hash: query.number.as_ref().map(|number| account.number_hash(number)),
            from: query.from.unwrap_or(TimeUs(i64::MIN)),
            to: query.to.unwrap_or(TimeUs::NEVER),
            reader,
            now: self.now(),
            want: query.limit + 1,
        };
        if let Some(cursor) = query.after {
            match query.newest_first {
                true => window.to = window.to.min(TimeUs(cursor.at.0.saturating_add(1))),
                false => window.from = window.from.max(cursor.at),
            }
        }
        let last_day = TimeUs(window.to.0.saturating_sub(1)).day();
        let days = window.from.max(Day(-40_000).start()).day()..last_day.plus(1);
        let mut partitions = match days.is_empty() {
            true => Vec::new(),
            false => self.catalog.list_partitions(&account.sid, class, days).await?,
        };
        if query.newest_first {
            partitions.reverse();
        }
        let mut records = Vec::new();
        partitions.truncate(MAX_DAYS);
        // A listing without a number stops in the first days; one of a number looks at nearly all of them.
        let ahead = if window.hash.is_some() { DAYS_AHEAD } else { 1 };
        for days in partitions.chunks(DAYS_ASKED) {
            let mut known = match ahead {
                1 => HashMap::new(),
                _ => self.find_sealed_days(account, days).await?,
            };
            let mut reads = Vec::with_capacity(days.len());
            for day in days {
                reads.push(self.read_window(account, day, known.remove(&day.key), &window));
            }
            let mut reads = stream::iter(reads).buffered(ahead);
            while let Some(mut found) = reads.try_next().await? {
                records.append(&mut found);
                if records.len() > query.limit {
                    records.truncate(query.limit);
                    let next = records.last().map(|last| Cursor {
                        at: last.at(),
                        sid: last.sid(),
                    });
                    return Ok(Page { records, next });
                }
            }
        }
        Ok(Page { records, next: None })
    }

    /// Keys and segments of those of these partitions that hold sealed records alone. A loose record may be sealed
    /// between two reads of the catalog, so where there are any, the segments are read after them.
    async fn find_sealed_days(&self, account: &Account, days: &[PartitionRow]) -> Result<HashMap<KeyId, Sealed>> {
        let keys: Vec<KeyId> = days
            .iter()
            .filter(|day| day.loose_rows == 0)
            .map(|day| day.key)
            .collect();
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let secrets = self.keys.find_all(&account.sid, &keys).await?;
        let mut found: HashMap<KeyId, Sealed> = secrets
            .into_iter()
            .map(|(key, secret)| {
                (
                    key,
                    Sealed {
                        secret,
                        segments: Vec::new(),
                    },
                )
            })
            .collect();
        for (key, segment) in self.catalog.list_segments_of(&account.sid, &keys).await? {
            if let Some(sealed) = found.get_mut(&key) {
                sealed.segments.push(segment);
            }
        }
        Ok(found)
    }

    /// The first `want` matching records of a partition, in the query's order. A partition that is rewritten or merged
    /// while it is read is read again; one that is shredded meanwhile has no records.
    async fn read_window(
        &self,
        account: &Account,
        row: &PartitionRow,
        mut known: Option<Sealed>,
        window: &Window<'_>,
    ) -> Result<Vec<Record>> {
        let mut row = row.clone();
        loop {
            let outcome = self.try_window(account, &row, known.take(), window).await;
            if let Ok(Some(records)) = outcome {
                return Ok(records);
            }
            let Some(fresh) = self.catalog.find_partition(&account.sid, row.class, row.day).await? else {
                return Ok(Vec::new());
            };
            if fresh.key == row.key && fresh.version == row.version {
                return outcome.map(Option::unwrap_or_default);
            }
            row = fresh;
        }
    }

    async fn try_window(
        &self,
        account: &Account,
        row: &PartitionRow,
        known: Option<Sealed>,
        window: &Window<'_>,
    ) -> Result<Option<Vec<Record>>> {
        let partition = row.reference();
        let (secret, known) = match known {
            Some(Sealed { secret, segments }) => (secret, Some(segments)),
            None => match self.partition_key(row).await? {
                Some(secret) => (secret, None),
                None => return Ok(None),
            },
        };
        let hidden = if row.tombstones > 0 {
            self.hidden(row).await?
        } else {
            HashSet::new()
        };
        let listed = |record: &Record| !hidden.contains(&record.sid()) && window.lists(account, record);
        let mut records = Vec::new();
        if row.loose_rows > 0 {
            records = open_loose(&secret, &self.catalog.list_loose(&partition).await?)?;
            records.retain(listed);
        }
        // Rows may have been sealed since the partition was looked at.
        if row.segments > 0 || row.loose_rows > 0 {
            let segments = match known {
                Some(segments) if row.loose_rows == 0 => segments,
                _ => self.catalog.list_segments(&partition).await?,
            };
            for segment in segments {
                if segment.max_at >= window.from && segment.min_at < window.to {
                    let found = self
                        .read_segment(&partition, &secret, &segment, window, &listed)
                        .await?;
                    records.extend(found);
                }
            }
        }
        records.sort_unstable_by_key(|record| (record.at(), record.sid()));
        // A row is loose and sealed at once for a reader that comes between two reads of the catalog.
        records.dedup_by_key(|record| record.sid());
        if window.query.newest_first {
            records.reverse();
        }
        records.truncate(window.want);
        Ok(Some(records))
    }

    async fn read_segment(
        &self,
        partition: &PartitionRef,
        secret: &SecretKey,
        row: &SegmentRow,
        window: &Window<'_>,
        listed: &(dyn Fn(&Record) -> bool + Sync),
    ) -> Result<Vec<Record>> {
        if let Some(hash) = &window.hash {
            let locator = self.open_locator(partition, secret, row).await?;
            let rows = locator.find_number(hash).await?;
            if rows.is_empty() {
                // Most days do not know the number: their records are not opened.
                return Ok(Vec::new());
            }
            let reader = self.open_segment(partition, secret, row).await?;
            let mut records = reader.rows_at(&rows).await?;
            records.retain(listed);
            return Ok(records);
        }
        let reader = self.open_segment(partition, secret, row).await?;
        let order = if window.query.newest_first {
            Order::NewestFirst
        } else {
            Order::OldestFirst
        };
        let mut scan = reader.scan(window.from..window.to, order);
        let mut records = Vec::new();
        while let Some(batch) = scan.next_batch().await? {
            records.extend(batch.into_iter().filter(|record| listed(record)));
            if records.len() >= window.want {
                break;
            }
        }
        Ok(records)
    }
}

impl Window<'_> {
    fn lists(&self, account: &Account, record: &Record) -> bool {
        let query = self.query;
        let place = (record.at(), record.sid());
        let after = query.after.is_none_or(|cursor| {
            if query.newest_first {
                place < (cursor.at, cursor.sid)
            } else {
                place > (cursor.at, cursor.sid)
            }
        });
        after
            && record.at() >= self.from
            && record.at() < self.to
            && query
                .number
                .as_ref()
                .is_none_or(|number| record.parties().contains(&number))
            && query.filter.is_none_or(|filter| filter(record))
            && is_readable(account, record, self.reader, self.now)
    }
}

/// What the rules need to know of a record.
pub(crate) fn facts_of<'a>(record: &Record, parties: &'a [[u8; 16]; 2]) -> Facts<'a> {
    Facts {
        class: record.class(),
        sid: record.sid(),
        call_sid: None,
        at: record.at(),
        kept_since: record.at(),
        parties,
    }
}

/// Whether this reader may see the record now. The numbers are hashed only once the term is over and a hold may count.
pub(crate) fn is_readable(account: &Account, record: &Record, reader: Reader, now: TimeUs) -> bool {
    if now < account.policy.ends_at(record.class(), record.at(), record.at()) {
        return true;
    }
    let parties = account.party_hashes(record);
    may_read(
        access(&account.policy, &account.holds, &facts_of(record, &parties), now),
        reader,
    )
}
