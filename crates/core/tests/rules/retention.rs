use callvault_core::{
    Class, Plan, Policy, Term, TimeUs,
    retention::{
        Floor, PlanSetting, RecordingSetting, base_term, decide_floor, decide_keeping, recording_ceiling_days,
    },
};
use proptest::prelude::*;

use crate::model::{any_class, any_policy, at, grid, plain_end_of_own, plain_lapse};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_end_is_the_first_moment_that_the_definition_names(
        policy in any_policy(), class in any_class(), from in 0..1500i64, late in prop_oneof![Just(0), 0..900i64],
    ) {
        let (from, kept_since, horizon) = (grid(from), grid(from + late), grid(5000));
        let found = |end: TimeUs| (end < horizon).then_some(end);
        prop_assert_eq!(
            found(policy.ends_at(class, from, kept_since)),
            plain_end_of_own(&policy, class, from, kept_since, horizon)
        );
        prop_assert_eq!(
            found(policy.kept_until(class, from, kept_since)),
            plain_lapse(&policy, class, from, kept_since, horizon)
        );
        prop_assert!(policy.kept_until(class, from, kept_since) >= policy.ends_at(class, from, kept_since));
    }

    /// A whole day may be judged by its first moment.
    #[test]
    fn what_begins_later_is_never_kept_shorter(
        policy in any_policy(), class in any_class(), from in 0..1500i64, later in 0..40i64, since in prop::option::of(0..900i64),
    ) {
        let (first, second) = (grid(from), grid(from + later));
        let since = since.map(|since| grid(from + later + since));
        prop_assert!(
            policy.kept_until(class, first, since.unwrap_or(first))
                <= policy.kept_until(class, second, since.unwrap_or(second))
        );
    }
}

fn ends(class: Class, from: &str) -> TimeUs {
    Policy::new(Plan::Growth, at("2020-01-01T00:00:00Z")).ends_at(class, at(from), at(from))
}

#[test]
fn the_tables_of_the_spec() {
    let years = [Class::Call, Class::Message, Class::CampaignReport];
    assert!(years.iter().all(|class| base_term(*class) == Term::Years(1)));
    assert_eq!(base_term(Class::Activity), Term::Years(2));
    assert_eq!(base_term(Class::Recording), Term::Days(90));
    assert_eq!(base_term(Class::ApiAccess), Term::Days(90));
    assert_eq!(base_term(Class::WebhookDelivery), Term::Days(30));
    assert_eq!(base_term(Class::Contact), Term::UntilDeleted);
    assert_eq!(Plan::ALL.map(recording_ceiling_days), [90, 180, 365]);
}

#[test]
fn boundaries_of_the_calendar() {
    assert_eq!(
        ends(Class::Call, "2028-02-29T23:59:59.999999Z"),
        at("2029-02-28T23:59:59.999999Z")
    );
    assert_eq!(
        ends(Class::Call, "2027-03-01T00:00:00Z"),
        at("2028-03-01T00:00:00Z"),
        "366 days"
    );
    assert_eq!(ends(Class::Message, "2027-12-31T23:59:59Z"), at("2028-12-31T23:59:59Z"));
    assert_eq!(
        ends(Class::Activity, "2028-02-29T00:00:00Z"),
        at("2030-02-28T00:00:00Z")
    );
    assert_eq!(
        ends(Class::Recording, "2027-12-01T00:00:00Z"),
        at("2028-02-29T00:00:00Z")
    );
    assert_eq!(
        ends(Class::WebhookDelivery, "2028-02-15T12:00:00Z"),
        at("2028-03-16T12:00:00Z")
    );
    assert_eq!(ends(Class::Contact, "2027-01-01T00:00:00Z"), TimeUs::NEVER);
}

#[test]
fn an_extension_revives_nothing_not_even_at_its_very_moment() {
    let from = grid(0);
    let mut policy = Policy::new(Plan::Enterprise, from);
    policy.recording.push(RecordingSetting {
        effective_at: from.plus_days(90),
        days: 300,
    });
    assert_eq!(policy.ends_at(Class::Recording, from, from), from.plus_days(90));
    assert_eq!(
        policy.ends_at(Class::Recording, TimeUs(from.0 + 1), from),
        TimeUs(from.0 + 1).plus_days(300)
    );
}

#[test]
fn a_shortening_ends_a_record_when_it_takes_effect() {
    let from = grid(0);
    let mut policy = Policy::new(Plan::Starter, from);
    policy.recording.push(RecordingSetting {
        effective_at: from.plus_days(40),
        days: 30,
    });
    assert_eq!(policy.ends_at(Class::Recording, from, from), from.plus_days(40));
    let later = from.plus_days(20);
    assert_eq!(policy.ends_at(Class::Recording, later, later), from.plus_days(50));
}

