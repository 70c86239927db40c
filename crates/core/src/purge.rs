//! The arithmetic of the purge deadline (spec 5.1): when no backup can open what was deleted.
//!
//! With the purge deadline `P`: tombstones gather at most `P/10` before their partition is written anew
//! ([`Purge::erase_window_us`]); an epoch key is replaced after `P/6` ([`Purge::epoch_period_us`]) and destroyed `L = P -
//! P/10 - P/30` after its creation ([`Purge::epoch_life_us`]). `P/30` is slack for work that comes late
//! ([`Purge::slack_us`]).
//!
//! Claim: what is shredded, or hidden by a tombstone, at `s` is unopenable from every backup at `s + P`.
//! 1. Every wrapped copy of a data key was made while the key lived, under an epoch that existed then. So a key
//!    destroyed at `d` is wrapped under epochs created at or before `d` only, in every backup ever taken.
//! 2. An epoch created at `c` is destroyed by `c + L` plus lateness. So the key is unopenable by `d + L` plus lateness.
//! 3. A shred has `d = s`. A tombstone has `d <= s + P/10` plus lateness, when the rewrite destroys the old key. So both
//!    are unopenable by `s + P/10 + L` plus lateness, which is `s + P - P/30` plus lateness.
//!
//! The claim therefore holds while the rewrite and the destruction together are at most `P/30` late. Destruction waits
//! for the epoch's last live key to be re-wrapped; an epoch past its life is a deadline missed and an alarm
//! ([`overdue_epochs`]). The other side of the coin: a backup can be restored only while the epoch that was newest when
//! it was taken lives, [`Purge::restorable_us`] at least.

use serde::{Deserialize, Serialize};

use crate::{
    decision::{Decision, Refusal},
    time::{DAY_US, TimeUs},
};

/// The shortest purge deadline, in days.
pub const MIN_PURGE_DAYS: u32 = 2;
/// The longest purge deadline, in days, and the default (spec 5.1: configurable downwards).
pub const MAX_PURGE_DAYS: u32 = 30;

/// The purge deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purge {
    /// Days from a deletion to the moment no copy can be opened; [`MIN_PURGE_DAYS`] to [`MAX_PURGE_DAYS`].
    pub purge_days: u32,
}

impl Default for Purge {
    fn default() -> Self {
        Self {
            purge_days: MAX_PURGE_DAYS,
        }
    }
}

impl Purge {
    /// The whole deadline in microseconds.
    #[must_use]
    pub const fn purge_us(self) -> i64 {
        self.purge_days as i64 * DAY_US
    }

    /// How long tombstones may gather before their partition is written anew.
    #[must_use]
    pub const fn erase_window_us(self) -> i64 {
        self.purge_us() / 10
    }

    /// How long an epoch key takes new keys before the next one replaces it.
    #[must_use]
    pub const fn epoch_period_us(self) -> i64 {
        self.purge_us() / 6
    }

    /// How late the rewrite and the destruction of an epoch may together be.
    #[must_use]
    pub const fn slack_us(self) -> i64 {
        self.purge_us() / 30
    }

    /// How long after its creation an epoch key is destroyed.
    #[must_use]
    pub const fn epoch_life_us(self) -> i64 {
        self.purge_us() - self.erase_window_us() - self.slack_us()
    }

    /// How long a backup can be restored at least.
    #[must_use]
    pub const fn restorable_us(self) -> i64 {
        self.epoch_life_us() - self.epoch_period_us()
    }

    /// The moment no copy of what was deleted at `at` can be opened.
    #[must_use]
    pub fn deadline(self, at: TimeUs) -> TimeUs {
        at.plus_days(i64::from(self.purge_days))
    }
}

/// Decides whether an operator may set this purge deadline.
pub fn decide_purge(purge_days: u32) -> Decision<Purge> {
    if (MIN_PURGE_DAYS..=MAX_PURGE_DAYS).contains(&purge_days) {
        return Decision::Allowed(Purge { purge_days });
    }
    let reason = format!("The purge deadline is {MIN_PURGE_DAYS} to {MAX_PURGE_DAYS} days; {purge_days} is outside.");
    Decision::Refused(Refusal::new("purge-out-of-range", reason).in_field("purge_days"))
}

/// An epoch key that is not destroyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochItem {
    /// Its number; a later epoch has a larger one.
    pub epoch: u64,
    /// When it was created.
    pub created_at: TimeUs,
    /// How many living data keys it wraps.
    pub live_keys: u64,
}

/// One step of epoch work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EpochStep {
    /// Create the next epoch key.
    Create {
        /// Its number.
        epoch: u64,
    },
    /// Wrap every living key of one epoch under another.
    Rewrap {
        /// The old epoch.
        from: u64,
        /// The newest epoch.
        to: u64,
    },
    /// Destroy an epoch key that wraps no living key.
    Destroy {
        /// Its number.
        epoch: u64,
    },
}

/// What is to be done with the epoch keys at `now`, in this order.
///
/// The newest is replaced when it is older than the period. Whatever lives under an older one is re-wrapped. An older
/// one that wraps nothing alive is destroyed once its life is over; the newest never, and none with living keys: those
/// are re-wrapped first and the next plan destroys it.
#[must_use]
pub fn plan_epochs(epochs: &[EpochItem], now: TimeUs, purge: Purge) -> Vec<EpochStep> {
    let mut steps = Vec::new();
    let newest = epochs.iter().max_by_key(|item| item.epoch);
    let into = match newest {
        Some(item) if now.0.saturating_sub(item.created_at.0) < purge.epoch_period_us() => item.epoch,
        _ => {
            let epoch = newest.map_or(1, |item| item.epoch + 1);
            steps.push(EpochStep::Create { epoch });
            epoch
        }
    };
    let mut older: Vec<&EpochItem> = epochs.iter().filter(|item| item.epoch != into).collect();
    older.sort_by_key(|item| item.epoch);
    let with_keys = older.iter().filter(|item| item.live_keys > 0);
    steps.extend(with_keys.map(|item| EpochStep::Rewrap {
        from: item.epoch,
        to: into,
    }));
    // The newest of the input stays, even when this plan creates its successor: that step may still fail.
    let over = |item: &&&EpochItem| {
        item.live_keys == 0
            && Some(item.epoch) != newest.map(|newest| newest.epoch)
            && now.0 >= item.created_at.0.saturating_add(purge.epoch_life_us())
    };
    steps.extend(
        older
            .iter()
            .filter(over)
            .map(|item| EpochStep::Destroy { epoch: item.epoch }),
    );
    steps
}

/// The epochs that should be destroyed and are later than the slack allows: the purge deadline is about to be missed.
#[must_use]
pub fn overdue_epochs(epochs: &[EpochItem], now: TimeUs, purge: Purge) -> Vec<u64> {
    let limit_us = purge.epoch_life_us() + purge.slack_us();
    let late = epochs
        .iter()
        .filter(|item| now.0 >= item.created_at.0.saturating_add(limit_us));
    late.map(|item| item.epoch).collect()
}
