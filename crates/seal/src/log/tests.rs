use std::{cell::Cell, collections::BTreeMap};

use super::*;
use crate::{SecretKey, sign::LogSigner};

/// RFC 6962's recursive definitions, as they are printed.
fn mth(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [one] => *one,
        many => {
            let k = many.len().next_power_of_two() / 2;
            node_hash(&mth(&many[..k]), &mth(&many[k..]))
        }
    }
}

fn path(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let k = leaves.len().next_power_of_two() / 2;
    let (mut proof, last) = if m < k {
        (path(m, &leaves[..k]), mth(&leaves[k..]))
    } else {
        (path(m - k, &leaves[k..]), mth(&leaves[..k]))
    };
    proof.push(last);
    proof
}

fn subproof(m: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
    if m == leaves.len() {
        return if whole { Vec::new() } else { vec![mth(leaves)] };
    }
    let k = leaves.len().next_power_of_two() / 2;
    let (mut proof, last) = if m <= k {
        (subproof(m, &leaves[..k], whole), mth(&leaves[k..]))
    } else {
        (subproof(m - k, &leaves[k..], false), mth(&leaves[..k]))
    };
    proof.push(last);
    proof
}

fn leaves(n: usize) -> Vec<Hash> {
    (0..n).map(|i| leaf_hash(&(i as u64).to_be_bytes())).collect()
}

#[derive(Default)]
struct Store {
    tiles: BTreeMap<String, Vec<u8>>,
    reads: Cell<usize>,
}

impl Store {
    fn grow(&mut self, old: u64, new: &[Hash]) -> Growth {
        let growth = grow(old, new, &self.reader(old)).unwrap();
        for (path, bytes) in &growth.tiles {
            self.tiles.insert(path.to_string(), bytes.clone());
        }
        growth
    }

    fn reader(&self, size: u64) -> TileReader<impl Fn(&TilePath) -> Result<Option<Vec<u8>>, LogError> + '_> {
        TileReader::new(size, |path: &TilePath| {
            self.reads.set(self.reads.get() + 1);
            Ok(self.tiles.get(&path.to_string()).cloned())
        })
    }
}

