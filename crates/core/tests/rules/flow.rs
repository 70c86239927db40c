//! Flows: what is refused when it is saved, and that nobody is recorded who was told nothing.

use std::collections::BTreeMap;

use callvault_core::flow::{
    Applet, Channels, Destination, Flow, FlowError, GatherReply, PromptReply, read_connect, read_gather, read_prompt,
};
use proptest::prelude::*;
use serde_json::json;

fn flow(applets: &serde_json::Value) -> Flow {
    serde_json::from_value(json!({ "name": "Support", "start": "a", "applets": applets })).expect("a flow")
}

fn connect(record: Option<bool>) -> serde_json::Value {
    match record {
        Some(record) => json!({ "kind": "connect", "numbers": ["+918000000001"], "record": record }),
        None => json!({ "kind": "connect", "numbers": ["agent-1"] }),
    }
}

#[test]
fn nobody_is_recorded_who_was_told_nothing() {
    let told = flow(&json!({ "a": { "kind": "greeting", "next": "b" }, "b": connect(Some(true)) }));
    assert_eq!(told.check(false), Ok(()));
    let asked = flow(&json!({ "a": { "kind": "gather", "next": "b" }, "b": connect(Some(true)) }));
    assert_eq!(asked.check(false), Ok(()));
    let untold = FlowError::Untold { applet: "a".to_owned() };
    assert_eq!(
        flow(&json!({ "a": connect(Some(true)) })).check(false),
        Err(untold.clone())
    );
    // What the account does if nothing is said.
    assert_eq!(flow(&json!({ "a": connect(None) })).check(false), Ok(()));
    assert_eq!(flow(&json!({ "a": connect(None) })).check(true), Err(untold.clone()));
    assert_eq!(flow(&json!({ "a": connect(Some(false)) })).check(true), Ok(()));
    // One of two ways leads past the greeting.
    let past = flow(&json!({
        "a": { "kind": "menu", "say": "Press 1 or 2.", "keys": { "1": "told", "2": "b" }, "otherwise": "b" },
        "told": { "kind": "greeting", "next": "b" }, "b": connect(Some(true)),
    }));
    assert_eq!(past.check(false), Err(FlowError::Untold { applet: "b".to_owned() }));
    assert!(untold.to_string().contains("`greeting`") && untold.to_string().contains("`gather`"));
}

#[test]
fn what_is_wrong_is_named() {
    let reason = |applets: serde_json::Value| flow(&applets).check(false).expect_err("refused").to_string();
    for (applets, said) in [
        (json!({}), "`applets`"),
        (json!({ "b": { "kind": "hangup" } }), "`start`"),
        (json!({ "a": { "kind": "greeting", "next": "z" } }), "`z`"),
        (
            json!({ "a": { "kind": "hangup" }, "b": { "kind": "hangup" } }),
            "no way leads there",
        ),
        (json!({ "a": { "kind": "greeting", "say": " " } }), "`say`"),
        (json!({ "a": { "kind": "gather", "timeout_s": 0 } }), "`timeout_s`"),
        (json!({ "a": { "kind": "gather", "repeats": 6 } }), "`repeats`"),
        (json!({ "a": { "kind": "menu", "say": "x", "keys": {} } }), "`keys`"),
        (
            json!({ "a": { "kind": "menu", "say": "x", "keys": { "a": "a" } } }),
            "`keys`",
        ),
        (json!({ "a": { "kind": "connect", "numbers": [] } }), "`numbers`"),
        (json!({ "a": { "kind": "connect", "numbers": ["a@b"] } }), "`numbers`"),
        (
            json!({ "a": { "kind": "connect", "numbers": ["1"], "ring_s": 0 } }),
            "`ring_s`",
        ),
        (
            json!({ "a": { "kind": "connect", "numbers": ["1"], "talk_s": 14_401 } }),
            "`talk_s`",
        ),
        (json!({ "a": { "kind": "connect" } }), "`ask`"),
        (
            json!({ "a": { "kind": "connect", "ask": { "url": "ftp://example.in/" } } }),
            "`url`",
        ),
        (
            json!({ "a": { "kind": "greeting", "say": { "url": "https://a@example.in/" } } }),
            "`url`",
        ),
        (
            json!({ "a": { "kind": "greeting", "say": { "url": "https://example.in/", "fallback_url": "https://a b" } } }),
            "`fallback_url`",
        ),
        (json!({ "a": { "kind": "voicemail", "url": "/here" } }), "`url`"),
        (json!({ "a": { "kind": "voicemail", "most_s": 601 } }), "`most_s`"),
        (json!({ "a": { "kind": "digits", "say": "x", "most": 0 } }), "`most`"),
        (
            json!({ "a": { "kind": "digits", "say": "x", "finish_on_key": "##" } }),
            "`finish_on_key`",
        ),
        (
            json!({ "a": { "kind": "digits", "say": "x", "timeout_s": 61 } }),
            "`timeout_s`",
        ),
        (
            json!({ "a": { "kind": "passthru", "ask": { "url": "https://x.in" }, "async": true, "otherwise": "a" } }),
            "`otherwise`",
        ),
    ] {
        assert!(
            reason(applets.clone()).contains(said),
            "{applets}: {}",
            reason(applets.clone())
        );
    }
    let unknown = json!({ "name": "x", "start": "a", "applets": { "a": { "kind": "dance" } } });
    assert!(serde_json::from_value::<Flow>(unknown).is_err());
    let misspelt = json!({ "name": "x", "start": "a", "applets": { "a": { "kind": "greeting", "nxt": "b" } } });
    assert!(serde_json::from_value::<Flow>(misspelt).is_err());
}

