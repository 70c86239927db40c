//! Callbacks and webhooks against receivers that behave badly.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use callvault_app::{
    core::TimeUs,
    line::{Line, Loopback},
};
use callvault_server::courier::HttpCourier;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{NOW, World, platform::python, sid, world};

/// What a receiver was sent: path, headers, body.
pub(crate) type Seen = Arc<Mutex<Vec<(String, BTreeMap<String, String>, String)>>>;

/// A receiver that answers by its path.
async fn receive(
    State((seen, stalls)): State<(Seen, bool)>,
    Path(how): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let text = |value: &header::HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let headers = headers
        .iter()
        .map(|(name, value)| (name.to_string(), text(value)))
        .collect();
    let body = String::from_utf8_lossy(&body).into_owned();
    seen.lock().expect("a lock").push((how.clone(), headers, body));
    match how.as_str() {
        how if how.starts_with("ok") => StatusCode::NO_CONTENT.into_response(),
        "gone" => StatusCode::GONE.into_response(),
        "moved" => (StatusCode::FOUND, [(header::LOCATION, "/ok")]).into_response(),
        "slow" if stalls => std::future::pending().await,
        _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

pub(crate) async fn start_receiver() -> (SocketAddr, Seen) {
    let seen = Seen::default();
    let app = Router::new()
        .route("/{how}", post(receive))
        .with_state((Arc::clone(&seen), true));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, app).await });
    (address, seen)
}

/// A line of the test's own, which may post to this machine.
async fn line_of(world: &World) -> Line {
    let vault = world.site.open_vault("in").await.expect("a vault");
    let courier = HttpCourier::new(true).expect("a courier");
    Line::new(vault, Arc::new(Loopback::default()), Arc::new(courier))
}

async fn connect(world: &World, fields: &[(&str, &str)]) -> String {
    let mut form = vec![
        ("From", "09900012345"),
        ("To", "09900054321"),
        ("CallerId", "08049501234"),
    ];
    form.extend(fields);
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish();
    let request = world.client.post(world.url("/v1/Accounts/acme/Calls/connect.json"));
    let answer = request
        .basic_auth(&world.acme.token_key, Some(&world.acme.secret))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body)
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), StatusCode::OK);
    let answer: Value = answer.json().await.expect("JSON");
    answer["Call"]["Sid"].as_str().expect("a SID").to_owned()
}

async fn create(world: &World, url: &str) -> Value {
    create_for(world, url, "call.ended").await
}

/// The bodies that a receiver was sent.
pub(crate) fn bodies(seen: &Seen, how: &str) -> Vec<Value> {
    let seen = seen.lock().expect("a lock");
    let of = seen.iter().filter(|seen| seen.0 == how);
    of.map(|seen| serde_json::from_str(&seen.2).expect("JSON")).collect()
}

pub(crate) async fn create_for(world: &World, url: &str, event: &str) -> Value {
    let body = json!({ "url": url, "events": [event] });
    let (status, made) = world
        .send(
            Method::POST,
            "/v1/accounts/acme/webhooks",
            Some(&world.acme),
            Some(body),
        )
        .await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    made
}

fn count(seen: &Seen, how: &str) -> usize {
    seen.lock().expect("a lock").iter().filter(|seen| seen.0 == how).count()
}

