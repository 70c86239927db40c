//! `import`: bad rows, reruns, missing files, time zones, recordings.

use std::os::unix::fs::PermissionsExt as _;

use callvault_server::demo::generate::tones;

use crate::running::{EMBEDDED, Place, calls, noon, read, sids};

#[test]
fn good_rows_are_kept_bad_ones_reported_and_reruns_change_nothing() {
    let place = Place::new(EMBEDDED);
    place.json(&["accounts", "create", "acme", "--region", "in", "--country", "IN"]);
    let rows = calls(5) + "{\"at\":\"yesterday\"}\n" + "{half\n";
    place.write("a.ndjson", &rows);
    place.write("b.ndjson", calls(7).split_inclusive('\n').skip(5).collect::<String>());

    // A missing file keeps no other from being imported; it is named, and the worst decides.
    let ran = place.run(&[
        "import",
        "calls",
        "acme",
        "a.ndjson",
        "missing.ndjson",
        "b.ndjson",
        "--json",
    ]);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.error().contains("missing.ndjson"), "{ran:?}");
    let done = ran.json();
    assert_eq!(
        (&done["rejected"], &done["failed"], &done["time_zone"]),
        (&2.into(), &1.into(), &"UTC".into()),
        "{done}"
    );
    assert_eq!(done["files"][0]["stored"], 5, "{done}");
    assert_eq!(done["files"][1]["error"]["exit_code"], 3, "{done}");
    assert_eq!(done["files"][2]["stored"], 2, "{done}");

    // Every bad row is in the reject file, for its owner alone.
    let rejects = place.path("a.ndjson.rejects.csv");
    let text = read(&rejects);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines[1].starts_with("6,") && lines[2].starts_with("7,"), "{text}");
    assert_eq!(rejects.metadata().expect("there").permissions().mode() & 0o777, 0o600);

    // Bad rows alone are a refusal. The same file again stores nothing, with the same answer.
    for _ in 0..2 {
        let ran = place.run(&["import", "calls", "acme", "a.ndjson", "--json"]);
        assert_eq!(
            (ran.code, ran.json()["files"][0]["stored"].as_u64()),
            (1, Some(5)),
            "{ran:?}"
        );
        assert!(ran.error().contains("2 rows"), "{ran:?}");
    }
    let again = place
        .run(&["import", "calls", "acme", "a.ndjson", "--from-start", "--json"])
        .json();
    assert_eq!(
        (&again["files"][0]["stored"], &again["files"][0]["known"]),
        (&0.into(), &5.into()),
        "{again}"
    );
    let accounts = place.json(&["accounts", "list"]);
    assert_eq!(accounts["accounts"][0]["calls"], 7, "{accounts}");

    // Grammar for people.
    place.write(
        "one.ndjson",
        calls(8).split_inclusive('\n').skip(7).collect::<String>() + "{half\n",
    );
    let ran = place.run(&["import", "calls", "acme", "one.ndjson"]);
    assert!(ran.err.contains("1 row;"), "{ran:?}");
    place.write("what.bin", [0_u8, 1, 2, 3]);
    assert!(
        place
            .fails(1, &["import", "calls", "acme", "what.bin"])
            .contains("what.bin")
    );
}

#[test]
fn the_same_file_with_another_time_zone_is_refused() {
    let place = Place::new(EMBEDDED);
    place.json(&["accounts", "create", "acme", "--region", "in", "--country", "IN"]);
    let at = noon().to_string();
    let at = at.trim_end_matches('Z').replace('T', " ");
    let row = format!(
        "\"\",\"9900011111\",\"8049501234\",\"from-trunk\",\"\",\"SIP/a-1\",\"SIP/b-2\",\"Dial\",\"x\",\"{at}\",\"{at}\",\"{at}\",50,40,\"ANSWERED\",\"DOCUMENTATION\"\n"
    );
    place.write("Master.csv", row);
    let import =
        |arguments: &[&str]| place.run(&[&["import", "calls", "acme", "Master.csv", "--json"], arguments].concat());
    let first = import(&["--time-zone", "Asia/Kolkata"]);
    assert_eq!(
        (first.code, first.json()["files"][0]["stored"].as_u64()),
        (0, Some(1)),
        "{first:?}"
    );
    assert_eq!(first.json()["time_zone"], "Asia/Kolkata");
    let other = import(&[]);
    assert_eq!(other.code, 1, "{other:?}");
    assert!(
        other.error().contains("Asia/Kolkata") && other.error().contains("Master.csv"),
        "{other:?}"
    );
    let count = || place.json(&["accounts", "list"])["accounts"][0]["calls"].clone();
    assert_eq!(count(), 1);
    assert_eq!(
        import(&["--time-zone", "Asia/Kolkata"]).code,
        0,
        "the same zone goes on"
    );
    assert_eq!(import(&["--from-start"]).code, 0, "it can be forced");
    assert_eq!(count(), 2, "and then they are other rows");
}

#[test]
fn recordings_find_their_calls() {
    let place = Place::new(EMBEDDED);
    let calls = place.prepare();
    place.write(&format!("audio/{}.wav", calls[0]), tones(1, 1));
    place.write(&format!("audio/{}.wav", sids(11)[10]), tones(2, 1));
    let mut cut = tones(3, 1);
    cut.truncate(9_000);
    place.write(&format!("audio/{}.wav", calls[2]), cut);
    let import = [
        "import",
        "recordings",
        "acme",
        "audio",
        "missing",
        "--consent",
        "attested",
        "--by",
        "me",
        "--json",
    ];
    let ran = place.run(&import);
    assert_eq!(ran.code, 3, "{ran:?}");
    let done = ran.json();
    assert_eq!(
        (&done["stored"], &done["rejected"], &done["failed"]),
        (&1.into(), &2.into(), &1.into()),
        "{done}"
    );
    let mut codes: Vec<_> = done["rejects"]
        .as_array()
        .expect("rejects")
        .iter()
        .map(|row| row["code"].clone())
        .collect();
    codes.sort_by_key(ToString::to_string);
    assert_eq!(codes, ["no-call", "truncated"], "{done}");
    assert!(
        done["errors"][0]["error"]["message"]
            .as_str()
            .expect("text")
            .contains("missing"),
        "{done}"
    );
    let again = place.run(&import).json();
    assert_eq!((&again["stored"], &again["known"]), (&0.into(), &1.into()), "{again}");
    // Spec 2.2: no consent decision, no recording.
    assert!(
        place
            .fails(2, &["import", "recordings", "acme", "audio"])
            .contains("--consent")
    );
}
