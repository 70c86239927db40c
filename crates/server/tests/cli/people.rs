//! `tokens`, `users` and `operators`.

use crate::running::{EMBEDDED, Place};

#[test]
fn tokens_are_narrowed_rotated_and_revoked() {
    let place = Place::new(EMBEDDED);
    place.prepare();
    let made = place.json(&[
        "tokens",
        "create",
        "acme",
        "--role",
        "owner",
        "--scope",
        "records:read",
        "--scope",
        "exports",
        "--label",
        "nightly",
        "--expires",
        "2099-01-01",
    ]);
    let key = made["key"].as_str().expect("a key");
    let list = || {
        place.json(&["tokens", "list", "acme"])["tokens"]
            .as_array()
            .cloned()
            .expect("tokens")
    };
    let find = |key: &str| list().into_iter().find(|token| token["key"] == key).expect("the token");
    let token = find(key);
    assert_eq!(token["scopes"], serde_json::json!(["records:read", "exports"]));
    assert_eq!(
        (&token["label"], &token["expires_at"]),
        (&"nightly".into(), &"2099-01-01T00:00:00Z".into())
    );
    let next = place.json(&["tokens", "rotate", "acme", key, "--overlap-hours", "0"]);
    let old = find(key);
    assert_eq!(old["successor"], next["key"]);
    assert_eq!(find(next["key"].as_str().expect("a key"))["scopes"], token["scopes"]);
    // Over at once, and rotated before.
    assert!(
        place
            .fails(1, &["tokens", "rotate", "acme", key])
            .contains("no such token")
    );
    for wrong in [["--scope", "everything"], ["--role", "operator"], ["--expires", "soon"]] {
        place.fails(2, &[&["tokens", "create", "acme"], &wrong[..]].concat());
    }
    place.fails(2, &["tokens", "rotate", "acme", key, "--overlap-hours", "721"]);
    place.run(&["tokens", "revoke", "acme", next["key"].as_str().expect("a key")]);
    assert!(find(next["key"].as_str().expect("a key"))["revoked_at"].is_string());
}

#[test]
fn people_of_an_account_and_of_the_operator_are_invited_and_kept_out() {
    let place = Place::new(EMBEDDED);
    place.prepare();
    let whose: [(&[&str], &[&str], &[&str]); 2] = [
        (&["users"], &["acme"], &["--role", "auditor"]),
        (&["operators"], &[], &["--region", "in"]),
    ];
    for (command, account, rest) in whose {
        let region: &[&str] = if account.is_empty() { rest } else { &[] };
        let invited = place.json(
            &[
                command,
                &["invite"],
                account,
                &["Asha@Example.in", "--name", "Asha"],
                rest,
            ]
            .concat(),
        );
        let user = invited["user"].as_str().expect("an id");
        let link = invited["invitation"].as_str().expect("a link");
        assert!(link.starts_with(&format!("{user}.")) && link.len() == 97, "{link}");
        let again = [command, &["invite"], account, &["asha@example.in"], rest].concat();
        assert!(place.fails(1, &again).starts_with("email: "));
        let list = || place.json(&[command, &["list"], account, region].concat())["users"][0].clone();
        let listed = list();
        assert_eq!(
            (&listed["user"], &listed["email"]),
            (&user.into(), &"asha@example.in".into())
        );
        assert!(
            listed["state"]
                .as_str()
                .is_some_and(|state| state.starts_with("invited "))
        );
        let change = |what: &str| place.json(&[command, &[what], account, &[user], region].concat());
        change("disable");
        assert!(
            list()["state"]
                .as_str()
                .is_some_and(|state| state.starts_with("disabled "))
        );
        change("enable");
        assert_ne!(change("reinvite")["invitation"], link);
        change("remove");
        assert_eq!(list(), serde_json::Value::Null);
        place.fails(1, &[command, &["remove"], account, &[user], region].concat());
        place.fails(2, &[command, &["remove"], account, &["zz"], region].concat());
    }
}
