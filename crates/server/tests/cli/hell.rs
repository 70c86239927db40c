//! Receivers from hell, and a `serve` that is killed in the middle: what was not noted is told again, and nothing blocks
//! anything else.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    doors::until,
    running::{EMBEDDED, Place, Running},
    serving::Client,
};

/// What came: by path, the id of each delivery.
type Seen = Arc<Mutex<BTreeMap<String, Vec<String>>>>;
/// Who is killed by the next request for `/kill`.
type Victim = Arc<Mutex<Option<u32>>>;

fn kill(id: u32) {
    let told = Command::new("kill").args(["-KILL", &id.to_string()]).status();
    assert!(told.expect("kill runs").success());
}

fn receive(mut socket: TcpStream, seen: &Seen, victim: &Victim) {
    let mut reader = BufReader::new(socket.try_clone().expect("a socket"));
    let (mut path, mut id, mut length) = (String::new(), String::new(), 0);
    for n in 0.. {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
            break;
        }
        match line.split_once(": ") {
            Some(("webhook-id", value)) => value.trim().clone_into(&mut id),
            Some(("content-length", value)) => length = value.trim().parse().unwrap_or(0),
            _ if n == 0 => line.split(' ').nth(1).unwrap_or_default().clone_into(&mut path),
            _ => {}
        }
    }
    seen.lock().expect("a lock").entry(path.clone()).or_default().push(id);
    if path == "/early" {
        return;
    }
    let mut body = vec![0; length];
    let _ = reader.read_exact(&mut body);
    let answer = match path.as_str() {
        "/ok" | "/kill" => "204 No Content",
        "/moved" => "302 Found\r\nlocation: /ok",
        "/gone" => "410 Gone",
        "/slow" => {
            // Nothing, until the other side gives up.
            let _ = socket.read(&mut [0]);
            return;
        }
        _ => "500 Internal Server Error",
    };
    if path == "/kill"
        && let Some(id) = victim.lock().expect("a lock").take()
    {
        kill(id);
    }
    let _ = write!(
        socket,
        "HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
}

fn start_receiver() -> (u16, Seen, Victim) {
    let (seen, victim) = (Seen::default(), Victim::default());
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    let shared = (Arc::clone(&seen), Arc::clone(&victim));
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let (seen, victim) = (Arc::clone(&shared.0), Arc::clone(&shared.1));
            std::thread::spawn(move || receive(socket, &seen, &victim));
        }
    });
    (port, seen, victim)
}

/// A receiver whose certificate nobody issued: counts who said hello, and what they said after it.
fn start_untrusted() -> (u16, Arc<Mutex<(usize, usize)>>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("TLS");
    let config = Arc::new(config);
    let counts = Arc::new(Mutex::new((0, 0)));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    let shared = Arc::clone(&counts);
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            shared.lock().expect("a lock").0 += 1;
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).expect("TLS");
            let said = rustls::StreamOwned::new(connection, socket)
                .read(&mut [0; 64])
                .unwrap_or(0);
            shared.lock().expect("a lock").1 += said;
        }
    });
    (port, counts)
}

const FORM: &str = "application/x-www-form-urlencoded";

fn call(client: &Client, token: &Value) {
    let form = b"From=09900012345&To=09900054321&CallerId=08049501234".to_vec();
    let (status, answer) = client.send(
        Method::POST,
        "/v1/accounts/acme/calls/connect.json",
        token,
        Some((FORM, form)),
    );
    assert_eq!(status, StatusCode::OK, "{answer}");
}

fn message(client: &Client, token: &Value) {
    let form = b"From=VM-TEST&To=09900054321&Body=hello".to_vec();
    let (status, answer) = client.send(
        Method::POST,
        "/v1/accounts/acme/sms/send.json",
        token,
        Some((FORM, form)),
    );
    assert_eq!(status, StatusCode::OK, "{answer}");
}

fn create(client: &Client, token: &Value, url: &str, event: &str) -> String {
    let body = json!({ "url": url, "events": [event] }).to_string().into_bytes();
    let path = "/v1/accounts/acme/webhooks";
    let (status, made) = client.send(Method::POST, path, token, Some(("application/json", body)));
    assert_eq!(status, StatusCode::CREATED, "{made}");
    made["id"].as_str().expect("an id").to_owned()
}

/// The attempts at an endpoint that are in the log, oldest first.
fn attempts(client: &Client, token: &Value, endpoint: &str) -> Vec<String> {
    let log = client.get("/v1/accounts/acme/logs/webhook_delivery?limit=1000", token);
    let entries = log["entries"].as_array().expect("entries").iter().rev();
    let of = entries.filter(|entry| entry["detail"]["endpoint"] == endpoint);
    of.map(|entry| {
        format!(
            "{} {}",
            entry["detail"]["attempt"],
            entry["detail"]["outcome"].as_str().unwrap_or_default()
        )
    })
    .collect()
}

fn start(place: &Place, victim: &Victim) -> Running {
    let running = place.start(&["serve"]);
    *victim.lock().expect("a lock") = Some(running.id());
    running
}

