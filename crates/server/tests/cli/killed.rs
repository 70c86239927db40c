//! Exports whose writer is killed at 60 %: what is there is gone on with, and the checksum agrees.

use std::fmt::Write as _;

use callvault_app::{core::TimeUs, seal::digest::sha256};
use reqwest::{Method, StatusCode, header};
use serde_json::Value;

use crate::{
    running::{EMBEDDED, Place, noon},
    serving::Client,
};

/// Enough that the last 40 % do not fit into the buffers of two sockets.
const ROWS: i64 = 200_000;

/// An account with calls of some hours.
fn filled() -> Place {
    let place = Place::new(EMBEDDED);
    place.json(&["accounts", "create", "acme", "--region", "in", "--country", "IN"]);
    let mut text = "at,source_id,direction,from,to,exophone,status,duration_s,talk_s,caller_name\n".to_owned();
    for n in 0..ROWS {
        let at = TimeUs(noon().0 + n * 100_000);
        let _ = writeln!(
            text,
            "{at},{n}.{n},inbound,+9199{:08},+9180{:08},+918047112233,completed,{},{},Caller {}",
            n * 7_919 % 100_000_000,
            n * 104_729 % 100_000_000,
            60 + n % 600,
            50 + n % 600,
            n % 5_000
        );
    }
    place.write("calls.csv", text);
    let done = place.json(&["import", "calls", "acme", "calls.csv"]);
    assert_eq!(done["files"][0]["stored"], ROWS, "{done}");
    place
}

#[test]
fn a_download_goes_on_after_its_server_was_killed() {
    let place = filled();
    let token = place.json(&["tokens", "create", "acme"]);
    let running = place.start(&["serve"]);
    let client = Client::of(&running, 0);
    let manifest = client.get("/v1/accounts/acme/exports/manifest?class=call&format=csv", &token);
    let total = usize::try_from(manifest["bytes"].as_u64().expect("a length")).expect("a length");
    let path = manifest["path"].as_str().expect("a path").to_owned();
    let request = |client: &Client, from: usize| {
        let request = client.http.request(Method::GET, format!("{}{path}", client.base));
        let request = request.basic_auth(token["key"].as_str().expect("a key"), token["secret"].as_str());
        match from {
            0 => request,
            from => request.header(header::RANGE, format!("bytes={from}-")),
        }
    };
    let mut got = Vec::with_capacity(total);
    client.runtime.block_on(async {
        let mut answer = request(&client, 0).send().await.expect("an answer");
        while got.len() < total * 6 / 10 {
            got.extend(answer.chunk().await.expect("a piece").expect("more"));
        }
        running.kill();
        // What the network still had of it.
        while let Ok(Some(piece)) = answer.chunk().await {
            got.extend(piece);
        }
    });
    assert!(got.len() < total, "it was cut");
    let cut = got.len();

    let running = place.start(&["serve"]);
    let client = Client::of(&running, 0);
    let (status, rest) = client.runtime.block_on(async {
        let answer = request(&client, cut).send().await.expect("an answer");
        (answer.status(), answer.bytes().await.expect("the rest"))
    });
    assert_eq!(status, StatusCode::PARTIAL_CONTENT);
    assert_eq!(cut + rest.len(), total);
    got.extend(rest);
    assert_eq!(manifest["sha256"], hex::encode(sha256(&[&got])));
    running.stop();
}

#[test]
fn a_file_goes_on_after_its_command_was_killed() {
    let place = filled();
    let to = noon().plus_seconds(86_400).to_string();
    let export = |file: &'static str| ["export", "calls", "acme", "--to", &to, "-o", file].map(ToOwned::to_owned);
    let words = |all: &[String; 7]| all.iter().map(String::as_str).collect::<Vec<_>>().join("\n");
    let run = |file| place.json(&words(&export(file)).split('\n').collect::<Vec<_>>());
    let whole: Value = run("a.csv");
    let total = whole["bytes"].as_u64().expect("a length");
    let command = words(&export("b.csv"));
    let mut child = place
        .command(&command.split('\n').collect::<Vec<_>>())
        .spawn()
        .expect("it runs");
    let partial = place.path("b.csv.partial");
    while std::fs::metadata(&partial).map_or(0, |file| file.len()) < total * 6 / 10 {
        assert!(
            child.try_wait().expect("a child").is_none(),
            "it was faster than this test"
        );
        std::thread::yield_now();
    }
    child.kill().expect("killed");
    child.wait().expect("an end");
    assert!(!place.path("b.csv").exists(), "nothing half-done has the name");
    let resumed = run("b.csv");
    assert!(
        resumed["resumed_bytes"].as_u64().expect("bytes") >= total * 6 / 10,
        "{resumed}"
    );
    assert_eq!(
        (&resumed["sha256"], &resumed["bytes"]),
        (&whole["sha256"], &whole["bytes"])
    );
    let bytes = std::fs::read(place.path("b.csv")).expect("the file");
    assert_eq!(whole["sha256"], hex::encode(sha256(&[&bytes])));
}
