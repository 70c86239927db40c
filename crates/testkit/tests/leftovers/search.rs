//! Searching raw bytes for what was put in, however it may be written.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// A needle's first bytes, by which it is found.
const HEAD_BYTES: usize = 8;

/// What is looked for.
#[derive(Default)]
pub(crate) struct Needles {
    by_head: BTreeMap<[u8; HEAD_BYTES], Vec<(Vec<u8>, String)>>,
    heads: Vec<bool>,
}

impl Needles {
    /// Looks for these bytes as they are.
    pub(crate) fn add_bytes(&mut self, bytes: &[u8], name: &str) {
        let head: [u8; HEAD_BYTES] = bytes[..HEAD_BYTES].try_into().expect("eight bytes at least");
        if self.heads.is_empty() {
            self.heads = vec![false; 1 << 16];
        }
        self.heads[usize::from(u16::from_be_bytes([head[0], head[1]]))] = true;
        self.by_head
            .entry(head)
            .or_default()
            .push((bytes.to_vec(), name.to_owned()));
    }

    /// Looks for this text in UTF-8, UTF-16, hexadecimal and base64.
    pub(crate) fn add_text(&mut self, text: &str) {
        self.add_forms(text.as_bytes(), text);
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        self.add_bytes(&little, &format!("{text} in UTF-16LE"));
        self.add_bytes(&big, &format!("{text} in UTF-16BE"));
    }

    /// Looks for these bytes, plain, in hexadecimal and in base64.
    pub(crate) fn add_forms(&mut self, bytes: &[u8], name: &str) {
        self.add_bytes(bytes, name);
        let hexadecimal = hex::encode(bytes);
        self.add_bytes(hexadecimal.as_bytes(), &format!("{name} in hexadecimal"));
        self.add_bytes(hexadecimal.to_uppercase().as_bytes(), &format!("{name} in hexadecimal"));
        for before in 0..3 {
            let base64 = base64_inside(bytes, before);
            self.add_bytes(base64.as_bytes(), &format!("{name} in base64"));
            let url_safe = base64.replace('+', "-").replace('/', "_");
            self.add_bytes(url_safe.as_bytes(), &format!("{name} in base64"));
        }
    }

    /// Looks for a telephone number, with and without its `+` and country.
    pub(crate) fn add_number(&mut self, number: &str) {
        // What is found without the prefix is found with it too, but in base64.
        self.add_text(number.trim_start_matches("+91"));
        self.add_forms(number.as_bytes(), number);
        self.add_forms(&number.as_bytes()[1..], number);
    }

    /// Names of the needles in these bytes.
    pub(crate) fn find_in(&self, bytes: &[u8]) -> BTreeSet<&str> {
        let mut found = BTreeSet::new();
        for (at, window) in bytes.windows(HEAD_BYTES).enumerate() {
            if !self.heads[usize::from(window[0]) << 8 | usize::from(window[1])] {
                continue;
            }
            let head: [u8; HEAD_BYTES] = window.try_into().expect("a window");
            for (needle, name) in self.by_head.get(&head).into_iter().flatten() {
                if bytes[at..].starts_with(needle) {
                    found.insert(name.as_str());
                }
            }
        }
        found
    }

    /// What was found where in the files of a folder, their names included. Also returns the bytes looked at.
    pub(crate) fn find_in_folder(&self, folder: &Path) -> (u64, Vec<String>) {
        let (mut bytes, mut found) = (0, Vec::new());
        let Ok(entries) = std::fs::read_dir(folder) else {
            return (0, Vec::new());
        };
        for path in entries.map(|entry| entry.expect("an entry").path()) {
            found.extend(
                self.find_in(path.as_os_str().as_encoded_bytes())
                    .iter()
                    .map(|name| format!("{name}: {path:?}")),
            );
            if path.is_dir() {
                let (more, inside) = self.find_in_folder(&path);
                bytes += more;
                found.extend(inside);
            } else if let Ok(content) = std::fs::read(&path) {
                bytes += content.len() as u64;
                found.extend(self.find_in(&content).iter().map(|name| format!("{name}: in {path:?}")));
            }
        }
        (bytes, found)
    }
}

/// The base64 digits that bytes give when `before` bytes of a group of three come before them, whatever stands around.
fn base64_inside(bytes: &[u8], before: usize) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let padded = [vec![0; before], bytes.to_vec()].concat();
    let bit = |at: usize| (padded[at / 8] >> (7 - at % 8)) & 1;
    let digits = (8 * before).div_ceil(6)..padded.len() * 8 / 6;
    digits
        .map(|digit| {
            let value = (digit * 6..digit * 6 + 6).fold(0_u8, |value, at| value << 1 | bit(at));
            char::from(DIGITS[usize::from(value)])
        })
        .collect()
}

#[test]
fn a_needle_is_found_however_it_is_written() {
    let mut needles = Needles::default();
    needles.add_number("+919912345678");
    needles.add_text("Grüße!!");
    assert_eq!(base64_inside(b"Man", 0), "TWFu");
    for hay in [
        "from=+919912345678;",
        "9912345678",
        "39393132333435363738",
        "xxOTkxMjM0NTY3OA==",
        "KzkxOTkxMjM0NTY3OA==",
    ] {
        assert!(!needles.find_in(hay.as_bytes()).is_empty(), "{hay}");
    }
    let wide: Vec<u8> = "no: 9912345678".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(!needles.find_in(&wide).is_empty());
    assert!(!needles.find_in("Viele Grüße!!".as_bytes()).is_empty());
    assert!(needles.find_in(b"+919912345679 and more").is_empty());
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("a")).expect("a folder");
    std::fs::write(folder.path().join("a/b"), "x 9912345678").expect("a file");
    assert_eq!(needles.find_in_folder(folder.path()).1.len(), 1);
}
