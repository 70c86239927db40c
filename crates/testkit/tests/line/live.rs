//! Live calls: whatever happens, each ends in a record, and what was captured with consent is a recording of it.

use std::sync::Arc;

use bytes::Bytes;
use callvault_app::{
    Vault,
    line::{Line, LiveCall},
    recording::RecordingView,
};
use callvault_core::{
    AccountSid, Class, Plan, Reader, Sid, TimeUs,
    consent::{Consenting, Event, Rule, Switches},
    record::{Call, CallStatus, Consent, Record},
};
use callvault_store::rows::RecordingQuery;
use callvault_testkit::{
    fault::{Faults, Mode},
    world::{Pair, World, at, call},
};
use futures::TryStreamExt as _;

use crate::Phone;

const START: &str = "2027-03-01T12:00:00Z";

fn line(vault: &Arc<Vault>) -> Arc<Line> {
    Arc::new(Phone::default().line(Arc::clone(vault)))
}

fn ringing(now: TimeUs) -> Call {
    match call(now, 7, 1, 2) {
        Record::Call(call) => Call {
            status: CallStatus::Ringing,
            answered_at: None,
            ended_at: None,
            duration_s: 0,
            talk_s: 0,
            extra: None,
            ..call
        },
        _ => panic!("a call"),
    }
}

fn story() -> Consenting {
    let on = Switches {
        call: Some(true),
        ..Switches::default()
    };
    Consenting::new(on, Rule::OptIn, 3)
}

fn accepted(now: TimeUs) -> Consenting {
    let mut story = story();
    story.note(now, Event::Announced);
    story.note(now, Event::Accepted);
    story
}

/// A second of two channels, each sample the second's number.
fn second(n: u8) -> Bytes {
    vec![n; 32_000].into()
}

async fn begin(line: &Arc<Line>, sid: &AccountSid, now: TimeUs) -> LiveCall {
    let account = line.vault().get_account(sid).await.expect("acme");
    let mut live = line.begin_live(account, ringing(now), None).await.expect("begun");
    live.answer(now.plus_seconds(2)).await.expect("answered");
    live
}

async fn recordings(world: &World, sid: &AccountSid) -> Vec<RecordingView> {
    let query = RecordingQuery {
        limit: 10,
        ..RecordingQuery::default()
    };
    let listed = world.vault.list_recordings(sid, query, Reader::Compliance).await;
    listed.expect("a listing").0
}

async fn audio(world: &World, sid: &AccountSid, recording: &RecordingView) -> Vec<u8> {
    let read = world
        .vault
        .read_recording(sid, recording.sid, 0..recording.bytes, Reader::Account)
        .await
        .expect("readable");
    let pieces: Vec<Bytes> = read.try_collect().await.expect("read");
    pieces.concat()
}

async fn record(world: &World, sid: &AccountSid, call: Sid) -> (Call, serde_json::Value) {
    let found = world.vault.get_record(sid, Class::Call, call, Reader::Account).await;
    match found.expect("a record") {
        Record::Call(call) => {
            let extra = call.extra.as_deref().unwrap_or("{}");
            let extra = serde_json::from_str(extra).expect("JSON");
            (call, extra)
        }
        _ => panic!("a call"),
    }
}

