//! Passkeys: what a relying party checks of WebAuthn Level 3, with `ring`.
//!
//! Attestation is not asked for and not looked at: a passkey is trusted because the user registered it while signed in. The
//! user must have been verified (by biometrics or a PIN) each time.

use coset::{
    AsCborValue as _, CborSerializable as _, CoseKey, Label,
    cbor::{self, Value},
    iana::{self, EnumI64 as _},
};
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};

use crate::digest::{is_equal, sha256};

const USER_PRESENT: u8 = 0x01;
const USER_VERIFIED: u8 = 0x04;
const HAS_CREDENTIAL: u8 = 0x40;
/// Hash of the relying party, flags, counter.
const HEAD_BYTES: usize = 37;
const AAGUID_BYTES: usize = 16;
/// The longest credential id that is taken (WebAuthn, 4: at most 1023 bytes).
const MAX_ID_BYTES: usize = 1_023;

/// The algorithms that are asked for, in order: `EdDSA`, `ES256`, `RS256` (COSE numbers).
pub const ALGORITHMS: [i64; 3] = [-8, -7, -257];

/// Why a passkey's answer is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WebAuthnError {
    /// It is not what an authenticator sends.
    #[error("it is not readable: {0}")]
    Malformed(&'static str),
    /// It answers another question, or was made for another site.
    #[error("its {0} is another one")]
    Other(&'static str),
    /// The user was not there, or was not verified.
    #[error("the user was not verified")]
    NotVerified,
    /// The signature does not hold.
    #[error("its signature does not hold")]
    Signature,
    /// The counter did not go up: the passkey was copied.
    #[error("its counter did not go up")]
    Counter,
    /// None of [`ALGORITHMS`].
    #[error("its key has another algorithm")]
    Algorithm,
}

use WebAuthnError::{Algorithm, Counter, Malformed, NotVerified, Other, Signature};

/// What is expected of an answer.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'e> {
    /// The question.
    pub challenge: &'e str,
    /// `https://vault.example.in`.
    pub origin: &'e str,
    /// `vault.example.in`.
    pub rp_id: &'e str,
}

/// A credential as the relying party keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Identifier.
    pub id: Vec<u8>,
    /// Public key as `COSE_Key` (RFC 9052).
    pub key: Vec<u8>,
    /// Signatures counted; 0 for one that does not count.
    pub counter: u32,
}

#[derive(Debug)]
struct Head<'a> {
    counter: u32,
    flags: u8,
    rest: &'a [u8],
}

/// Checks what a browser made of `navigator.credentials.create` (WebAuthn, 7.1). `client_data` is its text as it came; its
/// challenge is compared as text in base64url.
///
/// # Errors
/// [`WebAuthnError`].
pub fn verify_registration(
    client_data: &[u8],
    attestation: &[u8],
    expected: &Expected<'_>,
) -> Result<Credential, WebAuthnError> {
    check_client_data(client_data, "webauthn.create", expected)?;
    let object: Value = read_cbor(&mut &attestation[..])?;
    let fields = object.as_map().ok_or(Malformed("attestation object"))?;
    let data = fields
        .iter()
        .find(|(name, _)| name.as_text() == Some("authData"))
        .and_then(|(_, value)| value.as_bytes())
        .ok_or(Malformed("attestation object"))?;
    let head = check_head(data, expected)?;
    if head.flags & HAS_CREDENTIAL == 0 {
        return Err(Malformed("authenticator data"));
    }
    let rest = head.rest.get(AAGUID_BYTES..).ok_or(Malformed("authenticator data"))?;
    let (length, rest) = rest.split_first_chunk::<2>().ok_or(Malformed("authenticator data"))?;
    let length = usize::from(u16::from_be_bytes(*length));
    let (id, mut rest) = rest
        .split_at_checked(length)
        .filter(|_| (1..=MAX_ID_BYTES).contains(&length))
        .ok_or(Malformed("credential id"))?;
    let key = CoseKey::from_cbor_value(read_cbor(&mut rest)?).map_err(|_| Malformed("key"))?;
    PublicKey::read(&key)?;
    Ok(Credential {
        id: id.to_vec(),
        key: key.to_vec().map_err(|_| Malformed("key"))?,
        counter: head.counter,
    })
}

