//! Flows that ask addresses, play what was uploaded, and take messages.

use std::{process::Stdio, thread::sleep, time::Duration};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{
    caller::{Act, CALLER, Caller},
    office::{Office, REPLY, SENTENCE, find, loudest, sounds, speech, through_a_law, wav},
    site::Site,
    trace::Trace,
};

/// Milliseconds of a prompt.
fn lasts(prompt: &[i16]) -> u64 {
    prompt.len() as u64 / 8
}

/// What a caller hears who is to stay until he hangs up.
fn waiting(text: &str) -> Value {
    json!({ "kind": "menu", "say": text, "keys": { "1": "wait" }, "timeout_s": 30, "repeats": 5 })
}

fn flow_of_silence() -> Value {
    json!({ "name": "Silence", "start": "end", "applets": { "end": { "kind": "hangup" } } })
}

pub(super) fn a_message_after_the_tone_is_kept_and_told() {
    let office = Office::open();
    let site = Site::open(Vec::new());
    let prompt = "Leave a message, it is recorded.";
    office.answer(json!({ "name": "Messages", "start": "message", "applets": {
        "message": { "kind": "voicemail", "say": prompt, "most_s": 60, "url": site.url("/told"), "next": "wait" },
        "wait": waiting("Thank you and good bye."),
    } }));
    let said = through_a_law(&speech(SENTENCE));
    let begin = lasts(&speech(prompt)) + 500 + 700;
    let done = begin + lasts(&said) + 800;
    let trace = Trace::of(&office);
    let heard = office.call(
        vec![(begin, Act::Speak(said.clone())), (done, Act::Press('#'))],
        done + 3_500,
    );
    let kept = trace.end();
    for text in [prompt, "Thank you and good bye."] {
        assert!(
            find(&loudest(&through_a_law(&speech(text))), &heard).is_some(),
            "{text}"
        );
    }
    let call = office.record();
    assert_eq!(call["extra"]["voicemail"], true, "{call}");
    assert_eq!(
        call["extra"]["consent"]["decision"]["consent"]["decision"], "announced",
        "{call}"
    );
    let recordings = office.list("recordings");
    let [recording] = recordings.as_slice() else {
        panic!("one recording, not {recordings:?}")
    };
    assert_eq!(
        (&recording["sid"], &recording["channels"]),
        (&call["extra"]["recording"], &json!(1))
    );
    let sid = recording["sid"].as_str().expect("a SID");
    let message = office.samples(sid);
    let first = find(&said[..8_000], &message).expect("the message, bit for bit");
    assert!((3_000..10_000).contains(&first), "after {first} samples");
    assert!(find(&loudest(&said), &message).is_some());
    assert!(
        find(&loudest(&through_a_law(&speech(prompt))), &message).is_none(),
        "the message alone"
    );
    // From the tone to the key.
    let expected_ms = lasts(&said) + 1_500;
    let duration_ms = recording["duration_ms"].as_u64().expect("a duration");
    assert!(
        duration_ms.abs_diff(expected_ms) < 700,
        "{duration_ms} ms, not {expected_ms}"
    );
    assert!(kept.audio() > said.len() as u64 * 2, "{kept:?}");
    kept.is_sealed(&[&said]);
    let told = &site.wait_for("/told")[0].text;
    let field = |name: &str, value: &str| told.contains(&format!("name=\"{name}\"\r\n\r\n{value}"));
    let audio = format!("/v1/accounts/acme/records/recordings/{sid}/audio");
    assert!(
        told.starts_with("POST ") && field("CallSid", call["sid"].as_str().expect("a SID")),
        "{told}"
    );
    assert!(
        field("From", "+919812345678\r\n") && field("Duration", &duration_ms.div_ceil(1_000).to_string()),
        "{told}"
    );
    assert!(
        told.contains("name=\"RecordingUrl\"\r\n\r\nhttps://") && told.contains(&audio),
        "{told}"
    );
    office.close();
}

