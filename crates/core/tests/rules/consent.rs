//! Consent to record: what a call may keep after every story, against a slow and plain reading of the rules.

use callvault_core::{
    TimeUs,
    consent::{Consenting, Effect, Event, Policy, Rule, Standing, Switches, decide_ingest, india},
    record::Consent,
};
use proptest::prelude::*;

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(Event::Announced),
        Just(Event::Accepted),
        Just(Event::Declined),
        Just(Event::Silent),
        Just(Event::Contract {
            version: "7".to_owned()
        }),
        Just(Event::Attested { by: "head".to_owned() }),
        Just(Event::Withdrawn),
        Just(Event::Paused),
        Just(Event::Resumed),
        Just(Event::Ended),
    ]
}

fn switches() -> impl Strategy<Value = Switches> {
    (any::<Option<bool>>(), any::<Option<bool>>(), any::<bool>()).prop_map(|(call, flow, account)| Switches {
        call,
        flow,
        account,
    })
}

/// Whether a frame may be kept after these events, read anew from the first one.
fn may_keep(switches: Switches, rule: Rule, events: &[Event]) -> bool {
    let on = match (switches.call, switches.flow) {
        (Some(call), _) => call,
        (None, Some(flow)) => flow,
        (None, None) => switches.account,
    };
    if !on || events.contains(&Event::Withdrawn) || events.contains(&Event::Ended) {
        return false;
    }
    let last = |wanted: &[Event]| events.iter().rposition(|event| wanted.contains(event));
    if last(&[Event::Paused]).is_some_and(|paused| last(&[Event::Resumed]) < Some(paused)) {
        return false;
    }
    // What the person said last decides; before he said anything, the first thing that decides does.
    let said = last(&[Event::Accepted, Event::Declined]).map(|n| &events[n]);
    if let Some(said) = said {
        return *said == Event::Accepted;
    }
    let deciding = events.iter().find(|event| match event {
        Event::Announced => rule == Rule::Announce,
        Event::Silent | Event::Contract { .. } | Event::Attested { .. } => true,
        _ => false,
    });
    match deciding {
        None => false,
        Some(Event::Silent) => rule == Rule::Announce,
        Some(_) => true,
    }
}

proptest! {
    #[test]
    fn a_frame_is_kept_when_switch_and_person_say_so_and_never_else(
        switches in switches(), opt_in in any::<bool>(), events in prop::collection::vec(event(), 0..12),
    ) {
        let rule = if opt_in { Rule::OptIn } else { Rule::Announce };
        let mut call = Consenting::new(switches, rule, 3);
        let mut captured = false;
        let mut over = false;
        for (n, event) in events.iter().enumerate() {
            let before = call.basis().is_some();
            let effect = call.note(TimeUs(n as i64), event.clone());
            let now = call.basis().is_some();
            prop_assert_eq!(now, may_keep(switches, rule, &events[..=n]), "{:?}", &events[..=n]);
            match effect {
                Effect::Begin => prop_assert!(!before && now),
                Effect::Rest => prop_assert!(before && !now),
                Effect::Finish => prop_assert!(captured && !now && !over),
                Effect::Destroy => prop_assert!(captured && !now),
                Effect::None => prop_assert_eq!(before, now),
            }
            over |= *event == Event::Ended;
            captured = match effect {
                Effect::Begin => true,
                Effect::Destroy => false,
                _ => captured,
            };
            // Nothing that was captured outlives a no.
            if matches!(call.standing(), Standing::Declined | Standing::Withdrawn) {
                prop_assert!(!captured);
            }
        }
        prop_assert_eq!(call.policy_version(), 3);
    }
}

#[test]
fn the_strongest_switch_that_is_set_counts_and_none_is_off() {
    assert!(!Switches::default().is_on());
    let all = [None, Some(false), Some(true)];
    for call in all {
        for flow in all {
            for account in [false, true] {
                let expected = call.unwrap_or(flow.unwrap_or(account));
                assert_eq!(Switches { call, flow, account }.is_on(), expected);
            }
        }
    }
}

#[test]
fn silence_counts_as_the_rule_says() {
    let on = Switches {
        account: true,
        ..Switches::default()
    };
    let mut announced = Consenting::new(on, Rule::Announce, 1);
    assert_eq!(announced.note(TimeUs(0), Event::Silent), Effect::Begin);
    assert_eq!(announced.basis(), Some(&Consent::Announced));
    let mut asked = Consenting::new(on, Rule::OptIn, 1);
    assert_eq!(asked.note(TimeUs(0), Event::Announced), Effect::None);
    assert_eq!(asked.note(TimeUs(1), Event::Silent), Effect::None);
    assert_eq!((asked.basis(), asked.standing()), (None, &Standing::Declined));
    assert_eq!(asked.events().len(), 2, "what was tried is evidence");
}

#[test]
fn consent_is_taken_back_after_the_call_and_nothing_else_counts_then() {
    let on = Switches {
        call: Some(true),
        ..Switches::default()
    };
    let mut call = Consenting::new(on, Rule::Announce, 1);
    assert_eq!(call.note(TimeUs(0), Event::Announced), Effect::Begin);
    assert_eq!(call.note(TimeUs(1), Event::Ended), Effect::Finish);
    for late in [Event::Accepted, Event::Declined, Event::Resumed, Event::Ended] {
        assert_eq!(call.note(TimeUs(2), late), Effect::None);
    }
    assert_eq!(call.events().len(), 2);
    assert_eq!(call.note(TimeUs(3), Event::Withdrawn), Effect::Destroy);
    assert_eq!(call.standing(), &Standing::Withdrawn);
    assert_eq!(
        call.note(TimeUs(4), Event::Withdrawn),
        Effect::None,
        "it is gone already"
    );
}

#[test]
fn a_policy_names_its_countries_and_india_comes_with_its_grounds() {
    let policy = Policy {
        version: 1,
        text: "This call may be recorded for quality and training purposes.".to_owned(),
        privacy_url: None,
        languages: vec!["en-IN".to_owned()],
        countries: [("IN".to_owned(), india())].into(),
        elsewhere: Rule::OptIn,
    };
    assert_eq!(policy.rule_in(Some("IN")), Rule::Announce);
    assert_eq!(policy.rule_in(Some("DE")), Rule::OptIn);
    assert_eq!(policy.rule_in(None), Rule::OptIn, "who has no country is asked");
    assert_eq!(india().grounds.len(), 4);
}

#[test]
fn a_recording_from_elsewhere_comes_with_a_decision_or_not_at_all() {
    let version = || Some("7".to_owned());
    let by = || Some("Head of compliance".to_owned());
    assert_eq!(decide_ingest(Some("announced"), None, None), Ok(Consent::Announced));
    assert_eq!(decide_ingest(Some("accepted"), None, None), Ok(Consent::Accepted));
    assert!(matches!(
        decide_ingest(Some("contract"), version(), None),
        Ok(Consent::Contract { .. })
    ));
    assert!(matches!(
        decide_ingest(Some("attested"), None, by()),
        Ok(Consent::Attested { .. })
    ));
    for (decision, code, field) in [
        (None, "consent-missing", "consent"),
        (Some("yes"), "consent-missing", "consent"),
        (Some("declined"), "consent-declined", "consent"),
        (Some("contract"), "invalid-value", "consent_version"),
        (Some("attested"), "invalid-value", "consent_by"),
    ] {
        let refusal = decide_ingest(decision, None, None).expect_err("refused");
        assert_eq!((refusal.code, refusal.field), (code, Some(field)), "{decision:?}");
    }
}
