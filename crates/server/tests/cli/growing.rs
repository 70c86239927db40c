//! `import` of files that still grow, that are of another kind, and of recordings that were copied.

use std::collections::BTreeMap;

use callvault_server::demo::generate::tones;

use crate::running::{EMBEDDED, Place, calls, noon, read};

const UUIDS: [&str; 2] = [
    "c37517e6-7fe3-42f7-8560-03df6cca0306",
    "c37517e6-7fe3-42f7-8560-03df6cca0307",
];

fn place() -> Place {
    let place = Place::new(EMBEDDED);
    place.json(&["accounts", "create", "acme", "--region", "in", "--country", "IN"]);
    place
}

/// A row of `Master.csv`.
fn asterisk(n: i64) -> String {
    let at = noon().plus_seconds(60 * n).to_string();
    let at = at.trim_end_matches('Z').replace('T', " ");
    format!(
        "\"\",\"9900011111\",\"8049501234\",\"from-trunk\",\"\",\"SIP/a-1\",\"SIP/b-2\",\"Dial\",\"x\",\"{at}\",\"{at}\",\"{at}\",50,40,\"ANSWERED\",\"DOCUMENTATION\"\n"
    )
}

/// A document of `mod_json_cdr` on a line of its own.
fn freeswitch(uuid: &str) -> String {
    let at = noon().0;
    format!(
        "{{\"core-uuid\":\"x\",\"variables\":{{\"uuid\":\"{uuid}\",\"direction\":\"inbound\",\"start_uepoch\":\"{at}\",\
         \"caller_id_number\":\"9900011111\",\"destination_number\":\"8049501234\",\"duration\":\"9\"}}}}\n"
    )
}

#[test]
fn a_cut_last_row_is_told_by_each_run_and_gone_once_it_is_whole() {
    let place = place();
    let ndjson = calls(2);
    let csv = |n: i64| {
        let at = noon().plus_seconds(60 * n);
        format!("{at},inbound,{n}00,101,completed,10,call {n}\n")
    };
    let files = BTreeMap::from([
        ("Master.csv", (asterisk(1), asterisk(2))),
        ("a.cdr.json", (freeswitch(UUIDS[0]), freeswitch(UUIDS[1]))),
        (
            "b.csv",
            (
                "at,direction,from,to,status,duration_s,team\n".to_owned() + &csv(3),
                csv(4),
            ),
        ),
        ("c.ndjson", {
            let (one, other) = ndjson.split_once('\n').expect("two lines");
            (format!("{one}\n"), other.to_owned())
        }),
    ]);
    for (name, (first, last)) in files {
        let import = || place.run(&["import", "calls", "acme", name, "--json"]);
        let counts = |ran: &crate::running::Ran| {
            let done = ran.json();
            let file = &done["files"][0];
            (ran.code, file["stored"].as_u64(), file["rejected"].as_u64())
        };
        let rejects = place.path(&format!("{name}.rejects.csv"));
        place.write(name, format!("{first}{}", &last[..last.len() / 2]));
        for _ in 0..3 {
            let ran = import();
            assert_eq!(counts(&ran), (1, Some(1), Some(1)), "{name} {ran:?}");
            assert_eq!(read(&rejects).lines().count(), 2, "{name}");
            assert!(read(&rejects).contains(",truncated,"), "{name}");
        }
        place.write(name, format!("{first}{last}"));
        for _ in 0..2 {
            let ran = import();
            assert_eq!(counts(&ran), (0, Some(2), Some(0)), "{name} {ran:?}");
            assert!(!rejects.exists(), "{name}");
        }
    }
}

#[test]
fn rows_that_stay_bad_stay_in_the_reject_file() {
    let place = place();
    let two = calls(2);
    let (one, other) = two.split_once('\n').expect("two lines");
    let rejects = place.path("a.ndjson.rejects.csv");
    place.write("a.ndjson", format!("{one}\n{{}}\n{}", &other[..40]));
    let rejected = || {
        let ran = place.run(&["import", "calls", "acme", "a.ndjson", "--json"]);
        (ran.code, ran.json()["rejected"].as_u64())
    };
    assert_eq!(rejected(), (1, Some(2)));
    assert_eq!(read(&rejects).lines().count(), 3);
    place.write("a.ndjson", format!("{one}\n{{}}\n{other}"));
    assert_eq!(rejected(), (1, Some(1)));
    assert_eq!(read(&rejects).lines().count(), 2);
    assert!(!read(&rejects).contains("truncated"));
    // Whoever repaired the rows may delete the file, and the import goes on.
    std::fs::remove_file(&rejects).expect("removed");
    assert_eq!(rejected(), (1, Some(1)));
}

#[test]
fn files_of_another_kind_are_named_and_nothing_is_stored() {
    let place = place();
    place.write("Master.csv", asterisk(1));
    place.write("a.cdr.json", freeswitch(UUIDS[0]));
    place.write("b.gz", b"\x1f\x8b\x08\0\0");
    place.write("c.txt", b"\xff\xfea\0t\0");
    place.write("d.csv", b"");
    for (name, code) in [
        ("Master.csv", "unsupported-class"),
        ("a.cdr.json", "unsupported-class"),
        ("b.gz", "compressed-file"),
        ("c.txt", "wrong-encoding"),
        ("d.csv", "empty-file"),
    ] {
        let error = place.fails(1, &["import", "messages", "acme", name]);
        assert!(error.contains(code), "{name}: {error}");
    }
    let named = ["--format", "asterisk", "--time-zone", "Asia/Kolkata"];
    let messages = ["import", "messages", "acme", "Master.csv"];
    assert!(
        place
            .fails(1, &[&messages[..], &named].concat())
            .contains("unsupported-class")
    );
    let account = &place.json(&["accounts", "list"])["accounts"][0];
    assert_eq!((&account["calls"], &account["messages"]), (&0.into(), &0.into()));
    // Nor is the time zone spoken of, once the calls are there.
    place.json(&["import", "calls", "acme", "Master.csv", "--time-zone", "Asia/Kolkata"]);
    assert!(place.fails(1, &messages).contains("unsupported-class"));
}

#[test]
fn a_recording_that_was_copied_finds_its_call() {
    let place = place();
    place.write("a.cdr.json", freeswitch(UUIDS[0]));
    place.json(&["import", "calls", "acme", "a.cdr.json"]);
    // The file is of today, the call ten days old.
    place.write(&format!("audio/{}.wav", UUIDS[0]), tones(1, 1));
    place.write(&format!("audio/{}.wav", UUIDS[1]), tones(2, 1));
    let import = [
        "import",
        "recordings",
        "acme",
        "audio",
        "--consent",
        "announced",
        "--json",
    ];
    let ran = place.run(&import);
    let done = ran.json();
    assert_eq!((ran.code, &done["stored"]), (1, &1.into()), "{done}");
    assert_eq!(done["rejects"][0]["code"], "no-call", "{done}");
}
