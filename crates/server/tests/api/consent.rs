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
