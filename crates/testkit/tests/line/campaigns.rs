//! Campaigns: everybody is called as often as they are to be, whatever fails in between.

use std::{collections::BTreeMap, sync::Arc};

use callvault_app::{
    Account, Vault,
    contact::{Contact, List},
    line::{Definition, Line},
    read::Query,
};
use callvault_core::{
    AccountSid, Class, Number, Plan, Reader, Record, Sid,
    campaign::{Action, Mechanism, Retries, Stats, Status},
    record::CallStatus,
};
use callvault_testkit::{
    fault::{Faults, Mode},
    world::{Pair, World, at},
};

use crate::Phone;

const START: &str = "2027-03-01T12:00:00Z";

fn definition() -> Definition {
    Definition {
        name: "Reminder".to_owned(),
        caller_id: Number("+918049500000".into()),
        campaign_type: "static".to_owned(),
        flow_type: None,
        url: Some("https://example.com/flow".to_owned()),
        read_via_text: None,
        lists: Vec::new(),
        call_duplicate_numbers: false,
        retries: Some(Retries {
            number_of_retries: 2,
            interval_mins: 10,
            mechanism: Mechanism::Linear,
            on_status: vec![CallStatus::Busy, CallStatus::NoAnswer],
        }),
        send_at: None,
        end_at: None,
        call_status_callback: Some("https://example.com/call".to_owned()),
        call_schedule_callback: Some("https://example.com/number".to_owned()),
        status_callback: Some("https://example.com/end".to_owned()),
        mode: "auto".to_owned(),
        throttle: 60,
        custom_field: None,
        repeat_menu_attempts: None,
        base_url: "https://vault.example".to_owned(),
    }
}

fn numbers(count: u32) -> Vec<Number> {
    (0..count).map(|n| Number(format!("+9199000{n:05}").into())).collect()
}

/// Works on the line for so long, two seconds at a time.
async fn work(world: &World, line: &Line, seconds: i64) {
    use callvault_app::Clock as _;
    let end = world.clock.now().plus_seconds(seconds);
    while world.clock.now() < end {
        line.work().await;
        let now = world.clock.now();
        world.clock.advance_to(now.plus_seconds(2));
    }
}

/// Records of a class, by the number that they are about.
async fn records(vault: &Vault, account: &AccountSid, class: Class) -> BTreeMap<String, Vec<Record>> {
    let query = Query {
        limit: 1_000,
        ..Query::default()
    };
    let page = vault
        .list_records(account, class, &query, Reader::Account)
        .await
        .expect("records");
    let mut found: BTreeMap<String, Vec<Record>> = BTreeMap::new();
    for record in page.records {
        let number = record.parties()[0].as_str().to_owned();
        found.entry(number).or_default().push(record);
    }
    found
}

