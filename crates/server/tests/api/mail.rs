//! Alerts by e-mail, at a mail server that nobody here wrote.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
};

use callvault_app::{
    core::TimeUs,
    line::{Alerts, Line, Loopback},
};
use callvault_server::{config, courier::HttpCourier, mail::SmtpMailer};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{NOW, World, platform::python, sid, world};

/// A mail server that ends with the test.
struct Server {
    child: Child,
    seen: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts it with this certificate.
    fn start(folder: &Path, port: u16) -> Self {
        let seen = folder.join("seen");
        let mut child = Command::new(python())
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/api/smtp_server.py"))
            .arg(port.to_string())
            .args(["mail.crt", "mail.key", "seen", "victim"].map(|name| folder.join(name)))
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python");
        let mut ready = String::new();
        let out = child.stdout.take().expect("a pipe");
        BufReader::new(out).read_line(&mut ready).expect("a line");
        assert_eq!(ready, "ready\n");
        Self { child, seen }
    }

    fn seen(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.seen).unwrap_or_default();
        text.lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }
}

fn make_certificate(folder: &Path) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    std::fs::write(folder.join("mail.crt"), made.cert.pem()).expect("written");
    std::fs::write(folder.join("mail.key"), made.signing_key.serialize_pem()).expect("written");
}

fn settings(folder: &Path, port: u16, password: &str) -> config::Mail {
    config::Mail {
        host: "localhost".to_owned(),
        port,
        implicit_tls: false,
        plain: false,
        from: "Callvault <vault@example.in>".to_owned(),
        credentials: Some(("vault".to_owned(), password.to_owned().into())),
        ca_file: Some(folder.join("mail.crt")),
    }
}

async fn line_with(world: &World, mail: &config::Mail) -> Line {
    let vault = world.site.open_vault("in").await.expect("a vault");
    let courier = HttpCourier::new(true).expect("a courier");
    let line = Line::new(vault, Arc::new(Loopback::default()), Arc::new(courier));
    line.with_mailer(Arc::new(SmtpMailer::new(mail).expect("a mailer")))
}

