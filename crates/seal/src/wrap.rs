//! Wrapping a key under another: the envelope around 32 bytes, with a context that says which key it is.

use zeroize::Zeroizing;

use crate::{KEY_BYTES, SealError, SecretKey, envelope};

/// The length of a wrapped key.
pub const WRAPPED_KEY_BYTES: usize = KEY_BYTES + envelope::OVERHEAD_BYTES;

/// Wraps `key` under `kek` for `context`; 61 bytes.
///
/// # Errors
/// As [`envelope::seal`].
pub fn wrap_key(kek: &SecretKey, context: &[u8], key: &SecretKey) -> Result<Vec<u8>, SealError> {
    envelope::seal(kek, context, key.expose())
}

/// Unwraps what [`wrap_key`] made with the same `kek` and `context`.
///
/// # Errors
/// As [`envelope::open`]; [`SealError::KeyLength`] when what opens is no key.
pub fn unwrap_key(kek: &SecretKey, context: &[u8], wrapped: &[u8]) -> Result<SecretKey, SealError> {
    let bytes = Zeroizing::new(envelope::open(kek, context, wrapped)?);
    SecretKey::from_slice(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wraps_and_unwraps_in_its_context_only() {
        let (kek, key) = (SecretKey::generate().unwrap(), SecretKey::generate().unwrap());
        let wrapped = wrap_key(&kek, b"partition 1", &key).unwrap();
        assert_eq!(wrapped.len(), 61);
        assert_eq!(wrapped.len(), WRAPPED_KEY_BYTES);
        assert_eq!(
            unwrap_key(&kek, b"partition 1", &wrapped).unwrap().expose(),
            key.expose()
        );
        assert_eq!(
            unwrap_key(&kek, b"partition 2", &wrapped).unwrap_err(),
            SealError::NotAuthentic
        );
        let no_key = envelope::seal(&kek, b"x", b"short").unwrap();
        assert_eq!(unwrap_key(&kek, b"x", &no_key).unwrap_err(), SealError::KeyLength);
    }
}
