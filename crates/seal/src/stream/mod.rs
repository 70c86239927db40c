//! Streaming encryption with random access, in Google Tink's published "AES-GCM-HKDF streaming AEAD" format
//! (<https://developers.google.com/tink/streaming-aead/aes_gcm_hkdf_streaming>): HKDF-SHA256, 32-byte derived key.
//!
//! ```text
//! header   = 40 (1 byte) || salt (32) || nonce prefix (7)
//! key      = HKDF-SHA256(ikm = key, salt, info = associated data)
//! segment  = AES-256-GCM(key, nonce = prefix || u32be(number) || last (1 or 0), no associated data)
//! stream   = header || segment 0 || segment 1 || ...
//! ```
//! A segment fills `segment_bytes` of ciphertext with its tag; the first one is shorter by the header, the last one
//! may be shorter. Only an empty message has an empty segment. The number and the last flag in the nonce make a
//! segment that was moved, dropped, or cut off fail to open.

mod decrypt;
mod encrypt;
mod layout;
#[cfg(test)]
mod tests;

pub use decrypt::{Decryptor, SequentialDecryptor, decrypt_all};
pub use encrypt::{Encryptor, encrypt_all};
pub use layout::{Fetch, Layout};
use ring::aead::{AES_256_GCM, LessSafeKey, Nonce, UnboundKey};

use crate::{SealError, SecretKey, key::hkdf_sha256};

/// The header's length.
pub const HEADER_BYTES: usize = 1 + SALT_BYTES + PREFIX_BYTES;
/// A segment's ciphertext length unless told otherwise: 64 KiB.
pub const DEFAULT_SEGMENT_BYTES: usize = 64 * 1024;
/// A segment's tag.
pub const TAG_BYTES: usize = 16;

const SALT_BYTES: usize = 32;
const PREFIX_BYTES: usize = 7;
const HEADER_MARK: u8 = 40;

/// One stream's derived key and nonce prefix.
struct Segments {
    key: LessSafeKey,
    prefix: [u8; PREFIX_BYTES],
}

impl Segments {
    fn new(key: &SecretKey, aad: &[u8], header: &[u8; HEADER_BYTES]) -> Result<Self, SealError> {
        let (mark, rest) = header.split_first().ok_or(SealError::Header)?;
        let (salt, prefix) = rest.split_at_checked(SALT_BYTES).ok_or(SealError::Header)?;
        if *mark != HEADER_MARK {
            return Err(SealError::Header);
        }
        let derived = hkdf_sha256(salt, key.expose(), aad);
        let derived = UnboundKey::new(&AES_256_GCM, derived.expose()).map_err(|_| SealError::KeyLength)?;
        let prefix = prefix.try_into().map_err(|_| SealError::Header)?;
        Ok(Self {
            key: LessSafeKey::new(derived),
            prefix,
        })
    }

    fn nonce(&self, number: u32, last: bool) -> Nonce {
        let [p0, p1, p2, p3, p4, p5, p6] = self.prefix;
        let [n0, n1, n2, n3] = number.to_be_bytes();
        Nonce::assume_unique_for_key([p0, p1, p2, p3, p4, p5, p6, n0, n1, n2, n3, u8::from(last)])
    }
}

fn check_segment_bytes(segment_bytes: usize) -> Result<(), SealError> {
    // Tink's rule: more than header plus tag, and at most 2^31 - 1.
    if (HEADER_BYTES + TAG_BYTES + 1..=0x7fff_ffff).contains(&segment_bytes) {
        Ok(())
    } else {
        Err(SealError::SegmentSize)
    }
}
