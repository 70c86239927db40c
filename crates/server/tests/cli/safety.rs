//! `backup`, `restore`, `doctor` and `keys`.

use std::{fs, os::unix::fs::PermissionsExt as _};

use crate::running::{EMBEDDED, Place, sids};

fn delete_call(place: &Place, sid: &str) {
    let command = ["delete", "records", "acme", "--class", "call", sid, "--confirm", "acme"];
    place.json(&command);
}

#[test]
fn a_backup_comes_back_without_what_was_deleted_since() {
    let place = Place::new(EMBEDDED);
    let calls = place.prepare();
    let done = place.json(&["backup", "backup"]);
    assert!(
        done["restorable_until"].is_string() && done["log_size"].is_u64(),
        "{done}"
    );
    assert!(
        place.fails(1, &["backup", "backup"]).contains("folder"),
        "a backup is not written over"
    );
    delete_call(&place, &calls[0]);
    let log = format!("file:{}", place.path("vault/in/objects").display());

    // Refusals: not empty, no manifest, cut dump, no newest log, a log that ends too early.
    assert_eq!(place.run(&["restore", "backup"]).code, 1);
    let other = Place::new(EMBEDDED);
    let bring = |name: &str| {
        let folder = other.path(name);
        let copied = std::process::Command::new("cp")
            .arg("-r")
            .arg(place.path("backup"))
            .arg(&folder)
            .status();
        assert!(copied.expect("cp runs").success());
        folder
    };
    let key_file = || {
        let _ = fs::remove_dir_all(other.path("vault"));
        other.write(
            "vault/in/keys",
            fs::read(place.path("vault/in/keys")).expect("the key file"),
        );
        fs::set_permissions(other.path("vault/in/keys"), fs::Permissions::from_mode(0o600)).expect("its mode");
    };
    let restore = |folder: &str| other.run(&["restore", folder, "--log", &log, "--json"]);
    // A region whose catalog is not there is not one without accounts.
    for command in [
        &["accounts", "list"][..],
        &["forecast", "acme"],
        &["tokens", "list", "acme"],
    ] {
        key_file();
        let error = other.fails(3, command);
        assert!(error.contains("the catalog is empty"), "{error}");
    }
    key_file();
    fs::remove_file(bring("no-manifest").join("manifest.json")).expect("removed");
    let refused = restore("no-manifest");
    assert!(refused.code != 0, "{refused:?}");
    refused.error();
    key_file();
    let dump = fs::read_dir(bring("cut"))
        .expect("a folder")
        .flatten()
        .map(|entry| entry.path());
    let dump = dump
        .filter(|path| path.is_file() && !path.ends_with("manifest.json"))
        .max_by_key(|path| path.metadata().map(|metadata| metadata.len()).unwrap_or(0));
    let dump = dump.expect("a dump");
    let whole = fs::read(&dump).expect("the dump");
    fs::write(&dump, &whole[..whole.len() / 2]).expect("cut");
    let refused = restore("cut");
    assert!(refused.code != 0, "{refused:?}");
    key_file();
    bring("backup");
    let refused = other.run(&["restore", "backup", "--json"]);
    assert_eq!(refused.code, 1, "without the newest log: {refused:?}");
    refused.error();

    // What is whole comes back, the account too, without the record that was deleted since.
    key_file();
    let done = restore("backup");
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(done.json()["replayed"].as_u64(), Some(1), "{done:?}");
    assert_eq!(other.json(&["accounts", "list"])["accounts"][0]["calls"], 9);
    assert_eq!(other.json(&["doctor"])["alarms"], 0);
}

#[test]
fn doctor_alarms_and_keys_turn() {
    let place = Place::new(EMBEDDED);
    place.prepare();
    let healthy = place.json(&["doctor"]);
    assert_eq!(healthy["alarms"], 0, "{healthy}");
    assert!(
        healthy["regions"][0]["findings"]
            .as_array()
            .is_some_and(|all| !all.is_empty()),
        "{healthy}"
    );
    assert!(place.fails(2, &["doctor", "--region", "moon"]).contains("moon"));

    let status = place.json(&["keys", "status"]);
    assert_eq!(
        (&status["provider"], &status["region"]),
        (&"sealed-file".into(), &"in".into()),
        "{status}"
    );
    let before = status["epochs"].as_array().map(Vec::len);
    let turned = place.json(&["keys", "rotate"]);
    assert_eq!(turned["created"], 1, "{turned}");
    let status = place.json(&["keys", "status"]);
    assert_eq!(
        status["epochs"].as_array().map(Vec::len),
        before.map(|count| count + 1),
        "{status}"
    );
    place.json(&["keys", "backup", "keys.copy"]);
    let copy = place.path("keys.copy");
    assert_eq!(
        fs::read(&copy).expect("the copy"),
        fs::read(place.path("vault/in/keys")).expect("the key file")
    );
    assert_eq!(copy.metadata().expect("there").permissions().mode() & 0o777, 0o600);
    place.fails(3, &["keys", "backup", "keys.copy"]);

    // `work --once` does what is due; a lost object is an alarm.
    assert_eq!(place.run(&["work", "--once"]).code, 0);
    place.record(&sids(1)[0]);
    let objects = place.path("vault/in/objects");
    let removed = remove_recordings(&objects);
    assert_eq!(removed, 1, "{}", objects.display());
    let ran = place.run(&["doctor", "--json"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert_eq!(
        (ran.json()["alarms"].as_u64(), ran.error().contains("1 thing")),
        (Some(1), true),
        "{ran:?}"
    );
}

fn remove_recordings(folder: &std::path::Path) -> usize {
    let mut removed = 0;
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            removed += remove_recordings(&path);
        } else if path.components().any(|part| part.as_os_str() == "recordings") {
            fs::remove_file(&path).expect("removed");
            removed += 1;
        }
    }
    removed
}

#[test]
fn a_restore_is_alone_and_lost_keys_are_not_made_anew() {
    let place = Place::new(EMBEDDED);
    let calls = place.prepare();
    place.json(&["backup", "backup"]);
    let running = place.start(&["serve"]);
    let refused = place.fails(1, &["restore", "backup"]);
    assert!(refused.contains("in use"), "{refused}");
    assert_eq!(running.stop().code, 0);

    // Key file and catalog are lost, the objects are not: nothing is made anew.
    delete_call(&place, &calls[0]);
    fs::remove_file(place.path("vault/in/keys")).expect("removed");
    for entry in fs::read_dir(place.path("vault/in")).expect("a folder").flatten() {
        if entry.file_name().to_string_lossy().starts_with("catalog") {
            fs::remove_file(entry.path()).expect("removed");
        }
    }
    let refused = place.run(&["work", "--once", "--json"]);
    assert!(refused.code != 0 && refused.error().contains("key file"), "{refused:?}");
    assert!(!place.path("vault/in/keys").exists());
}
