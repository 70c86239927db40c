//! Reading ranges of bytes from wherever a segment lies.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use callvault_store::objects::End;
use futures::future::try_join_all;

use super::{Result, SegmentError};

/// A place that holds one object and gives ranges of it.
#[async_trait]
pub trait RangeRead: Send + Sync {
    /// The object's length in bytes.
    ///
    /// # Errors
    /// [`SegmentError::Fetch`].
    async fn len_bytes(&self) -> Result<u64>;

    /// The bytes of one range, all of them.
    ///
    /// # Errors
    /// [`SegmentError::Fetch`], also when the range lies beyond the end.
    async fn read(&self, range: Range<u64>) -> Result<Bytes>;

    /// At most `bytes` bytes of one end, and the object's length.
    ///
    /// # Errors
    /// [`SegmentError::Fetch`].
    async fn read_end(&self, end: End, bytes: u64) -> Result<(Bytes, u64)> {
        let total = self.len_bytes().await?;
        Ok((self.read(end.range(bytes, total)).await?, total))
    }

    /// The bytes of several sorted ranges that lie far apart. At once, because a round trip costs more than the bytes.
    ///
    /// # Errors
    /// [`SegmentError::Fetch`].
    async fn read_many(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        try_join_all(ranges.iter().map(|range| self.read(range.clone()))).await
    }
}

#[async_trait]
impl RangeRead for Bytes {
    async fn len_bytes(&self) -> Result<u64> {
        Ok(self.len() as u64)
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let bounds = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
        match bounds {
            Some((start, end)) if start <= end && end <= self.len() => Ok(self.slice(start..end)),
            _ => Err(SegmentError::Damaged("a range lies beyond the end")),
        }
    }
}

/// Reads a range and insists on its length.
pub(super) async fn read_exact(source: &dyn RangeRead, range: Range<u64>) -> Result<Bytes> {
    let want = range.end.saturating_sub(range.start);
    let bytes = source.read(range).await?;
    if bytes.len() as u64 == want {
        Ok(bytes)
    } else {
        Err(SegmentError::Damaged("a read came back short"))
    }
}

/// Reads one end of an object and insists on its length.
pub(super) async fn read_end_exact(source: &dyn RangeRead, end: End, bytes: u64) -> Result<(Bytes, u64)> {
    let (found, total) = source.read_end(end, bytes).await?;
    if found.len() as u64 == total.min(bytes) {
        Ok((found, total))
    } else {
        Err(SegmentError::Damaged("a read came back short"))
    }
}

/// Ranges nearer than this are fetched as one: at 350 MB/s this many bytes cost far less than a round trip.
const COALESCE_BYTES: u64 = 64 * 1024;

/// Merges sorted ranges that touch or nearly touch.
pub(super) fn coalesce(ranges: &mut Vec<Range<u64>>) {
    ranges.sort_unstable_by_key(|range| range.start);
    ranges.dedup_by(|next, last| {
        let near = next.start <= last.end.saturating_add(COALESCE_BYTES);
        if near {
            last.end = last.end.max(next.end);
        }
        near
    });
}
