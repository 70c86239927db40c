//! Tokens: narrowed, rotated, revoked, counted.

use std::path::Path;

use callvault_app::{
    account::{NewToken, Role},
    core::TimeUs,
    scope::{Scope, Scopes},
    token::TokenOrder,
};
use callvault_server::{
    access::{ACCOUNT_PATH, OPERATIONS},
    people,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{World, sid, world, world_with};

const SECOND_US: i64 = 1_000_000;

struct Owner<'w> {
    world: &'w World,
    token: NewToken,
}

impl Owner<'_> {
    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let path = format!("/v1/accounts/acme{path}");
        self.world.send(method, &path, Some(&self.token), body).await
    }
}

async fn owner(world: &World) -> Owner<'_> {
    let vault = world.site.open_vault("in").await.expect("a vault");
    Owner {
        world,
        token: vault.create_token(&sid("acme"), Role::Owner).await.expect("a token"),
    }
}

fn token(made: &Value) -> NewToken {
    NewToken {
        token_key: made["key"].as_str().expect("a key").to_owned(),
        secret: made["secret"].as_str().expect("a secret").to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_narrowed_token_does_less_and_makes_nothing_wider() {
    let world = world().await;
    let owner = owner(&world).await;
    let new = json!({"role": "owner", "scopes": ["keys", "records:read", "users"], "label": "Ravi's script"});
    let (status, made) = owner.send(Method::POST, "/tokens", Some(new)).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let narrowed = Owner {
        world: &world,
        token: token(&made),
    };
    assert_eq!(
        narrowed.send(Method::GET, "/records/calls", None).await.0,
        StatusCode::OK
    );
    let (status, answer) = narrowed.send(Method::GET, "/retention", None).await;
    assert_eq!(
        (status, answer["type"].as_str()),
        (StatusCode::FORBIDDEN, Some("/problems/wrong-scope")),
        "{answer}"
    );
    for (body, field) in [
        (json!({"role": "developer"}), "scopes"),
        (json!({"role": "developer", "scopes": ["logs"]}), "scopes"),
        (json!({"role": "developer", "scopes": ["all"]}), "scopes"),
        (json!({"role": "operator"}), "role"),
        (
            json!({"role": "developer", "scopes": ["keys"], "label": "x".repeat(101)}),
            "label",
        ),
        (
            json!({"role": "developer", "scopes": ["keys"], "expires_at": "2020-01-01"}),
            "expires_at",
        ),
        (
            json!({"role": "developer", "scopes": ["keys"], "colour": "red"}),
            "colour",
        ),
    ] {
        let (status, answer) = narrowed.send(Method::POST, "/tokens", Some(body)).await;
        assert_eq!(
            (status, answer["field"].as_str()),
            (StatusCode::UNPROCESSABLE_ENTITY, Some(field)),
            "{answer}"
        );
    }
    let new = json!({"role": "developer", "scopes": ["records:read"]});
    assert_eq!(
        narrowed.send(Method::POST, "/tokens", Some(new)).await.0,
        StatusCode::CREATED
    );
    // A user has a whole role, which a narrowed token cannot give away.
    let new = json!({"email": "x@example.in", "role": "owner"});
    let (status, answer) = narrowed.send(Method::POST, "/users", Some(new)).await;
    assert_eq!(
        (status, answer["type"].as_str()),
        (StatusCode::UNPROCESSABLE_ENTITY, Some("/problems/scopes-above-own"))
    );
    assert_eq!(narrowed.send(Method::GET, "/users", None).await.0, StatusCode::OK);

    let (_, listed) = owner.send(Method::GET, "/tokens", None).await;
    let tokens = listed["tokens"].as_array().expect("tokens");
    let seen = tokens
        .iter()
        .find(|token| token["key"] == made["key"])
        .expect("the token");
    assert_eq!(seen["label"], "Ravi's script");
    assert_eq!(seen["scopes"], json!(["records:read", "keys", "users"]));
    assert_eq!(seen["last_used"], "2026-11-23");
    assert!(!listed.to_string().contains(made["secret"].as_str().expect("a secret")));
    // What people wrote is in no file in clear.
    let folder = world.site.config.data_dir.clone();
    assert!(!holds(&folder, b"Ravi's script") && !holds(&folder, made["secret"].as_str().expect("it").as_bytes()));
    world.serving.close().await;
}

fn holds(folder: &Path, text: &[u8]) -> bool {
    std::fs::read_dir(folder).expect("a folder").any(|entry| {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            return holds(&path, text);
        }
        let bytes = std::fs::read(&path).unwrap_or_default();
        bytes.windows(text.len()).any(|window| window == text)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_rotated_with_an_overlap_and_ends_by_itself() {
    let world = world().await;
    let owner = owner(&world).await;
    let expires = TimeUs(world.now().0 + 10 * 24 * 3_600 * SECOND_US).to_string();
    let new = json!({"role": "developer", "scopes": ["records:read"], "label": "nightly", "expires_at": expires});
    let (_, made) = owner.send(Method::POST, "/tokens", Some(new)).await;
    let old = token(&made);
    let path = format!("/tokens/{}/rotate", old.token_key);
    for overlap in ["-1", "2592001", "soon"] {
        let (status, answer) = owner
            .send(Method::POST, &format!("{path}?overlap_s={overlap}"), None)
            .await;
        assert_eq!(
            (status, answer["field"].as_str()),
            (StatusCode::UNPROCESSABLE_ENTITY, Some("overlap_s"))
        );
    }
    let (status, made) = owner.send(Method::POST, &path, None).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let successor = token(&made);
    let (status, answer) = owner.send(Method::POST, &path, None).await;
    assert_eq!(
        (status, answer["type"].as_str()),
        (StatusCode::CONFLICT, Some("/problems/rotated-before"))
    );
    let list = async |token: &NewToken| {
        let path = "/v1/accounts/acme/records/calls";
        world.send(Method::GET, path, Some(token), None).await.0
    };
    assert_eq!(
        (list(&old).await, list(&successor).await),
        (StatusCode::OK, StatusCode::OK)
    );
    let (status, _) = world
        .send(Method::GET, "/v1/accounts/acme/retention", Some(&successor), None)
        .await;
    assert_eq!(status, StatusCode::FORBIDDEN, "narrowed as the old one");
    let began = world.now().0;
    world.clock.advance_to(TimeUs(began + 24 * 3_600 * SECOND_US - 1));
    assert_eq!(list(&old).await, StatusCode::OK);
    world.clock.advance_to(TimeUs(began + 24 * 3_600 * SECOND_US));
    assert_eq!(
        (list(&old).await, list(&successor).await),
        (StatusCode::UNAUTHORIZED, StatusCode::OK)
    );
    // At once, and by itself.
    let path = format!("/tokens/{}/rotate?overlap_s=0", successor.token_key);
    let (_, made) = owner.send(Method::POST, &path, None).await;
    let last = token(&made);
    assert_eq!(
        (list(&successor).await, list(&last).await),
        (StatusCode::UNAUTHORIZED, StatusCode::OK)
    );
    world
        .clock
        .advance_to(TimeUs(world.now().0 + 10 * 24 * 3_600 * SECOND_US));
    assert_eq!(list(&last).await, StatusCode::UNAUTHORIZED);
    let (_, listed) = owner.send(Method::GET, "/tokens", None).await;
    let rows = listed["tokens"].as_array().expect("tokens");
    let row = rows.iter().find(|row| row["key"] == old.token_key).expect("the first");
    assert_eq!(
        (&row["successor"], &row["label"]),
        (&json!(successor.token_key), &json!("nightly"))
    );
    world.serving.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_fails_at_once_and_the_owner_stays() {
    let world = world().await;
    let owner = owner(&world).await;
    let path = format!("/tokens/{}", world.acme.token_key);
    assert_eq!(owner.send(Method::DELETE, &path, None).await.0, StatusCode::NO_CONTENT);
    assert_eq!(
        world.get("/v1/accounts/acme/records/calls").await.0,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(owner.send(Method::DELETE, &path, None).await.0, StatusCode::NOT_FOUND);
    let foreign = format!("/tokens/{}", world.other.token_key);
    assert_eq!(
        owner.send(Method::DELETE, &foreign, None).await.0,
        StatusCode::NOT_FOUND
    );
    let own = format!("/tokens/{}", owner.token.token_key);
    let (status, answer) = owner.send(Method::DELETE, &own, None).await;
    assert_eq!(
        (status, answer["type"].as_str()),
        (StatusCode::CONFLICT, Some("/problems/last-way-in")),
        "{answer}"
    );
    let (_, made) = owner.send(Method::POST, &format!("{own}/rotate"), None).await;
    let next = Owner {
        world: &world,
        token: token(&made),
    };
    assert_eq!(next.send(Method::DELETE, &own, None).await.0, StatusCode::NO_CONTENT);
    assert_eq!(
        owner.send(Method::GET, "/tokens", None).await.0,
        StatusCode::UNAUTHORIZED
    );
    world.serving.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_has_so_many_requests_a_minute() {
    let world = world_with("[sign_in]\nrequests_per_minute = 4", "").await;
    let get = async |token: &NewToken, account: &str| {
        let request = world
            .client
            .get(world.url(&format!("/v1/accounts/{account}/retention")));
        let request = request.basic_auth(&token.token_key, Some(&token.secret));
        request.send().await.expect("an answer")
    };
    for left in (0..4).rev() {
        let answer = get(&world.acme, "acme").await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["ratelimit-policy"], "\"account\";q=4;w=60");
        assert_eq!(answer.headers()["ratelimit"], format!("\"account\";r={left};t=60"));
    }
    for _ in 0..3 {
        let answer = get(&world.acme_officer, "acme").await;
        assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(answer.headers()["retry-after"], "60");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
    }
    assert_eq!(get(&world.other, "other").await.status(), StatusCode::OK);
    let (status, _) = world.get("/v1/accounts/acme/calls.json").await;
    assert_eq!(
        status,
        StatusCode::OK,
        "the platform's operations have limits of their own"
    );
    world.clock.advance_to(TimeUs(world.now().0 + 60 * SECOND_US));
    let (status, log) = world
        .send(
            Method::GET,
            "/v1/accounts/acme/logs/api_access",
            Some(&world.acme_officer),
            None,
        )
        .await;
    assert_eq!(status, StatusCode::OK);
    let entries = log["entries"].as_array().expect("entries");
    let refused = entries.iter().filter(|entry| entry["detail"]["status"] == 429).count();
    assert_eq!(refused, 1, "the first of the minute");
    world.serving.close().await;
}

/// `docs/access.md` has the tables of the program.
#[test]
fn the_document_says_who_may() {
    let columns: Vec<Role> = Role::ALL.into_iter().chain([Role::Operator]).collect();
    let names: Vec<_> = columns.iter().map(|role| role.as_str()).collect();
    let mut table = format!(
        "| operation | scope | {} |\n|---|---|{}\n",
        names.join(" | "),
        "---|".repeat(names.len())
    );
    for operation in OPERATIONS.iter().chain(people::OPERATIONS) {
        let place = match operation.base {
            ACCOUNT_PATH => format!(".../{}", operation.path.trim_start_matches('/')),
            base => format!("{base}{}", operation.path),
        };
        let scope = operation.scope.map_or("(signed in)", Scope::as_str);
        let marks: Vec<_> = columns
            .iter()
            .map(|role| if operation.roles.contains(role) { "x" } else { "" })
            .collect();
        let marks = marks.join(" | ");
        table += &format!("| `{} {place}` | {scope} | {marks} |\n", operation.method);
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/access.md");
    let text = std::fs::read_to_string(path).expect("the document");
    let (before, rest) = text.split_once("<!-- table -->\n").expect("where it begins");
    let (known, after) = rest.split_once("<!-- end -->").expect("where it ends");
    if std::env::var_os("CALLVAULT_BLESS").is_some() {
        let text = format!("{before}<!-- table -->\n{table}<!-- end -->{after}");
        std::fs::write(path, text).expect("written");
    } else {
        assert!(
            known == table,
            "the tables changed; run again with CALLVAULT_BLESS=1 and look at the difference"
        );
    }
}

/// Whoever may make a token or a user may himself what they may; only reading what is restricted is given, not had.
#[test]
fn a_role_that_covers_another_may_all_that_it_may() {
    for giver in Role::ALL {
        for given in Role::ALL.into_iter().filter(|given| giver.covers(*given)) {
            for operation in OPERATIONS.iter().filter(|operation| operation.roles.contains(&given)) {
                assert!(
                    operation.roles.contains(&giver),
                    "{giver:?} gives {given:?}: {operation:?}"
                );
            }
            let same_eyes = giver.reader() == given.reader();
            assert!(same_eyes || giver == Role::Owner, "{giver:?} gives {given:?}");
        }
    }
}

/// The vault itself holds narrowed scopes, whoever asks it.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_carries_its_scopes() {
    let world = world().await;
    let vault = world.site.open_vault("in").await.expect("a vault");
    let order = TokenOrder {
        scopes: Scopes::of(vec![Scope::Logs]),
        ..TokenOrder::of_role(Role::Owner)
    };
    let token = vault.issue_token(&sid("acme"), order, None).await.expect("a token");
    let caller = vault.find_caller(&token.token_key, &token.secret).await.expect("read");
    let by_account = vault.find_caller("acme", &token.secret).await.expect("read");
    assert_eq!(caller, by_account, "the account's SID stands for the key");
    assert!(caller.is_some_and(|caller| caller.scopes == Scopes::of(vec![Scope::Logs])));
    world.serving.close().await;
}
