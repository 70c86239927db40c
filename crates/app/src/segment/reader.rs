//! Reading segments: by time, by SID, by row.

use std::{ops::Range, sync::Arc};

use callvault_core::{Class, Number, Sid, TimeUs, record::Record};
use callvault_seal::SecretKey;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReaderBuilder, RowSelection, RowSelectionPolicy};

use super::footer::{Fetched, Footer};
use super::locator::Locator;
use super::range::RangeRead;
use super::restore::{Batch, SID_COLUMNS, push_records, sids_of};
use super::sheet::PAGE_ROWS;
use super::{HashOf, Result, SegmentError, packed};

/// Which records of a scan come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The earliest.
    OldestFirst,
    /// The latest.
    NewestFirst,
}

#[derive(Clone)]
enum Body {
    Packed(Class, Arc<Vec<Record>>),
    Parquet(Arc<dyn RangeRead>, Arc<Footer>),
}

/// Reads one segment. Every answer is whole or an error.
pub struct SegmentReader(Body);

/// The most pages of one batch of a scan: some 32,000 records.
const BATCH_PAGES: u32 = 32;
/// Rows decoded at a time.
const DECODE_ROWS: usize = 8_192;

impl SegmentReader {
    /// Opens a packed segment.
    ///
    /// # Errors
    /// [`SegmentError::WrongKey`], [`SegmentError::Damaged`].
    pub fn open_packed(bytes: &[u8], key: &SecretKey, segment_id: [u8; 16]) -> Result<Self> {
        let (class, records) = packed::open(bytes, key, &segment_id)?;
        Ok(Self(Body::Packed(class, Arc::new(records))))
    }

    /// Opens a Parquet segment.
    ///
    /// # Errors
    /// As [`Footer::open`].
    pub async fn open_parquet(source: Arc<dyn RangeRead>, key: &SecretKey, segment_id: [u8; 16]) -> Result<Self> {
        let footer = Footer::open(source.as_ref(), key, segment_id).await?;
        Ok(Self::with_footer(source, Arc::new(footer)))
    }

    /// A Parquet segment whose footer was opened before. No key is needed: the footer holds it.
    #[must_use]
    pub const fn with_footer(source: Arc<dyn RangeRead>, footer: Arc<Footer>) -> Self {
        Self(Body::Parquet(source, footer))
    }

    /// The footer of a Parquet segment, to be cached.
    #[must_use]
    pub fn footer(&self) -> Option<Arc<Footer>> {
        match &self.0 {
            Body::Packed(..) => None,
            Body::Parquet(_, footer) => Some(Arc::clone(footer)),
        }
    }

    /// The class of its records.
    #[must_use]
    pub fn class(&self) -> Class {
        match &self.0 {
            Body::Packed(class, _) => *class,
            Body::Parquet(_, footer) => footer.class,
        }
    }

    /// How many records it holds.
    #[must_use]
    pub fn rows(&self) -> u32 {
        match &self.0 {
            Body::Packed(_, records) => u32::try_from(records.len()).unwrap_or(u32::MAX),
            Body::Parquet(_, footer) => footer.rows,
        }
    }

    /// The records from `times.start` to before `times.end`, in batches.
    #[must_use]
    pub fn scan(&self, times: Range<TimeUs>, order: Order) -> Scan {
        let left = match &self.0 {
            Body::Packed(_, records) => {
                let start = records.partition_point(|record| record.at() < times.start);
                let end = records.partition_point(|record| record.at() < times.end).max(start);
                let row = |index: usize| u32::try_from(index).unwrap_or(u32::MAX);
                row(start)..row(end)
            }
            Body::Parquet(_, footer) => footer.rows_between(&times),
        };
        Scan {
            body: self.0.clone(),
            times,
            order,
            left,
            pages: 1,
            most_pages: BATCH_PAGES,
        }
    }

    /// Every record from `times.start` to before `times.end`, oldest first.
    ///
    /// # Errors
    /// [`SegmentError::Damaged`], [`SegmentError::Fetch`].
    pub async fn read_between(&self, times: Range<TimeUs>) -> Result<Vec<Record>> {
        let mut scan = self.scan(times, Order::OldestFirst);
        scan.pages = BATCH_PAGES;
        let mut out = Vec::new();
        while let Some(mut batch) = scan.next_batch().await? {
            out.append(&mut batch);
        }
        Ok(out)
    }

    /// The record with this SID and its row, if it is here. Usually one round trip that reads one page of each column.
    ///
    /// # Errors
    /// [`SegmentError::Damaged`], [`SegmentError::Fetch`].
    pub async fn find_sid(&self, sid: Sid) -> Result<Option<(u32, Record)>> {
        let (source, footer) = match &self.0 {
            Body::Packed(_, records) => {
                let found = (0_u32..).zip(records.iter()).find(|(_, record)| record.sid() == sid);
                return Ok(found.map(|(row, record)| (row, record.clone())));
            }
            Body::Parquet(source, footer) => (source, footer),
        };
        let ms = sid.at_ms();
        // Moments before 1970 have SIDs of the first millisecond.
        let start = if ms.0 == 0 { TimeUs(i64::MIN) } else { ms };
        let near = footer.rows_between(&(start..TimeUs(ms.0.saturating_add(1000))));
        if let Some(found) = find_sid_in(footer, source.as_ref(), near, sid).await? {
            return Ok(Some(found));
        }
        if footer.columns.iter().any(|name| name == "sid_ms") {
            // Some SIDs here do not begin with their record's time, so the time says nothing.
            return find_sid_in(footer, source.as_ref(), 0..footer.rows, sid).await;
        }
        Ok(None)
    }