#[test]
fn every_event_comes_as_often_as_the_ladder_says_in_spite_of_a_kill() {
    let place = Place::new(&format!("private_targets = true\n{EMBEDDED}"));
    place.prepare();
    let token = place.json(&["tokens", "create", "acme", "--role", "owner"]);
    let (port, seen, victim) = start_receiver();
    let (untrusted, hellos) = start_untrusted();
    let running = start(&place, &victim);
    let client = Client::of(&running, 0);
    let count = |path: &str| seen.lock().expect("a lock").get(path).map_or(0, Vec::len);
    let plain = |path: &str, event: &str| create(&client, &token, &format!("http://127.0.0.1:{port}/{path}"), event);
    let (ok, fail) = (plain("ok", "call.ended"), plain("fail", "call.ended"));
    let bad = [fail, plain("moved", "call.ended"), plain("early", "call.ended")];
    plain("slow", "call.ended");
    let killer = plain("kill", "message.ended");
    let wrong = create(
        &client,
        &token,
        &format!("https://localhost:{untrusted}/ok"),
        "call.ended",
    );
    call(&client, &token);
    // The ladder's first two rungs are five seconds apart, the third comes five minutes later.
    until("the second attempts are noted", || {
        let twice = |endpoint: &String| attempts(&client, &token, endpoint) == ["1 failed", "2 failed"];
        bad.iter().all(twice) && twice(&wrong)
    });
    assert_eq!(["/ok", "/fail", "/moved", "/early"].map(count), [1, 2, 2, 2]);
    assert_eq!(attempts(&client, &token, &ok), ["1 delivered"]);
    assert_eq!(*hellos.lock().expect("a lock"), (2, 0), "it is told nothing");
    // Killed after the receiver took it and before that was noted.
    message(&client, &token);
    until("it is killed", || victim.lock().expect("a lock").is_none());
    drop(running);
    let running = start(&place, &victim);
    victim.lock().expect("a lock").take();
    let client = Client::of(&running, 0);
    // What the dead one holds delays nothing else.
    call(&client, &token);
    until("another event comes at once", || count("/ok") == 2);
    for _ in 0..3 {
        if count("/kill") < 2 {
            patient(|| count("/kill") == 2);
        }
    }
    until("the second delivery is noted", || {
        attempts(&client, &token, &killer) == ["2 delivered"]
    });
    let ids = seen.lock().expect("a lock")["/kill"].clone();
    assert!(
        ids.len() == 2 && ids[0] == ids[1] && !ids[0].is_empty(),
        "one event, one id: {ids:?}"
    );
    assert_eq!(
        ["/fail", "/moved", "/early"].map(count),
        [4, 4, 4],
        "the second call's two rungs"
    );
    running.stop();
}

/// Waits half a minute at most; who comes back without it looks again.
#[expect(clippy::disallowed_methods, reason = "the test waits for another process")]
fn patient(is_so: impl Fn() -> bool) {
    for _ in 0..300 {
        if is_so() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

#[test]
fn a_mail_that_was_taken_before_a_kill_comes_again_under_its_id() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let port = TcpListener::bind("127.0.0.1:0")
        .expect("a listener")
        .local_addr()
        .expect("an address")
        .port();
    let mail = format!(
        "private_targets = true\n[mail]\nserver = \"smtp://localhost:{port}\"\nfrom = \"Callvault <vault@example.in>\"\n\
         username = \"vault\"\npassword_file = \"mail.password\"\nca_file = \"mail.crt\"\n"
    );
    let place = Place::new(&EMBEDDED.replace("[regions", &format!("{mail}[regions")));
    place.write("mail.crt", made.cert.pem());
    place.write("mail.key", made.signing_key.serialize_pem());
    place.write("mail.password", "a password\n");
    assert!(
        place.run(&["doctor"]).err.contains("0600"),
        "others may read the password"
    );
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(place.path("mail.password"), mode).expect("a mode");
    place.prepare();
    let token = place.json(&["tokens", "create", "acme", "--role", "owner"]);
    let python = std::env::var("CALLVAULT_TEST_PYTHON").expect("run ./test once");
    let mut server = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/api/smtp_server.py"))
        .arg(port.to_string())
        .args(["mail.crt", "mail.key", "seen", "victim"].map(|name| place.path(name)))
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python");
    let mut ready = String::new();
    let out = server.stdout.take().expect("a pipe");
    BufReader::new(out).read_line(&mut ready).expect("a line");
    let (hooks, _, _) = start_receiver();
    let running = place.start(&["serve"]);
    place.write("victim", running.id().to_string());
    let client = Client::of(&running, 0);
    let body = json!({ "addresses": ["kill@example.in"] }).to_string().into_bytes();
    let put = client.send(
        Method::PUT,
        "/v1/accounts/acme/alerts",
        &token,
        Some(("application/json", body)),
    );
    assert_eq!(put.0, StatusCode::OK, "{put:?}");
    create(&client, &token, &format!("http://127.0.0.1:{hooks}/gone"), "call.ended");
    call(&client, &token);
    until("it is killed", || !place.path("victim").exists());
    drop(running);
    let running = place.start(&["serve"]);
    let seen = || -> Vec<Value> {
        let text = std::fs::read_to_string(place.path("seen")).unwrap_or_default();
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    };
    for _ in 0..3 {
        patient(|| seen().len() == 2);
    }
    let mails = seen();
    let _ = server.kill();
    let _ = server.wait();
    assert_eq!(mails.len(), 2, "{mails:?}");
    assert_eq!(mails[0]["id"], mails[1]["id"]);
    assert_eq!(mails[0]["subject"], "A webhook endpoint was disabled");
    assert!(
        !mails[0].to_string().contains("99000"),
        "nobody of the call is in it: {mails:?}"
    );
    running.stop();
}
