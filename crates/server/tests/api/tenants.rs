//! Every operation of the description, tried by nobody, by another tenant, by every role with a token and signed in, and by
//! every scope. What the tables lack, or what has no case here, fails.

use std::collections::{BTreeMap, BTreeSet};

use callvault_app::{
    account::{NewToken, Role},
    realm::Realm,
    scope::{Scope, Scopes},
    seal::password::PasswordHash,
    token::TokenOrder,
    user::User,
};
use callvault_server::{
    access::{BASES, Effect, OPERATIONS, find_operation},
    people,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    NOW, World,
    people::{Browser, PASSWORD, join, sign_in},
    sid, world,
};

const METHODS: [&str; 5] = ["get", "put", "post", "delete", "patch"];

/// The account's operations in the served description: method and path.
async fn described(world: &World) -> BTreeSet<(String, String)> {
    let (_, description) = world.send(Method::GET, "/openapi.json", None, None).await;
    let mut found = BTreeSet::new();
    for (path, methods) in description["paths"].as_object().expect("paths") {
        if BASES.iter().all(|base| !path.starts_with(base)) {
            continue;
        }
        for method in METHODS.into_iter().filter(|method| methods.get(method).is_some()) {
            found.insert((method.to_uppercase(), path.clone()));
        }
    }
    found
}

