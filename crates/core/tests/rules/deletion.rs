use callvault_core::{
    Access, Cause, Class, Facts, Floor, Hold, HoldId, HoldScope, Plan, Policy, Reader, Sid, Term, TimeUs,
    hold::{Restriction, access, decide_deletion, find_hold, gone_at, is_held, may_read},
};
use proptest::prelude::*;

use crate::model::{any_policy, grid, plain_gone};

const NOBODY: Facts<'static> = Facts {
    class: Class::Recording,
    sid: Sid([1; 16]),
    call_sid: Some(Sid([2; 16])),
    at: TimeUs(0),
    kept_since: TimeUs(0),
    parties: &[[3; 16], [4; 16]],
};

fn hold(scope: HoldScope, placed_at: TimeUs, lifted_at: Option<TimeUs>) -> Hold {
    Hold {
        id: HoldId([9; 16]),
        scope,
        placed_at,
        lifted_at,
        review_at: TimeUs::NEVER,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn holds_prolong_as_the_definition_says(
        policy in any_policy(), from in 0..1500i64,
        spans in prop::collection::vec((0..2500i64, prop::option::of(0..400i64), any::<bool>()), 0..7),
        now in 0..3500i64,
    ) {
        let facts = Facts { at: grid(from), kept_since: grid(from), ..NOBODY };
        let holds: Vec<Hold> = spans.into_iter().map(|(placed, length, matches)| {
            let scope = HoldScope::Number(if matches { [3; 16] } else { [8; 16] });
            hold(scope, grid(placed), length.map(|length| grid(placed + length)))
        }).collect();
        let matching: Vec<Hold> =
            holds.iter().filter(|hold| hold.scope == HoldScope::Number([3; 16])).cloned().collect();
        let kept_until = policy.kept_until(facts.class, facts.at, facts.kept_since);
        let gone = gone_at(&policy, &holds, &facts);
        let horizon = grid(5000);
        prop_assert_eq!((gone < horizon).then_some(gone), plain_gone(kept_until, &matching, horizon));
        let now = grid(now);
        let standing = matching.iter().any(|hold| hold.placed_at <= now && hold.lifted_at.is_none_or(|at| at > now));
        prop_assert_eq!(is_held(&policy, &holds, &facts, now), standing && now < gone);
        let open = now < policy.ends_at(facts.class, facts.at, facts.kept_since);
        let access = access(&policy, &holds, &facts, now);
        prop_assert_eq!(may_read(access, Reader::Account), open);
        prop_assert_eq!(may_read(access, Reader::Compliance), now < gone);
    }
}

#[test]
fn a_scope_covers_what_it_names() {
    let facts = Facts { at: grid(10), ..NOBODY };
    let covers = |scope| hold(scope, grid(0), None).matches(&facts);
    assert!(covers(HoldScope::Records(vec![Sid([7; 16]), Sid([1; 16])])));
    assert!(covers(HoldScope::Records(vec![Sid([2; 16])])), "its call");
    assert!(!covers(HoldScope::Records(vec![Sid([3; 16])])));
    assert!(covers(HoldScope::Number([4; 16])) && !covers(HoldScope::Number([5; 16])));
    let span = |class, from, to| HoldScope::Span {
        class,
        from: grid(from),
        to: grid(to),
    };
    assert!(covers(span(None, 10, 11)) && covers(span(Some(Class::Recording), 0, 11)));
    assert!(!covers(span(None, 9, 10)) && !covers(span(None, 11, 12)) && !covers(span(Some(Class::Call), 0, 20)));
}

#[test]
fn holds_follow_on_each_other_and_revive_nothing() {
    let policy = Policy::new(Plan::Starter, grid(0));
    let facts = Facts {
        at: grid(0),
        kept_since: grid(0),
        ..NOBODY
    };
    let number = || HoldScope::Number([3; 16]);
    let end = grid(0).plus_days(90);
    let day = |n| end.plus_days(n);
    let chain = [
        hold(number(), day(3), Some(day(9))),
        hold(number(), day(-1), Some(day(4))),
    ];
    assert_eq!(gone_at(&policy, &chain, &facts), day(9));
    assert_eq!(
        gone_at(&policy, &[hold(number(), end, None)], &facts),
        end,
        "placed at the end"
    );
    assert_eq!(
        gone_at(&policy, &[hold(number(), day(-5), Some(end))], &facts),
        end,
        "lifted at the end"
    );
    assert_eq!(
        gone_at(&policy, &[hold(number(), TimeUs(end.0 - 1), None)], &facts),
        TimeUs::NEVER
    );
    assert_eq!(
        access(&policy, &chain, &facts, day(0)),
        Access::Restricted(Restriction::Held)
    );
    assert_eq!(
        access(&policy, &chain, &facts, TimeUs(end.0 - 1)),
        Access::Open,
        "a hold takes nothing away"
    );
    assert_eq!(access(&policy, &chain, &facts, day(9)), Access::Gone);
    assert_eq!(
        find_hold(&policy, &chain, &facts, day(5)).map(|hold| hold.placed_at),
        Some(day(3))
    );
    assert!(find_hold(&policy, &chain, &facts, day(9)).is_none());
}

#[test]
fn what_only_a_floor_keeps_is_for_compliance() {
    let mut policy = Policy::new(Plan::Starter, grid(0));
    let facts = Facts {
        class: Class::Call,
        at: grid(0),
        kept_since: grid(0),
        ..NOBODY
    };
    let law = "the licence".to_owned();
    policy.floors.push(Floor {
        class: Class::Call,
        term: Term::Years(2),
        from: grid(0),
        until: None,
        law,
    });
    let during = access(&policy, &[], &facts, grid(0).plus_years(1));
    assert_eq!(during, Access::Restricted(Restriction::Floor));
    assert!(may_read(during, Reader::Compliance) && !may_read(during, Reader::Account));
    assert_eq!(access(&policy, &[], &facts, grid(0).plus_years(2)), Access::Gone);
}

#[test]
fn who_may_delete_what() {
    let code = |class, cause, held, floor| {
        decide_deletion(class, cause, held, floor)
            .into_result()
            .map_err(|r| r.code)
    };
    for class in Class::ALL {
        let free = matches!(class, Class::Recording | Class::Contact);
        let asked = if free { Ok(()) } else { Err("kept-by-term") };
        assert_eq!(code(class, Cause::Request, None, None), asked, "{class}");
        assert_eq!(code(class, Cause::Right, None, None), asked, "{class}");
        for cause in [Cause::Closure, Cause::IngestError, Cause::Rewrite] {
            assert_eq!(code(class, cause, None, None), Ok(()), "{class} {cause}");
        }
        let by_term = if class == Class::Contact {
            Err("no-term")
        } else {
            Ok(())
        };
        assert_eq!(code(class, Cause::Term, None, None), by_term, "{class}");
        for cause in [
            Cause::Term,
            Cause::Request,
            Cause::Right,
            Cause::Closure,
            Cause::IngestError,
            Cause::ConsentWithdrawn,
        ] {
            assert_eq!(
                code(class, cause, Some(HoldId([7; 16])), None),
                Err("held"),
                "{class} {cause}"
            );
        }
    }
    assert_eq!(code(Class::Recording, Cause::ConsentWithdrawn, None, None), Ok(()));
    assert_eq!(
        code(Class::Contact, Cause::ConsentWithdrawn, None, None),
        Err("not-consented")
    );
    let law = "the licence".to_owned();
    let floor = Floor {
        class: Class::Recording,
        term: Term::Years(1),
        from: grid(0),
        until: None,
        law,
    };
    assert_eq!(
        code(Class::Recording, Cause::Request, None, Some(&floor)),
        Err("kept-by-law")
    );
    assert_eq!(code(Class::Recording, Cause::Closure, None, Some(&floor)), Ok(()));
    let held = decide_deletion(Class::Recording, Cause::Request, Some(HoldId([7; 16])), None);
    assert!(
        held.into_result().expect_err("held").reason.contains(&"07".repeat(16)),
        "the hold is named"
    );
}
