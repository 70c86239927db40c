//! Where things lie in a stream: arithmetic alone, no bytes.

use std::ops::Range;

use super::{HEADER_BYTES, TAG_BYTES, check_segment_bytes};
use crate::SealError;

/// The shape of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    segment_bytes: u64,
    segments: u64,
    ciphertext_bytes: u64,
}

/// What to fetch, open and cut to read a range of the plaintext.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// The number of the first segment of the range.
    pub first_segment: u32,
    /// The ciphertext bytes to fetch: whole segments, without the stream's header.
    pub ciphertext: Range<u64>,
    /// Where the wanted bytes lie in the plaintext of those segments.
    pub keep: Range<usize>,
}

impl Layout {
    /// The layout of a ciphertext of this length, header included.
    ///
    /// # Errors
    /// [`SealError::SegmentSize`]; [`SealError::Truncated`] when no stream has this length; [`SealError::TooLarge`]
    /// beyond 2^32 segments.
    pub fn of_ciphertext(ciphertext_bytes: u64, segment_bytes: usize) -> Result<Self, SealError> {
        check_segment_bytes(segment_bytes)?;
        let (segment_bytes, tag, header) = (segment_bytes as u64, TAG_BYTES as u64, HEADER_BYTES as u64);
        if ciphertext_bytes < header + tag {
            return Err(SealError::Truncated);
        }
        let segments = ciphertext_bytes.div_ceil(segment_bytes);
        let last_bytes = ciphertext_bytes - (segments - 1) * segment_bytes;
        if segments > 1 && last_bytes <= tag {
            return Err(SealError::Truncated);
        }
        Self {
            segment_bytes,
            segments,
            ciphertext_bytes,
        }
        .checked()
    }

    /// The layout of the stream that a plaintext of this length makes.
    ///
    /// # Errors
    /// [`SealError::SegmentSize`], or [`SealError::TooLarge`] beyond 2^32 segments.
    pub fn of_plaintext(plaintext_bytes: u64, segment_bytes: usize) -> Result<Self, SealError> {
        check_segment_bytes(segment_bytes)?;
        let (segment_bytes, tag, header) = (segment_bytes as u64, TAG_BYTES as u64, HEADER_BYTES as u64);
        let segments = plaintext_bytes
            .saturating_add(header)
            .div_ceil(segment_bytes - tag)
            .max(1);
        let ciphertext_bytes = segments
            .checked_mul(tag)
            .and_then(|tags| tags.checked_add(header))
            .and_then(|more| more.checked_add(plaintext_bytes))
            .ok_or(SealError::TooLarge)?;
        Self {
            segment_bytes,
            segments,
            ciphertext_bytes,
        }
        .checked()
    }

    fn checked(self) -> Result<Self, SealError> {
        if self.segments > 1 << 32 {
            Err(SealError::TooLarge)
        } else {
            Ok(self)
        }
    }

    /// How many segments there are; at least one.
    #[must_use]
    pub fn segments(&self) -> u64 {
        self.segments
    }

    /// The whole ciphertext's length, header included.
    #[must_use]
    pub fn ciphertext_bytes(&self) -> u64 {
        self.ciphertext_bytes
    }

    /// The plaintext's length.
    #[must_use]
    pub fn plaintext_bytes(&self) -> u64 {
        self.ciphertext_bytes - HEADER_BYTES as u64 - self.segments * TAG_BYTES as u64
    }

    /// The ciphertext bytes of one segment, without the stream's header; nothing past the last.
    #[must_use]
    pub fn find_segment(&self, number: u64) -> Option<Range<u64>> {
        if number >= self.segments {
            return None;
        }
        let start = if number == 0 {
            HEADER_BYTES as u64
        } else {
            number * self.segment_bytes
        };
        Some(start..self.ciphertext_bytes.min((number + 1) * self.segment_bytes))
    }

    /// What to fetch to read `plaintext`, a range of plaintext bytes. An empty range still fetches one segment, so
    /// that reading it authenticates something.
    ///
    /// # Errors
    /// [`SealError::Range`] when the range is reversed or ends past the plaintext.
    pub fn plan_fetch(&self, plaintext: Range<u64>) -> Result<Fetch, SealError> {
        let total = self.plaintext_bytes();
        if plaintext.start > plaintext.end || plaintext.end > total {
            return Err(SealError::Range);
        }
        let first = self.segment_at(plaintext.start).min(self.segments - 1);
        let last = self
            .segment_at(plaintext.end.max(1) - 1)
            .clamp(first, self.segments - 1);
        let from = self.find_segment(first).ok_or(SealError::Range)?;
        let to = self.find_segment(last).ok_or(SealError::Range)?;
        let skipped = self.plaintext_before(first);
        let keep = |at: u64| usize::try_from(at - skipped).map_err(|_| SealError::TooLarge);
        Ok(Fetch {
            first_segment: u32::try_from(first).map_err(|_| SealError::TooLarge)?,
            ciphertext: from.start..to.end,
            keep: keep(plaintext.start)?..keep(plaintext.end)?,
        })
    }

    /// The segment that holds a plaintext byte. With the header counted as plaintext all segments are alike.
    fn segment_at(&self, plaintext_at: u64) -> u64 {
        (plaintext_at + HEADER_BYTES as u64) / (self.segment_bytes - TAG_BYTES as u64)
    }

    fn plaintext_before(&self, segment: u64) -> u64 {
        (segment * (self.segment_bytes - TAG_BYTES as u64)).saturating_sub(HEADER_BYTES as u64)
    }
}
