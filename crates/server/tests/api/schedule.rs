//! Exports on schedule: to a folder and to a real bucket, verified, noted, and loud when they fail.

use std::{path::Path, sync::Arc};

use callvault_app::{
    core::{Class, TimeUs},
    doctor::Severity,
    line::{Line, Loopback},
    schedule::{Destinations, Run, Target},
    seal::digest::sha256,
    store::{Objects, s3::S3},
};
use callvault_server::{courier::HttpCourier, demo::generate::tones, destinations::Places};
use callvault_testkit::services::{
    goes_without,
    proxy::{Mode, Proxy},
    s3_config, unique_name,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    NOW, World, hooks, sid,
    spoiled::{Spoil, Spoiled},
    world,
};

const PLACE: &str = "/v1/accounts/acme/exports/schedule";

impl World {
    /// A line that reaches receivers and buckets of this machine.
    pub(crate) async fn private_line(&self, destinations: Option<Arc<dyn Destinations>>) -> Line {
        let vault = self.site.open_vault("in").await.expect("a vault");
        let courier = Arc::new(HttpCourier::new(true).expect("a courier"));
        let folder = Some(self.export_folder());
        let places = || Arc::new(Places::new(true, folder).expect("places"));
        let destinations = destinations.unwrap_or_else(|| places());
        Line::new(vault, Arc::new(Loopback::default()), courier).with_destinations(destinations)
    }

    pub(crate) async fn put_schedule(&self, body: Value) -> (StatusCode, Value) {
        self.send(Method::PUT, PLACE, Some(&self.acme_officer), Some(body))
            .await
    }

    async fn runs(&self) -> Vec<Run> {
        let vault = self.site.open_vault("in").await.expect("a vault");
        let account = vault.get_account(&sid("acme")).await.expect("an account");
        vault.list_export_runs(&account).await.expect("runs")
    }

    async fn warned_recordings(&self) -> u64 {
        let vault = self.site.open_vault("in").await.expect("a vault");
        let warnings = vault.warnings(&sid("acme")).await.expect("warnings");
        warnings.iter().map(|warning| warning.records).sum()
    }

    async fn doctors_finding(&self) -> (Severity, String) {
        let vault = self.site.open_vault("in").await.expect("a vault");
        let findings = vault.doctor().await.expect("findings");
        let found = findings
            .into_iter()
            .find(|finding| finding.check == "scheduled exports");
        let found = found.expect("a finding");
        (found.severity, found.message)
    }

    fn after_days(&self, days: i64) {
        self.clock
            .advance_to(TimeUs::parse(NOW).expect("a time").plus_days(days));
    }
}

pub(crate) fn good(line: &callvault_app::line::LineReport) {
    assert_eq!(line.failures, Vec::<String>::new());
}

