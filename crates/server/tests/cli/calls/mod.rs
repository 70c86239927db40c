//! Real calls over the loopback: SIPp calls, Callvault answers and asks, baresip is the agent. What was said is compared with what
//! is kept, per channel, and where nothing may be kept, nothing is.

#![expect(
    clippy::disallowed_methods,
    reason = "speech takes its time, and so does who speaks it"
)]

mod applets;
mod aware;
mod bad;
mod caller;
mod front;
mod office;
mod place;
mod secure;
mod siprec;
mod site;
mod trace;

use std::{
    process::Stdio,
    sync::mpsc::{Receiver, channel},
    thread::sleep,
    time::Duration,
};

use serde_json::json;

use self::{
    bad::bad_messages_leave_nothing_behind,
    caller::{Act, CALLER, Caller, caller_with_login, caller_with_timer},
    office::{Office, REPLY, SENTENCE, collect, find, loudest, sounds, speech, through_a_law},
    trace::{Trace, Tracer, Written},
};

/// Milliseconds between the connection and the caller's speech.
const BEFORE_MS: u64 = 1_500;

/// A trace of a part of a call: the act that begins it, the one that ends it, and what was written between them.
fn traced(office: &Office) -> (Act, Act, Receiver<Written>) {
    let tracer = Tracer::of(office);
    let ((begun, ending), (told, written)) = (channel(), channel());
    let attach = Act::Do(Box::new(move || begun.send(tracer.attach()).expect("it is ended")));
    let end = Act::Do(Box::new(move || {
        let trace: Trace = ending.recv().expect("it was begun");
        told.send(trace.end_within()).expect("somebody asks");
    }));
    (attach, end, written)
}

fn who_presses_1_is_recorded_each_on_his_own_channel() {
    let office = Office::open();
    let asked = office.asked_ms();
    let said = through_a_law(&speech(SENTENCE));
    let acts = vec![(asked, Act::Press('1')), (asked + BEFORE_MS, Act::Speak(said.clone()))];
    let trace = Trace::of(&office);
    let heard = office.call(acts, asked + BEFORE_MS + 6_000);
    let kept = trace.end();
    // What the caller heard is the announcement, the question, and the agent.
    assert!(
        find(&loudest(&office.announcement), &heard).is_some(),
        "the announcement"
    );
    assert!(find(&loudest(&office.question), &heard).is_some(), "the question");
    let reply = through_a_law(&speech(REPLY));
    assert!(sounds(&loudest(&reply), &heard), "the agent");
    let call = office.record();
    assert_eq!(
        (&call["status"], &call["direction"]),
        (&json!("completed"), &json!("inbound")),
        "{call}"
    );
    assert_eq!(
        (&call["from"], &call["to"]),
        (&json!("+919812345678"), &json!("+918049501234"))
    );
    assert_eq!(
        call["extra"]["consent"]["decision"]["consent"]["decision"], "accepted",
        "{call}"
    );
    let recordings = office.list("recordings");
    let [recording] = recordings.as_slice() else {
        panic!("one recording, not {recordings:?}")
    };
    assert_eq!(recording["sid"], call["extra"]["recording"]);
    assert_eq!(
        (
            &recording["channels"],
            &recording["consent"]["decision"],
            &recording["call_sid"]
        ),
        (&json!(2), &json!("accepted"), &call["sid"])
    );
    let [agent, customer] = office.audio(recording["sid"].as_str().expect("a SID"));
    assert!(sounds(&loudest(&reply), &agent), "the agent is left");
    assert!(!sounds(&loudest(&reply), &customer), "and nowhere else");
    assert!(find(&loudest(&said), &customer).is_some(), "the customer is right");
    assert_eq!(find(&loudest(&said), &agent), None);
    // The customer's speech is there as a whole, and where it was said: 1.5 s after the key, to a tenth of a second or so.
    let first = find(&said[..8_000], &customer).expect("from the beginning");
    assert!((8_000..14_000).contains(&first), "after {first} samples");
    assert!(office.was_captured());
    // Five seconds of both at least, as parts and as the recording: the trace sees audio go out.
    assert!(kept.audio() > 2 * 5 * 32_000, "{kept:?}");
    kept.is_sealed(&[&said, &reply]);
    office.close();
}

fn who_presses_2_is_connected_and_not_one_frame_is_kept() {
    let office = Office::open();
    let asked = office.asked_ms();
    let said = through_a_law(&speech(SENTENCE));
    let acts = vec![(asked, Act::Press('2')), (asked + BEFORE_MS, Act::Speak(said.clone()))];
    let trace = Trace::of(&office);
    let heard = office.call(acts, asked + BEFORE_MS + 6_000);
    assert!(sounds(&loudest(&speech(REPLY)), &heard), "the call itself goes on");
    let call = office.record();
    assert_eq!(call["extra"]["consent"]["decision"]["standing"], "declined", "{call}");
    assert!(call["extra"].get("recording").is_none(), "{call}");
    assert!(office.list("recordings").is_empty());
    assert!(!office.was_captured(), "not one frame");
    let kept = trace.end();
    assert_eq!(kept.audio(), 0, "not one frame: {kept:?}");
    kept.is_sealed(&[&said, &through_a_law(&speech(REPLY))]);
    office.close();
}