/// The eight leaves and the roots of Certificate Transparency's reference implementation.
#[test]
fn reference_vectors() {
    let inputs = [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ];
    let roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    assert_eq!(
        hex::encode(empty_root()),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
    let hashes: Vec<Hash> = inputs
        .iter()
        .map(|input| leaf_hash(&hex::decode(input).unwrap()))
        .collect();
    let mut store = Store::default();
    for (size, root) in (1_u64..).zip(roots) {
        let growth = store.grow(size - 1, &hashes[size as usize - 1..size as usize]);
        assert_eq!(hex::encode(growth.root), root);
        assert_eq!(tree_root(size, &store.reader(size)).unwrap(), growth.root);
    }
}

/// Every pair of sizes to 70 and every leaf: proofs are those of the RFC, verify, and verify for nothing else.
#[test]
fn proofs_to_seventy() {
    const MOST: usize = 70;
    let all = leaves(MOST);
    let roots: Vec<Hash> = (0..=MOST).map(|n| mth(&all[..n])).collect();
    let mut store = Store::default();
    for n in 1..=MOST {
        let size = n as u64;
        store.grow(size - 1, &all[n - 1..n]);
        let reader = store.reader(size);
        for (m, leaf) in all[..n].iter().enumerate() {
            let index = m as u64;
            let proof = prove_inclusion(index, size, &reader).unwrap();
            assert_eq!(proof, path(m, &all[..n]));
            verify_inclusion(leaf, index, size, &proof, &roots[n]).unwrap();
            assert!(verify_inclusion(&all[(m + 1) % MOST], index, size, &proof, &roots[n]).is_err());
            assert!(verify_inclusion(leaf, index, size, &proof, &roots[n - 1]).is_err());
            if n > 1 {
                assert!(verify_inclusion(leaf, (index + 1) % size, size, &proof, &roots[n]).is_err());
                assert!(verify_inclusion(leaf, index, size, &proof[1..], &roots[n]).is_err());
            }
            let longer = [proof.clone(), vec![*leaf]].concat();
            assert!(verify_inclusion(leaf, index, size, &longer, &roots[n]).is_err());
        }
        for m in 0..=n {
            let old = m as u64;
            let proof = prove_consistency(old, size, &reader).unwrap();
            let expected = if m == 0 {
                Vec::new()
            } else {
                subproof(m, &all[..n], true)
            };
            assert_eq!(proof, expected, "{m} to {n}");
            verify_consistency(old, &roots[m], size, &roots[n], &proof).unwrap();
            let forked = leaf_hash(b"fork");
            assert!(verify_consistency(old, &forked, size, &roots[n], &proof).is_err());
            assert!(m == 0 || verify_consistency(old, &roots[m], size, &forked, &proof).is_err());
            for at in 0..proof.len() {
                let mut bad = proof.clone();
                bad[at][0] ^= 1;
                assert!(verify_consistency(old, &roots[m], size, &roots[n], &bad).is_err());
                bad.remove(at);
                assert!(verify_consistency(old, &roots[m], size, &roots[n], &bad).is_err());
            }
            let longer = [proof, vec![forked]].concat();
            assert!(verify_consistency(old, &roots[m], size, &roots[n], &longer).is_err());
        }
        assert!(prove_inclusion(size, size, &reader).is_err());
        assert!(prove_consistency(size + 1, size, &reader).is_err());
    }
}

/// A root that the walk happens to reach does not make up for a proof that is too short for the size.
#[test]
fn proofs_must_reach_the_top() {
    let leaf = leaf_hash(b"x");
    assert_eq!(verify_inclusion(&leaf, 0, 2, &[], &leaf), Err(LogError::Proof));
    assert_eq!(verify_inclusion(&leaf, 0, 1, &[], &leaf), Ok(()));
    assert_eq!(verify_consistency(1, &leaf, 2, &leaf, &[]), Err(LogError::Proof));
}

#[test]
fn growth_writes_every_tile_whatever_the_steps() {
    let all = leaves(66_100);
    for steps in [
        vec![0, 255, 256, 257, 511, 512, 600, 65_535, 65_536, 65_537, 66_100],
        vec![0, 66_100],
        vec![0, 300, 65_900],
    ] {
        let mut store = Store::default();
        for pair in steps.windows(2) {
            let [old, new] = [pair[0], pair[1]];
            let growth = store.grow(old as u64, &all[old..new]);
            assert_eq!(growth.root, mth(&all[..new]), "{old} to {new}");
            assert_eq!(growth.size, new as u64);
            let reader = store.reader(new as u64);
            for tile in tiles_of(new as u64) {
                // A full tile replaces the partial ones that went before.
                assert!(store.tiles.contains_key(&tile.to_string()), "{tile} at {new}");
            }
            assert_eq!(tree_root(new as u64, &reader).unwrap(), growth.root);
            for index in [0, 255, 256, new / 2, new - 1].into_iter().filter(|index| *index < new) {
                let proof = prove_inclusion(index as u64, new as u64, &reader).unwrap();
                verify_inclusion(&all[index], index as u64, new as u64, &proof, &growth.root).unwrap();
            }
            let proof = prove_consistency(old as u64, new as u64, &reader).unwrap();
            verify_consistency(old as u64, &mth(&all[..old]), new as u64, &growth.root, &proof).unwrap();
        }
    }
}

#[test]
fn work_grows_with_the_logarithm() {
    let all = leaves(66_001);
    let mut store = Store::default();
    store.grow(0, &all[..66_000]);
    store.reads.set(0);
    let growth = store.grow(66_000, &all[66_000..]);
    assert_eq!(growth.tiles.len(), 1, "one leaf changes one tile here");
    assert!(store.reads.get() <= 6, "{} tiles read to append", store.reads.get());
    store.reads.set(0);
    prove_inclusion(12_345, 66_001, &store.reader(66_001)).unwrap();
    prove_consistency(40_000, 66_001, &store.reader(66_001)).unwrap();
    assert!(store.reads.get() <= 10, "{} tiles read to prove", store.reads.get());
}

/// A store that answers later is asked for the listed tiles first; they are enough.
#[test]
fn the_listed_tiles_are_enough() {
    let all = leaves(66_100);
    for old in [0, 1, 2, 255, 256, 257, 300, 512, 40_000, 65_535, 65_536, 66_000] {
        let mut store = Store::default();
        store.grow(0, &all[..old]);
        let only = |listed: Vec<TilePath>, size: u64| {
            let store = &store;
            TileReader::new(size, move |path: &TilePath| {
                assert!(listed.contains(path), "{path} is not listed at {size}");
                Ok(store.tiles.get(&path.to_string()).cloned())
            })
        };
        let size = old as u64;
        for new in [old + 1, old + 2, old + 7, (old + 300).min(66_100), 66_100] {
            let growth = grow(size, &all[old..new], &only(tiles_to_grow(size), size)).unwrap();
            assert_eq!(growth.root, mth(&all[..new]), "{old} to {new}");
        }
        for index in [0, size / 3, size.saturating_sub(1)]
            .into_iter()
            .filter(|index| *index < size)
        {
            let listed = only(tiles_to_prove_inclusion(index, size).unwrap(), size);
            let proof = prove_inclusion(index, size, &listed).unwrap();
            let root = tree_root(size, &listed).unwrap();
            verify_inclusion(&all[index as usize], index, size, &proof, &root).unwrap();
            let listed = only(tiles_to_prove_consistency(index, size).unwrap(), size);
            let proof = prove_consistency(index, size, &listed).unwrap();
            verify_consistency(index, &mth(&all[..index as usize]), size, &root, &proof).unwrap();
        }
    }
}

#[test]
fn a_lost_partial_tile_is_read_from_the_full_one() {
    let all = leaves(256);
    let mut store = Store::default();
    store.grow(0, &all[..200]);
    store.grow(200, &all[200..]);
    store.tiles.remove("tile/0/000.p/200");
    assert_eq!(tree_root(200, &store.reader(200)).unwrap(), mth(&all[..200]));
    store.tiles.remove("tile/0/000");
    assert_eq!(
        tree_root(200, &store.reader(200)).unwrap_err(),
        LogError::Missing("tile/0/000.p/200".to_owned())
    );
}

#[test]
fn paths_and_shapes_of_the_specification() {
    assert_eq!(
        TilePath {
            level: 0,
            index: 1_234_067,
            width: 256
        }
        .to_string(),
        "tile/0/x001/x234/067"
    );
    assert_eq!(
        TilePath {
            level: 1,
            index: 0,
            width: 17
        }
        .to_string(),
        "tile/1/000.p/17"
    );
    assert_eq!(entry_bundle_path(1_067, 3), "tile/entries/x001/067.p/3");
    let shape = |size| {
        let mut shape: BTreeMap<(u8, u16), usize> = BTreeMap::new();
        tiles_of(size).for_each(|tile| *shape.entry((tile.level, tile.width)).or_default() += 1);
        shape.into_iter().collect::<Vec<_>>()
    };
    assert_eq!(
        shape(70_000),
        [((0, 112), 1), ((0, 256), 273), ((1, 17), 1), ((1, 256), 1), ((2, 1), 1)]
    );
    assert_eq!(shape(256), [((0, 256), 1), ((1, 1), 1)]);
    assert_eq!(shape(0), []);
    assert_eq!(find_tile_path(0, 1, 256), None);
}

#[test]
fn bundles() {
    let bundle = encode_bundle(&[&b"ab"[..], b"", b"c"]).unwrap();
    assert_eq!(bundle, b"\0\x02ab\0\0\0\x01c");
    assert_eq!(decode_bundle(&bundle).unwrap(), [&b"ab"[..], b"", b"c"]);
    for cut in [1, 3, 8] {
        assert!(decode_bundle(&bundle[..cut]).is_err(), "{cut}");
    }
    assert!(decode_bundle(&[]).is_err());
    assert!(encode_bundle::<&[u8]>(&[]).is_err());
    assert_eq!(encode_bundle(&[vec![0; 65_536]]), Err(LogError::EntryTooLarge));
    assert!(encode_bundle(&vec![b"x"; 257]).is_err());
    assert!(decode_bundle(&[0; 2 * 257]).is_err());
}

fn signer(seed: u8) -> LogSigner {
    LogSigner::new("example.com/log", &SecretKey::from_bytes([seed; 32])).unwrap()
}

#[test]
fn checkpoints() {
    let signer = signer(1);
    let checkpoint = Checkpoint {
        origin: "example.com/log".to_owned(),
        size: 20_852_163,
        root: [7; 32],
    };
    assert_eq!(Checkpoint::parse(&checkpoint.to_text()).unwrap(), checkpoint);
    let signed = checkpoint.sign(&signer).unwrap();
    assert_eq!(Checkpoint::open(&signed, signer.verifier_key()).unwrap(), checkpoint);
    assert!(
        Checkpoint {
            origin: "other".to_owned(),
            ..checkpoint.clone()
        }
        .sign(&signer)
        .is_err()
    );
    let root = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
    assert!(Checkpoint::parse(&format!("o\n0\n{root}\n")).is_ok());
    for size in ["", "01", "00", "-1", "+1", " 1", "1 ", "18446744073709551616", "1a"] {
        assert!(Checkpoint::parse(&format!("o\n{size}\n{root}\n")).is_err(), "{size}");
    }
    for text in [
        format!("\n1\n{root}\n"),
        format!("o\n1\n{root}"),
        format!("o\n1\n{root}\nextension\n"),
        "o\n1\nBwc=\n".to_owned(),
    ] {
        assert!(Checkpoint::parse(&text).is_err(), "{text}");
    }
    // Signed by the log's key, yet for another log.
    let foreign = crate::note::sign(&signer, &format!("other\n1\n{root}\n")).unwrap();
    assert!(Checkpoint::open(&foreign, signer.verifier_key()).is_err());
}

#[test]
fn proof_texts() {
    let (signer, mut store) = (signer(1), Store::default());
    let entries: Vec<[u8; 1]> = (0..5).map(|i| [i]).collect();
    let growth = store.grow(0, &entries.iter().map(|entry| leaf_hash(entry)).collect::<Vec<_>>());
    let checkpoint = Checkpoint {
        origin: signer.name().to_owned(),
        size: 5,
        root: growth.root,
    };
    let proof = TlogProof {
        extra: None,
        index: 2,
        hashes: prove_inclusion(2, 5, &store.reader(5)).unwrap(),
        checkpoint: checkpoint.sign(&signer).unwrap(),
    };
    let text = proof.to_text();
    assert!(text.starts_with("c2sp.org/tlog-proof@v1\nindex 2\n"));
    assert_eq!(TlogProof::parse(&text).unwrap(), proof);
    assert_eq!(proof.verify(&[2], signer.verifier_key()).unwrap(), checkpoint);
    assert!(proof.verify(&[3], signer.verifier_key()).is_err());
    let with_extra = TlogProof {
        extra: Some(b"extra".to_vec()),
        ..proof.clone()
    };
    assert_eq!(TlogProof::parse(&with_extra.to_text()).unwrap(), with_extra);
    for (from, to) in [
        ("@v1", "@v2"),
        ("index 2", "index 02"),
        ("index 2\n", ""),
        ("index 2", "Index 2"),
        ("\n\n", "\n"),
    ] {
        assert!(TlogProof::parse(&text.replacen(from, to, 1)).is_err(), "{from} -> {to}");
    }
    let sole = store.grow(0, &[leaf_hash(b"x")]);
    let checkpoint = Checkpoint {
        origin: signer.name().to_owned(),
        size: 1,
        root: sole.root,
    };
    let proof = TlogProof {
        extra: None,
        index: 0,
        hashes: Vec::new(),
        checkpoint: checkpoint.sign(&signer).unwrap(),
    };
    assert_eq!(TlogProof::parse(&proof.to_text()).unwrap(), proof);
    proof.verify(b"x", signer.verifier_key()).unwrap();
}