#[test]
fn what_is_said_is_a_text_a_clip_or_what_an_address_answers() {
    let clip = "0123456789abcdef0123456789abcdef";
    let said = json!({
        "a": { "kind": "greeting", "say": { "audio": clip }, "next": "b" },
        "b": { "kind": "menu", "say": "Press 1.", "keys": { "1": "c" } },
        "c": { "kind": "digits", "say": { "url": "https://x.in/1", "fallback_url": "https://x.in/2" }, "next": "d" },
        "d": { "kind": "passthru", "ask": { "url": "https://x.in/3" }, "next": "e", "otherwise": "f" },
        "e": { "kind": "connect", "ask": { "url": "https://x.in/4" }, "next": "f" },
        "f": { "kind": "voicemail", "url": "https://x.in/5" },
    });
    let saved = flow(&said);
    assert_eq!(saved.check(false), Ok(()));
    let clips: Vec<_> = saved.applets.values().filter_map(Applet::clip).collect();
    assert_eq!(clips, [clip.parse().expect("a SID")]);
    let urls: Vec<&str> = saved.applets.values().flat_map(Applet::urls).collect();
    assert_eq!(urls, [1, 2, 3, 4, 5].map(|n| format!("https://x.in/{n}")));
    // What is stored is what was said, and what it leaves out.
    let stored = serde_json::to_value(&saved).expect("JSON");
    let read: Flow = serde_json::from_value(stored.clone()).expect("a flow");
    assert_eq!(read, saved);
    assert_eq!(stored["applets"]["a"], said["a"]);
    assert_eq!(stored["applets"]["c"]["most"], 255);
    let unsaid =
        json!({ "name": "x", "start": "a", "applets": { "a": { "kind": "greeting", "say": { "sound": clip } } } });
    let refused = serde_json::from_value::<Flow>(unsaid).expect_err("refused").to_string();
    assert!(refused.contains("`say` is a text"), "{refused}");
}

#[test]
fn who_is_asked_whom_to_connect_may_turn_the_recording_on() {
    let ask = |record: Option<bool>| {
        flow(&json!({ "a": { "kind": "connect", "ask": { "url": "https://x.in/" }, "record": record } }))
    };
    let untold = Err(FlowError::Untold { applet: "a".to_owned() });
    assert_eq!(ask(None).check(false), untold);
    assert_eq!(ask(Some(true)).check(false), untold);
    assert_eq!(ask(Some(false)).check(true), Ok(()));
    // A voicemail tells of itself, and of nothing that comes after it.
    let message = flow(&json!({ "a": { "kind": "voicemail", "next": "b" }, "b": connect(Some(true)) }));
    assert_eq!(message.check(false), Err(FlowError::Untold { applet: "b".to_owned() }));
}

