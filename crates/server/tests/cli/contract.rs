//! The description against the door: `schemathesis` sends what the description allows and what it forbids.

use std::{path::Path, process::Command};

use serde_json::Value;

use crate::running::{EMBEDDED, Place};

/// Where Python's programs are.
fn schemathesis() -> std::path::PathBuf {
    let python = std::env::var("CALLVAULT_TEST_PYTHON");
    let python = python.expect("run ./test once: it makes the Python environment and names it");
    Path::new(&python).with_file_name("st")
}

/// Runs every check with this token, or without one, and returns what it says when it finds something.
fn run(place: &Place, who: &str, base: &str, certificate: &str, token: Option<&Value>) -> Result<(), String> {
    let examples = if who == "the owner" { "6" } else { "3" };
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/schemathesis.toml");
    let mut command = Command::new(schemathesis());
    command
        .args(["--config-file", config, "run", &format!("{base}/openapi.json")])
        .args(["--checks", "all", "--max-examples", examples])
        .args(["--tls-verify", certificate])
        .env("PYTHONPATH", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli"))
        .current_dir(place.path(""));
    if let Some(token) = token {
        let text = |name: &str| token[name].as_str().expect("a token");
        command.args(["--auth", &format!("{}:{}", text("key"), text("secret"))]);
    }
    let ran = command.output().expect("schemathesis runs");
    let said = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
    match ran.status.success() {
        true => Ok(()),
        false => Err(said),
    }
}

#[test]
fn the_description_is_true_for_the_owner_another_tenant_and_nobody() {
    let place = Place::new(&format!(
        "rate_factor = 1000\n{EMBEDDED}[sign_in]\nrequests_per_minute = 1000000\nfailures = 1000\n"
    ));
    let calls = place.prepare();
    place.record(&calls[0]);
    // A plan that allows every setting that the description does.
    place.json(&["plan", "set", "acme", "enterprise"]);
    let create = [
        "accounts",
        "create",
        "other",
        "--region",
        "in",
        "--plan",
        "growth",
        "--country",
        "IN",
    ];
    place.json(&create);
    let owner = |account: &str| place.json(&["tokens", "create", account, "--role", "owner"]);
    let (own, foreign) = (owner("acme"), owner("other"));
    let running = place.start(&["serve"]);
    let door = &running.first["doors"][0];
    let base = format!("https://{}", door["address"].as_str().expect("an address"));
    let certificate = place.path(door["certificate"].as_str().expect("a path"));
    let certificate = certificate.display().to_string();
    for (who, token) in [
        ("the owner", Some(&own)),
        ("another tenant", Some(&foreign)),
        ("nobody", None),
    ] {
        if let Err(said) = run(&place, who, &base, &certificate, token) {
            panic!("as {who}: {said}");
        }
    }
    running.stop();
}
