//! Certificates: a statement, the log leaf behind it and the proof that the log holds the leaf, signed by the log.
//!
//! ```text
//! callvault.certificate/v1
//! <JSON on one line>
//! leaf <base64 of the leaf>
//! proof <base64 of the tlog-proof text>
//!
//! — <log name> <signature>
//! ```
//! It is a C2SP signed note with exactly one signature. Whether JSON and leaf agree is for the caller to check, who
//! knows their fields.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{
    log::{Hash, LogError, TlogProof},
    note::{self, NoteError},
    sign::{LogSigner, VerifierKey},
};

const FIRST_LINE: &str = "callvault.certificate/v1";

/// Why a certificate is not issued or not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The JSON is empty, has more than one line, or holds control characters.
    #[error("a certificate's JSON must be one line without control characters")]
    Json,
    /// The text is not laid out as a certificate.
    #[error("not a well-formed certificate")]
    Malformed,
    /// The certificate's own signature is missing or wrong.
    #[error("certificate: {0}")]
    Note(#[from] NoteError),
    /// The proof inside is malformed, its checkpoint is not signed by the log, or it does not lead from the leaf to
    /// the root.
    #[error("certificate's log proof: {0}")]
    Log(#[from] LogError),
}

/// A certificate that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The statement, as it was signed.
    pub json: String,
    /// The log leaf, as it was appended.
    pub leaf: Vec<u8>,
    /// The leaf's index in the log.
    pub index: u64,
    /// The size of the log that the proof leads to.
    pub tree_size: u64,
    /// The root of that log.
    pub root: Hash,
    /// That log's signed checkpoint.
    pub checkpoint_note: String,
}

/// Issues a certificate. `proof` is the tlog-proof text of `leaf` in the signer's log.
///
/// # Errors
/// [`CertificateError::Json`]; [`CertificateError::Log`] when the proof does not hold: no certificate is issued that
/// would not open.
pub fn issue(signer: &LogSigner, json: &str, leaf: &[u8], proof: &str) -> Result<String, CertificateError> {
    if json.is_empty() || json.bytes().any(|b| b < 0x20) {
        return Err(CertificateError::Json);
    }
    parse_proof(proof)?.verify(leaf, signer.verifier_key())?;
    let (leaf, proof) = (STANDARD.encode(leaf), STANDARD.encode(proof));
    Ok(note::sign(
        signer,
        &format!("{FIRST_LINE}\n{json}\nleaf {leaf}\nproof {proof}\n"),
    )?)
}

/// Checks a certificate: its form, its signature, its checkpoint's signature, and the leaf's place in the log.
///
/// # Errors
/// [`CertificateError`], by what fails.
pub fn open(text: &str, key: &VerifierKey) -> Result<Opened, CertificateError> {
    let body = note::verify_sole(text, key)?;
    let (json, leaf, proof) = parse_body(body).ok_or(CertificateError::Malformed)?;
    let proof = parse_proof(&proof)?;
    let checkpoint = proof.verify(&leaf, key)?;
    Ok(Opened {
        json: json.to_owned(),
        leaf,
        index: proof.index,
        tree_size: checkpoint.size,
        root: checkpoint.root,
        checkpoint_note: proof.checkpoint,
    })
}

fn parse_body(body: &str) -> Option<(&str, Vec<u8>, String)> {
    let mut lines = body.strip_suffix('\n')?.split('\n');
    let (first, json) = (lines.next()?, lines.next()?);
    let leaf = STANDARD.decode(lines.next()?.strip_prefix("leaf ")?).ok()?;
    let proof = STANDARD.decode(lines.next()?.strip_prefix("proof ")?).ok()?;
    if first != FIRST_LINE || json.is_empty() || lines.next().is_some() {
        return None;
    }
    Some((json, leaf, String::from_utf8(proof).ok()?))
}

