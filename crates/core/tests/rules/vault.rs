//! A small vault in memory, driven by the planner through two years of ingest, changes, holds and floors, and checked
//! against a reader that remembers what it has lost.

use std::collections::BTreeMap;

use callvault_core::{
    Access, AccountSid, Cause, Class, Floor, Hold, HoldId, HoldScope, KeyId, Plan, Policy, Purge, Reader, Sid, Term,
    TimeUs,
    change::{apply_plan_change, apply_recording_change, decide_plan_change, decide_recording_retention},
    hold::{access, find_hold},
    invariants::{DestroyedKey, LiveKey, Opened, View, Violation, violations},
    plan::{Action, Inventory, Policies, RecordingItem, plan},
    retention::decide_floor,
};
use proptest::prelude::*;

use crate::model::{GRID_US, any_plan, grid, plain_ceiling};

pub(crate) fn account() -> AccountSid {
    "acme".parse().expect("an account")
}

pub(crate) fn key(n: u8) -> KeyId {
    KeyId([n, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
}

pub(crate) fn recording(account: &AccountSid, n: u8, at: TimeUs) -> RecordingItem {
    let sid = Sid::new(at, [n; 10]);
    RecordingItem {
        account: account.clone(),
        sid,
        key: key(n),
        at,
        kept_since: at,
        bytes: 10,
        held: false,
        released_at: None,
    }
}

#[derive(Debug, Clone)]
enum Op {
    Ingest { age: i64, party: u8 },
    SetDays(u32),
    SetPlan(Plan),
    Place { party: u8 },
    Lift,
    Floor { days: u32 },
    RemoveFloor,
}

fn any_op() -> impl Strategy<Value = Op> {
    let days = prop_oneof![1..12u32, 80..100u32, 1..366u32];
    prop_oneof![
        6 => (prop_oneof![Just(0), 0..200i64], 0..3u8).prop_map(|(age, party)| Op::Ingest { age, party }),
        3 => days.clone().prop_map(Op::SetDays),
        1 => any_plan().prop_map(Op::SetPlan),
        1 => (0..3u8).prop_map(|party| Op::Place { party }),
        1 => Just(Op::Lift),
        1 => days.prop_map(|days| Op::Floor { days }),
        1 => Just(Op::RemoveFloor),
    ]
}

#[derive(Default)]
struct Vault {
    policies: Policies,
    holds: BTreeMap<AccountSid, Vec<Hold>>,
    live: Vec<LiveKey>,
    destroyed: Vec<DestroyedKey>,
    leaves: Vec<KeyId>,
    /// Whether the account still reads the record, as a reader sees it who never gets back what was taken.
    readable: BTreeMap<Sid, bool>,
}

impl Vault {
    fn policy(&mut self) -> &mut Policy {
        self.policies.get_mut(&account()).expect("known")
    }

    fn view(&self, now: TimeUs) -> View<'_> {
        let mut live = self.live.clone();
        for record in live.iter_mut().flat_map(|key| &mut key.opens) {
            record.read_by = if self.readable[&record.sid] {
                vec![Reader::Account, Reader::Compliance]
            } else {
                vec![]
            };
        }
        let (destroyed, leaf_keys) = (self.destroyed.clone(), self.leaves.clone());
        View {
            now,
            policies: &self.policies,
            holds: &self.holds,
            live,
            destroyed,
            leaf_keys,
        }
    }

    /// The reader's own rule, from the settings in force at this very moment only.
    fn look(&mut self, now: TimeUs) {
        let policy = &self.policies[&account()];
        let days = i64::from(policy.recording_days_at(now));
        for record in self.live.iter().flat_map(|key| &key.opens) {
            if now >= record.at.plus_days(days) {
                self.readable.insert(record.sid, false);
            }
        }
    }

    fn work(&mut self, now: TimeUs) {
        let policy = self.policies[&account()].clone();
        let holds = self.holds.entry(account()).or_default().clone();
        let recordings = self.live.iter().map(|key| {
            let facts = key.opens[0].facts();
            let lifted = holds
                .iter()
                .filter(|hold| hold.matches(&facts))
                .filter_map(|hold| hold.lifted_at)
                .max();
            RecordingItem {
                key: key.key,
                held: find_hold(&policy, &holds, &facts, now).is_some(),
                released_at: lifted.filter(|lifted| *lifted <= now),
                kept_since: facts.kept_since,
                ..recording(&account(), 0, facts.at)
            }
        });
        let inventory = Inventory {
            recordings: recordings.collect(),
            ..Inventory::default()
        };
        for step in plan(&self.policies, &inventory, now, Purge::default()).steps {
            let Action::ShredRecording { key, .. } = step.action else {
                panic!("only recordings")
            };
            let index = self.live.iter().position(|live| live.key == key).expect("known");
            let live = self.live.remove(index);
            let cause = step.reason.cause().expect("a shred has a cause");
            self.destroyed.push(DestroyedKey {
                key,
                account: account(),
                at: now,
                cause,
                opened: live.opens,
            });
            self.leaves.push(key);
        }
    }

    fn apply(&mut self, op: &Op, now: TimeUs) {
        match *op {
            Op::Ingest { age, party } => {
                let (n, at) = (self.readable.len() as u16, TimeUs(now.0 - age * GRID_US));
                // Settings that change in the microsecond of an ingest are outside of what a policy can tell apart.
                if self.policy().ends_at(Class::Recording, at, now) <= now {
                    return;
                }
                let mut tail = [0; 10];
                tail[..2].copy_from_slice(&n.to_be_bytes());
                let sid = Sid::new(at, tail);
                let mut key = key(0);
                key.0[1..3].copy_from_slice(&n.to_be_bytes());
                let opened = Opened {
                    class: Class::Recording,
                    sid,
                    call_sid: None,
                    at,
                    kept_since: now,
                    parties: vec![[party; 16]],
                    erased_at: None,
                    read_by: vec![],
                };
                self.readable.insert(sid, true);
                self.live.push(LiveKey {
                    key,
                    account: account(),
                    opens: vec![opened],
                });
            }
            Op::SetDays(days) => {
                if let Ok(change) = decide_recording_retention(self.policy(), now, days).into_result() {
                    apply_recording_change(self.policy(), &change);
                }
            }
            Op::SetPlan(plan) => {
                let before = self.policy().recording_days_at(now);
                let change = decide_plan_change(self.policy(), now, plan)
                    .into_result()
                    .expect("always allowed");
                apply_plan_change(self.policy(), &change);
                assert!(self.policy().recording_days_at(now) >= before, "without notice");
            }
            Op::Place { party } => self.holds.entry(account()).or_default().push(Hold {
                id: HoldId([party; 16]),
                scope: HoldScope::Number([party; 16]),
                placed_at: now,
                lifted_at: None,
                review_at: TimeUs::NEVER,
            }),
            Op::Lift => {
                let holds = self.holds.entry(account()).or_default();
                if let Some(hold) = holds.iter_mut().find(|hold| hold.lifted_at.is_none()) {
                    hold.lifted_at = Some(now);
                }
            }
            Op::Floor { days } => {
                let (class, term, law) = (Class::Recording, Term::Days(days), "a law".to_owned());
                let floor = Floor {
                    class,
                    term,
                    from: now,
                    until: None,
                    law,
                };
                assert!(decide_floor(&floor, now).is_allowed());
                self.policy().floors.push(floor);
            }
            Op::RemoveFloor => {
                if let Some(floor) = self.policy().floors.iter_mut().find(|floor| floor.until.is_none()) {
                    floor.until = Some(now);
                }
            }
        }
        let policy = &self.policies[&account()];
        assert!(policy.recording_days_at(now) <= plain_ceiling(policy.plan_at(now)));
        assert!(policy.recording.is_sorted_by_key(|setting| setting.effective_at));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn two_years_of_a_vault_break_no_invariant(ops in prop::collection::vec((any_op(), 0..25i64), 1..100)) {
        let mut vault = Vault::default();
        vault.policies.insert(account(), Policy::new(Plan::Growth, grid(0)));
        let mut now = grid(0);
        for (op, wait) in ops {
            vault.look(now);
            vault.work(now);
            vault.apply(&op, now);
            for _ in 0..=wait {
                vault.look(now);
                vault.work(now);
                let policy = &vault.policies[&account()];
                for record in vault.live.iter().flat_map(|key| &key.opens) {
                    let open = access(policy, &vault.holds[&account()], &record.facts(), now);
                    prop_assert_eq!(open == Access::Open, vault.readable[&record.sid], "{:?} at {}", record, now);
                    prop_assert!(open != Access::Gone, "shredded late: {:?} at {}", record, now);
                }
                if wait > 0 {
                    now = TimeUs(now.0 + GRID_US);
                }
                if wait == 0 {
                    break;
                }
                vault.look(now);
                vault.work(now);
            }
            prop_assert_eq!(violations(&vault.view(now)), vec![]);
        }
    }
}

/// One recording of 2026-01-01 in a vault, and what `change` makes of the view a day after its second.
fn found(age_days: i64, change: impl Fn(&mut Vault, &mut Vec<Reader>)) -> Vec<Violation> {
    let mut vault = Vault::default();
    vault.policies.insert(account(), Policy::new(Plan::Starter, grid(0)));
    vault.holds.insert(account(), vec![]);
    vault.apply(&Op::Ingest { age: 0, party: 1 }, grid(0));
    let mut readers = vec![];
    change(&mut vault, &mut readers);
    let mut view = vault.view(grid(0).plus_days(age_days));
    for record in view.live.iter_mut().flat_map(|key| &mut key.opens) {
        record.read_by.clone_from(&readers);
    }
    violations(&view)
}

fn shred(vault: &mut Vault, after_days: i64, cause: Cause) {
    let LiveKey { key, account, opens } = vault.live.remove(0);
    vault.leaves.push(key);
    vault.destroyed.push(DestroyedKey {
        key,
        account,
        at: grid(0).plus_days(after_days),
        cause,
        opened: opens,
    });
}

#[test]
fn every_broken_invariant_is_found() {
    let kinds = |found: Vec<Violation>| {
        found
            .iter()
            .map(|one| format!("{one:?}").split([' ', '{']).next().unwrap_or("").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(kinds(found(91, |_, _| {})), Vec::<String>::new(), "the grace is a day");
    assert_eq!(kinds(found(92, |_, _| {})), ["KeyOutlives"]);
    assert_eq!(
        kinds(found(90, |_, readers| readers.push(Reader::Account))),
        ["Readable"]
    );
    assert_eq!(
        kinds(found(89, |_, readers| readers.push(Reader::Account))),
        Vec::<String>::new()
    );
    assert_eq!(
        kinds(found(89, |vault, readers| {
            vault.live[0].opens[0].erased_at = Some(grid(2));
            readers.push(Reader::Compliance);
        })),
        ["Readable"],
        "erased is gone for all"
    );
    assert_eq!(
        kinds(found(95, |vault, _| shred(vault, 90, Cause::Term))),
        Vec::<String>::new()
    );
    for cause in [Cause::Term, Cause::HoldLifted, Cause::Rewrite] {
        assert_eq!(kinds(found(95, |vault, _| shred(vault, 89, cause))), ["Early"]);
    }
    assert_eq!(
        kinds(found(95, |vault, _| shred(vault, 10, Cause::Request))),
        Vec::<String>::new()
    );
    assert_eq!(
        kinds(found(95, |vault, _| {
            vault.live[0].opens[0].class = Class::Call;
            shred(vault, 10, Cause::Request);
        })),
        ["NotAllowed"]
    );
    assert_eq!(
        kinds(found(95, |vault, _| {
            vault.apply(&Op::Place { party: 1 }, grid(4));
            shred(vault, 10, Cause::Request);
        })),
        ["HeldShredded"]
    );
    assert_eq!(
        kinds(found(95, |vault, _| {
            shred(vault, 90, Cause::Term);
            vault.leaves.clear();
        })),
        ["Leaves"]
    );
    assert_eq!(
        kinds(found(95, |vault, _| {
            shred(vault, 90, Cause::Term);
            vault.leaves.push(vault.leaves[0]);
        })),
        ["Leaves"]
    );
    assert_eq!(
        kinds(found(5, |vault, _| vault.leaves.push(key(0)))),
        ["LeafWithoutShred"]
    );
    assert_eq!(kinds(found(5, |vault, _| vault.policies.clear())), ["NoPolicy"]);
    let undead = found(5, |vault, _| {
        let live = vault.live.clone();
        shred(vault, 4, Cause::Request);
        vault.live = live;
    });
    assert_eq!(kinds(undead), ["Undead"]);
}

#[test]
fn a_days_key_lives_until_its_last_record() {
    let call = |hour: i64, kept_since: TimeUs| Opened {
        class: Class::Call,
        sid: Sid([hour as u8; 16]),
        call_sid: None,
        at: grid(0).plus_seconds(hour * 3_600),
        kept_since,
        parties: vec![],
        erased_at: None,
        read_by: vec![],
    };
    let policies = Policies::from([(account(), Policy::new(Plan::Starter, grid(0)))]);
    let holds = BTreeMap::new();
    let count = |now: TimeUs| {
        let live = vec![LiveKey {
            key: key(1),
            account: account(),
            opens: vec![call(0, grid(0)), call(1, grid(1))],
        }];
        violations(&View {
            now,
            policies: &policies,
            holds: &holds,
            live,
            destroyed: vec![],
            leaf_keys: vec![],
        })
        .len()
    };
    let deadline = crate::model::at("2027-01-02T23:59:59.999999Z");
    assert_eq!((count(deadline), count(TimeUs(deadline.0 + 1))), (0, 2));
}
