//! The locator: which rows a number is in, found by reading one block.
//!
//! `CVSL 01 || key check, 8 bytes || header length, u32 LE || sealed header || sealed blocks`. A block holds entries
//! sorted by the first six bytes of the numbers' blind hashes; the header holds every block's first hash and length.
//! Header and blocks are envelopes under the locator's own key.

use std::{collections::HashMap, hash::BuildHasherDefault, ops::Range, sync::Arc};

use bytes::Bytes;
use callvault_core::{Number, record::Record};
use callvault_seal::{SecretKey, envelope::Cipher};
use callvault_store::objects::End;

use super::columns::number_code;
use super::range::{RangeRead, read_end_exact, read_exact};
use super::varint::{Cursor, put};
use super::{HashOf, Part, Result, SegmentError, key_check, part_key};

const MAGIC: &[u8; 5] = b"CVSL\x01";
const HEAD_BYTES: usize = MAGIC.len() + 8 + 4;
/// The plain bytes after which a block is closed: small enough to read and open in microseconds.
const BLOCK_BYTES: usize = 8 * 1024;
/// What the first read fetches: the header of a segment of half a million rows, or all of a small locator.
const FIRST_READ_BYTES: u64 = 16 * 1024;
/// Hash bytes kept. Among a million numbers one lookup in 280 million meets a stranger, who is sorted out by reading.
const HASH_BYTES: usize = 6;

const CUT: SegmentError = SegmentError::Damaged("the locator is cut short");

fn short_hash(hash: &[u8; 16]) -> u64 {
    hash.iter()
        .take(HASH_BYTES)
        .fold(0, |value, byte| (value << 8) | u64::from(*byte))
}

fn block_aad(segment_id: &[u8; 16], block: u64) -> [u8; 24] {
    let mut aad = [0; 24];
    aad[..16].copy_from_slice(segment_id);
    aad[16..].copy_from_slice(&block.to_le_bytes());
    aad
}

/// A multiplicative hash: the map lives for one segment and its keys are spread already.
#[derive(Default)]
struct Spread(u64);

impl std::hash::Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0 ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }

    fn write_i64(&mut self, value: i64) {
        self.write_u64(value.cast_unsigned());
    }
}

/// The distinct numbers of a segment, in the order they first appear.
#[derive(Default)]
struct Interner<'a> {
    codes: HashMap<i64, u32, BuildHasherDefault<Spread>>,
    texts: HashMap<&'a str, u32>,
    hashes: Vec<u64>,
    /// How many rows each number is in.
    counts: Vec<u32>,
}

impl<'a> Interner<'a> {
    fn id(&mut self, number: &'a Number, hash_of: HashOf<'_>) -> u32 {
        let next = u32::try_from(self.hashes.len()).unwrap_or(u32::MAX);
        let id = match number_code(number.as_str()) {
            Some(code) => *self.codes.entry(code).or_insert(next),
            None => *self.texts.entry(number.as_str()).or_insert(next),
        };
        if id == next {
            self.hashes.push(short_hash(&hash_of(number)));
            self.counts.push(0);
        }
        if let Some(count) = self.counts.get_mut(id as usize) {
            *count += 1;
        }
        id
    }
}

/// The rows of every number: for each, sorted by hash, its hash and its ascending rows.
struct Postings {
    order: Vec<(u64, u32)>,
    ends: Vec<u32>,
    rows: Vec<u32>,
}

impl Postings {
    fn gather(records: &[Record], hash_of: HashOf<'_>) -> Self {
        const NONE: u32 = u32::MAX;
        let mut interner = Interner::default();
        let mut ids: Vec<[u32; 2]> = Vec::with_capacity(records.len());
        for record in records {
            let [from, to] = record.parties();
            let first = if from.is_withheld() {
                NONE
            } else {
                interner.id(from, hash_of)
            };
            let second = if to.is_withheld() || to == from {
                NONE
            } else {
                interner.id(to, hash_of)
            };
            ids.push([first, second]);
        }
        let mut total = 0_u32;
        let mut ends: Vec<u32> = interner
            .counts
            .iter()
            .map(|count| {
                let start = total;
                total = total.saturating_add(*count);
                start
            })
            .collect();
        let mut rows = vec![0_u32; total as usize];
        for (row, pair) in (0_u32..).zip(&ids) {
            for id in pair {
                if let Some(end) = ends.get_mut(*id as usize) {
                    if let Some(slot) = rows.get_mut(*end as usize) {
                        *slot = row;
                    }
                    *end += 1;
                }
            }
        }
        let mut order: Vec<(u64, u32)> = interner.hashes.into_iter().zip(0_u32..).collect();
        order.sort_unstable();
        Self { order, ends, rows }
    }

