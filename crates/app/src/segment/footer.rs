//! The decrypted footer of a Parquet segment, and which bytes hold which rows.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use callvault_core::{Class, TimeUs};
use callvault_seal::SecretKey;
use callvault_store::objects::End;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::encryption::decrypt::FileDecryptionProperties;
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaDataReader};

use super::encode::class_from;
use super::range::{RangeRead, coalesce, read_end_exact, read_exact};
use super::sheet::{FENCE_ENTRY, PAGE_ROWS};
use super::varint::Cursor;
use super::{Part, Result, SegmentError, key_check, part_key};

/// What the first read fetches from the end: footer and page index of some 200,000 rows.
const TAIL_BYTES: u64 = 32 * 1024;
/// Parquet's `FileCryptoMetaData` as the writer makes it, in Thrift's compact protocol: algorithm `AES_GCM_V1` with an
/// eight-byte file id and an AAD prefix kept elsewhere, then the key check as key metadata.
const CRYPTO_BYTES: usize = 26;
const CRYPTO_BEFORE_FILE_ID: &[u8] = &[0x1c, 0x1c, 0x28, 0x08];
const CRYPTO_BEFORE_CHECK: &[u8] = &[0x11, 0x00, 0x00, 0x18, 0x08];
/// A nonce and a tag: no encrypted module is shorter.
const MODULE_LEAST_BYTES: u32 = 28;

const CUT: SegmentError = SegmentError::Damaged("the file is cut short");
const FOOTER: SegmentError = SegmentError::Damaged("the file's footer is not authentic");
const INDEX: SegmentError = SegmentError::Damaged("the file's page index is not what it should be");

/// A Parquet segment's decrypted footer with its page index. It may be cached; it holds the file's key, so it goes when
/// the partition's key is shredded.
pub struct Footer {
    pub(super) arrow: ArrowReaderMetadata,
    pub(super) class: Class,
    pub(super) rows: u32,
    /// The first row of each row group, and the number of rows at the end.
    pub(super) group_starts: Vec<u32>,
    /// The time of each page's first row.
    page_starts: Vec<TimeUs>,
    max_at: TimeUs,
    pub(super) columns: Vec<String>,
    pub(super) file_bytes: u64,
}

impl Footer {
    /// Reads and decrypts a segment's footer: one read, two when the segment is large.
    ///
    /// # Errors
    /// [`SegmentError::WrongKey`], [`SegmentError::Damaged`], [`SegmentError::Fetch`].
    pub async fn open(source: &dyn RangeRead, key: &SecretKey, segment_id: [u8; 16]) -> Result<Self> {
        let (mut tail, total) = read_end_exact(source, End::Last, TAIL_BYTES).await?;
        let footer_bytes = footer_bytes(&tail)?;
        if footer_bytes + 12 > total {
            return Err(CUT);
        }
        if footer_bytes + 8 > tail.len() as u64 {
            tail = read_exact(source, total - footer_bytes - 8..total).await?;
        }
        let key = part_key(key, Part::File, &segment_id);
        check_footer(&tail, footer_bytes, key_check(&key))?;
        let decryption = FileDecryptionProperties::builder(key.expose().to_vec())
            .with_aad_prefix(segment_id.to_vec())
            .build()
            .map_err(|_| FOOTER)?;
        loop {
            let mut reader = ParquetMetaDataReader::new()
                .with_offset_index_policy(PageIndexPolicy::Required)
                .with_column_index_policy(PageIndexPolicy::Skip)
                .with_decryption_properties(Some(Arc::clone(&decryption)));
            match reader.try_parse_sized(&tail, total) {
                Ok(()) => {
                    let metadata = reader.finish().map_err(|_| FOOTER)?;
                    let options = ArrowReaderOptions::new()
                        .with_skip_arrow_metadata(true)
                        .with_file_decryption_properties(decryption);
                    let arrow = ArrowReaderMetadata::try_new(Arc::new(metadata), options).map_err(|_| FOOTER)?;
                    return Self::check(arrow, total);
                }
                Err(ParquetError::NeedMoreData(needed)) if needed as u64 <= total && needed > tail.len() => {
                    tail = read_exact(source, total - needed as u64..total).await?;
                }
                Err(_) => return Err(FOOTER),
            }
        }
    }

