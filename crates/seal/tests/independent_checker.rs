//! The independent checker in `docs/verify` and this crate agree on certificates and logs, good and bad.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use callvault_seal::{
    SecretKey, certificate,
    log::{
        Audit, Checkpoint, Growth, Hash, LogError, TlogProof, encode_bundle, entry_bundle_path, find_tile_path, grow,
        leaf_hash, prove_inclusion, tree_root,
    },
    sign::{LogSigner, VerifierKey},
};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use tempfile::TempDir;

mod python;

const ORIGIN: &str = "vault.example/log/in";
const SALT: &str = "00ff10203040506070809000aabbccdd";

/// A log kept in a directory as the specification serves it.
struct Log {
    dir: TempDir,
    signer: LogSigner,
    entries: Vec<Vec<u8>>,
    hashes: Vec<Hash>,
}

impl Log {
    fn new(seed: u8, entries: Vec<Vec<u8>>) -> Self {
        let signer = LogSigner::new(ORIGIN, &SecretKey::from_bytes([seed; 32])).unwrap();
        let hashes = entries.iter().map(|entry| leaf_hash(entry)).collect();
        let log = Self {
            dir: tempfile::tempdir().unwrap(),
            signer,
            entries,
            hashes,
        };
        fs::write(log.path("key"), format!("{}\n", log.key())).unwrap();
        log
    }

    fn key(&self) -> &VerifierKey {
        self.signer.verifier_key()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), bytes).unwrap();
    }

    /// Gives the hash of any complete subtree, from the leaves.
    fn read(&self, level: u8, index: u64) -> Result<Hash, LogError> {
        let range = (index << level) as usize..((index + 1) << level) as usize;
        Ok(grown(&self.hashes[range]).root)
    }

    fn checkpoint(&self, size: u64) -> String {
        let root = tree_root(size, &|level: u8, index: u64| self.read(level, index)).unwrap();
        Checkpoint {
            origin: ORIGIN.to_owned(),
            size,
            root,
        }
        .sign(&self.signer)
        .unwrap()
    }

    /// Publishes the log at its full size.
    fn publish(&self) {
        let size = self.entries.len() as u64;
        for (tile, bytes) in grown(&self.hashes).tiles {
            self.write(&tile.to_string(), &bytes);
        }
        for (index, entries) in (0..).zip(self.entries.chunks(256)) {
            let width = find_tile_path(0, index, size).unwrap().width;
            self.write(&entry_bundle_path(index, width), &encode_bundle(entries).unwrap());
        }
        self.write("checkpoint", self.checkpoint(size).as_bytes());
    }

    fn certificate(&self, index: u64, size: u64, json: &str) -> String {
        let proof = TlogProof {
            extra: None,
            index,
            hashes: prove_inclusion(index, size, &|level: u8, index: u64| self.read(level, index)).unwrap(),
            checkpoint: self.checkpoint(size),
        };
        certificate::issue(&self.signer, json, &self.entries[index as usize], &proof.to_text()).unwrap()
    }

    /// What this crate says of the published log.
    fn ours(&self, since: Option<&str>) -> Result<Audit, LogError> {
        let signed = fs::read_to_string(self.path("checkpoint")).unwrap();
        let checkpoint = Checkpoint::open(&signed, self.key())?;
        let audit = Audit::of_copy(&checkpoint, |path| Ok(fs::read(self.path(path)).ok()))?;
        if let Some(since) = since {
            audit.check_extends(&Checkpoint::open(
                &fs::read_to_string(self.path(since)).unwrap(),
                self.key(),
            )?)?;
        }
        Ok(audit)
    }

    /// What this crate says of a certificate against the published log.
    fn holds(&self, text: &str, since: Option<&str>) -> bool {
        let Ok(audit) = self.ours(since) else {
            return false;
        };
        let Ok(opened) = certificate::open(text, self.key()) else {
            return false;
        };
        audit.check_entry(opened.index, &opened.leaf).is_ok()
            && audit.root_at(opened.tree_size).is_ok_and(|root| root == opened.root)
    }

    /// Asserts that both say the same of a certificate and the published log.
    fn agree(&self, text: &str, since: Option<&str>, good: bool, what: &str) {
        self.write("certificate", text.as_bytes());
        let mut options = vec!["--log", self.dir.path().to_str().unwrap()];
        let since_path = since.map(|name| self.path(name));
        options.extend(since_path.iter().flat_map(|path| ["--since", path.to_str().unwrap()]));
        let (accepted, said) = checker(&self.path("key"), &options, &[self.path("certificate")]);
        assert_eq!(accepted, good, "{what}: {said}");
        assert_eq!(self.holds(text, since), good, "{what}");
    }
}

