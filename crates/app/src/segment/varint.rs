//! Variable-length integers (LEB128) as the locator and the packed form write them.

use super::{Result, SegmentError};

const SHORT: SegmentError = SegmentError::Damaged("an integer is cut short");

pub(super) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8 & 0x7f) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put(out, zigzag(value));
}

pub(super) const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// How many bytes [`put`] writes.
pub(super) const fn len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// Reads from the front of a slice.
pub(super) struct Cursor<'a>(pub &'a [u8]);

impl<'a> Cursor<'a> {
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count).ok_or(SHORT)?;
        self.0 = rest;
        Ok(head)
    }

    pub(super) fn byte(&mut self) -> Result<u8> {
        self.take(1)?.first().copied().ok_or(SHORT)
    }

    pub(super) fn varint(&mut self) -> Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(SegmentError::Damaged("an integer is too long"))
    }

    pub(super) fn signed(&mut self) -> Result<i64> {
        let value = self.varint()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// A count or length, at most `limit`.
    pub(super) fn count(&mut self, limit: usize) -> Result<usize> {
        let value = usize::try_from(self.varint()?).map_err(|_| SHORT)?;
        if value > limit {
            Err(SegmentError::Damaged("a count is too large"))
        } else {
            Ok(value)
        }
    }
}
