//! An approval that was given is carried out, and one that was not deletes nothing.

use std::sync::Arc;

use callvault_app::{Account, Vault, line::Person, recording::NewRecording};
use callvault_core::{
    AccountSid, Number, Plan, Reader, Sid,
    record::{AudioFormat, Consent, RecordingMeta},
    request::{Answer, Asked, State},
};
use callvault_testkit::{
    fault::{Faults, Mode},
    world::{Pair, World, at},
};

use crate::Phone;

const START: &str = "2027-03-01T12:00:00Z";

fn person(id: &str) -> Person {
    Person {
        id: id.to_owned(),
        role: "owner".to_owned(),
    }
}

/// A recording whose deletion was asked for by ann.
struct Asking {
    account: AccountSid,
    recording: Sid,
    request: Sid,
}

async fn ask(world: &World) -> Asking {
    let sid = world.account("acme", Plan::Growth).await;
    let began = at("2027-03-01T09:00:00Z");
    let recording = Account::fresh_sid(began).expect("a SID");
    let new = NewRecording {
        sid: recording,
        call_sid: None,
        at: began,
        meta: RecordingMeta {
            parties: [Number("+919900000001".into()), Number("+919900000002".into())],
            format: AudioFormat::Wav,
            channels: 1,
            sample_rate_hz: 8_000,
            duration_ms: 1_000,
            consent: Consent::Announced,
            policy_version: None,
            file_name: None,
        },
    };
    world.vault.put_recording(&sid, new, &[7; 4_000]).await.expect("stored");
    let account = world.vault.get_account(&sid).await.expect("acme");
    let asked = Asked::DeleteRecording { recording };
    let line = Phone::default().line(Arc::clone(&world.vault));
    let opened = line
        .open_request(&account, asked, "why".to_owned(), person("ann"))
        .await;
    Asking {
        account: sid,
        recording,
        request: opened.expect("open").id,
    }
}

async fn approve(vault: &Arc<Vault>, asking: &Asking) -> Result<State, String> {
    let account = vault
        .get_account(&asking.account)
        .await
        .map_err(|error| error.to_string())?;
    let line = Phone::default().line(Arc::clone(vault));
    let done = line
        .answer_request(&account, asking.request, Answer::Approve, person("bob"), None)
        .await;
    done.map(|view| view.state).map_err(|error| error.to_string())
}

/// Whether the recording is there, and where the request stands.
async fn look(world: &World, asking: &Asking) -> (bool, State) {
    let account = world.vault.get_account(&asking.account).await.expect("acme");
    let line = Phone::default().line(Arc::clone(&world.vault));
    let view = line.get_request(&account, asking.request).await.expect("the request");
    let there = world
        .vault
        .get_recording(&asking.account, asking.recording, Reader::Account)
        .await;
    (there.is_ok(), view.state)
}

async fn crash_everywhere(pair: Pair, step: usize) {
    for mode in Mode::ALL {
        for n in (0..).step_by(step) {
            let mut world = World::new(pair, at(START)).await;
            let asking = ask(&world).await;
            let faults = Faults::default();
            let vault = Arc::new(Vault::open(faults.wrap(&world.parts)).await.expect("open"));
            faults.arm(n, mode);
            let outcome = approve(&vault, &asking).await;
            let Some(place) = faults.struck() else {
                assert!(matches!(outcome, Ok(State::Done { .. })), "{outcome:?}");
                assert!(n >= 5 * step as u64 || n >= 5, "only {n} calls were met");
                break;
            };
            drop(vault);
            world.restart().await;
            let (there, state) = look(&world, &asking).await;
            let consistent = match state {
                State::Open => there,
                State::Approved => true,
                State::Done { .. } => !there,
                _ => false,
            };
            assert!(consistent, "{place}: there {there}, {state:?}");
            // Whoever works next, once the lease is over, ends what was begun.
            world.clock.advance_to(at(START).plus_seconds(90));
            let line = Phone::default().line(Arc::clone(&world.vault));
            assert_eq!(line.work().await.failures, Vec::<String>::new(), "{place}");
            let (there, mut state) = look(&world, &asking).await;
            if matches!(outcome, Ok(State::Done { .. })) {
                assert!(
                    matches!(state, State::Done { .. }),
                    "{place}: acknowledged, and {state:?}"
                );
            }
            if there {
                assert_eq!(state, State::Open, "{place}");
                let again = approve(&world.vault, &asking).await;
                state = again.expect("approved at last");
            }
            let State::Done { log_index } = state else {
                panic!("{place}: {state:?}")
            };
            world.vault.publish().await.expect("published");
            let text = world
                .vault
                .certificate(&asking.account, log_index)
                .await
                .expect("a certificate");
            assert!(
                text.contains("\"cause\":\"request\"") && text.contains("\"class\":\"recording\""),
                "{place}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_that_a_crash_interrupts_is_carried_out() {
    for pair in Pair::all() {
        let step = match pair {
            Pair::Embedded => 1,
            Pair::Scaled => 7,
        };
        crash_everywhere(pair, step).await;
    }
}
