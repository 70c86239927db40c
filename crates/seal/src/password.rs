//! Passwords as they are kept: Argon2id (RFC 9106), in the text form of the PHC.
//!
//! The cost is the first choice of OWASP's Password Storage Cheat Sheet: 19 MiB, two passes, one lane.

use argon2::{Algorithm, Argon2, Params, Version};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use zeroize::Zeroizing;

use crate::{SealError, digest::is_equal, random_bytes};

const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;
/// What a stored hash may ask for at most: a changed catalog must not be able to exhaust the machine.
const MOST_MEMORY_KIB: u32 = 128 * 1024;
const MOST_PASSES: u32 = 10;
const MOST_LANES: u32 = 4;

/// A password's hash with its salt and cost.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: [u8; SALT_BYTES],
    hash: [u8; HASH_BYTES],
}

impl PasswordHash {
    /// Hashes a password at the present cost: tens of milliseconds and 19 MiB.
    ///
    /// # Errors
    /// [`SealError::Random`] when the system gives no random bytes.
    pub fn new(password: &[u8]) -> Result<Self, SealError> {
        let mut made = Self {
            memory_kib: MEMORY_KIB,
            passes: PASSES,
            lanes: LANES,
            salt: random_bytes()?,
            hash: [0; HASH_BYTES],
        };
        made.hash = *made.compute(password)?;
        Ok(made)
    }

    /// A hash that no password has, at the present cost: so that looking for nobody takes as long.
    #[must_use]
    pub const fn of_nobody() -> Self {
        Self {
            memory_kib: MEMORY_KIB,
            passes: PASSES,
            lanes: LANES,
            salt: [0; SALT_BYTES],
            hash: [0; HASH_BYTES],
        }
    }

    /// Whether this is the password. Takes as long as hashing does, and the same time whatever differs.
    ///
    /// # Errors
    /// [`SealError::KeyLength`], which the bounds on reading rule out.
    pub fn fits(&self, password: &[u8]) -> Result<bool, SealError> {
        let computed = self.compute(password)?;
        Ok(is_equal(computed.as_slice(), &self.hash) && self.hash != [0; HASH_BYTES])
    }

    /// Whether it was made at the present cost; one that was not is made anew when its password is next given.
    #[must_use]
    pub fn is_current(&self) -> bool {
        (self.memory_kib, self.passes, self.lanes) == (MEMORY_KIB, PASSES, LANES)
    }

    fn compute(&self, password: &[u8]) -> Result<Zeroizing<[u8; HASH_BYTES]>, SealError> {
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(HASH_BYTES));
        let params = params.map_err(|_| SealError::KeyLength)?;
        let mut hash = Zeroizing::new([0; HASH_BYTES]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(password, &self.salt, hash.as_mut_slice())
            .map_err(|_| SealError::KeyLength)?;
        Ok(hash)
    }

    /// `$argon2id$v=19$m=19456,t=2,p=1$salt$hash`.
    #[must_use]
    pub fn to_phc(&self) -> String {
        format!(
            "$argon2id$v=19$m={},t={},p={}${}${}",
            self.memory_kib,
            self.passes,
            self.lanes,
            STANDARD_NO_PAD.encode(self.salt),
            STANDARD_NO_PAD.encode(self.hash)
        )
    }

    /// Reads the text form; nothing when it is another one, or asks for more than is reasonable.
    #[must_use]
    pub fn from_phc(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("$argon2id$v=19$m=")?;
        let mut parts = rest.split('$');
        let (cost, salt, hash) = (parts.next()?, parts.next()?, parts.next()?);
        let (memory, rest) = cost.split_once(",t=")?;
        let (passes, lanes) = rest.split_once(",p=")?;
        let read = Self {
            memory_kib: memory.parse().ok()?,
            passes: passes.parse().ok()?,
            lanes: lanes.parse().ok()?,
            salt: STANDARD_NO_PAD.decode(salt).ok()?.try_into().ok()?,
            hash: STANDARD_NO_PAD.decode(hash).ok()?.try_into().ok()?,
        };
        let in_bounds = (8..=MOST_MEMORY_KIB).contains(&read.memory_kib)
            && (1..=MOST_PASSES).contains(&read.passes)
            && (1..=MOST_LANES).contains(&read.lanes);
        Some(read).filter(|_| in_bounds && parts.next().is_none())
    }
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_fits_and_the_text_is_the_whole_of_it() {
        let made = PasswordHash::new(b"correct horse battery").unwrap();
        assert!(made.fits(b"correct horse battery").unwrap());
        assert!(!made.fits(b"correct horse batterz").unwrap());
        assert!(!PasswordHash::of_nobody().fits(b"").unwrap());
        let text = made.to_phc();
        assert!(text.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{text}");
        assert_eq!(PasswordHash::from_phc(&text), Some(made.clone()));
        assert!(made.is_current());
        assert_ne!(PasswordHash::new(b"correct horse battery").unwrap().salt, made.salt);
    }

    #[test]
    fn other_costs_are_read_and_unreasonable_ones_are_not() {
        let text = |cost: &str| {
            format!("$argon2id$v=19${cost}$c29tZXNhbHRzb21lc2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE")
        };
        let read = PasswordHash::from_phc(&text("m=64,t=2,p=1")).expect("a hash");
        assert!(!read.is_current() && !read.fits(b"password").unwrap());
        for cost in ["m=999999999,t=2,p=1", "m=64,t=0,p=1", "m=64,t=2,p=99", "m=64,t=2"] {
            assert_eq!(PasswordHash::from_phc(&text(cost)), None, "{cost}");
        }
    }
}
