//! `serve`: HTTPS with a token, an orderly end, and a log that holds nothing.

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use callvault_server::demo::generate::tones;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::running::{CALLER, EMBEDDED, PASSPHRASE, Place, Running, noon};

/// A client of one door.
pub(crate) struct Client {
    pub(crate) base: String,
    pub(crate) http: reqwest::Client,
    pub(crate) runtime: tokio::runtime::Runtime,
}

impl Client {
    /// For the door that `serve` or `demo` says is open: it trusts that door's certificate alone.
    pub(crate) fn new(folder: &Path, door: &Value) -> Self {
        // Another test of this process may have chosen it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let pem = folder.join(door["certificate"].as_str().expect("a path"));
        let pem = std::fs::read(pem).expect("a certificate");
        let http = reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(&pem).expect("PEM")])
            .build()
            .expect("a client");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Self {
            base: format!("https://{}", door["address"].as_str().expect("an address")),
            http,
            runtime: runtime.expect("a runtime"),
        }
    }

    pub(crate) fn of(running: &Running, door: usize) -> Self {
        Self::new(&running.folder, &running.first["doors"][door])
    }

    /// Sends a request as the holder of this token, which is JSON with `key` and `secret`.
    pub(crate) fn send(
        &self,
        method: Method,
        path: &str,
        token: &Value,
        body: Option<(&str, Vec<u8>)>,
    ) -> (StatusCode, Value) {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let (Some(key), Some(secret)) = (token["key"].as_str(), token["secret"].as_str()) {
            request = request.basic_auth(key, Some(secret));
        }
        if let Some((kind, body)) = body {
            request = request.header("content-type", kind).body(body);
        }
        self.runtime.block_on(async {
            let answer = request.send().await.expect("an answer");
            let status = answer.status();
            let text = answer.text().await.expect("a body");
            (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
        })
    }

    pub(crate) fn get(&self, path: &str, token: &Value) -> Value {
        let (status, answer) = self.send(Method::GET, path, token, None);
        assert_eq!(status, StatusCode::OK, "{path} {answer}");
        answer
    }
}

#[test]
fn it_serves_https_to_token_holders_until_it_is_told_to_stop() {
    let place = Place::new(EMBEDDED);
    let calls = place.prepare();
    let token = place.json(&["tokens", "create", "acme"]);
    let running = place.start(&["serve"]);
    let client = Client::of(&running, 0);
    assert_eq!(running.first["doors"][0]["self_signed"], true);
    let page = client.get("/v1/accounts/acme/records/calls?limit=3", &token);
    assert_eq!(page["calls"][0]["sid"], calls[9].as_str(), "{page}");
    // A day is a time for the API as it is for the command line.
    let day = noon().day().to_string();
    assert_eq!(
        client.get(&format!("/v1/accounts/acme/records/calls?from={day}"), &token)["calls"]
            .as_array()
            .map(Vec::len),
        Some(10)
    );
    let (status, _) = client.send(Method::GET, "/v1/accounts/acme/records/calls", &Value::Null, None);
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    // The command line works on the same folder meanwhile; a revoked token ends at once.
    place.json(&["tokens", "revoke", "acme", token["key"].as_str().expect("a key")]);
    let (status, _) = client.send(Method::GET, "/v1/accounts/acme/records/calls", &token, None);
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let ended = running.stop();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(
        ended
            .err
            .lines()
            .all(|line| serde_json::from_str::<Value>(line).is_ok()),
        "{ended:?}"
    );
}

/// The needles that are in the text, whatever their spelling.
fn find<'n>(text: &str, needles: &'n [(&str, String)]) -> Vec<&'n str> {
    let text = text.to_lowercase();
    needles
        .iter()
        .filter(|(_, needle)| text.contains(&needle.to_lowercase()))
        .map(|(name, _)| *name)
        .collect()
}

