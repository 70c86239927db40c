//! How long a record is kept (spec section 1): terms, plan ceilings, an account's policy over time, and floors.
//!
//! A [`Policy`] is a history that may contain the future. The moment a record ends follows from it and from two facts
//! about the record: `at`, from which its term counts, and `kept_since`, when the vault began to keep it. Later entries
//! never move a moment that has passed, so an answer once given stays true.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    class::{Class, Plan},
    decision::{Decision, Refusal},
    time::TimeUs,
};

/// How long recordings are kept unless the account chose otherwise, in days (spec 1, second table).
pub const DEFAULT_RECORDING_DAYS: u32 = 90;
/// Notice before a change that deletes sooner, in days, unless the operator set another (spec 1.4).
pub const DEFAULT_NOTICE_DAYS: u32 = 7;

/// How long something is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Term {
    /// Days of 24 hours (spec 1.2).
    Days(u32),
    /// Calendar years in UTC (spec 1.2).
    Years(u16),
    /// Until somebody deletes it.
    UntilDeleted,
}

impl Term {
    /// The moment a term that counts from `at` is over; [`TimeUs::NEVER`] for [`Term::UntilDeleted`].
    #[must_use]
    pub fn end(self, at: TimeUs) -> TimeUs {
        match self {
            Self::Days(days) => at.plus_days(i64::from(days)),
            Self::Years(years) => at.plus_years(i16::try_from(years).unwrap_or(i16::MAX)),
            Self::UntilDeleted => TimeUs::NEVER,
        }
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Days(1) => f.write_str("1 day"),
            Self::Days(days) => write!(f, "{days} days"),
            Self::Years(1) => f.write_str("1 year"),
            Self::Years(years) => write!(f, "{years} years"),
            Self::UntilDeleted => f.write_str("until deleted"),
        }
    }
}

/// The term of a class (spec section 1, first table). For recordings this is the default; see
/// [`Policy::recording_days_at`].
#[must_use]
pub const fn base_term(class: Class) -> Term {
    match class {
        Class::Recording => Term::Days(DEFAULT_RECORDING_DAYS),
        Class::Call | Class::Message | Class::CampaignReport => Term::Years(1),
        Class::Contact => Term::UntilDeleted,
        Class::Activity => Term::Years(2),
        Class::ApiAccess => Term::Days(90),
        Class::WebhookDelivery => Term::Days(30),
    }
}

/// The longest recording retention an account on this plan may choose, in days (spec section 1, second table).
#[must_use]
pub const fn recording_ceiling_days(plan: Plan) -> u32 {
    match plan {
        Plan::Starter => 90,
        Plan::Growth => 180,
        Plan::Enterprise => 365,
    }
}

/// From `effective_at` on, recordings are kept `days` days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingSetting {
    /// When the setting takes effect.
    pub effective_at: TimeUs,
    /// Retention in days.
    pub days: u32,
}

/// From `effective_at` on, the account is on `plan`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanSetting {
    /// When the plan takes effect.
    pub effective_at: TimeUs,
    /// The plan.
    pub plan: Plan,
}

/// A longer law the operator is bound by (spec 1.8). It lengthens a term and never shortens it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Floor {
    /// The class it covers.
    pub class: Class,
    /// The shortest term the law allows.
    pub term: Term,
    /// When it begins. What is gone by then stays gone.
    pub from: TimeUs,
    /// When it was removed, if it was. What it alone kept lapses at that moment.
    pub until: Option<TimeUs>,
    /// The law, as the account is shown it.
    pub law: String,
}

impl Floor {
    /// Whether the floor is in force at `t`.
    #[must_use]
    pub fn is_in_force(&self, t: TimeUs) -> bool {
        self.from <= t && self.until.is_none_or(|until| t < until)
    }
}

/// What decides how long an account's records are kept. Histories ascend by their moment and may contain the future.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// The account's plans. Before the first entry the first plan holds; with no entry, Starter.
    pub plans: Vec<PlanSetting>,
    /// The account's recording retention. Before the first entry, [`DEFAULT_RECORDING_DAYS`].
    pub recording: Vec<RecordingSetting>,
    /// The floors of the account's region.
    pub floors: Vec<Floor>,
    /// Notice before a change that deletes sooner, in days.
    pub notice_days: u32,
}

impl Policy {
    /// The policy of a new account on `plan`.
    #[must_use]
    pub fn new(plan: Plan, since: TimeUs) -> Self {
        Self {
            plans: vec![PlanSetting {
                effective_at: since,
                plan,
            }],
            recording: Vec::new(),
            floors: Vec::new(),
            notice_days: DEFAULT_NOTICE_DAYS,
        }
    }

    /// The plan in force at `t`.
    #[must_use]
    pub fn plan_at(&self, t: TimeUs) -> Plan {
        let in_force = self.plans.iter().rev().find(|setting| setting.effective_at <= t);
        in_force
            .or(self.plans.first())
            .map_or(Plan::Starter, |setting| setting.plan)
    }

    /// The recording retention in force at `t`, in days: the account's setting, and never more than the ceiling of the
    /// plan in force.
    #[must_use]
    pub fn recording_days_at(&self, t: TimeUs) -> u32 {
        self.recording_setting_at(t)
            .min(recording_ceiling_days(self.plan_at(t)))
    }