/// Works through every moment at which something is due within four days; the clock is the test's.
async fn work_through(world: &World, line: &Line) {
    let start = TimeUs::parse(NOW).expect("a time");
    for after_s in [
        0, 6, 310, 620, 1_000, 2_110, 9_400, 27_500, 63_600, 114_100, 186_200, 272_700, 345_600,
    ] {
        world.clock.advance_to(start.plus_seconds(after_s));
        let report = line.work().await;
        assert_eq!(report.failures, Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn status_callbacks_come_as_the_platform_sends_them() {
    let world = world().await;
    let (address, seen) = start_receiver().await;
    let line = line_of(&world).await;
    let ok = format!("http://{address}/ok");
    let form = connect(&world, &[("StatusCallback", &ok), ("CustomField", "order 7")]).await;
    let events = [
        ("StatusCallback", ok.as_str()),
        ("StatusCallbackEvents[]", "terminal"),
        ("StatusCallbackEvents[]", "answered"),
        ("StatusCallbackContentType", "application/json"),
        ("CustomField", "order 8"),
    ];
    let long = connect(&world, &events).await;
    let bad = format!("http://{address}/fail");
    connect(&world, &[("StatusCallback", &bad)]).await;
    work_through(&world, &line).await;
    assert_eq!(
        (count(&seen, "ok"), count(&seen, "fail")),
        (3, 3),
        "one; answered and terminal; the ladder of three"
    );
    let seen = seen.lock().expect("a lock").clone();
    let short: Vec<_> = seen.iter().filter(|seen| seen.2.contains(&form)).collect();
    assert!(short[0].1["content-type"].starts_with("multipart/form-data"));
    for field in ["CallSid", "DateUpdated", "Status", "RecordingUrl"] {
        assert!(short[0].2.contains(&format!("name=\"{field}\"")), "{}", short[0].2);
    }
    assert!(!short[0].2.contains("CustomField"), "the short form has four fields");
    let told: Vec<Value> = seen
        .iter()
        .filter(|seen| seen.2.contains(&long))
        .map(|seen| serde_json::from_str(&seen.2).expect("JSON"))
        .collect();
    let kinds: Vec<_> = told
        .iter()
        .map(|told| told["EventType"].as_str().expect("a type"))
        .collect();
    assert!(kinds.contains(&"answered") && kinds.contains(&"terminal"), "{kinds:?}");
    let end = told
        .iter()
        .find(|told| told["EventType"] == "terminal")
        .expect("the end");
    assert_eq!(
        [&end["Status"], &end["CustomField"], &end["To"]],
        ["completed", "order 8", "+919900054321"]
    );
    assert!(end["Legs"].is_array(), "{end}");
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_climb_the_ladder_and_are_verified_by_the_standards_own_library() {
    let world = world().await;
    let (address, seen) = start_receiver().await;
    let line = line_of(&world).await;
    let mut secrets = BTreeMap::new();
    for how in ["ok", "fail", "moved", "gone"] {
        let made = create(&world, &format!("http://{address}/{how}")).await;
        secrets.insert(how, made);
    }
    // Nobody listens there.
    let closed = create(&world, "http://127.0.0.1:9/x").await;
    let call = connect(&world, &[]).await;
    work_through(&world, &line).await;
    let counts = ["ok", "fail", "moved", "gone"].map(|how| count(&seen, how));
    assert_eq!(
        counts,
        [1, 10, 10, 1],
        "delivered, ten attempts, redirects are failures, gone is final"
    );
    let (_, listed) = world
        .send(Method::GET, "/v1/accounts/acme/webhooks", Some(&world.acme), None)
        .await;
    let disabled = |id: &Value| {
        let all = listed["webhooks"].as_array().expect("endpoints").iter();
        let found = all
            .clone()
            .find(|endpoint| endpoint["id"] == *id)
            .expect("the endpoint");
        found["disabled_because"].as_str().map(ToOwned::to_owned)
    };
    assert_eq!(disabled(&secrets["ok"]["id"]), None);
    assert_eq!(disabled(&secrets["fail"]["id"]).as_deref(), Some("answered 500"));
    assert_eq!(disabled(&secrets["gone"]["id"]).as_deref(), Some("answered 410"));
    assert!(disabled(&closed["id"]).is_some());
    assert!(!listed.to_string().contains("whsec_"), "secrets are shown once");

    // Every delivery of one event bears one id, and the library of the standard accepts its signature at its time.
    let deliveries = seen.lock().expect("a lock").clone();
    let cases: Vec<Value> = deliveries
        .iter()
        .map(
            |(how, headers, body)| json!({"secret": secrets[how.as_str()]["secret"], "headers": headers, "body": body}),
        )
        .collect();
    let script = "import json, sys, standardwebhooks.webhooks as w\n\
                  from datetime import timedelta\n\
                  w.Webhook._Webhook__verify_timestamp = lambda self, t: w.datetime.fromtimestamp(float(t), tz=w.timezone.utc)\n\
                  seen = [w.Webhook(c['secret']).verify(c['body'], c['headers']) for c in json.load(sys.stdin)]\n\
                  print(json.dumps(seen))";
    let ran = tokio::task::spawn_blocking(move || {
        use std::io::Write as _;
        let mut child = std::process::Command::new(python())
            .args(["-c", script])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("Python");
        let input = serde_json::to_vec(&cases).expect("JSON");
        child.stdin.take().expect("stdin").write_all(&input).expect("written");
        child.wait_with_output().expect("an end")
    })
    .await
    .expect("ran");
    assert!(ran.status.success(), "a signature is refused");
    let events: Vec<Value> = serde_json::from_slice(&ran.stdout).expect("JSON");
    assert_eq!(events.len(), 22);
    assert!(
        events
            .iter()
            .all(|event| event["type"] == "call.ended" && event["data"]["sid"] == call.as_str())
    );
    let ids: std::collections::BTreeSet<_> = deliveries.iter().map(|seen| &seen.1["webhook-id"]).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");

    // What happens while an endpoint is disabled waits for the replay, and does not change why it is.
    let second = connect(&world, &[]).await;
    line.work().await;
    let (_, listed) = world
        .send(Method::GET, "/v1/accounts/acme/webhooks", Some(&world.acme), None)
        .await;
    assert!(listed.to_string().contains("answered 410"), "{listed}");
    // What was given up is told again once it is asked for.
    let id = secrets["fail"]["id"].as_str().expect("an id");
    let path = format!("/v1/accounts/acme/webhooks/{id}/replay?since=2026-11-23");
    let (status, replayed) = world.send(Method::POST, &path, Some(&world.acme), None).await;
    assert_eq!((status, &replayed["events"]), (StatusCode::OK, &json!(2)));
    line.work().await;
    assert_eq!(count(&seen, "fail"), 12);
    assert!(
        seen.lock()
            .expect("a lock")
            .iter()
            .any(|seen| seen.0 == "fail" && seen.2.contains(&second))
    );
    let (_, log) = world
        .send(
            Method::GET,
            "/v1/accounts/acme/logs/webhook_delivery?limit=1000",
            Some(&world.acme_officer),
            None,
        )
        .await;
    let outcomes = |wanted: &str| {
        let all = log["entries"].as_array().expect("entries").iter();
        all.filter(|entry| entry["detail"]["outcome"] == wanted).count()
    };
    assert_eq!(
        (outcomes("delivered"), outcomes("given_up")),
        (2, 8),
        "every attempt is in the log"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_receiver_delays_nobody_and_private_targets_are_refused() {
    let world = world().await;
    let (address, seen) = start_receiver().await;
    let line = Arc::new(line_of(&world).await);
    create(&world, &format!("http://{address}/slow")).await;
    // Receivers share lanes by chance; one of three has another lane than the slow one.
    let good = ["ok", "ok-too", "ok-also"];
    for how in good {
        create(&world, &format!("http://{address}/{how}")).await;
    }
    let most = || good.map(|how| count(&seen, how)).into_iter().max().unwrap_or(0);
    for _ in 0..12 {
        connect(&world, &[]).await;
    }
    let working = tokio::spawn({
        let line = Arc::clone(&line);
        async move { line.work().await }
    });
    let all_told = async {
        while most() < 12 || count(&seen, "slow") == 0 {
            tokio::task::yield_now().await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(14), all_told).await;
    assert!(in_time.is_ok(), "the good receivers wait for the slow one: {}", most());
    assert!(!working.is_finished(), "the slow one is still waited for");
    working.abort();

    // The door's own line refuses this machine, whatever the address is called.
    let vault = world.site.open_vault("in").await.expect("a vault");
    let strict = Line::new(
        Arc::clone(&vault),
        Arc::new(Loopback::default()),
        Arc::new(HttpCourier::new(false).expect("a courier")),
    );
    let port = address.port();
    let before = seen.lock().expect("a lock").len();
    let named = connect(&world, &[("StatusCallback", &format!("http://localhost:{port}/ok"))]).await;
    let account = vault.get_account(&sid("acme")).await.expect("an account");
    for endpoint in strict.list_endpoints(&account).await.expect("endpoints") {
        strict.delete_endpoint(&account, &endpoint.id).await.expect("removed");
    }
    world
        .clock
        .advance_to(TimeUs::parse(NOW).expect("a time").plus_seconds(120));
    strict.work().await;
    assert_eq!(seen.lock().expect("a lock").len(), before);
    let (_, log) = world
        .send(
            Method::GET,
            "/v1/accounts/acme/logs/webhook_delivery?limit=1000",
            Some(&world.acme_officer),
            None,
        )
        .await;
    let refused = log["entries"].as_array().expect("entries").iter();
    let refused = refused.filter(|entry| {
        let detail = &entry["detail"];
        detail["outcome"] == "given_up" && detail["answer"].as_str().is_some_and(|text| text.contains("private"))
    });
    let refused: Vec<_> = refused.collect();
    assert!(
        refused
            .iter()
            .any(|entry| entry["detail"]["id"].as_str().is_some_and(|id| id.contains(&named))),
        "{log}"
    );
}