    /// The records of these rows, in the rows' order after sorting; reads and decodes only their pages.
    ///
    /// # Errors
    /// [`SegmentError::Damaged`], also for a row beyond the end; [`SegmentError::Fetch`].
    pub async fn rows_at(&self, rows: &[u32]) -> Result<Vec<Record>> {
        let mut rows = rows.to_vec();
        rows.sort_unstable();
        rows.dedup();
        if rows.last().is_some_and(|last| *last >= self.rows()) {
            return Err(SegmentError::Damaged("a row lies beyond the end"));
        }
        match &self.0 {
            Body::Packed(_, records) => Ok(rows
                .iter()
                .filter_map(|row| records.get(*row as usize).cloned())
                .collect()),
            Body::Parquet(source, footer) => {
                let mut ranges: Vec<Range<u32>> = Vec::new();
                for row in rows {
                    match ranges.last_mut() {
                        Some(last) if last.end == row => last.end += 1,
                        _ => ranges.push(row..row + 1),
                    }
                }
                read_rows(footer, source.as_ref(), &ranges, ANY_TIME).await
            }
        }
    }

    /// The records one of whose parties is `number`, oldest first. `hash_of` is what the segment was encoded with.
    ///
    /// # Errors
    /// [`SegmentError::Damaged`], [`SegmentError::Fetch`].
    pub async fn find_number(&self, locator: &Locator, number: &Number, hash_of: HashOf<'_>) -> Result<Vec<Record>> {
        let rows = locator.find_number(&hash_of(number)).await?;
        let mut records = self.rows_at(&rows).await?;
        records.retain(|record| record.parties().contains(&number));
        Ok(records)
    }
}

/// A scan in progress.
pub struct Scan {
    body: Body,
    times: Range<TimeUs>,
    order: Order,
    left: Range<u32>,
    pages: u32,
    most_pages: u32,
}

impl Scan {
    /// The same scan in batches of at most this many pages of 1,024 rows, from the first one on.
    #[must_use]
    pub fn in_pages(mut self, pages: u32) -> Self {
        self.most_pages = pages.clamp(1, BATCH_PAGES);
        self.pages = self.most_pages;
        self
    }

    /// The next records in the scan's order, or `None` at its end. The first batch is one page, so that a short list
    /// costs little; later ones grow.
    ///
    /// # Errors
    /// [`SegmentError::Damaged`], [`SegmentError::Fetch`].
    pub async fn next_batch(&mut self) -> Result<Option<Vec<Record>>> {
        while !self.left.is_empty() {
            let page = u32::try_from(PAGE_ROWS).unwrap_or(1);
            let (first, last) = (self.left.start / page, (self.left.end - 1) / page);
            let rows = match self.order {
                Order::OldestFirst => {
                    let end = ((first + self.pages).saturating_mul(page)).min(self.left.end);
                    std::mem::replace(&mut self.left.start, end)..end
                }
                Order::NewestFirst => {
                    let start = ((last + 1).saturating_sub(self.pages) * page).max(self.left.start);
                    start..std::mem::replace(&mut self.left.end, start)
                }
            };
            self.pages = (self.pages * 2).min(self.most_pages);
            let mut records = match &self.body {
                Body::Packed(_, records) => records
                    .get(rows.start as usize..rows.end as usize)
                    .unwrap_or_default()
                    .to_vec(),
                Body::Parquet(source, footer) => {
                    read_rows(footer, source.as_ref(), &[rows], self.times.clone()).await?
                }
            };
            if records.is_empty() {
                continue;
            }
            if self.order == Order::NewestFirst {
                records.reverse();
            }
            return Ok(Some(records));
        }
        Ok(None)
    }
}

/// No bounds.
const ANY_TIME: Range<TimeUs> = TimeUs(i64::MIN)..TimeUs::NEVER;

/// Fetches sorted rows and decodes those of a range of time.
async fn read_rows(
    footer: &Arc<Footer>,
    source: &dyn RangeRead,
    rows: &[Range<u32>],
    times: Range<TimeUs>,
) -> Result<Vec<Record>> {
    let all: Vec<usize> = (0..footer.columns.len()).collect();
    let parts = footer.split(rows);
    let pages = footer.pages_of(&parts, &all)?;
    let fetched = footer.fetch(source, &pages).await?;
    let footer = Arc::clone(footer);
    off_thread(move || decode_records(&footer, fetched, &parts, &times)).await
}