/// A request that this operation takes, with what it names put in.
fn request(path: &str, names: &BTreeMap<&str, String>) -> (String, Option<Value>) {
    let mut place = path
        .replace(
            "/exports/calls/{file}",
            &format!("/exports/calls/{}.vcon.json", names["call"]),
        )
        .replace("/exports/{file}", "/exports/calls.csv");
    let record = if path.contains("recordings/{sid}") {
        "recording"
    } else {
        "call"
    };
    for (param, name) in [
        ("{sid}", record),
        ("{id}", "hold"),
        ("{index}", "index"),
        ("{class}", "class"),
        ("{key}", "key"),
        ("{user}", "user"),
    ] {
        place = place.replace(param, &names[name]);
    }
    let body = match path {
        "/retention" => Some(json!({"recording_days": 80})),
        "/records/recordings/{sid}/withdrawal" => Some(json!({})),
        "/consent/policy" => Some(json!({"text": "t", "languages": ["en"], "elsewhere": "opt-in"})),
        "/holds" => Some(json!({"number": "+919900011111", "matter": "m", "reason": "r", "review_at": "2027-06-01"})),
        "/requests" => Some(json!({"kind": "delete_recording", "recording": "0".repeat(32), "reason": "r"})),
        "/alerts" => Some(json!({"addresses": ["security@example.in"]})),
        "/webhooks" => Some(json!({"url": "https://example.com/hook"})),
        "/exports/jobs" => Some(json!({"class": "call"})),
        "/exports/schedule" => Some(json!({"folder": "daily"})),
        "/tokens" => Some(json!({"role": "developer"})),
        "/users" => Some(json!({"email": "asha@example.in", "role": "developer"})),
        "/users/{user}" => Some(json!({"disabled": true})),
        _ => None,
    };
    let query = match path {
        "/retention/preview" => "?recording_days=30",
        "/requests/preview" => "?recording=00000000000000000000000000000000",
        "/exports/manifest" => "?class=call&format=csv",
        "/webhooks/{id}/replay" => "?since=2026-11-01",
        _ => "",
    };
    (format!("{place}{query}"), body)
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_no_way_across_tenants_or_roles() {
    let world = world().await;
    let vault = world.site.open_vault("in").await.expect("a vault");
    let mut tokens: BTreeMap<&str, NewToken> = BTreeMap::new();
    for role in Role::ALL {
        let token = vault.create_token(&sid("acme"), role).await.expect("a token");
        tokens.insert(role.as_str(), token);
    }
    let listed: BTreeSet<_> = OPERATIONS
        .iter()
        .map(|operation| {
            (
                operation.method.to_string(),
                format!("{}{}", operation.base, operation.path),
            )
        })
        .collect();
    // The same operation in XML is described once, by its JSON twin.
    let twins = |path: &String| {
        path.ends_with("/calls.json/{sid}")
            || listed.contains(&("GET".into(), format!("{path}.json")))
            || listed.contains(&("POST".into(), format!("{path}.json")))
    };
    let undescribed: Vec<_> = listed
        .difference(&described(&world).await)
        .filter(|(_, path)| !twins(path))
        .cloned()
        .collect();
    assert_eq!(undescribed, [], "in the table and not in the description");
    let unlisted: Vec<_> = described(&world).await.difference(&listed).cloned().collect();
    assert_eq!(
        unlisted,
        [],
        "in the description and not in the table: it would be served to nobody"
    );

    let names = BTreeMap::from([
        ("call", world.call(1).await),
        ("recording", "0".repeat(32)),
        ("hold", "0".repeat(32)),
        ("index", "0".to_owned()),
        ("class", "activity".to_owned()),
        ("key", "0".repeat(24)),
        ("user", "0".repeat(32)),
    ]);
    for operation in OPERATIONS {
        let (below, body) = request(operation.path, &names);
        let path = format!("{}{below}", operation.base.replace("{account}", "acme"));
        let send = |token| world.send(operation.method.clone(), &path, token, body.clone());
        let (nobody, answer) = send(None).await;
        assert_eq!(nobody, StatusCode::UNAUTHORIZED, "nobody: {operation:?} {answer}");
        // The owner's own rights elsewhere do not help here.
        let (other, answer) = send(Some(&world.other)).await;
        assert_eq!(other, StatusCode::NOT_FOUND, "another tenant: {operation:?} {answer}");
        for role in Role::ALL {
            let (status, answer) = send(Some(&tokens[role.as_str()])).await;
            let refused = status == StatusCode::FORBIDDEN;
            let may = operation.roles.contains(&role);
            assert_eq!(refused, !may, "{}: {operation:?} {status} {answer}", role.as_str());
            assert!(
                status != StatusCode::UNAUTHORIZED && !status.is_server_error(),
                "{operation:?} {status} {answer}"
            );
        }
    }
    world.serving.close().await;
}

/// What operations are tried on: nothing of it has to be there.
fn places() -> BTreeMap<&'static str, String> {
    let sids = ["call", "recording", "hold", "user"].map(|name| (name, "0".repeat(32)));
    let mut names = BTreeMap::from(sids);
    names.insert("index", "0".to_owned());
    names.insert("class", "activity".to_owned());
    names.insert("key", "0".repeat(24));
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_does_what_its_scope_says_and_nothing_else() {
    let world = world().await;
    let vault = world.site.open_vault("in").await.expect("a vault");
    let mut used = BTreeSet::new();
    for operation in OPERATIONS {
        let scope = operation.scope;
        used.insert(scope.unwrap_or_else(|| panic!("an operation of an account has a scope: {operation:?}")));
    }
    assert_eq!(used, BTreeSet::from(Scope::ALL), "every scope is some operation's");
    for scope in Scope::ALL {
        let order = TokenOrder {
            scopes: Scopes::of(vec![scope]),
            ..TokenOrder::of_role(Role::Owner)
        };
        let token = vault.issue_token(&sid("acme"), order, None).await.expect("a token");
        for operation in OPERATIONS
            .iter()
            .filter(|operation| operation.roles.contains(&Role::Owner))
        {
            let (below, body) = request(operation.path, &places());
            let path = format!("{}{below}", operation.base.replace("{account}", "acme"));
            let (status, answer) = world.send(operation.method.clone(), &path, Some(&token), body).await;
            let may = operation.scope == Some(scope);
            assert_eq!(
                status == StatusCode::FORBIDDEN,
                !may,
                "{scope:?}: {operation:?} {status} {answer}"
            );
        }
    }
    world.serving.close().await;
}

/// A user of each role, the operator's among them.
async fn everybody(world: &World) -> Vec<(Role, Realm, User)> {
    let hash = PasswordHash::new(PASSWORD.as_bytes()).expect("a hash");
    let mut users = Vec::new();
    for role in Role::ALL {
        let (realm, user) = join(world, Some(&sid("acme")), role, &hash).await;
        users.push((role, realm, user));
    }
    let (realm, user) = join(world, None, Role::Operator, &hash).await;
    users.push((Role::Operator, realm, user));
    users
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_signed_in_does_what_the_role_may_and_nothing_elsewhere() {
    let world = world().await;
    let users = everybody(&world).await;
    for (role, realm, user) in &users {
        let mut browser = Browser::with(&sign_in(&world, realm, user).await);
        for operation in OPERATIONS {
            let (below, body) = request(operation.path, &places());
            let path = format!("{}{below}", operation.base.replace("{account}", "acme"));
            let (status, answer) = browser
                .send(&world, operation.method.clone(), &path, body.clone())
                .await;
            let may = operation.roles.contains(role);
            assert_eq!(
                status == StatusCode::FORBIDDEN,
                !may,
                "{role:?}: {operation:?} {status} {answer}"
            );
            assert!(
                status != StatusCode::UNAUTHORIZED && !status.is_server_error(),
                "{role:?}: {operation:?} {status} {answer}"
            );
            if *role != Role::Operator {
                let elsewhere = format!("{}{below}", operation.base.replace("{account}", "other"));
                let (status, answer) = browser.send(&world, operation.method.clone(), &elsewhere, body).await;
                assert_eq!(status, StatusCode::NOT_FOUND, "{role:?}: {operation:?} {answer}");
            }
        }
    }
    world.serving.close().await;
}

/// A request of what people do for themselves.
fn own_request(path: &str) -> (String, Option<Value>) {
    let place = path
        .replace("{session}", &"0".repeat(32))
        .replace("{passkey}", &"0".repeat(32))
        .replace("{account}", "acme");
    let body = match path {
        "/v1/session/password" => Some(json!({"password": "rain over lotus"})),
        "/v1/session/passkeys" => Some(json!({"name": "x", "client_data": "", "attestation": ""})),
        _ => None,
    };
    (place, body)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_do_for_themselves_needs_a_session_of_the_role() {
    let world = world().await;
    let users = everybody(&world).await;
    for operation in people::OPERATIONS {
        let (path, body) = own_request(operation.path);
        for token in [None, Some(&world.acme_officer)] {
            let (status, answer) = world.send(operation.method.clone(), &path, token, body.clone()).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{operation:?} {answer}");
        }
        for (role, realm, user) in &users {
            let mut browser = Browser::with(&sign_in(&world, realm, user).await);
            let (status, answer) = browser
                .send(&world, operation.method.clone(), &path, body.clone())
                .await;
            let may = operation.roles.contains(role);
            assert_eq!(
                status == StatusCode::FORBIDDEN,
                !may,
                "{role:?}: {operation:?} {status} {answer}"
            );
            assert!(
                status != StatusCode::UNAUTHORIZED && !status.is_server_error(),
                "{role:?}: {operation:?} {status} {answer}"
            );
        }
    }
    world.serving.close().await;
}

/// Every described operation is in one of the tables, and every read leaves things as they are: a page elsewhere can make a
/// browser send one.
#[tokio::test(flavor = "multi_thread")]
async fn every_described_operation_says_who_may() {
    let world = world().await;
    let (_, description) = world.send(Method::GET, "/openapi.json", None, None).await;
    let mut listed: BTreeSet<(String, String)> = BTreeSet::new();
    for operation in OPERATIONS.iter().chain(people::OPERATIONS) {
        let path = format!("{}{}", operation.base, operation.path);
        listed.insert((operation.method.to_string(), path));
    }
    for (method, path) in people::PUBLIC {
        listed.insert((method.to_string(), (*path).to_owned()));
    }
    for (path, methods) in description["paths"].as_object().expect("paths") {
        for method in METHODS.into_iter().filter(|method| methods.get(method).is_some()) {
            let operation = (method.to_uppercase(), path.clone());
            assert!(
                listed.contains(&operation),
                "described, and nobody says who may: {operation:?}"
            );
        }
    }
    for operation in OPERATIONS.iter().chain(people::OPERATIONS) {
        let reads = operation.method == Method::GET;
        assert!(
            !reads || operation.effect == Effect::Reads,
            "a GET that changes: {operation:?}"
        );
    }
    world.serving.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_is_in_the_logs_and_every_change_in_the_activity() {
    let world = world().await;
    let (status, _) = world
        .get("/v1/accounts/acme/records/calls?number=%2B919900011111")
        .await;
    assert_eq!(status, StatusCode::OK);
    let change = json!({"recording_days": 60});
    let officer = Some(&world.acme_officer);
    for token in [Some(&world.acme), officer] {
        world
            .send(Method::PUT, "/v1/accounts/acme/retention", token, Some(change.clone()))
            .await;
    }
    let log = async |class: &str| {
        let (status, page) = world
            .send(Method::GET, &format!("/v1/accounts/acme/logs/{class}"), officer, None)
            .await;
        assert_eq!(status, StatusCode::OK, "{page}");
        page["entries"].as_array().expect("entries").clone()
    };
    let seen = log("api_access").await;
    let listed = seen
        .iter()
        .find(|entry| entry["name"] == "calls.list")
        .expect("the listing");
    assert_eq!(
        [
            &listed["detail"]["key"],
            &listed["detail"]["role"],
            &listed["detail"]["query"],
            &listed["at"]
        ],
        [
            world.acme.token_key.as_str(),
            "developer",
            "number=%2B919900011111",
            NOW
        ]
    );
    assert_eq!(listed["detail"]["status"], 200);
    let changes = log("activity").await;
    let names: Vec<_> = changes
        .iter()
        .map(|entry| entry["name"].as_str().expect("a name"))
        .collect();
    assert_eq!(names, ["retention.changed"], "what was refused changed nothing");
    let refused = seen.iter().find(|entry| entry["detail"]["status"] == 403);
    let refused = refused.expect("a refusal is an access too");
    assert_eq!(
        [&refused["name"], &refused["detail"]["role"]],
        ["retention.changed", "developer"]
    );
    assert_eq!(changes[0]["detail"]["key"], world.acme_officer.token_key);
    // The logs are records: they are found at no door of other records, and lapse like them.
    let (_, calls) = world.get("/v1/accounts/acme/records/calls").await;
    assert_eq!(calls["calls"], json!([]));
    world
        .clock
        .advance_to(callvault_app::core::TimeUs::parse(NOW).expect("a time").plus_days(91));
    assert_eq!(log("api_access").await.len(), 0, "kept 90 days");
    assert_eq!(log("activity").await.len(), 1);
    assert!(
        find_operation(&Method::GET, "/v1/accounts/{account}/logs/{class}")
            .is_some_and(|log| log.effect == Effect::Reads)
    );
}