    /// Reads the fence and makes sure that the page index is whole.
    fn check(arrow: ArrowReaderMetadata, file_bytes: u64) -> Result<Self> {
        let metadata = arrow.metadata();
        let file = metadata.file_metadata();
        let entries = file.key_value_metadata().map_or(&[][..], Vec::as_slice);
        let entry = entries
            .iter()
            .find(|entry| entry.key == FENCE_ENTRY)
            .and_then(|entry| entry.value.as_deref());
        let entry = hex::decode(entry.unwrap_or_default()).map_err(|_| FOOTER)?;
        let mut cursor = Cursor(&entry);
        let class = class_from(cursor.byte()?).ok_or(FOOTER)?;
        let rows = u32::try_from(cursor.varint()?).map_err(|_| FOOTER)?;
        let mut before = 0_i64;
        let mut next = || -> Result<TimeUs> {
            before = before.wrapping_add(cursor.signed()?);
            Ok(TimeUs(before))
        };
        let page_starts = (0..(rows as usize).div_ceil(PAGE_ROWS))
            .map(|_| next())
            .collect::<Result<Vec<_>>>()?;
        let max_at = next()?;

        let mut group_starts = vec![0];
        let mut start = 0_i64;
        for (index, group) in metadata.row_groups().iter().enumerate() {
            let pages = metadata.page_index_for_row_group(index);
            for column in 0..group.num_columns() {
                let first = pages
                    .page_locations(column)
                    .and_then(|pages| pages.first())
                    .ok_or(INDEX)?;
                if first.first_row_index != 0 {
                    return Err(INDEX);
                }
            }
            start = start.saturating_add(group.num_rows());
            group_starts.push(u32::try_from(start).map_err(|_| INDEX)?);
        }
        if start != i64::from(rows) || rows == 0 {
            return Err(INDEX);
        }
        let columns = file
            .schema_descr()
            .columns()
            .iter()
            .map(|column| column.name().to_owned())
            .collect();
        Ok(Self {
            class,
            rows,
            group_starts,
            page_starts,
            max_at,
            columns,
            file_bytes,
            arrow,
        })
    }

    /// How many records the segment holds.
    #[must_use]
    pub const fn rows(&self) -> u32 {
        self.rows
    }

    /// About how much memory it takes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.arrow.metadata().memory_size() + self.page_starts.len() * size_of::<TimeUs>()
    }

    /// The rows, by whole pages, that may lie in a range of time.
    pub(super) fn rows_between(&self, times: &Range<TimeUs>) -> Range<u32> {
        if times.start >= times.end || times.start > self.max_at {
            return 0..0;
        }
        // A page may begin in the middle of records of one moment, so the page before counts too.
        let first = self
            .page_starts
            .partition_point(|start| *start < times.start)
            .saturating_sub(1);
        let last = self.page_starts.partition_point(|start| *start < times.end);
        let row = |page: usize| u32::try_from(page * PAGE_ROWS).map_or(self.rows, |row| row.min(self.rows));
        row(first)..row(last.max(first))
    }

    /// The row groups that hold any of these sorted rows, each with its part of them, counted from its start.
    pub(super) fn split(&self, rows: &[Range<u32>]) -> Vec<(usize, Vec<Range<usize>>)> {
        let mut out: Vec<(usize, Vec<Range<usize>>)> = Vec::new();
        for (index, bounds) in self.group_starts.windows(2).enumerate() {
            let [start, end] = bounds else { continue };
            let from = rows.partition_point(|range| range.end <= *start);
            let inside = rows.iter().skip(from).take_while(|range| range.start < *end);
            let inside: Vec<_> = inside
                .map(|range| (range.start.max(*start) - start) as usize..(range.end.min(*end) - start) as usize)
                .collect();
            if !inside.is_empty() {
                out.push((index, inside));
            }
        }
        out
    }

    /// Where the pages lie that hold these rows, each page by itself.
    pub(super) fn pages_of(&self, parts: &[(usize, Vec<Range<usize>>)], columns: &[usize]) -> Result<Vec<Range<u64>>> {
        let metadata = self.arrow.metadata();
        let mut out = Vec::new();
        for (group, ranges) in parts {
            let pages = metadata.page_index_for_row_group(*group);
            for column in columns {
                let pages = pages.page_locations(*column).ok_or(INDEX)?;
                let first_row = |page: usize| {
                    pages.get(page).map_or(usize::MAX, |page| {
                        usize::try_from(page.first_row_index).unwrap_or(usize::MAX)
                    })
                };
                let mut next = 0;
                for range in ranges {
                    // The last page that begins at or before the range's first row.
                    let begin = pages.partition_point(|page| page.first_row_index <= range.start as i64);
                    next = next.max(begin.saturating_sub(1));
                    while next < pages.len() && first_row(next) < range.end {
                        let page = pages.get(next).ok_or(INDEX)?;
                        let start = u64::try_from(page.offset).map_err(|_| INDEX)?;
                        let bytes = u64::try_from(page.compressed_page_size).map_err(|_| INDEX)?;
                        let end = start
                            .checked_add(bytes)
                            .filter(|end| *end <= self.file_bytes)
                            .ok_or(INDEX)?;
                        out.push(start..end);
                        next += 1;
                    }
                }
            }
        }
        Ok(out)
    }

    /// Fetches pages in as few reads as make sense, and checks their outer structure.
    pub(super) async fn fetch(&self, source: &dyn RangeRead, pages: &[Range<u64>]) -> Result<Fetched> {
        let mut ranges = pages.to_vec();
        coalesce(&mut ranges);
        let parts = source.read_many(&ranges).await?;
        let lengths_fit = parts.len() == ranges.len()
            && ranges
                .iter()
                .zip(&parts)
                .all(|(range, bytes)| range.end - range.start == bytes.len() as u64);
        if !lengths_fit {
            return Err(SegmentError::Damaged("a read came back short"));
        }
        let parts = ranges.iter().map(|range| range.start).zip(parts).collect();
        let fetched = Fetched {
            parts,
            file_bytes: self.file_bytes,
        };
        for page in pages {
            let bytes = fetched.find(page.start, page.end - page.start).ok_or(CUT)?;
            check_page(&bytes)?;
        }
        Ok(fetched)
    }
}

