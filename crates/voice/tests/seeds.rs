//! What the fuzzers (`fuzz`) look for, tried on their seeds, on what they found, and on mutations of both.

#![expect(clippy::expect_used, reason = "a test that cannot go on stops")]

#[path = "../fuzz/checks.rs"]
mod checks;

use std::{fs, path::Path};

use proptest::{prelude::*, sample::Index};

fn seeds(of: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(of);
    let files = fs::read_dir(folder).expect("seeds");
    let read: Vec<Vec<u8>> = files
        .map(|file| fs::read(file.expect("a file").path()).expect("a seed"))
        .collect();
    assert!(!read.is_empty());
    read
}

/// A change of some bytes: one is another one, one goes, one comes twice, a piece of another seed comes in.
type Change = (Index, u8, u8, Index);

fn changed(seeds: &[Vec<u8>], of: Index, changes: &[Change]) -> Vec<u8> {
    let mut bytes = of.get(seeds).clone();
    for (at, how, byte, other) in changes {
        let place = at.index(bytes.len() + 1);
        match how % 4 {
            0 if place < bytes.len() => bytes[place] = *byte,
            1 if place < bytes.len() => drop(bytes.remove(place)),
            2 => bytes.insert(place, *byte),
            _ => {
                let from = other.get(seeds);
                let begin = at.index(from.len());
                let piece = &from[begin..from.len().min(begin + usize::from(*byte))];
                bytes.splice(place..place, piece.iter().copied());
            }
        }
    }
    bytes
}

fn changes() -> impl Strategy<Value = (Index, Vec<Change>)> {
    (any::<Index>(), prop::collection::vec(any::<Change>(), 0..12))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn descriptions_are_answered_as_they_were_meant((of, changes) in changes()) {
        checks::description(&changed(&seeds("description"), of, &changes));
    }

    #[test]
    fn media_keep_up_with_time((of, changes) in changes()) {
        checks::media(&changed(&seeds("media"), of, &changes));
    }

    #[test]
    fn bodies_of_recording_sessions_have_limits((of, changes) in changes()) {
        checks::session(&changed(&seeds("session"), of, &changes));
    }
}

#[test]
fn what_was_found_stays_mended() {
    seeds("description").iter().for_each(|bytes| checks::description(bytes));
    seeds("media").iter().for_each(|bytes| checks::media(bytes));
    seeds("session").iter().for_each(|bytes| checks::session(bytes));
}
