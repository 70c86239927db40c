//! The platform's own API: a client that was written for the platform, and what is told of calls and messages.

use std::{process::Command, sync::Arc};

use callvault_app::core::TimeUs;
use callvault_server::work;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{NOW, World, world};

/// Works on the line as `serve` does, until the test ends.
fn start_line(world: &World) -> tokio::task::JoinHandle<()> {
    tokio::spawn(work::run_line(Arc::clone(&world.serving.doors[0].door)))
}

pub(crate) fn python() -> String {
    std::env::var("CALLVAULT_TEST_PYTHON").expect("run ./test once: it makes the Python environment and names it")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exotel_package_works_unchanged() {
    let world = world().await;
    let line = start_line(&world);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/api/exotel_client.py");
    let mut client = Command::new(python());
    client
        .args([script, &world.url("/"), "acme", &world.acme.secret])
        .env("REQUESTS_CA_BUNDLE", &world.serving.doors[0].cert_file);
    let ran = tokio::task::spawn_blocking(move || client.output())
        .await
        .expect("ran")
        .expect("Python");
    line.abort();
    let text = String::from_utf8_lossy(&ran.stdout);
    let seen: Value =
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{}", String::from_utf8_lossy(&ran.stderr)));
    let status = |name: &str| seen[name]["status"].as_u64();
    for good in ["call", "details", "flow", "sms", "sent"] {
        assert_eq!(status(good), Some(200), "{good}: {}", seen[good]);
        assert_eq!(seen[good]["kind"], "application/json");
    }
    let call = &seen["details"]["body"]["Call"];
    assert_eq!(seen["call"]["body"]["Call"]["Status"], "queued");
    assert_eq!(
        [
            &call["Status"],
            &call["From"],
            &call["To"],
            &call["PhoneNumberSid"],
            &call["Direction"],
            &call["StartTime"]
        ],
        [
            "completed",
            "+919900012345",
            "+919900054321",
            "+918049501234",
            "outbound-api",
            "2026-11-23 17:30:00"
        ]
    );
    assert_eq!(
        call["Uri"],
        format!("/v1/Accounts/acme/Calls.json/{}", call["Sid"].as_str().expect("a SID"))
    );
    assert_eq!(seen["flow"]["body"]["Call"]["To"], "+918049501234");
    let (found, again) = world.get(call["Uri"].as_str().expect("a URI")).await;
    assert_eq!((found, &again["Call"]["Sid"]), (StatusCode::OK, &call["Sid"]));
    let sent = &seen["sent"]["body"]["SMSMessage"];
    assert_eq!(
        [&sent["Body"], &sent["DetailedStatus"]],
        ["Your code is 1234", "DELIVERED_TO_HANDSET"]
    );
    assert_eq!(sent["DetailedStatusCode"], 20005);
    for (name, code, field) in [("missing", 404, ""), ("nobody", 401, ""), ("bad", 400, "To")] {
        let exception = &seen[name]["body"]["RestException"];
        assert_eq!(
            (status(name), exception["Status"].as_u64()),
            (Some(code), Some(code)),
            "{name}"
        );
        assert!(
            exception["Message"]
                .as_str()
                .is_some_and(|text| text.starts_with(field) && !text.contains("not a number!"))
        );
    }
    // What it did are records of the vault.
    let (_, calls) = world.get("/v1/accounts/acme/records/calls").await;
    assert!(
        calls["calls"].as_array().is_some_and(|calls| !calls.is_empty()),
        "{calls}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_listed_as_the_platform_lists_them() {
    let world = world().await;
    let mut sids = Vec::new();
    for n in 0..7 {
        sids.push(world.call(n * 10).await);
    }
    let (status, page) = world.get("/v1/Accounts/acme/Calls.json?PageSize=3&details=true").await;
    assert_eq!(status, StatusCode::OK, "{page}");
    let listed = |page: &Value| -> Vec<String> {
        let calls = page["Calls"].as_array().expect("calls").iter();
        calls
            .map(|call| call["Sid"].as_str().expect("a SID").to_owned())
            .collect()
    };
    assert_eq!(listed(&page), sids[..3]);
    assert_eq!(
        (&page["Metadata"]["Total"], &page["Metadata"]["PrevPageUri"]),
        (&json!(7), &Value::Null)
    );
    assert_eq!(page["Calls"][0]["Details"]["ConversationDuration"], 50);
    let follow = |page: &Value, name: &str| page["Metadata"][name].as_str().expect("a URI").to_owned();
    let (_, second) = world.get(&follow(&page, "NextPageUri")).await;
    assert_eq!(listed(&second), sids[3..6]);
    let (_, third) = world.get(&follow(&second, "NextPageUri")).await;
    assert_eq!(
        (listed(&third), &third["Metadata"]["NextPageUri"]),
        (sids[6..].to_vec(), &Value::Null)
    );
    let (_, back) = world.get(&follow(&second, "PrevPageUri")).await;
    assert_eq!(listed(&back), sids[..3]);
    assert_eq!(back["Metadata"]["PrevPageUri"], Value::Null);
    // 12:00 UTC is 17:30 in India.
    for (query, wanted) in [
        ("SortBy=DateCreated:asc&PageSize=1", &sids[6..]),
        (
            "DateCreated=gte:2026-11-23%2017:10:00;lte:2026-11-23%2017:20:00",
            &sids[1..3],
        ),
        (
            &format!("Sid={},{}", sids[0], sids[4]),
            &[sids[0].clone(), sids[4].clone()][..],
        ),
        ("Duration=gt:60s", &[]),
        (
            "Duration=eq:60s&Status=completed,failed&Direction=inbound&PageSize=2",
            &sids[..2],
        ),
        ("From=09900011111&PageSize=1", &sids[..1]),
        ("To=09900011111", &[]),
    ] {
        let (status, page) = world.get(&format!("/v1/Accounts/acme/Calls.json?{query}")).await;
        assert_eq!((status, &listed(&page)[..]), (StatusCode::OK, wanted), "{query}");
    }
    for (query, field) in [
        ("PageSize=101", "PageSize"),
        ("SortBy=Price", "SortBy"),
        (
            "DateCreated=gte:2026-01-01%2000:00:00;lte:2026-11-01%2000:00:00",
            "DateCreated",
        ),
        ("DateCreated=yesterday", "DateCreated"),
        ("From=1,2,3,4,5,6", "From"),
        ("RecordingUrlValidity=61", "RecordingUrlValidity"),
        ("After=1", "After"),
        ("Status=gone", "Status"),
    ] {
        let (status, answer) = world.get(&format!("/v1/Accounts/acme/Calls.json?{query}")).await;
        let message = answer["RestException"]["Message"].as_str().unwrap_or_default();
        assert!(
            status == StatusCode::BAD_REQUEST && message.starts_with(field),
            "{query}: {answer}"
        );
    }
    let (_, xml) = world.get("/v1/Accounts/acme/Calls?PageSize=1").await;
    let xml = xml.as_str().expect("XML");
    assert!(
        xml.starts_with("<?xml version=\"1.0\" encoding=\"UTF-8\"?><TwilioResponse><Metadata><Total>7</Total>"),
        "{xml}"
    );
    let (status, answer) = world
        .send(Method::GET, "/v1/Accounts/acme/Calls.json", Some(&world.other), None)
        .await;
    assert_eq!(
        (status, answer["RestException"]["Status"].as_u64()),
        (StatusCode::NOT_FOUND, Some(404))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rate_is_limited_by_account_and_said() {
    let world = world().await;
    for n in 0..301 {
        let request = world.client.get(world.url("/v1/Accounts/acme/Calls.json"));
        let answer = request
            .basic_auth(&world.acme.token_key, Some(&world.acme.secret))
            .send()
            .await
            .expect("an answer");
        let left = answer.headers()["x-ratelimit-remaining"]
            .to_str()
            .expect("text")
            .to_owned();
        if n < 300 {
            assert_eq!((answer.status(), left), (StatusCode::OK, (299 - n).to_string()));
        } else {
            assert_eq!((answer.status(), left.as_str()), (StatusCode::TOO_MANY_REQUESTS, "0"));
            assert_eq!(answer.headers()["retry-after"], "60");
            let body: Value = answer.json().await.expect("JSON");
            assert_eq!(body["RestException"]["Code"], "RATE_LIMIT_EXCEEDED");
        }
    }
    let (status, _) = world
        .send(Method::GET, "/v1/Accounts/other/Calls.json", Some(&world.other), None)
        .await;
    assert_eq!(status, StatusCode::OK, "another account has its own rate");
    world
        .clock
        .advance_to(TimeUs::parse(NOW).expect("a time").plus_seconds(60));
    let (status, _) = world.get("/v1/Accounts/acme/Calls.json").await;
    assert_eq!(status, StatusCode::OK, "the next minute is a new one");
}