/// The footer's length, from the last eight bytes.
fn footer_bytes(tail: &[u8]) -> Result<u64> {
    let rest = tail
        .strip_suffix(b"PARE")
        .ok_or(SegmentError::Damaged("it does not end like an encrypted file"))?;
    let length = rest.last_chunk::<4>().ok_or(CUT)?;
    Ok(u64::from(u32::from_le_bytes(*length)))
}

/// Makes sure that what stands before the encrypted footer is exactly what the writer writes, and names the right key.
fn check_footer(tail: &[u8], footer_bytes: u64, check: [u8; 8]) -> Result<()> {
    let footer_bytes = usize::try_from(footer_bytes).map_err(|_| CUT)?;
    let start = tail.len().checked_sub(footer_bytes + 8).ok_or(CUT)?;
    let footer = tail.get(start..tail.len() - 8).ok_or(CUT)?;
    let (crypto, module) = footer.split_at_checked(CRYPTO_BYTES).ok_or(FOOTER)?;
    let rest = crypto
        .strip_prefix(CRYPTO_BEFORE_FILE_ID)
        .and_then(|rest| rest.get(8..))
        .ok_or(FOOTER)?;
    let rest = rest
        .strip_prefix(CRYPTO_BEFORE_CHECK)
        .and_then(|rest| rest.strip_suffix(&[0]))
        .ok_or(FOOTER)?;
    if rest != check {
        return Err(SegmentError::WrongKey);
    }
    let length = module_bytes(module)?;
    if length == module.len() { Ok(()) } else { Err(FOOTER) }
}

/// The length of the module at the front, its own length field included.
fn module_bytes(bytes: &[u8]) -> Result<usize> {
    let length = bytes
        .first_chunk::<4>()
        .map(|length| u32::from_le_bytes(*length))
        .ok_or(CUT)?;
    if length < MODULE_LEAST_BYTES || length as usize > bytes.len() - 4 {
        return Err(SegmentError::Damaged("an encrypted module has an impossible length"));
    }
    Ok(length as usize + 4)
}

/// A page is two modules: its header and its data. The Parquet reader trusts these lengths, so they are checked first.
fn check_page(page: &[u8]) -> Result<()> {
    let header = module_bytes(page)?;
    let rest = page.get(header..).ok_or(CUT)?;
    if module_bytes(rest)? == rest.len() {
        Ok(())
    } else {
        Err(SegmentError::Damaged("a page has an impossible length"))
    }
}

/// Parts of a file, standing in for the whole.
#[derive(Clone)]
pub(super) struct Fetched {
    parts: Vec<(u64, Bytes)>,
    file_bytes: u64,
}

impl Fetched {
    fn from(&self, start: u64) -> Option<Bytes> {
        let index = self.parts.partition_point(|part| part.0 <= start).checked_sub(1)?;
        let (at, bytes) = self.parts.get(index)?;
        let skip = usize::try_from(start - at).ok().filter(|skip| *skip < bytes.len())?;
        Some(bytes.slice(skip..))
    }

    fn find(&self, start: u64, length: u64) -> Option<Bytes> {
        let length = usize::try_from(length).ok()?;
        self.from(start)
            .filter(|bytes| bytes.len() >= length)
            .map(|bytes| bytes.slice(..length))
    }
}

impl parquet::file::reader::Length for Fetched {
    fn len(&self) -> u64 {
        self.file_bytes
    }
}

impl parquet::file::reader::ChunkReader for Fetched {
    type T = std::io::Cursor<Bytes>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        let bytes = self
            .from(start)
            .ok_or_else(|| ParquetError::EOF("a part was not fetched".to_owned()))?;
        Ok(std::io::Cursor::new(bytes))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        self.find(start, length as u64)
            .ok_or_else(|| ParquetError::EOF("a part was not fetched".to_owned()))
    }
}
