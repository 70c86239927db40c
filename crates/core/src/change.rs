//! Changes of an account's recording retention and plan (spec 1.3 and 1.4).
//!
//! What deletes sooner takes effect after the policy's notice; what extends takes effect at once and reaches only what
//! still exists. A decision changes nothing; `apply_*` does.

use serde::{Deserialize, Serialize};

use crate::{
    class::{Class, Plan},
    decision::{Decision, Refusal},
    retention::{PlanSetting, Policy, RecordingSetting, base_term, recording_ceiling_days},
    time::TimeUs,
};

/// A decided change of the recording retention.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingChange {
    /// The new retention in days.
    pub days: u32,
    /// The retention in force when the change was decided, in days.
    pub previous_days: u32,
    /// When it takes effect: at once, or after the notice if it shortens.
    pub effective_at: TimeUs,
    /// Whether it deletes sooner.
    pub shortens: bool,
    /// Scheduled settings that it replaces.
    pub supersedes: Vec<RecordingSetting>,
}

/// A decided change of plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanChange {
    /// The new plan.
    pub plan: Plan,
    /// The plan in force when the change was decided.
    pub previous_plan: Plan,
    /// When it takes effect: at once, or after the notice if recordings are kept longer than the new plan allows.
    pub effective_at: TimeUs,
    /// What it does to the recording retention, if anything.
    pub recording: Option<RecordingChange>,
    /// Scheduled plans that it replaces.
    pub supersedes: Vec<PlanSetting>,
    /// Scheduled shortenings that belonged to those plans, and go with them.
    pub withdraws: Vec<RecordingSetting>,
}

/// Decides a new recording retention: 1 day to the ceiling of the plan in force, and of every scheduled plan.
///
/// A shortening waits for the notice and leaves alone what was scheduled on the way down to it, so that asking twice
/// postpones nothing. An extension, and the return to the retention in force, apply at once and replace whatever was
/// scheduled.
pub fn decide_recording_retention(policy: &Policy, now: TimeUs, requested_days: u32) -> Decision<RecordingChange> {
    if requested_days == 0 {
        let reason = "Recordings are kept at least 1 day; ask for 1 or more.";
        return Decision::Refused(Refusal::new("retention-too-short", reason).in_field("recording_days"));
    }
    if let Some(refusal) = over_ceiling(policy, now, requested_days) {
        return Decision::Refused(refusal);
    }
    let previous_days = policy.recording_days_at(now);
    let scheduled = policy
        .recording
        .iter()
        .copied()
        .filter(|setting| setting.effective_at > now);
    if requested_days >= previous_days {
        return Decision::Allowed(RecordingChange {
            days: requested_days,
            previous_days,
            effective_at: at_once(now, policy.recording.iter().map(|setting| setting.effective_at)),
            shortens: false,
            supersedes: scheduled.collect(),
        });
    }
    let after_notice = now.plus_days(i64::from(policy.notice_days));
    let (on_the_way, _): (Vec<_>, Vec<_>) = scheduled
        .clone()
        .partition(|setting| setting.days >= requested_days && setting.effective_at <= after_notice);
    let already = on_the_way.iter().find(|setting| setting.days == requested_days);
    let effective_at = already.map_or(after_notice, |setting| setting.effective_at);
    Decision::Allowed(RecordingChange {
        days: requested_days,
        previous_days,
        effective_at,
        shortens: true,
        supersedes: scheduled
            .filter(|setting| setting.days < requested_days || setting.effective_at > effective_at)
            .collect(),
    })
}

/// Now, or the next microsecond when a setting took effect at this very moment: what that one ended stays ended.
fn at_once(now: TimeUs, mut effective_at: impl Iterator<Item = TimeUs>) -> TimeUs {
    if effective_at.any(|moment| moment == now) {
        TimeUs(now.0 + 1)
    } else {
        now
    }
}

/// The refusal when a plan in force or scheduled does not allow this many days.
fn over_ceiling(policy: &Policy, now: TimeUs, requested_days: u32) -> Option<Refusal> {
    let in_force = PlanSetting {
        effective_at: now,
        plan: policy.plan_at(now),
    };
    let scheduled = policy
        .plans
        .iter()
        .copied()
        .filter(|setting| setting.effective_at > now);
    let tightest = std::iter::once(in_force)
        .chain(scheduled)
        .min_by_key(|setting| recording_ceiling_days(setting.plan))?;
    let ceiling = recording_ceiling_days(tightest.plan);
    if requested_days <= ceiling {
        return None;
    }
    let whose = if tightest.effective_at > now {
        format!(
            "The {} plan, which begins on {},",
            title(tightest.plan),
            tightest.effective_at
        )
    } else {
        format!("The {} plan", title(tightest.plan))
    };
    let way_out = match Plan::ALL
        .into_iter()
        .find(|plan| requested_days <= recording_ceiling_days(*plan))
    {
        Some(plan) => format!("{requested_days} days need the {} plan.", title(plan)),
        None => format!(
            "No plan allows {requested_days} days; the Enterprise plan allows {}.",
            recording_ceiling_days(Plan::Enterprise)
        ),
    };
    let reason = format!("{whose} keeps recordings at most {ceiling} days. {way_out}");
    Some(Refusal::new("retention-over-plan", reason).in_field("recording_days"))
}

