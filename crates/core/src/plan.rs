//! What is to be done with an inventory at a moment: shred, rewrite, seal (spec 1 and 5).
//!
//! [`plan`] decides, somebody else does. The dry run and the forecast use the same [`lapse_of_partition`],
//! [`lapse_of_recording`] and [`lapse_of_document`], so that what is foretold is what happens.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use crate::inventory::{DocumentItem, Inventory, PartitionItem, RecordingItem};
use crate::{
    class::Class,
    document::DocumentKind,
    hold::Cause,
    id::{AccountSid, KeyId, Sid},
    purge::Purge,
    retention::Policy,
    time::{Day, TimeUs},
};

/// Loose rows from which a partition is sealed though its day goes on.
pub const SEAL_ROWS: u64 = 2_000;
/// Seconds after the end of its day, and after the oldest loose row came, from which a partition is sealed.
pub const SEAL_AFTER_S: i64 = 3_600;
/// Segments above which a partition's segments are merged.
pub const MERGE_SEGMENTS: u32 = 8;

/// The policies of all accounts of a region.
pub type Policies = BTreeMap<AccountSid, Policy>;

/// What a rewrite leaves in the partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// The rows that a hold freezes: the others' term is over.
    HeldOnly,
    /// All rows without a tombstone.
    AllButTombstones,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// Destroy a partition's key.
    ShredPartition {
        /// Class.
        class: Class,
        /// Day.
        day: Day,
        /// The key to destroy.
        key: KeyId,
        /// Records that go, those with a tombstone not counted again.
        records: u64,
        /// Their size.
        bytes: u64,
    },
    /// Destroy a recording's key.
    ShredRecording {
        /// Identifier.
        sid: Sid,
        /// The key to destroy.
        key: KeyId,
        /// Its size.
        bytes: u64,
    },
    /// Destroy a document's key.
    ShredDocument {
        /// What it is.
        kind: DocumentKind,
        /// Identifier.
        id: Sid,
        /// The key to destroy.
        key: KeyId,
        /// Its size.
        bytes: u64,
    },
    /// Write a partition anew under a new key and destroy the old one.
    RewritePartition {
        /// Class.
        class: Class,
        /// Day.
        day: Day,
        /// The key to destroy once the rewrite is in the catalog.
        key: KeyId,
        /// What stays.
        keep: Keep,
        /// Records that go, those with a tombstone not counted again.
        records: u64,
        /// Their size.
        bytes: u64,
    },
    /// Write a partition's loose rows into a segment.
    SealPartition {
        /// Class.
        class: Class,
        /// Day.
        day: Day,
        /// Its key, which stays.
        key: KeyId,
        /// Loose rows to seal.
        loose_rows: u64,
        /// Whether the segments become one.
        merge: bool,
    },
}

/// The rule a step follows from, with its moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "snake_case")]
pub enum Reason {
    /// The term is over.
    TermOver {
        /// Since when.
        ended_at: TimeUs,
    },
    /// The term was over; a floor kept it and no longer does.
    FloorOver {
        /// The law behind the floor.
        law: String,
        /// Since when.
        ended_at: TimeUs,
    },
    /// The term was over; a hold kept it and was lifted.
    HoldLifted {
        /// When.
        lifted_at: TimeUs,
    },
    /// Tombstones have gathered for the erase window.
    Erased {
        /// How many.
        tombstones: u64,
        /// When the oldest was set.
        oldest_at: TimeUs,
    },
    /// There are many loose rows.
    ManyLooseRows {
        /// How many.
        rows: u64,
    },
    /// The day is over and there are loose rows.
    DayOver {
        /// When it ended.
        ended_at: TimeUs,
    },
    /// There are many segments.
    ManySegments {
        /// How many.
        segments: u32,
    },
}

impl Reason {
    /// The cause that a shred for this reason carries; `None` when nothing is deleted.
    #[must_use]
    pub const fn cause(&self) -> Option<Cause> {
        match self {
            Self::TermOver { .. } | Self::FloorOver { .. } => Some(Cause::Term),
            Self::HoldLifted { .. } => Some(Cause::HoldLifted),
            Self::Erased { .. } => Some(Cause::Rewrite),
            Self::ManyLooseRows { .. } | Self::DayOver { .. } | Self::ManySegments { .. } => None,
        }
    }
}

/// One step of work. Doing it twice is the same as doing it once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Whose data.
    pub account: AccountSid,
    /// What to do.
    pub action: Action,
    /// Why.
    pub reason: Reason,
    /// Since when it is due.
    pub due_at: TimeUs,
}

