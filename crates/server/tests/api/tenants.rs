//! Every operation of the description, tried by nobody, by another tenant and by every role.

use std::collections::{BTreeMap, BTreeSet};

use callvault_app::account::{NewToken, Role};
use callvault_server::access::{BASES, Effect, OPERATIONS, find_operation};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{NOW, World, sid, world};

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
    ] {
        place = place.replace(param, &names[name]);
    }
    let body = match path {
        "/retention" => Some(json!({"recording_days": 80})),
        "/holds" => Some(json!({"number": "+919900011111", "matter": "m", "reason": "r", "review_at": "2027-06-01"})),
        "/requests" => Some(json!({"kind": "delete_recording", "recording": "0".repeat(32), "reason": "r"})),
        "/webhooks" => Some(json!({"url": "https://example.com/hook"})),
        "/exports/schedule" => Some(json!({"folder": "daily"})),
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