/// The plan's name in a sentence.
const fn title(plan: Plan) -> &'static str {
    match plan {
        Plan::Starter => "Starter",
        Plan::Growth => "Growth",
        Plan::Enterprise => "Enterprise",
    }
}

/// Decides a change of plan. It always replaces scheduled plans; choosing the plan in force withdraws them.
///
/// When recordings are kept longer than the new plan allows, plan and shortened retention take effect together after
/// the notice; any other change takes effect at once.
pub fn decide_plan_change(policy: &Policy, now: TimeUs, to: Plan) -> Decision<PlanChange> {
    let supersedes: Vec<PlanSetting> = policy
        .plans
        .iter()
        .copied()
        .filter(|plan| plan.effective_at > now)
        .collect();
    let belongs = |setting: &RecordingSetting| {
        supersedes
            .iter()
            .any(|plan| plan.effective_at == setting.effective_at && setting.days == recording_ceiling_days(plan.plan))
    };
    let withdraws: Vec<RecordingSetting> = policy.recording.iter().copied().filter(belongs).collect();
    let previous_days = policy.recording_days_at(now);
    let ceiling = recording_ceiling_days(to);
    let mut change = PlanChange {
        plan: to,
        previous_plan: policy.plan_at(now),
        effective_at: at_once(now, policy.plans.iter().map(|setting| setting.effective_at)),
        recording: None,
        supersedes,
        withdraws,
    };
    if previous_days > ceiling {
        let announced = change.supersedes.iter().find(|setting| setting.plan == to);
        change.effective_at = announced.map_or(now.plus_days(i64::from(policy.notice_days)), |setting| {
            setting.effective_at
        });
        let mut without = policy.clone();
        withdraw(&mut without, &change);
        if without.recording_days_at(change.effective_at) > ceiling {
            change.recording = Some(RecordingChange {
                days: ceiling,
                previous_days,
                effective_at: change.effective_at,
                shortens: true,
                supersedes: Vec::new(),
            });
        }
    }
    Decision::Allowed(change)
}

/// Decides whether the retention may be extended for the sake of one recording: never when it is gone (spec 1.4).
///
/// `shredded` says that the recording's key is destroyed, by whatever cause.
pub fn decide_extension(
    policy: &Policy,
    now: TimeUs,
    (class, at, kept_since): (Class, TimeUs, TimeUs),
    shredded: bool,
    requested_days: u32,
) -> Decision<RecordingChange> {
    if shredded {
        let reason = "This record is deleted and its key destroyed; no copy can be opened again, so nothing is left to \
                      extend. Extend the retention before a record lapses.";
        return Decision::refuse("already-deleted", reason);
    }
    let ended_at = policy.ends_at(class, at, kept_since);
    if ended_at <= now {
        let reason = format!(
            "This record's term ended on {ended_at}; an extension reaches only what still exists. Extend the retention \
             before a record lapses."
        );
        return Decision::refuse("already-lapsed", reason);
    }
    if class != Class::Recording {
        let reason = format!(
            "A {class} is kept {}; only the retention of recordings can be chosen.",
            base_term(class)
        );
        return Decision::refuse("retention-fixed", reason);
    }
    decide_recording_retention(policy, now, requested_days)
}

/// Writes a decided retention into the policy.
pub fn apply_recording_change(policy: &mut Policy, change: &RecordingChange) {
    policy.recording.retain(|setting| !change.supersedes.contains(setting));
    if policy.recording_setting_at(change.effective_at) != change.days {
        policy.recording.push(RecordingSetting {
            effective_at: change.effective_at,
            days: change.days,
        });
        policy.recording.sort_by_key(|setting| setting.effective_at);
    }
}

/// Writes a decided plan, and what it does to the recording retention, into the policy.
pub fn apply_plan_change(policy: &mut Policy, change: &PlanChange) {
    withdraw(policy, change);
    if policy.plans.is_empty() || policy.plan_at(change.effective_at) != change.plan {
        policy.plans.push(PlanSetting {
            effective_at: change.effective_at,
            plan: change.plan,
        });
        policy.plans.sort_by_key(|setting| setting.effective_at);
    }
    if let Some(recording) = &change.recording {
        apply_recording_change(policy, recording);
    }
}

/// Takes out the scheduled plans that a change replaces, with the shortenings that belonged to them.
fn withdraw(policy: &mut Policy, change: &PlanChange) {
    policy.plans.retain(|setting| !change.supersedes.contains(setting));
    policy.recording.retain(|setting| !change.withdraws.contains(setting));
}