#[test]
fn the_most_talkative_log_holds_nothing() {
    const TEXT: &str = "Quillfeather will meet Brambleby at noon";
    const WRONG: &str = "0123456789abcdeffedcba98765432100123456789abcdeffedcba9876543210";
    let place = Place::new(EMBEDDED).with("CALLVAULT_LOG", "trace");
    let calls = place.prepare();
    let token = place.json(&["tokens", "create", "acme", "--role", "compliance"]);
    let running = place.start(&["serve"]);
    let client = Client::of(&running, 0);
    let send = |path: &str, kind: &str, body: Vec<u8>| {
        client
            .send(
                Method::POST,
                &format!("/v1/accounts/acme{path}"),
                &token,
                Some((kind, body)),
            )
            .0
    };
    let message = json!({
        "class": "message", "at": noon().to_string(), "source_id": "quill-1", "direction": "outbound-api",
        "from": "vm-test", "to": "+919900077777", "status": "sent", "body": TEXT,
    });
    assert_eq!(
        send("/records", "application/json", message.to_string().into_bytes()),
        StatusCode::OK
    );
    for bad in [
        "{\"class\":\"call\",\"from\":\"+919900088888\"",
        "{\"class\":\"call\",\"from\":\"+919900088888\"}",
        "[7]",
    ] {
        assert!(send("/records", "application/json", bad.as_bytes().to_vec()).is_client_error());
    }
    let bulk = format!("{}\n{{\"from\":\"+919900088888\"}}\n", message);
    assert_eq!(
        send("/records/bulk?class=message", "application/x-ndjson", bulk.into_bytes()),
        StatusCode::OK
    );
    let recording = format!(
        "/records/recordings?call_sid={}&consent=attested&consent_by=Quillfeather",
        calls[0]
    );
    assert_eq!(send(&recording, "audio/wav", tones(1, 1)), StatusCode::CREATED);
    assert_eq!(
        send(&recording, "audio/wav", TEXT.as_bytes().to_vec()),
        StatusCode::UNPROCESSABLE_ENTITY
    );
    let hold = json!({"number": CALLER, "matter": TEXT, "reason": TEXT, "review_at": "2099-01-01"});
    assert_eq!(
        send("/holds", "application/json", hold.to_string().into_bytes()),
        StatusCode::CREATED
    );
    assert_eq!(
        send("/holds", "application/json", TEXT.as_bytes().to_vec()),
        StatusCode::BAD_REQUEST
    );
    client.get("/v1/accounts/acme/records/calls?number=9900011111", &token);
    for path in [
        "records/calls?number=+9199000888889x",
        "records/calls/9900011111",
        "calls/9900011111",
        "9900011111",
        "records/calls?quillfeather=9900011111",
    ] {
        let (status, _) = client.send(Method::GET, &format!("/v1/accounts/acme/{path}"), &token, None);
        assert!(status.is_client_error(), "{path}");
    }
    let wrong = json!({"key": token["key"], "secret": WRONG});
    let (status, _) = client.send(Method::GET, "/v1/accounts/acme/records/calls", &wrong, None);
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let metrics = client.get("/metrics", &Value::Null);
    let metrics = metrics.as_str().expect("text").to_owned();
    let ended = running.stop();
    assert_eq!(ended.code, 0);

    let part = |name: &str| token[name].as_str().expect("text").to_owned();
    let basic = |secret: &str| STANDARD.encode(format!("{}:{secret}", part("key")));
    let needles = [
        ("caller", "9900011111".to_owned()),
        ("party", "9900077777".to_owned()),
        ("bad party", "99000888".to_owned()),
        ("text", "quillfeather".to_owned()),
        ("source id", "quill-1".to_owned()),
        ("secret", part("secret")),
        ("wrong secret", WRONG.to_owned()),
        ("credentials", basic(&part("secret"))),
        ("wrong credentials", basic(WRONG)),
        ("passphrase", PASSPHRASE.to_owned()),
    ];
    let all = format!("{}\n{}\n{metrics}", ended.out, ended.err);
    let lines = |needle: &str| -> Vec<&str> {
        all.lines()
            .filter(|line| line.to_lowercase().contains(needle))
            .collect()
    };
    assert_eq!(find(&all, &needles), Vec::<&str>::new(), "{:?}", lines("quillfeather"));
    // The search finds what is there: what was logged, and each needle once it is planted.
    assert!(
        ended.err.contains("\"TRACE\"") || ended.err.contains("\"DEBUG\""),
        "the log is talkative"
    );
    assert_eq!(
        find(&all, &[("route", "/v1/accounts/{account}/records".to_owned())]),
        ["route"]
    );
    for (name, needle) in &needles {
        assert_eq!(
            find(&format!("{all} {{\"x\":\"+91{needle}\"}}"), &needles).first(),
            Some(name),
            "{name}"
        );
    }
}