fn grown(leaves: &[Hash]) -> Growth {
    grow(0, leaves, &|_: u8, _: u64| Err(LogError::Range)).unwrap()
}

fn leaf(n: usize) -> Value {
    let salt = hex::decode(SALT).unwrap();
    let account_hash = hex::encode(digest(&SHA256, &[&salt, "acme".as_bytes()].concat()));
    json!({
        "v": 1, "type": "shred", "region": "in", "account_hash": account_hash, "class": "call", "records": n,
        "from": 1_700_000_000_000_000_u64, "to": 1_700_086_400_000_000_u64, "cause": "term",
        "at": 1_731_536_000_000_000_u64, "keys": ["k1", "k2"],
    })
}

fn statement(n: usize) -> Value {
    let mut statement = leaf(n);
    let fields = statement.as_object_mut().unwrap();
    fields.remove("account_hash");
    fields.insert("account".to_owned(), json!("acme"));
    fields.insert("salt".to_owned(), json!(SALT));
    fields.insert("copies".to_owned(), json!({"catalog": "done"}));
    fields.insert("issued_at".to_owned(), json!(1_731_536_000_000_001_u64));
    statement
}

fn entries(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|n| leaf(n).to_string().into_bytes()).collect()
}

/// Runs the checker; whether it accepts everything, and what it prints.
fn checker(key: &Path, options: &[&str], certificates: &[PathBuf]) -> (bool, String) {
    let run = Command::new(python::python_with("cryptography", "cryptography"))
        .arg(python::repository().join("docs/verify/callvault_verify.py"))
        .arg("--key")
        .arg(key)
        .args(options)
        .arg("--")
        .args(certificates)
        .output()
        .unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&run.stdout),
        String::from_utf8_lossy(&run.stderr)
    );
    let code = run.status.code();
    assert!(matches!(code, Some(0 | 1)) && !said.contains("Traceback"), "{said}");
    (code == Some(0), said)
}

#[test]
fn every_changed_certificate() {
    let log = Log::new(1, entries(20));
    let good = log.certificate(7, 20, &statement(7).to_string()).into_bytes();
    let mut variants: Vec<Vec<u8>> = vec![good.clone()];
    for at in 0..good.len() {
        for flip in [1, 0x20, 0x80] {
            let mut bad = good.clone();
            bad[at] ^= flip;
            variants.push(bad);
        }
        let mut bad = good.clone();
        bad.remove(at);
        variants.push(bad);
        let mut bad = good.clone();
        bad.insert(at, [b'\n', b' ', b'A', b'\r'][at % 4]);
        variants.push(bad);
    }
    variants.extend([&b"\n"[..], b" ", b"x"].map(|more| [&good, more].concat()));
    variants.push(Vec::new());

    let paths: Vec<PathBuf> = (0..variants.len()).map(|n| log.path(&format!("c{n}"))).collect();
    let mut verdicts = BTreeMap::new();
    for (path, variant) in paths.iter().zip(&variants) {
        fs::write(path, variant).unwrap();
        let ours = std::str::from_utf8(variant).is_ok_and(|text| certificate::open(text, log.key()).is_ok());
        verdicts.insert(path.to_str().unwrap(), ours);
    }
    let (_, said) = checker(&log.path("key"), &[], &paths);
    let mut seen = 0;
    for line in said.lines() {
        let (verdict, rest) = line.split_once(' ').unwrap();
        let path = rest.split_once(": ").unwrap().0;
        assert_eq!(verdict == "good", verdicts[path], "{line}");
        seen += 1;
    }
    assert_eq!(seen, variants.len());
    let accepted: Vec<_> = verdicts.iter().filter(|(_, good)| **good).collect();
    assert_eq!(accepted.len(), 1, "only the unchanged one holds: {accepted:?}");
}

#[test]
fn logs_good_cut_forked_and_damaged() {
    let log = Log::new(1, entries(600));
    log.publish();
    log.write("earlier", log.checkpoint(300).as_bytes());
    let text = log.certificate(290, 400, &statement(290).to_string());
    log.agree(&text, None, true, "good");
    log.agree(&text, Some("earlier"), true, "good since an earlier checkpoint");

    let restore = |path: &str, bytes: &[u8]| log.write(path, bytes);
    for path in [
        "tile/0/001",
        "tile/0/002.p/88",
        "tile/1/000.p/2",
        "tile/entries/000",
        "tile/entries/002.p/88",
    ] {
        let bytes = fs::read(log.path(path)).unwrap();
        let mut bad = bytes.clone();
        bad[20] ^= 1;
        restore(path, &bad);
        log.agree(&text, None, false, &format!("{path} changed"));
        restore(path, &bytes[..bytes.len() - 1]);
        log.agree(&text, None, false, &format!("{path} cut"));
        fs::remove_file(log.path(path)).unwrap();
        log.agree(&text, None, false, &format!("{path} missing"));
        restore(path, &bytes);
    }
    let checkpoint = fs::read(log.path("checkpoint")).unwrap();
    let mut bad = checkpoint.clone();
    bad[ORIGIN.len() + 1] = b'5';
    restore("checkpoint", &bad);
    log.agree(&text, None, false, "checkpoint changed");
    restore("checkpoint", log.checkpoint(350).as_bytes());
    restore("tile/0/001.p/94", &fs::read(log.path("tile/0/001")).unwrap()[..94 * 32]);
    log.agree(&text, None, false, "log rolled back to before the certificate");
    restore("checkpoint", &checkpoint);
    log.agree(&text, None, true, "restored");
}