/// Decoding is work for a core: done apart, it holds up no other request, and several segments decode at once. A program
/// without a runtime decodes where it is.
async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => {
            let done = runtime.spawn_blocking(work).await;
            done.map_err(|_| SegmentError::Damaged("its decoder stopped"))?
        }
        Err(_) => work(),
    }
}

fn decode_records(
    footer: &Footer,
    fetched: Fetched,
    parts: &[(usize, Vec<Range<usize>>)],
    times: &Range<TimeUs>,
) -> Result<Vec<Record>> {
    let mut out = Vec::with_capacity(count(parts));
    let keep = |at| *times == ANY_TIME || times.contains(&at);
    decode(footer, fetched, parts, None, &mut |batch| {
        push_records(footer.class, &batch, &keep, &mut out)
    })?;
    Ok(out)
}

fn count(parts: &[(usize, Vec<Range<usize>>)]) -> usize {
    parts.iter().flat_map(|part| &part.1).map(ExactSizeIterator::len).sum()
}

/// Looks for a SID among consecutive rows.
async fn find_sid_in(
    footer: &Arc<Footer>,
    source: &dyn RangeRead,
    rows: Range<u32>,
    sid: Sid,
) -> Result<Option<(u32, Record)>> {
    let (mut start, step) = (rows.start, u32::try_from(PAGE_ROWS).unwrap_or(1) * BATCH_PAGES);
    while start < rows.end {
        let window = start..start.saturating_add(step).min(rows.end);
        // All columns at once: the pages that hold the SIDs' rows are those that hold the record.
        let narrow = window.len() > 2 * PAGE_ROWS;
        let wanted: Vec<usize> = (0..footer.columns.len())
            .filter(|index| !narrow || footer.columns.get(*index).is_some_and(|name| is_sid_column(name)))
            .collect();
        let parts = footer.split(std::slice::from_ref(&window));
        let fetched = footer.fetch(source, &footer.pages_of(&parts, &wanted)?).await?;
        let (footer_of, pages, capacity) = (Arc::clone(footer), fetched.clone(), window.len());
        let sids = off_thread(move || {
            let mut sids = Vec::with_capacity(capacity);
            decode(&footer_of, pages, &parts, Some(&SID_COLUMNS), &mut |batch| {
                sids.append(&mut sids_of(&batch)?);
                Ok(())
            })?;
            Ok(sids)
        })
        .await?;
        if let Some(row) = (window.start..)
            .zip(&sids)
            .find(|(_, found)| **found == sid)
            .map(|(row, _)| row)
        {
            let only = row..row + 1;
            let rows = std::slice::from_ref(&only);
            let mut records = if narrow {
                read_rows(footer, source, rows, ANY_TIME).await?
            } else {
                decode_records(footer, fetched, &footer.split(rows), &ANY_TIME)?
            };
            return match records.pop() {
                Some(record) if record.sid() == sid => Ok(Some((row, record))),
                _ => Err(SegmentError::Damaged("a row cannot be read again")),
            };
        }
        start = window.end;
    }
    Ok(None)
}

fn is_sid_column(name: &str) -> bool {
    SID_COLUMNS.contains(&name)
}

/// Decodes rows from fetched pages and hands them over in batches; an error when one is missing.
fn decode(
    footer: &Footer,
    fetched: Fetched,
    parts: &[(usize, Vec<Range<usize>>)],
    columns: Option<&[&str]>,
    each: &mut dyn FnMut(Batch) -> Result<()>,
) -> Result<()> {
    const DECODE: SegmentError = SegmentError::Damaged("a page does not decode");
    let wanted = count(parts);
    if wanted == 0 {
        return Ok(());
    }
    let metadata = footer.arrow.metadata();
    let (mut base, mut ranges) = (0, Vec::new());
    for (group, inside) in parts {
        ranges.extend(inside.iter().map(|range| base + range.start..base + range.end));
        base += usize::try_from(metadata.row_group(*group).num_rows()).map_err(|_| DECODE)?;
    }
    let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(fetched, footer.arrow.clone())
        .with_row_groups(parts.iter().map(|part| part.0).collect())
        .with_batch_size(wanted.min(DECODE_ROWS))
        .with_row_selection_policy(RowSelectionPolicy::Selectors)
        .with_row_selection(RowSelection::from_consecutive_ranges(ranges.into_iter(), base));
    if let Some(columns) = columns {
        let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
        builder = builder.with_projection(mask);
    }
    let mut rows = 0;
    for batch in builder.build().map_err(|_| DECODE)? {
        let batch = batch.map_err(|_| SegmentError::Damaged("a page is not authentic or does not decode"))?;
        rows += batch.num_rows();
        let names = batch.schema();
        let columns = names
            .fields()
            .iter()
            .zip(batch.columns())
            .map(|(field, array)| (field.name().clone(), Arc::clone(array)));
        each(Batch {
            rows: batch.num_rows(),
            columns: columns.collect(),
        })?;
    }
    if rows == wanted {
        Ok(())
    } else {
        Err(SegmentError::Damaged("rows are missing"))
    }
}
