//! Plain definitions to compare the rules with: they walk a grid of moments and share no arithmetic with the crate.

use callvault_core::{
    Class, Hold, Plan, Policy, Term, TimeUs,
    retention::{Floor, PlanSetting, RecordingSetting},
    time::{DAY_US, Day, SECOND_US},
};
use proptest::prelude::*;

/// The grid: all moments of the tests are multiples of it.
pub(crate) const GRID_US: i64 = 12 * 3_600 * SECOND_US;

pub(crate) fn at(text: &str) -> TimeUs {
    TimeUs::parse(text).expect("a time")
}

/// The `n`-th moment of the grid, from 2026-01-01 on.
pub(crate) fn grid(n: i64) -> TimeUs {
    TimeUs(at("2026-01-01T00:00:00Z").0 + n * GRID_US)
}

/// The end of a term, by writing the date down and changing its year.
pub(crate) fn plain_end(term: Term, from: TimeUs) -> Option<TimeUs> {
    match term {
        Term::UntilDeleted => None,
        Term::Days(days) => Some(TimeUs(from.0 + i64::from(days) * DAY_US)),
        Term::Years(years) => {
            let date = from.day().to_string();
            let year: u16 = date[..4].parse().expect("a year");
            let moved = format!("{}{}", year + years, &date[4..]);
            let day = Day::parse(&moved).or_else(|_| Day::parse(&moved.replace("-02-29", "-02-28")));
            Some(TimeUs(day.expect("a day").start().0 + (from.0 - from.day().start().0)))
        }
    }
}

fn plain_base(class: Class) -> Term {
    match class.as_str() {
        "recording" | "api_access" => Term::Days(90),
        "call" | "message" | "campaign_report" => Term::Years(1),
        "activity" => Term::Years(2),
        "webhook_delivery" => Term::Days(30),
        _ => Term::UntilDeleted,
    }
}

pub(crate) fn plain_ceiling(plan: Plan) -> u32 {
    match plan.as_str() {
        "starter" => 90,
        "growth" => 180,
        _ => 365,
    }
}

/// Whether the record's time has come at `t` under what is in force then; `before` leaves out what begins at `t`.
fn is_over(policy: &Policy, class: Class, from: TimeUs, t: TimeUs, before: bool) -> bool {
    let begun = |moment: TimeUs| if before { moment < t } else { moment <= t };
    let mut term = plain_base(class);
    if class == Class::Recording {
        let mut days = 90;
        for setting in &policy.recording {
            if begun(setting.effective_at) {
                days = setting.days;
            }
        }
        let mut plan = policy.plans.first().map_or(Plan::Starter, |setting| setting.plan);
        for setting in &policy.plans {
            if begun(setting.effective_at) {
                plan = setting.plan;
            }
        }
        term = Term::Days(days.min(plain_ceiling(plan)));
    }
    plain_end(term, from).is_some_and(|end| t >= end)
}

/// The end by definition, in force until `t` or at `t`, moment by moment; `None` beyond the horizon.
pub(crate) fn plain_end_of_own(
    policy: &Policy,
    class: Class,
    from: TimeUs,
    kept_since: TimeUs,
    horizon: TimeUs,
) -> Option<TimeUs> {
    let mut t = kept_since;
    while t < horizon {
        let until_now = t > kept_since && is_over(policy, class, from, t, true);
        if until_now || is_over(policy, class, from, t, false) {
            return Some(t);
        }
        t = TimeUs(t.0 + GRID_US);
    }
    None
}

/// The end with floors: the first moment from the own end that no earlier floor covers.
pub(crate) fn plain_lapse(
    policy: &Policy,
    class: Class,
    from: TimeUs,
    kept_since: TimeUs,
    horizon: TimeUs,
) -> Option<TimeUs> {
    let mut t = plain_end_of_own(policy, class, from, kept_since, horizon)?;
    while t < horizon {
        let covers = |floor: &Floor| {
            let in_force = floor.from < t && floor.until.is_none_or(|until| until > t);
            floor.class == class && in_force && plain_end(floor.term, from).is_none_or(|end| end > t)
        };
        if !policy.floors.iter().any(covers) {
            return Some(t);
        }
        t = TimeUs(t.0 + GRID_US);
    }
    None
}

/// The end with holds, moment by moment: the first moment from `kept_until` that no earlier hold covers.
pub(crate) fn plain_gone(kept_until: TimeUs, matching: &[Hold], horizon: TimeUs) -> Option<TimeUs> {
    let mut t = kept_until;
    while t < horizon {
        let covers = |hold: &Hold| hold.placed_at < t && hold.lifted_at.is_none_or(|lifted| lifted > t);
        if !matching.iter().any(covers) {
            return Some(t);
        }
        t = TimeUs(t.0 + GRID_US);
    }
    None
}

pub(crate) fn any_class() -> impl Strategy<Value = Class> {
    (0..8usize).prop_map(|n| Class::ALL[n])
}

pub(crate) fn any_plan() -> impl Strategy<Value = Plan> {
    (0..3usize).prop_map(|n| Plan::ALL[n])
}

fn any_floor() -> impl Strategy<Value = Floor> {
    let term = prop_oneof![(1..900u32).prop_map(Term::Days), (1..3u16).prop_map(Term::Years)];
    (
        prop_oneof![Just(Class::Recording), Just(Class::Call)],
        term,
        0..1500i64,
        prop::option::of(1..900i64),
    )
        .prop_map(|(class, term, from, length)| Floor {
            class,
            term,
            from: grid(from),
            until: length.map(|length| grid(from + length)),
            law: "a law".to_owned(),
        })
}

/// A policy with a history of its own, on the grid.
pub(crate) fn any_policy() -> impl Strategy<Value = Policy> {
    let plans = prop::collection::vec((0..1500i64, any_plan()), 0..4);
    let days = prop_oneof![1..12u32, 80..100u32, 1..366u32];
    let recording = prop::collection::vec((0..1500i64, days), 0..5);
    (plans, recording, prop::collection::vec(any_floor(), 0..4)).prop_map(|(mut plans, mut recording, floors)| {
        plans.sort_by_key(|(n, _)| *n);
        recording.sort_by_key(|(n, _)| *n);
        Policy {
            plans: plans
                .into_iter()
                .map(|(n, plan)| PlanSetting {
                    effective_at: grid(n),
                    plan,
                })
                .collect(),
            recording: recording
                .into_iter()
                .map(|(n, days)| RecordingSetting {
                    effective_at: grid(n),
                    days,
                })
                .collect(),
            floors,
            notice_days: 7,
        }
    })
}
