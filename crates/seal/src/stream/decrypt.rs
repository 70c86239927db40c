//! Reading a stream: by range when its length is known, or in order when it is not.

use std::fmt;

use ring::aead::Aad;

use super::{HEADER_BYTES, Layout, Segments, check_segment_bytes};
use crate::{SealError, SecretKey};

/// Opens segments of a stream whose ciphertext length is known, in any order.
///
/// The length says which segment is the last. A length that storage reports wrongly is found out when the last
/// segment is opened, so either take it from a place that is authenticated, or read that segment too.
pub struct Decryptor {
    segments: Segments,
    layout: Layout,
}

impl Decryptor {
    /// A reader for the stream that begins with `header` and has `ciphertext_bytes` in all, header included.
    ///
    /// # Errors
    /// [`SealError::Header`], and those of [`Layout::of_ciphertext`].
    pub fn new(
        key: &SecretKey,
        aad: &[u8],
        header: &[u8],
        ciphertext_bytes: u64,
        segment_bytes: usize,
    ) -> Result<Self, SealError> {
        let layout = Layout::of_ciphertext(ciphertext_bytes, segment_bytes)?;
        let header = header.try_into().map_err(|_| SealError::Header)?;
        Ok(Self {
            segments: Segments::new(key, aad, header)?,
            layout,
        })
    }

    /// The stream's layout.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Opens consecutive whole segments, the first of which is number `first_segment`, and returns their plaintext.
    ///
    /// # Errors
    /// [`SealError::Range`] unless the bytes are whole segments of this stream; [`SealError::NotAuthentic`].
    pub fn open_range(&self, first_segment: u32, ciphertext: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut plain = Vec::with_capacity(ciphertext.len());
        self.open_into(first_segment, ciphertext, &mut plain)?;
        Ok(plain)
    }

    /// As [`open_range`](Self::open_range), appending to `out`; on an error `out` is as it was.
    ///
    /// # Errors
    /// As [`open_range`](Self::open_range).
    pub fn open_into(&self, first_segment: u32, mut ciphertext: &[u8], out: &mut Vec<u8>) -> Result<(), SealError> {
        let start = out.len();
        let mut number = u64::from(first_segment);
        loop {
            let opened = self
                .next_segment(number, ciphertext)
                .and_then(|(segment, rest)| self.open_segment(number, segment, out).map(|()| rest));
            match opened {
                Ok([]) => return Ok(()),
                Ok(rest) => ciphertext = rest,
                Err(error) => {
                    out.truncate(start);
                    return Err(error);
                }
            }
            number += 1;
        }
    }

    /// As [`open_range`](Self::open_range), decrypting within the caller's buffer: the plaintext replaces the
    /// ciphertext, with no copy made. On an error the buffer is empty.
    ///
    /// # Errors
    /// As [`open_range`](Self::open_range).
    pub fn open_in_place(&self, first_segment: u32, buffer: &mut Vec<u8>) -> Result<(), SealError> {
        let opened = self.open_within(first_segment, buffer);
        buffer.truncate(*opened.as_ref().unwrap_or(&0));
        opened.map(|_| ())
    }

    /// Decrypts each segment to where the plaintext of the one before ends; how long it is in all.
    fn open_within(&self, first_segment: u32, buffer: &mut [u8]) -> Result<usize, SealError> {
        let (mut number, mut from, mut to) = (u64::from(first_segment), 0, 0);
        while from < buffer.len() || number == u64::from(first_segment) {
            let (segment, _) = self.next_segment(number, buffer.get(from..).ok_or(SealError::Range)?)?;
            let end = from + segment.len();
            let last = number + 1 == self.layout.segments();
            let nonce = self
                .segments
                .nonce(u32::try_from(number).map_err(|_| SealError::Range)?, last);
            let place = buffer.get_mut(to..end).ok_or(SealError::Range)?;
            let opened = self.segments.key.open_within(nonce, Aad::empty(), place, from - to..);
            to += opened.map_err(|_| SealError::NotAuthentic)?.len();
            (number, from) = (number + 1, end);
        }
        Ok(to)
    }

    fn next_segment<'a>(&self, number: u64, ciphertext: &'a [u8]) -> Result<(&'a [u8], &'a [u8]), SealError> {
        let range = self.layout.find_segment(number).ok_or(SealError::Range)?;
        let bytes = usize::try_from(range.end - range.start).map_err(|_| SealError::TooLarge)?;
        ciphertext.split_at_checked(bytes).ok_or(SealError::Range)
    }

    fn open_segment(&self, number: u64, segment: &[u8], out: &mut Vec<u8>) -> Result<(), SealError> {
        let last = number + 1 == self.layout.segments();
        let number = u32::try_from(number).map_err(|_| SealError::Range)?;
        open_segment(&self.segments, number, last, segment, out)
    }
}

