//! `export`: a file and its manifest, gone on with after a cut, readable by its owner alone.

use std::os::unix::fs::PermissionsExt as _;

use callvault_app::seal::digest::sha256;
use serde_json::Value;

use crate::running::{EMBEDDED, Place, calls, noon, read};

#[test]
fn exports_are_whole_resumed_and_imported_again() {
    let place = Place::new(EMBEDDED);
    let sids = place.prepare();
    let to = noon().plus_seconds(3_600).to_string();
    let export = ["export", "calls", "acme", "--to", &to, "--format", "ndjson", "-o"];
    let run = |file: &str| place.json(&[&export[..], &[file]].concat());
    let done = run("a.ndjson");
    let bytes = std::fs::read(place.path("a.ndjson")).expect("the file");
    assert_eq!(
        (&done["records"], &done["resumed_bytes"]),
        (&10.into(), &0.into()),
        "{done}"
    );
    assert_eq!(done["sha256"], hex::encode(sha256(&[&bytes])));
    let manifest: Value = serde_json::from_str(&read(&place.path("a.ndjson.manifest.json"))).expect("JSON");
    for field in [
        "account", "class", "format", "from", "to", "at", "snapshot", "records", "bytes", "sha256",
    ] {
        assert_eq!(manifest[field], done[field], "{field}");
    }
    for name in ["a.ndjson", "a.ndjson.manifest.json"] {
        let mode = place.path(name).metadata().expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert!(
        place
            .fails(1, &[&export[..], &["a.ndjson"]].concat())
            .contains("there already")
    );

    // As a run leaves it that was cut at 60 %.
    let cut = bytes.len() * 6 / 10;
    let asked = |to: &str| {
        format!(
            "{{\"asked\":{{\"account\":\"acme\",\"class\":\"call\",\"format\":\"ndjson\",\"from\":null,\
             \"reader\":\"account\",\"to\":\"{to}\"}},\"snapshot\":{}}}",
            done["snapshot"]
        )
    };
    place.write("b.ndjson.partial", &bytes[..cut]);
    place.write("b.ndjson.partial.json", asked(&to));
    let resumed = run("b.ndjson");
    assert_eq!(resumed["resumed_bytes"], cut, "{resumed}");
    assert_eq!(resumed["sha256"], done["sha256"]);
    assert!(std::fs::read(place.path("b.ndjson")).expect("the file") == bytes);
    assert!(!place.path("b.ndjson.partial").exists() && !place.path("b.ndjson.partial.json").exists());

    // What is not what was written is seen when it is read back; another request begins anew.
    let mut wrong = bytes[..cut].to_vec();
    wrong[5] ^= 1;
    place.write("c.ndjson.partial", wrong);
    place.write("c.ndjson.partial.json", asked(&to));
    assert!(
        place
            .fails(3, &[&export[..], &["c.ndjson"]].concat())
            .contains("read back")
    );
    assert!(!place.path("c.ndjson").exists());
    place.write("c.ndjson.partial.json", asked("2020-01-01T00:00:00Z"));
    assert_eq!(run("c.ndjson")["resumed_bytes"], 0);

    // So does an export that something came into since.
    place.write(
        "late.ndjson",
        calls(11).split_inclusive('\n').skip(10).collect::<String>(),
    );
    place.json(&["import", "calls", "acme", "late.ndjson"]);
    place.write("d.ndjson.partial", &bytes[..cut]);
    place.write("d.ndjson.partial.json", asked(&to));
    let anew = run("d.ndjson");
    assert_eq!((&anew["resumed_bytes"], &anew["records"]), (&0.into(), &11.into()));
    assert_eq!(sids.len(), 10);
}

#[test]
fn every_kind_is_exported_and_comes_back() {
    let place = Place::new(EMBEDDED);
    let sids = place.prepare();
    let recording = place.record(&sids[0]);
    place.json(&["accounts", "create", "copy", "--region", "in", "--country", "IN"]);
    place.json(&["export", "calls", "acme", "-o", "calls.csv"]);
    let back = place.json(&["import", "calls", "copy", "calls.csv"]);
    assert_eq!(back["files"][0]["stored"], 10, "{back}");
    place.json(&["export", "calls", "copy", "-o", "again.csv"]);
    assert_eq!(read(&place.path("again.csv")), read(&place.path("calls.csv")));
    let none = place.json(&["export", "messages", "acme", "--format", "json", "-o", "m.json"]);
    assert_eq!(
        (&none["records"], read(&place.path("m.json")).as_str()),
        (&0.into(), "[]\n")
    );
    let done = place.json(&["export", "recordings", "acme", "-o", "r.tar"]);
    assert_eq!(
        (&done["records"], &done["class"]),
        (&1.into(), &"recording".into()),
        "{done}"
    );
    let listed = std::process::Command::new("tar")
        .arg("-tf")
        .arg(place.path("r.tar"))
        .output()
        .expect("tar runs");
    assert!(listed.status.success(), "{listed:?}");
    let names = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert_eq!(names, format!("recordings/{recording}.wav\nmanifest.json\n"));

    assert!(
        place
            .fails(1, &["export", "calls", "nobody", "-o", "x"])
            .contains("no such account")
    );
    assert!(
        place
            .fails(2, &["export", "calls", "acme", "--format", "xml", "-o", "x"])
            .contains("csv")
    );
    assert!(
        place
            .fails(2, &["export", "calls", "acme", "-o", "/"])
            .contains("--output")
    );
    let span = ["--from", "2026-02-01", "--to", "2026-01-01"];
    let wrong = [&["export", "calls", "acme", "-o", "x"][..], &span].concat();
    assert!(place.fails(1, &wrong).contains("to:"));
}
