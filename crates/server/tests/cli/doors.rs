//! Certificates while they are served, and plain HTTP beside them.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::Value;

use crate::running::{Place, Running};

const CONFIG: &str = "data_dir = \"vault\"\nmetrics = true\n[regions.in]\nlisten = \"127.0.0.1:0\"\n\
                      url = \"https://vault.example.in\"\nhttp = \"127.0.0.1:0\"\ntls_cert = \"door.crt\"\ntls_key = \"door.key\"\n";

/// A self-signed certificate for this machine with so many days left, and its key.
fn make(days: i64) -> (String, String) {
    use callvault_app::Clock as _;
    let mut params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("names");
    let end = callvault_server::clock::SystemClock.now().plus_days(days).to_string();
    let part = |from: usize, to: usize| end[from..to].parse::<u16>().expect("a date");
    let small = |from: usize, to: usize| u8::try_from(part(from, to)).expect("a date");
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(i32::from(part(0, 4)), small(5, 7), small(8, 10));
    let key = rcgen::KeyPair::generate().expect("a key");
    let cert = params.self_signed(&key).expect("a certificate");
    (cert.pem(), key.serialize_pem())
}

/// The blocking way to ask: a connection of its own that trusts this certificate alone.
pub(crate) fn ask(url: &str, trusted: &str, most: Option<reqwest::tls::Version>) -> Result<String, String> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(10))
        .tls_certs_only([reqwest::Certificate::from_pem(trusted.as_bytes()).expect("PEM")]);
    if let Some(most) = most {
        client = client.tls_version_max(most);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let client = client.build().map_err(|error| error.to_string())?;
        let answer = client.get(url).send().await.map_err(|error| error.to_string())?;
        answer.text().await.map_err(|error| error.to_string())
    })
}

pub(crate) fn base(running: &Running) -> String {
    let address = running.first["doors"][0]["address"].as_str().expect("an address");
    format!("https://{address}")
}

/// Tries until it is so, half a minute at most.
#[expect(clippy::disallowed_methods, reason = "the test waits for another process")]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..300 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("never: {what}");
}

#[test]
fn a_changed_certificate_is_served_and_a_broken_one_is_not() {
    let place = Place::new(CONFIG);
    let (first, second) = (make(40), make(20));
    let put = |cert: &str, key: &str| {
        place.write("door.key", key);
        place.write("door.crt", cert);
    };
    put(&first.0, &first.1);
    let running = place.start(&["serve"]);
    let base = base(&running);
    let is_served = |trusted: &str| ask(&format!("{base}/health"), trusted, None).is_ok();
    let metric = |trusted: &str, name: &str| {
        let text = ask(&format!("{base}/metrics"), trusted, None).expect("metrics");
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("callvault_{name}{{")));
        line.and_then(|line| line.rsplit(' ').next())
            .and_then(|text| text.parse::<i64>().ok())
    };
    assert!(is_served(&first.0) && !is_served(&second.0));
    let left = metric(&first.0, "tls_days_left").expect("days");
    assert!((38..=40).contains(&left), "{left}");
    put(&second.0, &second.1);
    running.signal("HUP");
    until("the second one is served", || is_served(&second.0));
    assert!(!is_served(&first.0));
    let left = metric(&second.0, "tls_days_left").expect("days");
    assert!((18..=20).contains(&left), "{left}");
    // Neither another's key nor half a file is served, and nobody is turned away for it.
    for (broken, failures) in [(&first.0[..], 1), (&first.0[..200], 2)] {
        place.write("door.crt", broken);
        running.signal("HUP");
        until("it is told of", || {
            metric(&second.0, "tls_reload_failures_total") == Some(failures)
        });
        assert!(is_served(&second.0));
    }
    assert!(place.fails(1, &["doctor"]).contains("not as it should be"));
    put(&second.0, &second.1);
    let soon = make(5);
    put(&soon.0, &soon.1);
    running.signal("HUP");
    until("the last one is served", || is_served(&soon.0));
    let findings = place.json(&["doctor"]);
    let findings = findings["regions"][0]["findings"].as_array().expect("findings").clone();
    let of = findings
        .iter()
        .find(|finding| finding["check"] == "certificate")
        .expect("a finding");
    assert_eq!(of["severity"], "warning", "{of}");
    let ended = running.stop();
    let told = ended.err.matches("cannot be served; the one before still is").count();
    assert_eq!((ended.code, told), (0, 2), "{ended:?}");
}