async fn find_only(line: &Line, account: &Account) -> Option<Sid> {
    let query = callvault_app::line::CampaignQuery {
        limit: 10,
        ..Default::default()
    };
    let (found, _) = line.list_campaigns(account, &query).await.expect("campaigns");
    assert!(found.len() <= 1, "made twice");
    found.first().map(|campaign| campaign.id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_calls_until_it_reaches_and_reports_everybody_once() {
    for pair in Pair::all() {
        let world = World::new(pair, at(START)).await;
        let sid = world.account("acme", Plan::Growth).await;
        let account = world.vault.get_account(&sid).await.expect("acme");
        let phone = Phone::default();
        let line = phone.line(Arc::clone(&world.vault));
        let numbers = numbers(250);
        let objector = &numbers[3];
        world
            .vault
            .suppress(&account, objector, "objected")
            .await
            .expect("suppressed");
        {
            let mut ends = phone.ends.lock().expect("a lock");
            ends.insert(
                numbers[0].as_str().to_owned(),
                vec![CallStatus::Busy, CallStatus::Completed],
            );
            ends.insert(numbers[1].as_str().to_owned(), vec![CallStatus::NoAnswer]);
            ends.insert(numbers[2].as_str().to_owned(), vec![CallStatus::Failed]);
        }
        let twice = [numbers.clone(), numbers[..1].to_vec()].concat();
        let made = line.create_campaign(&account, definition(), twice).await.expect("made");
        assert_eq!((made.body.status, made.body.stats.created), (Status::Created, 250));
        // Sixty a minute, and never more.
        work(&world, &line, 58).await;
        let rung = phone.rung.lock().expect("a lock").len();
        assert_eq!(rung, 60);
        work(&world, &line, 30 * 60).await;
        let over = line.get_campaign(&account, made.id).await.expect("the campaign");
        let stats = Stats {
            created: 249,
            completed: 247,
            failed: 2,
            pending: 0,
        };
        assert_eq!((over.body.status, over.body.stats), (Status::Completed, stats));
        assert_eq!(over.body.left_out, 1);
        assert_eq!(phone.calls(objector.as_str()).len(), 0, "who objected is not called");
        let attempts = [0, 1, 2, 4].map(|n| phone.calls(numbers[n].as_str()).len());
        assert_eq!(attempts, [2, 3, 1, 1]);
        let reports = records(&world.vault, &sid, Class::CampaignReport).await;
        assert_eq!(reports.len(), 249);
        assert!(reports.values().all(|reports| reports.len() == 1));
        let calls = records(&world.vault, &sid, Class::Call).await;
        assert_eq!(calls[numbers[1].as_str()].len(), 3);
        let posted = phone.posted.lock().expect("a lock").clone();
        let told = |url: &str| posted.iter().filter(|letter| letter.url.ends_with(url)).count();
        assert_eq!((told("/call"), told("/number"), told("/end")), (252, 249, 1));
        let csv = line.campaign_report(&account, &over).await.expect("a report");
        let csv = String::from_utf8(csv).expect("UTF-8");
        assert_eq!(csv.lines().count(), 250);
        assert!(
            csv.lines()
                .any(|line| line.contains(numbers[1].as_str()) && line.contains(",no-answer,3,")),
            "{csv}"
        );
        // A report is found by its number, and goes a year after it was made; the campaign too.
        let query = Query {
            number: Some(numbers[2].clone()),
            ..Query::default()
        };
        let found = world
            .vault
            .list_records(&sid, Class::CampaignReport, &query, Reader::Account)
            .await;
        assert_eq!(found.expect("records").records.len(), 1);
        // The day over, they are sealed in segments, and say the same.
        world.clock.advance_to(at("2027-03-03T00:00:00Z"));
        let report = world.vault.tick().await;
        assert!(report.failures.is_empty() && report.sealed > 0, "{report:?}");
        let sealed = records(&world.vault, &sid, Class::CampaignReport).await;
        assert!(sealed == reports, "what was sealed is not what was written");
        world.clock.advance_to(at("2028-03-02T00:00:00Z"));
        assert_eq!(records(&world.vault, &sid, Class::CampaignReport).await.len(), 0);
        assert_eq!(find_only(&line, &account).await, None);
        let report = world.vault.tick().await;
        assert_eq!(report.failures, Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_is_paused_resumed_completed_and_ended_by_its_schedule() {
    let world = World::new(Pair::Embedded, at(START)).await;
    let sid = world.account("acme", Plan::Growth).await;
    let account = world.vault.get_account(&sid).await.expect("acme");
    let phone = Phone::default();
    let line = phone.line(Arc::clone(&world.vault));
    let slow = Definition {
        throttle: 10,
        send_at: Some(at("2027-03-01T13:00:00Z")),
        end_at: Some(at("2027-03-01T13:10:30Z")),
        ..definition()
    };
    let rung = || phone.rung.lock().expect("a lock").len();
    let made = line.create_campaign(&account, slow, numbers(200)).await.expect("made");
    work(&world, &line, 3_590).await;
    assert_eq!(rung(), 0, "not before its time");
    work(&world, &line, 60).await;
    assert_eq!(rung(), 10);
    let paused = line
        .act_on_campaign(&account, made.id, Action::Pause)
        .await
        .expect("paused");
    assert_eq!(paused.body.status, Status::Paused);
    work(&world, &line, 120).await;
    assert_eq!(rung(), 10, "nobody is called while it is paused");
    let stats = line.get_campaign(&account, made.id).await.expect("it").body.stats;
    assert_eq!((stats.completed, stats.pending), (10, 190), "what was begun is ended");
    line.act_on_campaign(&account, made.id, Action::Resume)
        .await
        .expect("resumed");
    work(&world, &line, 100).await;
    assert_eq!(rung(), 30);
    work(&world, &line, 600).await;
    let over = line.get_campaign(&account, made.id).await.expect("it");
    assert_eq!(over.body.status, Status::Completed, "its end came");
    let stats = over.body.stats;
    assert_eq!(
        (stats.pending, stats.completed, stats.failed as usize),
        (0, rung() as u64, 200 - rung())
    );
    let reports = records(&world.vault, &sid, Class::CampaignReport).await;
    assert_eq!(reports.len(), 200, "who was not reached is reported too");

    let second = line
        .create_campaign(&account, definition(), numbers(100))
        .await
        .expect("made");
    work(&world, &line, 10).await;
    line.act_on_campaign(&account, second.id, Action::Pause)
        .await
        .expect("paused");
    line.act_on_campaign(&account, second.id, Action::Complete)
        .await
        .expect("completed");
    work(&world, &line, 20).await;
    let over = line.get_campaign(&account, second.id).await.expect("it");
    assert_eq!((over.body.stats.completed, over.body.stats.failed), (60, 40));
    line.act_on_campaign(&account, second.id, Action::Archive)
        .await
        .expect("archived");

    let third = line
        .create_campaign(&account, definition(), numbers(100))
        .await
        .expect("made");
    line.act_on_campaign(&account, third.id, Action::Cancel)
        .await
        .expect("deleted");
    let before = rung();
    work(&world, &line, 20).await;
    let over = line.get_campaign(&account, third.id).await.expect("it");
    assert_eq!(
        (over.body.status, over.body.stats.failed, rung()),
        (Status::Canceled, 100, before)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_objects_or_is_deleted_meanwhile_is_not_called() {
    for pair in Pair::all() {
        let world = World::new(pair, at(START)).await;
        let sid = world.account("acme", Plan::Growth).await;
        let account = world.vault.get_account(&sid).await.expect("acme");
        let phone = Phone::default();
        let line = phone.line(Arc::clone(&world.vault));
        let list = List {
            name: "Callers".to_owned(),
            tag: None,
        };
        let mut lists = world.vault.create_lists(&account, vec![list]).await.expect("lists");
        let list = lists.pop().expect("a list").expect("made").id;
        let contacts = numbers(6).into_iter().map(|number| Contact {
            number,
            first_name: Some("Aparna".to_owned()),
            last_name: None,
            company_name: None,
            email: None,
            tag: None,
            custom: None,
        });
        let made = world
            .vault
            .create_contacts(&account, contacts.collect(), Some(list))
            .await;
        let contacts: Vec<Sid> = made
            .expect("contacts")
            .into_iter()
            .map(|made| made.expect("made").id)
            .collect();
        let over_list = Definition {
            lists: vec![list],
            throttle: 2,
            ..definition()
        };
        let made = line
            .create_campaign(&account, over_list, Vec::new())
            .await
            .expect("made");
        work(&world, &line, 10).await;
        let rung: Vec<String> = phone.rung.lock().expect("a lock").keys().cloned().collect();
        assert_eq!(rung.len(), 2);
        let mut left: Vec<(Number, Sid)> = numbers(6).into_iter().zip(contacts).collect();
        left.retain(|(number, _)| !rung.contains(&number.as_str().to_owned()));
        world
            .vault
            .delete_contacts(&account, &[left[0].1])
            .await
            .expect("deleted");
        world
            .vault
            .suppress(&account, &left[1].0, "objected")
            .await
            .expect("suppressed");
        work(&world, &line, 300).await;
        let over = line.get_campaign(&account, made.id).await.expect("it");
        let stats = Stats {
            created: 6,
            completed: 4,
            failed: 2,
            pending: 0,
        };
        assert_eq!((over.body.status, over.body.stats), (Status::Completed, stats));
        let called = |n: usize| phone.calls(left[n].0.as_str()).len();
        assert_eq!([called(0), called(1), called(2), called(3)], [0, 0, 1, 1]);
        let csv = line.campaign_report(&account, &over).await.expect("a report");
        assert_eq!(
            String::from_utf8(csv)
                .expect("UTF-8")
                .matches(",Aparna,completed,")
                .count(),
            4
        );
    }
}

/// When the line is worked on before the crash: the first calls, and those after a pause of ten minutes.
const MOMENTS_S: [i64; 12] = [0, 2, 4, 6, 8, 10, 604, 606, 608, 610, 612, 614];

async fn crash_everywhere(pair: Pair, step: usize) {
    for mode in Mode::ALL {
        for n in (0..).step_by(step) {
            let mut world = World::new(pair, at(START)).await;
            let sid = world.account("acme", Plan::Growth).await;
            let phone = Phone::default();
            let numbers = numbers(3);
            let busy = vec![CallStatus::Busy, CallStatus::Completed];
            phone
                .ends
                .lock()
                .expect("a lock")
                .insert(numbers[0].as_str().to_owned(), busy);
            let faults = Faults::default();
            let vault = Arc::new(Vault::open(faults.wrap(&world.parts)).await.expect("open"));
            let account = vault.get_account(&sid).await.expect("acme");
            faults.arm(n, mode);
            let line = phone.line(Arc::clone(&vault));
            let made = line.create_campaign(&account, definition(), numbers.clone()).await;
            let acknowledged = made.is_ok();
            for after_s in MOMENTS_S {
                world.clock.advance_to(at(START).plus_seconds(after_s));
                line.work().await;
            }
            let struck = faults.struck();
            drop(line);
            drop(vault);
            world.restart().await;
            let line = phone.line(Arc::clone(&world.vault));
            // Leases end after a minute, the pause before the second attempt after ten.
            for n in 1..80 {
                world.clock.advance_to(at(START).plus_seconds(620 + 30 * n));
                let report = line.work().await;
                assert_eq!(report.failures, Vec::<String>::new(), "{struck:?}");
            }
            let place = struck.clone().unwrap_or_default();
            let account = world.vault.get_account(&sid).await.expect("acme");
            let Some(id) = find_only(&line, &account).await else {
                assert!(!acknowledged, "{place}: acknowledged and gone");
                continue;
            };
            let over = line.get_campaign(&account, id).await.expect("it");
            let stats = over.body.stats;
            assert_eq!(
                (over.body.status, stats.completed, stats.pending),
                (Status::Completed, 3, 0),
                "{place}"
            );
            let attempts: Vec<_> = numbers
                .iter()
                .map(|number| phone.calls(number.as_str()).len())
                .collect();
            assert_eq!(attempts, [2, 1, 1], "{place}: a call was lost or doubled");
            let reports = records(&world.vault, &sid, Class::CampaignReport).await;
            assert!(
                reports.len() == 3 && reports.values().all(|some| some.len() == 1),
                "{place}"
            );
            let calls = records(&world.vault, &sid, Class::Call).await;
            assert_eq!(calls.values().map(Vec::len).sum::<usize>(), 4, "{place}");
            if struck.is_none() {
                assert!(n >= 100, "only {n} calls were met");
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_loses_no_call_and_doubles_none() {
    for pair in Pair::all() {
        let step = match pair {
            Pair::Embedded => 3,
            Pair::Scaled => 41,
        };
        crash_everywhere(pair, step).await;
    }
}
