//! C2SP signed notes (<https://c2sp.org/signed-note>): text, an empty line, and signature lines
//! `— <key name> <base64 of key id and signature>`.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::sign::{LogSigner, SIGNATURE_BYTES, VerifierKey, is_key_name};

/// More signatures than any note we read; the specification asks for at least 16.
const MOST_SIGNATURES: usize = 64;
const KEY_ID_BYTES: usize = 4;

/// Why a text is no note, or a note is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// A text that cannot be signed: empty, no newline at its end, or control characters.
    #[error("a note's text must end in a newline and hold no control characters")]
    Text,
    /// The note is not of the form signed-note prescribes.
    #[error("not a well-formed signed note")]
    Malformed,
    /// No signature by the key that was asked for.
    #[error("the note is not signed by this key")]
    Unsigned,
    /// A signature by the key is wrong: the text or the signature was changed.
    #[error("the note's signature is wrong")]
    Signature,
    /// More than the one signature line that notes of this kind carry.
    #[error("the note carries other signatures than the expected one")]
    NotSole,
}

/// Signs a text, which ends in a newline, and returns the note.
///
/// # Errors
/// [`NoteError::Text`].
pub fn sign(signer: &LogSigner, text: &str) -> Result<String, NoteError> {
    if !text.ends_with('\n') || has_control(text) {
        return Err(NoteError::Text);
    }
    let mut signature = signer.verifier_key().id().to_vec();
    signature.extend_from_slice(&signer.sign(text.as_bytes()));
    Ok(format!("{text}\n— {} {}\n", signer.name(), STANDARD.encode(signature)))
}

/// Returns the text of a note that `key` signed. Lines of other keys must be well formed and are otherwise ignored,
/// as the specification wants.
///
/// # Errors
/// [`NoteError::Malformed`], [`NoteError::Unsigned`] or [`NoteError::Signature`].
pub fn verify<'a>(note: &'a str, key: &VerifierKey) -> Result<&'a str, NoteError> {
    let (text, lines) = split(note)?;
    check(text, &lines, key)?;
    Ok(text)
}

/// Returns the text of a note that `key` signed and nobody else: any byte that differs from the note as it was
/// issued makes it fail.
///
/// # Errors
/// As [`verify`]; [`NoteError::NotSole`] when there is any other signature line.
pub fn verify_sole<'a>(note: &'a str, key: &VerifierKey) -> Result<&'a str, NoteError> {
    let (text, lines) = split(note)?;
    check(text, &lines, key)?;
    if lines.len() == 1 {
        Ok(text)
    } else {
        Err(NoteError::NotSole)
    }
}

struct SignatureLine<'a> {
    name: &'a str,
    id: [u8; KEY_ID_BYTES],
    signature: Vec<u8>,
}

fn has_control(text: &str) -> bool {
    text.bytes().any(|b| b < 0x20 && b != b'\n')
}

/// Parts a note at its last empty line.
fn split(note: &str) -> Result<(&str, Vec<SignatureLine<'_>>), NoteError> {
    if has_control(note) {
        return Err(NoteError::Malformed);
    }
    let at = note.rfind("\n\n").ok_or(NoteError::Malformed)?;
    let (text, signatures) = note.split_at_checked(at + 1).ok_or(NoteError::Malformed)?;
    let signatures = signatures.strip_prefix('\n').and_then(|rest| rest.strip_suffix('\n'));
    let lines: Vec<&str> = signatures.ok_or(NoteError::Malformed)?.split('\n').collect();
    if lines.len() > MOST_SIGNATURES {
        return Err(NoteError::Malformed);
    }
    let parsed: Result<Vec<_>, _> = lines
        .into_iter()
        .map(|line| parse_line(line).ok_or(NoteError::Malformed))
        .collect();
    Ok((text, parsed?))
}

fn parse_line(line: &str) -> Option<SignatureLine<'_>> {
    let (name, encoded) = line.strip_prefix("— ")?.split_once(' ')?;
    // The engine refuses missing padding and non-zero bits behind the last byte.
    let bytes = STANDARD.decode(encoded).ok()?;
    let (id, signature) = bytes.split_first_chunk::<KEY_ID_BYTES>()?;
    if !is_key_name(name) || signature.is_empty() {
        return None;
    }
    Some(SignatureLine {
        name,
        id: *id,
        signature: signature.to_vec(),
    })
}