fn silence_is_what_the_policy_says_and_a_pause_leaves_out_what_is_said() {
    let office = Office::open();
    let asked = office.asked_ms();
    let said = through_a_law(&speech(SENTENCE));
    // India is announced: silence is taken as staying on the line. The card number is said while the recording rests.
    let talk = asked + 1_000 + BEFORE_MS;
    let (attach, end, written) = traced(&office);
    let goes_on = talk + 2_500 + said.len() as u64 / 8 + 500;
    let acts = vec![
        (talk, Act::Press('*')),
        (talk + 150, Act::Press('7')),
        (talk + 1_000, attach),
        (talk + 2_500, Act::Speak(said.clone())),
        (goes_on, end),
        (goes_on + 1_000, Act::Press('*')),
        (goes_on + 1_150, Act::Press('8')),
        (
            goes_on + 1_700,
            Act::Speak(through_a_law(&speech("Thank you very much."))),
        ),
    ];
    office.call(acts, goes_on + 5_500);
    let kept = written.recv().expect("a trace");
    assert_eq!(kept.audio(), 0, "not one frame while it rests: {kept:?}");
    kept.is_sealed(&[&said]);
    let call = office.record();
    let decision = &call["extra"]["consent"]["decision"];
    assert_eq!(decision["consent"]["decision"], "announced", "{call}");
    let recordings = office.list("recordings");
    assert_eq!(recordings.len(), 1, "{call}");
    let [_, customer] = office.audio(recordings[0]["sid"].as_str().expect("a SID"));
    assert_eq!(
        find(&loudest(&said)[..800], &customer),
        None,
        "what was said while it rested"
    );
    let thanks = through_a_law(&speech("Thank you very much."));
    assert!(find(&loudest(&thanks)[..800], &customer).is_some(), "and after it");
    office.close();
}

fn what_is_withdrawn_in_the_call_is_destroyed() {
    let office = Office::open();
    let asked = office.asked_ms();
    let said = through_a_law(&speech(SENTENCE));
    let after = asked + BEFORE_MS + said.len() as u64 / 8 + 3_000;
    let (attach, end, written) = traced(&office);
    let spoken = after + 2_500 + said.len() as u64 / 8;
    let acts = vec![
        (asked, Act::Press('1')),
        (asked + BEFORE_MS, Act::Speak(said.clone())),
        (after, Act::Press('*')),
        (after + 150, Act::Press('9')),
        (after + 1_000, attach),
        (after + 2_500, Act::Speak(said.clone())),
        // What would be kept would be kept within five seconds, or at the end.
        (spoken + 3_500, end),
    ];
    office.call(acts, spoken + 5_000);
    let kept = written.recv().expect("a trace");
    assert_eq!(kept.audio(), 0, "not one frame after it: {kept:?}");
    kept.is_sealed(&[&said]);
    let call = office.record();
    assert_eq!(call["extra"]["consent"]["decision"]["standing"], "withdrawn", "{call}");
    assert!(office.list("recordings").is_empty());
    assert!(office.was_captured(), "it was there");
    let mut left = Vec::new();
    collect(&office.place.path("vault/in/objects/objects"), &mut left);
    assert!(left.is_empty(), "{left:?}");
    office.close();
}

fn who_hangs_up_in_the_greeting_leaves_a_record_and_no_audio() {
    let office = Office::open();
    let trace = Trace::of(&office);
    office.call(vec![(100, Act::Speak(through_a_law(&speech("Hello?"))))], 1_500);
    let call = office.record();
    let kept = trace.end();
    assert_eq!(kept.audio(), 0, "not one frame: {kept:?}");
    assert_eq!(call["extra"]["consent"]["decision"]["standing"], "undecided", "{call}");
    assert_eq!(call["status"], "completed");
    assert!(!office.was_captured());
    office.close();
}

