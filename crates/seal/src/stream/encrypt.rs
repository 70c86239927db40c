//! Writing a stream.

use std::fmt;

use ring::aead::Aad;
use zeroize::Zeroizing;

use super::{HEADER_BYTES, HEADER_MARK, PREFIX_BYTES, SALT_BYTES, Segments, TAG_BYTES, check_segment_bytes};
use crate::{SealError, SecretKey, random_bytes};

/// Encrypts a plaintext that arrives in pieces. It holds at most one segment; a full one waits there only until it
/// is known whether it is the last.
pub struct Encryptor {
    segments: Segments,
    header: [u8; HEADER_BYTES],
    header_written: bool,
    segment_bytes: usize,
    number: u32,
    exhausted: bool,
    pending: Zeroizing<Vec<u8>>,
}

impl Encryptor {
    /// A new stream under `key`, bound to `aad`.
    ///
    /// # Errors
    /// [`SealError::Random`] or [`SealError::SegmentSize`].
    pub fn new(key: &SecretKey, aad: &[u8], segment_bytes: usize) -> Result<Self, SealError> {
        check_segment_bytes(segment_bytes)?;
        let random: [u8; SALT_BYTES + PREFIX_BYTES] = random_bytes()?;
        let mut header = [HEADER_MARK; HEADER_BYTES];
        for (to, from) in header.iter_mut().skip(1).zip(random) {
            *to = from;
        }
        Ok(Self {
            segments: Segments::new(key, aad, &header)?,
            header,
            header_written: false,
            segment_bytes,
            number: 0,
            exhausted: false,
            pending: Zeroizing::new(Vec::new()),
        })
    }

    /// The stream's header, which also begins the output.
    #[must_use]
    pub fn header(&self) -> &[u8; HEADER_BYTES] {
        &self.header
    }

    /// Takes plaintext and appends the ciphertext of every segment that is complete to `out`.
    ///
    /// # Errors
    /// [`SealError::TooLarge`] after 2^32 segments.
    pub fn push(&mut self, mut plain: &[u8], out: &mut Vec<u8>) -> Result<(), SealError> {
        self.write_header(out);
        while !plain.is_empty() {
            let capacity = self.capacity();
            if self.pending.is_empty() && plain.len() > capacity {
                let (segment, rest) = plain.split_at(capacity);
                self.seal(segment, false, out)?;
                plain = rest;
                continue;
            }
            if self.pending.len() == capacity {
                self.seal_pending(false, out)?;
                continue;
            }
            if self.pending.capacity() == 0 {
                // Reserved whole, so that the buffer never moves and leaves plaintext behind.
                self.pending.reserve_exact(self.segment_bytes - TAG_BYTES);
            }
            let missing = capacity - self.pending.len();
            let (taken, rest) = plain.split_at(missing.min(plain.len()));
            self.pending.extend_from_slice(taken);
            plain = rest;
        }
        Ok(())
    }

    /// Ends the stream and appends its last segment.
    ///
    /// # Errors
    /// [`SealError::TooLarge`] after 2^32 segments.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<(), SealError> {
        self.write_header(out);
        self.seal_pending(true, out)
    }

    fn capacity(&self) -> usize {
        let header = if self.number == 0 && !self.exhausted {
            HEADER_BYTES
        } else {
            0
        };
        self.segment_bytes - TAG_BYTES - header
    }

    fn write_header(&mut self, out: &mut Vec<u8>) {
        if !self.header_written {
            out.extend_from_slice(&self.header);
            self.header_written = true;
        }
    }

    fn seal_pending(&mut self, last: bool, out: &mut Vec<u8>) -> Result<(), SealError> {
        let mut pending = std::mem::take(&mut self.pending);
        let done = self.seal(&pending, last, out);
        pending.clear();
        self.pending = pending;
        done
    }

    /// Copies a segment behind `out` and encrypts it there.
    fn seal(&mut self, plain: &[u8], last: bool, out: &mut Vec<u8>) -> Result<(), SealError> {
        if self.exhausted {
            return Err(SealError::TooLarge);
        }
        let start = out.len();
        out.reserve(plain.len() + TAG_BYTES);
        out.extend_from_slice(plain);
        let body = out.get_mut(start..).ok_or(SealError::Truncated)?;
        let nonce = self.segments.nonce(self.number, last);
        let tag = self.segments.key.seal_in_place_separate_tag(nonce, Aad::empty(), body);
        let tag = tag.map_err(|_| SealError::TooLarge)?;
        out.extend_from_slice(tag.as_ref());
        match self.number.checked_add(1) {
            Some(next) => self.number = next,
            None => self.exhausted = true,
        }
        Ok(())
    }
}

impl fmt::Debug for Encryptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encryptor")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

/// Encrypts a plaintext that is in memory.
///
/// # Errors
/// As [`Encryptor`].
pub fn encrypt_all(key: &SecretKey, aad: &[u8], plain: &[u8], segment_bytes: usize) -> Result<Vec<u8>, SealError> {
    let layout = super::Layout::of_plaintext(plain.len() as u64, segment_bytes)?;
    let total = usize::try_from(layout.ciphertext_bytes()).map_err(|_| SealError::TooLarge)?;
    let mut out = Vec::with_capacity(total);
    let mut encryptor = Encryptor::new(key, aad, segment_bytes)?;
    encryptor.push(plain, &mut out)?;
    encryptor.finish(&mut out)?;
    Ok(out)
}
