//! Export jobs: written in the background, seen on their way, cancelled, taken over, and checked by whoever has the bytes.

use std::sync::Arc;

use callvault_app::{
    line::Line,
    seal::digest::sha256,
    store::{Objects as _, files::Files},
};
use callvault_server::destinations::Places;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::{
    World,
    exports::read_tar,
    hooks,
    schedule::good,
    spoiled::{Spoil, Spoiled},
    world,
};

const JOBS: &str = "/v1/accounts/acme/exports/jobs";

type Waiting = fn(Arc<Semaphore>, Arc<Semaphore>) -> Spoil;

impl World {
    async fn order(&self, body: Value) -> String {
        let (status, job) = self.post(JOBS, body).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{job}");
        assert_eq!(job["state"], "queued");
        job["id"].as_str().expect("an id").to_owned()
    }

    async fn job(&self, id: &str) -> Value {
        let (status, job) = self.get(&format!("{JOBS}/{id}")).await;
        assert_eq!(status, StatusCode::OK, "{job}");
        job
    }

    async fn waiting_line(&self, spoil: Waiting) -> (Arc<Line>, Arc<Semaphore>, Arc<Semaphore>) {
        let places = Places::new(true, Some(self.export_folder())).expect("places");
        let (waiting, go_on) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let spoil = spoil(Arc::clone(&waiting), Arc::clone(&go_on));
        let line = self.private_line(Some(Arc::new(Spoiled(places, spoil)))).await;
        (Arc::new(line), waiting, go_on)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_names_bytes_that_the_api_gives_and_tells_its_end() {
    let world = world().await;
    world.calls(500).await;
    let call = world.call(400).await;
    let recording = world.record(&call, 1).await;
    let line = &world.serving.doors[0].door.line;
    let (address, seen) = hooks::start_receiver().await;
    hooks::create_for(&world, &format!("http://{address}/ok"), "export.done").await;
    let private = world.private_line(None).await;
    let mut ids = Vec::new();
    for (body, name, records) in [
        (json!({"class": "call"}), "calls.csv", 500),
        (
            json!({"class": "call", "format": "parquet", "from": "2026-11-23"}),
            "calls.parquet",
            500,
        ),
        (json!({"class": "message", "format": "ndjson"}), "messages.ndjson", 0),
        (
            json!({"class": "recording", "format": "wav", "to": "2026-11-24T00:00:00+05:30"}),
            "recordings.tar",
            1,
        ),
    ] {
        let id = world.order(body.clone()).await;
        private.work().await;
        let job = world.job(&id).await;
        assert_eq!(
            (&job["state"], &job["records"]),
            (&json!("done"), &json!(records)),
            "{job}"
        );
        let result = &job["result"];
        let path = result["path"].as_str().expect("a path");
        let path = path.strip_prefix("/v1/accounts/acme/exports/").expect("an export");
        assert!(path.starts_with(&format!("{name}?")), "{path}");
        let got = world.export(path, &[]).await;
        assert_eq!(got.status, StatusCode::OK, "{path}");
        assert_eq!(result["sha256"], hex::encode(sha256(&[&got.bytes])), "{body}");
        assert_eq!(
            (&result["bytes"], &job["bytes"]),
            (&json!(got.bytes.len()), &json!(got.bytes.len()))
        );
        if name == "recordings.tar" {
            assert_eq!(
                (&job["bytes_total"], &job["records_total"]),
                (&json!(got.bytes.len()), &json!(1))
            );
            let members = read_tar(&got.bytes);
            let name = format!("recordings/{recording}.wav");
            assert!(members.iter().any(|(member, _)| *member == name));
        }
        ids.push(id);
        world.clock.advance_to(world.now().plus_seconds(1));
    }
    let told = hooks::bodies(&seen, "ok");
    assert_eq!(told.len(), ids.len(), "{told:?}");
    let last = world.job(&ids[3]).await;
    let event = told
        .iter()
        .find(|event| event["data"]["job"] == ids[3].as_str())
        .expect("told");
    assert_eq!(
        (&event["type"], &event["data"]["sha256"]),
        (&json!("export.done"), &last["result"]["sha256"])
    );
    // The newest first; what is forgotten is gone, and nobody else saw it.
    let (_, listed) = world.get(JOBS).await;
    assert_eq!(listed["jobs"].as_array().expect("jobs").len(), 4);
    assert_eq!(listed["jobs"][0]["id"], ids[3].as_str());
    let place = format!("{JOBS}/{}", ids[0]);
    for (token, status) in [
        (&world.other, StatusCode::NOT_FOUND),
        (&world.acme, StatusCode::NO_CONTENT),
    ] {
        assert_eq!(world.send(Method::DELETE, &place, Some(token), None).await.0, status);
    }
    assert_eq!(world.get(&place).await.0, StatusCode::NOT_FOUND);
    assert_eq!(
        world.send(Method::DELETE, &place, Some(&world.acme), None).await.0,
        StatusCode::NOT_FOUND
    );
    // A job that is over is not written again.
    good(&line.work().await);
    assert_eq!(world.job(&ids[3]).await, last);
    world.serving.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_seen_on_its_way_to_the_target_and_outlives_its_worker() {
    let world = world().await;
    world.calls(500).await;
    let (status, said) = world.put_schedule(json!({"folder": "daily"})).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    good(&world.serving.doors[0].door.line.work().await);
    let id = world.order(json!({"class": "call", "delivery": "target"})).await;
    let (line, waiting, go_on) = world.waiting_line(Spoil::Waits).await;
    let worker = tokio::spawn(async move { line.work().await });
    // The header line is written; then the rows wait.
    waiting.acquire().await.expect("open").forget();
    world.clock.advance_to(world.now().plus_seconds(2));
    go_on.add_permits(1);
    waiting.acquire().await.expect("open").forget();
    let job = world.job(&id).await;
    assert_eq!(
        (&job["state"], &job["records_total"]),
        (&json!("running"), &json!(500)),
        "{job}"
    );
    assert!(job["bytes"].as_u64().expect("bytes") > 0, "{job}");
    assert!(job.get("result").is_none(), "{job}");
    // The worker dies. Another one takes the job over when its lease is over, and writes it whole.
    worker.abort();
    assert!(worker.await.is_err());
    let other = world.private_line(None).await;
    good(&other.work().await);
    assert_eq!(world.job(&id).await["state"], "running", "somebody may still have it");
    world.clock.advance_to(world.now().plus_seconds(61));
    good(&other.work().await);
    let job = world.job(&id).await;
    assert_eq!(job["state"], "done", "{job}");
    let result = &job["result"];
    assert_eq!(result["object"], format!("exports/{id}/2/calls.csv"));
    assert!(result.get("path").is_none());
    let files = Files::open_plain(&world.export_folder().join("acme/daily"))
        .await
        .expect("a folder");
    let bytes = files
        .get(&format!("exports/{id}/2/calls.csv"))
        .await
        .expect("the object");
    assert_eq!(result["sha256"], hex::encode(sha256(&[&bytes])));
    let manifest = files
        .get(&format!("exports/{id}/2/manifest.json"))
        .await
        .expect("the manifest");
    let manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
    assert_eq!(
        (&manifest["sha256"], &manifest["records"]),
        (&result["sha256"], &json!(500)),
        "{manifest}"
    );
    world.serving.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_keeps_something_else_is_noticed() {
    let world = world().await;
    world.calls(5).await;
    let (status, said) = world.put_schedule(json!({"folder": "daily"})).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    good(&world.serving.doors[0].door.line.work().await);
    let id = world.order(json!({"class": "call", "delivery": "target"})).await;
    let places = Places::new(true, Some(world.export_folder())).expect("places");
    let rotten = world.private_line(Some(Arc::new(Spoiled(places, Spoil::Bits)))).await;
    rotten.work().await;
    let job = world.job(&id).await;
    assert_eq!((&job["state"], job.get("result")), (&json!("failing"), None), "{job}");
    assert!(
        job["error"].as_str().is_some_and(|error| error.contains("read back")),
        "{job}"
    );
    let files = Files::open_plain(&world.export_folder().join("acme/daily"))
        .await
        .expect("a folder");
    let left = files.list("exports/").await.expect("a listing");
    assert!(left.is_empty(), "what is not what was written does not lie there");
    world.clock.advance_to(world.now().plus_seconds(61));
    good(&world.private_line(None).await.work().await);
    assert_eq!(world.job(&id).await["state"], "done");
    world.serving.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_ends_and_leaves_nothing() {
    let world = world().await;
    world.calls(500).await;
    let (status, said) = world.put_schedule(json!({"folder": "daily"})).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    good(&world.serving.doors[0].door.line.work().await);
    let (address, seen) = hooks::start_receiver().await;
    hooks::create_for(&world, &format!("http://{address}/ok"), "export.done").await;
    let vault = world.site.open_vault("in").await.expect("a vault");
    // On its way, and so late that nothing is looked at before the end.
    for seconds in [2, 0] {
        let id = world.order(json!({"class": "call", "delivery": "target"})).await;
        let (line, waiting, go_on) = world.waiting_line(Spoil::Waits).await;
        let worker = tokio::spawn(async move { line.work().await });
        waiting.acquire().await.expect("open").forget();
        let place = format!("{JOBS}/{id}");
        let (status, _) = world.send(Method::DELETE, &place, Some(&world.acme), None).await;
        assert_eq!(status, StatusCode::NO_CONTENT);
        world.clock.advance_to(world.now().plus_seconds(seconds));
        go_on.add_permits(1_000);
        good(&worker.await.expect("it ended"));
        assert_eq!(world.get(&place).await.0, StatusCode::NOT_FOUND);
        let folder = world.export_folder().join("acme/daily");
        let files = Files::open_plain(&folder).await.expect("a folder");
        assert!(files.list("exports/").await.expect("a listing").is_empty(), "{seconds}");
        let left = vault.catalog().list_values("export-job").await.expect("values");
        assert!(left.is_empty(), "{seconds}");
    }
    good(&world.private_line(None).await.work().await);
    assert!(
        hooks::bodies(&seen, "ok").is_empty(),
        "nobody is told of what is not there"
    );
    world.serving.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_cannot_be_done_says_why_loudly() {
    let world = world().await;
    world.call(1).await;
    for (body, field) in [
        (json!({}), "class"),
        (json!({"class": "contact"}), "class"),
        (json!({"class": "call", "format": "wav"}), "format"),
        (json!({"class": "recording", "format": "csv"}), "format"),
        (json!({"class": "campaign_report", "format": "json"}), "format"),
        (json!({"class": "call", "from": "yesterday"}), "from"),
        (json!({"class": "call", "from": "2026-02-01", "to": "2026-01-01"}), "to"),
        (json!({"class": "call", "delivery": "post"}), "delivery"),
        (json!({"class": "call", "delivery": "target"}), "delivery"),
        (json!({"class": "call", "colour": "red"}), "colour"),
    ] {
        let (status, answer) = world.post(JOBS, body.clone()).await;
        assert_eq!(
            (status, &answer["field"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &json!(field)),
            "{body} {answer}"
        );
    }
    let (address, seen) = hooks::start_receiver().await;
    hooks::create_for(&world, &format!("http://{address}/ok"), "export.failed").await;
    let line = world.private_line(None).await;
    world.put_schedule(json!({"folder": "daily"})).await;
    line.work().await;
    // The target is not there for a while: the job is tried again, five times, and then given up.
    let id = world.order(json!({"class": "call", "delivery": "target"})).await;
    let folder = world.export_folder().join("acme/daily");
    std::fs::remove_dir_all(&folder).expect("removed");
    std::fs::write(&folder, "no folder").expect("written");
    for (attempt, pause_s) in (1..).zip([60, 300, 1_800, 7_200]) {
        line.work().await;
        let job = world.job(&id).await;
        assert_eq!(
            (&job["state"], &job["failures"]),
            (&json!("failing"), &json!(attempt)),
            "{job}"
        );
        assert!(job["error"].as_str().is_some_and(|error| !error.is_empty()));
        assert!(hooks::bodies(&seen, "ok").is_empty(), "it is not over yet");
        world.clock.advance_to(world.now().plus_seconds(pause_s + 1));
    }
    line.work().await;
    let job = world.job(&id).await;
    assert_eq!(
        (&job["state"], &job["failures"]),
        (&json!("failed"), &json!(5)),
        "{job}"
    );
    let told = hooks::bodies(&seen, "ok");
    let of_job: Vec<_> = told
        .iter()
        .filter(|event| event["data"]["job"] == id.as_str())
        .collect();
    assert_eq!(of_job.len(), 1, "{told:?}");
    let officer = Some(&world.acme_officer);
    let (_, log) = world
        .send(Method::GET, "/v1/accounts/acme/logs/activity", officer, None)
        .await;
    let mut entries = log["entries"].as_array().expect("entries").iter();
    assert!(
        entries.any(|entry| entry["name"] == "export.failed" && entry["detail"]["job"] == id.as_str()),
        "{log}"
    );
    // Without a target there is nothing to try again.
    let id = world.order(json!({"class": "call", "delivery": "target"})).await;
    let (status, _) = world
        .send(Method::DELETE, "/v1/accounts/acme/exports/schedule", officer, None)
        .await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    line.work().await;
    assert_eq!(world.job(&id).await["state"], "failed");
    world.serving.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_bounded() {
    let world = world().await;
    let orders = (0..30).map(|_| world.post(JOBS, json!({"class": "call"})));
    let answers = futures::future::join_all(orders).await;
    let taken = answers
        .iter()
        .filter(|(status, _)| *status == StatusCode::ACCEPTED)
        .count();
    assert_eq!(taken, 10, "many at once do not all find room");
    let (status, answer) = world.post(JOBS, json!({"class": "call"})).await;
    assert_eq!(
        (status, &answer["type"]),
        (StatusCode::CONFLICT, &json!("/problems/too-many-export-jobs"))
    );
    let line = world.private_line(None).await;
    for _ in 0..4 {
        good(&line.work().await);
        let (_, listed) = world.get(JOBS).await;
        let open: Vec<_> = listed["jobs"]
            .as_array()
            .expect("jobs")
            .iter()
            .filter(|job| job["state"] != "done")
            .collect();
        assert!(open.is_empty(), "{open:?}");
        for _ in 0..10 {
            world.order(json!({"class": "call"})).await;
        }
    }
    let (_, listed) = world.get(JOBS).await;
    assert_eq!(
        listed["jobs"].as_array().expect("jobs").len(),
        40,
        "ten to do and thirty done"
    );
    world.serving.close().await;
}

/// The objects of export jobs, as paths.
async fn exported(world: &World) -> Vec<String> {
    let files = Files::open_plain(&world.export_folder().join("acme/daily")).await;
    let listed = files.expect("a folder").list("exports/").await.expect("a listing");
    let mut names: Vec<_> = listed.into_iter().map(|object| object.name).collect();
    names.sort();
    names
}

async fn with_target() -> World {
    let world = world().await;
    world.calls(20).await;
    let (status, said) = world.put_schedule(json!({"folder": "daily"})).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    good(&world.serving.doors[0].door.line.work().await);
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn who_lost_the_job_takes_nothing_from_who_has_it() {
    let world = with_target().await;
    let id = world.order(json!({"class": "call", "delivery": "target"})).await;
    let (line, waiting, go_on) = world.waiting_line(Spoil::WaitsToRead).await;
    let slow = tokio::spawn(async move { line.work().await });
    waiting.acquire().await.expect("open").forget();
    // It stands still while it reads back, and somebody else does it all.
    world.clock.advance_to(world.now().plus_seconds(61));
    good(&world.private_line(None).await.work().await);
    let done = world.job(&id).await;
    assert_eq!(done["state"], "done", "{done}");
    let names = [
        format!("exports/{id}/2/calls.csv"),
        format!("exports/{id}/2/manifest.json"),
    ];
    assert_eq!(done["result"]["object"], names[0]);
    assert_eq!(
        exported(&world).await,
        names,
        "what the other one had delivered is gone"
    );
    go_on.add_permits(1_000);
    good(&slow.await.expect("it ended"));
    assert_eq!(exported(&world).await, names);
    assert_eq!(world.job(&id).await, done);
    world.serving.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_cancelled_after_its_process_died_leaves_nothing() {
    let world = with_target().await;
    let id = world.order(json!({"class": "call", "delivery": "target"})).await;
    let (line, waiting, _) = world.waiting_line(Spoil::WaitsToRead).await;
    let dying = tokio::spawn(async move { line.work().await });
    waiting.acquire().await.expect("open").forget();
    dying.abort();
    assert!(dying.await.is_err());
    assert_eq!(exported(&world).await, [format!("exports/{id}/1/calls.csv")]);
    let place = format!("{JOBS}/{id}");
    let (status, _) = world.send(Method::DELETE, &place, Some(&world.acme), None).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    world.clock.advance_to(world.now().plus_seconds(61));
    good(&world.private_line(None).await.work().await);
    assert_eq!(exported(&world).await, Vec::<String>::new());
    world.serving.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_not_mounted_is_waited_for() {
    let world = with_target().await;
    let id = world.order(json!({"class": "call", "delivery": "target"})).await;
    let (folder, away) = (world.export_folder(), world.export_folder().with_extension("away"));
    std::fs::rename(&folder, &away).expect("unmounted");
    let line = world.private_line(None).await;
    line.work().await;
    let job = world.job(&id).await;
    assert_eq!(job["state"], "failing", "{job}");
    assert!(
        job["error"]
            .as_str()
            .is_some_and(|error| error.contains("folder for exports")),
        "{job}"
    );
    assert!(!folder.exists(), "it is not made anew");
    std::fs::rename(&away, &folder).expect("mounted");
    world.clock.advance_to(world.now().plus_seconds(61));
    good(&line.work().await);
    assert_eq!(world.job(&id).await["state"], "done");
    world.serving.close().await;
}