/// The work at a moment: shreds, then rewrites, then seals, the longest due first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Plan {
    /// What to do now.
    pub steps: Vec<Step>,
    /// When there is something to do next, if nothing else happens.
    pub next_due_at: Option<TimeUs>,
    /// Accounts with data and without a policy: nothing of theirs is planned, and somebody must look.
    pub without_policy: BTreeSet<AccountSid>,
}

/// When records go, how many, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lapse {
    /// The moment it is due.
    pub due_at: TimeUs,
    /// Why.
    pub reason: Reason,
    /// Records that go; those with a tombstone, and those that are held, are not counted.
    pub records: u64,
    /// Their size; a share of the partition's when not all of it goes.
    pub bytes: u64,
}

/// When the partition's key goes: once the last moment of its day has lapsed. `None` while everything in it is held, or
/// when it has no term.
#[must_use]
pub fn lapse_of_partition(policy: &Policy, item: &PartitionItem) -> Option<Lapse> {
    if item.held_rows > 0 && item.held_rows >= item.rows {
        return None;
    }
    let last = TimeUs(item.day.end().0 - 1);
    let (due_at, reason) = lapse_of(policy, item.class, last, item.kept_since, item.released_at)?;
    let records = item.rows.saturating_sub(item.tombstones).saturating_sub(item.held_rows);
    Some(Lapse {
        due_at,
        reason,
        records,
        bytes: share_bytes(item.bytes, records, item.rows),
    })
}

/// When the recording's key goes. `None` while it is held.
#[must_use]
pub fn lapse_of_recording(policy: &Policy, item: &RecordingItem) -> Option<Lapse> {
    if item.held {
        return None;
    }
    let (due_at, reason) = lapse_of(policy, Class::Recording, item.at, item.kept_since, item.released_at)?;
    Some(Lapse {
        due_at,
        reason,
        records: 1,
        bytes: item.bytes,
    })
}

/// When the document's key goes. `None` while it is held, or when it has no term.
#[must_use]
pub fn lapse_of_document(policy: &Policy, item: &DocumentItem) -> Option<Lapse> {
    if item.held {
        return None;
    }
    let (due_at, reason) = lapse_of(policy, item.kind.class(), item.at, item.at, item.released_at)?;
    Some(Lapse {
        due_at,
        reason,
        records: 1,
        bytes: item.bytes,
    })
}

fn lapse_of(
    policy: &Policy,
    class: Class,
    at: TimeUs,
    kept_since: TimeUs,
    released_at: Option<TimeUs>,
) -> Option<(TimeUs, Reason)> {
    let ended_at = policy.kept_until(class, at, kept_since);
    if ended_at == TimeUs::NEVER {
        return None;
    }
    if let Some(lifted_at) = released_at.filter(|lifted_at| *lifted_at > ended_at) {
        return Some((lifted_at, Reason::HoldLifted { lifted_at }));
    }
    let floor = policy.find_floor(class, at, TimeUs(ended_at.0 - 1));
    let by_floor = floor.filter(|_| policy.ends_at(class, at, kept_since) < ended_at);
    let reason = by_floor.map_or(Reason::TermOver { ended_at }, |floor| Reason::FloorOver {
        law: floor.law.clone(),
        ended_at,
    });
    Some((ended_at, reason))
}

/// The share of `bytes` that `part` of `whole` rows take.
fn share_bytes(bytes: u64, part: u64, whole: u64) -> u64 {
    if part >= whole {
        return bytes;
    }
    u64::try_from(u128::from(bytes) * u128::from(part) / u128::from(whole)).unwrap_or(bytes)
}

/// What is to be done with the inventory at `now`.
#[must_use]
pub fn plan(policies: &Policies, inventory: &Inventory, now: TimeUs, purge: Purge) -> Plan {
    let mut plan = Plan::default();
    for item in &inventory.partitions {
        match policies.get(&item.account) {
            Some(policy) => plan.take(now, steps_of_partition(policy, item, purge)),
            None => _ = plan.without_policy.insert(item.account.clone()),
        }
    }
    for item in &inventory.recordings {
        match policies.get(&item.account) {
            Some(policy) => plan.take(now, step_of_recording(policy, item)),
            None => _ = plan.without_policy.insert(item.account.clone()),
        }
    }
    for item in &inventory.documents {
        match policies.get(&item.account) {
            Some(policy) => plan.take(now, step_of_document(policy, item)),
            None => _ = plan.without_policy.insert(item.account.clone()),
        }
    }
    plan.steps
        .sort_by(|a, b| (rank(a), a.due_at, &a.account, key_of(a)).cmp(&(rank(b), b.due_at, &b.account, key_of(b))));
    plan
}