async fn attempts(world: &World) -> Vec<(String, String)> {
    let path = "/v1/accounts/acme/logs/webhook_delivery?limit=1000";
    let (_, log) = world.send(Method::GET, path, Some(&world.acme_officer), None).await;
    let entries = log["entries"].as_array().expect("entries");
    let mut found: Vec<_> = entries
        .iter()
        .filter(|entry| entry["detail"]["kind"] == "mail")
        .map(|entry| {
            let text = |name: &str| entry["detail"][name].as_str().expect("text").to_owned();
            (text("url"), format!("{}: {}", text("outcome"), text("answer")))
        })
        .collect();
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn mails_climb_the_ladder_and_each_is_one_message() {
    let world = world().await;
    let folder = tempfile::tempdir().expect("a folder");
    make_certificate(folder.path());
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .expect("a listener")
        .local_addr()
        .expect("an address")
        .port();
    let line = line_with(&world, &settings(folder.path(), port, "a password")).await;
    let body = json!({"addresses": ["ops@example.in", "later@example.in", "never@example.in"]});
    let put = |body| {
        world.send(
            Method::PUT,
            "/v1/accounts/acme/alerts",
            Some(&world.acme_officer),
            Some(body),
        )
    };
    let (status, answer) = put(body.clone()).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let account = world
        .site
        .open_vault("in")
        .await
        .expect("a vault")
        .get_account(&sid("acme"))
        .await
        .expect("an account");
    let tell = || {
        line.notify(
            &account,
            "webhook.disabled",
            "id-1",
            "Subject\r\nBcc: x@example.com",
            "First line\n.\nLast line\n",
        )
    };
    tell().await.expect("told");
    tell().await.expect("the same thing told twice is one mail");
    let go = async |after_s: i64| {
        world
            .clock
            .advance_to(TimeUs::parse(NOW).expect("a time").plus_seconds(after_s));
        assert_eq!(line.work().await.failures, Vec::<String>::new());
    };
    // Nobody listens yet: nothing is lost.
    go(0).await;
    let down = attempts(&world).await;
    assert_eq!(down.len(), 3, "{down:?}");
    assert!(
        down.iter()
            .all(|(_, outcome)| outcome.starts_with("failed: not reached")),
        "{down:?}"
    );
    let server = Server::start(folder.path(), port);
    go(6).await;
    go(400).await;
    go(2_500).await;
    let seen = server.seen();
    let to = |name: &str| seen.iter().filter(|mail| mail["rcpt"] == json!([name])).count();
    assert_eq!(
        ["ops@example.in", "later@example.in", "never@example.in"].map(to),
        [1, 1, 0],
        "{seen:?}"
    );
    let outcomes: Vec<_> = attempts(&world)
        .await
        .into_iter()
        .filter(|attempt| !attempt.1.contains("not reached"))
        .collect();
    let of = |name: &str, outcome: &str| (format!("mailto:{name}@example.in"), outcome.to_owned());
    assert_eq!(
        outcomes,
        [
            of("later", "delivered: 250"),
            of("later", "failed: answered 451"),
            of("never", "given_up: refused for good: answered 550"),
            of("ops", "delivered: 250")
        ]
    );
    let mail = &seen[0];
    assert_eq!(
        [&mail["tls"], &mail["from"]],
        [&json!(true), &json!("vault@example.in")]
    );
    let text = mail["text"].as_str().expect("text").replace("\r\n", "\n");
    assert_eq!(text.trim_end(), "First line\n.\nLast line");
    assert!(!mail["headers"].to_string().contains("Bcc"), "{mail}");
    let ids: std::collections::BTreeSet<_> = seen.iter().map(|mail| mail["id"].as_str().expect("an id")).collect();
    assert_eq!(ids.len(), 2, "a mail for each address has an id of its own: {ids:?}");
    // A wrong password is not the end: somebody may mend it.
    let wrong = line_with(&world, &settings(folder.path(), port, "another")).await;
    wrong
        .notify(&account, "webhook.disabled", "id-2", "S", "T")
        .await
        .expect("told");
    wrong.work().await;
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_trusted_or_has_no_tls_gets_nothing() {
    let world = world().await;
    let folder = tempfile::tempdir().expect("a folder");
    make_certificate(folder.path());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    // A server that knows no STARTTLS, and writes down what it is told.
    let told = std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        let (mut socket, _) = listener.accept().expect("a client");
        let _ = socket.write_all(b"220 x\r\n");
        let mut said = Vec::new();
        let mut part = [0; 4_096];
        while let Ok(length @ 1..) = socket.read(&mut part) {
            said.extend_from_slice(&part[..length]);
            let _ = socket.write_all(b"250 x\r\n");
        }
        String::from_utf8_lossy(&said).into_owned()
    });
    let account = world
        .site
        .open_vault("in")
        .await
        .expect("a vault")
        .get_account(&sid("acme"))
        .await
        .expect("an account");
    let mut line = line_with(&world, &settings(folder.path(), port, "a password")).await;
    let alerts = Alerts {
        addresses: vec!["ops@example.in".to_owned()],
        events: Vec::new(),
    };
    line.set_alerts(&account, &alerts).await.expect("set");
    line.notify(&account, "webhook.disabled", "a", "S", "T")
        .await
        .expect("told");
    line.work().await;
    drop(line);
    let said = told.join().expect("an end");
    assert!(said.starts_with("EHLO"), "{said}");
    assert!(
        !said.contains("AUTH") && !said.contains("MAIL"),
        "no password and no mail without TLS: {said}"
    );
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .expect("a listener")
        .local_addr()
        .expect("an address")
        .port();
    let server = Server::start(folder.path(), port);
    let other = tempfile::tempdir().expect("a folder");
    make_certificate(other.path());
    line = line_with(&world, &settings(other.path(), port, "a password")).await;
    line.notify(&account, "webhook.disabled", "b", "S", "T")
        .await
        .expect("told");
    line.work().await;
    assert_eq!(server.seen(), Vec::<Value>::new());
    let failed = attempts(&world).await;
    assert!(
        failed.len() >= 2 && failed.iter().all(|(_, outcome)| outcome.starts_with("failed")),
        "{failed:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_are_set_by_who_may_and_hold_nothing_but_addresses() {
    let world = world().await;
    let put = |body| {
        world.send(
            Method::PUT,
            "/v1/accounts/acme/alerts",
            Some(&world.acme_officer),
            Some(body),
        )
    };
    let many: Vec<_> = (0..11).map(|n| format!("a{n}@example.in")).collect();
    for (body, field) in [
        (
            json!({"addresses": ["ops@example.in\r\nBcc: x@example.com"]}),
            "addresses",
        ),
        (json!({"addresses": ["Ops <ops@example.in>"]}), "addresses"),
        (json!({"addresses": many}), "addresses"),
        (json!({"addresses": [], "events": ["call.ended"]}), "events"),
        (json!({"events": []}), "addresses"),
        (json!({"addresses": [], "colour": 1}), "colour"),
    ] {
        let (status, answer) = put(body.clone()).await;
        assert_eq!(
            (status, answer["field"].as_str()),
            (StatusCode::UNPROCESSABLE_ENTITY, Some(field)),
            "{body} {answer}"
        );
    }
    let good = json!({"addresses": ["ops@example.in"], "events": ["recordings.lapsing"]});
    assert_eq!(put(good.clone()).await, (StatusCode::OK, good.clone()));
    let get = |token| world.send(Method::GET, "/v1/accounts/acme/alerts", Some(token), None);
    assert_eq!(get(&world.acme_officer).await, (StatusCode::OK, good));
    assert_eq!(get(&world.acme).await.0, StatusCode::FORBIDDEN);
    assert_eq!(get(&world.other).await.0, StatusCode::NOT_FOUND);
}
