//! Telephones that understand whether they are recorded, and say what they would have of it (RFC 7866).

use serde_json::json;

use super::{
    Act, BEFORE_MS,
    caller::{CALLER, Caller, caller_who_says, describes_anew, takes_anew},
    office::{Office, SENTENCE, collect, find, loudest, speech, through_a_law},
};

/// Calls with a scenario, acts, and stays as long as the scenario does.
fn call(office: &Office, scenario: &str, acts: Vec<(u64, Act)>, stay_ms: u64) {
    let caller = Caller::start(acts);
    let stay = stay_ms.to_string();
    let more = ["-trace_err", "-error_file", "errors", "-d", &stay];
    let done = office.sipp(scenario, "08049501234", caller.port, &more).output();
    let done = done.expect("sipp runs");
    let errors = std::fs::read_to_string(office.place.path("errors")).unwrap_or_default();
    assert!(done.status.success(), "{errors}");
    caller.end();
}

pub(super) fn who_understands_it_is_told_when_he_is_recorded() {
    let office = Office::open();
    let asked = office.asked_ms();
    let said = through_a_law(&speech(SENTENCE));
    // It is off in the answer, on with the agent, rests after *7, goes on after *8.
    let answered = r#"<recv response="200" rrs="true"><action>
      <ereg regexp="a=record:off" search_in="body" check_it="true" assign_to="1"/></action></recv><Reference variables="1"/>"#;
    let steps = ["a=record:on", "a=record:paused", "a=record:on"]
        .map(takes_anew)
        .concat();
    let scenario = caller_who_says("Supported: record-aware\n", "")
        .replace(r#"<recv response="200" rrs="true"></recv>"#, answered)
        .replace("<pause/>", &format!("{steps}<pause/>"));
    let talk = asked + BEFORE_MS;
    let acts = vec![
        (asked, Act::Press('1')),
        (talk, Act::Speak(said.clone())),
        (talk + 6_000, Act::Press('*')),
        (talk + 6_150, Act::Press('7')),
        (talk + 9_000, Act::Press('*')),
        (talk + 9_150, Act::Press('8')),
    ];
    call(&office, &scenario, acts, 1_000);
    let record = office.record();
    let [_, customer] = office.audio(record["extra"]["recording"].as_str().expect("a recording"));
    assert!(find(&loudest(&said), &customer).is_some(), "media go on meanwhile");
    office.close();
}

pub(super) fn whose_telephone_wants_no_recording_has_none() {
    let office = Office::open();
    let said = through_a_law(&speech(SENTENCE));
    let talk = office.asked_ms() + 1_000 + BEFORE_MS;
    let scenario = caller_who_says("", "a=recordpref:off\n");
    call(&office, &scenario, vec![(talk, Act::Speak(said.clone()))], talk + 6_000);
    let record = office.record();
    let consent = &record["extra"]["consent"];
    assert_eq!(
        (&consent["decision"]["standing"], &consent["events"][0]["what"]["event"]),
        (&json!("declined"), &json!("declined")),
        "before anything was announced: {record}"
    );
    assert!(record["extra"].get("recording").is_none(), "{record}");
    assert!(!office.was_captured(), "not one frame");
    office.close();
}

pub(super) fn who_says_so_by_his_telephone_in_the_call_is_recorded_no_more() {
    let office = Office::open();
    let asked = office.asked_ms();
    let said = through_a_law(&speech(SENTENCE));
    let talk = asked + BEFORE_MS;
    let after = talk + said.len() as u64 / 8 + 6_000;
    let scenario = CALLER
        .replace(
            "<pause/>",
            &format!(
                "<pause milliseconds=\"{after}\"/>{}<pause/>",
                describes_anew("a=recordpref:off\n")
            ),
        )
        .replace("CSeq: 2 BYE", "CSeq: 3 BYE");
    let acts = vec![(asked, Act::Press('1')), (talk, Act::Speak(said))];
    call(&office, &scenario, acts, 3_000);
    let record = office.record();
    assert_eq!(
        record["extra"]["consent"]["decision"]["standing"], "declined",
        "{record}"
    );
    assert!(office.list("recordings").is_empty());
    assert!(office.was_captured(), "it was there");
    let mut left = Vec::new();
    collect(&office.place.path("vault/in/objects/objects"), &mut left);
    assert!(left.is_empty(), "{left:?}");
    office.close();
}
