//! The API over real HTTPS: two regions, two accounts, every door.

#![expect(clippy::expect_used, reason = "a test that cannot go on says why")]

#[path = "api/campaigns.rs"]
mod campaigns;
#[path = "api/consent.rs"]
mod consent;
#[path = "api/contacts.rs"]
mod contacts;
#[path = "api/conversion.rs"]
mod conversion;
#[path = "api/credentials.rs"]
mod credentials;
#[path = "api/export_jobs.rs"]
mod export_jobs;
#[path = "api/exports.rs"]
mod exports;
#[path = "api/hooks.rs"]
mod hooks;
#[path = "api/mail.rs"]
mod mail;
#[path = "api/passkeys.rs"]
mod passkeys;
#[path = "api/people.rs"]
mod people;
#[path = "api/platform.rs"]
mod platform;
#[path = "api/recordings.rs"]
mod recordings;
#[path = "api/refusals.rs"]
mod refusals;
#[path = "api/requests.rs"]
mod requests;
#[path = "api/schedule.rs"]
mod schedule;
#[path = "api/spoiled.rs"]
mod spoiled;
#[path = "api/tenants.rs"]
mod tenants;
#[path = "api/vcon.rs"]
mod vcon;

use std::{path::Path, sync::Arc};

use callvault_app::{
    ManualClock,
    account::{NewToken, Role},
    core::{AccountSid, Plan, TimeUs},
};
use callvault_server::{
    config::Config,
    demo::generate::tones,
    serve::{self, Serving},
    site::Site,
};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

const NOW: &str = "2026-11-23T12:00:00Z";
const CALLER: &str = "+919900011111";

struct World {
    site: Site,
    clock: Arc<ManualClock>,
    serving: Serving,
    acme: NewToken,
    acme_officer: NewToken,
    other: NewToken,
    client: Client,
    _folder: tempfile::TempDir,
}

fn sid(text: &str) -> AccountSid {
    text.parse().expect("an account")
}

async fn world() -> World {
    world_with("", "").await
}

/// With more lines of the configuration, of the whole and of region `in`.
async fn world_with(top: &str, region: &str) -> World {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().expect("a folder");
    let exports = folder.path().join("exports");
    std::fs::create_dir(&exports).expect("a folder");
    let exports = exports.display().to_string();
    let text = format!(
        "data_dir = {:?}\nmetrics = true\n{top}\n[regions.in]\nlisten = \"127.0.0.1:0\"\nexport_folder = {exports:?}\n{region}\n[regions.sg]\nlisten = \"127.0.0.1:0\"\nurl = \"https://vault.example.sg\"\n",
        folder.path().display().to_string()
    );
    let env = |name: &str| (name == "CALLVAULT_PASSPHRASE").then(|| "correct horse".to_owned());
    let config = Config::parse(&text, Path::new("callvault.toml"), &env).expect("a configuration");
    let clock = Arc::new(ManualClock::new(TimeUs::parse(NOW).expect("a time")));
    let site = Site::new(config, clock.clone()).expect("a site");
    for (account, region) in [("acme", "in"), ("other", "in"), ("lion", "sg")] {
        site.create_account(&sid(account), region, Plan::Growth, "IN")
            .await
            .expect("an account");
    }
    let vault = site.open_vault("in").await.expect("a vault");
    let acme = vault
        .create_token(&sid("acme"), Role::Developer)
        .await
        .expect("a token");
    let acme_officer = vault
        .create_token(&sid("acme"), Role::Compliance)
        .await
        .expect("a token");
    let other = vault
        .create_token(&sid("other"), Role::Compliance)
        .await
        .expect("a token");
    let serving = serve::open(&site, false).await.expect("doors");
    let pem = std::fs::read(&serving.doors[0].cert_file).expect("a certificate");
    let client = Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(&pem).expect("PEM")])
        .build()
        .expect("a client");
    World {
        site,
        clock,
        serving,
        acme,
        acme_officer,
        other,
        client,
        _folder: folder,
    }
}

impl World {
    fn now(&self) -> TimeUs {
        use callvault_app::Clock as _;
        self.clock.now()
    }

    /// Where accounts of region `in` may have folders.
    fn export_folder(&self) -> std::path::PathBuf {
        self._folder.path().join("exports")
    }

    fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.serving.doors[0].address)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        token: Option<&NewToken>,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let mut request = self.client.request(method, self.url(path));
        if let Some(token) = token {
            request = request.basic_auth(&token.token_key, Some(&token.secret));
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.expect("an answer");
        let status = response.status();
        let text = response.text().await.expect("a body");
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.send(Method::GET, path, Some(&self.acme), None).await
    }

    async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.send(Method::POST, path, Some(&self.acme), Some(body)).await
    }

    /// Stores a call `n` minutes before now and returns its SID.
    async fn call(&self, n: i64) -> String {
        let at = TimeUs::parse(NOW).expect("a time").plus_seconds(-60 * n);
        let (status, answer) = self.post("/v1/accounts/acme/records", call(at, n)).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer["records"][0]["sid"].as_str().expect("a SID").to_owned()
    }
}

fn call(at: TimeUs, n: i64) -> Value {
    json!({
        "class": "call", "at": at.to_string(), "source_id": format!("src-{n}"), "direction": "inbound",
        "from": CALLER, "to": "+919900000001", "status": "completed", "duration_s": 60, "talk_s": 50,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_goes_in_once_and_comes_out() {
    let world = world().await;
    let sid = world.call(1).await;
    assert_eq!(world.call(1).await, sid, "the same record is stored once");
    let (status, answer) = world.get(&format!("/v1/Accounts/ACME/Records/Calls/{sid}")).await;
    assert_eq!(
        (status, answer["from"].as_str()),
        (StatusCode::OK, Some(CALLER)),
        "{answer}"
    );
    let (_, page) = world
        .get("/v1/accounts/acme/records/calls?number=9900011111&status=completed&direction=inbound")
        .await;
    assert_eq!(page["calls"].as_array().map(Vec::len), Some(1), "{page}");
    let (_, page) = world.get("/v1/accounts/acme/records/calls?status=busy").await;
    assert_eq!(page["calls"].as_array().map(Vec::len), Some(0), "{page}");
    let (status, _) = world.get("/v1/accounts/acme/records/messages").await;
    assert_eq!(status, StatusCode::OK);
    world.serving.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_is_stable_while_records_come_in() {
    let world = world().await;
    let mut want = Vec::new();
    for n in (1..=9).rev() {
        want.insert(0, world.call(n * 10).await);
    }
    let (mut seen, mut after) = (Vec::new(), String::new());
    for n in 1.. {
        let (_, page) = world
            .get(&format!("/v1/accounts/acme/records/calls?limit=2&after={after}"))
            .await;
        seen.extend(
            page["calls"]
                .as_array()
                .expect("calls")
                .iter()
                .map(|call| call["sid"].as_str().expect("sid").to_owned()),
        );
        // A newer one comes in between every two pages.
        world.call(10 - n.min(9)).await;
        match page["next_after"].as_str() {
            Some(next) => after = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(seen, want);
    world.serving.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_and_another_tenant_get_nothing() {
    let world = world().await;
    let call = world.call(1).await;
    let (_, api) = world.send(Method::GET, "/openapi.json", None, None).await;
    let mut tried = 0;
    for (path, operations) in api["paths"].as_object().expect("paths") {
        for method in operations.as_object().expect("operations").keys() {
            let method: Method = method.to_ascii_uppercase().parse().expect("a method");
            let real = path
                .replace("{account}", "acme")
                .replace("{sid}", &call)
                .replace("{index}", "0")
                .replace("{contact}", &call)
                .replace("{id}", &call);
            if !path.starts_with(callvault_server::access::ACCOUNT_PATH) {
                continue;
            }
            tried += 1;
            let (status, answer) = world.send(method.clone(), &real, None, None).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{method} {path} {answer}");
            let (status, mut answer) = world.send(method.clone(), &real, Some(&world.other), None).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{method} {path} {answer}");
            let missing = real.replace("/acme/", "/nobody/");
            let (_, mut of_nobody) = world.send(method, &missing, Some(&world.other), None).await;
            for answer in [&mut answer, &mut of_nobody]
                .into_iter()
                .filter_map(Value::as_object_mut)
            {
                answer.remove("request_id");
            }
            assert_eq!(
                answer, of_nobody,
                "an account that is there and one that is not answer alike"
            );
        }
    }
    assert!(tried >= 19, "{tried} operations");
    world.serving.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wrong_door_names_the_right_one() {
    let world = world().await;
    let get = |key: String, secret: String| {
        let request = world.client.get(world.url("/v1/accounts/lion/records/calls"));
        request.basic_auth(key, Some(secret)).send()
    };
    // Who shows nothing, or what is no token, does not learn where an account lives.
    let (status, answer) = world
        .send(Method::GET, "/v1/accounts/lion/records/calls", None, None)
        .await;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "{answer}");
    let response = get("a".to_owned(), "b".to_owned()).await.expect("an answer");
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    // Neither does another account of this region.
    let (status, answer) = world
        .send(Method::GET, "/v1/accounts/lion/records/calls", Some(&world.other), None)
        .await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{answer}");
    // A token of that region is not known here; its holder is sent to where it is.
    let vault = world.site.open_vault("sg").await.expect("a vault");
    let token = vault
        .create_token(&sid("lion"), Role::Developer)
        .await
        .expect("a token");
    let response = get(token.token_key, token.secret).await.expect("an answer");
    assert_eq!(response.status(), StatusCode::MISDIRECTED_REQUEST);
    assert_eq!(
        response.headers()["location"],
        "https://vault.example.sg/v1/accounts/lion/records/calls"
    );
    world.serving.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_names_the_field_and_changes_nothing() {
    let world = world().await;
    let good = call(TimeUs::parse(NOW).expect("a time"), 1);
    let with = |field: &str, value: Value| {
        let mut body = good.clone();
        body[field] = value;
        body
    };
    for (body, field) in [
        (with("at", json!("2027-06-01T00:00:00Z")), "at"),
        (with("at", json!("2020-06-01T00:00:00Z")), "at"),
        (with("at", json!("yesterday")), "at"),
        (with("from", json!("not a number!")), "from"),
        (with("duration_s", json!(-5)), "duration_s"),
        (with("status", json!("sleeping")), "status"),
        (with("class", json!("contact")), "class"),
        (with("sid", json!("xyz")), "sid"),
    ] {
        let (status, answer) = world.post("/v1/accounts/acme/records", body).await;
        let outcome = &answer["records"][0];
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
        assert_eq!(
            (outcome["outcome"].as_str(), outcome["field"].as_str()),
            (Some("rejected"), Some(field)),
            "{answer}"
        );
    }
    for (query, field) in [
        ("limit=0", "limit"),
        ("after=1", "after"),
        ("from=x", "from"),
        ("colour=red", "colour"),
        ("status=x", "status"),
    ] {
        let (status, answer) = world.get(&format!("/v1/accounts/acme/records/calls?{query}")).await;
        assert_eq!(
            (status, answer["field"].as_str()),
            (StatusCode::UNPROCESSABLE_ENTITY, Some(field)),
            "{query} {answer}"
        );
    }
    let (_, page) = world.get("/v1/accounts/acme/records/calls").await;
    assert_eq!(page["calls"].as_array().map(Vec::len), Some(0));
    world.serving.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bulk_keeps_the_good_lines_and_names_the_bad() {
    let world = world().await;
    let now = TimeUs::parse(NOW).expect("a time");
    let mut text = String::new();
    for n in 0..2_500 {
        text += &(call(now.plus_seconds(-n), n).to_string() + "\n");
    }
    text += "{\"half\n";
    for (stored, known) in [(2_500, 0), (0, 2_500)] {
        let request = world
            .client
            .post(world.url("/v1/accounts/acme/records/bulk?class=call"));
        let request = request
            .basic_auth(&world.acme.token_key, Some(&world.acme.secret))
            .body(text.clone());
        let answer: Value = request.send().await.expect("an answer").json().await.expect("JSON");
        assert_eq!(
            (answer["stored"].as_u64(), answer["known"].as_u64()),
            (Some(stored), Some(known)),
            "{answer}"
        );
        assert_eq!(
            (answer["rejected"].as_u64(), answer["rejects"][0]["line"].as_u64()),
            (Some(1), Some(2_501)),
            "{answer}"
        );
    }
    world.serving.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_is_kept_with_consent_read_by_range_and_deleted_with_proof() {
    let world = world().await;
    let call = world.call(30).await;
    let audio = tones(1, 3);
    let post = |query: String| {
        world
            .client
            .post(world.url(&format!("/v1/accounts/acme/records/recordings?{query}")))
            .basic_auth(&world.acme.token_key, Some(&world.acme.secret))
            .header("content-type", "audio/wav")
            .body(audio.clone())
            .send()
    };
    for (consent, kind) in [("", "consent-missing"), ("&consent=declined", "consent-declined")] {
        let answer: Value = post(format!("call_sid={call}{consent}"))
            .await
            .expect("answer")
            .json()
            .await
            .expect("JSON");
        assert_eq!(answer["type"], format!("/problems/{kind}"));
    }
    let response = post(format!("call_sid={call}&consent=announced"))
        .await
        .expect("an answer");
    assert_eq!(response.status(), StatusCode::CREATED);
    let sid = response.json::<Value>().await.expect("JSON")["sid"]
        .as_str()
        .expect("a SID")
        .to_owned();
    assert_eq!(
        post(format!("call_sid={call}&consent=announced"))
            .await
            .expect("an answer")
            .status(),
        StatusCode::OK
    );
    let own = format!("/v1/accounts/acme/records/recordings/{sid}");
    let part = world
        .client
        .get(world.url(&format!("{own}/audio")))
        .header("range", "bytes=1000-1999");
    let part = part
        .basic_auth(&world.acme.token_key, Some(&world.acme.secret))
        .send()
        .await
        .expect("an answer");
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(
        part.headers()["content-range"],
        format!("bytes 1000-1999/{}", audio.len())
    );
    assert_eq!(part.bytes().await.expect("bytes"), audio[1000..2000]);

    let (status, opened) = world.ask(&world.acme, &sid).await;
    assert_eq!(status, StatusCode::CREATED, "{opened}");
    let (status, gone) = world.reply(&world.acme_officer, &opened, "approve").await;
    assert_eq!(status, StatusCode::OK, "{gone}");
    assert_eq!(world.get(&own).await.0, StatusCode::NOT_FOUND);
    let (_, key) = world.send(Method::GET, "/log/key", None, None).await;
    let (_, text) = world
        .get(gone["deletion"]["certificate"].as_str().expect("a path"))
        .await;
    let (text, key) = (text.as_str().expect("text"), key.as_str().expect("text"));
    callvault_app::certificate::verify(text, key).expect("a certificate that holds");
    assert!(callvault_app::certificate::verify(&text.replacen("request", "closure", 1), key).is_err());
    let (status, _) = world.send(Method::GET, "/log/checkpoint", None, None).await;
    assert_eq!(status, StatusCode::OK);
    world.serving.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_holds_and_forecast_answer() {
    let world = world().await;
    let call = world.call(5).await;
    let (status, answer) = world
        .send(
            Method::PUT,
            "/v1/accounts/acme/retention",
            Some(&world.acme_officer),
            Some(json!({"recording_days": 365})),
        )
        .await;
    assert_eq!(
        (status, answer["type"].as_str()),
        (StatusCode::UNPROCESSABLE_ENTITY, Some("/problems/retention-over-plan"))
    );
    let (status, answer) = world.get("/v1/accounts/acme/retention/preview?recording_days=30").await;
    assert_eq!(
        (status, answer["shortens"].as_bool()),
        (StatusCode::OK, Some(true)),
        "{answer}"
    );
    let (_, answer) = world.get("/v1/accounts/acme/retention").await;
    assert_eq!(answer["recording_days"], 90);
    let hold = json!({"sids": [call], "matter": "M-1", "reason": "dispute", "review_at": "2027-01-01T00:00:00Z"});
    let (status, placed) = world
        .send(
            Method::POST,
            "/v1/accounts/acme/holds",
            Some(&world.acme_officer),
            Some(hold),
        )
        .await;
    assert_eq!(status, StatusCode::CREATED, "{placed}");
    let (_, answer) = world.get("/v1/accounts/acme/forecast?to=2028-01-01T00:00:00Z").await;
    let rows = answer["rows"].as_array().expect("rows");
    assert!(
        rows.iter().all(|row| row["class"] != "call"),
        "the call is held: {answer}"
    );
    let lift = format!("/v1/accounts/acme/holds/{}/lift", placed["id"].as_str().expect("an id"));
    assert_eq!(
        world.send(Method::POST, &lift, Some(&world.acme_officer), None).await.0,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        world.send(Method::POST, &lift, Some(&world.acme_officer), None).await.0,
        StatusCode::NOT_FOUND
    );
    let (_, answer) = world.get("/v1/accounts/acme/forecast?to=2028-01-01T00:00:00Z").await;
    let rows = answer["rows"].as_array().expect("rows");
    let row = rows.iter().find(|row| row["class"] == "call").expect("the call");
    assert_eq!(row["records"], 1, "{answer}");
    // Its term over, the call is gone to the second.
    world
        .clock
        .advance_to(TimeUs::parse("2027-11-23T11:55:00Z").expect("a time"));
    assert_eq!(
        world.get(&format!("/v1/accounts/acme/records/calls/{call}")).await.0,
        StatusCode::NOT_FOUND
    );
    drop(world.site);
    world.serving.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_gets_nothing() {
    let world = world().await;
    let url = world.url("/health").replace("https:", "http:");
    let answer = Client::builder().build().expect("a client").get(url).send().await;
    assert!(answer.is_err() || answer.is_ok_and(|answer| !answer.status().is_success()));
    let (status, text) = world.send(Method::GET, "/metrics", None, None).await;
    assert_eq!(status, StatusCode::OK);
    // The protocol of certificates has the account's name.
    let text = text.to_string().replace("callvault_acme_failures_total", "");
    assert!(!text.contains("acme") && text.contains("callvault_"), "{text}");
    world.serving.close().await;
}
