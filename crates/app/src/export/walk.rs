//! Reading days one after the other, each in order of time, with little in memory.

use std::{collections::HashSet, ops::Range};

use async_trait::async_trait;
use callvault_core::{Record, Sid, TimeUs, hold::Reader};
use callvault_seal::SecretKey;
use callvault_store::rows::{PartitionRef, PartitionRow, SegmentRow};

use super::{
    Request, changed,
    plan::{Content, PlannedDay, span},
};
use crate::{
    error::{Result, VaultError},
    ingest::open_loose,
    partition::sort,
    read::is_readable,
    segment::{Order, Scan},
    vault::{Account, Vault},
};

/// Pages of a segment that are decoded at once: some 4,000 records, below a megabyte. Larger pieces of memory that are
/// freed make glibc keep twice their size in every thread's arena.
const BATCH_PAGES: u32 = 4;

/// Takes records, from the oldest to the newest.
#[async_trait]
pub(super) trait Visit: Send {
    async fn records(&mut self, records: Vec<Record>) -> Result<()>;
}

/// The last record that was passed on.
type Place = (TimeUs, Sid);

/// Why a day was not read to its end.
enum Stop {
    /// It could not be read; it may have moved under our eyes.
    Reading(VaultError),
    /// Whoever takes the records wants no more.
    Visiting(VaultError),
}

/// Reads what an export holds.
pub(super) struct Walk<'a> {
    vault: &'a Vault,
    account: &'a Account,
    request: &'a Request,
    /// The snapshot's moment.
    at: TimeUs,
    from: TimeUs,
    to: TimeUs,
}

impl<'a> Walk<'a> {
    pub(super) fn new(vault: &'a Vault, account: &'a Account, request: &'a Request, at: TimeUs) -> Self {
        let (from, to) = span(request, at);
        Self {
            vault,
            account,
            request,
            at,
            from,
            to,
        }
    }

    /// Reads these days.
    pub(super) async fn over(&self, days: &[PlannedDay], visit: &mut dyn Visit) -> Result<()> {
        for day in days {
            self.over_one(day, visit).await?;
        }
        Ok(())
    }

    /// Reads a day. One that is sealed or merged while it is read is read on from where it was.
    pub(super) async fn over_one(&self, day: &PlannedDay, visit: &mut dyn Visit) -> Result<()> {
        self.check_rules().await?;
        let (mut after, mut count, mut seen) = (None, 0, None);
        loop {
            let found = self
                .vault
                .catalog
                .find_partition(&self.account.sid, self.request.class, day.row.day)
                .await?;
            let row = found.filter(|row| day.is_same(row)).ok_or_else(changed)?;
            match self.read_day(day, &row, &mut after, &mut count, visit).await {
                Ok(()) => break,
                Err(Stop::Visiting(error)) => return Err(error),
                Err(Stop::Reading(error)) if seen == Some((row.key, row.version)) => return Err(error),
                Err(Stop::Reading(_)) => seen = Some((row.key, row.version)),
            }
        }
        match &day.content {
            Content::Named(sids) if sids.len() != count => Err(changed()),
            _ => Ok(()),
        }
    }

    /// A closed account is read no more, and whoever reads what is held reads by the holds that stand.
    async fn check_rules(&self) -> Result<()> {
        let open = self.vault.get_account(&self.account.sid).await?;
        let same = (open.version, &open.holds) == (self.account.version, &self.account.holds);
        match self.request.reader {
            Reader::Compliance if !same => Err(changed()),
            _ => Ok(()),
        }
    }

    async fn read_day(
        &self,
        day: &PlannedDay,
        row: &PartitionRow,
        after: &mut Option<Place>,
        count: &mut usize,
        visit: &mut dyn Visit,
    ) -> std::result::Result<(), Stop> {
        let mut merge = match self.open(row, *after).await.map_err(Stop::Reading)? {
            Some(merge) => merge,
            None => return Err(Stop::Visiting(changed())),
        };
        let mut next = merge.next().await.map_err(Stop::Reading)?;
        while let Some(mut batch) = next {
            let last = batch.last().map(|record| (record.at(), record.sid()));
            let now = self.vault.now();
            let all_open = self.account.policy.ends_at(row.class, row.day.start(), row.day.start()) > now;
            batch.retain(|record| {
                self.takes(day, &merge.hidden, *after, record) && (all_open || self.is_readable(record, self.at))
            });
            // What could be read at the snapshot's moment must still be: otherwise nothing more of the export is given.
            if !all_open && batch.iter().any(|record| !self.is_readable(record, now)) {
                return Err(Stop::Visiting(changed()));
            }
            let taken = batch.len();
            // The next records are decoded while these are passed on.
            let visited = async {
                match batch.is_empty() {
                    true => Ok(()),
                    false => visit.records(batch).await,
                }
            };
            let (read, visited) = futures::join!(merge.next(), visited);
            visited.map_err(Stop::Visiting)?;
            *count += taken;
            *after = last.or(*after);
            next = read.map_err(Stop::Reading)?;
        }
        Ok(())
    }

