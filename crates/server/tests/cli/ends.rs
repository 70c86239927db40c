//! Exit codes, and errors that scripts can read.

use crate::running::{EMBEDDED, Place};

#[test]
fn every_end_has_its_code_and_errors_are_json_too() {
    let place = Place::new(EMBEDDED);
    // 0: done, and explained.
    place.json(&["accounts", "create", "acme", "--country", "in", "--region", "in"]);
    assert_eq!(place.run(&["--help"]).code, 0);
    assert_eq!(place.run(&["--version", "--json"]).code, 0);

    // 1: refused, or not found.
    let taken = place.fails(1, &["accounts", "create", "acme", "--region", "in", "--country", "IN"]);
    assert!(taken.contains("acme") || taken.contains("exist"), "{taken}");
    assert_eq!(place.fails(1, &["forecast", "nobody"]), "no such account");
    let country = place.fails(1, &["accounts", "create", "other", "--region", "in", "--country", "XX"]);
    assert!(country.starts_with("country:"), "{country}");
    let listed = place.json(&["accounts", "list"]);
    assert_eq!(
        listed["accounts"].as_array().map(Vec::len),
        Some(1),
        "a refused account is not there: {listed}"
    );
    place.json(&["accounts", "create", "other", "--region", "in", "--country", "SG"]);

    // 2: wrong usage or configuration.
    assert!(place.fails(2, &["accounts", "list", "--colour"]).contains("--colour"));
    assert!(place.fails(2, &["forecast", "acme", "--to", "soon"]).contains("--to"));
    assert!(place.fails(2, &["keys", "status", "--region", "moon"]).contains("moon"));
    assert!(
        place
            .fails(2, &["import", "calls", "acme", "x.csv", "--time-zone", "Mars"])
            .contains("--time-zone")
    );
    place.write("wrong.toml", "colour = 1\n");
    assert!(
        place
            .fails(2, &["--config", "wrong.toml", "accounts", "list"])
            .contains("colour")
    );
    let locked = place
        .command(&["accounts", "list", "--json"])
        .env_remove("CALLVAULT_PASSPHRASE")
        .output();
    assert_eq!(locked.expect("it runs").status.code(), Some(2), "no passphrase");

    assert!(
        place
            .fails(2, &["--config", "missing.toml", "accounts", "list"])
            .contains("missing.toml")
    );

    // 3: a store, key or file failed.
    let wrong = Place::new("data_dir = \"vault\"\n[regions.in]\ncatalog = \"sqlite:/dev/null/catalog\"\n");
    wrong.fails(3, &["keys", "status"]);
    let other_key = place
        .command(&["accounts", "list", "--json"])
        .env("CALLVAULT_PASSPHRASE", "wrong")
        .output();
    assert_eq!(other_key.expect("it runs").status.code(), Some(3), "a wrong passphrase");

    // Without --json an error is one line for people.
    let ran = place.run(&["forecast", "nobody"]);
    assert_eq!(
        (ran.code, ran.err.as_str(), ran.out.as_str()),
        (1, "callvault: no such account\n", "")
    );
}

#[test]
fn one_region_needs_no_name_and_two_do() {
    let one = Place::new(EMBEDDED);
    assert_eq!(one.json(&["keys", "status"])["region"], "in");
    let two = Place::new(&format!("{EMBEDDED}[regions.sg]\nlisten = \"127.0.0.1:0\"\n"));
    let error = two.fails(2, &["keys", "status"]);
    assert!(error.contains("--region") && error.contains("in, sg"), "{error}");
    assert_eq!(two.json(&["keys", "status", "--region", "sg"])["region"], "sg");
}

#[test]
fn tokens_are_listed_without_their_secrets() {
    let place = Place::new(EMBEDDED);
    place.json(&["accounts", "create", "acme", "--country", "IN", "--region", "in"]);
    assert_eq!(place.run(&["tokens", "list", "acme"]).out, "no tokens\n");
    let first = place.json(&["tokens", "create", "acme"]);
    let second = place.json(&["tokens", "create", "acme", "--role", "compliance"]);
    let key = first["key"].as_str().expect("a key");
    place.json(&["tokens", "revoke", "acme", key]);
    let listed = place.json(&["tokens", "list", "acme"]);
    let tokens = listed["tokens"].as_array().expect("tokens");
    assert_eq!(tokens.len(), 2, "{listed}");
    assert_eq!(
        (&tokens[0]["key"], &tokens[0]["role"]),
        (&first["key"], &"developer".into())
    );
    assert_eq!(
        (&tokens[1]["key"], &tokens[1]["role"]),
        (&second["key"], &"compliance".into())
    );
    assert!(
        tokens[0]["revoked_at"].is_string() && tokens[1]["revoked_at"].is_null(),
        "{listed}"
    );
    assert!(tokens.iter().all(|token| token["created_at"].is_string()), "{listed}");
    let told = place.run(&["tokens", "list", "acme"]).out;
    assert!(told.contains(key) && told.contains("revoked"), "{told}");
    for secret in [&first["secret"], &second["secret"]] {
        let secret = secret.as_str().expect("a secret");
        assert!(!told.contains(secret) && !listed.to_string().contains(secret));
    }
}
