//! Ed25519 keys of a log, named as C2SP signed-note wants them (<https://c2sp.org/signed-note>).

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::{
    digest,
    signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey},
};

use crate::SecretKey;

/// The signature type of Ed25519 in signed-note.
const TYPE_ED25519: u8 = 1;
/// An Ed25519 public key's length.
pub const PUBLIC_KEY_BYTES: usize = 32;
/// An Ed25519 signature's length.
pub const SIGNATURE_BYTES: usize = 64;

/// A key or key name that is not well formed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// A key name is empty or holds a space, a plus or a control character.
    #[error("a key name must be non-empty, without spaces, plus signs and control characters")]
    Name,
    /// A seed is refused by the signature scheme.
    #[error("not an Ed25519 seed")]
    Seed,
    /// A verifier key is not `name+hash+base64`, or its hash is not the key's.
    #[error("not a verifier key of the form name+hash+base64")]
    VerifierKey,
}

/// Who signs a log's checkpoints and certificates.
pub struct LogSigner {
    pair: Ed25519KeyPair,
    verifier: VerifierKey,
}

impl LogSigner {
    /// The signer with this name and 32-byte seed (RFC 8032).
    ///
    /// # Errors
    /// [`SignError::Name`] or [`SignError::Seed`].
    pub fn new(name: &str, seed: &SecretKey) -> Result<Self, SignError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.expose()).map_err(|_| SignError::Seed)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| SignError::Seed)?;
        Ok(Self {
            verifier: VerifierKey::new(name, public)?,
            pair,
        })
    }

    /// The key's name; for a log, its origin.
    #[must_use]
    pub fn name(&self) -> &str {
        self.verifier.name()
    }

    /// The key that checks this signer's signatures.
    #[must_use]
    pub fn verifier_key(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Signs bytes as they are.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        let mut signature = [0; SIGNATURE_BYTES];
        for (to, from) in signature.iter_mut().zip(self.pair.sign(message).as_ref()) {
            *to = *from;
        }
        signature
    }
}

impl fmt::Debug for LogSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogSigner")
            .field("verifier", &self.verifier)
            .finish_non_exhaustive()
    }
}

/// A log's public key with its name, written `name+hash+base64`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: [u8; 4],
    public: [u8; PUBLIC_KEY_BYTES],
}

impl VerifierKey {
    /// The key with this name.
    ///
    /// # Errors
    /// [`SignError::Name`].
    pub fn new(name: &str, public: [u8; PUBLIC_KEY_BYTES]) -> Result<Self, SignError> {
        if !is_key_name(name) {
            return Err(SignError::Name);
        }
        Ok(Self {
            id: key_id(name, &public),
            name: name.to_owned(),
            public,
        })
    }

    /// The key's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first 4 bytes of `SHA-256(name || 0x0A || 0x01 || public key)`.
    #[must_use]
    pub fn id(&self) -> [u8; 4] {
        self.id
    }

    /// Whether `signature` is this key's over `message`.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.public)
            .verify(message, signature)
            .is_ok()
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![TYPE_ED25519];
        key.extend_from_slice(&self.public);
        write!(f, "{}+{}+{}", self.name, hex::encode(self.id), STANDARD.encode(key))
    }
}

impl FromStr for VerifierKey {
    type Err = SignError;

    fn from_str(text: &str) -> Result<Self, SignError> {
        // The base64 part may hold a plus itself, the name may not.
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(SignError::VerifierKey);
        };
        let key = STANDARD.decode(key).map_err(|_| SignError::VerifierKey)?;
        let Some((&TYPE_ED25519, public)) = key.split_first() else {
            return Err(SignError::VerifierKey);
        };
        let public = public.try_into().map_err(|_| SignError::VerifierKey)?;
        let parsed = Self::new(name, public)?;
        if hex::encode(parsed.id) == id {
            Ok(parsed)
        } else {
            Err(SignError::VerifierKey)
        }
    }
}

/// Signed-note's rule for key names.
pub(crate) fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+')
}

fn key_id(name: &str, public: &[u8; PUBLIC_KEY_BYTES]) -> [u8; 4] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in [name.as_bytes(), &[b'\n', TYPE_ED25519], public] {
        context.update(part);
    }
    let mut id = [0; 4];
    for (to, from) in id.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of the signed-note documentation of Go's `golang.org/x/mod/sumdb/note`.
    const PETER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";

    #[test]
    fn reads_and_writes_a_published_key() {
        let key: VerifierKey = PETER.parse().unwrap();
        assert_eq!(key.name(), "PeterNeumann");
        assert_eq!(hex::encode(key.id()), "c74f20a3");
        assert_eq!(key.to_string(), PETER);
    }

    #[test]
    fn refuses_every_changed_character() {
        for (at, _) in PETER.char_indices() {
            for new in ['A', 'b', '+', ' ', '\n', '0', '='] {
                let mut bad: Vec<char> = PETER.chars().collect();
                if bad[at] != new {
                    bad[at] = new;
                    let bad: String = bad.into_iter().collect();
                    assert!(bad.parse::<VerifierKey>().is_err(), "{bad}");
                }
            }
        }
        assert!(format!("{PETER}\n").parse::<VerifierKey>().is_err());
        assert!(PETER.replace("c74f", "C74F").parse::<VerifierKey>().is_err());
        assert!(VerifierKey::new("a b", [0; 32]).is_err());
        assert!(VerifierKey::new("", [0; 32]).is_err());
    }

    #[test]
    fn rfc_8032_test_1() {
        let seed = hex::decode("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").unwrap();
        let signer = LogSigner::new("n", &SecretKey::from_slice(&seed).unwrap()).unwrap();
        assert_eq!(
            hex::encode(signer.sign(b"")),
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b\
             d25bf5f0595bbe24655141438e7a100b"
        );
        assert!(signer.verifier_key().verifies(b"", &signer.sign(b"")));
        assert!(!signer.verifier_key().verifies(b"x", &signer.sign(b"")));
    }
}