/// Checks what a browser made of `navigator.credentials.get` (WebAuthn, 7.2). Returns the counter to keep.
///
/// # Errors
/// [`WebAuthnError`].
pub fn verify_assertion(
    credential: &Credential,
    client_data: &[u8],
    authenticator_data: &[u8],
    signature: &[u8],
    expected: &Expected<'_>,
) -> Result<u32, WebAuthnError> {
    check_client_data(client_data, "webauthn.get", expected)?;
    let head = check_head(authenticator_data, expected)?;
    let key = CoseKey::from_slice(&credential.key).map_err(|_| Malformed("key"))?;
    let mut signed = authenticator_data.to_vec();
    signed.extend_from_slice(&sha256(&[client_data]));
    PublicKey::read(&key)?.verify(&signed, signature)?;
    if (head.counter, credential.counter) != (0, 0) && head.counter <= credential.counter {
        return Err(Counter);
    }
    Ok(head.counter)
}

/// The question that an answer is to, as the answer says; to be looked up among those that were asked.
#[must_use]
pub fn find_challenge(client_data: &[u8]) -> Option<String> {
    let data: ClientData = serde_json::from_slice(client_data).ok()?;
    Some(data.challenge)
}

fn read_cbor(bytes: &mut &[u8]) -> Result<Value, WebAuthnError> {
    cbor::de::from_reader(bytes).map_err(|_| Malformed("CBOR"))
}

fn check_client_data(text: &[u8], kind: &str, expected: &Expected<'_>) -> Result<(), WebAuthnError> {
    let data: ClientData = serde_json::from_slice(text).map_err(|_| Malformed("client data"))?;
    if data.kind != kind {
        return Err(Other("type"));
    }
    if !is_equal(data.challenge.as_bytes(), expected.challenge.as_bytes()) {
        return Err(Other("challenge"));
    }
    if data.origin != expected.origin || data.cross_origin {
        return Err(Other("origin"));
    }
    Ok(())
}

#[derive(serde::Deserialize)]
struct ClientData {
    #[serde(rename = "type")]
    kind: String,
    challenge: String,
    origin: String,
    #[serde(default, rename = "crossOrigin")]
    cross_origin: bool,
}

fn check_head<'a>(data: &'a [u8], expected: &Expected<'_>) -> Result<Head<'a>, WebAuthnError> {
    let (head, rest) = data
        .split_first_chunk::<HEAD_BYTES>()
        .ok_or(Malformed("authenticator data"))?;
    let (site, tail) = head.split_at(32);
    if !is_equal(site, &sha256(&[expected.rp_id.as_bytes()])) {
        return Err(Other("site"));
    }
    let [flags, counter @ ..] = tail else {
        return Err(Malformed("authenticator data"));
    };
    if flags & USER_PRESENT == 0 || flags & USER_VERIFIED == 0 {
        return Err(NotVerified);
    }
    let counter: [u8; 4] = counter.try_into().map_err(|_| Malformed("authenticator data"))?;
    Ok(Head {
        counter: u32::from_be_bytes(counter),
        flags: *flags,
        rest,
    })
}

/// A key that `ring` verifies with.
enum PublicKey<'k> {
    P256(Vec<u8>),
    Ed25519(&'k [u8]),
    Rsa { n: &'k [u8], e: &'k [u8] },
}

impl<'k> PublicKey<'k> {
    fn read(key: &'k CoseKey) -> Result<Self, WebAuthnError> {
        let param = |label: i64| {
            let found = key.params.iter().find(|(name, _)| *name == Label::Int(label));
            found.map(|(_, value)| value)
        };
        let bytes = |label: i64| param(label).and_then(Value::as_bytes).ok_or(Malformed("key"));
        let curve = |wanted: iana::EllipticCurve| {
            let found = param(-1).and_then(Value::as_integer);
            found == Some(wanted.to_i64().into())
        };
        let is = |kind: iana::KeyType, algorithm: iana::Algorithm| {
            key.kty == coset::KeyType::Assigned(kind) && key.alg == Some(coset::Algorithm::Assigned(algorithm))
        };
        if is(iana::KeyType::EC2, iana::Algorithm::ES256) && curve(iana::EllipticCurve::P_256) {
            let (x, y) = (bytes(-2)?, bytes(-3)?);
            if x.len() != 32 || y.len() != 32 {
                return Err(Malformed("key"));
            }
            return Ok(Self::P256([&[4_u8], x.as_slice(), y.as_slice()].concat()));
        }
        if is(iana::KeyType::OKP, iana::Algorithm::EdDSA) && curve(iana::EllipticCurve::Ed25519) {
            return Ok(Self::Ed25519(bytes(-2)?));
        }
        if is(iana::KeyType::RSA, iana::Algorithm::RS256) {
            return Ok(Self::Rsa {
                n: bytes(-1)?,
                e: bytes(-2)?,
            });
        }
        Err(Algorithm)
    }

    fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), WebAuthnError> {
        let verified = match self {
            Self::P256(point) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(message, signature),
            Self::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key).verify(message, signature),
            Self::Rsa { n, e } => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
        };
        verified.map_err(|_| Signature)
    }
}
