//! `docs/first-hour.md`, run as it stands.

use std::process::Command;

use crate::running::free_port;

const TEXT: &str = include_str!("../../../../docs/first-hour.md");

/// The commands of the text, one after the other.
fn commands(port: u16) -> String {
    let blocks = TEXT.split("```bash\n").skip(1);
    let blocks: Vec<&str> = blocks
        .filter_map(|rest| rest.split_once("```"))
        .map(|(block, _)| block)
        .collect();
    assert!(blocks.len() > 8, "the text has commands");
    let text = blocks.concat();
    assert!(text.contains("8443"));
    format!(
        "set -euo pipefail\ntrap 'kill $(jobs -p)' EXIT\n{}",
        text.replace("8443", &port.to_string())
    )
}

#[test]
fn every_command_of_the_first_hour_does_what_it_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_callvault"));
    let path = std::env::var("PATH").expect("a path");
    let path = format!("{}:{path}", binary.parent().expect("a folder").display());
    let script = commands(free_port());
    let done = Command::new("timeout")
        .args(["100", "bash", "-c", &script])
        .current_dir(folder.path())
        .env("PATH", path)
        .output()
        .expect("bash");
    let said = String::from_utf8_lossy(&done.stdout);
    let told = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}\n{told}");
    assert_eq!(told, "", "{said}");
    for part in [
        // The call that was put in, the one that was placed, the campaign, the export, the person, the proof.
        "\"duration_s\": 60",
        "\"status\": \"Completed\"",
        "\"completed\": 1",
        "\"state\": \"done\"",
        "\"compliance\"",
        "\"recording_days\": 90",
        "VALID: 1 recording record",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains("null"), "{said}");
}