    fn rows_of(&self, id: u32) -> &[u32] {
        let id = id as usize;
        let start = id
            .checked_sub(1)
            .and_then(|before| self.ends.get(before))
            .copied()
            .unwrap_or(0);
        let end = self.ends.get(id).copied().unwrap_or(start);
        self.rows.get(start as usize..end as usize).unwrap_or(&[])
    }
}

pub(super) fn seal(records: &[Record], key: &SecretKey, segment_id: &[u8; 16], hash_of: HashOf<'_>) -> Result<Vec<u8>> {
    let key = part_key(key, Part::Locator, segment_id);
    let cipher = Cipher::new(&key)?;
    let postings = Postings::gather(records, hash_of);
    let mut sealed: Vec<u8> = Vec::with_capacity(postings.rows.len() * 5 + postings.order.len() * 5);
    let (mut fence, mut blocks, mut last_first) = (Vec::new(), 0_u64, 0_u64);
    let mut block: Vec<u8> = Vec::with_capacity(BLOCK_BYTES * 2);
    let mut before = 0_u64;
    let mut close = |block: &mut Vec<u8>, first: u64| -> Result<()> {
        let bytes = cipher.seal(&block_aad(segment_id, blocks), block)?;
        put(&mut fence, first - last_first);
        put(&mut fence, bytes.len() as u64);
        sealed.extend_from_slice(&bytes);
        (last_first, blocks) = (first, blocks + 1);
        block.clear();
        Ok(())
    };
    let mut first = 0;
    for (hash, id) in &postings.order {
        let rows = postings.rows_of(*id);
        // A long list gets a block of its own, so that its neighbours stay cheap to read.
        let long = rows.len() > BLOCK_BYTES / 4;
        if !block.is_empty() && (long || block.len() >= BLOCK_BYTES) {
            close(&mut block, first)?;
        }
        if block.is_empty() {
            (first, before) = (*hash, *hash);
        }
        put(&mut block, hash - before);
        before = *hash;
        put(&mut block, rows.len() as u64);
        let mut last = 0;
        for row in rows {
            put(&mut block, u64::from(row - last));
            last = *row;
        }
        if long {
            close(&mut block, first)?;
        }
    }
    if !block.is_empty() {
        close(&mut block, first)?;
    }
    let mut header = Vec::with_capacity(fence.len() + 10);
    put(&mut header, records.len() as u64);
    put(&mut header, blocks);
    header.extend_from_slice(&fence);

    let header_bytes = u32::try_from(header.len() + callvault_seal::envelope::OVERHEAD_BYTES)
        .map_err(|_| SegmentError::Unfit("the locator would be too large"))?;
    let mut out = Vec::with_capacity(HEAD_BYTES + header_bytes as usize + sealed.len());
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&key_check(&key));
    out.extend_from_slice(&header_bytes.to_le_bytes());
    let aad = [out.as_slice(), segment_id].concat();
    out.extend_from_slice(&cipher.seal(&aad, &header)?);
    out.extend_from_slice(&sealed);
    Ok(out)
}

/// A locator's decrypted header. It may be cached; it holds a key, so it goes when the partition's key is shredded.
pub struct Fence {
    cipher: Cipher,
    segment_id: [u8; 16],
    rows: u64,
    /// Each block's first hash and where its bytes lie.
    blocks: Vec<(u64, Range<u64>)>,
    /// What the first read brought, when that is the whole locator.
    whole: Option<Bytes>,
}