    /// The account's own setting at `t`, in days, whatever the plan allows.
    pub(crate) fn recording_setting_at(&self, t: TimeUs) -> u32 {
        let in_force = self.recording.iter().rev().find(|setting| setting.effective_at <= t);
        in_force.map_or(DEFAULT_RECORDING_DAYS, |setting| setting.days)
    }

    /// The class's own term in force at `t`, floors left aside.
    #[must_use]
    pub fn term_at(&self, class: Class, t: TimeUs) -> Term {
        match class {
            Class::Recording => Term::Days(self.recording_days_at(t)),
            _ => base_term(class),
        }
    }

    /// The second the record's own term ends; from then on the account cannot read it (spec 1.1).
    ///
    /// It is the first `t >= kept_since` with `t >= at + term`, for a term in force at `t` or until `t`. So an
    /// extension never revives what lapsed, not even at its very moment, and a shortening that takes effect at `e` ends
    /// a record at `max(at + days, e)`. Scheduled settings count. [`TimeUs::NEVER`] for what is kept until deleted.
    #[must_use]
    pub fn ends_at(&self, class: Class, at: TimeUs, kept_since: TimeUs) -> TimeUs {
        first_end(kept_since, self.own_changes(class), |t| self.term_at(class, t).end(at))
    }

    /// The second the record lapses with floors counted, holds left aside; at or after [`Policy::ends_at`].
    ///
    /// Own term first: a floor that began before that moment and is in force then prolongs it, to the end of the floor's
    /// term or to the floor's removal; then the next floor, until none does. So a floor reaches only what still exists
    /// when it begins, what it alone kept lapses when it is removed, and an extension of the own term prolongs nothing
    /// whose own term is over. A floor that takes over from another has to begin before the other is removed.
    #[must_use]
    pub fn kept_until(&self, class: Class, at: TimeUs, kept_since: TimeUs) -> TimeUs {
        let mut end = self.ends_at(class, at, kept_since);
        loop {
            let prolonged = self
                .floors
                .iter()
                .filter(|floor| floor.class == class && floor.from < end)
                .map(|floor| {
                    floor
                        .until
                        .map_or(floor.term.end(at), |until| until.min(floor.term.end(at)))
                })
                .fold(end, TimeUs::max);
            if prolonged == end {
                return end;
            }
            end = prolonged;
        }
    }

    /// The floor in force at `now` that keeps a record of this class and time the longest, if one still does.
    #[must_use]
    pub fn find_floor(&self, class: Class, at: TimeUs, now: TimeUs) -> Option<&Floor> {
        let reaches = |floor: &&Floor| floor.class == class && floor.is_in_force(now) && now < floor.term.end(at);
        self.floors
            .iter()
            .filter(reaches)
            .max_by_key(|floor| floor.term.end(at))
    }

    /// The moments at which the class's own term may change.
    fn own_changes(&self, class: Class) -> Vec<TimeUs> {
        if class != Class::Recording {
            return Vec::new();
        }
        let settings = self.recording.iter().map(|setting| setting.effective_at);
        let plans = self.plans.iter().map(|setting| setting.effective_at);
        settings.chain(plans).collect()
    }
}

/// The first `t >= kept_since` at which a deadline in force at `t`, or until `t`, has come. `deadline` is constant
/// between the moments of `changes`.
fn first_end(kept_since: TimeUs, mut changes: Vec<TimeUs>, deadline: impl Fn(TimeUs) -> TimeUs) -> TimeUs {
    changes.retain(|change| *change > kept_since);
    changes.sort_unstable();
    let mut since = kept_since;
    for change in changes {
        let end = since.max(deadline(since));
        // At the very moment of a change the record has already lapsed under what held until then.
        if end <= change {
            return end;
        }
        since = change;
    }
    since.max(deadline(since)).min(TimeUs::NEVER)
}

/// Whether a record may still be put into the vault: refused when its term was over before it came, because it would be
/// unreadable at once.
pub fn decide_keeping(policy: &Policy, class: Class, at: TimeUs, now: TimeUs) -> Decision<TimeUs> {
    let until = policy.kept_until(class, at, now);
    if until > now {
        return Decision::Allowed(until);
    }
    let term = policy.term_at(class, now);
    Decision::Refused(
        Refusal::new(
            "term-over",
            format!(
                "A {class} is kept {term} from its own time; this one lapsed on {} and is not stored.",
                term.end(at)
            ),
        )
        .in_field("at"),
    )
}

/// Whether an operator may set this floor. One that begins in the past would claim what is gone, so it is refused.
pub fn decide_floor(floor: &Floor, now: TimeUs) -> Decision<()> {
    if floor.law.trim().is_empty() {
        let refusal = Refusal::new(
            "floor-without-law",
            "A floor names the law that demands it; the account is shown it.",
        );
        return Decision::Refused(refusal.in_field("law"));
    }
    if floor.from < now {
        let reason =
            format!("A floor begins now or later: what lapsed before {now} is gone. Use {now} or a later time.");
        return Decision::Refused(Refusal::new("floor-in-the-past", reason).in_field("from"));
    }
    if floor.until.is_some_and(|until| until <= floor.from) {
        let reason = "A floor ends after it begins, or has no end.";
        return Decision::Refused(Refusal::new("floor-ends-before-it-begins", reason).in_field("until"));
    }
    Decision::Allowed(())
}