#[test]
fn answers_are_read_as_the_platform_documents_them() {
    let text = |text: &str| PromptReply::Text(text.to_owned());
    assert_eq!(
        read_prompt("text/plain; charset=utf-8", " Good day.\n"),
        Some(text("Good day."))
    );
    assert_eq!(
        read_prompt("application/json", r#"{"greeting_url":"https://x.in/a.wav"}"#),
        Some(PromptReply::Audio("https://x.in/a.wav".to_owned()))
    );
    for (kind, none) in [
        ("text/plain", " "),
        ("text/plain", "a\u{7}b"),
        ("application/json", r#"{"greeting_url":"file:///etc/passwd"}"#),
        ("application/json", "Good day."),
    ] {
        assert_eq!(read_prompt(kind, none), None, "{none}");
    }
    assert_eq!(read_prompt("text/plain", &"x".repeat(2_001)), None);

    let full = r##"{"gather_prompt":{"text":"Type it."},"max_input_digits":4,"finish_on_key":"#","input_timeout":6,"repeat_menu":2,
        "repeat_gather_prompt":{"audio_url":"https://x.in/again.mp3"},"new":1}"##;
    assert_eq!(
        read_gather(full),
        Some(GatherReply {
            prompt: text("Type it."),
            again: Some(PromptReply::Audio("https://x.in/again.mp3".to_owned())),
            timeout_s: Some(6),
            repeats: Some(2),
            most: Some(4),
            finish_on_key: Some("#".to_owned()),
        })
    );
    for none in [
        "{}",
        r#"{"gather_prompt":{}}"#,
        r#"{"gather_prompt":{"text":"x"},"max_input_digits":0}"#,
        r#"{"gather_prompt":{"text":"x"},"max_input_digits":256}"#,
        r#"{"gather_prompt":{"text":"x"},"input_timeout":0}"#,
        r#"{"gather_prompt":{"text":"x"},"repeat_menu":6}"#,
        r#"{"gather_prompt":{"text":"x"},"finish_on_key":"12"}"#,
        r#"{"gather_prompt":{"text":"x"},"repeat_gather_prompt":{}}"#,
    ] {
        assert_eq!(read_gather(none), None, "{none}");
    }

    let full = r#"{"fetch_after_attempt":true,"destination":{"numbers":["+919812345678","agent-2"]},"outgoing_phone_number":"+918049501234",
        "record":true,"recording_channels":"dual","max_ringing_duration":20,"max_conversation_duration":600,
        "music_on_hold":{"type":"operator_tone"},"start_call_playback":{"playback_to":"both","type":"text","value":"Hello."}}"#;
    assert_eq!(
        read_connect(full),
        Some(Destination {
            numbers: vec!["+919812345678".to_owned(), "agent-2".to_owned()],
            fetch_after_attempt: true,
            shown: Some("+918049501234".to_owned()),
            record: Some(true),
            channels: Some(Channels::Dual),
            ring_s: Some(20),
            talk_s: Some(600),
            playback: Some("Hello.".to_owned()),
        })
    );
    let nobody = read_connect(r#"{"destination":{"numbers":[]}}"#);
    assert_eq!(nobody.map(|nobody| nobody.numbers), Some(Vec::new()));
    for none in [
        "",
        r#"{"destination":{"trunk":"a"}}"#,
        r#"{"destination":{"numbers":["sip:a@b"]}}"#,
        r#"{"destination":{"numbers":["1"]},"max_ringing_duration":121}"#,
        r#"{"destination":{"numbers":["1"]},"max_conversation_duration":0}"#,
        r#"{"destination":{"numbers":["1"]},"recording_channels":"triple"}"#,
    ] {
        assert_eq!(read_connect(none), None, "{none}");
    }
}

/// Walks at random, as callers do.
fn walk(flow: &Flow, mut turns: impl Iterator<Item = usize>) -> bool {
    let (mut at, mut told) = (flow.start.as_str(), false);
    for _ in 0..50 {
        let Some(applet) = flow.applets.get(at) else {
            return true;
        };
        if matches!(applet, Applet::Connect { record: Some(true), .. }) && !told {
            return false;
        }
        told |= matches!(applet, Applet::Greeting { .. } | Applet::Gather { .. });
        let follow: Vec<_> = applet.follow().collect();
        if follow.is_empty() {
            return true;
        }
        at = follow[turns.next().unwrap_or(0) % follow.len()];
    }
    true
}

fn applet() -> impl Strategy<Value = (u8, u8, u8, bool)> {
    (0..7_u8, 0..6_u8, 0..6_u8, any::<bool>())
}

proptest! {
    /// In a flow that was saved, no way leads untold to a recording.
    #[test]
    fn no_way_through_a_saved_flow_records_who_was_told_nothing(
        parts in prop::collection::vec(applet(), 6), turns in prop::collection::vec(0..4_usize, 50),
    ) {
        let names = ["a", "b", "c", "d", "e", "f"];
        let applets: BTreeMap<String, Applet> = names.iter().zip(&parts).map(|(name, (kind, x, y, record))| {
            let (x, y) = (names[usize::from(*x)].to_owned(), names[usize::from(*y)].to_owned());
            let json = match kind {
                0 => json!({ "kind": "greeting", "next": x }),
                1 => json!({ "kind": "gather", "next": x }),
                2 => json!({ "kind": "menu", "say": "s", "keys": { "1": x }, "otherwise": y }),
                3 => json!({ "kind": "connect", "numbers": ["1"], "record": record, "next": x }),
                4 => json!({ "kind": "voicemail", "next": x }),
                5 => json!({ "kind": "passthru", "ask": { "url": "https://x.in/" }, "next": x, "otherwise": y }),
                _ => json!({ "kind": "hangup" }),
            };
            ((*name).to_owned(), serde_json::from_value(json).expect("an applet"))
        }).collect();
        let flow = Flow { name: "x".to_owned(), start: "a".to_owned(), applets };
        if !matches!(flow.check(false), Err(FlowError::Untold { .. })) {
            prop_assert!(walk(&flow, turns.into_iter()));
        }
    }
}