fn check(text: &str, lines: &[SignatureLine<'_>], key: &VerifierKey) -> Result<(), NoteError> {
    let mut ours = lines
        .iter()
        .filter(|line| line.name == key.name() && line.id == key.id());
    let line = ours.next().ok_or(NoteError::Unsigned)?;
    if ours.next().is_some() {
        return Err(NoteError::Malformed);
    }
    if line.signature.len() == SIGNATURE_BYTES && key.verifies(text.as_bytes(), &line.signature) {
        Ok(())
    } else {
        Err(NoteError::Signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SecretKey;

    fn signer(name: &str, seed: u8) -> LogSigner {
        LogSigner::new(name, &SecretKey::from_bytes([seed; 32])).unwrap()
    }

    #[test]
    fn verifies_a_published_note() {
        let key = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
            .parse()
            .unwrap();
        let note = "If you think cryptography is the answer to your problem,\n\
                    then you don't know what your problem is.\n\n\
                    — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
        assert_eq!(verify(note, &key).unwrap().lines().count(), 2);
        verify_sole(note, &key).unwrap();
    }

    #[test]
    fn every_changed_byte_of_a_sole_note_is_refused() {
        let signer = signer("example.com/log", 3);
        let note = sign(&signer, "one\n\ntwo\n").unwrap();
        assert_eq!(verify_sole(&note, signer.verifier_key()).unwrap(), "one\n\ntwo\n");
        for at in 0..note.len() {
            for flip in 1..=255 {
                let mut bad = note.clone().into_bytes();
                bad[at] ^= flip;
                if let Ok(bad) = String::from_utf8(bad) {
                    assert!(verify_sole(&bad, signer.verifier_key()).is_err(), "byte {at} ^ {flip}");
                }
            }
            let mut bad = note.clone().into_bytes();
            bad.remove(at);
            assert!(
                String::from_utf8(bad).is_err_and(|_| true) || {
                    let mut bad = note.clone().into_bytes();
                    bad.remove(at);
                    verify_sole(&String::from_utf8(bad).unwrap(), signer.verifier_key()).is_err()
                }
            );
        }
        for extra in ["\n", " ", "x", "\r", "\n\n"] {
            assert!(verify_sole(&format!("{note}{extra}"), signer.verifier_key()).is_err());
            assert!(verify_sole(&format!("{extra}{note}"), signer.verifier_key()).is_err());
        }
    }

    #[test]
    fn other_signatures_are_ignored_or_refused() {
        let (ours, other) = (signer("a", 1), signer("b", 2));
        let note = sign(&ours, "text\n").unwrap();
        let foreign = sign(&other, "text\n").unwrap();
        let line = foreign.lines().last().unwrap();
        let both = format!("{note}{line}\n");
        assert_eq!(verify(&both, ours.verifier_key()).unwrap(), "text\n");
        assert_eq!(verify(&both, other.verifier_key()).unwrap(), "text\n");
        assert_eq!(verify_sole(&both, ours.verifier_key()), Err(NoteError::NotSole));
        assert_eq!(verify(&note, other.verifier_key()), Err(NoteError::Unsigned));
        let own = note.lines().last().unwrap();
        assert_eq!(
            verify(&format!("{note}{own}\n"), ours.verifier_key()),
            Err(NoteError::Malformed)
        );
    }

    #[test]
    fn texts_that_cannot_be_notes() {
        let signer = signer("a", 1);
        for text in ["", "no newline", "tab\t\n", "cr\r\n", "nul\0\n"] {
            assert_eq!(sign(&signer, text), Err(NoteError::Text), "{text:?}");
        }
        for note in [
            "",
            "\n\n",
            "a\n\n",
            "a\n\n— a\n",
            "a\n\n— a b\n",
            "a\n\n- a AAAAAAA=\n",
            "a\n\n— a AAAAAAB=\n",
        ] {
            assert!(verify(note, signer.verifier_key()).is_err(), "{note:?}");
        }
    }
}