impl fmt::Debug for Decryptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decryptor")
            .field("layout", &self.layout)
            .finish_non_exhaustive()
    }
}

/// Copies a segment behind `out` and decrypts it there; on an error `out` is as it was.
fn open_segment(
    segments: &Segments,
    number: u32,
    last: bool,
    segment: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), SealError> {
    let start = out.len();
    out.extend_from_slice(segment);
    let body = out.get_mut(start..).ok_or(SealError::Range)?;
    let opened = segments
        .key
        .open_in_place(segments.nonce(number, last), Aad::empty(), body)
        .map(|plain| plain.len());
    match opened {
        Ok(plain_bytes) => {
            out.truncate(start + plain_bytes);
            Ok(())
        }
        Err(_) => {
            out.truncate(start);
            Err(SealError::NotAuthentic)
        }
    }
}

/// Opens a stream that arrives in pieces, its header first, and whose length need not be known.
///
/// What [`push`](Self::push) appends is authentic and in order, but only [`finish`](Self::finish) proves that
/// nothing was cut off the end. After an error the reader stays failed.
pub struct SequentialDecryptor {
    key: SecretKey,
    aad: Vec<u8>,
    segments: Option<Segments>,
    segment_bytes: usize,
    number: u32,
    pending: Vec<u8>,
    failed: bool,
}

impl SequentialDecryptor {
    /// A reader for a stream under `key`, bound to `aad`.
    ///
    /// # Errors
    /// [`SealError::SegmentSize`].
    pub fn new(key: &SecretKey, aad: &[u8], segment_bytes: usize) -> Result<Self, SealError> {
        check_segment_bytes(segment_bytes)?;
        Ok(Self {
            key: key.clone(),
            aad: aad.to_vec(),
            segments: None,
            segment_bytes,
            number: 0,
            pending: Vec::new(),
            failed: false,
        })
    }

    /// Takes ciphertext and appends the plaintext of every segment that is known not to be the last to `out`.
    ///
    /// # Errors
    /// [`SealError::Header`], [`SealError::NotAuthentic`], or [`SealError::TooLarge`] after 2^32 segments.
    pub fn push(&mut self, mut ciphertext: &[u8], out: &mut Vec<u8>) -> Result<(), SealError> {
        while !ciphertext.is_empty() {
            let wanted = self.wanted();
            let missing = wanted - self.pending.len();
            if missing == 0 {
                self.open_pending(false, out)?;
                continue;
            }
            let (taken, rest) = ciphertext.split_at(missing.min(ciphertext.len()));
            self.pending.extend_from_slice(taken);
            ciphertext = rest;
        }
        Ok(())
    }

    /// Ends the stream: appends the last segment's plaintext if it really is the last.
    ///
    /// # Errors
    /// [`SealError::Truncated`] or [`SealError::NotAuthentic`].
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<(), SealError> {
        if self.segments.is_none() {
            if self.pending.len() < HEADER_BYTES {
                return Err(SealError::Truncated);
            }
            self.open_pending(false, out)?;
        }
        self.open_pending(true, out)
    }

    /// How many bytes the next part has: the header, or a full segment.
    fn wanted(&self) -> usize {
        match (&self.segments, self.number) {
            (None, _) => HEADER_BYTES,
            (Some(_), 0) => self.segment_bytes - HEADER_BYTES,
            (Some(_), _) => self.segment_bytes,
        }
    }

    fn open_pending(&mut self, last: bool, out: &mut Vec<u8>) -> Result<(), SealError> {
        if self.failed {
            return Err(SealError::NotAuthentic);
        }
        self.failed = true;
        if let Some(segments) = &self.segments {
            open_segment(segments, self.number, last, &self.pending, out)?;
            if !last {
                self.number = self.number.checked_add(1).ok_or(SealError::TooLarge)?;
            }
        } else {
            let header = self.pending.as_slice().try_into().map_err(|_| SealError::Header)?;
            self.segments = Some(Segments::new(&self.key, &self.aad, header)?);
        }
        self.pending.clear();
        self.failed = false;
        Ok(())
    }
}

impl fmt::Debug for SequentialDecryptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SequentialDecryptor")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

/// Decrypts a whole stream that is in memory, and proves it whole.
///
/// # Errors
/// As [`Decryptor`].
pub fn decrypt_all(key: &SecretKey, aad: &[u8], stream: &[u8], segment_bytes: usize) -> Result<Vec<u8>, SealError> {
    let (header, body) = stream.split_at_checked(HEADER_BYTES).ok_or(SealError::Truncated)?;
    Decryptor::new(key, aad, header, stream.len() as u64, segment_bytes)?.open_range(0, body)
}
