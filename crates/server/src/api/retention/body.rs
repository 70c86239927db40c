//! Retention settings and changes as JSON.

use callvault_app::core::{
    Class, Policy, RecordingChange, TimeUs,
    forecast::Preview,
    retention::{base_term, recording_ceiling_days},
};
use serde::Serialize;
use utoipa::ToSchema;

/// How long an account's data is kept.
#[derive(Serialize, ToSchema)]
pub struct RetentionBody {
    /// `starter`, `growth` or `enterprise`.
    pub plan: &'static str,
    /// Days that recordings are kept now.
    pub recording_days: u32,
    /// The most days that the plan allows.
    pub recording_days_limit: u32,
    /// Days of notice before a change that deletes sooner takes effect.
    pub notice_days: u32,
    /// Changes that are decided and not in force yet.
    pub scheduled: Vec<ScheduledBody>,
    /// The term of every class.
    pub classes: Vec<TermBody>,
    /// Longer laws that keep records beyond their term, for the compliance role alone.
    pub floors: Vec<FloorBody>,
}

/// A change to come.
#[derive(Serialize, ToSchema)]
pub struct ScheduledBody {
    /// When it takes effect.
    #[schema(format = DateTime)]
    pub effective_at: String,
    /// `starter`, `growth` or `enterprise` from then on.
    pub plan: &'static str,
    /// Days that recordings are kept from then on.
    pub recording_days: u32,
}

/// The term of a class.
#[derive(Serialize, ToSchema)]
pub struct TermBody {
    /// Class.
    pub class: &'static str,
    /// Such as `90 days` or `1 year`.
    pub term: String,
}

/// A floor.
#[derive(Serialize, ToSchema)]
pub struct FloorBody {
    /// Class.
    pub class: &'static str,
    /// Such as `2 years`.
    pub term: String,
    /// The law.
    pub law: String,
}

/// A change of the recording retention, and what it deletes.
#[derive(Serialize, ToSchema)]
pub struct ChangeBody {
    /// Days asked for.
    pub recording_days: u32,
    /// Days in force before.
    pub previous_days: u32,
    /// When it takes effect.
    #[schema(format = DateTime)]
    pub effective_at: String,
    /// Whether it deletes sooner.
    pub shortens: bool,
    /// What goes sooner because of it.
    pub deletes: PreviewBody,
}

/// What a change deletes sooner than it would go without it.
#[derive(Serialize, ToSchema)]
pub struct PreviewBody {
    /// Recordings.
    pub records: u64,
    /// Their size.
    pub bytes: u64,
    /// When the first of them goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub first_at: Option<String>,
    /// Recordings that it reaches and a hold keeps; not counted above.
    pub held: u64,
    /// By UTC day.
    pub by_day: Vec<PreviewDayBody>,
}

/// One day of a preview.
#[derive(Serialize, ToSchema)]
pub struct PreviewDayBody {
    /// Day, `YYYY-MM-DD`.
    pub day: String,
    /// Recordings.
    pub records: u64,
    /// Their size.
    pub bytes: u64,
}

impl RetentionBody {
    /// An account's policy at a moment.
    #[must_use]
    pub fn new(policy: &Policy, now: TimeUs) -> Self {
        let plan = policy.plan_at(now);
        let recording_days = policy.recording_days_at(now);
        let mut moments: Vec<TimeUs> = policy.recording.iter().map(|setting| setting.effective_at).collect();
        moments.extend(policy.plans.iter().map(|setting| setting.effective_at));
        moments.retain(|at| *at > now);
        moments.sort_unstable();
        moments.dedup();
        let term = |class: Class| match class {
            Class::Recording => policy.term_at(class, now),
            _ => base_term(class),
        };
        Self {
            plan: plan.as_str(),
            recording_days,
            recording_days_limit: recording_ceiling_days(plan),
            notice_days: policy.notice_days,
            scheduled: moments
                .into_iter()
                .map(|at| ScheduledBody {
                    effective_at: at.to_string(),
                    plan: policy.plan_at(at).as_str(),
                    recording_days: policy.recording_days_at(at),
                })
                .collect(),
            classes: Class::ALL
                .into_iter()
                .map(|class| TermBody {
                    class: class.as_str(),
                    term: term(class).to_string(),
                })
                .collect(),
            floors: policy
                .floors
                .iter()
                .filter(|floor| floor.is_in_force(now))
                .map(|floor| FloorBody {
                    class: floor.class.as_str(),
                    term: floor.term.to_string(),
                    law: floor.law.clone(),
                })
                .collect(),
        }
    }
}

impl ChangeBody {
    /// A change with its preview.
    #[must_use]
    pub fn new(change: &RecordingChange, preview: &Preview) -> Self {
        Self {
            recording_days: change.days,
            previous_days: change.previous_days,
            effective_at: change.effective_at.to_string(),
            shortens: change.shortens,
            deletes: PreviewBody {
                records: preview.records,
                bytes: preview.bytes,
                first_at: preview.first_at.map(|at| at.to_string()),
                held: preview.held,
                by_day: preview
                    .by_day
                    .iter()
                    .map(|day| PreviewDayBody {
                        day: day.day.to_string(),
                        records: day.records,
                        bytes: day.bytes,
                    })
                    .collect(),
            },
        }
    }
}