pub(super) fn a_message_whose_process_is_killed_is_kept_as_far_as_it_was_said_and_told() {
    let mut office = Office::open();
    let site = Site::open(Vec::new());
    let prompt = "Leave a message, it is recorded.";
    office.answer(json!({ "name": "Messages", "start": "message", "applets": {
        "message": { "kind": "voicemail", "say": prompt, "most_s": 60, "url": site.url("/told") },
    } }));
    let said = through_a_law(&speech(SENTENCE));
    let begin = lasts(&speech(prompt)) + 500 + 700;
    let caller = Caller::start(vec![(begin, Act::Speak([said.as_slice(), &said, &said].concat()))]);
    let mut sipp = office
        .sipp(CALLER, "08049501234", caller.port, &["-d", "60000"])
        .stdout(Stdio::null())
        .spawn()
        .expect("sipp runs");
    sleep(Duration::from_millis(begin + 11_500));
    office.kill();
    sipp.kill().expect("killed");
    sipp.wait().expect("ended");
    caller.end();
    let call = office.interrupted();
    assert_eq!(
        call["extra"]["consent"]["decision"]["consent"]["decision"], "announced",
        "{call}"
    );
    let sid = call["extra"]["recording"].as_str().expect("a recording");
    let message = office.samples(sid);
    assert!(message.len() >= 5 * 8_000, "{} samples", message.len());
    assert!(find(&loudest(&said), &message).is_some());
    let told = &site.wait_for("/told")[0].text;
    assert!(
        told.contains(call["sid"].as_str().expect("a SID")) && told.contains(sid),
        "{told}"
    );
    office.close();
}

pub(super) fn who_said_no_leaves_no_message() {
    let office = Office::open();
    office.answer(json!({ "name": "Messages", "start": "ask", "applets": {
        "ask": { "kind": "gather", "timeout_s": 1, "repeats": 0, "next": "message" },
        "message": { "kind": "voicemail", "next": "wait" },
        "wait": waiting("Nobody is here."),
    } }));
    let said = through_a_law(&speech(SENTENCE));
    let asked = lasts(&office.question) + 200;
    let trace = Trace::of(&office);
    let heard = office.call(
        vec![(asked, Act::Press('2')), (asked + 1_000, Act::Speak(said))],
        asked + 6_000,
    );
    assert!(
        find(&loudest(&through_a_law(&speech("Nobody is here."))), &heard).is_some(),
        "led on"
    );
    let call = office.record();
    assert_eq!(call["extra"]["consent"]["decision"]["standing"], "declined", "{call}");
    assert!(call["extra"].get("voicemail").is_none(), "{call}");
    assert!(office.list("recordings").is_empty() && !office.was_captured());
    let kept = trace.end();
    assert_eq!(kept.audio(), 0, "not one frame: {kept:?}");
    office.close();
}

