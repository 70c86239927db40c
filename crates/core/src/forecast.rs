//! What will be deleted, and when: the forecast, the warnings before recordings lapse, and the preview of a change
//! (spec 1.4 and 1.5). All of it from the planner's own functions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    change::{PlanChange, RecordingChange, apply_plan_change, apply_recording_change},
    class::Class,
    id::AccountSid,
    plan::{Inventory, Policies, Reason, RecordingItem, lapse_of_document, lapse_of_partition, lapse_of_recording},
    retention::Policy,
    time::{DAY_US, Day, TimeUs},
};

/// Why records will go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Because {
    /// Their term ends.
    TermOver,
    /// The floor that keeps them ends.
    FloorOver,
    /// The hold that kept them is lifted.
    HoldLifted,
}

/// Records of one class that go on one day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForecastRow {
    /// Account.
    pub account: AccountSid,
    /// Class.
    pub class: Class,
    /// The UTC day on which they go.
    pub day: Day,
    /// How many.
    pub records: u64,
    /// Their size.
    pub bytes: u64,
    /// Why.
    pub because: Because,
}

/// What goes from `from` up to, not including, `to`, by account, class and day, as [`crate::plan::plan`] will do it if
/// nothing else happens. What is overdue at `from` goes on its day. Held records stay, and those with a tombstone are
/// deleted already; neither is counted.
#[must_use]
pub fn forecast(policies: &Policies, inventory: &Inventory, from: TimeUs, to: TimeUs) -> Vec<ForecastRow> {
    let partitions = inventory.partitions.iter().filter_map(|item| {
        let lapse = lapse_of_partition(policies.get(&item.account)?, item)?;
        Some((&item.account, item.class, lapse))
    });
    let recordings = inventory.recordings.iter().filter_map(|item| {
        let lapse = lapse_of_recording(policies.get(&item.account)?, item)?;
        Some((&item.account, Class::Recording, lapse))
    });
    let documents = inventory.documents.iter().filter_map(|item| {
        let lapse = lapse_of_document(policies.get(&item.account)?, item)?;
        Some((&item.account, item.kind.class(), lapse))
    });
    let mut sums: BTreeMap<_, (u64, u64)> = BTreeMap::new();
    for (account, class, lapse) in partitions.chain(recordings).chain(documents) {
        let goes_at = lapse.due_at.max(from);
        let because = match lapse.reason {
            Reason::FloorOver { .. } => Because::FloorOver,
            Reason::HoldLifted { .. } => Because::HoldLifted,
            _ => Because::TermOver,
        };
        if goes_at < to && lapse.records > 0 {
            let sum = sums.entry((goes_at.day(), account, class, because)).or_default();
            sum.0 += lapse.records;
            sum.1 += lapse.bytes;
        }
    }
    sums.into_iter()
        .map(|((day, account, class, because), (records, bytes))| ForecastRow {
            account: account.clone(),
            class,
            day,
            records,
            bytes,
            because,
        })
        .collect()
}

/// Days before recordings lapse on which the account is warned (spec 1.5).
pub const WARNING_DAYS: [u32; 3] = [30, 7, 1];

/// Recordings of one account that lapse on one day, and how near that is. The three fields account, day and stage name
/// a warning, so that each is sent once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// Account.
    pub account: AccountSid,
    /// The UTC day on which they lapse.
    pub day: Day,
    /// 30, 7 or 1: the smallest of [`WARNING_DAYS`] that is not less than the time left.
    pub stage_days: u32,
    /// How many.
    pub records: u64,
    /// Their size.
    pub bytes: u64,
    /// When the first of them lapses.
    pub first_at: TimeUs,
}

/// The warnings that stand at `now`: recordings whose own term ends within 30, 7 or 1 days, without those that an
/// automatic export already took.
#[must_use]
pub fn warnings(
    policies: &Policies,
    inventory: &Inventory,
    now: TimeUs,
    exported: &dyn Fn(&RecordingItem) -> bool,
) -> Vec<Warning> {
    let mut found: BTreeMap<_, Warning> = BTreeMap::new();
    for item in &inventory.recordings {
        let Some(policy) = policies.get(&item.account) else {
            continue;
        };
        let ends_at = policy.ends_at(Class::Recording, item.at, item.kept_since);
        let Some(stage_days) = stage(ends_at.0 - now.0) else {
            continue;
        };
        if exported(item) {
            continue;
        }
        let warning = found
            .entry((ends_at.day(), item.account.clone(), stage_days))
            .or_insert_with(|| Warning {
                account: item.account.clone(),
                day: ends_at.day(),
                stage_days,
                records: 0,
                bytes: 0,
                first_at: ends_at,
            });
        warning.records += 1;
        warning.bytes += item.bytes;
        warning.first_at = warning.first_at.min(ends_at);
    }
    found.into_values().collect()
}

/// The stage for what lapses in `left_us`; `None` when it is too far or over.
fn stage(left_us: i64) -> Option<u32> {
    let near = |days: &u32| left_us <= i64::from(*days) * DAY_US;
    WARNING_DAYS.into_iter().rev().find(near).filter(|_| left_us > 0)
}

/// What a change would delete sooner than it goes without the change.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Preview {
    /// Recordings that would go sooner.
    pub records: u64,
    /// Their size.
    pub bytes: u64,
    /// When the first of them would go.
    pub first_at: Option<TimeUs>,
    /// The UTC days on which they would go.
    pub by_day: Vec<PreviewDay>,
    /// Recordings that the change reaches and a hold keeps until it is lifted; not counted above.
    pub held: u64,
}

/// One day of a [`Preview`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviewDay {
    /// The day.
    pub day: Day,
    /// Recordings that would go on it.
    pub records: u64,
    /// Their size.
    pub bytes: u64,
}

/// What `after` would delete sooner than `before`, of one account's recordings.
#[must_use]
pub fn preview<'a>(
    before: &Policy,
    after: &Policy,
    recordings: impl IntoIterator<Item = &'a RecordingItem>,
) -> Preview {
    let mut preview = Preview::default();
    let mut days: BTreeMap<Day, PreviewDay> = BTreeMap::new();
    for item in recordings {
        let until = |policy: &Policy| policy.kept_until(Class::Recording, item.at, item.kept_since);
        let goes_at = until(after);
        if goes_at >= until(before) {
            continue;
        }
        if item.held {
            preview.held += 1;
            continue;
        }
        preview.records += 1;
        preview.bytes += item.bytes;
        preview.first_at = Some(preview.first_at.map_or(goes_at, |first_at| first_at.min(goes_at)));
        let day = days.entry(goes_at.day()).or_insert(PreviewDay {
            day: goes_at.day(),
            records: 0,
            bytes: 0,
        });
        day.records += 1;
        day.bytes += item.bytes;
    }
    preview.by_day = days.into_values().collect();
    preview
}

/// What a decided retention would delete sooner.
#[must_use]
pub fn preview_recording_change<'a>(
    policy: &Policy,
    change: &RecordingChange,
    recordings: impl IntoIterator<Item = &'a RecordingItem>,
) -> Preview {
    let mut after = policy.clone();
    apply_recording_change(&mut after, change);
    preview(policy, &after, recordings)
}

/// What a decided plan would delete sooner.
#[must_use]
pub fn preview_plan_change<'a>(
    policy: &Policy,
    change: &PlanChange,
    recordings: impl IntoIterator<Item = &'a RecordingItem>,
) -> Preview {
    let mut after = policy.clone();
    apply_plan_change(&mut after, change);
    preview(policy, &after, recordings)
}