/// Every object that the manifests of a place name, checked against what lies there. Returns how many.
async fn check_manifests(place: &dyn Objects, folder: &str) -> usize {
    let mut checked = 0;
    for info in place.list("manifests/").await.expect("a listing") {
        let manifest = place.get(&info.name).await.expect("a manifest");
        let manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
        for entry in manifest["objects"].as_array().expect("objects") {
            let name = entry["file"].as_str().expect("a name");
            assert!(name.starts_with(folder) || folder.is_empty(), "{name}");
            let bytes = place.get(name).await.expect("the object");
            assert_eq!(entry["bytes"], bytes.len());
            assert_eq!(entry["sha256"], hex::encode(sha256(&[&bytes])), "{name}");
            checked += 1;
        }
    }
    checked
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lapses_soon_lies_in_the_accounts_folder_and_is_warned_of_no_more() {
    let world = world().await;
    let early = [world.call(20).await, world.call(10).await];
    let stored = [world.record(&early[0], 1).await, world.record(&early[1], 2).await];
    let line = &world.serving.doors[0].door.line;
    let (status, set) = world
        .put_schedule(json!({"folder": "daily/x", "audio_format": "wav"}))
        .await;
    assert_eq!(status, StatusCode::OK, "{set}");
    assert_eq!((&set["folder"], &set["days_before"]), (&json!("daily/x"), &json!(35)));
    // Nothing lapses within 35 days yet.
    good(&line.work().await);
    assert_eq!(world.runs().await[0].recordings, 0);

    world.after_days(61);
    assert_eq!(world.warned_recordings().await, 2);
    good(&line.work().await);
    assert_eq!(world.warned_recordings().await, 0, "an export took them");
    let place = world.export_folder().join("acme/daily/x");
    for (sid, n) in stored.iter().zip([1, 2]) {
        let bytes = std::fs::read(place.join(format!("recordings/2026-11-23/{sid}.wav"))).expect("the recording");
        assert!(bytes == tones(n, 1));
    }
    let files = callvault_app::store::files::Files::open_plain(&place)
        .await
        .expect("a folder");
    assert_eq!(check_manifests(&files, "recordings/").await, 2);
    let (status, shown) = world.send(Method::GET, PLACE, Some(&world.acme), None).await;
    assert_eq!(status, StatusCode::OK);
    let run = &shown["runs"][0];
    assert_eq!(
        (&run["state"], &run["recordings"]),
        (&json!("done"), &json!(2)),
        "{shown}"
    );
    assert_eq!(world.doctors_finding().await.0, Severity::Good);

    // What is exported is not exported again; what comes later is, in its time.
    world.after_days(62);
    good(&line.work().await);
    assert_eq!(world.runs().await[0].recordings, 0);
    // Calls lie there as a file a day before their year is over; a late one makes the day's file anew.
    world.after_days(335);
    good(&line.work().await);
    let csv = || std::fs::read_to_string(place.join("calls/2026-11-23.csv")).expect("the day");
    assert_eq!(csv().lines().count(), 3, "a header and two calls");
    world.call(5).await;
    world.after_days(336);
    good(&line.work().await);
    assert_eq!(csv().lines().count(), 4);
    let (status, _) = world.send(Method::DELETE, PLACE, Some(&world.acme_officer), None).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(
        world.send(Method::GET, PLACE, Some(&world.acme), None).await.0,
        StatusCode::NOT_FOUND
    );
    // When nothing of a day is left, nothing is known of it.
    world.after_days(370);
    let vault = world.site.open_vault("in").await.expect("a vault");
    assert!(vault.tick().await.failures.is_empty());
    world.put_schedule(json!({"folder": "daily/x"})).await;
    good(&line.work().await);
    let left = vault.catalog().list_values("exported/acme/").await.expect("values");
    assert_eq!(left.len(), 0, "{left:?}");
    world.serving.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_target_gets_everything_that_is_due_once() {
    let world = world().await;
    let call = world.call(10).await;
    world.record(&call, 1).await;
    let line = &world.serving.doors[0].door.line;
    let mut at = TimeUs::parse(NOW).expect("a time");
    for (folder, each) in [("one", 1), ("two", 1), ("one", 0), ("two", 0)] {
        // Schedules that are set within a second are two, and begin two runs.
        at = TimeUs(at.0 + 1);
        world.clock.advance_to(at);
        let (status, said) = world.put_schedule(json!({"folder": folder, "days_before": 366})).await;
        assert_eq!(status, StatusCode::OK, "{said}");
        good(&line.work().await);
        let run = world.runs().await.remove(0);
        assert_eq!((run.days, run.recordings), (each, each), "{folder}");
        let place = world.export_folder().join("acme").join(folder);
        let files = callvault_app::store::files::Files::open_plain(&place).await;
        assert_eq!(check_manifests(&files.expect("a folder"), "").await, 2, "{folder}");
    }
    world.serving.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_bucket_is_written_and_read_back_and_its_keys_stay_inside() {
    if goes_without("s3") {
        return;
    }
    let world = world().await;
    let call = world.call(10).await;
    let recording = world.record(&call, 1).await;
    let config = s3_config(&unique_name());
    let line = world.private_line(None).await;
    let bucket = json!({
        "endpoint": config.endpoint, "region": config.region, "name": config.bucket, "prefix": config.prefix,
        "access_key": config.access_key, "secret_key": config.secret_key,
    });
    // The door's own line refuses this machine, and plain HTTP.
    let (status, refused) = world.put_schedule(json!({"bucket": bucket})).await;
    assert_eq!(
        (status, &refused["field"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("bucket.endpoint"))
    );
    let vault = world.site.open_vault("in").await.expect("a vault");
    let account = vault.get_account(&sid("acme")).await.expect("an account");
    let mut schedule = schedule_to(&config);
    schedule.classes = [Class::Recording].into();
    line.set_schedule(&account, schedule.clone()).await.expect("set");
    // Wrong keys are found out at once, and named by no secret.
    let mut wrong = schedule.clone();
    if let Target::Bucket(bucket) = &mut wrong.target {
        bucket.secret_key = "0".repeat(64);
    }
    let refused = line
        .set_schedule(&account, wrong)
        .await
        .expect_err("refused")
        .to_string();
    assert!(refused.starts_with("target:") && !refused.contains("0000"), "{refused}");

    world.after_days(61);
    good(&line.work().await);
    let place = S3::open(&config).await.expect("the bucket");
    let bytes = place
        .get(&format!("recordings/2026-11-23/{recording}.wav"))
        .await
        .expect("the recording");
    assert!(bytes == tones(1, 1));
    assert_eq!(check_manifests(&place, "recordings/").await, 1);
    assert_eq!(world.warned_recordings().await, 0);
    let (_, shown) = world.send(Method::GET, PLACE, Some(&world.acme), None).await;
    assert_eq!(shown["bucket"]["name"], config.bucket);
    assert!(!shown.to_string().contains(&config.secret_key) && !shown.to_string().contains(&config.access_key));
    let kept = vault.catalog().list_values("export-schedule/").await.expect("values");
    let secret = config.secret_key.as_bytes();
    assert!(
        kept.iter()
            .all(|(_, value)| !value.windows(secret.len()).any(|part| part == secret))
    );
    world.serving.close().await;
}

fn schedule_to(config: &callvault_app::store::s3::S3Config) -> callvault_app::schedule::Schedule {
    callvault_app::schedule::Schedule {
        target: Target::Bucket(callvault_app::schedule::Bucket {
            endpoint: config.endpoint.clone(),
            region: config.region.clone(),
            bucket: config.bucket.clone(),
            prefix: config.prefix.clone(),
            access_key: config.access_key.clone(),
            secret_key: config.secret_key.clone(),
        }),
        classes: [Class::Recording, Class::Call].into(),
        records_format: callvault_app::export::Format::Parquet,
        audio_format: None,
        days_before: 35,
        set_at: TimeUs::default(),
    }
}

/// What every way to hear of a failure says.
async fn check_alarms(world: &World, seen: &hooks::Seen, failures: usize, why: &str) {
    let run = world.runs().await.remove(0);
    assert_eq!(
        (run.state.as_str(), run.failures as usize),
        ("failing", failures),
        "{run:?}"
    );
    assert!(run.error.as_deref().unwrap_or_default().contains(why), "{run:?}");
    let told = hooks::bodies(seen, "ok");
    assert_eq!(told.len(), failures, "{told:?}");
    assert!(
        told.iter()
            .all(|event| event["type"] == "export.failed" && event["data"]["run"] == run.id.as_str())
    );
    let (_, log) = world
        .send(
            Method::GET,
            "/v1/accounts/acme/logs/activity",
            Some(&world.acme_officer),
            None,
        )
        .await;
    let entries = log["entries"].as_array().expect("entries").iter();
    let failed: Vec<_> = entries.filter(|entry| entry["name"] == "export.failed").collect();
    assert_eq!(failed.len(), failures, "{log}");
    assert!(
        failed[0]["detail"]["error"].as_str().expect("a reason").contains(why),
        "{log}"
    );
    let (severity, message) = world.doctors_finding().await;
    assert_eq!(severity, Severity::Alarm, "{message}");
    assert_eq!(
        world.warned_recordings().await,
        1,
        "what is not exported is still warned of"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_vanishes_alarms_and_is_tried_again() {
    if goes_without("s3") {
        return;
    }
    let world = world().await;
    let call = world.call(10).await;
    world.record(&call, 1).await;
    let (address, seen) = hooks::start_receiver().await;
    hooks::create_for(&world, &format!("http://{address}/ok"), "export.failed").await;
    let mut config = s3_config(&unique_name());
    let proxy = Proxy::start(config.endpoint.replace("http://", "")).await;
    config.endpoint = format!("http://127.0.0.1:{}", proxy.port());
    let line = world.private_line(None).await;
    let vault = world.site.open_vault("in").await.expect("a vault");
    let account = vault.get_account(&sid("acme")).await.expect("an account");
    line.set_schedule(&account, schedule_to(&config)).await.expect("set");
    good(&line.work().await);
    assert_eq!(
        line.export_counts(),
        (1, 0),
        "nothing was due, and one run was enough to see it"
    );

    world.after_days(61);
    proxy.set(Mode::Cut);
    let report = line.work().await;
    assert!(
        report.failures.iter().any(|failure| failure.starts_with("export:")),
        "{report:?}"
    );
    check_alarms(&world, &seen, 1, "object store").await;
    assert_eq!(line.export_counts(), (1, 1));
    // Five minutes later it is tried again, and half an hour later the bucket is back.
    world.clock.advance_to(world.now().plus_seconds(301));
    line.work().await;
    check_alarms(&world, &seen, 2, "object store").await;
    proxy.set(Mode::Pass);
    world.clock.advance_to(world.now().plus_seconds(1_801));
    good(&line.work().await);
    let run = world.runs().await.remove(0);
    assert_eq!((run.state.as_str(), run.recordings, run.failures), ("done", 1, 2));
    assert_eq!(world.warned_recordings().await, 0);
    assert_eq!(world.doctors_finding().await.0, Severity::Good);
    let text = format!("{:?}", world.runs().await);
    assert!(!text.contains(&config.secret_key));
    world.serving.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupted_object_is_noticed_by_the_read_back() {
    let world = world().await;
    let call = world.call(10).await;
    world.record(&call, 1).await;
    let (address, seen) = hooks::start_receiver().await;
    hooks::create_for(&world, &format!("http://{address}/ok"), "export.failed").await;
    // In a real bucket where there is one, else in a folder.
    let config = (!goes_without("s3")).then(|| s3_config(&unique_name()));
    let places = Places::new(true, Some(world.export_folder())).expect("places");
    let rotten = world.private_line(Some(Arc::new(Spoiled(places, Spoil::Bits)))).await;
    let vault = world.site.open_vault("in").await.expect("a vault");
    let account = vault.get_account(&sid("acme")).await.expect("an account");
    let mut schedule = match &config {
        Some(config) => schedule_to(config),
        None => schedule_to(&callvault_app::store::s3::S3Config {
            endpoint: String::new(),
            region: String::new(),
            bucket: String::new(),
            prefix: String::new(),
            access_key: String::new(),
            secret_key: String::new(),
            patience: std::time::Duration::from_secs(1),
        }),
    };
    if config.is_none() {
        schedule.target = Target::Folder("daily".to_owned());
    }
    rotten.set_schedule(&account, schedule).await.expect("set");
    rotten.work().await;
    world.after_days(61);
    rotten.work().await;
    check_alarms(&world, &seen, 1, "read back").await;
    // The next attempt, to a target that keeps what it is given, mends it.
    let line = world.private_line(None).await;
    world.clock.advance_to(world.now().plus_seconds(301));
    good(&line.work().await);
    assert_eq!(world.warned_recordings().await, 0);
    world.serving.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_schedule_may_not_be_names_the_field() {
    let world = world().await;
    let bucket = |endpoint: &str| json!({"endpoint": endpoint, "region": "r", "name": "acme-calls", "access_key": "a", "secret_key": "s"});
    for (body, field) in [
        (json!({}), "bucket"),
        (
            json!({"folder": "a", "bucket": bucket("https://s3.example.com")}),
            "bucket",
        ),
        (json!({"folder": "../other"}), "folder"),
        (json!({"folder": "/etc"}), "folder"),
        (json!({"folder": "a", "days_before": 0}), "days_before"),
        (json!({"folder": "a", "days_before": 367}), "days_before"),
        (json!({"folder": "a", "classes": []}), "classes"),
        (json!({"folder": "a", "classes": ["contact"]}), "classes"),
        (json!({"folder": "a", "classes": ["activity"]}), "classes"),
        (json!({"folder": "a", "records_format": "xml"}), "records_format"),
        (json!({"folder": "a", "audio_format": "ogg"}), "audio_format"),
        (json!({"folder": "a", "colour": "red"}), "colour"),
        (json!({"bucket": bucket("https://10.0.0.1")}), "bucket.endpoint"),
        (json!({"bucket": bucket("https://169.254.169.254")}), "bucket.endpoint"),
        (json!({"bucket": bucket("http://s3.example.com")}), "bucket.endpoint"),
        (
            json!({"bucket": bucket("https://user@s3.example.com")}),
            "bucket.endpoint",
        ),
    ] {
        let (status, answer) = world.put_schedule(body.clone()).await;
        assert_eq!(
            (status, &answer["field"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &json!(field)),
            "{body} {answer}"
        );
    }
    assert_eq!(
        world.send(Method::GET, PLACE, Some(&world.acme), None).await.0,
        StatusCode::NOT_FOUND
    );
    // A folder that is none.
    std::fs::create_dir_all(world.export_folder().join("acme")).expect("made");
    std::fs::write(world.export_folder().join("acme/file"), "x").expect("written");
    let (status, answer) = world.put_schedule(json!({"folder": "file"})).await;
    assert_eq!(
        (status, &answer["field"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("target")),
        "{answer}"
    );
    std::fs::remove_dir_all(world.export_folder().join("acme")).expect("removed");
    // An operator's folder that is not there, as one that is not mounted, is not made.
    std::fs::remove_dir(world.export_folder()).expect("removed");
    let (_, answer) = world.put_schedule(json!({"folder": "a"})).await;
    assert_eq!(answer["field"], "target", "{answer}");
    assert!(!Path::new(&world.export_folder()).exists());
    world.serving.close().await;
}
