use std::collections::BTreeMap;

use callvault_core::{
    Class, Day, DocumentKind, KeyId, Plan, Policy, Purge, TimeUs,
    forecast::{forecast, warnings},
    plan::{Action, DocumentItem, Inventory, Keep, PartitionItem, Policies, Reason, RecordingItem, plan},
    retention::{Floor, Term},
};
use proptest::prelude::*;

use crate::{
    model::{GRID_US, any_policy, at, grid, plain_end, plain_lapse},
    vault::{account, key, recording},
};

fn partition(n: u8, class: Class, day: Day, rows: u64) -> PartitionItem {
    PartitionItem {
        account: account(),
        class,
        day,
        key: key(n),
        rows,
        bytes: rows * 100,
        kept_since: day.end(),
        held_rows: 0,
        released_at: None,
        tombstones: 0,
        oldest_tombstone_at: None,
        loose_rows: 0,
        oldest_loose_at: None,
        segments: 1,
    }
}

fn starter() -> Policies {
    Policies::from([(account(), Policy::new(Plan::Starter, grid(0)))])
}

/// The steps at `now`, for one partition.
fn steps(item: &PartitionItem, now: TimeUs) -> Vec<(Action, Reason)> {
    let inventory = Inventory {
        partitions: vec![item.clone()],
        ..Inventory::default()
    };
    let plan = plan(&starter(), &inventory, now, Purge::default());
    plan.steps.into_iter().map(|step| (step.action, step.reason)).collect()
}

