//! `forecast`, `retention`, `holds`, `delete`, `deletions`, `certificate` and `verify`.

use serde_json::Value;

use crate::running::{CALLER, EMBEDDED, Place, noon, read, sids};

#[test]
fn holds_say_what_they_block_and_block_it() {
    let place = Place::new(EMBEDDED);
    let calls = place.prepare();
    let recording = place.record(&calls[3]);
    let place_hold = |target: &[&str]| {
        let rest = [
            "--matter",
            "Case 7",
            "--reason",
            "Dispute",
            "--review-at",
            "2099-01-01",
            "--json",
        ];
        place.run(&[&["holds", "place", "acme"], target, &rest].concat())
    };
    // What is no record and what is no number is refused, with the field.
    for (target, field) in [
        (["--sid", sids(11)[10].as_str()], "sids"),
        (["--sid", "zz"], "sids"),
        (["--number", ""], "number"),
        (["--number", "abc"], "number"),
        (["--number", "not a number!"], "number"),
    ] {
        let ran = place_hold(&target);
        assert_eq!(ran.code, 1, "{target:?} {ran:?}");
        assert!(ran.error().starts_with(&format!("{field}: ")), "{target:?} {ran:?}");
    }
    // No scope, half a scope and two are wrong usage, and the options are named.
    for target in [
        &[][..],
        &["--from", "2026-01-01"],
        &["--sid", &calls[3], "--number", CALLER],
        &["--number", CALLER, "--from", "2026-01-01", "--to", "2026-01-02"],
        &["--number", CALLER, "--class", "call"],
    ] {
        let ran = place_hold(target);
        assert_eq!(ran.code, 2, "{target:?} {ran:?}");
        assert!(ran.error().contains("--from"), "{target:?} {ran:?}");
    }
    let foretold = || {
        let forecast = place.json(&["forecast", "acme", "--to", "2099-01-01"]);
        let rows = forecast["rows"].as_array().cloned().unwrap_or_default();
        rows.iter().filter_map(|row| row["records"].as_u64()).sum::<u64>()
    };
    assert_eq!(foretold(), 11);
    let number = place_hold(&["--number", CALLER]);
    assert_eq!(number.code, 0, "{number:?}");
    assert_eq!(foretold(), 0, "a hold that stands keeps them");
    // A number that nobody has called yet may be held.
    assert_eq!(place_hold(&["--number", "+919900099999"]).code, 0);
    assert_eq!(place_hold(&["--sid", &calls[3]]).code, 0);
    let (from, to) = (noon().to_string(), noon().plus_seconds(120).to_string());
    assert_eq!(place_hold(&["--from", &from, "--to", &to, "--class", "call"]).code, 0);

    let listed = place.json(&["holds", "list", "acme"]);
    let blocks = |n: usize| -> Vec<(String, u64)> {
        let blocks = listed["holds"][n]["blocks"].as_array().expect("blocks");
        let one = |block: &Value| {
            assert_eq!(block["past_term"], 0);
            let class = block["class"].as_str().expect("a class").to_owned();
            (class, block["records"].as_u64().expect("a count"))
        };
        blocks.iter().map(one).collect()
    };
    let one = |class: &str, records| (class.to_owned(), records);
    assert_eq!(listed["holds"][0]["scope"]["number"], CALLER, "{listed}");
    assert_eq!(blocks(0), [one("call", 10), one("recording", 1)], "{listed}");
    assert_eq!(blocks(1), [], "{listed}");
    assert_eq!(blocks(2), [one("call", 1), one("recording", 1)], "{listed}");
    assert_eq!(blocks(3), [one("call", 2)], "{listed}");
    assert!(place.run(&["holds", "list", "acme"]).out.contains(CALLER));

    // What is held stays.
    let held = place.fails(1, &["delete", "recording", "acme", &recording, "--confirm", &recording]);
    assert!(held.contains("hold"), "{held}");
    // Nobody is asked to confirm what is refused.
    let held = place.fails(1, &["delete", "recording", "acme", &recording]);
    assert!(held.contains("freezes this recording"), "{held}");
    let held = place.fails(1, &["delete", "account", "acme"]);
    assert!(held.contains("freezes this account"), "{held}");
    for hold in listed["holds"].as_array().expect("holds") {
        place.json(&["holds", "lift", "acme", hold["id"].as_str().expect("an id")]);
    }
    assert_eq!(foretold(), 11);
    place.fails(
        1,
        &[
            "holds",
            "lift",
            "acme",
            listed["holds"][0]["id"].as_str().expect("an id"),
        ],
    );
    let lifted = place.json(&["holds", "list", "acme"]);
    assert_eq!(lifted["holds"][0]["blocks"], Value::Array(Vec::new()), "{lifted}");
    place.json(&["delete", "recording", "acme", &recording, "--confirm", &recording]);
}

