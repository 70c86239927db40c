use std::collections::{BTreeMap, BTreeSet};

use callvault_core::{
    Purge, TimeUs,
    purge::{EpochItem, EpochStep, decide_purge, overdue_epochs, plan_epochs},
};
use proptest::prelude::*;

/// A data key: when it lived, and the epochs that ever wrapped it, as some backup may hold it.
struct Key {
    from: i64,
    to: i64,
    wraps: BTreeSet<u64>,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// The claim of the module: ticks come a third of the slack apart, some keys die between any two.
    #[test]
    fn no_backup_opens_what_was_destroyed_a_purge_ago(
        purge_days in 2..=30u32, lives in prop::collection::vec((0..1000i64, 1..1500i64), 1..30),
    ) {
        let purge = decide_purge(purge_days).into_result().expect("in range");
        let tick_us = purge.slack_us() / 3;
        let mut keys: Vec<Key> = lives.into_iter()
            .map(|(from, length)| Key { from: from * tick_us, to: (from + length) * tick_us, wraps: BTreeSet::new() })
            .collect();
        let mut epochs: BTreeMap<u64, i64> = BTreeMap::new();
        let mut ended: BTreeMap<u64, (i64, i64)> = BTreeMap::new();
        for tick in 0..2700i64 {
            let now = tick * tick_us;
            let is_alive = |key: &Key| key.from < now && now < key.to;
            let newest_of = |key: &Key| key.wraps.last().copied();
            let items: Vec<EpochItem> = epochs.iter().map(|(epoch, created_at)| EpochItem {
                epoch: *epoch,
                created_at: TimeUs(*created_at),
                live_keys: keys.iter().filter(|key| is_alive(key) && newest_of(key) == Some(*epoch)).count() as u64,
            }).collect();
            prop_assert!(overdue_epochs(&items, TimeUs(now), purge).is_empty());
            for step in plan_epochs(&items, TimeUs(now), purge) {
                match step {
                    EpochStep::Create { epoch } => prop_assert!(epochs.insert(epoch, now).is_none()),
                    EpochStep::Rewrap { from, to } => {
                        prop_assert!(epochs.contains_key(&from) && epochs.contains_key(&to));
                        for key in keys.iter_mut().filter(|key| is_alive(key) && newest_of(key) == Some(from)) {
                            key.wraps.insert(to);
                        }
                    }
                    EpochStep::Destroy { epoch } => {
                        prop_assert!(epochs.keys().next_back() != Some(&epoch), "the newest stays");
                        prop_assert!(!keys.iter().any(|key| is_alive(key) && newest_of(key) == Some(epoch)));
                        let created_at = epochs.remove(&epoch).expect("it exists");
                        prop_assert!(now - created_at >= purge.epoch_life_us(), "a backup stays restorable");
                        ended.insert(epoch, (created_at, now));
                    }
                }
            }
            let newest = *epochs.keys().next_back().expect("there is an epoch");
            prop_assert!(now - epochs[&newest] <= purge.epoch_period_us(), "the newest is young");
            for key in keys.iter_mut().filter(|key| key.from == now) {
                key.wraps.insert(newest);
            }
        }
        for key in keys {
            for epoch in key.wraps {
                let (_, destroyed_at) = ended[&epoch];
                // A tombstone was set at most the erase window and one tick before its rewrite destroyed the key.
                let tombstone_at = key.to - purge.erase_window_us() - tick_us;
                prop_assert!(TimeUs(destroyed_at) <= purge.deadline(TimeUs(tombstone_at)));
            }
        }
    }
}

#[test]
fn the_parts_of_the_deadline() {
    let purge = Purge::default();
    let day = 86_400_000_000;
    let parts = [
        purge.erase_window_us(),
        purge.epoch_period_us(),
        purge.slack_us(),
        purge.epoch_life_us(),
    ];
    assert_eq!(parts, [3 * day, 5 * day, day, 26 * day]);
    assert_eq!(purge.restorable_us(), 21 * day);
    for days in [0, 1, 31] {
        assert_eq!(
            decide_purge(days).into_result().expect_err("out of range").code,
            "purge-out-of-range"
        );
    }
    assert!(decide_purge(2).is_allowed() && decide_purge(30).is_allowed());
}

#[test]
fn an_epoch_with_living_keys_is_not_destroyed() {
    let purge = Purge::default();
    let item = |epoch, age_days: i64, live_keys| EpochItem {
        epoch,
        created_at: TimeUs(0).plus_days(-age_days),
        live_keys,
    };
    let steps = |items: &[EpochItem]| plan_epochs(items, TimeUs(0), purge);
    assert_eq!(steps(&[]), [EpochStep::Create { epoch: 1 }]);
    assert_eq!(steps(&[item(1, 4, 3)]), []);
    assert_eq!(
        steps(&[item(1, 5, 3)]),
        [EpochStep::Create { epoch: 2 }, EpochStep::Rewrap { from: 1, to: 2 }]
    );
    assert_eq!(
        steps(&[item(2, 1, 3), item(1, 40, 2)]),
        [EpochStep::Rewrap { from: 1, to: 2 }]
    );
    assert_eq!(
        steps(&[item(1, 26, 0), item(2, 1, 3)]),
        [EpochStep::Destroy { epoch: 1 }]
    );
    assert_eq!(
        steps(&[item(1, 40, 0)]),
        [EpochStep::Create { epoch: 2 }],
        "the newest stays until there is another"
    );
    assert_eq!(steps(&[item(1, -3, 0)]), [], "a clock that went back creates nothing");
    assert_eq!(overdue_epochs(&[item(1, 27, 1), item(2, 26, 0)], TimeUs(0), purge), [1]);
}
