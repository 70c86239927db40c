use callvault_core::{
    Class, Decision, Plan, Policy, RecordingChange, TimeUs,
    change::{
        apply_plan_change, apply_recording_change, decide_extension, decide_plan_change, decide_recording_retention,
    },
    forecast::{preview_plan_change, preview_recording_change},
    plan::RecordingItem,
};

use crate::{
    model::grid,
    vault::{account, recording},
};

fn now() -> TimeUs {
    grid(1000)
}

fn set(policy: &mut Policy, now: TimeUs, days: u32) -> RecordingChange {
    let change = decide_recording_retention(policy, now, days)
        .into_result()
        .expect("allowed");
    apply_recording_change(policy, &change);
    change
}

fn move_to(policy: &mut Policy, now: TimeUs, plan: Plan) -> TimeUs {
    let change = decide_plan_change(policy, now, plan).into_result().expect("allowed");
    apply_plan_change(policy, &change);
    change.effective_at
}

#[test]
fn a_plan_allows_up_to_its_ceiling_and_names_the_one_that_allows_more() {
    for (plan, ceiling, next) in [(Plan::Starter, 90, "Growth"), (Plan::Growth, 180, "Enterprise")] {
        let policy = Policy::new(plan, grid(0));
        assert!(decide_recording_retention(&policy, now(), ceiling).is_allowed());
        assert!(decide_recording_retention(&policy, now(), 1).is_allowed());
        let refusal = decide_recording_retention(&policy, now(), ceiling + 1)
            .into_result()
            .expect_err("too long");
        assert_eq!(
            (refusal.code, refusal.field),
            ("retention-over-plan", Some("recording_days"))
        );
        for part in [&ceiling.to_string(), next] {
            assert!(refusal.reason.contains(part), "{refusal}");
        }
    }
    let policy = Policy::new(Plan::Enterprise, grid(0));
    assert!(decide_recording_retention(&policy, now(), 365).is_allowed());
    let refusal = decide_recording_retention(&policy, now(), 366)
        .into_result()
        .expect_err("too long");
    assert!(refusal.reason.contains("No plan allows 366"), "{refusal}");
    let refusal = decide_recording_retention(&policy, now(), 0)
        .into_result()
        .expect_err("too short");
    assert_eq!(refusal.code, "retention-too-short");
}

#[test]
fn shortening_waits_for_the_notice_and_extending_does_not() {
    let mut policy = Policy::new(Plan::Growth, grid(0));
    let longer = set(&mut policy, now(), 180);
    assert_eq!(
        (longer.effective_at, longer.shortens, longer.previous_days),
        (now(), false, 90)
    );
    let later = now().plus_days(1);
    let shorter = set(&mut policy, later, 30);
    assert_eq!((shorter.effective_at, shorter.shortens), (later.plus_days(7), true));
    assert_eq!(policy.recording_days_at(TimeUs(later.plus_days(7).0 - 1)), 180);
    assert_eq!(policy.recording_days_at(later.plus_days(7)), 30);
    let again = set(&mut policy, later.plus_days(3), 30);
    assert_eq!(again.effective_at, later.plus_days(7), "asking twice postpones nothing");
    let lower = set(&mut policy, later.plus_days(4), 10);
    assert!(lower.supersedes.is_empty(), "30 was announced and deletes less");
    let withdrawn = set(&mut policy, later.plus_days(5), 180);
    assert_eq!(
        (withdrawn.supersedes.len(), withdrawn.effective_at),
        (2, later.plus_days(5))
    );
    assert_eq!(policy.recording_days_at(later.plus_days(100)), 180);
    set(&mut policy, later.plus_days(6), 20);
    let milder = set(&mut policy, later.plus_days(7), 60);
    assert_eq!(milder.supersedes.len(), 1, "20 days are no longer wanted");
    assert_eq!(policy.recording_days_at(later.plus_days(13)), 180);
    assert_eq!(policy.recording_days_at(later.plus_days(14)), 60);
}

#[test]
fn a_downgrade_shortens_after_notice_and_binds_at_once() {
    let mut policy = Policy::new(Plan::Enterprise, grid(0));
    set(&mut policy, now(), 200);
    let effective_at = move_to(&mut policy, now(), Plan::Starter);
    assert_eq!(effective_at, now().plus_days(7));
    assert_eq!(policy.plan_at(TimeUs(effective_at.0 - 1)), Plan::Enterprise);
    assert_eq!(policy.recording_days_at(TimeUs(effective_at.0 - 1)), 200);
    assert_eq!(
        (policy.plan_at(effective_at), policy.recording_days_at(effective_at)),
        (Plan::Starter, 90)
    );
    let refusal = decide_recording_retention(&policy, now(), 91)
        .into_result()
        .expect_err("over the coming plan");
    assert!(
        refusal.reason.contains("Starter") && refusal.reason.contains("begins on"),
        "{refusal}"
    );
    assert_eq!(
        move_to(&mut policy, now().plus_days(2), Plan::Starter),
        effective_at,
        "postpones nothing"
    );
    set(&mut policy, now().plus_days(3), 60);
    assert_eq!(
        policy.recording_days_at(effective_at),
        90,
        "the plan's own shortening stays"
    );
    assert_eq!(policy.recording_days_at(now().plus_days(10)), 60);
    let back = move_to(&mut policy, now().plus_days(4), Plan::Enterprise);
    assert_eq!(back, now().plus_days(4));
    assert_eq!(
        policy.recording_days_at(effective_at),
        200,
        "its shortening went with the downgrade"
    );
    assert_eq!(
        policy.recording_days_at(now().plus_days(10)),
        60,
        "the account's own did not"
    );
}