#[test]
fn older_tls_is_refused() {
    let place = Place::new(CONFIG);
    let (cert, key) = make(40);
    place.write("door.key", &key);
    place.write("door.crt", &cert);
    let running = place.start(&["serve"]);
    let base = base(&running);
    for version in [reqwest::tls::Version::TLS_1_2, reqwest::tls::Version::TLS_1_3] {
        assert!(
            ask(&format!("{base}/health"), &cert, Some(version)).is_ok(),
            "{version:?}"
        );
    }
    let address: SocketAddr = base.trim_start_matches("https://").parse().expect("an address");
    // TLS 1.0, 1.1 and 1.2, as a client says hello that knows nothing newer; suites that all of them have.
    for (minor, refused) in [(1, true), (2, true), (3, false)] {
        let mut hello = vec![3, minor];
        hello.extend([7; 32]);
        hello.extend([0, 0, 6, 0xc0, 0x2b, 0xc0, 0x2f, 0xc0, 0x14, 1, 0]);
        // Groups and signatures, without which TLS 1.2 is no use here.
        let extensions = [0, 10, 0, 4, 0, 2, 0, 23, 0, 13, 0, 4, 0, 2, 4, 3];
        hello.extend([0, u8::try_from(extensions.len()).expect("short")]);
        hello.extend(extensions);
        let length = u8::try_from(hello.len()).expect("short");
        let mut record = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
        record.extend(hello);
        let mut socket = TcpStream::connect(address).expect("a connection");
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit");
        socket.write_all(&record).expect("sent");
        let mut answer = [0; 7];
        socket.read_exact(&mut answer).expect("an answer");
        // An alert is record 21; 70 is protocol_version.
        let alert = answer[0] == 21 && answer[6] == 70;
        assert_eq!(alert, refused, "TLS 1.{}: {answer:?}", minor - 1);
    }
    running.stop();
}

/// What plain HTTP answers to these bytes.
fn plain(address: &str, said: &str) -> String {
    let mut socket = TcpStream::connect(address).expect("a connection");
    socket.set_read_timeout(Some(Duration::from_secs(15))).expect("a limit");
    socket.write_all(said.as_bytes()).expect("sent");
    let mut answer = Vec::new();
    // A reset after the answer is an end too.
    let _ = socket.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn plain_http_only_shows_the_way() {
    let place = Place::new(CONFIG);
    place.prepare();
    let token: Value = place.json(&["tokens", "create", "acme"]);
    let (cert, key) = make(40);
    place.write("door.key", &key);
    place.write("door.crt", &cert);
    let running = place.start(&["serve"]);
    let http = running.first["doors"][0]["http"]
        .as_str()
        .expect("an address")
        .to_owned();
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let text = |name: &str| token[name].as_str().expect("a token");
    let basic = STANDARD.encode(format!("{}:{}", text("key"), text("secret")));
    for (line, place) in [
        ("GET / HTTP/1.1", "/"),
        (
            "GET /v1/accounts/acme/records/calls?limit=3 HTTP/1.1",
            "/v1/accounts/acme/records/calls?limit=3",
        ),
        ("POST /v1/accounts/acme/records HTTP/1.1", "/v1/accounts/acme/records"),
        ("DELETE /anything HTTP/1.1", "/anything"),
        ("GET //evil.example/x HTTP/1.1", "//evil.example/x"),
        ("GET http://evil.example/x HTTP/1.1", "/x"),
    ] {
        let said = format!("{line}\r\nhost: evil.example\r\nauthorization: Basic {basic}\r\ncontent-length: 0\r\n\r\n");
        let answer = plain(&http, &said).to_ascii_lowercase();
        assert!(answer.starts_with("http/1.1 308 "), "{line}: {answer}");
        assert!(
            answer.contains(&format!("\r\nlocation: https://vault.example.in{place}\r\n")),
            "{line}: {answer}"
        );
        assert!(answer.ends_with("\r\n\r\n"), "no body: {answer}");
        assert!(
            !answer.contains("cookie") && !answer.contains("strict-transport"),
            "{answer}"
        );
    }
    let challenge = plain(&http, "GET /.well-known/acme-challenge/abc HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!(challenge.starts_with("HTTP/1.1 404 "), "{challenge}");
    let long = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(5_000));
    assert!(plain(&http, &long).starts_with("HTTP/1.1 414 "));
    let longer = format!("GET / HTTP/1.1\r\nhost: x\r\nx-a: {}\r\n\r\n", "a".repeat(60_000));
    assert!(!plain(&http, &longer).contains(" 308 "));
    running.stop();
}