    /// Whether a record belongs to the export, if it can be read.
    fn takes(&self, day: &PlannedDay, hidden: &HashSet<Sid>, after: Option<Place>, record: &Record) -> bool {
        let (at, sid) = (record.at(), record.sid());
        after.is_none_or(|place| (at, sid) > place)
            && at >= self.from
            && at < self.to
            && (hidden.is_empty() || !hidden.contains(&sid))
            && match &day.content {
                Content::Named(sids) => sids.binary_search(&sid).is_ok(),
                Content::Whole | Content::Any => true,
            }
    }

    fn is_readable(&self, record: &Record, at: TimeUs) -> bool {
        is_readable(self.account, record, self.request.reader, at)
    }

    /// A partition's contents from this place on; nothing when its key is gone.
    async fn open(&self, row: &PartitionRow, after: Option<Place>) -> Result<Option<Merge<'_>>> {
        let Some(secret) = self.vault.partition_key(row).await? else {
            return Ok(None);
        };
        let partition = row.reference();
        let hidden = match row.tombstones {
            0 => HashSet::new(),
            _ => self.vault.hidden(row).await?,
        };
        let times = after.map_or(self.from, |(at, _)| at.max(self.from))..self.to;
        let mut active = Vec::new();
        let mut waiting = Vec::new();
        if row.loose_rows > 0 {
            let mut loose = open_loose(&secret, &self.vault.catalog.list_loose(&partition).await?)?;
            loose.retain(|record| times.contains(&record.at()));
            sort(&mut loose);
            active.push(Source {
                scan: None,
                buffer: loose,
            });
        }
        // Loose rows may have been sealed since the partition was looked up: the segments come after them.
        if row.segments > 0 || row.loose_rows > 0 {
            waiting = self.vault.catalog.list_segments(&partition).await?;
            waiting.retain(|segment| segment.max_at >= times.start && segment.min_at < times.end);
            waiting.sort_by_key(|segment| std::cmp::Reverse(segment.min_at));
        }
        Ok(Some(Merge {
            vault: self.vault,
            partition,
            secret,
            times,
            hidden,
            active,
            waiting,
        }))
    }
}

/// Loose rows and segments of one partition in one order.
struct Merge<'a> {
    vault: &'a Vault,
    partition: PartitionRef,
    secret: SecretKey,
    times: Range<TimeUs>,
    hidden: HashSet<Sid>,
    active: Vec<Source>,
    /// Segments that are not opened yet, the latest first.
    waiting: Vec<SegmentRow>,
}

struct Source {
    /// What comes after the buffer, if anything may.
    scan: Option<Scan>,
    buffer: Vec<Record>,
}

impl Source {
    fn last(&self) -> Option<Place> {
        self.buffer.last().map(|record| (record.at(), record.sid()))
    }
}

impl Merge<'_> {
    /// The next records, or nothing at the end.
    async fn next(&mut self) -> Result<Option<Vec<Record>>> {
        loop {
            for source in &mut self.active {
                while source.buffer.is_empty()
                    && let Some(scan) = &mut source.scan
                {
                    match scan.next_batch().await? {
                        Some(batch) => source.buffer = batch,
                        None => source.scan = None,
                    }
                }
            }
            self.active.retain(|source| !source.buffer.is_empty());
            // Up to here every source is known.
            let open = self.active.iter().filter(|source| source.scan.is_some());
            let bound = open.filter_map(Source::last).min();
            let reach = bound.or_else(|| self.active.iter().filter_map(Source::last).max());
            let begins = self.waiting.last().map(|segment| segment.min_at);
            match (begins, reach) {
                (Some(begins), Some((reach, _))) if begins > reach => {}
                (Some(_), _) => {
                    self.open_one().await?;
                    continue;
                }
                (None, _) => {}
            }
            return Ok((!self.active.is_empty()).then(|| self.take_to(bound)));
        }
    }

    async fn open_one(&mut self) -> Result<()> {
        if let Some(segment) = self.waiting.pop() {
            let reader = self.vault.open_segment(&self.partition, &self.secret, &segment).await?;
            let scan = reader
                .scan(self.times.clone(), Order::OldestFirst)
                .in_pages(BATCH_PAGES);
            self.active.push(Source {
                scan: Some(scan),
                buffer: Vec::new(),
            });
        }
        Ok(())
    }

    /// Everything up to this place, or all of it, in order.
    fn take_to(&mut self, bound: Option<Place>) -> Vec<Record> {
        if let [only] = self.active.as_mut_slice() {
            return std::mem::take(&mut only.buffer);
        }
        let mut taken = Vec::new();
        for source in &mut self.active {
            let end = match bound {
                Some(bound) => source
                    .buffer
                    .partition_point(|record| (record.at(), record.sid()) <= bound),
                None => source.buffer.len(),
            };
            taken.extend(source.buffer.drain(..end));
        }
        sort(&mut taken);
        // A row is loose and sealed at once for a reader that comes between two reads of the catalog.
        taken.dedup_by_key(|record| record.sid());
        taken
    }
}
