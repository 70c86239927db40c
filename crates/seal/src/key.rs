//! Secret keys and random bytes.

use std::fmt;

use ring::{
    hmac,
    rand::{SecureRandom, SystemRandom},
};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::SealError;

/// The length of every key.
pub const KEY_BYTES: usize = 32;

/// A 256-bit key. It is cleared from memory when dropped and never shows its bytes in `Debug`.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SecretKey(Box<[u8; KEY_BYTES]>);

impl SecretKey {
    /// A new random key.
    ///
    /// # Errors
    /// [`SealError::Random`] when the system gives no random bytes.
    pub fn generate() -> Result<Self, SealError> {
        let mut bytes = Box::new([0; KEY_BYTES]);
        SystemRandom::new()
            .fill(bytes.as_mut_slice())
            .map_err(|_| SealError::Random)?;
        Ok(Self(bytes))
    }

    /// The key with these bytes. The caller clears its own copy.
    #[must_use]
    pub fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(Box::new(bytes))
    }

    /// The key with the bytes of a slice.
    ///
    /// # Errors
    /// [`SealError::KeyLength`] unless the slice holds 32 bytes.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, SealError> {
        let mut key = Box::new([0; KEY_BYTES]);
        if bytes.len() != KEY_BYTES {
            return Err(SealError::KeyLength);
        }
        key.copy_from_slice(bytes);
        Ok(Self(key))
    }

    /// The key's bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// The key for one purpose: HKDF-SHA256 (RFC 5869) with an empty salt and `purpose` as info.
    #[must_use]
    pub fn derive(&self, purpose: &[u8]) -> Self {
        hkdf_sha256(&[], self.expose(), purpose)
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

/// HKDF-SHA256 (RFC 5869) with 32 bytes of output, which is one round of its expand step and cannot fail.
pub(crate) fn hkdf_sha256(salt: &[u8], input: &[u8], info: &[u8]) -> SecretKey {
    let mut extracted: [u8; KEY_BYTES] = hmac_sha256(salt, &[input]);
    let expanded: [u8; KEY_BYTES] = hmac_sha256(&extracted, &[info, &[1]]);
    extracted.zeroize();
    SecretKey::from_bytes(expanded)
}

/// HMAC-SHA-256 (RFC 2104) over the parts, one after the other.
#[must_use]
pub fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; KEY_BYTES] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in parts {
        context.update(part);
    }
    let mut out = [0; KEY_BYTES];
    out.copy_from_slice(context.sign().as_ref());
    out
}

/// `N` random bytes from the operating system.
///
/// # Errors
/// [`SealError::Random`] when the system gives none.
pub fn random_bytes<const N: usize>() -> Result<[u8; N], SealError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| SealError::Random)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use ring::hkdf;

    use super::*;

    #[test]
    fn derives_what_ring_derives() {
        let key = SecretKey::from_bytes([7; 32]);
        for (salt, info) in [(&b""[..], &b"purpose"[..]), (b"salt", b""), (&[9; 100], &[3; 300])] {
            let mut expected = [0; 32];
            hkdf::Salt::new(hkdf::HKDF_SHA256, salt)
                .extract(key.expose())
                .expand(&[info], hkdf::HKDF_SHA256)
                .unwrap()
                .fill(&mut expected)
                .unwrap();
            assert_eq!(hkdf_sha256(salt, key.expose(), info).expose(), &expected);
        }
    }

    #[test]
    fn rfc_5869_case_1() {
        let okm = hkdf_sha256(
            &hex::decode("000102030405060708090a0b0c").unwrap(),
            &[0x0b; 22],
            &hex::decode("f0f1f2f3f4f5f6f7f8f9").unwrap(),
        );
        assert_eq!(
            hex::encode(okm.expose()),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
        );
    }

    #[test]
    fn purposes_differ_and_debug_is_silent() {
        let key = SecretKey::from_bytes([0xab; 32]);
        assert_ne!(key.derive(b"a").expose(), key.derive(b"b").expose());
        assert_ne!(key.derive(b"a").expose(), key.expose());
        assert_eq!(format!("{key:?}"), "SecretKey(..)");
        assert_ne!(
            SecretKey::generate().unwrap().expose(),
            SecretKey::generate().unwrap().expose()
        );
        assert_eq!(SecretKey::from_slice(&[0; 31]).unwrap_err(), SealError::KeyLength);
    }
}