impl Fence {
    /// About how much memory it takes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + self.blocks.len() * size_of::<(u64, Range<u64>)>()
            + self.whole.as_ref().map_or(0, Bytes::len)
    }

    async fn open(source: &dyn RangeRead, key: &SecretKey, segment_id: [u8; 16]) -> Result<Self> {
        let (mut start, total) = read_end_exact(source, End::First, FIRST_READ_BYTES).await?;
        let head = start.get(..HEAD_BYTES).ok_or(CUT)?.to_vec();
        let rest = head
            .strip_prefix(MAGIC)
            .ok_or(SegmentError::Damaged("it is no locator"))?;
        let (check, length) = rest.split_at_checked(8).ok_or(CUT)?;
        let key = part_key(key, Part::Locator, &segment_id);
        if check != key_check(&key) {
            return Err(SegmentError::WrongKey);
        }
        let length = length.try_into().map(u32::from_le_bytes).map_err(|_| CUT)?;
        let body_start = HEAD_BYTES as u64 + u64::from(length);
        if body_start > total {
            return Err(CUT);
        }
        if body_start > start.len() as u64 {
            start = read_exact(source, 0..body_start).await?;
        }
        let body_at = usize::try_from(body_start).map_err(|_| CUT)?;
        let cipher = Cipher::new(&key)?;
        let header = cipher
            .open(
                &[head.as_slice(), &segment_id].concat(),
                start.get(HEAD_BYTES..body_at).ok_or(CUT)?,
            )
            .map_err(|_| SegmentError::Damaged("the locator's header is not authentic"))?;
        let mut cursor = Cursor(&header);
        let rows = cursor.varint()?;
        let count = cursor.count(header.len())?;
        let (mut blocks, mut hash, mut at) = (Vec::with_capacity(count), 0_u64, body_start);
        for _ in 0..count {
            hash = hash.wrapping_add(cursor.varint()?);
            let end = at.checked_add(cursor.varint()?).ok_or(CUT)?;
            blocks.push((hash, at..end));
            at = end;
        }
        if at != total || !cursor.0.is_empty() {
            return Err(SegmentError::Damaged(
                "the locator's length is not what its header says",
            ));
        }
        let whole = (start.len() as u64 == total).then_some(start);
        Ok(Self {
            cipher,
            segment_id,
            rows,
            blocks,
            whole,
        })
    }

    /// The blocks that may hold a hash: the last that begins at or before it, and those before that begin with it.
    fn blocks_for(&self, hash: u64) -> Range<usize> {
        let end = self.blocks.partition_point(|block| block.0 <= hash);
        let start = self.blocks.partition_point(|block| block.0 < hash);
        start.saturating_sub(1).min(end)..end
    }
}

/// Finds the rows of numbers.
pub struct Locator {
    source: Arc<dyn RangeRead>,
    fence: Arc<Fence>,
}

impl Locator {
    /// Reads and opens a locator's header: one read, two when the segment is large.
    ///
    /// # Errors
    /// [`SegmentError::WrongKey`], [`SegmentError::Damaged`], [`SegmentError::Fetch`].
    pub async fn open(source: Arc<dyn RangeRead>, key: &SecretKey, segment_id: [u8; 16]) -> Result<Self> {
        let fence = Arc::new(Fence::open(source.as_ref(), key, segment_id).await?);
        Ok(Self { source, fence })
    }

    /// A locator whose header was opened before.
    #[must_use]
    pub fn with_fence(source: Arc<dyn RangeRead>, fence: Arc<Fence>) -> Self {
        Self { source, fence }
    }

    /// The header, to be cached.
    #[must_use]
    pub fn fence(&self) -> Arc<Fence> {
        Arc::clone(&self.fence)
    }

    /// The rows whose `from` or `to` has this blind hash, ascending; one read. About one in 10^8 is another number's:
    /// compare the record that is read.
    ///
    /// # Errors
    /// [`SegmentError::Damaged`], [`SegmentError::Fetch`].
    pub async fn find_number(&self, hash: &[u8; 16]) -> Result<Vec<u32>> {
        let (wanted, fence) = (short_hash(hash), &self.fence);
        let mut found = Vec::new();
        for index in fence.blocks_for(wanted) {
            let Some((first, range)) = fence.blocks.get(index) else {
                continue;
            };
            let source: &dyn RangeRead = fence.whole.as_ref().map_or(self.source.as_ref(), |whole| whole);
            let sealed = read_exact(source, range.clone()).await?;
            let plain = fence
                .cipher
                .open(&block_aad(&fence.segment_id, index as u64), &sealed)
                .map_err(|_| SegmentError::Damaged("a block of the locator is not authentic"))?;
            search(&plain, *first, wanted, fence.rows, &mut found)?;
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }
}

fn search(block: &[u8], first: u64, wanted: u64, rows: u64, found: &mut Vec<u32>) -> Result<()> {
    let (mut cursor, mut hash) = (Cursor(block), first);
    while !cursor.0.is_empty() {
        hash = hash.wrapping_add(cursor.varint()?);
        if hash > wanted {
            break;
        }
        let count = cursor.count(block.len())?;
        let mut row = 0_u64;
        for _ in 0..count {
            row = row.wrapping_add(cursor.varint()?);
            if hash == wanted {
                let row = Some(row)
                    .filter(|row| *row < rows)
                    .and_then(|row| u32::try_from(row).ok());
                found.push(row.ok_or(SegmentError::Damaged("the locator names a row that is none"))?);
            }
        }
    }
    Ok(())
}