pub(super) fn addresses_of_a_flow_are_asked_while_the_call_goes_on() {
    let office = Office::open();
    let hello = "Welcome back, this call is recorded.";
    let pin = json!({
        "gather_prompt": { "text": "Type your number." }, "max_input_digits": 6, "finish_on_key": "", "input_timeout": 3, "repeat_menu": 0,
    });
    let whom = json!({ "destination": { "numbers": ["agent"] }, "record": true, "recording_channels": "dual" });
    let site = Site::open(vec![
        ("/hello", 200, "text/plain; charset=utf-8", hello.into()),
        ("/pin", 200, "application/json", pin.to_string().into()),
        ("/way", 302, "text/plain", Vec::new()),
        ("/broken", 500, "text/plain", Vec::new()),
        ("/whom", 200, "application/json", whom.to_string().into()),
    ]);
    office.answer(json!({ "name": "Asked", "start": "greet", "applets": {
        "greet": { "kind": "greeting", "say": { "url": site.url("/hello?shop=7") }, "next": "pin" },
        "pin": { "kind": "digits", "say": { "url": site.url("/pin") }, "next": "way" },
        "way": { "kind": "passthru", "ask": { "url": site.url("/way") }, "next": "lost", "otherwise": "tell" },
        "lost": { "kind": "hangup" },
        "tell": { "kind": "passthru", "ask": { "url": site.url("/tell") }, "async": true, "next": "agent" },
        "agent": { "kind": "connect", "ask": { "url": site.url("/broken"), "fallback_url": site.url("/whom") } },
    } }));
    let said = through_a_law(&speech(SENTENCE));
    let typed = lasts(&speech(hello)) + lasts(&speech("Type your number.")) + 600;
    let keys = "731946".chars().enumerate();
    let mut acts: Vec<_> = keys.map(|(n, key)| (typed + 300 * n as u64, Act::Press(key))).collect();
    let talk = typed + 300 * 6 + 2_000;
    acts.push((talk, Act::Speak(said.clone())));
    let heard = office.call(acts, talk + 6_000);
    assert!(
        find(&loudest(&through_a_law(&speech(hello))), &heard).is_some(),
        "the greeting that was answered"
    );
    assert!(
        sounds(&loudest(&through_a_law(&speech(REPLY))), &heard),
        "the agent that was answered"
    );
    let call = office.record();
    let first = &site.wait_for("/hello")[0];
    for (name, value) in [
        ("shop", "7"),
        ("CallSid", call["sid"].as_str().expect("a SID")),
        ("CallFrom", "+919812345678"),
        ("CallTo", "+918049501234"),
        ("Direction", "incoming"),
        ("CallStatus", "in-progress"),
        ("CallType", "call-attempt"),
        ("EndTime", "1970-01-01 05:30:00"),
        ("tenant_id", "acme"),
        ("flow_id", call["extra"]["flow"]["id"].as_str().expect("an id")),
    ] {
        assert_eq!(
            first.query.get(name).map(String::as_str),
            Some(value),
            "{name}: {first:?}"
        );
    }
    assert!(
        first.text.to_lowercase().contains("exotel-version: 1.0\r\n"),
        "{}",
        first.text
    );
    assert!(!first.query.contains_key("digits"));
    for path in ["/way", "/tell", "/broken", "/whom"] {
        let came = site.wait_for(path);
        assert_eq!(came.len(), 1, "{path}");
        assert_eq!(came[0].query["digits"], "\"731946\"", "{path}");
    }
    assert!(
        !call.to_string().contains("731946"),
        "what was typed is kept nowhere: {call}"
    );
    assert_eq!(
        call["extra"]["asked"],
        json!([
            { "applet": "greet", "outcomes": ["answered 200"] },
            { "applet": "pin", "outcomes": ["answered 200"] },
            { "applet": "way", "outcomes": ["answered 302"] },
            { "applet": "agent", "outcomes": ["answered 500, nothing of use", "answered 200"] },
        ])
    );
    let recordings = office.list("recordings");
    let [recording] = recordings.as_slice() else {
        panic!("one recording, not {recordings:?}")
    };
    let [agent, customer] = office.audio(recording["sid"].as_str().expect("a SID"));
    assert!(sounds(&loudest(&through_a_law(&speech(REPLY))), &agent) && find(&loudest(&said), &customer).is_some());
    office.close();
}

