//! Contacts, lists and suppressed numbers, as a client of the platform sees them.

use reqwest::{Method, StatusCode, multipart::Form};
use serde_json::{Value, json};

use crate::{World, world};

const CONTACTS: &str = "/v2/accounts/acme/contacts";
const LISTS: &str = "/v2/accounts/acme/lists";

fn codes(answer: &Value) -> Vec<u64> {
    let items = answer["response"].as_array().expect("items").iter();
    items.map(|item| item["code"].as_u64().expect("a code")).collect()
}

async fn add(world: &World, contacts: Value) -> Vec<String> {
    let (status, answer) = world.post(CONTACTS, json!({ "contacts": contacts })).await;
    assert_eq!(status, StatusCode::MULTI_STATUS, "{answer}");
    let items = answer["response"].as_array().expect("items").iter();
    items
        .map(|item| item["data"]["sid"].as_str().expect("a SID").to_owned())
        .collect()
}

async fn add_list(world: &World, name: &str) -> String {
    let (_, answer) = world.post(LISTS, json!({"lists": [{"name": name}]})).await;
    answer["response"][0]["data"]["sid"].as_str().expect("a SID").to_owned()
}

async fn count(world: &World, path: &str) -> u64 {
    let (status, answer) = world.get(path).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer["metadata"]["total"].as_u64().expect("a total")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contact_lives_is_changed_and_goes_with_a_certificate() {
    let world = world().await;
    let body = json!({"contacts": [
        {"number": "09900012345", "first_name": "Aparna", "last_name": "Rao", "custom": {"city": "Pune"}},
        {"number": "+919900012345"}, {"number": "none!"}, {"first_name": "x"}, {"number": "+919900012346", "email": "no"},
    ]});
    let (status, answer) = world.post(CONTACTS, body).await;
    assert_eq!(
        (status, codes(&answer)),
        (StatusCode::MULTI_STATUS, vec![200, 409, 400, 400, 400]),
        "{answer}"
    );
    assert_eq!(
        (answer["method"].as_str(), answer["http_code"].as_u64()),
        (Some("POST"), Some(207))
    );
    let said = |n: usize| {
        answer["response"][n]["error_data"]["description"]
            .as_str()
            .expect("why")
    };
    assert!(said(2).starts_with("number: ") && said(4).starts_with("email: ") && !answer.to_string().contains("none!"));
    let made = &answer["response"][0]["data"];
    assert_eq!(
        [&made["number"], &made["custom"]["city"], &made["date_created"]],
        ["+919900012345", "Pune", "2026-11-23T17:30:00+05:30"]
    );
    let path = format!("{CONTACTS}/{}", made["sid"].as_str().expect("a SID"));
    let change = json!({"tag": "gold", "last_name": ""});
    let (status, answer) = world.send(Method::PUT, &path, Some(&world.acme), Some(change)).await;
    let data = &answer["response"]["data"];
    assert_eq!(
        (status, data["tag"].as_str(), &data["last_name"]),
        (StatusCode::OK, Some("gold"), &Value::Null)
    );
    assert_eq!(data["first_name"], "Aparna", "what is left out stays");
    assert_eq!(count(&world, &format!("{CONTACTS}?name=apar")).await, 1);
    assert_eq!(count(&world, &format!("{CONTACTS}?number=%2B919900012345")).await, 1);
    let (status, answer) = world.send(Method::DELETE, &path, Some(&world.acme), None).await;
    assert_eq!(
        (status, &answer["response"]["data"]["first_name"]),
        (StatusCode::OK, &json!("Aparna"))
    );
    let certificate = answer["response"]["data"]["certificate"]
        .as_str()
        .expect("a certificate");
    let (status, text) = world.get(certificate).await;
    assert!(
        status == StatusCode::OK && text.to_string().contains("contact"),
        "{text}"
    );
    let (status, answer) = world.get(&path).await;
    assert_eq!(
        (status, &answer["response"]["status"]),
        (StatusCode::NOT_FOUND, &json!("failure"))
    );
    assert_eq!(count(&world, CONTACTS).await, 0);
    world.serving.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_hold_contacts_page_by_page() {
    let world = world().await;
    let contacts: Vec<Value> = (0..45)
        .map(|n| json!({"number": format!("+9199000{n:05}"), "first_name": format!("N{n:02}")}))
        .collect();
    let sids = add(&world, json!(contacts)).await;
    let (list, other) = (add_list(&world, "Diwali").await, add_list(&world, "Pongal").await);
    let (_, answer) = world
        .post(LISTS, json!({"lists": [{"name": "Diwali "}, {"name": ""}]}))
        .await;
    assert_eq!(codes(&answer), [409, 400]);
    let on = format!("{LISTS}/{list}/contacts");
    let references: Vec<Value> = sids.iter().take(41).map(|sid| json!({ "contact_sid": sid })).collect();
    let mut asked = references.clone();
    asked.push(json!({"contact_sid": "0".repeat(32)}));
    let (_, answer) = world.post(&on, json!({ "contact_references": asked })).await;
    assert_eq!((codes(&answer)[40], codes(&answer)[41]), (200, 404));
    assert_eq!(answer["response"][0]["data"]["list_id"], list.as_str());
    world
        .post(
            &format!("{LISTS}/{other}/contacts"),
            json!({"contact_references": references[..2]}),
        )
        .await;
    let mut seen = Vec::new();
    for offset in [0, 20, 40] {
        let (_, page) = world
            .get(&format!("{on}?offset={offset}&sort_by=date_created:asc"))
            .await;
        let items = page["response"].as_array().expect("items").iter();
        seen.extend(items.map(|item| item["data"]["sid"].as_str().expect("a SID").to_owned()));
        assert_eq!(
            page["metadata"],
            json!({"count": page["response"].as_array().expect("items").len(), "offset": offset, "total": 41, "limit": 20})
        );
    }
    let mut expected: Vec<_> = sids[..41].to_vec();
    expected.sort();
    assert_eq!(seen, expected);
    let (_, by_name) = world
        .get(&format!(
            "{CONTACTS}?list_sids={list},{other}&sort_by=name:desc&limit=1&filter=show_list"
        ))
        .await;
    assert_eq!(
        (
            &by_name["response"][0]["data"]["first_name"],
            by_name["metadata"]["total"].as_u64()
        ),
        (&json!("N40"), Some(41)),
        "{by_name}"
    );
    assert_eq!(by_name["response"][0]["data"]["lists"], json!([list]));
    let one = format!("{on}/{}", sids[0]);
    let (status, _) = world.send(Method::DELETE, &one, Some(&world.acme), None).await;
    let (again, _) = world.send(Method::DELETE, &one, Some(&world.acme), None).await;
    assert_eq!((status, again), (StatusCode::OK, StatusCode::NOT_FOUND));
    let (_, answer) = world.get(&format!("{LISTS}/{list}")).await;
    assert_eq!(answer["response"]["data"]["contact_count"], 40);
    let (status, answer) = world
        .send(Method::DELETE, &format!("{LISTS}/{list}"), Some(&world.acme), None)
        .await;
    assert!(
        status == StatusCode::OK && answer["response"]["data"]["certificate"].is_string(),
        "{answer}"
    );
    assert_eq!(
        (count(&world, CONTACTS).await, count(&world, LISTS).await),
        (45, 1),
        "its contacts stay"
    );
    world.serving.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_tells_every_bad_row_and_the_export_comes_back() {
    let world = world().await;
    let text = "\u{feff}First Name,Number,Tag\r\nAparna,09900012345,\"a \"\"b\"\", c\"\r\n,nope,\r\nx\r\n'=evil,+919900012346,\r\n";
    let upload = async |name: &str| {
        let file = reqwest::multipart::Part::text(text).file_name("contacts.csv");
        let form = Form::new()
            .text("list_name", name.to_owned())
            .text("type", "static")
            .part("file_name", file);
        let request = world.client.post(world.url(&format!("{CONTACTS}/csv-upload")));
        let request = request
            .basic_auth(&world.acme.token_key, Some(&world.acme.secret))
            .multipart(form);
        let answer: Value = request.send().await.expect("an answer").json().await.expect("JSON");
        answer["response"]["data"].clone()
    };
    let counts = |data: &Value| ["success_count", "duplicate_count", "failure_count"].map(|name| data[name].as_u64());
    let first = upload("Diwali").await;
    assert_eq!(counts(&first), [Some(2), Some(0), Some(2)], "{first}");
    assert_eq!([&first["failures"][0]["row"], &first["failures"][1]["row"]], [3, 4]);
    assert!(!first.to_string().contains("nope"), "{first}");
    let again = upload("Diwali").await;
    assert_eq!(counts(&again), [Some(0), Some(2), Some(2)]);
    assert_eq!(first["list_sid"], again["list_sid"]);
    let status = format!(
        "/v2/accounts/acme/csv-status/{}",
        again["upload_id"].as_str().expect("an id")
    );
    let (_, answer) = world.get(&status).await;
    assert_eq!(answer["response"]["data"], again);
    let path = format!(
        "/v1/accounts/acme/exports/contacts.csv?list={}",
        first["list_sid"].as_str().expect("a SID")
    );
    let (status, csv) = world.get(&path).await;
    let csv = csv.as_str().expect("CSV").to_owned();
    assert_eq!(status, StatusCode::OK);
    assert!(
        csv.contains(",+919900012345,Aparna,,,,\"a \"\"b\"\", c\",,") && csv.contains(",'=evil,"),
        "{csv}"
    );
    // The export can be uploaded again: the same contacts, unprotected.
    let file = reqwest::multipart::Part::text(csv).file_name("contacts.csv");
    let form = Form::new().text("list_name", "Back").part("file_name", file);
    let request = world.client.post(world.url(&format!("{CONTACTS}/csv-upload")));
    let request = request
        .basic_auth(&world.acme.token_key, Some(&world.acme.secret))
        .multipart(form);
    let answer: Value = request.send().await.expect("an answer").json().await.expect("JSON");
    assert_eq!(
        counts(&answer["response"]["data"]),
        [Some(0), Some(2), Some(0)],
        "{answer}"
    );
    let (status, _) = world
        .get("/v1/accounts/acme/exports/contacts.csv?list=00000000000000000000000000000000")
        .await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    world.serving.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suppressed_number_does_not_come_back() {
    let world = world().await;
    let sids = add(
        &world,
        json!([{"number": "+919900012345"}, {"number": "+919900012346"}]),
    )
    .await;
    let list = add_list(&world, "Diwali").await;
    let on = format!("{LISTS}/{list}/contacts");
    let references = json!({"contact_references": [{"contact_sid": sids[0]}, {"contact_sid": sids[1]}]});
    world.post(&on, references.clone()).await;
    let suppressions = "/v1/accounts/acme/suppressions";
    let (status, made) = world
        .post(
            suppressions,
            json!({"number": "9900012345", "reason": "objected by phone"}),
        )
        .await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    assert!(!made.to_string().contains("9900012345"));
    assert_eq!(count(&world, &on).await, 1, "off every list");
    let (_, answer) = world.post(&on, references).await;
    assert_eq!(codes(&answer), [409, 200]);
    let (_, answer) = world
        .send(
            Method::DELETE,
            &format!("{CONTACTS}/{}", sids[0]),
            Some(&world.acme),
            None,
        )
        .await;
    assert_eq!(answer["http_code"], 200);
    let (_, answer) = world
        .post(CONTACTS, json!({"contacts": [{"number": "+919900012345"}]}))
        .await;
    assert_eq!(
        (codes(&answer), &answer["response"][0]["error_data"]["message"]),
        (vec![409], &json!("suppressed"))
    );
    let (_, answer) = world
        .send(
            Method::PUT,
            &format!("{CONTACTS}/{}", sids[1]),
            Some(&world.acme),
            Some(json!({"number": "+919900012345"})),
        )
        .await;
    assert_eq!(answer["http_code"], 409);
    let (_, listed) = world.get(&format!("{suppressions}?number=%2B919900012345")).await;
    assert_eq!(listed["suppressions"][0]["id"], made["id"]);
    let path = format!("{suppressions}/{}", made["id"].as_str().expect("an id"));
    let (refused, _) = world.send(Method::DELETE, &path, Some(&world.acme), None).await;
    let (lifted, _) = world.send(Method::DELETE, &path, Some(&world.acme_officer), None).await;
    assert_eq!((refused, lifted), (StatusCode::FORBIDDEN, StatusCode::NO_CONTENT));
    add(&world, json!([{"number": "+919900012345"}])).await;
    world.serving.close().await;
}
