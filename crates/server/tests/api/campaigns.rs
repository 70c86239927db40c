//! Campaigns and ExoPhones, as a client of the platform sees them.

use std::sync::Arc;

use callvault_app::{
    core::TimeUs,
    line::{Line, Loopback},
};
use callvault_server::courier::HttpCourier;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{NOW, World, world};

const CAMPAIGNS: &str = "/v2/accounts/acme/campaigns";
const EXOPHONES: &str = "/v2_beta/Accounts/acme/IncomingPhoneNumbers";

fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}

/// A line of the test's own, so that the clock decides what is done.
async fn line_of(world: &World) -> Line {
    let vault = world.site.open_vault("in").await.expect("a vault");
    let courier = HttpCourier::new(false).expect("a courier");
    Line::new(vault, Arc::new(Loopback::default()), Arc::new(courier))
}

async fn work(world: &World, line: &Line, seconds: i64) {
    let end = world.now().plus_seconds(seconds);
    while world.now() < end {
        assert_eq!(line.work().await.failures, Vec::<String>::new());
        world.clock.advance_to(world.now().plus_seconds(2));
    }
}

impl World {
    async fn put(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.send(Method::PUT, path, Some(&self.acme), Some(body)).await
    }
}

async fn make(world: &World, body: Value) -> Value {
    let (status, answer) = world.post(CAMPAIGNS, body).await;
    assert_eq!(
        (status, &answer["response"][0]["code"]),
        (StatusCode::OK, &json!(200)),
        "{answer}"
    );
    answer["response"][0]["data"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_runs_over_numbers_and_lists_and_is_reported() {
    let world = world().await;
    let line = line_of(&world).await;
    let contacts = json!({"contacts": [
        {"number": "09900012345", "first_name": "Aparna"}, {"number": "09900012346"}, {"number": "09900012347"},
    ]});
    let (_, made) = world.post("/v2/accounts/acme/contacts", contacts).await;
    let references: Vec<_> = (0..3)
        .map(|n| json!({"contact_sid": made["response"][n]["data"]["sid"]}))
        .collect();
    let (_, list) = world
        .post("/v2/accounts/acme/lists", json!({"lists": [{"name": "Callers"}]}))
        .await;
    let list = text(&list["response"][0]["data"]["sid"]).to_owned();
    let members = format!("/v2/accounts/acme/lists/{list}/contacts");
    world.post(&members, json!({"contact_references": references})).await;
    let over_list = make(&world, json!({"campaigns": [{
        "lists": [list], "caller_id": "08049501234", "url": "http://my.exotel.com/acme/exoml/start_voice/42",
        "name": "From a list", "status_callback": "https://example.com/end",
        "schedule": {"send_at": "2026-11-23T18:00:00+05:30"},
        "retries": {"number_of_retries": "2", "interval_mins": 10, "mechanism": "Exponential", "on_status": ["busy", "failure"]},
    }]})).await;
    assert_eq!(over_list["status"], "Created");
    assert_eq!(over_list["schedule"]["send_at"], "2026-11-23T18:00:00+05:30");
    assert_eq!(over_list["retries"]["on_status"], json!(["busy", "failed"]));
    let flat = make(
        &world,
        json!({
            "from": "09900012345, 09900054321,09900054321", "caller_id": "08049501234", "read_via_text": "Hello @@Name",
            "flow_type": "greeting", "name": "Flat",
        }),
    )
    .await;
    assert_eq!(
        flat["stats"],
        json!({"created": 2, "completed": 0, "failed": 0, "pending": 2}),
        "one is there twice"
    );
    // Whom one objects to after the lists were made, but before the campaign begins, is left out.
    let objection = json!({"number": "09900012347", "reason": "asked on the phone"});
    let (status, answer) = world.post("/v1/accounts/acme/suppressions", objection).await;
    assert!(status.is_success(), "{answer}");
    work(&world, &line, 10).await;
    let path = |campaign: &Value| format!("{CAMPAIGNS}/{}", text(&campaign["id"]));
    let (_, seen) = world.get(&path(&flat)).await;
    assert_eq!(
        (
            &seen["response"]["data"]["status"],
            &seen["response"]["data"]["stats"]["completed"]
        ),
        (&json!("Completed"), &json!(2)),
        "{seen}"
    );
    let (_, seen) = world.get(&path(&over_list)).await;
    assert_eq!(seen["response"]["data"]["status"], "Created", "not before its time");
    work(&world, &line, 1_810).await;
    let (_, seen) = world.get(&path(&over_list)).await;
    let seen = &seen["response"]["data"];
    assert_eq!(
        (&seen["status"], &seen["stats"]),
        (
            &json!("Completed"),
            &json!({"created": 2, "completed": 2, "failed": 0, "pending": 0})
        )
    );
    // Its calls are calls of the account, one by one and in the report.
    let (_, details) = world
        .get(&format!(
            "{}/call-details?limit=1&sort_by=date_created:desc",
            path(&over_list)
        ))
        .await;
    assert_eq!(
        details["metadata"],
        json!({"count": 1, "offset": 0, "total": 2, "limit": 1}),
        "{details}"
    );
    let detail = &details["response"][0]["data"];
    assert_eq!(
        [&detail["direction"], &detail["status"], &detail["caller_id"]],
        ["Outgoing", "completed", "+918049501234"]
    );
    let (status, call) = world
        .get(&format!("/v1/Accounts/acme/Calls/{}.json", text(&detail["call_sid"])))
        .await;
    assert_eq!(
        (status, &call["Call"]["From"], &call["Call"]["Direction"]),
        (StatusCode::OK, &detail["number"], &json!("outbound-api"))
    );
    let url = text(&seen["report_url"]);
    let (status, csv) = world.get(&url[url.find("/v2/").expect("a path")..]).await;
    assert_eq!(status, StatusCode::OK);
    let csv = text(&csv);
    assert!(
        csv.starts_with("sid,at,campaign,number,name,status,attempts,call_sids,"),
        "{csv}"
    );
    assert!(
        csv.lines().count() == 3 && csv.contains(",+919900012345,Aparna,completed,1,"),
        "{csv}"
    );
    let (status, all) = world.get("/v1/accounts/acme/exports/campaign_reports.csv").await;
    assert_eq!((status, text(&all).lines().count()), (StatusCode::OK, 5));
    let (status, manifest) = world
        .get("/v1/accounts/acme/exports/manifest?class=campaign_report")
        .await;
    assert_eq!(
        (status, &manifest["records"]),
        (StatusCode::OK, &json!(4)),
        "{manifest}"
    );
    let (status, _) = world.get("/v1/accounts/acme/exports/campaign_reports.json").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    // Reports lapse a year after, with the campaign.
    world
        .clock
        .advance_to(TimeUs::parse(NOW).expect("a time").plus_days(366));
    assert_eq!(world.get(&path(&flat)).await.0, StatusCode::NOT_FOUND);
    let (_, all) = world.get("/v1/accounts/acme/exports/campaign_reports.csv").await;
    assert_eq!(text(&all).lines().count(), 1);
    world.serving.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_is_changed_listed_and_refused_as_the_platform_does() {
    let world = world().await;
    let line = line_of(&world).await;
    let later = json!({
        "from": ["09900012345"], "caller_id": "08049501234", "url": "https://example.com/flow", "name": "Later",
        "schedule": {"send_at": "2026-11-24T10:00:00+05:30", "end_at": "2026-11-24T12:00:00+05:30"},
    });
    let first = make(&world, later.clone()).await;
    let mut second = later.clone();
    second["name"] = "Second".into();
    let second = make(&world, second).await;
    let path = format!("{CAMPAIGNS}/{}", text(&first["id"]));
    let act = async |action: &str| {
        let (status, answer) = world.put(&path, json!({"campaigns": [{"action": action}]})).await;
        (
            status.as_u16(),
            answer["response"]["data"]["status"].as_str().map(ToOwned::to_owned),
        )
    };
    let is = |status: &str| (200, Some(status.to_owned()));
    assert_eq!(act("resume").await, (409, None));
    assert_eq!(act("pause").await, is("Paused"));
    assert_eq!(act("resume").await, is("Created"));
    let (status, changed) = world
        .put(&path, json!({"name": "Renamed", "throttle": 5, "mode": "custom"}))
        .await;
    assert_eq!(
        (status, &changed["response"]["data"]["throttle"]),
        (StatusCode::OK, &json!(5)),
        "{changed}"
    );
    world
        .clock
        .advance_to(TimeUs::parse("2026-11-24T04:30:00Z").expect("a time"));
    line.work().await;
    let (status, refused) = world.put(&path, json!({"throttle": 6})).await;
    let said = text(&refused["response"]["error_data"]["description"]);
    assert!(
        status == StatusCode::BAD_REQUEST && said.starts_with("throttle: The campaign has begun"),
        "{refused}"
    );
    let (status, changed) = world
        .put(&path, json!({"status_callback": "https://example.com/x"}))
        .await;
    assert_eq!(
        (status, &changed["response"]["data"]["status_callback"]),
        (StatusCode::OK, &json!("https://example.com/x"))
    );
    work(&world, &line, 10).await;
    assert_eq!(act("pause").await, (409, None));
    assert_eq!(act("archive").await, is("Archived"));
    let (status, gone) = world
        .send(
            Method::DELETE,
            &format!("{CAMPAIGNS}/{}", text(&second["id"])),
            Some(&world.acme),
            None,
        )
        .await;
    assert_eq!(status, StatusCode::OK);
    assert!(
        ["Completed", "Canceled"].contains(&text(&gone["response"]["data"]["status"])),
        "{gone}"
    );
    let names = async |query: &str| {
        let (status, page) = world.get(&format!("{CAMPAIGNS}?{query}")).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        let items = page["response"].as_array().expect("items").iter();
        items
            .map(|item| text(&item["data"]["name"]).to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names("sort_by=name:asc").await, ["Renamed", "Second"]);
    assert_eq!(names("sort_by=name:desc&limit=1").await, ["Second"]);
    assert_eq!(names("status=Archived,Failed").await, ["Renamed"]);
    assert_eq!(names("name=seco&type=trans").await, ["Second"]);
    let with = |field: &str, value: Value| {
        let mut body = later.clone();
        body[field] = value;
        body
    };
    let retries = |value: Value| with("retries", value);
    for (body, field) in [
        (with("from", json!("none!")), "from"),
        (with("from", json!([])), "from"),
        (with("lists", json!(["0".repeat(32)])), "lists"),
        (with("caller_id", Value::Null), "caller_id"),
        (with("url", json!("ftp://x")), "url"),
        (with("url", Value::Null), "url"),
        (with("throttle", json!(0)), "throttle"),
        (
            with("status_callback", json!("https://u:p@example.com")),
            "status_callback",
        ),
        (with("schedule", json!({"send_at": "tomorrow"})), "send_at"),
        (
            with("schedule", json!({"end_at": "2026-11-23T10:00:00+05:30"})),
            "end_at",
        ),
        (
            with("schedule", json!({"send_at": "2028-11-23T10:00:00+05:30"})),
            "send_at",
        ),
        (
            retries(json!({"number_of_retries": 4, "interval_mins": 1})),
            "number_of_retries",
        ),
        (retries(json!({"number_of_retries": 1})), "interval_mins"),
        (
            retries(json!({"number_of_retries": 1, "interval_mins": 1, "on_status": ["sleeping"]})),
            "on_status",
        ),
        (with("custom_field", json!("x".repeat(129))), "custom_field"),
        (json!({"campaigns": []}), "campaigns"),
    ] {
        // Thirty requests a minute.
        world.clock.advance_to(world.now().plus_seconds(60));
        let (status, answer) = world.post(CAMPAIGNS, body).await;
        let item = &answer["response"][0];
        let said = text(&item["error_data"]["description"]);
        assert!(
            status == StatusCode::BAD_REQUEST && said.starts_with(&format!("{field}: ")),
            "{field}: {answer}"
        );
        assert_eq!((&item["code"], &item["status"]), (&json!(400), &json!("failure")));
    }
    let (status, answer) = world.get(&format!("{CAMPAIGNS}/{}", "0".repeat(32))).await;
    assert_eq!(
        (status, &answer["response"]["code"]),
        (StatusCode::NOT_FOUND, &json!(404)),
        "{answer}"
    );
    assert_eq!(names("").await.len(), 2, "what was refused made nothing");
    world.serving.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exophones_are_taken_shown_changed_and_released() {
    let world = world().await;
    let (status, made) = world
        .post(
            EXOPHONES,
            json!({"phone_number": "08049501234", "friendly_name": "Front desk"}),
        )
        .await;
    assert_eq!(
        (status, &made["phone_number"]),
        (StatusCode::OK, &json!("+918049501234")),
        "{made}"
    );
    world.clock.advance_to(world.now().plus_seconds(1));
    let form = world
        .client
        .post(world.url(EXOPHONES))
        .basic_auth(&world.acme.token_key, Some(&world.acme.secret));
    let form = form
        .header("content-type", "application/x-www-form-urlencoded")
        .body("PhoneNumber=%2B918049505678&VoiceUrl=https://example.com/v");
    let second: Value = form.send().await.expect("an answer").json().await.expect("JSON");
    assert_eq!(second["voice_url"], "https://example.com/v");
    let (status, again) = world.post(EXOPHONES, json!({"PhoneNumber": "+918049501234"})).await;
    assert_eq!(
        (status, &again["RestException"]["Status"]),
        (StatusCode::CONFLICT, &json!(409)),
        "{again}"
    );
    let (status, bad) = world.post(EXOPHONES, json!({"PhoneNumber": "front-desk"})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{bad}");
    let (status, page) = world.get(&format!("{EXOPHONES}?PageSize=1")).await;
    assert_eq!(
        (status, &page["page"], &page["page_size"]),
        (StatusCode::OK, &json!(0), &json!(1)),
        "{page}"
    );
    let listed = &page["incoming_phone_numbers"][0];
    assert_eq!([&listed["friendly_name"], &listed["country"]], ["Front desk", "IN"]);
    assert_eq!(listed["capabilities"], json!({"voice": true, "sms": true}));
    assert!(listed.get("voice_url").is_none());
    let path = format!("{EXOPHONES}/{}", text(&made["sid"]));
    let (_, changed) = world.put(&path, json!({"VoiceUrl": "https://example.com/flow"})).await;
    assert_eq!(
        [&changed["voice_url"], &changed["friendly_name"]],
        ["https://example.com/flow", "Front desk"]
    );
    let (_, got) = world.get(&path).await;
    assert_eq!(got["voice_url"], "https://example.com/flow");
    let release = async || world.send(Method::DELETE, &path, Some(&world.acme), None).await;
    assert_eq!(
        release().await,
        (StatusCode::ACCEPTED, json!({"Status": 202, "Message": "Accepted"}))
    );
    let (status, gone) = release().await;
    assert_eq!(
        (status, &gone["RestException"]["Status"]),
        (StatusCode::NOT_FOUND, &json!(404))
    );
    let (_, page) = world.get(EXOPHONES).await;
    assert_eq!(page["incoming_phone_numbers"].as_array().map(Vec::len), Some(1));
    let (status, refused) = world.send(Method::GET, EXOPHONES, None, None).await;
    assert_eq!(
        (status, &refused["RestException"]["Status"]),
        (StatusCode::UNAUTHORIZED, &json!(401)),
        "JSON: {refused}"
    );
    world.serving.close().await;
}
