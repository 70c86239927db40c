//! Support requests: a single recording goes when two people want it, and not before.

use callvault_app::{
    account::{NewToken, Role},
    core::TimeUs,
};
use callvault_server::demo::generate::tones;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{NOW, World, sid, world};

/// People of the account.
struct People {
    developer: NewToken,
    support: NewToken,
    officer: NewToken,
}

async fn people(world: &World) -> People {
    let vault = world.site.open_vault("in").await.expect("a vault");
    let make = async |role| vault.create_token(&sid("acme"), role).await.expect("a token");
    People {
        developer: make(Role::Developer).await,
        support: make(Role::Support).await,
        officer: make(Role::Compliance).await,
    }
}

impl World {
    pub(crate) async fn ask(&self, who: &NewToken, recording: &str) -> (StatusCode, Value) {
        let body = json!({
            "kind": "delete_recording", "recording": recording, "reason": "The caller asked on the phone.",
            "confirm": recording,
        });
        self.send(Method::POST, "/v1/accounts/acme/requests", Some(who), Some(body))
            .await
    }

    pub(crate) async fn reply(&self, who: &NewToken, request: &Value, answer: &str) -> (StatusCode, Value) {
        let id = request["id"].as_str().expect("an id");
        let path = format!("/v1/accounts/acme/requests/{id}/{answer}?note=as%20agreed");
        self.send(Method::POST, &path, Some(who), None).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_goes_when_two_people_want_it() {
    let world = world().await;
    let People {
        developer,
        support,
        officer,
    } = people(&world).await;
    let hook = json!({"url": "https://example.com/hook", "events": ["request.opened", "request.ended"]});
    let (status, _) = world.post("/v1/accounts/acme/webhooks", hook).await;
    assert_eq!(status, StatusCode::CREATED);
    let call = world.call(30).await;
    let recording = world.store_recording(&call, tones(1, 2)).await;
    let audio = format!("/v1/accounts/acme/records/recordings/{recording}/audio");
    // First what will go is shown, with the ways to take it along, and confirmed by name.
    let preview = format!("/v1/accounts/acme/requests/preview?recording={recording}");
    let (status, seen) = world.get(&preview).await;
    assert_eq!(
        (status, &seen["records"], &seen["call_sid"]),
        (StatusCode::OK, &json!(1), &json!(call)),
        "{seen}"
    );
    assert_eq!(seen["exports"]["audio"], audio);
    let vcon = seen["exports"]["vcon"].as_str().expect("a path");
    assert_eq!(world.get(vcon).await.0, StatusCode::OK);
    let body = json!({"kind": "delete_recording", "recording": recording, "reason": "r"});
    let (status, refused) = world.post("/v1/accounts/acme/requests", body).await;
    assert_eq!(
        (status, &refused["field"]),
        (StatusCode::PRECONDITION_REQUIRED, &json!("confirm"))
    );
    assert!(
        refused["detail"].as_str().is_some_and(|text| text.contains(&preview)),
        "{refused}"
    );

    let (status, opened) = world.ask(&officer, &recording).await;
    assert_eq!(
        (status, &opened["state"]),
        (StatusCode::CREATED, &json!("open")),
        "{opened}"
    );
    assert_eq!(opened["expires_at"], "2026-12-07T12:00:00Z");
    assert_eq!(world.get(&audio).await.0, StatusCode::OK, "asking deletes nothing");
    let (status, again) = world.ask(&developer, &recording).await;
    assert_eq!(
        (status, &again["type"]),
        (StatusCode::CONFLICT, &json!("/problems/request-open")),
        "{again}"
    );
    // Not by who asked, in whatever role; not by who may not; nobody else withdraws it.
    for (who, answer, status, kind) in [
        (&officer, "approve", StatusCode::CONFLICT, "second-person"),
        (&officer, "decline", StatusCode::CONFLICT, "second-person"),
        (&developer, "approve", StatusCode::FORBIDDEN, "wrong-role"),
        (&developer, "withdraw", StatusCode::CONFLICT, "not-your-request"),
    ] {
        let (seen, problem) = world.reply(who, &opened, answer).await;
        assert_eq!(
            (seen, &problem["type"]),
            (status, &json!(format!("/problems/{kind}"))),
            "{answer}"
        );
    }
    assert_eq!(world.get(&audio).await.0, StatusCode::OK);
    let (status, done) = world.reply(&support, &opened, "approve").await;
    assert_eq!((status, &done["state"]), (StatusCode::OK, &json!("done")), "{done}");
    assert_eq!(world.get(&audio).await.0, StatusCode::NOT_FOUND);
    let steps: Vec<_> = done["steps"]
        .as_array()
        .expect("steps")
        .iter()
        .map(|step| &step["role"])
        .collect();
    assert_eq!(steps, ["compliance", "support", "support"]);
    // The proof is the deletion's own.
    let (_, key) = world.send(Method::GET, "/log/key", None, None).await;
    let (_, text) = world
        .get(done["deletion"]["certificate"].as_str().expect("a path"))
        .await;
    let (text, key) = (text.as_str().expect("text"), key.as_str().expect("text"));
    callvault_app::certificate::verify(text, key).expect("a certificate that holds");
    assert!(text.contains("\"request\""), "{text}");
    // An end is final, and is told.
    for (who, answer) in [(&support, "approve"), (&support, "decline"), (&officer, "withdraw")] {
        let (status, over) = world.reply(who, &opened, answer).await;
        assert_eq!(
            (status, &over["type"]),
            (StatusCode::CONFLICT, &json!("/problems/request-over")),
            "{answer}"
        );
    }
    let (_, listed) = world.get("/v1/accounts/acme/requests?state=done").await;
    assert_eq!(listed["requests"].as_array().map(Vec::len), Some(1), "{listed}");
    let (_, none) = world.get("/v1/accounts/acme/requests?state=open").await;
    assert_eq!(none["requests"], json!([]));
    let (_, log) = world
        .send(
            Method::GET,
            "/v1/accounts/acme/logs/activity",
            Some(&world.acme_officer),
            None,
        )
        .await;
    let mut names: Vec<_> = log["entries"]
        .as_array()
        .expect("entries")
        .iter()
        .map(|entry| &entry["name"])
        .collect();
    names.sort_by_key(|name| name.to_string());
    assert_eq!(names, ["request.approved", "request.opened", "webhook.created"]);
    let vault = world.site.open_vault("in").await.expect("a vault");
    let mut told = 0;
    for lane in 0..16 {
        let open = callvault_app::store::rows::JobState::Open;
        told += vault
            .catalog()
            .list_jobs(&format!("post:{lane}"), open, 10)
            .await
            .expect("jobs")
            .len();
    }
    assert_eq!(told, 2, "opened and ended");
    world.serving.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_declined_withdrawn_over_or_kept_by_a_hold() {
    let world = world().await;
    let People {
        developer,
        support,
        officer,
    } = people(&world).await;
    let call = world.call(30).await;
    let recording = world.store_recording(&call, tones(1, 2)).await;
    for (who, answer, state) in [(&support, "decline", "declined"), (&developer, "withdraw", "withdrawn")] {
        let (_, opened) = world.ask(&developer, &recording).await;
        let (status, over) = world.reply(who, &opened, answer).await;
        assert_eq!((status, &over["state"]), (StatusCode::OK, &json!(state)), "{over}");
        assert_eq!(over["steps"][1]["note"], "as agreed");
    }
    // A hold that was placed meanwhile: the request waits, and can be approved once it is lifted.
    let (_, opened) = world.ask(&developer, &recording).await;
    let hold = json!({"sids": [call], "matter": "M", "reason": "r", "review_at": "2027-01-01"});
    let (_, placed) = world
        .send(Method::POST, "/v1/accounts/acme/holds", Some(&officer), Some(hold))
        .await;
    let (status, held) = world.reply(&support, &opened, "approve").await;
    assert_eq!(
        (status, &held["type"]),
        (StatusCode::CONFLICT, &json!("/problems/held")),
        "{held}"
    );
    let path = format!("/v1/accounts/acme/requests/{}", opened["id"].as_str().expect("an id"));
    assert_eq!(world.get(&path).await.1["state"], "open");
    let lift = format!("/v1/accounts/acme/holds/{}/lift", placed["id"].as_str().expect("an id"));
    world.send(Method::POST, &lift, Some(&officer), None).await;
    // Nobody answers for fourteen days.
    let start = TimeUs::parse(NOW).expect("a time");
    world.clock.advance_to(start.plus_days(14));
    assert_eq!(world.get(&path).await.1["state"], "expired");
    let (status, late) = world.reply(&support, &opened, "approve").await;
    assert_eq!(
        (status, &late["type"]),
        (StatusCode::CONFLICT, &json!("/problems/request-over")),
        "{late}"
    );
    let audio = format!("/v1/accounts/acme/records/recordings/{recording}/audio");
    assert_eq!(world.get(&audio).await.0, StatusCode::OK);
    // The platform's own DELETE is a request too; what was over does not stand in its way.
    let delete = |path: String| {
        let request = world.client.delete(world.url(&path));
        request.basic_auth(&developer.token_key, Some(&developer.secret)).send()
    };
    let path = format!("/v1/Accounts/acme/Recordings/{recording}.json?Reason=wrong%20number");
    let answer = delete(path.clone()).await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let answer: Value = answer.json().await.expect("JSON");
    assert_eq!(
        (&answer["Status"], &answer["Message"]),
        (&json!(202), &json!("Accepted"))
    );
    let again = delete(path).await.expect("an answer");
    assert_eq!(again.status(), StatusCode::CONFLICT);
    let xml = delete(format!("/v1/Accounts/acme/Recordings/{}", "0".repeat(32)))
        .await
        .expect("an answer");
    assert_eq!(xml.status(), StatusCode::NOT_FOUND);
    assert!(
        xml.text()
            .await
            .expect("text")
            .contains("<RestException><Status>404</Status>")
    );
    let opened = json!({"id": answer["RequestSid"]});
    let (_, done) = world.reply(&support, &opened, "approve").await;
    assert_eq!(
        (&done["state"], &done["reason"]),
        (&json!("done"), &json!("wrong number")),
        "{done}"
    );
    for (field, body) in [
        (
            "kind",
            json!({"kind": "x", "recording": recording, "reason": "r", "confirm": recording}),
        ),
        (
            "recording",
            json!({"kind": "delete_recording", "recording": "x", "reason": "r"}),
        ),
        (
            "reason",
            json!({"kind": "delete_recording", "recording": recording, "reason": " "}),
        ),
        (
            "reason",
            json!({"kind": "delete_recording", "recording": recording, "reason": "x".repeat(501)}),
        ),
        (
            "colour",
            json!({"kind": "delete_recording", "recording": recording, "reason": "r", "colour": 1}),
        ),
    ] {
        let (status, answer) = world.post("/v1/accounts/acme/requests", body).await;
        assert_eq!(
            (status, &answer["field"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &json!(field)),
            "{answer}"
        );
    }
    world.serving.close().await;
}

/// Whoever makes a token, or rotates another's, is the one that it stands for.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_becomes_a_second_person_by_making_tokens() {
    let world = world().await;
    let vault = world.site.open_vault("in").await.expect("a vault");
    let owner = vault.create_token(&sid("acme"), Role::Owner).await.expect("a token");
    let officer = vault
        .create_token(&sid("acme"), Role::Compliance)
        .await
        .expect("a token");
    let recording = world.store_recording(&world.call(30).await, tones(1, 2)).await;
    let (status, opened) = world.ask(&owner, &recording).await;
    assert_eq!(status, StatusCode::CREATED, "{opened}");
    let token = |made: &Value| NewToken {
        token_key: made["key"].as_str().expect("a key").to_owned(),
        secret: made["secret"].as_str().expect("a secret").to_owned(),
    };
    let tokens = "/v1/accounts/acme/tokens";
    let role = json!({"role": "owner"});
    let (_, made) = world.send(Method::POST, tokens, Some(&owner), Some(role)).await;
    let child = token(&made);
    let role = json!({"role": "compliance"});
    let (_, made) = world.send(Method::POST, tokens, Some(&child), Some(role)).await;
    let grandchild = token(&made);
    let rotate = format!("{tokens}/{}/rotate", officer.token_key);
    let (_, made) = world.send(Method::POST, &rotate, Some(&owner), None).await;
    let taken_over = token(&made);
    for who in [&child, &grandchild, &taken_over] {
        let (status, answer) = world.reply(who, &opened, "approve").await;
        assert_eq!(
            (status, answer["type"].as_str()),
            (StatusCode::CONFLICT, Some("/problems/second-person"))
        );
    }
    // The operator's own rotation leaves it whose it was, and that is somebody else.
    let made = vault
        .create_token(&sid("acme"), Role::Compliance)
        .await
        .expect("a token");
    let next = vault
        .rotate_token(&sid("acme"), &made.token_key, 0, None)
        .await
        .expect("a successor");
    let (status, answer) = world.reply(&next, &opened, "approve").await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    world.serving.close().await;
}
