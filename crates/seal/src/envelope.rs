//! The envelope: a small piece of data sealed whole.
//!
//! `1 (version) || nonce, 12 random bytes || AES-256-GCM ciphertext || tag, 16 bytes`. The associated data is the
//! caller's. A nonce is random, so one key may seal at most 2^32 envelopes (NIST SP 800-38D, 8.3); a data key of a
//! partition stays far below.

use std::fmt;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::{SealError, SecretKey, random_bytes};

/// The only version there is.
pub const VERSION: u8 = 1;
/// The tag's length.
pub const TAG_BYTES: usize = 16;
/// What sealing adds to a plaintext's length.
pub const OVERHEAD_BYTES: usize = 1 + NONCE_LEN + TAG_BYTES;

const HEAD_BYTES: usize = 1 + NONCE_LEN;

/// A key made ready once for many envelopes.
///
/// `ring` does not clear its expanded key from memory, so a `Cipher` should live no longer than its loop.
#[derive(Clone)]
pub struct Cipher(LessSafeKey);

impl Cipher {
    /// The cipher of a key.
    ///
    /// # Errors
    /// [`SealError::KeyLength`], which a [`SecretKey`] rules out.
    pub fn new(key: &SecretKey) -> Result<Self, SealError> {
        let key = UnboundKey::new(&AES_256_GCM, key.expose()).map_err(|_| SealError::KeyLength)?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// Seals `plain` together with `aad`, which is authenticated and not stored.
    ///
    /// # Errors
    /// [`SealError::Random`], or [`SealError::TooLarge`] above AES-GCM's 64 GiB.
    pub fn seal(&self, aad: &[u8], plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let nonce: [u8; NONCE_LEN] = random_bytes()?;
        let mut out = Vec::with_capacity(plain.len() + OVERHEAD_BYTES);
        out.push(VERSION);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(plain);
        let body = out.get_mut(HEAD_BYTES..).ok_or(SealError::Truncated)?;
        let tag = self
            .0
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), body)
            .map_err(|_| SealError::TooLarge)?;
        out.extend_from_slice(tag.as_ref());
        Ok(out)
    }

    /// Opens what [`seal`](Self::seal) made with the same key and `aad`.
    ///
    /// # Errors
    /// [`SealError::Truncated`], [`SealError::Version`] or [`SealError::NotAuthentic`].
    pub fn open(&self, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (nonce, body) = split(sealed)?;
        let mut body = body.to_vec();
        let plain_bytes = self
            .0
            .open_in_place(nonce, Aad::from(aad), &mut body)
            .map_err(|_| SealError::NotAuthentic)?
            .len();
        body.truncate(plain_bytes);
        Ok(body)
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cipher(..)")
    }
}

/// Checks length and version, and parts the nonce from ciphertext and tag.
fn split(sealed: &[u8]) -> Result<(Nonce, &[u8]), SealError> {
    match sealed.split_first() {
        None => return Err(SealError::Truncated),
        Some((&VERSION, _)) => {}
        Some((&other, _)) => return Err(SealError::Version(other)),
    }
    if sealed.len() < OVERHEAD_BYTES {
        return Err(SealError::Truncated);
    }
    let (nonce, body) = sealed.split_at(HEAD_BYTES);
    let nonce = nonce.get(1..).ok_or(SealError::Truncated)?;
    Ok((
        Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Truncated)?,
        body,
    ))
}

/// Seals once; see [`Cipher::seal`].
///
/// # Errors
/// As [`Cipher::seal`].
pub fn seal(key: &SecretKey, aad: &[u8], plain: &[u8]) -> Result<Vec<u8>, SealError> {
    Cipher::new(key)?.seal(aad, plain)
}

/// Opens once; see [`Cipher::open`].
///
/// # Errors
/// As [`Cipher::open`].
pub fn open(key: &SecretKey, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
    Cipher::new(key)?.open(aad, sealed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_changed_byte_is_refused() {
        let key = SecretKey::from_bytes([1; 32]);
        let sealed = seal(&key, b"aad", b"plain text").unwrap();
        assert_eq!(sealed.len(), 10 + OVERHEAD_BYTES);
        assert_eq!(open(&key, b"aad", &sealed).unwrap(), b"plain text");
        for at in 0..sealed.len() {
            for flip in [1, 0x80, 0xff] {
                let mut bad = sealed.clone();
                bad[at] ^= flip;
                assert!(open(&key, b"aad", &bad).is_err(), "byte {at}");
            }
            assert!(open(&key, b"aad", &sealed[..at]).is_err());
        }
        assert_eq!(open(&key, b"other", &sealed), Err(SealError::NotAuthentic));
        assert_eq!(
            open(&SecretKey::from_bytes([2; 32]), b"aad", &sealed),
            Err(SealError::NotAuthentic)
        );
        assert_eq!(open(&key, b"aad", &[2; 60]), Err(SealError::Version(2)));
        assert_eq!(open(&key, b"aad", &[]), Err(SealError::Truncated));
    }

    #[test]
    fn the_same_plaintext_seals_differently() {
        let key = SecretKey::from_bytes([1; 32]);
        assert_ne!(seal(&key, b"", b"same").unwrap(), seal(&key, b"", b"same").unwrap());
    }

    proptest! {
        #[test]
        fn opens_what_it_sealed(plain: Vec<u8>, aad: Vec<u8>, key: [u8; 32]) {
            let cipher = Cipher::new(&SecretKey::from_bytes(key)).unwrap();
            prop_assert_eq!(cipher.open(&aad, &cipher.seal(&aad, &plain).unwrap()).unwrap(), plain);
        }
    }
}
