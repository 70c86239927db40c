//! What the API refuses, and that each refusal names the field and changes nothing.

use callvault_app::core::TimeUs;
use callvault_server::demo::generate::tones;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{CALLER, NOW, World, call, world};

fn now() -> TimeUs {
    TimeUs::parse(NOW).expect("a time")
}

impl World {
    async fn post_text(&self, path: &str, kind: &str, body: Vec<u8>) -> (StatusCode, Value) {
        let request = self.client.post(self.url(&format!("/v1/accounts/acme/{path}")));
        let request = request.basic_auth(&self.acme_officer.token_key, Some(&self.acme_officer.secret));
        let answer = request
            .header("content-type", kind)
            .body(body)
            .send()
            .await
            .expect("an answer");
        let status = answer.status();
        (status, answer.json().await.unwrap_or_default())
    }

    async fn as_officer(&self, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        let path = format!("/v1/accounts/acme/{path}");
        self.send(method, &path, Some(&self.acme_officer), Some(body)).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_agrees_with_its_call() {
    let world = world().await;
    let sid = world.call(30).await;
    let began = now().plus_seconds(-60 * 30);
    let store = |query: String| {
        let path = format!("records/recordings?call_sid={sid}&consent=announced{query}");
        let world = &world;
        async move { world.post_text(&path, "audio/wav", tones(1, 1)).await }
    };
    for (query, field) in [
        (format!("&at={}", began.plus_days(-1)), "at"),
        (format!("&at={}", began.plus_seconds(3_600)), "at"),
        ("&from=%2B919900022222".to_owned(), "from"),
        ("&to=9900011111".to_owned(), "to"),
    ] {
        let (status, answer) = store(query.clone()).await;
        assert_eq!(
            (status, answer["field"].as_str()),
            (StatusCode::UNPROCESSABLE_ENTITY, Some(field)),
            "{query} {answer}"
        );
    }
    let (_, none) = world.get("/v1/accounts/acme/records/recordings").await;
    assert_eq!(none["recordings"].as_array().map(Vec::len), Some(0), "{none}");
    // What agrees is stored, in any spelling; so is a recording that begins during its call.
    let (status, answer) = store(format!("&at={}&from=9900011111", began.plus_seconds(20))).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    // Of a call that the vault does not know, everything is needed.
    let unknown = "records/recordings?consent=announced&at=2026-11-23T10:00:00Z&from=9900011111";
    let (_, answer) = world.post_text(unknown, "audio/wav", tones(1, 1)).await;
    assert_eq!(answer["field"], "to", "{answer}");
    world.serving.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_record_of_the_same_id_is_refused() {
    let world = world().await;
    let mut record = call(now().plus_seconds(-60), 1);
    record["team"] = json!({"name": "sales", "floor": 2});
    let mut other = record.clone();
    other["duration_s"] = json!(61);
    let records = "/v1/accounts/acme/records";
    // In one request, with what is loose, and with what is sealed.
    let (status, answer) = world.post(records, json!([record, record, other])).await;
    let outcome = |n: usize| answer["records"][n]["outcome"].as_str();
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
    assert_eq!(
        [outcome(0), outcome(1), outcome(2)],
        [Some("new"), Some("known"), Some("rejected")],
        "{answer}"
    );
    for sealed in [false, true] {
        if sealed {
            world.clock.advance_to(now().plus_days(3));
            let report = world.site.open_vault("in").await.expect("a vault").tick().await;
            assert_eq!(
                (report.sealed, report.failures.len()),
                (2, 0),
                "calls and accesses: {report:?}"
            );
        }
        let (status, answer) = world.post(records, record.clone()).await;
        assert_eq!(
            (status, answer["records"][0]["outcome"].as_str()),
            (StatusCode::OK, Some("known")),
            "{answer}"
        );
        // Other order of keys, same content.
        let text = record
            .to_string()
            .replace("{\"floor\":2,\"name\":\"sales\"}", "{\"name\":\"sales\",\n\"floor\":2}");
        let (_, answer) = world.post_text("records", "application/json", text.into_bytes()).await;
        assert_eq!(answer["records"][0]["outcome"], "known", "{answer}");
        let (status, answer) = world.post(records, other.clone()).await;
        let refused = &answer["records"][0];
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
        assert_eq!(
            (&refused["code"], &refused["field"]),
            (&"duplicate-id".into(), &"source_id".into()),
            "{answer}"
        );
        let lines = format!("{record}\n{other}\n");
        let (_, answer) = world
            .post_text("records/bulk?class=call", "application/x-ndjson", lines.into_bytes())
            .await;
        assert_eq!(
            (&answer["known"], &answer["rejects"][0]["code"]),
            (&1.into(), &"duplicate-id".into()),
            "{answer}"
        );
    }
    let (_, page) = world.get("/v1/accounts/acme/records/calls").await;
    assert_eq!(page["calls"][0]["duration_s"], 60, "the first one stays: {page}");
    // A key that is said twice is refused, and the record beside it is stored.
    let good = call(now().plus_seconds(-120), 2).to_string();
    let twice = good.replacen("\"status\"", "\"status\":\"busy\",\"status\"", 1);
    let (status, answer) = world
        .post_text("records", "application/json", format!("[{twice},{good}]").into_bytes())
        .await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
    assert_eq!(
        (&answer["records"][0]["code"], &answer["records"][1]["outcome"]),
        (&"duplicate-key".into(), &"new".into()),
        "{answer}"
    );
    world.serving.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_objects_of_the_right_shape_and_size() {
    let world = world().await;
    let hold = json!({"number": CALLER, "matter": "M", "reason": "R", "review_at": "2027-01-01"});
    for (method, path, body, field) in [
        (Method::PUT, "retention", json!([90]), "body"),
        (
            Method::PUT,
            "retention",
            json!({"recording_days": "90"}),
            "recording_days",
        ),
        (
            Method::PUT,
            "retention",
            json!({"recording_days": 365}),
            "recording_days",
        ),
        (Method::PUT, "retention", json!({"recording_days": 0}), "recording_days"),
        (Method::PUT, "retention", json!({"days": 90}), "days"),
        (Method::PUT, "retention", json!({}), "recording_days"),
        (
            Method::POST,
            "holds",
            json!([null, CALLER, null, null, null, "M", "R", "2027-01-01"]),
            "body",
        ),
        (Method::POST, "holds", json!({"number": CALLER}), "matter"),
    ] {
        let (status, answer) = world.as_officer(method, path, body.clone()).await;
        assert_eq!(
            (status, answer["field"].as_str()),
            (StatusCode::UNPROCESSABLE_ENTITY, Some(field)),
            "{path} {body} {answer}"
        );
    }
    let (_, kept) = world.get("/v1/accounts/acme/retention").await;
    assert_eq!(kept["recording_days"], 90, "{kept}");
    let (_, preview) = world
        .get("/v1/accounts/acme/retention/preview?recording_days=365")
        .await;
    assert_eq!(preview["field"], "recording_days", "{preview}");
    let (status, _) = world.as_officer(Method::POST, "holds", hold).await;
    assert_eq!(status, StatusCode::CREATED, "a day is a moment");

    let long = |bytes: usize| format!("{{\"x\":\"{}\"}}", "a".repeat(bytes)).into_bytes();
    for (method, path, bytes) in [
        (Method::PUT, "retention", 1 << 20),
        (Method::POST, "holds", 1 << 20),
        (Method::POST, "records", 16 << 20),
    ] {
        let request = world
            .client
            .request(method, world.url(&format!("/v1/accounts/acme/{path}")));
        let request = request.basic_auth(&world.acme_officer.token_key, Some(&world.acme_officer.secret));
        let answer = request
            .header("content-type", "application/json")
            .body(long(bytes))
            .send()
            .await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE, "{path}");
        let answer: Value = answer.json().await.expect("JSON");
        assert_eq!(answer["type"], "/problems/body-too-large", "{path} {answer}");
    }
    world.serving.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn holds_cover_what_is_there_and_show_it() {
    let world = world().await;
    let sid = world.call(5).await;
    world.call(90).await;
    let place = |target: Value| {
        let mut body = json!({"matter": "M", "reason": "R", "review_at": "2027-01-01"});
        body.as_object_mut()
            .expect("an object")
            .extend(target.as_object().expect("an object").clone());
        let world = &world;
        async move { world.as_officer(Method::POST, "holds", body).await }
    };
    let unknown = callvault_app::core::Sid::new(now(), [7; 10]).to_string();
    for (target, field) in [
        (json!({"sids": [sid, unknown]}), "sids"),
        (json!({"sids": []}), "sids"),
        (json!({"number": ""}), "number"),
        (json!({"number": "anonymous"}), "number"),
        (json!({"number": "abc"}), "number"),
        (json!({"number": CALLER, "sids": [sid]}), "sids"),
        (json!({"from": "2026-01-02", "to": "2026-01-01"}), "to"),
        (
            json!({"from": "2026-01-01", "to": "2026-01-02", "class": "calls"}),
            "class",
        ),
    ] {
        let (status, answer) = place(target.clone()).await;
        assert_eq!(
            (status, answer["field"].as_str()),
            (StatusCode::UNPROCESSABLE_ENTITY, Some(field)),
            "{target} {answer}"
        );
    }
    // A name that a record has may be held, and a number that nobody has called yet.
    let mut named = call(now().plus_seconds(-30), 9);
    named["to"] = json!("agent-7");
    world.post("/v1/accounts/acme/records", named).await;
    for target in [
        json!({"number": CALLER}),
        json!({"number": "+919900099999"}),
        json!({"number": "Agent-7"}),
        json!({"from": "2026-11-23", "to": "2026-11-23T11:00:00Z", "class": "call"}),
        json!({"from": "2026-11-23", "to": "2026-11-24"}),
    ] {
        let (status, answer) = place(target.clone()).await;
        assert_eq!(status, StatusCode::CREATED, "{target} {answer}");
    }
    let list = async || {
        let answer = world.as_officer(Method::GET, "holds", Value::Null).await.1;
        let holds = answer["holds"].as_array().expect("holds").clone();
        let numbers = |hold: &Value| {
            let block = &hold["blocks"][0];
            (block["records"].as_u64(), block["past_term"].as_u64())
        };
        (holds.iter().map(numbers).collect::<Vec<_>>(), answer)
    };
    let (blocks, answer) = list().await;
    let of = |records, past_term| (Some(records), Some(past_term));
    assert_eq!(
        blocks,
        [of(3, 0), (None, None), of(1, 0), of(1, 0), of(3, 0)],
        "{answer}"
    );
    // The number is for the compliance role; the account sees that there is a hold.
    assert_eq!(answer["holds"][0]["scope"]["number"], CALLER, "{answer}");
    let (_, seen) = world.get("/v1/accounts/acme/holds").await;
    assert_eq!(
        (&seen["holds"][0]["scope"]["number"], &seen["holds"][0]["blocks"]),
        (&Value::Null, &answer["holds"][0]["blocks"])
    );
    assert!(!seen.to_string().contains("9900011111"), "{seen}");
    // Its term over, a record is there for the hold alone.
    world
        .clock
        .advance_to(TimeUs::parse("2027-11-23T11:00:00Z").expect("a time"));
    let (blocks, answer) = list().await;
    assert_eq!(
        blocks,
        [of(3, 1), (None, None), of(1, 0), of(1, 1), of(3, 1)],
        "{answer}"
    );
    world.serving.close().await;
}

/// Sends this over TLS and no more, and reads until the door closes the connection.
fn stall(address: std::net::SocketAddr, cert_pem: &[u8], said: &[u8]) -> Vec<u8> {
    use rustls::pki_types::pem::PemObject as _;
    use std::io::{Read as _, Write as _};
    let mut roots = rustls::RootCertStore::empty();
    let cert = rustls::pki_types::CertificateDer::from_pem_slice(cert_pem).expect("PEM");
    roots.add(cert).expect("a root");
    let config = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "localhost".try_into().expect("a name");
    let connection = rustls::ClientConnection::new(std::sync::Arc::new(config), name).expect("TLS");
    let socket = std::net::TcpStream::connect(address).expect("a connection");
    let most = std::time::Duration::from_secs(50);
    socket.set_read_timeout(Some(most)).expect("a limit");
    let mut stream = rustls::StreamOwned::new(connection, socket);
    stream.write_all(said).expect("sent");
    let mut answer = Vec::new();
    let ended = stream.read_to_end(&mut answer).map_err(|error| error.kind());
    // A close without TLS's own goodbye is a close.
    let closed = ended.is_ok() || ended == Err(std::io::ErrorKind::UnexpectedEof);
    assert!(closed, "it is still open: {ended:?}");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_that_stall_are_let_go() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let world = world().await;
    let address = world.serving.doors[0].address;
    let pem = std::fs::read(&world.serving.doors[0].cert_file).expect("a certificate");
    let basic = STANDARD.encode(format!("{}:{}", world.acme.token_key, world.acme.secret));
    let post = |path: &str, kind: &str, length: u64, begun: &str| {
        format!(
            "POST /v1/accounts/acme/{path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Basic {basic}\r\n\
             content-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{begun}"
        )
    };
    let bulk = call(now(), 1).to_string() + "\n{";
    let recording =
        "records/recordings?consent=announced&at=2026-11-23T11:00:00Z&from=%2B919900011111&to=%2B919900000001";
    let cases = [
        ("GET /health HTTP/1.1\r\nhost:".to_owned(), ""),
        (post("records", "application/json", 9, "["), "body-cut"),
        (
            post("records/bulk?class=call", "application/x-ndjson", 999, &bulk),
            "body-cut",
        ),
        (post(recording, "audio/wav", 90_000, "RIFF"), "body-cut"),
        // Too long by its own word: refused before any of it comes.
        (post(recording, "audio/wav", 1 << 40, ""), "too-large"),
    ];
    let answers = cases.map(|(said, code)| {
        let pem = pem.clone();
        tokio::task::spawn_blocking(move || (stall(address, &pem, said.as_bytes()), said, code))
    });
    for answer in answers {
        let (answer, said, code) = answer.await.expect("an end");
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.contains(code), "{said}: {answer}");
    }
    let (status, listed) = world.get("/v1/accounts/acme/records/calls").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        listed["calls"].as_array().map(Vec::len),
        Some(1),
        "the whole line of the bulk is kept: {listed}"
    );
}
