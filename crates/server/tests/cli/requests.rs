//! `requests` and `exophones`: the operator as the second person, and the numbers that an account has.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::{
    running::{EMBEDDED, Place},
    serving::Client,
};

#[test]
fn the_operator_is_the_second_person() {
    let place = Place::new(EMBEDDED);
    let calls = place.prepare();
    let recording = place.record(&calls[1]);
    let token = place.json(&["tokens", "create", "acme", "--role", "compliance"]);
    let running = place.start(&["serve"]);
    let client = Client::of(&running, 0);
    let body = json!({"kind": "delete_recording", "recording": recording, "reason": "why", "confirm": recording});
    let body = body.to_string().into_bytes();
    let path = "/v1/accounts/acme/requests";
    let (status, opened) = client.send(Method::POST, path, &token, Some(("application/json", body)));
    assert_eq!(status, StatusCode::CREATED, "{opened}");
    assert_eq!(running.stop().code, 0);
    let id = opened["id"].as_str().expect("an id");
    let listed = place.json(&["requests", "list", "acme", "--state", "open"]);
    assert_eq!(listed["requests"][0]["id"], id, "{listed}");
    let said = place.fails(1, &["requests", "approve", "acme", id]);
    assert!(
        said.contains(&recording) && said.contains("why"),
        "what goes, and why: {said}"
    );
    let done = place.json(&[
        "requests",
        "approve",
        "acme",
        id,
        "--confirm",
        &recording,
        "--note",
        "seen",
    ]);
    assert_eq!(done["state"], "done", "{done}");
    let entry = done["deletion"]["log_index"].to_string();
    place.json(&["certificate", "acme", &entry, "-o", "certificate.txt"]);
    let status = place.json(&["keys", "status"]);
    let key = status["verifier_key"].as_str().expect("a key");
    assert_eq!(place.json(&["verify", "certificate.txt", "--key", key])["valid"], true);
    let over = place.fails(1, &["requests", "decline", "acme", id]);
    assert!(over.contains("done already"), "{over}");
}

#[test]
fn numbers_are_given_and_taken_away() {
    let place = Place::new(EMBEDDED);
    place.json(&["accounts", "create", "acme", "--country", "IN", "--region", "in"]);
    let made = place.json(&["exophones", "add", "acme", "08049501234", "--name", "Front desk"]);
    assert_eq!(
        (&made["number"], &made["name"]),
        (&json!("+918049501234"), &json!("Front desk")),
        "{made}"
    );
    let again = place.fails(1, &["exophones", "add", "acme", "+918049501234"]);
    assert!(again.contains("already"), "{again}");
    place.fails(2, &["exophones", "add", "acme", "???"]);
    let sid = made["sid"].as_str().expect("a SID");
    place.json(&["exophones", "release", "acme", sid]);
    assert_eq!(place.json(&["exophones", "list", "acme"])["exophones"], json!([]));
    place.fails(1, &["exophones", "release", "acme", sid]);
    // By the number, as people write it.
    place.json(&["exophones", "add", "acme", "08049501234"]);
    place.fails(2, &["exophones", "release", "acme", "???"]);
    let unknown = place.fails(1, &["exophones", "release", "acme", "08049500000"]);
    assert!(unknown.contains("exophones list"), "{unknown}");
    place.json(&["exophones", "release", "acme", "080 4950 1234"]);
    assert_eq!(place.json(&["exophones", "list", "acme"])["exophones"], json!([]));
}