fn a_call_whose_process_is_killed_has_its_record_and_what_was_said_so_far() {
    let mut office = Office::open();
    let asked = office.asked_ms();
    let said = through_a_law(&speech(SENTENCE));
    let acts = vec![(asked, Act::Press('1')), (asked + BEFORE_MS, Act::Speak(said.clone()))];
    let caller = Caller::start(acts);
    let mut sipp = office
        .sipp(CALLER, "08049501234", caller.port, &["-d", "60000"])
        .stdout(Stdio::null())
        .spawn()
        .expect("sipp runs");
    // Two parts of five seconds.
    sleep(Duration::from_millis(asked + 14_000));
    office.kill();
    sipp.kill().expect("killed");
    sipp.wait().expect("ended");
    caller.end();
    let call = office.interrupted();
    assert_eq!(call["extra"]["consent"]["decision"]["consent"]["decision"], "accepted");
    let recordings = office.list("recordings");
    assert_eq!(recordings.len(), 1, "{call}");
    let [_, customer] = office.audio(recordings[0]["sid"].as_str().expect("a SID"));
    assert!(customer.len() >= 10 * 8_000, "{} samples", customer.len());
    assert!(find(&loudest(&said), &customer).is_some());
    office.close();
}

fn numbers_that_nobody_answers_and_strangers_are_refused() {
    let office = Office::open();
    assert!(office.refused(CALLER, "08049509999").contains("SIP/2.0 404"));
    assert!(office.refused(CALLER, "not+a+number").contains("SIP/2.0 4"));
    assert!(office.list("calls").is_empty(), "a call that was not let in is none");
    office.close();
}

fn who_calls_a_trunk_with_a_login_has_to_know_it() {
    let office = Office::with_trunk("callers = { user = \"acme\", password_file = \"callers\" }");
    let call = |scenario: &str, password: &str| {
        let more = ["-d", "500", "-au", "acme", "-ap", password];
        let done = office.sipp(scenario, "08049501234", 9, &more).output();
        done.expect("sipp runs").status.success()
    };
    let scenario = caller_with_login();
    assert!(!call(CALLER, "correct horse"), "who says nothing");
    assert!(!call(&scenario, "wrong horse"), "who says something else");
    assert!(office.list("calls").is_empty(), "and that is no call");
    assert!(call(&scenario, "correct horse"));
    assert_eq!(office.record()["status"], "completed");
    office.close();
}