#[test]
fn forks_and_other_keys() {
    let log = Log::new(1, entries(600));
    let text = log.certificate(290, 400, &statement(290).to_string());
    log.publish();
    log.write("earlier", log.checkpoint(300).as_bytes());

    // Signed by the same key over another history; once before and once after the certificate's leaf.
    for changed in [10, 350] {
        let mut other = entries(600);
        other[changed] = leaf(9_999).to_string().into_bytes();
        let fork = Log::new(1, other);
        fork.publish();
        fork.agree(&text, None, false, "forked log");
    }
    let mut other = entries(600);
    other[450] = leaf(9_999).to_string().into_bytes();
    let fork = Log::new(1, other);
    fork.publish();
    fork.agree(&text, None, true, "what differs came later");
    fork.write("later", log.checkpoint(500).as_bytes());
    fork.agree(&text, Some("later"), false, "forked since the earlier checkpoint");
    fork.write("beyond", Log::new(1, entries(700)).checkpoint(700).as_bytes());
    fork.agree(&text, Some("beyond"), false, "smaller than the earlier checkpoint");

    let stranger = Log::new(2, entries(600));
    stranger.publish();
    stranger.agree(&text, None, false, "another key");
}

/// Fields of statement and leaf are the vault's business in Rust; the checker compares them itself.
#[test]
fn statements_that_disagree_with_the_log() {
    let log = Log::new(1, entries(20));
    let path = log.path("certificate");
    let verdict = |json: &str| {
        fs::write(&path, log.certificate(7, 20, json)).unwrap();
        checker(&log.path("key"), &[], std::slice::from_ref(&path))
    };
    assert!(verdict(&statement(7).to_string()).0);
    let changes = [
        ("records", json!(8)),
        ("records", json!(7.0)),
        ("v", json!(true)),
        ("cause", json!("request")),
        ("keys", json!(["k1"])),
        ("account", json!("other")),
        ("account", json!(null)),
        ("salt", json!("00")),
        ("salt", json!(SALT.to_uppercase())),
        ("salt", json!("no hex")),
        ("more", json!(1)),
        ("account_hash", leaf(7)["account_hash"].clone()),
    ];
    for (field, value) in changes {
        let mut bad = statement(7);
        bad[field] = value;
        let (accepted, said) = verdict(&bad.to_string());
        assert!(!accepted, "{field}: {said}");
    }
    let mut without = statement(7);
    without.as_object_mut().unwrap().remove("class");
    assert!(!verdict(&without.to_string()).0);
    let twice = statement(7).to_string().replacen('{', r#"{"v":1,"#, 1);
    for bad in ["[]", "{", "1", "NaN", &twice] {
        assert!(!verdict(bad).0, "{bad}");
    }
}

#[test]
fn malformed_keys() {
    let log = Log::new(1, entries(3));
    let path = log.path("certificate");
    fs::write(&path, log.certificate(1, 3, &statement(1).to_string())).unwrap();
    let good = log.key().to_string();
    let mut variants = vec![
        good.clone(),
        format!("{good}\n\n"),
        format!(" {good}"),
        String::new(),
        "a+b".to_owned(),
    ];
    variants.extend((0..good.len()).step_by(7).map(|at| {
        let mut bad = good.clone().into_bytes();
        bad[at] = if bad[at] == b'B' { b'C' } else { b'B' };
        String::from_utf8(bad).unwrap()
    }));
    variants.push(good.replace("vault", "va ult"));
    for (n, variant) in variants.iter().enumerate() {
        log.write("variant", variant.as_bytes());
        let (accepted, said) = checker(&log.path("variant"), &[], std::slice::from_ref(&path));
        assert_eq!(accepted, n == 0, "{variant}: {said}");
        assert_eq!(variant.parse::<VerifierKey>().is_ok(), n == 0, "{variant}");
    }
}