#[test]
fn what_is_deleted_has_a_certificate_that_a_stranger_checks() {
    let place = Place::new(EMBEDDED);
    let calls = place.prepare();
    place.record(&calls[0]);

    // The forecast knows every record, and when.
    let forecast = place.json(&["forecast", "acme", "--to", "2099-01-01"]);
    let rows = forecast["rows"].as_array().expect("rows");
    let sum = |class: &str| -> u64 {
        rows.iter()
            .filter(|row| row["class"] == class)
            .filter_map(|row| row["records"].as_u64())
            .sum()
    };
    assert_eq!((sum("call"), sum("recording")), (10, 1), "{forecast}");
    let soon = place.json(&["forecast", "acme"]);
    assert_eq!(soon["rows"].as_array().map(Vec::len), Some(0), "{soon}");

    // Retention: what a change deletes is said first, and what deletes wants the account's name.
    let preview = place.json(&["retention", "preview", "acme", "--recording-days", "1"]);
    assert_eq!(preview["deletes"]["records"], 1, "{preview}");
    assert!(
        place
            .fails(1, &["retention", "set", "acme", "--recording-days", "365"])
            .contains("Growth")
    );
    assert!(
        place
            .fails(1, &["retention", "set", "acme", "--recording-days", "1"])
            .contains("--confirm acme")
    );
    assert_eq!(place.json(&["retention", "show", "acme"])["recording_days"], 90);

    // Deleting asks for the name, and deletes nothing without.
    let sid = calls[5].as_str();
    let delete = ["delete", "records", "acme", "--class", "call", sid];
    assert!(place.fails(1, &delete).contains("--confirm acme"));
    assert!(
        place
            .fails(1, &[&delete[..], &["--confirm", "other"]].concat())
            .contains("nothing was changed")
    );
    let done = place.json(&[&delete[..], &["--confirm", "acme"]].concat());
    let entry = done["log_entries"][0].to_string();
    let deletions = place.json(&["deletions", "acme"]);
    assert_eq!(deletions["deletions"][0]["cause"], "ingest_error", "{deletions}");

    // The certificate holds; changed, cut, of another log, it does not.
    place.json(&["certificate", "acme", &entry, "-o", "good.txt"]);
    let key = place.json(&["keys", "status"])["verifier_key"]
        .as_str()
        .expect("a key")
        .to_owned();
    place.write("key.txt", format!("{key}\n"));
    let valid = place.json(&["verify", "good.txt", "--key", &key]);
    assert_eq!(
        (&valid["valid"], &valid["log_index"]),
        (&true.into(), &done["log_entries"][0]),
        "{valid}"
    );
    assert_eq!(place.json(&["verify", "good.txt", "--key", "key.txt"])["valid"], true);
    // One record has one moment.
    let told = place.run(&["verify", "good.txt", "--key", "key.txt"]).out;
    let moment = callvault_app::core::TimeUs(noon().0 + 300_000_000);
    assert!(
        told.contains(&format!("1 call record of {moment} deleted at ")),
        "{told}"
    );
    let good = read(&place.path("good.txt"));
    place.write("forged.txt", good.replacen("\"records\":1", "\"records\":2", 1));
    place.write("cut.txt", &good[..good.len() / 2]);
    place.write("cut-by-one.txt", &good[..good.len() - 1]);
    assert_ne!(read(&place.path("forged.txt")), good);
    for forged in ["forged.txt", "cut.txt", "cut-by-one.txt"] {
        let error = place.fails(1, &["verify", forged, "--key", &key]);
        assert!(error.starts_with("NOT VALID"), "{forged}: {error}");
    }
    let stranger = Place::new(EMBEDDED);
    let other = stranger.json(&["keys", "status"])["verifier_key"]
        .as_str()
        .expect("a key")
        .to_owned();
    assert!(
        place
            .fails(1, &["verify", "good.txt", "--key", &other])
            .starts_with("NOT VALID")
    );
    place.fails(3, &["verify", "missing.txt", "--key", &key]);
    // The log itself holds it too.
    let log = place.path("vault/in/objects/objects/log").display().to_string();
    assert!(place.json(&["verify", "good.txt", "--key", &key, "--log", &log])["log_size"].as_u64() > Some(0));

    // A closed account answers nothing any more, and its proofs stay.
    place.json(&["delete", "account", "acme", "--confirm", "acme"]);
    place.fails(1, &["forecast", "acme"]);
    let closed = place.json(&["accounts", "list"]);
    assert_eq!(closed["accounts"][0]["closed"], true, "{closed}");
    assert_eq!(place.json(&["deletions", "acme"])["deletions"][0]["cause"], "closure");
    place.json(&["certificate", "acme", &entry]);
}

#[test]
fn what_is_printed_of_a_change_is_what_is_stored() {
    let place = Place::new(EMBEDDED);
    let calls = place.prepare();
    place.record(&calls[0]);
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let stored = || {
        let shown = place.json(&["retention", "show", "acme"]);
        let change = shown["scheduled"][0].clone();
        (text(&change["effective_at"]), text(&change["plan"]))
    };
    let set = place.json(&["retention", "set", "acme", "--recording-days", "1", "--confirm", "acme"]);
    assert_eq!((text(&set["effective_at"]), "growth".to_owned()), stored());
    // What is older than the new setting goes with it, and not before.
    assert_eq!(set["deletes"]["first_at"], set["effective_at"], "{set}");
    place.json(&["retention", "set", "acme", "--recording-days", "90"]);
    place.json(&["plan", "set", "acme", "enterprise"]);
    place.json(&["retention", "set", "acme", "--recording-days", "365"]);
    let set = place.json(&["plan", "set", "acme", "starter", "--confirm", "acme"]);
    assert_eq!((text(&set["effective_at"]), "starter".to_owned()), stored());
    assert!(
        set["first_at"].is_null() || text(&set["first_at"]) >= text(&set["effective_at"]),
        "{set}"
    );
    assert!(place.run(&["retention", "show", "acme"]).out.contains("plan starter"));
}
