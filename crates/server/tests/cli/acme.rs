//! Certificates from an authority: Let's Encrypt's own test server, Pebble.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::json;

use crate::{
    doors::{ask, base, until},
    running::{Place, free_port},
};

/// A process that ends with the test.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(program: &str, arguments: &[&str]) -> Ends {
    let child = Command::new(program)
        .args(arguments)
        .env("PEBBLE_VA_NOSLEEP", "1")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Ends(child.expect("run ./test once: it installs Pebble"))
}

/// A root, and what it issued for this machine.
fn make_authority(place: &Place) {
    let mut root = rcgen::CertificateParams::new(Vec::new()).expect("names");
    root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root_key = rcgen::KeyPair::generate().expect("a key");
    place.write("root.pem", root.self_signed(&root_key).expect("a root").pem());
    let issuer = rcgen::Issuer::new(root, root_key);
    let leaf = rcgen::CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).expect("names");
    let leaf_key = rcgen::KeyPair::generate().expect("a key");
    place.write(
        "pebble.crt",
        leaf.signed_by(&leaf_key, &issuer).expect("a certificate").pem(),
    );
    place.write("pebble.key", leaf_key.serialize_pem());
}

#[test]
fn an_authority_issues_the_certificate_and_its_absence_costs_nothing() {
    let place = Place::new("");
    let [acme, management, dns, dns_management, http] = [(); 5].map(|()| free_port());
    make_authority(&place);
    let path = |name: &str| place.path(name).display().to_string();
    let config = json!({ "pebble": {
        "listenAddress": format!("127.0.0.1:{acme}"), "managementListenAddress": format!("127.0.0.1:{management}"),
        "certificate": path("pebble.crt"), "privateKey": path("pebble.key"), "httpPort": http, "tlsPort": free_port(),
        "ocspResponderURL": "", "externalAccountBindingRequired": false,
    }});
    place.write("pebble.json", config.to_string());
    let names = start(
        "pebble-challtestsrv",
        &[
            "-defaultIPv4",
            "127.0.0.1",
            "-defaultIPv6",
            "",
            "-http01",
            "",
            "-https01",
            "",
            "-tlsalpn01",
            "",
            "-dns01",
            &format!("127.0.0.1:{dns}"),
            "-management",
            &format!("127.0.0.1:{dns_management}"),
        ],
    );
    let authority = start(
        "pebble",
        &[
            "-config",
            &path("pebble.json"),
            "-dnsserver",
            &format!("127.0.0.1:{dns}"),
        ],
    );
    let region = |domains: &str| {
        format!(
            "data_dir = \"vault\"\nmetrics = true\n[regions.in]\nlisten = \"127.0.0.1:0\"\nhttp = \"127.0.0.1:{http}\"\n\
             acme = {{ directory = \"https://localhost:{acme}/dir\", contact = [\"ops@example.in\"], domains = [{domains}], \
             ca_file = \"root.pem\" }}\n"
        )
    };
    place.write("callvault.toml", region("\"vault.example.in\""));
    let roots = fs::read_to_string(place.path("root.pem")).expect("a root");
    let mut issued_by = String::new();
    until("Pebble is up", || {
        issued_by = ask(&format!("https://127.0.0.1:{management}/roots/0"), &roots, None).unwrap_or_default();
        !issued_by.is_empty()
    });
    let running = place.start(&["serve"]);
    let made_here = fs::read_to_string(place.path("vault/in/tls-cert.pem")).expect("a certificate");
    let pair = place.path("vault/in/acme.pem");
    until("the certificate is there", || pair.exists());
    let is_issued = |base: &str| {
        let port: u16 = base
            .rsplit(':')
            .next()
            .and_then(|port| port.parse().ok())
            .expect("a port");
        as_named("vault.example.in", port, &issued_by)
    };
    until("it is served", || is_issued(&base(&running)));
    assert!(
        ask(&format!("{}/health", base(&running)), &made_here, None).is_err(),
        "its own is not served any more"
    );
    for name in ["acme.pem", "acme-account.json"] {
        let mode = fs::metadata(place.path("vault/in").join(name))
            .expect("a file")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let before = fs::read(&pair).expect("a pair");
    let ended = running.stop();
    assert!(ended.err.contains("the authority issued a certificate"), "{ended:?}");
    // The one that is there is served without the authority, and another name that cannot be had changes nothing.
    drop((authority, names));
    place.write("callvault.toml", region("\"vault.example.in\", \"other.example.in\""));
    let running = place.start(&["serve"]);
    assert!(is_issued(&base(&running)), "the one from before is served at once");
    until("the failure is told", || {
        let log = fs::read_to_string(place.path("stderr.log")).unwrap_or_default();
        log.contains("no certificate from the authority")
    });
    assert!(is_issued(&base(&running)));
    assert_eq!(fs::read(&pair).expect("a pair"), before);
    running.stop();
}

/// Whether the door of this port has a certificate for this name that this root issued.
fn as_named(name: &str, port: u16, root: &str) -> bool {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(10))
        .resolve(name, ([127, 0, 0, 1], port).into())
        .tls_certs_only([reqwest::Certificate::from_pem(root.as_bytes()).expect("PEM")])
        .build()
        .expect("a client");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let asked = runtime
        .expect("a runtime")
        .block_on(async { client.get(format!("https://{name}:{port}/health")).send().await });
    asked.is_ok_and(|answer| answer.status().is_success())
}
