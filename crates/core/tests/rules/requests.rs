//! Support requests: no deletion without two people, within the time, and no way back from an end.

use callvault_core::{
    TimeUs,
    request::{Answer, OPEN_DAYS, Request, State, decide_answer, decide_end},
};
use proptest::prelude::*;

const START: TimeUs = TimeUs(1_764_000_000_000_000);

/// What happens to a request in a test.
#[derive(Debug, Clone, Copy)]
enum Event {
    Answer(Answer, usize),
    Carried(Option<u64>),
}

const PEOPLE: [&str; 3] = ["ann", "bob", "eve"];

fn event() -> impl Strategy<Value = (i64, Event)> {
    let answer = (prop::sample::select(Answer::ALL.to_vec()), 0..PEOPLE.len());
    let event = prop_oneof![
        3 => answer.prop_map(|(answer, who)| Event::Answer(answer, who)),
        1 => prop::option::of(0..9_u64).prop_map(Event::Carried),
    ];
    (0..6_i64, event)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn two_people_in_time_or_nothing_goes(events in prop::collection::vec(event(), 1..12)) {
        let mut request = Request::open("ann", START);
        let mut now = START;
        let mut approved_by: Option<&str> = None;
        for (days, event) in events {
            now = now.plus_days(days);
            let before = request.state_at(now);
            let decision = match event {
                Event::Answer(answer, who) => decide_answer(&request, answer, PEOPLE[who], now),
                Event::Carried(index) => decide_end(&request, index),
            };
            let Ok(after) = decision.into_result() else {
                prop_assert_eq!(request.state_at(now), before, "a refusal changes nothing");
                continue;
            };
            prop_assert!(!before.is_over(), "an end is final: {:?} became {:?}", before, after);
            match event {
                Event::Answer(answer, who) => {
                    prop_assert!(now < START.plus_days(OPEN_DAYS), "too late");
                    let own = PEOPLE[who] == "ann";
                    prop_assert_eq!(answer == Answer::Withdraw, own);
                    approved_by = (after == State::Approved).then_some(PEOPLE[who]);
                }
                Event::Carried(_) => prop_assert_eq!(before, State::Approved),
            }
            if let State::Done { .. } = after {
                prop_assert!(approved_by.is_some_and(|who| who != "ann"));
            }
            request.state = after;
        }
    }
}

#[test]
fn a_request_is_over_on_its_second_and_says_why() {
    let request = Request::open("ann", START);
    let end = request.expires_at();
    assert_eq!(end, START.plus_days(14));
    let at = |now| decide_answer(&request, Answer::Approve, "bob", now).into_result();
    assert_eq!(at(TimeUs(end.0 - 1)), Ok(State::Approved));
    let refusal = at(end).expect_err("over");
    assert_eq!(refusal.code, "request-over");
    assert!(refusal.reason.contains(&end.to_string()), "{refusal}");
    let own = decide_answer(&request, Answer::Approve, "ann", START).into_result();
    assert_eq!(own.expect_err("alone").code, "second-person");
    // What may not go any more waits again, and the deadline is still its first one.
    let approved = Request {
        state: State::Approved,
        ..request.clone()
    };
    let again = decide_end(&approved, None).into_result().expect("open again");
    assert_eq!(
        Request {
            state: again,
            ..request
        }
        .state_at(end),
        State::Expired
    );
}