#[test]
fn a_plan_caps_the_setting() {
    let from = grid(0);
    let mut policy = Policy::new(Plan::Enterprise, from);
    policy.recording.push(RecordingSetting {
        effective_at: from,
        days: 300,
    });
    policy.plans.push(PlanSetting {
        effective_at: from.plus_days(10),
        plan: Plan::Growth,
    });
    assert_eq!(policy.recording_days_at(from), 300);
    assert_eq!(policy.recording_days_at(from.plus_days(10)), 180);
    assert_eq!(
        policy.plan_at(TimeUs(from.0 - 1)),
        Plan::Enterprise,
        "before the first entry"
    );
}

fn two_years(from: TimeUs, until: Option<TimeUs>) -> Floor {
    Floor {
        class: Class::Call,
        term: Term::Years(2),
        from,
        until,
        law: "the licence".to_owned(),
    }
}

#[test]
fn a_floor_lengthens_and_lapses_when_removed() {
    let from = at("2026-05-01T00:00:00Z");
    let mut policy = Policy::new(Plan::Starter, from);
    policy.floors = vec![two_years(at("2027-04-30T23:59:59Z"), None)];
    assert_eq!(policy.kept_until(Class::Call, from, from), at("2028-05-01T00:00:00Z"));
    assert_eq!(policy.ends_at(Class::Call, from, from), at("2027-05-01T00:00:00Z"));
    assert_eq!(
        policy.kept_until(Class::Message, from, from),
        at("2027-05-01T00:00:00Z"),
        "another class"
    );
    policy.floors = vec![two_years(at("2027-05-01T00:00:00Z"), None)];
    assert_eq!(
        policy.kept_until(Class::Call, from, from),
        at("2027-05-01T00:00:00Z"),
        "gone when it began"
    );
    policy.floors = vec![two_years(from, Some(at("2027-09-01T00:00:00Z")))];
    assert_eq!(policy.kept_until(Class::Call, from, from), at("2027-09-01T00:00:00Z"));
    assert!(
        policy
            .find_floor(Class::Call, from, at("2027-08-31T23:59:59Z"))
            .is_some()
    );
    assert!(
        policy
            .find_floor(Class::Call, from, at("2027-09-01T00:00:00Z"))
            .is_none()
    );
    policy
        .floors
        .push(two_years(at("2027-08-31T00:00:00Z"), Some(at("2027-12-01T00:00:00Z"))));
    assert_eq!(
        policy.kept_until(Class::Call, from, from),
        at("2027-12-01T00:00:00Z"),
        "one takes over"
    );
    policy.floors.truncate(1);
    policy.floors[0].term = Term::Days(10);
    assert_eq!(
        policy.kept_until(Class::Call, from, from),
        at("2027-05-01T00:00:00Z"),
        "never shortens"
    );
}

#[test]
fn an_extension_prolongs_nothing_that_only_a_floor_keeps() {
    let from = grid(0);
    let mut policy = Policy::new(Plan::Growth, from);
    let (until, law) = (Some(from.plus_days(100)), "a law".to_owned());
    policy.floors.push(Floor {
        class: Class::Recording,
        term: Term::Years(1),
        from,
        until,
        law,
    });
    policy.recording.push(RecordingSetting {
        effective_at: from.plus_days(95),
        days: 180,
    });
    assert_eq!(policy.ends_at(Class::Recording, from, from), from.plus_days(90));
    assert_eq!(policy.kept_until(Class::Recording, from, from), from.plus_days(100));
}

#[test]
fn what_lapsed_is_not_taken_in() {
    let policy = Policy::new(Plan::Starter, grid(0));
    let (from, end) = (at("2026-01-10T00:00:00Z"), at("2027-01-10T00:00:00Z"));
    assert!(decide_keeping(&policy, Class::Call, from, TimeUs(end.0 - 1)).is_allowed());
    let refusal = decide_keeping(&policy, Class::Call, from, end)
        .into_result()
        .expect_err("lapsed");
    assert_eq!((refusal.code, refusal.field), ("term-over", Some("at")));
    assert!(
        refusal.reason.contains("1 year") && refusal.reason.contains("2027-01-10"),
        "{refusal}"
    );
}

#[test]
fn a_floor_needs_a_law_and_a_future() {
    let now = grid(100);
    let code = |floor: &Floor| decide_floor(floor, now).into_result().map_err(|refusal| refusal.code);
    assert_eq!(code(&two_years(now, None)), Ok(()));
    assert_eq!(code(&two_years(TimeUs(now.0 - 1), None)), Err("floor-in-the-past"));
    assert_eq!(code(&two_years(now, Some(now))), Err("floor-ends-before-it-begins"));
    assert_eq!(
        code(&Floor {
            law: " ".to_owned(),
            ..two_years(now, None)
        }),
        Err("floor-without-law")
    );
}
