//! SHA-256, SHA-512 and comparison in constant time.

use ring::digest::{Context, SHA256, SHA512};

/// A SHA-256 or SHA-512 in the making.
#[derive(Clone)]
pub struct Hasher(Context);

impl Hasher {
    /// SHA-256.
    #[must_use]
    pub fn sha256() -> Self {
        Self(Context::new(&SHA256))
    }

    /// SHA-512.
    #[must_use]
    pub fn sha512() -> Self {
        Self(Context::new(&SHA512))
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash: 32 or 64 bytes.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.0.finish().as_ref().to_vec()
    }
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hasher(..)")
    }
}

/// SHA-256 over the parts, one after the other.
#[must_use]
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let mut hash = [0; 32];
    for (to, from) in hash.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    hash
}

/// Whether two texts are equal. Takes the same time wherever they differ: both are hashed first.
#[must_use]
pub fn is_equal(a: &[u8], b: &[u8]) -> bool {
    let (a, b) = (sha256(&[a]), sha256(&[b]));
    a.iter().zip(b).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_hashed_as_one_text() {
        assert_eq!(sha256(&[b"a", b"bc"]), sha256(&[b"abc"]));
        assert_eq!(
            hex::encode(sha256(&[b"abc"])),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        let mut hasher = Hasher::sha256();
        hasher.update(b"a");
        hasher.update(b"bc");
        assert_eq!(hasher.finish(), sha256(&[b"abc"]));
        assert_eq!(Hasher::sha512().finish().len(), 64);
        assert!(is_equal(b"same", b"same"));
        assert!(!is_equal(b"same", b"samf"));
    }
}
