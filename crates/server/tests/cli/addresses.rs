//! Every address that a configuration may hold: PostgreSQL with S3, and a PKCS#11 token.

use std::process::Command;

use callvault_testkit::services::{goes_without, postgres::Database, s3_config, unique_name};

use crate::{
    running::{Place, noon},
    serving::Client,
};

/// Imports, reads over HTTPS, deletes and asks the doctor.
fn check(place: &Place) {
    let calls = place.prepare();
    let recording = place.record(&calls[1]);
    let token = place.json(&["tokens", "create", "acme"]);
    let running = place.start(&["serve"]);
    let client = Client::of(&running, 0);
    let page = client.get(
        &format!(
            "/v1/accounts/acme/records/calls?number=9900011111&from={}",
            noon().day()
        ),
        &token,
    );
    assert_eq!(page["calls"].as_array().map(Vec::len), Some(10), "{page}");
    let found = client.get(&format!("/v1/accounts/acme/records/recordings/{recording}"), &token);
    assert_eq!(found["call_sid"], calls[1].as_str(), "{found}");
    assert_eq!(running.stop().code, 0);
    place.json(&["delete", "recording", "acme", &recording, "--confirm", &recording]);
    let entry = place.json(&["deletions", "acme"])["deletions"][0]["log_index"].to_string();
    place.json(&["certificate", "acme", &entry, "-o", "certificate.txt"]);
    let key = place.json(&["keys", "status"])["verifier_key"]
        .as_str()
        .expect("a key")
        .to_owned();
    assert_eq!(place.json(&["verify", "certificate.txt", "--key", &key])["valid"], true);
    let doctor = place.json(&["doctor"]);
    assert_eq!(doctor["alarms"], 0, "{doctor}");
}

#[test]
fn postgresql_and_s3() {
    if goes_without("postgres") || goes_without("s3") {
        return;
    }
    let database = Database::create();
    let bucket = s3_config(&unique_name());
    let config = format!(
        "data_dir = \"vault\"\n[regions.in]\nlisten = \"127.0.0.1:0\"\ncatalog = \"{}\"\n\
         objects = \"s3://{}/{}?endpoint={}&region={}\"\n",
        database.address(),
        bucket.bucket,
        bucket.prefix,
        bucket.endpoint,
        bucket.region
    );
    let place = Place::new(&config)
        .with("CALLVAULT_S3_ACCESS_KEY", &bucket.access_key)
        .with("CALLVAULT_S3_SECRET_KEY", &bucket.secret_key);
    check(&place);
    assert_eq!(place.json(&["keys", "status"])["provider"], "sealed-file");
    // It is the database that holds the account, and nothing embedded is left beside it.
    assert_eq!(database.query("SELECT count(*) FROM accounts").trim(), "1");
    assert!(!place.path("vault/in/catalog.sqlite").exists() && !place.path("vault/in/objects").exists());
    // Without its credentials the bucket is not opened, and the error says what is missing.
    let keyless = Place::new(&config);
    assert!(
        keyless
            .fails(2, &["keys", "status"])
            .contains("CALLVAULT_S3_ACCESS_KEY")
    );
}

#[test]
fn keys_in_a_pkcs11_token() {
    if goes_without("pkcs11") {
        return;
    }
    let module = callvault_app::seal::provider::find_pkcs11_module()
        .expect("SoftHSM 2 is missing: install Debian's package softhsm2, or set CALLVAULT_TEST_WITHOUT=pkcs11");
    let config = format!(
        "data_dir = \"vault\"\n[regions.in]\nlisten = \"127.0.0.1:0\"\nkeys = \"pkcs11:{}?token=callvault\"\n",
        module.display()
    );
    let place = Place::new(&config).with("CALLVAULT_PKCS11_PIN", "1234");
    let settings = place.path("softhsm2.conf");
    place.write("tokens/.keep", "");
    let text = format!(
        "directories.tokendir = {}\nobjectstore.backend = file\n",
        place.path("tokens").display()
    );
    place.write("softhsm2.conf", text);
    let place = place.with("SOFTHSM2_CONF", &settings.display().to_string());
    let made = Command::new("softhsm2-util")
        .args([
            "--init-token",
            "--free",
            "--label",
            "callvault",
            "--pin",
            "1234",
            "--so-pin",
            "4712",
        ])
        .env("SOFTHSM2_CONF", &settings)
        .output()
        .expect("softhsm2-util is missing: install Debian's package softhsm2");
    assert!(made.status.success(), "{made:?}");
    check(&place);
    assert_eq!(place.json(&["keys", "status"])["provider"], "pkcs11");
    assert!(!place.path("vault/in/keys").exists(), "no key file is made");
    assert!(place.fails(1, &["keys", "backup", "copy"]).contains("device"));
    // Without the PIN the token is not opened.
    let locked = place
        .command(&["keys", "status"])
        .env("CALLVAULT_PKCS11_PIN", "9999")
        .output()
        .expect("it runs");
    assert!(!locked.status.success());
}
