use callvault_core::{
    Cause, Class, HoldId, KeyId, Purge, TimeUs,
    id::Subject,
    proof::{
        AccountHash, AccountSalt, CertificateBody, Certified, Copies, CopyFacts, CopyState, Deletion, EpochEnd, Keys,
        LeafBody, Part, ProofError, Subjects, agrees, copies,
    },
};

use crate::{model::at, vault::account};

const HASH: &str = "a3c1a3c1a3c1a3c1a3c1a3c1a3c1a3c1a3c1a3c1a3c1a3c1a3c1a3c1a3c1a3c1";

fn deletion<W, T>(whose: W, taken: T) -> Deletion<W, T> {
    Deletion {
        region: "in".to_owned(),
        whose,
        class: Some(Class::Call),
        records: 1_000_000,
        from: at("2027-02-28T00:00:00Z"),
        to: at("2027-03-01T00:00:00Z"),
        cause: Cause::Term,
        at: at("2028-02-28T23:59:59.999999Z"),
        taken,
    }
}

fn keys() -> Keys {
    Keys {
        keys: vec![KeyId([0x11; 16]), KeyId([0xab; 16])],
    }
}

fn subjects() -> Subjects {
    Subjects {
        subjects: vec![Subject([0x22; 16])],
    }
}

fn leaves() -> [(LeafBody, &'static str); 3] {
    let whose = || AccountHash {
        account_hash: HASH.to_owned(),
    };
    let epoch = EpochEnd {
        region: "sg".to_owned(),
        epoch: 7,
        created_at: at("2028-01-01T00:00:00Z"),
        at: at("2028-01-27T00:00:00Z"),
    };
    [
        (
            LeafBody::Shred(deletion(whose(), keys())),
            include_str!("../golden/leaf-shred.json"),
        ),
        (
            LeafBody::Erase(deletion(whose(), subjects())),
            include_str!("../golden/leaf-erase.json"),
        ),
        (LeafBody::Epoch(epoch), include_str!("../golden/leaf-epoch.json")),
    ]
}

fn certificates() -> [(CertificateBody, &'static str); 2] {
    let whose = || AccountSalt {
        account: account(),
        salt: "5a".repeat(32),
    };
    let copies = Copies {
        catalog: CopyState::Done {
            at: at("2028-02-28T23:59:59.999999Z"),
        },
        objects: CopyState::Done {
            at: at("2028-02-29T00:00:00Z"),
        },
        index: CopyState::Done {
            at: at("2028-02-29T00:00:00Z"),
        },
        cache: CopyState::None,
        backups: CopyState::Pending {
            until: at("2028-03-29T23:59:59.999999Z"),
        },
        exports: CopyState::Held { by: HoldId([0x33; 16]) },
    };
    let issued_at = at("2028-02-29T00:00:01Z");
    let shred = Certified {
        deletion: deletion(whose(), keys()),
        copies: copies.clone(),
        issued_at,
    };
    let erase = Certified {
        deletion: deletion(whose(), subjects()),
        copies,
        issued_at,
    };
    [
        (
            CertificateBody::Shred(shred),
            include_str!("../golden/certificate-shred.json"),
        ),
        (
            CertificateBody::Erase(erase),
            include_str!("../golden/certificate-erase.json"),
        ),
    ]
}

#[test]
fn the_formats_are_the_golden_files() {
    for (leaf, golden) in leaves() {
        assert_eq!(leaf.to_json(), golden);
        assert_eq!(LeafBody::parse(golden), Ok(leaf));
    }
    for (certificate, golden) in certificates() {
        assert_eq!(certificate.to_json(), golden);
        assert_eq!(CertificateBody::parse(golden), Ok(certificate));
    }
    assert_eq!(leaves()[0].0.keys(), keys().keys);
    assert_eq!(leaves()[1].0.keys(), []);
}

#[test]
fn one_value_has_one_text() {
    let (_, golden) = &leaves()[0];
    let not_canonical = [
        golden.replace(",\"class\"", ", \"class\""),
        format!("{golden}\n"),
        golden.replace("\"records\":1000000", "\"records\":1000000,\"note\":1"),
        golden.replace("{\"v\":1,\"type\":\"shred\"", "{\"type\":\"shred\",\"v\":1"),
        golden.replace(
            "\"class\":\"call\",\"records\":1000000",
            "\"records\":1000000,\"class\":\"call\"",
        ),
        golden.replace("\"region\":\"in\"", "\"region\":\"\\u0069n\""),
    ];
    for text in not_canonical {
        assert_ne!(&text, golden);
        assert_eq!(
            LeafBody::parse(&text),
            Err(ProofError::NotCanonical { what: "log leaf" }),
            "{text}"
        );
    }
    let malformed = [
        golden.replace("\"v\":1", "\"v\":2"),
        golden.replace("shred", "shredded"),
        golden.replace(",\"cause\":\"term\"", ""),
        golden.replace("\"term\"", "\"whim\""),
        golden.replace("ab", "AB"),
        golden[1..].to_owned(),
    ];
    for text in malformed {
        assert!(
            matches!(LeafBody::parse(&text), Err(ProofError::Malformed { .. })),
            "{text}"
        );
    }
}

#[test]
fn any_changed_byte_of_what_was_deleted_is_noticed() {
    for ((certificate, golden), (leaf, _)) in certificates().into_iter().zip(leaves()) {
        assert_eq!(agrees(&certificate, &leaf, HASH), Ok(()));
        let common_ends = golden.find(",\"copies\"").expect("copies");
        let whose = golden.find("\"account\"").expect("account")..golden.find(",\"class\"").expect("class");
        for index in (0..common_ends).filter(|index| !whose.contains(index)) {
            let mut bytes = golden.as_bytes().to_vec();
            bytes[index] ^= 1;
            let text = String::from_utf8(bytes).expect("ASCII");
            let parsed = CertificateBody::parse(&text);
            assert!(
                parsed.is_err() || agrees(&parsed.expect("parsed"), &leaf, HASH).is_err(),
                "{text}"
            );
        }
        let other = HASH.replace('a', "b");
        assert_eq!(
            agrees(&certificate, &leaf, &other).expect_err("another account").field,
            "account_hash"
        );
    }
    let [(shred, _), (erase, _)] = certificates();
    let [(shred_leaf, _), (erase_leaf, _), (epoch_leaf, _)] = leaves();
    for (certificate, leaf) in [(&shred, &erase_leaf), (&erase, &shred_leaf), (&shred, &epoch_leaf)] {
        assert_eq!(agrees(certificate, leaf, HASH).expect_err("another type").field, "type");
    }
    let LeafBody::Shred(mut body) = shred_leaf else {
        panic!("a shred")
    };
    body.taken.keys.pop();
    assert_eq!(
        agrees(&shred, &LeafBody::Shred(body), HASH)
            .expect_err("a key is missing")
            .field,
        "keys"
    );
}

#[test]
fn nothing_says_done_while_a_part_is_not() {
    let (purge, zero) = (Purge::default(), at("2028-01-01T00:00:00Z"));
    let day = |n| zero.plus_days(n);
    let facts = CopyFacts {
        deleted_at: zero,
        key_destroyed_at: Some(day(1)),
        rows: Part::Gone(day(2)),
        objects: Part::Gone(day(3)),
        cache: Part::Gone(day(0)),
        epochs_destroyed_at: Some(day(27)),
        exports: Part::Never,
    };
    let (pending, done) = (CopyState::Pending { until: day(30) }, |n| CopyState::Done {
        at: day(n),
    });
    let all = copies(&facts, day(28), purge);
    assert_eq!(
        [all.catalog, all.objects, all.index, all.cache, all.backups, all.exports],
        [done(2), done(3), done(3), done(0), done(27), CopyState::None]
    );
    let early = copies(&facts, TimeUs(day(1).0 - 1), purge);
    assert_eq!(
        [early.catalog, early.objects, early.index, early.backups],
        [pending; 4],
        "not before it was"
    );
    let no_key = copies(
        &CopyFacts {
            key_destroyed_at: None,
            ..facts
        },
        day(28),
        purge,
    );
    assert_eq!([no_key.catalog, no_key.backups], [pending; 2]);
    let rows = copies(
        &CopyFacts {
            rows: Part::There,
            ..facts
        },
        day(28),
        purge,
    );
    assert_eq!([rows.catalog, rows.index, rows.objects], [pending, pending, done(3)]);
    let objects = copies(
        &CopyFacts {
            objects: Part::There,
            rows: Part::Never,
            ..facts
        },
        day(30),
        purge,
    );
    assert_eq!(
        [objects.catalog, objects.objects, objects.index],
        [done(1), pending, pending]
    );
    assert_eq!(objects.overdue(day(30)), ["objects", "index"]);
    assert!(objects.overdue(TimeUs(day(30).0 - 1)).is_empty());
    let backups = copies(
        &CopyFacts {
            epochs_destroyed_at: None,
            ..facts
        },
        day(28),
        purge,
    );
    assert_eq!(backups.backups, pending);
    let by = HoldId([1; 16]);
    let held = copies(
        &CopyFacts {
            exports: Part::Held(by),
            objects: Part::Held(by),
            ..facts
        },
        day(28),
        purge,
    );
    assert_eq!([held.exports, held.objects, held.index], [CopyState::Held { by }; 3]);
}