fn a_call_of_which_nobody_says_that_it_goes_on_is_hung_up() {
    let office = Office::open();
    office.answer(json!({ "name": "Patience", "start": "wait", "applets": {
        "wait": { "kind": "menu", "say": "Please wait.", "keys": { "1": "wait" }, "timeout_s": 60, "repeats": 5 },
    } }));
    let errors = office.refused(&caller_with_timer(60), "08049501234");
    assert!(
        errors.contains("SIP/2.0 422") && errors.contains("Min-SE: 90"),
        "{errors}"
    );
    let done = office.sipp(&caller_with_timer(90), "08049501234", 9, &[]).output();
    let done = done.expect("sipp runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    // Sixty seconds after it was said at twenty.
    let record = office.record();
    let duration_s = record["duration_s"].as_u64().expect("a duration");
    assert!((78..90).contains(&duration_s), "{record}");
    assert!(record["extra"].get("failed").is_none(), "{record}");
    office.close();
}

fn silence_is_a_no_where_the_policy_asks_for_a_yes() {
    let office = Office::open();
    office.adopt(
        json!({ "text": "This call may be recorded.", "languages": ["en"], "elsewhere": "opt-in", "countries": {} }),
    );
    let said = through_a_law(&speech(SENTENCE));
    let announced = through_a_law(&speech("This call may be recorded.")).len() as u64 / 8;
    let talk = announced + office.question.len() as u64 / 8 + 1_200 + BEFORE_MS;
    let trace = Trace::of(&office);
    let heard = office.call(vec![(talk, Act::Speak(said.clone()))], talk + 6_000);
    assert!(sounds(&loudest(&speech(REPLY)), &heard), "the call itself goes on");
    let call = office.record();
    let consent = &call["extra"]["consent"];
    assert_eq!(
        (&consent["rule"], &consent["decision"]["standing"]),
        (&json!("opt-in"), &json!("declined")),
        "{call}"
    );
    assert!(office.list("recordings").is_empty());
    assert!(!office.was_captured(), "not one frame");
    let kept = trace.end();
    assert_eq!(kept.audio(), 0, "not one frame: {kept:?}");
    office.close();
}

/// All at once: a call takes its time and hardly anything else.
#[test]
fn real_calls() {
    let cases: [(&str, fn()); 30] = [
        (
            "who_presses_1_is_recorded_each_on_his_own_channel",
            who_presses_1_is_recorded_each_on_his_own_channel,
        ),
        (
            "who_presses_2_is_connected_and_not_one_frame_is_kept",
            who_presses_2_is_connected_and_not_one_frame_is_kept,
        ),
        (
            "silence_is_what_the_policy_says_and_a_pause_leaves_out_what_is_said",
            silence_is_what_the_policy_says_and_a_pause_leaves_out_what_is_said,
        ),
        (
            "what_is_withdrawn_in_the_call_is_destroyed",
            what_is_withdrawn_in_the_call_is_destroyed,
        ),
        (
            "who_hangs_up_in_the_greeting_leaves_a_record_and_no_audio",
            who_hangs_up_in_the_greeting_leaves_a_record_and_no_audio,
        ),
        (
            "a_call_whose_process_is_killed_has_its_record_and_what_was_said_so_far",
            a_call_whose_process_is_killed_has_its_record_and_what_was_said_so_far,
        ),
        (
            "numbers_that_nobody_answers_and_strangers_are_refused",
            numbers_that_nobody_answers_and_strangers_are_refused,
        ),
        ("bad_messages_leave_nothing_behind", bad_messages_leave_nothing_behind),
        (
            "who_understands_it_is_told_when_he_is_recorded",
            aware::who_understands_it_is_told_when_he_is_recorded,
        ),
        (
            "whose_telephone_wants_no_recording_has_none",
            aware::whose_telephone_wants_no_recording_has_none,
        ),
        (
            "who_says_so_by_his_telephone_in_the_call_is_recorded_no_more",
            aware::who_says_so_by_his_telephone_in_the_call_is_recorded_no_more,
        ),
        (
            "calls_come_and_go_through_kamailio_and_rtpengine",
            front::calls_come_and_go_through_kamailio_and_rtpengine,
        ),
        (
            "two_numbers_are_connected_and_the_called_one_is_told_before_it_is_recorded",
            place::two_numbers_are_connected_and_the_called_one_is_told_before_it_is_recorded,
        ),
        (
            "who_is_called_into_a_flow_and_says_no_is_not_recorded",
            place::who_is_called_into_a_flow_and_says_no_is_not_recorded,
        ),
        (
            "calls_that_nobody_answers_end_in_records_that_say_so",
            place::calls_that_nobody_answers_end_in_records_that_say_so,
        ),
        (
            "who_calls_a_trunk_with_a_login_has_to_know_it",
            who_calls_a_trunk_with_a_login_has_to_know_it,
        ),
        (
            "silence_is_a_no_where_the_policy_asks_for_a_yes",
            silence_is_a_no_where_the_policy_asks_for_a_yes,
        ),
        (
            "copies_of_a_switch_are_recorded_each_party_on_its_channel",
            siprec::copies_of_a_switch_are_recorded_each_party_on_its_channel,
        ),
        (
            "without_consent_the_answer_is_inactive_and_what_is_sent_is_not_kept",
            siprec::without_consent_the_answer_is_inactive_and_what_is_sent_is_not_kept,
        ),
        (
            "what_is_no_recording_session_is_refused",
            siprec::what_is_no_recording_session_is_refused,
        ),
        (
            "media_are_encrypted_on_both_legs_or_there_is_no_call",
            secure::media_are_encrypted_on_both_legs_or_there_is_no_call,
        ),
        (
            "nothing_is_said_in_the_clear_where_tls_is_required",
            secure::nothing_is_said_in_the_clear_where_tls_is_required,
        ),
        (
            "a_proxy_with_another_certificate_is_not_called",
            secure::a_proxy_with_another_certificate_is_not_called,
        ),
        (
            "an_ordered_call_whose_process_is_killed_is_kept_as_far_as_it_went",
            place::an_ordered_call_whose_process_is_killed_is_kept_as_far_as_it_went,
        ),
        (
            "a_message_whose_process_is_killed_is_kept_as_far_as_it_was_said_and_told",
            applets::a_message_whose_process_is_killed_is_kept_as_far_as_it_was_said_and_told,
        ),
        (
            "a_call_of_which_nobody_says_that_it_goes_on_is_hung_up",
            a_call_of_which_nobody_says_that_it_goes_on_is_hung_up,
        ),
        (
            "a_message_after_the_tone_is_kept_and_told",
            applets::a_message_after_the_tone_is_kept_and_told,
        ),
        ("who_said_no_leaves_no_message", applets::who_said_no_leaves_no_message),
        (
            "addresses_of_a_flow_are_asked_while_the_call_goes_on",
            applets::addresses_of_a_flow_are_asked_while_the_call_goes_on,
        ),
        (
            "what_was_uploaded_is_played_and_what_is_not_answered_is_not_waited_for",
            applets::what_was_uploaded_is_played_and_what_is_not_answered_is_not_waited_for,
        ),
    ];
    let failed: Vec<&str> = std::thread::scope(|scope| {
        let running = cases.map(|(name, case)| (name, scope.spawn(case)));
        let ended = running.into_iter().map(|(name, running)| (name, running.join()));
        ended.filter_map(|(name, ended)| ended.err().map(|_| name)).collect()
    });
    assert!(failed.is_empty(), "{failed:?}");
}
