//! `import watch`: what a switch's hooks leave in a folder.

#![expect(clippy::disallowed_methods, reason = "it is waited for another process")]

use std::{
    fs,
    process::{Command, Stdio},
    thread::sleep,
    time::Duration,
};

use callvault_server::demo::generate::tones;
use serde_json::{Value, json};

use crate::running::{EMBEDDED, Place, noon};

/// What FreeSWITCH calls a call.
const UUID: &str = "c37517e6-7fe3-42f7-8560-03df6cca0306";

/// What Asterisk calls a call that began a minute after noon.
fn unique_id(n: i64) -> String {
    format!("{}.{n}", noon().plus_seconds(60 * n).0 / 1_000_000)
}

/// A row of `Master.csv` with its unique id.
fn row(n: i64) -> String {
    let at = noon().plus_seconds(60 * n).to_string();
    let at = at.trim_end_matches('Z').replace('T', " ");
    format!(
        "\"\",\"9900011111\",\"8049501234\",\"from-trunk\",\"\",\"SIP/a-1\",\"SIP/b-2\",\"Dial\",\"x\",\"{at}\",\"{at}\",\"{at}\",50,40,\"ANSWERED\",\"DOCUMENTATION\",\"{}\",\"\"\n",
        unique_id(n)
    )
}

fn exists(place: &Place, name: &str) -> bool {
    place.path(name).exists()
}

fn refusal(place: &Place, name: &str) -> Value {
    let text = fs::read_to_string(place.path(&format!("drop/{name}.refused"))).expect("a refusal");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn what_comes_with_its_consent_is_taken_and_nothing_else() {
    let place = Place::new(EMBEDDED);
    let calls = place.prepare();
    let at = noon().to_string();
    let note = |name: &str, note: Value| place.write(&format!("drop/{name}.json"), note.to_string());
    let audio = |name: &str, n: u64| place.write(&format!("drop/{name}.wav"), tones(n, 1));
    for (n, (name, said)) in [
        (calls[0].as_str(), json!({ "consent": "accepted" })),
        (UUID, json!({ "consent": "accepted", "at": at })),
        (
            "hook-1",
            json!({ "consent": "attested", "by": "IVR of the branch", "call": calls[1] }),
        ),
        (
            "hook-2",
            json!({ "consent": "announced", "at": at, "from": "+919900012345", "to": "+918049501234" }),
        ),
        ("declined", json!({ "consent": "declined", "call": calls[2] })),
        ("nobody", json!({ "consent": "accepted", "call": "1738315800.99" })),
        ("misspelt", json!({ "consent": "accepted", "caller": "+919900012345" })),
        ("undecided", json!({ "consent": "contract", "call": calls[3] })),
    ]
    .into_iter()
    .enumerate()
    {
        audio(name, n as u64 + 1);
        note(name, said);
    }
    audio("without", 9);
    place.write("drop/empty.wav", "");
    place.write("drop/bad.cdr.json", "no document");
    let document = json!({ "core-uuid": "x", "variables": {
        "uuid": UUID, "direction": "inbound", "start_uepoch": noon().0.to_string(), "caller_id_number": "9900011111",
        "destination_number": "8049501234", "duration": "9",
    } });
    place.write(&format!("drop/{UUID}.cdr.json"), document.to_string());
    note("empty", json!({ "consent": "accepted", "call": calls[4] }));
    std::os::unix::fs::symlink(place.path("callvault.toml"), place.path("drop/linked.wav")).expect("a link");
    let ran = place.run(&["import", "watch", "acme", "drop", "--once"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.out.contains("4 stored, 0 known, 6 refused"), "{ran:?}");
    assert!(!exists(&place, &format!("drop/{UUID}.cdr.json")));
    for gone in [calls[0].as_str(), UUID, "hook-1", "hook-2"] {
        assert!(
            !exists(&place, &format!("drop/{gone}.wav")) && !exists(&place, &format!("drop/{gone}.json")),
            "{gone}"
        );
    }
    for (name, code) in [
        ("declined", "consent-declined"),
        ("nobody", "no-call"),
        ("misspelt", "bad-note"),
        ("undecided", "invalid-value"),
        ("empty", "empty-file"),
    ] {
        assert!(exists(&place, &format!("drop/{name}.wav")), "{name} stays");
        assert_eq!(refusal(&place, &format!("{name}.wav"))["code"], code, "{name}");
    }
    assert_eq!(refusal(&place, "bad.cdr.json")["code"], "bad-calls");
    assert!(exists(&place, "drop/without.wav") && !exists(&place, "drop/without.wav.refused"));
    assert!(ran.err.contains("without a consent decision"), "{ran:?}");
    assert!(!ran.err.contains("9900012345"), "nobody's number: {ran:?}");
    assert!(exists(&place, "callvault.toml") && exists(&place, "drop/linked.wav"));
    // What was refused is not tried again, and what is stored is known if it comes again.
    audio(calls[0].as_str(), 1);
    note(calls[0].as_str(), json!({ "consent": "accepted" }));
    let again = place.json(&["import", "watch", "acme", "drop", "--once"]);
    assert_eq!(again, json!({ "stored": 0, "known": 1, "refused": 0 }));
}

#[test]
fn a_recording_waits_for_its_call_and_its_note() {
    let place = Place::new(EMBEDDED);
    place.prepare();
    place.write("Master.csv", row(1));
    place.write(&format!("drop/{}.wav", unique_id(2)), tones(1, 1));
    let watching = place
        .command(&["import", "watch", "acme", "drop", "--calls", "Master.csv", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    sleep(Duration::from_secs(3));
    assert!(
        exists(&place, &format!("drop/{}.wav", unique_id(2))),
        "no note, no storage"
    );
    place.write("drop/note.tmp", json!({ "consent": "accepted" }).to_string());
    fs::rename(
        place.path("drop/note.tmp"),
        place.path(&format!("drop/{}.json", unique_id(2))),
    )
    .expect("renamed");
    sleep(Duration::from_secs(3));
    assert!(
        exists(&place, &format!("drop/{}.wav", unique_id(2))),
        "its call is not there yet"
    );
    place.write("Master.csv", row(1) + &row(2));
    let is_taken = (0..100).any(|_| {
        sleep(Duration::from_millis(100));
        !exists(&place, &format!("drop/{}.json", unique_id(2)))
    });
    assert!(is_taken);
    let told = Command::new("kill").arg(watching.id().to_string()).status();
    assert!(told.expect("kill runs").success());
    let done = watching.wait_with_output().expect("it ends");
    assert!(done.status.success(), "{done:?}");
    let said: Value = serde_json::from_slice(&done.stdout).expect("JSON");
    assert_eq!(said, json!({ "stored": 1, "known": 0, "refused": 0 }), "{done:?}");
}