async fn parts(world: &World) -> usize {
    world.parts.objects.list("takes/").await.expect("a listing").len()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_captured_with_consent_is_a_recording_of_the_call() {
    for pair in Pair::all() {
        let world = World::new(pair, at(START)).await;
        let sid = world.account("acme", Plan::Growth).await;
        let line = line(&world.vault);
        let mut live = begin(&line, &sid, at(START)).await;
        let call = live.sid();
        let account = world.vault.get_account(&sid).await.expect("acme");
        let seen = line
            .get_call(&account, call, Reader::Account)
            .await
            .expect("it goes on");
        assert_eq!(seen.status, CallStatus::InProgress);
        let story = accepted(at(START).plus_seconds(3));
        live.begin_take(&story, 2).await.expect("begun");
        for n in 1..=3 {
            live.write_take(second(n)).await.expect("kept");
            world.clock.advance_to(at(START).plus_seconds(3 + i64::from(n)));
        }
        assert!(recordings(&world, &sid).await.is_empty(), "nothing half-done is seen");
        live.end(world.vault.now(), CallStatus::Completed, Some(&story))
            .await
            .expect("ended");
        assert_eq!(line.work().await.failures, Vec::<String>::new());
        let (kept, extra) = record(&world, &sid, call).await;
        assert_eq!(
            (kept.status, kept.duration_s, kept.talk_s),
            (CallStatus::Completed, 6, 4)
        );
        assert_eq!(
            extra["consent"]["decision"]["consent"]["decision"], "accepted",
            "{extra}"
        );
        assert_eq!(
            (&extra["consent"]["policy_version"], &extra["consent"]["rule"]),
            (&3.into(), &"opt-in".into())
        );
        assert_eq!(extra["consent"]["events"].as_array().map(Vec::len), Some(2));
        let kept = recordings(&world, &sid).await;
        let [recording] = kept.as_slice() else {
            panic!("one, not {}", kept.len())
        };
        assert_eq!(extra["recording"], recording.sid.to_string());
        assert_eq!(recording.call_sid, Some(call));
        let meta = &recording.meta;
        assert_eq!(
            (
                meta.consent.clone(),
                meta.policy_version,
                meta.channels,
                meta.duration_ms
            ),
            (Consent::Accepted, Some(3), 2, 3_000)
        );
        let audio = audio(&world, &sid, recording).await;
        assert_eq!(audio.len(), 44 + 96_000);
        assert_eq!(
            audio[4..8],
            u32::try_from(audio.len() - 8).expect("short").to_le_bytes()
        );
        assert_eq!(audio[44..], [second(1), second(2), second(3)].concat());
        assert_eq!(parts(&world).await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_process_died_has_its_record_and_what_was_captured() {
    for pair in Pair::all() {
        let mut world = World::new(pair, at(START)).await;
        let sid = world.account("acme", Plan::Growth).await;
        let mut live = begin(&line(&world.vault), &sid, at(START)).await;
        let call = live.sid();
        world.clock.advance_to(at(START).plus_seconds(5));
        live.begin_take(&accepted(at(START)), 2).await.expect("begun");
        live.write_take(second(1)).await.expect("kept");
        drop(live);
        world.restart().await;
        let line = line(&world.vault);
        line.work().await;
        assert!(recordings(&world, &sid).await.is_empty(), "somebody may still carry it");
        world.clock.advance_to(at(START).plus_seconds(70));
        assert_eq!(line.work().await.failures, Vec::<String>::new());
        let (kept, extra) = record(&world, &sid, call).await;
        assert_eq!((kept.status, kept.duration_s, kept.talk_s), (CallStatus::Failed, 5, 3));
        assert_eq!(extra["interrupted"], true);
        let kept = recordings(&world, &sid).await;
        assert_eq!(kept.len(), 1);
        assert_eq!(audio(&world, &sid, &kept[0]).await[44..], second(1));
        assert_eq!((parts(&world).await, &kept[0].meta.consent), (0, &Consent::Accepted));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_withdrawn_is_destroyed_and_the_record_says_so() {
    for pair in Pair::all() {
        let world = World::new(pair, at(START)).await;
        let sid = world.account("acme", Plan::Growth).await;
        let line = line(&world.vault);
        let mut live = begin(&line, &sid, at(START)).await;
        let mut story = accepted(at(START));
        live.begin_take(&story, 2).await.expect("begun");
        live.write_take(second(1)).await.expect("kept");
        assert_eq!(parts(&world).await, 1);
        story.note(at(START), Event::Withdrawn);
        live.destroy_take(&story).await.expect("destroyed");
        assert_eq!(parts(&world).await, 0);
        assert!(live.write_take(second(2)).await.is_err(), "there is nothing to add to");
        let call = live.sid();
        live.end(world.vault.now(), CallStatus::Completed, Some(&story))
            .await
            .expect("ended");
        assert_eq!(line.work().await.failures, Vec::<String>::new());
        let (_, extra) = record(&world, &sid, call).await;
        assert_eq!(extra["consent"]["decision"]["standing"], "withdrawn", "{extra}");
        assert!(extra.get("recording").is_none());
        assert!(recordings(&world, &sid).await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_lost_a_call_adds_nothing_to_it() {
    let world = World::new(Pair::Embedded, at(START)).await;
    let sid = world.account("acme", Plan::Growth).await;
    let line = line(&world.vault);
    let mut live = begin(&line, &sid, at(START)).await;
    let story = accepted(at(START));
    live.begin_take(&story, 1).await.expect("begun");
    live.write_take(second(1)).await.expect("kept");
    world.clock.advance_to(at(START).plus_seconds(61));
    assert_eq!(line.work().await.failures, Vec::<String>::new());
    assert!(live.write_take(second(2)).await.is_err());
    assert_eq!(parts(&world).await, 0);
    assert!(
        live.end(world.vault.now(), CallStatus::Completed, Some(&story))
            .await
            .is_err()
    );
    assert_eq!(recordings(&world, &sid).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_accounts_takes_go() {
    let world = World::new(Pair::Embedded, at(START)).await;
    let sid = world.account("acme", Plan::Growth).await;
    let line = line(&world.vault);
    let mut live = begin(&line, &sid, at(START)).await;
    live.begin_take(&accepted(at(START)), 1).await.expect("begun");
    live.write_take(second(1)).await.expect("kept");
    world.vault.close_account(&sid).await.expect("closed");
    world.clock.advance_to(at(START).plus_seconds(61));
    line.work().await;
    assert_eq!(parts(&world).await, 0);
    assert!(live.write_take(second(2)).await.is_err());
}

/// A call of three seconds, as far as the stores let it. Returns whether it was begun, and the seconds that were taken.
async fn carry(vault: &Arc<Vault>, sid: &AccountSid) -> (bool, u8) {
    let line = line(vault);
    let Ok(account) = vault.get_account(sid).await else {
        return (false, 0);
    };
    let Ok(mut live) = line.begin_live(account, ringing(at(START)), None).await else {
        return (false, 0);
    };
    let story = accepted(at(START));
    let mut taken = 0;
    if live.answer(at(START)).await.is_ok() && live.begin_take(&story, 2).await.is_ok() {
        for n in 1..=3 {
            if live.write_take(second(n)).await.is_err() {
                return (true, taken);
            }
            taken = n;
        }
        let _ = live.end(at(START), CallStatus::Completed, Some(&story)).await;
        line.work().await;
    }
    (true, taken)
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_call_of_a_store_fails_what_was_taken_is_there() {
    for (pair, step) in [(Pair::Embedded, 1), (Pair::Scaled, 5)] {
        for mode in Mode::ALL {
            for n in (0..).step_by(step) {
                let mut world = World::new(pair, at(START)).await;
                let sid = world.account("acme", Plan::Growth).await;
                let faults = Faults::default();
                let vault = Arc::new(Vault::open(faults.wrap(&world.parts)).await.expect("open"));
                faults.arm(n, mode);
                let (begun, taken) = carry(&vault, &sid).await;
                let struck = faults.struck();
                let place = struck.clone().unwrap_or_default();
                drop(vault);
                world.restart().await;
                world.clock.advance_to(at(START).plus_seconds(90));
                let failures = line(&world.vault).work().await.failures;
                assert_eq!(failures, Vec::<String>::new(), "{place}");
                let ended = ringing(at(START)).sid;
                let found = world.vault.get_record(&sid, Class::Call, ended, Reader::Account).await;
                assert!(found.is_ok() || !begun, "{place}: a call without a record");
                let kept = recordings(&world, &sid).await;
                let bytes: Vec<u8> = match kept.as_slice() {
                    [] => Vec::new(),
                    [recording] => audio(&world, &sid, recording).await[44..].to_vec(),
                    more => panic!("{place}: {} recordings", more.len()),
                };
                let whole: Vec<u8> = (1..=3).flat_map(second).collect();
                assert!(whole.starts_with(&bytes), "{place}: something else");
                assert!(
                    bytes.len() >= usize::from(taken) * 32_000,
                    "{place}: what was taken is gone"
                );
                assert_eq!(parts(&world).await, 0, "{place}");
                if struck.is_none() {
                    assert!(n > 10, "only {n} calls were met");
                    break;
                }
            }
        }
    }
}