#[test]
fn other_plan_changes_take_effect_at_once_and_lengthen_nothing() {
    let mut policy = Policy::new(Plan::Growth, grid(0));
    assert_eq!(move_to(&mut policy, now(), Plan::Enterprise), now());
    assert_eq!(policy.recording_days_at(now()), 90);
    assert_eq!(
        move_to(&mut policy, now().plus_days(1), Plan::Starter),
        now().plus_days(1),
        "90 days fit"
    );
    move_to(&mut policy, now().plus_days(2), Plan::Growth);
    set(&mut policy, now().plus_days(3), 180);
    move_to(&mut policy, now().plus_days(4), Plan::Starter);
    move_to(&mut policy, now().plus_days(40), Plan::Enterprise);
    assert_eq!(
        policy.recording_days_at(now().plus_days(50)),
        90,
        "a new plan is no new setting"
    );
    let before = policy.clone();
    move_to(&mut policy, now().plus_days(41), Plan::Enterprise);
    assert_eq!(policy, before, "the plan in force again");
}

#[test]
fn what_is_gone_is_not_extended() {
    let policy = Policy::new(Plan::Growth, grid(0));
    let facts = |age_days: i64| (Class::Recording, now().plus_days(-age_days), now().plus_days(-age_days));
    let code = |decision: Decision<RecordingChange>| decision.into_result().map_err(|refusal| refusal.code);
    assert!(decide_extension(&policy, now(), facts(89), false, 180).is_allowed());
    assert_eq!(
        code(decide_extension(&policy, now(), facts(90), false, 180)),
        Err("already-lapsed")
    );
    assert_eq!(
        code(decide_extension(&policy, now(), facts(10), true, 180)),
        Err("already-deleted")
    );
    assert_eq!(
        code(decide_extension(&policy, now(), facts(10), false, 181)),
        Err("retention-over-plan")
    );
    let call = (Class::Call, now(), now());
    assert_eq!(
        code(decide_extension(&policy, now(), call, false, 100)),
        Err("retention-fixed")
    );
}

#[test]
fn a_preview_shows_what_goes_sooner_and_when() {
    let mut policy = Policy::new(Plan::Enterprise, grid(0));
    set(&mut policy, grid(0), 200);
    let aged = |age_days: i64, bytes| RecordingItem {
        bytes,
        ..recording(&account(), age_days as u8, now().plus_days(-age_days))
    };
    let mut items = vec![aged(150, 5), aged(85, 7), aged(80, 11), aged(199, 13), aged(20, 17)];
    items[4].held = true;
    let change = decide_recording_retention(&policy, now(), 90)
        .into_result()
        .expect("allowed");
    let preview = preview_recording_change(&policy, &change, &items);
    assert_eq!(
        (preview.records, preview.bytes, preview.held),
        (3, 23, 1),
        "the oldest goes before the notice ends"
    );
    assert_eq!(preview.first_at, Some(now().plus_days(7)));
    let days: Vec<_> = preview
        .by_day
        .iter()
        .map(|day| (day.day, day.records, day.bytes))
        .collect();
    assert_eq!(
        days,
        [(now().plus_days(7).day(), 2, 12), (now().plus_days(10).day(), 1, 11)]
    );
    let downgrade = decide_plan_change(&policy, now(), Plan::Starter)
        .into_result()
        .expect("allowed");
    assert_eq!(preview_plan_change(&policy, &downgrade, &items), preview);
    let longer = decide_recording_retention(&policy, now(), 300)
        .into_result()
        .expect("allowed");
    assert_eq!(preview_recording_change(&policy, &longer, &items).records, 0);
}

#[test]
fn what_a_setting_ended_stays_ended_when_the_next_comes_at_the_same_moment() {
    let mut policy = Policy::new(Plan::Enterprise, grid(0));
    let from = now().plus_days(-3);
    let ends_at = set(&mut policy, now(), 1).effective_at;
    let end = |policy: &Policy| policy.ends_at(Class::Recording, from, from);
    assert_eq!(end(&policy), ends_at);
    let longer = set(&mut policy, ends_at, 300);
    assert_eq!((longer.effective_at, end(&policy)), (TimeUs(ends_at.0 + 1), ends_at));
    let downgraded = move_to(&mut policy, ends_at.plus_days(1), Plan::Starter);
    let upgraded = move_to(&mut policy, downgraded, Plan::Enterprise);
    assert_eq!(upgraded, TimeUs(downgraded.0 + 1));
}