fn parse_proof(proof: &str) -> Result<TlogProof, LogError> {
    let proof = TlogProof::parse(proof)?;
    if proof.extra.is_some() {
        Err(LogError::Malformed("tlog-proof: unexpected extra data"))
    } else {
        Ok(proof)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        SecretKey,
        log::{Checkpoint, grow, leaf_hash, prove_inclusion},
    };

    const JSON: &str = r#"{"v":1,"account":"acme"}"#;
    const LEAF: &[u8] = br#"{"v":1,"account_hash":"00"}"#;

    fn signer(seed: u8) -> LogSigner {
        LogSigner::new("vault.example/log/in", &SecretKey::from_bytes([seed; 32])).unwrap()
    }

    fn proof(signer: &LogSigner, index: u64) -> TlogProof {
        let leaves: Vec<Hash> = (0..5)
            .map(|i| if i == 3 { leaf_hash(LEAF) } else { leaf_hash(&[i]) })
            .collect();
        let nothing = |_: u8, _: u64| -> Result<Hash, LogError> { Err(LogError::Range) };
        let tree = grow(0, &leaves, &nothing).unwrap();
        let stored = |level: u8, i: u64| match level {
            0 => Ok(leaves[i as usize]),
            _ => grow(0, &leaves[(i << level) as usize..((i + 1) << level) as usize], &nothing).map(|t| t.root),
        };
        let checkpoint = Checkpoint {
            origin: signer.name().to_owned(),
            size: 5,
            root: tree.root,
        };
        TlogProof {
            extra: None,
            index,
            hashes: prove_inclusion(index, 5, &stored).unwrap(),
            checkpoint: checkpoint.sign(signer).unwrap(),
        }
    }

    fn certificate() -> String {
        issue(&signer(1), JSON, LEAF, &proof(&signer(1), 3).to_text()).unwrap()
    }

    #[test]
    fn opens_what_it_issued() {
        let opened = open(&certificate(), signer(1).verifier_key()).unwrap();
        assert_eq!((opened.json.as_str(), opened.leaf.as_slice()), (JSON, LEAF));
        assert_eq!((opened.index, opened.tree_size), (3, 5));
        let checkpoint = Checkpoint::open(&opened.checkpoint_note, signer(1).verifier_key()).unwrap();
        assert_eq!(checkpoint.root, opened.root);
    }

    #[test]
    fn every_single_byte_change_is_refused() {
        let (good, signer) = (certificate().into_bytes(), signer(1));
        let refused =
            |bad: Vec<u8>| String::from_utf8(bad).map_or(true, |bad| open(&bad, signer.verifier_key()).is_err());
        for at in 0..=good.len() {
            for new in [0, b'\n', b'\r', b' ', b'A', b'=', b'+', b'0', 0x80] {
                let mut bad = good.clone();
                bad.insert(at, new);
                assert!(refused(bad), "{new} inserted at {at}");
            }
            if at == good.len() {
                break;
            }
            for flip in [1, 2, 4, 8, 16, 32, 64, 128, 255] {
                let mut bad = good.clone();
                bad[at] ^= flip;
                assert!(refused(bad), "byte {at} ^ {flip}");
            }
            let mut bad = good.clone();
            bad.remove(at);
            assert!(refused(bad), "byte {at} deleted");
            let mut bad = good.clone();
            bad.insert(at, good[at]);
            assert!(refused(bad), "byte {at} doubled");
            assert!(refused(good[..at].to_vec()), "cut at {at}");
        }
    }

    #[test]
    fn refuses_what_is_signed_but_does_not_hold() {
        let (ours, other) = (signer(1), signer(2));
        let key = ours.verifier_key();
        let good = proof(&ours, 3);
        assert!(open(&certificate(), other.verifier_key()).is_err());
        let forge = |json: &str, leaf: &[u8], proof: &str| {
            let (leaf, proof) = (STANDARD.encode(leaf), STANDARD.encode(proof));
            let text = format!("{FIRST_LINE}\n{json}\nleaf {leaf}\nproof {proof}\n");
            open(&note::sign(&ours, &text).unwrap(), key)
        };
        assert!(forge(JSON, LEAF, &good.to_text()).is_ok());
        assert!(matches!(
            forge(JSON, b"another leaf", &good.to_text()),
            Err(CertificateError::Log(LogError::Proof))
        ));
        assert!(forge(JSON, LEAF, &proof(&ours, 2).to_text()).is_err());
        assert!(matches!(
            forge(JSON, LEAF, &proof(&other, 3).to_text()),
            Err(CertificateError::Log(LogError::Note(_)))
        ));
        let extra = TlogProof {
            extra: Some(vec![1]),
            ..good.clone()
        };
        assert!(forge(JSON, LEAF, &extra.to_text()).is_err());
        assert!(forge("", LEAF, &good.to_text()).is_err());
        assert!(forge("{}\n{}", LEAF, &good.to_text()).is_err());
        let text = certificate();
        let (body, _) = text.split_once("\n\n").unwrap();
        for bad in [
            format!("{body}\nmore\n"),
            body.replace("/v1", "/v2") + "\n",
            body.replacen("leaf ", "leaf  ", 1) + "\n",
        ] {
            assert_eq!(
                open(&note::sign(&ours, &bad).unwrap(), key).unwrap_err(),
                CertificateError::Malformed
            );
        }
    }

    #[test]
    fn issues_nothing_that_would_not_open() {
        let signer = signer(1);
        let good = proof(&signer, 3).to_text();
        for json in ["", "{\n}", "{\t}", "{\r}"] {
            assert_eq!(issue(&signer, json, LEAF, &good), Err(CertificateError::Json));
        }
        assert!(issue(&signer, JSON, b"other", &good).is_err());
        assert!(issue(&signer, JSON, LEAF, "nonsense").is_err());
    }
}
