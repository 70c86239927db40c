//! `demo`: made, toured, served, pushed, and not run over.

use crate::{running::Place, serving::Client};

#[test]
fn a_small_demo_is_made_toured_and_ended() {
    let place = Place::of_demos();
    let done = place.json(&["demo", "--dir", "d", "--records", "5000", "--exit"]);
    assert_eq!(done["valid"], true, "{done}");
    let path = |name: &str| done[name].as_str().expect("a path").to_owned();
    let verified = place.json(&["verify", &path("certificate"), "--key", &path("key")]);
    assert_eq!(verified["log_index"], done["log_index"], "{verified}");
    // The folder's own configuration serves the command line, at the demo's date.
    let config = "d/callvault.toml";
    let listed = place.json(&["--config", config, "accounts", "list"]);
    let calls: u64 = listed["accounts"]
        .as_array()
        .expect("accounts")
        .iter()
        .filter_map(|row| row["calls"].as_u64())
        .sum();
    assert!((1_500..5_000).contains(&calls), "{listed}");
    assert_eq!(place.json(&["--config", config, "doctor"])["alarms"], 0);
    // Another folder is not taken for a demo, and is left alone.
    place.write("other/file", "mine");
    assert!(
        place
            .fails(1, &["demo", "--dir", "other", "--exit"])
            .contains("no demo")
    );
    assert!(place.path("other/file").exists());
}

#[test]
fn a_hundred_records_are_a_hundred_records() {
    let place = Place::of_demos();
    let done = place.json(&["demo", "--dir", "d", "--records", "100", "--exit"]);
    assert_eq!(done["valid"], true, "{done}");
    let listed = place.json(&["--config", "d/callvault.toml", "accounts", "list"]);
    let of = |class: &str| -> u64 {
        listed["accounts"]
            .as_array()
            .expect("accounts")
            .iter()
            .filter_map(|row| row[class].as_u64())
            .sum()
    };
    assert!(of("calls") + of("messages") >= 70, "{listed}");
}

#[test]
fn a_running_demo_is_pushed_and_not_run_over() {
    let place = Place::of_demos();
    assert!(
        place
            .fails(1, &["demo", "--dir", "d", "--push", "30d"])
            .contains("no demo runs")
    );
    let running = place.start(&["demo", "--dir", "d", "--records", "1000", "--port", "0"]);
    let door = &running.first["doors"][0];
    let client = Client::of(&running, 0);
    let now = || {
        client.get("/v1/accounts/acme-in/forecast", door)["from"]
            .as_str()
            .expect("a time")
            .to_owned()
    };
    let before = now();
    let error = place.fails(1, &["demo", "--dir", "d", "--records", "100", "--exit"]);
    assert!(error.contains("a demo is running"), "{error}");
    assert!(
        place
            .fails(1, &["demo", "--dir", "d", "--keep", "--exit"])
            .contains("running")
    );
    assert_eq!(client.get("/health", door), "ok\n", "it goes on");

    let pushed = place.json(&["demo", "--dir", "d", "--push", "30d"]);
    assert!(
        pushed["report"].as_str().is_some_and(|text| text.contains("acme-in")),
        "{pushed}"
    );
    let after = now();
    let days = |text: &str| callvault_app::core::TimeUs::parse(text).expect("a time").0 / 86_400_000_000;
    assert_eq!(days(&after) - days(&before), 30, "{before} {after}");
    // The command line tells the demo's date too, not the real one.
    let forecast = place.json(&["--config", "d/callvault.toml", "forecast", "acme-in"]);
    assert_eq!(
        days(forecast["to"].as_str().expect("a time")) - days(&after),
        30,
        "{forecast}"
    );
    let ended = running.stop();
    assert_eq!(ended.code, 0, "{ended:?}");
    // Ended, its folder may be used again.
    assert!(
        place
            .fails(1, &["demo", "--dir", "d", "--push", "30d"])
            .contains("no demo runs")
    );
    assert_eq!(place.run(&["demo", "--dir", "d", "--keep", "--exit"]).code, 0);
}