pub(super) fn what_was_uploaded_is_played_and_what_is_not_answered_is_not_waited_for() {
    let office = Office::open();
    let site = Site::open(vec![("/silent", 0, "", Vec::new())]);
    let clip = speech("This is our own voice, as we uploaded it.");
    let file = wav(&clip);
    let upload =
        |name: &str, kind: &str, file: Vec<u8>| office.post(&format!("/v1/accounts/acme/prompts{name}"), kind, file);
    let (status, prompt) = upload("?name=Voice", "audio/wav", file.clone());
    assert_eq!(status, StatusCode::CREATED, "{prompt}");
    let id = prompt["id"].as_str().expect("an id");
    assert_eq!(
        (&prompt["duration_ms"], &prompt["format"]),
        (&json!(lasts(&clip)), &json!("wav")),
        "{prompt}"
    );
    // What is no prompt.
    for (name, kind, file, status, field) in [
        ("", "audio/wav", file.clone(), 422, "name"),
        ("?name=", "audio/wav", file.clone(), 422, "name"),
        ("?name=x", "text/plain", file.clone(), 415, "content-type"),
        ("?name=x", "audio/wav", b"RIFF".to_vec(), 422, "body"),
        ("?name=x", "audio/wav", wav(&[]), 422, "body"),
        ("?name=x", "audio/wav", vec![0; 2 * 1024 * 1024 + 1], 413, ""),
    ] {
        let (said, problem) = upload(name, kind, file);
        assert_eq!(
            (said.as_u16(), problem["field"].as_str().unwrap_or_default()),
            (status, field),
            "{name} {kind}: {problem}"
        );
    }
    let flow = |id: &str| {
        json!({ "name": "Own voice", "start": "greet", "applets": {
            "greet": { "kind": "greeting", "say": { "url": "http://127.0.0.1:9/", "fallback_url": site.url("/silent") }, "next": "wait" },
            "wait": { "kind": "menu", "say": { "audio": id }, "keys": { "1": "wait" }, "timeout_s": 30 },
        } })
    };
    let unknown = "0123456789abcdef0123456789abcdef";
    let (status, problem) = office.post(
        "/v1/accounts/acme/flows",
        "application/json",
        flow(unknown).to_string().into_bytes(),
    );
    assert_eq!(
        (status.as_u16(), problem["field"].as_str()),
        (422, Some("applets")),
        "{problem}"
    );
    office.answer(flow(id));
    let stay = 5_000 + lasts(&office.announcement) + lasts(&clip) + 3_000;
    let heard = office.call(Vec::new(), stay);
    // Nobody answered: the policy's own announcement is said instead.
    let announced = find(&loudest(&office.announcement), &heard).expect("the announcement");
    let own = find(&through_a_law(&clip), &heard).expect("the clip, bit for bit");
    assert!(announced < own, "one after the other");
    let call = office.record();
    let outcomes = call["extra"]["asked"][0]["outcomes"]
        .as_array()
        .expect("outcomes")
        .clone();
    assert!(
        outcomes[0].as_str().is_some_and(|said| said.starts_with("not reached")),
        "{call}"
    );
    assert_eq!(outcomes[1], "no answer in time", "{call}");
    let path = format!("/v1/accounts/acme/prompts/{id}");
    let (status, problem) = office.send(Method::DELETE, &path);
    assert_eq!(
        (
            status.as_u16(),
            problem["type"].as_str().map(|kind| kind.ends_with("prompt-in-use"))
        ),
        (409, Some(true)),
        "{problem}"
    );
    office.answer(flow_of_silence());
    let flows = office.list_flows();
    let own = flows.iter().find(|flow| flow["name"] == "Own voice").expect("the flow");
    let own = format!("/v1/accounts/acme/flows/{}", own["id"].as_str().expect("an id"));
    assert_eq!(office.send(Method::DELETE, &own).0, StatusCode::NO_CONTENT);
    let listed = office.send(Method::GET, "/v1/accounts/acme/prompts").1;
    assert_eq!(listed["prompts"], json!([prompt]));
    assert_eq!(office.send(Method::DELETE, &path).0, StatusCode::NO_CONTENT);
    assert_eq!(office.send(Method::DELETE, &path).0, StatusCode::NOT_FOUND);
    assert_eq!(
        office.send(Method::GET, &format!("{path}/audio")).0,
        StatusCode::NOT_FOUND
    );
    office.close();
}
