//! Google Tink opens our streams, and we open Tink's.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use callvault_seal::{
    SecretKey,
    stream::{DEFAULT_SEGMENT_BYTES, HEADER_BYTES, TAG_BYTES, decrypt_all, encrypt_all},
};

mod python;

const AAD: &str = "recording RE123";

fn tink(mode: &str, key: &SecretKey, segment_bytes: usize, source: &Path, target: &Path) -> Output {
    Command::new(python::python_with("tink", "tink"))
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/tink_streams.py"))
        .args([mode, &hex::encode(key.expose()), AAD, &segment_bytes.to_string()])
        .args([source, target])
        .output()
        .unwrap()
}

#[test]
fn tink_and_we_open_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let (source, target) = (dir.path().join("in"), dir.path().join("out"));
    let first = DEFAULT_SEGMENT_BYTES - HEADER_BYTES - TAG_BYTES;
    let next = DEFAULT_SEGMENT_BYTES - TAG_BYTES;
    let cases = [
        (0, 64),
        (1, 64),
        (500, 64),
        (8, 64),
        (56, 64),
        (first, DEFAULT_SEGMENT_BYTES),
    ]
    .into_iter()
    .chain([first + 1, first + next, 1_000_000].map(|bytes| (bytes, DEFAULT_SEGMENT_BYTES)));
    for (bytes, segment_bytes) in cases {
        let key = SecretKey::generate().unwrap();
        let plain: Vec<u8> = (0..bytes).map(|i| (i % 253) as u8).collect();

        let ours = encrypt_all(&key, AAD.as_bytes(), &plain, segment_bytes).unwrap();
        fs::write(&source, &ours).unwrap();
        let run = tink("decrypt", &key, segment_bytes, &source, &target);
        assert!(
            run.status.success(),
            "{bytes}: {}",
            String::from_utf8_lossy(&run.stderr)
        );
        assert_eq!(fs::read(&target).unwrap(), plain);

        fs::write(&source, &plain).unwrap();
        let run = tink("encrypt", &key, segment_bytes, &source, &target);
        assert!(
            run.status.success(),
            "{bytes}: {}",
            String::from_utf8_lossy(&run.stderr)
        );
        let theirs = fs::read(&target).unwrap();
        assert_eq!(theirs.len(), ours.len());
        assert_eq!(
            decrypt_all(&key, AAD.as_bytes(), &theirs, segment_bytes).unwrap(),
            plain
        );
    }
}

#[test]
fn tink_refuses_our_stream_once_it_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let (source, target) = (dir.path().join("in"), dir.path().join("out"));
    let key = SecretKey::generate().unwrap();
    let ours = encrypt_all(&key, AAD.as_bytes(), &[7; 200], 64).unwrap();
    fs::write(&source, &ours[..128]).unwrap();
    assert!(!tink("decrypt", &key, 64, &source, &target).status.success());
}
