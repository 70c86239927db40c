//! The blind index: keyed hashes that find a number without storing it.
//!
//! `HMAC-SHA256(key, u32be(length of domain) || domain || text)`, truncated (RFC 2104, section 5). Whoever lacks the
//! key can neither compute a hash nor test a guess; destroying the key makes every hash noise.

use std::fmt;

use ring::hmac;

use crate::SecretKey;

/// The length of a full blind hash.
pub const HASH_BYTES: usize = 16;
/// The length of a tail.
pub const TAIL_BYTES: usize = 10;

/// The blind index of one account.
#[derive(Clone)]
pub struct BlindIndex(hmac::Key);

impl BlindIndex {
    /// The index under `key`, whose schedule is computed once, here.
    #[must_use]
    pub fn new(key: SecretKey) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key.expose()))
    }

    /// The first 16 bytes of the keyed hash of `text` within `domain` (for example `number` or `source-id`).
    #[must_use]
    pub fn hash(&self, domain: &str, text: &str) -> [u8; HASH_BYTES] {
        self.truncated(domain, text)
    }

    /// The first 10 bytes of the same hash, for places where 80 bits are enough (for example `sid-tail`).
    #[must_use]
    pub fn tail(&self, domain: &str, text: &str) -> [u8; TAIL_BYTES] {
        self.truncated(domain, text)
    }

    fn truncated<const N: usize>(&self, domain: &str, text: &str) -> [u8; N] {
        let mut context = hmac::Context::with_key(&self.0);
        let domain_bytes = u32::try_from(domain.len()).unwrap_or(u32::MAX);
        context.update(&domain_bytes.to_be_bytes());
        context.update(domain.as_bytes());
        context.update(text.as_bytes());
        let mut out = [0; N];
        for (to, from) in out.iter_mut().zip(context.sign().as_ref()) {
            *to = *from;
        }
        out
    }
}

impl fmt::Debug for BlindIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BlindIndex(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_its_format() {
        let index = BlindIndex::new(SecretKey::from_bytes([5; 32]));
        let full = hmac::sign(
            &hmac::Key::new(hmac::HMAC_SHA256, &[5; 32]),
            b"\0\0\0\x06number+919999999999",
        );
        assert_eq!(index.hash("number", "+919999999999"), full.as_ref()[..16]);
        assert_eq!(index.tail("number", "+919999999999"), full.as_ref()[..10]);
    }

    #[test]
    fn separates_domains_and_keys() {
        let (a, b) = (
            BlindIndex::new(SecretKey::from_bytes([5; 32])),
            BlindIndex::new(SecretKey::from_bytes([6; 32])),
        );
        assert_ne!(a.hash("number", "1"), a.hash("source-id", "1"));
        assert_ne!(a.hash("ab", "c"), a.hash("a", "bc"));
        assert_ne!(a.hash("number", "1"), b.hash("number", "1"));
        assert_eq!(a.hash("number", "1"), a.hash("number", "1"));
    }
}