fn any_inventory() -> impl Strategy<Value = Inventory> {
    let partition_of =
        (0..7usize, 0..760i32, 1..50u64, 0..50u64, 0..50u64).prop_map(|(class, day, rows, held, erased)| {
            let class = Class::ALL[1..][class];
            let mut item = partition(0, class, grid(0).day().plus(day), rows);
            item.held_rows = held % (rows + 1);
            item.tombstones = erased % (rows - item.held_rows + 1);
            item.oldest_tombstone_at = (item.tombstones > 0).then(|| item.day.end());
            item
        });
    let recording_of = (0..1500i64, 1..900u64, 0..6u8).prop_map(|(from, bytes, held)| RecordingItem {
        bytes,
        held: held == 0,
        ..recording(&account(), 0, grid(from))
    });
    let document_of = (0..DocumentKind::ALL.len(), 0..900i64, 0..4u8).prop_map(|(kind, from, held)| DocumentItem {
        account: account(),
        kind: DocumentKind::ALL[kind],
        id: recording(&account(), 0, grid(from)).sid,
        key: key(0),
        at: grid(from),
        bytes: 70,
        held: held == 0,
        released_at: None,
    });
    (
        prop::collection::vec(partition_of, 0..25),
        prop::collection::vec(recording_of, 0..25),
        prop::collection::vec(document_of, 0..25),
    )
        .prop_map(|(mut partitions, mut recordings, mut documents)| {
            for (n, item) in documents.iter_mut().enumerate() {
                item.key = key(200 + n as u8);
            }
            for (n, item) in partitions.iter_mut().enumerate() {
                item.key = key(n as u8);
            }
            for (n, item) in recordings.iter_mut().enumerate() {
                item.key = key(100 + n as u8);
                item.sid.0[15] = n as u8;
            }
            Inventory {
                partitions,
                recordings,
                documents,
            }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Three years (2026 to 2029, with 29 February 2028), moment by moment as the plan itself names the next one: what
    /// goes is what was foretold, each item at its second, and everything that has one goes.
    #[test]
    fn the_forecast_is_what_the_plan_then_does(policy in any_policy(), inventory in any_inventory()) {
        let purge = Purge::default();
        let (from, to) = (grid(0), at("2030-01-01T00:00:00Z"));
        let policies = Policies::from([(account(), policy.clone())]);
        let foretold: BTreeMap<_, _> = forecast(&policies, &inventory, from, to).into_iter()
            .map(|row| ((row.day, row.class, row.because), (row.records, row.bytes))).collect();
        let foretold = foretold.into_iter().fold(BTreeMap::new(), |mut sums, ((day, class, _), (records, bytes))| {
            let sum: &mut (u64, u64) = sums.entry((day, class)).or_default();
            *sum = (sum.0 + records, sum.1 + bytes);
            sums
        });
        let mut done: BTreeMap<(Day, Class), (u64, u64)> = BTreeMap::new();
        let mut left = inventory.clone();
        let mut next = Some(from);
        while let Some(now) = next.filter(|now| *now < to) {
            let mut planned = plan(&policies, &left, now, purge);
            while !planned.steps.is_empty() {
                for step in &planned.steps {
                    prop_assert!(step.due_at == now || now == from, "neither early nor late: {step:?} at {now}");
                    let (class, records, bytes) = execute(&mut left, &step.action);
                    if records > 0 {
                        let sum = done.entry((now.day(), class)).or_default();
                        *sum = (sum.0 + records, sum.1 + bytes);
                    }
                    if let Action::ShredRecording { sid, .. } = step.action {
                        let item = inventory.recordings.iter().find(|item| item.sid == sid).expect("known");
                        let lapse = plain_lapse(&policy, Class::Recording, item.at, item.kept_since, to);
                        prop_assert_eq!(lapse, Some(now));
                    }
                    if let Action::ShredDocument { key, .. } = step.action {
                        let item = inventory.documents.iter().find(|item| item.key == key).expect("known");
                        let lapse = plain_lapse(&policy, item.kind.class(), item.at, item.at, to);
                        prop_assert_eq!(lapse, Some(now));
                    }
                }
                planned = plan(&policies, &left, now, purge);
            }
            prop_assert!(planned.next_due_at.is_none_or(|next| next > now));
            next = planned.next_due_at;
        }
        prop_assert_eq!(done, foretold);
        for item in &left.recordings {
            let lapse = plain_lapse(&policy, Class::Recording, item.at, item.kept_since, to);
            prop_assert!(item.held || lapse.is_none(), "late: {item:?}");
        }
        for item in &left.documents {
            let lapse = plain_lapse(&policy, item.kind.class(), item.at, item.at, to);
            prop_assert!(item.held || lapse.is_none(), "late: {item:?}");
        }
        for item in left.partitions.iter().filter(|item| item.held_rows < item.rows) {
            prop_assert!(policy.kept_until(item.class, TimeUs(item.day.end().0 - 1), item.kept_since) >= to);
        }
    }

    /// Without floors a day goes at the last moment of its anniversary.
    #[test]
    fn a_day_goes_when_its_last_moment_has_lapsed(class in 1..8usize, day in 0..1200i32, late_us in 0..2i64) {
        let item = partition(1, Class::ALL[class], grid(0).day().plus(day), 3);
        let term = callvault_core::retention::base_term(item.class);
        let end = plain_end(term, item.day.start()).map(|start| TimeUs(start.day().end().0 - 1));
        let Some(end) = end else { return Ok(()); };
        prop_assert_eq!(steps(&item, TimeUs(end.0 - 1 + late_us)).len() as i64, late_us);
    }
}

/// Does the step in the inventory: class, records and bytes that went.
fn execute(inventory: &mut Inventory, action: &Action) -> (Class, u64, u64) {
    match *action {
        Action::ShredPartition {
            class,
            key,
            records,
            bytes,
            ..
        } => {
            inventory.partitions.retain(|item| item.key != key);
            (class, records, bytes)
        }
        Action::ShredRecording { key, bytes, .. } => {
            inventory.recordings.retain(|item| item.key != key);
            (Class::Recording, 1, bytes)
        }
        Action::ShredDocument { kind, key, bytes, .. } => {
            inventory.documents.retain(|item| item.key != key);
            (kind.class(), 1, bytes)
        }
        Action::RewritePartition {
            class,
            key,
            keep,
            records,
            bytes,
            ..
        } => {
            let item = inventory
                .partitions
                .iter_mut()
                .find(|item| item.key == key)
                .expect("known");
            item.rows = if keep == Keep::HeldOnly {
                item.held_rows
            } else {
                item.rows - item.tombstones
            };
            // Sizes stay comparable with the forecast, which was made before.
            item.bytes = item.rows * 100;
            (item.tombstones, item.oldest_tombstone_at) = (0, None);
            item.key = KeyId([key.0[0], 1 + key.0[1], 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            (class, records, bytes)
        }
        Action::SealPartition { key, .. } => {
            let item = inventory
                .partitions
                .iter_mut()
                .find(|item| item.key == key)
                .expect("known");
            (item.loose_rows, item.oldest_loose_at, item.segments) = (0, None, 1);
            (item.class, 0, 0)
        }
    }
}

fn expect_shred(item: &PartitionItem, now: TimeUs, records: u64) -> Reason {
    match steps(item, now).as_slice() {
        [(Action::ShredPartition { records: found, .. }, reason)] if *found == records => reason.clone(),
        other => panic!("a shred of {records} records, not {other:?}"),
    }
}

#[test]
fn held_rows_stay_and_the_others_go() {
    let day = Day::parse("2026-03-01").expect("a day");
    let end = at("2027-03-01T23:59:59.999999Z");
    let mut item = partition(1, Class::Call, day, 10);
    assert_eq!(expect_shred(&item, end, 10), Reason::TermOver { ended_at: end });
    (item.held_rows, item.tombstones, item.oldest_tombstone_at) = (3, 2, Some(end));
    let Some((
        Action::RewritePartition {
            keep: Keep::HeldOnly,
            records: 5,
            bytes: 500,
            ..
        },
        _,
    )) = steps(&item, end).pop()
    else {
        panic!("a rewrite");
    };
    (item.rows, item.tombstones) = (3, 0);
    assert_eq!(steps(&item, end), [], "all that is left is held");
    let lifted_at = end.plus_days(40);
    (item.held_rows, item.released_at) = (0, Some(lifted_at));
    assert_eq!(expect_shred(&item, lifted_at, 3), Reason::HoldLifted { lifted_at });
    assert_eq!(
        Reason::HoldLifted { lifted_at }.cause(),
        Some(callvault_core::Cause::HoldLifted)
    );
    let mut recording = recording(&account(), 1, grid(0));
    recording.held = true;
    let late = |item: &RecordingItem| {
        let inventory = Inventory {
            recordings: vec![item.clone()],
            ..Inventory::default()
        };
        plan(&starter(), &inventory, grid(0).plus_days(90), Purge::default())
            .steps
            .len()
    };
    assert_eq!(late(&recording), 0);
    recording.held = false;
    assert_eq!(late(&recording), 1);
}

#[test]
fn rows_that_came_under_a_floor_are_not_judged_by_older_times() {
    let mut policies = starter();
    let begins = at("2027-05-01T00:00:00Z");
    let floor = Floor {
        class: Class::Call,
        term: Term::Years(2),
        from: begins,
        until: None,
        law: "a law".to_owned(),
    };
    policies.get_mut(&account()).expect("known").floors.push(floor);
    let mut item = partition(1, Class::Call, Day::parse("2026-01-10").expect("a day"), 1);
    item.kept_since = at("2027-06-01T00:00:00Z");
    let inventory = Inventory {
        partitions: vec![item],
        ..Inventory::default()
    };
    let early = plan(
        &policies,
        &inventory,
        at("2028-01-10T23:59:59.999998Z"),
        Purge::default(),
    );
    assert_eq!(
        (early.steps.len(), early.next_due_at),
        (0, Some(at("2028-01-10T23:59:59.999999Z")))
    );
    let due = plan(
        &policies,
        &inventory,
        at("2028-01-10T23:59:59.999999Z"),
        Purge::default(),
    );
    assert!(matches!(&due.steps[0].reason, Reason::FloorOver { law, .. } if law == "a law"));
}

#[test]
fn tombstones_gather_for_the_erase_window() {
    let mut item = partition(1, Class::Call, grid(0).day(), 10);
    let set_at = grid(10);
    (item.tombstones, item.oldest_tombstone_at) = (2, Some(set_at));
    assert_eq!(steps(&item, TimeUs(set_at.plus_days(3).0 - 1)), []);
    let (action, reason) = steps(&item, set_at.plus_days(3)).pop().expect("due");
    assert!(matches!(
        action,
        Action::RewritePartition {
            keep: Keep::AllButTombstones,
            records: 0,
            ..
        }
    ));
    assert_eq!(
        reason,
        Reason::Erased {
            tombstones: 2,
            oldest_at: set_at
        }
    );
    item.tombstones = 10;
    let (action, _) = steps(&item, set_at.plus_days(3)).pop().expect("due");
    assert!(
        matches!(action, Action::ShredPartition { records: 0, .. }),
        "nothing would be left"
    );
}

#[test]
fn partitions_are_sealed_when_full_or_over() {
    let day = grid(0).day();
    let mut item = PartitionItem {
        segments: 0,
        ..partition(1, Class::Call, day, 5_000)
    };
    let sealed = |item: &PartitionItem, now: TimeUs| match steps(item, now).pop() {
        Some((Action::SealPartition { loose_rows, merge, .. }, _)) => Some((loose_rows, merge)),
        None => None,
        other => panic!("not a seal: {other:?}"),
    };
    let noon = TimeUs(day.start().0 + GRID_US);
    (item.loose_rows, item.oldest_loose_at) = (1_999, Some(day.start()));
    assert_eq!(sealed(&item, noon), None);
    item.loose_rows = 2_000;
    assert_eq!(sealed(&item, noon), Some((2_000, false)));
    item.loose_rows = 1;
    assert_eq!(sealed(&item, TimeUs(day.end().plus_seconds(3_600).0 - 1)), None);
    assert_eq!(sealed(&item, day.end().plus_seconds(3_600)), Some((1, false)));
    item.oldest_loose_at = Some(day.end().plus_days(5));
    assert_eq!(
        sealed(&item, day.end().plus_days(5)),
        None,
        "late rows gather for an hour too"
    );
    item.segments = 8;
    assert_eq!(sealed(&item, day.end().plus_days(6)), Some((1, true)));
    (item.loose_rows, item.oldest_loose_at) = (0, None);
    assert_eq!(sealed(&item, day.end().plus_days(6)), None);
    item.segments = 9;
    assert_eq!(sealed(&item, day.end().plus_days(6)), Some((0, true)));
}

#[test]
fn without_a_policy_nothing_is_touched_and_it_is_said() {
    let inventory = Inventory {
        partitions: vec![partition(1, Class::Call, Day(0), 3)],
        ..Inventory::default()
    };
    let plan = plan(&Policies::new(), &inventory, grid(0), Purge::default());
    assert!(plan.steps.is_empty() && plan.without_policy.contains(&account()));
}

#[test]
fn warnings_come_thirty_seven_and_one_days_before() {
    let item = recording(&account(), 1, grid(0));
    let end = grid(0).plus_days(90);
    let inventory = Inventory {
        recordings: vec![item],
        ..Inventory::default()
    };
    let stage = |left_us: i64, exported: bool| {
        let found = warnings(&starter(), &inventory, TimeUs(end.0 - left_us), &|_| exported);
        found
            .first()
            .map(|warning| (warning.stage_days, warning.records, warning.first_at))
    };
    let day = 86_400_000_000;
    assert_eq!(stage(30 * day + 1, false), None);
    for (left_us, stage_days) in [
        (30 * day, 30),
        (7 * day + 1, 30),
        (7 * day, 7),
        (day + 1, 7),
        (day, 1),
        (1, 1),
    ] {
        assert_eq!(stage(left_us, false), Some((stage_days, 1, end)), "{left_us}");
    }
    assert_eq!(stage(0, false), None);
    assert_eq!(stage(day, true), None, "an export took it");
}
