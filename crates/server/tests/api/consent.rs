//! Consent policies, and recordings that come in under them.

use callvault_server::demo::generate::tones;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{World, world};

const POLICY: &str = "/v1/accounts/acme/consent/policy";

impl World {
    async fn adopt(&self, body: Value) -> (StatusCode, Value) {
        self.send(Method::PUT, POLICY, Some(&self.acme_officer), Some(body))
            .await
    }

    /// Sends a recording of a call to this number, with this decision.
    async fn hand_in(&self, to: &str, n: u64, consent: &str) -> (StatusCode, Value) {
        let to: String = url::form_urlencoded::byte_serialize(to.as_bytes()).collect();
        let path = format!(
            "/v1/accounts/acme/records/recordings?from=%2B919900011111&to={to}&at=2026-11-23T11:00:00Z&{consent}"
        );
        let request = self.client.post(self.url(&path)).header("content-type", "audio/wav");
        let request = request.basic_auth(&self.acme.token_key, Some(&self.acme.secret));
        let answer = request.body(tones(n, 1)).send().await.expect("an answer");
        (answer.status(), answer.json().await.expect("JSON"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_a_version_that_stays_and_recordings_point_at_it() {
    let world = world().await;
    let (status, ready) = world.get(POLICY).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        (&ready["version"], &ready["records_by_default"]),
        (&json!(0), &json!(false))
    );
    assert_eq!(
        ready["countries"]["IN"]["grounds"].as_array().map(Vec::len),
        Some(4),
        "{ready}"
    );
    let (status, stored) = world.hand_in("+919900000001", 1, "consent=announced").await;
    assert_eq!(status, StatusCode::CREATED, "{stored}");
    // Elsewhere people are asked, and an announcement is no answer.
    let (status, refused) = world.hand_in("+4930123456", 2, "consent=announced").await;
    assert_eq!(
        (status, &refused["field"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("consent")),
        "{refused}"
    );
    assert_eq!(refused["type"], "/problems/consent-not-enough");
    for (n, consent) in [
        (3, "consent=accepted"),
        (4, "consent=contract&consent_version=7"),
        (5, "consent=attested&consent_by=x"),
    ] {
        let (status, stored) = world.hand_in("+4930123456", n, consent).await;
        assert_eq!(status, StatusCode::CREATED, "{consent} {stored}");
    }
    let body = json!({
        "text": "We record.", "privacy_url": "https://example.in/privacy", "languages": ["en-IN", "hi"], "elsewhere": "announce",
        "countries": {"IN": {"rule": "opt-in", "grounds": [{"law": "ours", "asks": "a yes"}]}}, "records_by_default": true,
    });
    let (status, adopted) = world.adopt(body.clone()).await;
    assert_eq!((status, &adopted["version"]), (StatusCode::OK, &json!(1)), "{adopted}");
    assert_eq!(world.adopt(body).await.1, adopted, "the same again is no new version");
    let (_, refused) = world.hand_in("+919900000001", 6, "consent=announced").await;
    assert_eq!(
        refused["type"], "/problems/consent-not-enough",
        "the rule changed: {refused}"
    );
    let (status, later) = world.hand_in("+4930123456", 6, "consent=announced").await;
    assert_eq!(status, StatusCode::CREATED, "{later}");
    for (stored, version) in [(&stored, 0), (&later, 1)] {
        let sid = stored["sid"].as_str().expect("a SID");
        let (_, shown) = world.get(&format!("/v1/accounts/acme/records/recordings/{sid}")).await;
        assert_eq!(shown["consent_policy_version"], version, "{shown}");
    }
    let (_, all) = world.get("/v1/accounts/acme/consent/policies").await;
    assert_eq!(all["policies"], json!([adopted]));
    world.serving.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_policy_may_not_be_names_the_field() {
    let world = world().await;
    let good = json!({"text": "We record.", "languages": ["en"], "elsewhere": "opt-in"});
    for (field, value) in [
        ("text", json!("")),
        ("text", json!("a\u{7}b")),
        ("text", json!("x".repeat(2_001))),
        ("privacy_url", json!("ftp://x")),
        ("languages", json!([])),
        ("languages", json!(["english please"])),
        ("elsewhere", json!("never")),
        ("countries", json!({"XX": {"rule": "announce"}})),
        ("countries", json!({"IN": {"rule": "sometimes"}})),
        (
            "countries",
            json!({"IN": {"rule": "announce", "grounds": [{"law": "", "asks": "x"}]}}),
        ),
        ("records_by_default", json!("yes")),
    ] {
        let mut body = good.clone();
        body[field] = value;
        let (status, answer) = world.adopt(body.clone()).await;
        assert_eq!(
            (status, &answer["field"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &json!(field)),
            "{body} {answer}"
        );
    }
    let (status, _) = world.send(Method::PUT, POLICY, Some(&world.acme), Some(good)).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "a developer adopts none");
    assert_eq!(world.get(POLICY).await.1["version"], 0);
    world.serving.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn consent_is_taken_back_and_the_recording_goes_with_a_certificate() {
    let world = world().await;
    let (_, stored) = world.hand_in("+919900000001", 1, "consent=accepted").await;
    let sid = stored["sid"].as_str().expect("a SID");
    let place = format!("/v1/accounts/acme/records/recordings/{sid}");
    let withdrawal = format!("{place}/withdrawal");
    let withdraw = |token, body| world.send(Method::POST, &withdrawal, Some(token), Some(body));
    let confirmed = json!({"confirm": sid});
    let officer = &world.acme_officer;
    assert_eq!(withdraw(&world.acme, confirmed.clone()).await.0, StatusCode::FORBIDDEN);
    assert_eq!(withdraw(&world.other, confirmed.clone()).await.0, StatusCode::NOT_FOUND);
    for body in [json!({}), json!({"confirm": "0".repeat(32)})] {
        let (status, answer) = withdraw(officer, body).await;
        assert_eq!(
            (status, &answer["field"]),
            (StatusCode::PRECONDITION_REQUIRED, &json!("confirm")),
            "{answer}"
        );
    }
    let hold = json!({"sids": [sid], "matter": "m", "reason": "r", "review_at": "2027-06-01"});
    let holds = "/v1/accounts/acme/holds";
    let (status, hold) = world.send(Method::POST, holds, Some(officer), Some(hold)).await;
    assert_eq!(status, StatusCode::CREATED, "{hold}");
    let (status, answer) = withdraw(officer, confirmed.clone()).await;
    assert_eq!(
        (status, &answer["type"]),
        (StatusCode::CONFLICT, &json!("/problems/held")),
        "{answer}"
    );
    assert_eq!(world.get(&place).await.0, StatusCode::OK, "nothing went");
    let lift = format!("{holds}/{}/lift", hold["id"].as_str().expect("an id"));
    let (status, _) = world.send(Method::POST, &lift, Some(officer), None).await;
    assert!(status.is_success());
    let (status, done) = withdraw(officer, confirmed.clone()).await;
    assert_eq!(status, StatusCode::OK, "{done}");
    assert_eq!(world.get(&place).await.0, StatusCode::NOT_FOUND);
    assert_eq!(withdraw(officer, confirmed).await.0, StatusCode::NOT_FOUND);
    let (_, deletions) = world
        .send(Method::GET, "/v1/accounts/acme/deletions", Some(officer), None)
        .await;
    let deletion = &deletions["deletions"][0];
    assert_eq!(
        (&deletion["log_index"], &deletion["cause"]),
        (&done["log_index"], &json!("consent_withdrawn")),
        "{deletions}"
    );
    // The same audio does not come back by another import.
    let (_, again) = world.hand_in("+919900000001", 1, "consent=accepted").await;
    assert!(again.get("sid").is_none(), "{again}");
    let (_, log) = world
        .send(Method::GET, "/v1/accounts/acme/logs/activity", Some(officer), None)
        .await;
    let mut entries = log["entries"].as_array().expect("entries").iter();
    assert!(entries.any(|entry| entry["name"] == "consent.withdrawn"), "{log}");
    world.serving.close().await;
}
