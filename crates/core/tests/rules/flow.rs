//! Flows: what is refused when it is saved, and that nobody is recorded who was told nothing.

use std::collections::BTreeMap;

use callvault_core::flow::{Applet, Flow, FlowError};
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
    (0..5_u8, 0..6_u8, 0..6_u8, any::<bool>())
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