impl Plan {
    /// Takes the first candidate that is due; of those that are not, remembers the next moment.
    fn take(&mut self, now: TimeUs, candidates: impl IntoIterator<Item = Step>) {
        for step in candidates {
            if step.due_at <= now {
                self.steps.push(step);
                return;
            }
            self.next_due_at = Some(self.next_due_at.map_or(step.due_at, |next| next.min(step.due_at)));
        }
    }
}

/// Shreds before rewrites before seals.
const fn rank(step: &Step) -> u8 {
    match step.action {
        Action::ShredPartition { .. } | Action::ShredRecording { .. } | Action::ShredDocument { .. } => 0,
        Action::RewritePartition { .. } => 1,
        Action::SealPartition { .. } => 2,
    }
}

/// The key a step works on.
const fn key_of(step: &Step) -> KeyId {
    match step.action {
        Action::ShredPartition { key, .. }
        | Action::ShredRecording { key, .. }
        | Action::ShredDocument { key, .. }
        | Action::RewritePartition { key, .. }
        | Action::SealPartition { key, .. } => key,
    }
}

/// The steps that wait for this partition, the strongest first: one makes the weaker ones needless.
fn steps_of_partition(policy: &Policy, item: &PartitionItem, purge: Purge) -> impl Iterator<Item = Step> {
    let step = |action, reason, due_at| Step {
        account: item.account.clone(),
        action,
        reason,
        due_at,
    };
    let &PartitionItem { class, day, key, .. } = item;
    let lapse = lapse_of_partition(policy, item).map(
        |Lapse {
             due_at,
             reason,
             records,
             bytes,
         }| {
            let action = if item.held_rows == 0 {
                Action::ShredPartition {
                    class,
                    day,
                    key,
                    records,
                    bytes,
                }
            } else {
                Action::RewritePartition {
                    class,
                    day,
                    key,
                    keep: Keep::HeldOnly,
                    records,
                    bytes,
                }
            };
            step(action, reason, due_at)
        },
    );
    let erase = item
        .oldest_tombstone_at
        .filter(|_| item.tombstones > 0)
        .map(|oldest_at| {
            let action = if item.tombstones >= item.rows {
                Action::ShredPartition {
                    class,
                    day,
                    key,
                    records: 0,
                    bytes: 0,
                }
            } else {
                Action::RewritePartition {
                    class,
                    day,
                    key,
                    keep: Keep::AllButTombstones,
                    records: 0,
                    bytes: 0,
                }
            };
            let reason = Reason::Erased {
                tombstones: item.tombstones,
                oldest_at,
            };
            step(
                action,
                reason,
                TimeUs(oldest_at.0.saturating_add(purge.erase_window_us())),
            )
        });
    let seal = seal_due(item).map(|(due_at, reason)| {
        let merge = item.segments + u32::from(item.loose_rows > 0) > MERGE_SEGMENTS;
        step(
            Action::SealPartition {
                class,
                day,
                key,
                loose_rows: item.loose_rows,
                merge,
            },
            reason,
            due_at,
        )
    });
    [lapse, erase, seal].into_iter().flatten()
}

/// When the partition is to be sealed or merged, and why.
fn seal_due(item: &PartitionItem) -> Option<(TimeUs, Reason)> {
    let day_over = item.day.end().plus_seconds(SEAL_AFTER_S);
    if item.loose_rows >= SEAL_ROWS {
        let since = item.oldest_loose_at.unwrap_or(item.day.start());
        return Some((since, Reason::ManyLooseRows { rows: item.loose_rows }));
    }
    if item.loose_rows > 0 {
        let settled = item
            .oldest_loose_at
            .map_or(day_over, |oldest_at| oldest_at.plus_seconds(SEAL_AFTER_S));
        return Some((
            day_over.max(settled),
            Reason::DayOver {
                ended_at: item.day.end(),
            },
        ));
    }
    (item.segments > MERGE_SEGMENTS).then_some((
        day_over,
        Reason::ManySegments {
            segments: item.segments,
        },
    ))
}

/// The step that waits for this recording.
fn step_of_recording(policy: &Policy, item: &RecordingItem) -> Option<Step> {
    let Lapse {
        due_at, reason, bytes, ..
    } = lapse_of_recording(policy, item)?;
    let action = Action::ShredRecording {
        sid: item.sid,
        key: item.key,
        bytes,
    };
    Some(Step {
        account: item.account.clone(),
        action,
        reason,
        due_at,
    })
}

/// The step that waits for this document.
fn step_of_document(policy: &Policy, item: &DocumentItem) -> Option<Step> {
    let Lapse {
        due_at, reason, bytes, ..
    } = lapse_of_document(policy, item)?;
    let action = Action::ShredDocument {
        kind: item.kind,
        id: item.id,
        key: item.key,
        bytes,
    };
    Some(Step {
        account: item.account.clone(),
        action,
        reason,
        due_at,
    })
}
