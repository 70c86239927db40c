//! Signatures with a certificate beside them: JSON Web Signature, general JSON serialisation (RFC 7515, 7.2.1), as a
//! signed vCon wants it.

use std::fmt;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use ring::{
    rand::SystemRandom,
    rsa,
    signature::{self, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256},
};
use zeroize::Zeroizing;

use crate::digest::sha256;

/// Why there is no signer or no signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwsError {
    /// The key is none of those that sign here.
    #[error("expected a PKCS#8 key of P-256, or RSA of 2048 to 4096 bits")]
    Key,
    /// There is no certificate, or the first one is of another key.
    #[error("the first certificate is not of this key")]
    Certificate,
    /// A certificate cannot be made.
    #[error("the certificate cannot be made")]
    Make,
    /// The system's random source, or the key, failed.
    #[error("signing failed")]
    Sign,
}

enum Key {
    Es256(Box<EcdsaKeyPair>),
    Rs256(Box<rsa::KeyPair>),
}

/// A key that signs, and the certificates that say whose it is.
pub struct CertifiedSigner {
    key: Key,
    /// DER; the signer's own first.
    chain: Vec<Vec<u8>>,
}

impl fmt::Debug for CertifiedSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertifiedSigner")
            .field("alg", &self.alg())
            .finish_non_exhaustive()
    }
}

/// A key of P-256 and a certificate that it signed itself.
pub struct MadeSigner {
    /// PKCS#8.
    pub key: Zeroizing<Vec<u8>>,
    /// DER.
    pub certificate: Vec<u8>,
}

/// Makes a key of P-256 and its certificate of this name, valid from a day on (year, month, day) without an end
/// (RFC 5280, 4.1.2.5).
///
/// # Errors
/// [`JwsError::Make`].
pub fn make_self_signed(name: &str, from: (i32, u8, u8)) -> Result<MadeSigner, JwsError> {
    let make = || {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.not_before = rcgen::date_time_ymd(from.0, from.1, from.2);
        params.not_after = rcgen::date_time_ymd(9999, 12, 31);
        params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
        let certificate = params.self_signed(&key)?;
        Ok::<_, rcgen::Error>(MadeSigner {
            key: Zeroizing::new(key.serialize_der()),
            certificate: certificate.der().to_vec(),
        })
    };
    make().map_err(|_| JwsError::Make)
}

impl CertifiedSigner {
    /// A signer of a PKCS#8 key and its certificates, the key's own first: ES256 for P-256, RS256 for RSA.
    ///
    /// # Errors
    /// [`JwsError::Key`], [`JwsError::Certificate`].
    pub fn new(key: &[u8], chain: Vec<Vec<u8>>) -> Result<Self, JwsError> {
        let ecdsa = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key, &SystemRandom::new());
        let (key, public) = match ecdsa {
            Ok(pair) => {
                let public = pair.public_key().as_ref().to_vec();
                (Key::Es256(Box::new(pair)), public)
            }
            Err(_) => {
                let pair = rsa::KeyPair::from_pkcs8(key).map_err(|_| JwsError::Key)?;
                let public = pair.public_key().as_ref().to_vec();
                (Key::Rs256(Box::new(pair)), public)
            }
        };
        // A certificate holds its subject's public key byte for byte.
        let first = chain.first().ok_or(JwsError::Certificate)?;
        if !first.windows(public.len()).any(|part| part == public) {
            return Err(JwsError::Certificate);
        }
        Ok(Self { key, chain })
    }

    /// The algorithm's name (RFC 7518, 3.1).
    #[must_use]
    pub const fn alg(&self) -> &'static str {
        match self.key {
            Key::Es256(_) => "ES256",
            Key::Rs256(_) => "RS256",
        }
    }

    /// SHA-256 of the signer's own certificate.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        sha256(&[self.chain.first().map_or(&[][..], Vec::as_slice)])
    }

    /// Signs a payload. `uuid` is named beside it, `content_type` and the certificate's digest are under the signature.
    ///
    /// # Errors
    /// [`JwsError::Sign`].
    pub fn sign_general(&self, payload: &[u8], uuid: &str, content_type: &str) -> Result<String, JwsError> {
        let digest = URL_SAFE_NO_PAD.encode(self.fingerprint());
        let protected = URL_SAFE_NO_PAD.encode(format!("{{\"cty\":\"{content_type}\",\"x5t#S256\":\"{digest}\"}}"));
        let mut input = String::with_capacity(protected.len() + 1 + payload.len().div_ceil(3) * 4);
        input.push_str(&protected);
        input.push('.');
        URL_SAFE_NO_PAD.encode_string(payload, &mut input);
        let signature = URL_SAFE_NO_PAD.encode(self.sign(input.as_bytes())?);
        let chain: Vec<String> = self
            .chain
            .iter()
            .map(|der| format!("\"{}\"", STANDARD.encode(der)))
            .collect();
        let (alg, chain) = (self.alg(), chain.join(","));
        // What was signed is the text that is sent.
        let mut text = input;
        text.replace_range(..=protected.len(), "{\"payload\":\"");
        text.push_str(&format!(
            "\",\"signatures\":[{{\"header\":{{\"alg\":\"{alg}\",\"x5c\":[{chain}],\"uuid\":\"{uuid}\"}},\
             \"protected\":\"{protected}\",\"signature\":\"{signature}\"}}]}}\n"
        ));
        Ok(text)
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, JwsError> {
        let random = SystemRandom::new();
        match &self.key {
            Key::Es256(pair) => {
                let signature: signature::Signature = pair.sign(&random, message).map_err(|_| JwsError::Sign)?;
                Ok(signature.as_ref().to_vec())
            }
            Key::Rs256(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .map_err(|_| JwsError::Sign)?;
                Ok(signature)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    use super::*;

    #[test]
    fn what_is_signed_verifies_and_nothing_else_does() {
        let made = make_self_signed("a test", (2026, 11, 23)).unwrap();
        let signer = CertifiedSigner::new(&made.key, vec![made.certificate.clone()]).unwrap();
        let text = signer.sign_general(b"{\"a\":1}", "u", "application/vcon").unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let of = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        assert_eq!(URL_SAFE_NO_PAD.decode(of(&value["payload"])).unwrap(), b"{\"a\":1}");
        let one = &value["signatures"][0];
        assert_eq!(one["header"]["alg"], "ES256");
        assert_eq!(of(&one["header"]["x5c"][0]), STANDARD.encode(&made.certificate));
        let Key::Es256(pair) = &signer.key else {
            panic!("a key of P-256")
        };
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref());
        let input = format!("{}.{}", of(&one["protected"]), of(&value["payload"]));
        let signature = URL_SAFE_NO_PAD.decode(of(&one["signature"])).unwrap();
        assert!(public.verify(input.as_bytes(), &signature).is_ok());
        assert!(public.verify(input.replace('.', "x.").as_bytes(), &signature).is_err());
    }

    #[test]
    fn a_certificate_of_another_key_is_refused() {
        let (one, other) = (make_self_signed("a", (2026, 1, 1)), make_self_signed("b", (2026, 1, 1)));
        let (one, other) = (one.unwrap(), other.unwrap());
        let mixed = CertifiedSigner::new(&one.key, vec![other.certificate]);
        assert_eq!(mixed.unwrap_err(), JwsError::Certificate);
        assert_eq!(
            CertifiedSigner::new(&one.key, vec![]).unwrap_err(),
            JwsError::Certificate
        );
        assert_eq!(CertifiedSigner::new(b"no key", vec![]).unwrap_err(), JwsError::Key);
    }
}
