//! Three simulated years on real stores, beside the model.

use std::collections::{BTreeMap, BTreeSet};

use callvault_app::{VaultError, ingest::Taken, read::Query};
use callvault_core::{AccountSid, Class, Day, HoldId, KeyId, Plan, Reader, Sid, TimeUs, proof::LeafBody};
use callvault_store::rows::RecordingQuery;
use callvault_testkit::{
    conformance::checks,
    world::{Pair, World, at},
};

use crate::model::{Account, DAY, Dice, Floor, KINDS, Kind, Rec, SECOND, State};

pub(crate) struct Sim {
    pub(crate) world: World,
    pub(crate) accounts: Vec<(AccountSid, Account)>,
    pub(crate) hold_ids: Vec<Vec<HoldId>>,
    pub(crate) floors: Vec<Floor>,
    pub(crate) dice: Dice,
    pub(crate) seed: u64,
    pub(crate) now: i64,
    pub(crate) tail: u32,
    pub(crate) reads: u64,
    pub(crate) boundaries: u64,
    pub(crate) done: BTreeMap<&'static str, u64>,
    keys: BTreeSet<KeyId>,
}

pub(crate) const READERS: [Reader; 2] = [Reader::Account, Reader::Compliance];
/// By then nobody waits any more for the work of a process that died.
const AFTER_A_CRASH_S: i64 = 90;
const EVERY_DAY: std::ops::Range<Day> = Day(-40_000)..Day(40_000);

impl Sim {
    pub(crate) async fn run(pair: Pair, seed: u64) {
        eprintln!("{pair:?}, seed {seed}");
        let start = at("2027-01-01T00:00:00Z");
        let world = World::new(pair, start).await;
        let mut sim = Self {
            world,
            accounts: Vec::new(),
            hold_ids: Vec::new(),
            floors: Vec::new(),
            dice: Dice(seed),
            seed,
            now: start.0,
            tail: 0,
            reads: 0,
            boundaries: 0,
            done: BTreeMap::new(),
            keys: BTreeSet::new(),
        };
        for (name, plan) in [
            ("starter", Plan::Starter),
            ("growth", Plan::Growth),
            ("enterprise", Plan::Enterprise),
        ] {
            let sid = sim.world.account(name, plan).await;
            let model = Account {
                plans: vec![(start.0, ceiling(plan))],
                ..Account::default()
            };
            sim.accounts.push((sid, model));
            sim.hold_ids.push(Vec::new());
        }
        sim.live(at("2030-01-01T12:00:00Z").0).await;
        sim.finish().await;
        let records: usize = sim.accounts.iter().map(|(_, account)| account.records.len()).sum();
        let Self {
            reads,
            boundaries,
            done,
            ..
        } = &sim;
        eprintln!(
            "{pair:?}, seed {seed}: {records} records, {boundaries} moments at boundaries, {reads} reads, {done:?}"
        );
        assert!(records > 50 && *boundaries > 100, "the years were empty");
    }

    /// Goes from moment to moment: a second and a microsecond before each boundary, at it, a second after it; events
    /// and ticks between them.
    async fn live(&mut self, end: i64) {
        let (mut next_tick, mut next_event) = (self.now, self.now + 3_600 * SECOND);
        while self.now < end {
            let limit = next_tick.min(next_event);
            let near = self.next_boundary(limit + 2 * SECOND);
            let target = near.map_or(limit, |near| near.min(limit)).max(self.now);
            self.advance(target);
            if near == Some(target) {
                self.boundaries += 1;
                self.compare_near().await;
                if self.dice.one_in(12) {
                    self.event_at_boundary().await;
                    self.compare_near().await;
                }
            }
            if target == next_event {
                let account = self.dice.below(self.accounts.len() as i64).unsigned_abs() as usize;
                self.event(account).await;
                if self.dice.one_in(4) {
                    self.compare_all(account).await;
                }
                self.compare_near().await;
                let wait = [1, 3_600, 86_400, 9 * 86_400, 9 * 86_400, 20 * 86_400];
                let wait = *self.dice.pick(&wait).unwrap();
                next_event = self.now + (1 + self.dice.below(wait)) * SECOND;
            }
            if target == next_tick && self.dice.one_in(6) {
                self.crash_in_a_tick().await;
                next_tick = self.now + AFTER_A_CRASH_S * SECOND;
            } else if target == next_tick {
                let report = self.world.vault.tick().await;
                assert!(report.failures.is_empty(), "{}: {:?}", self.place(), report.failures);
                self.check_stores().await;
                self.prune();
                let due = report.next_due_at.map_or(i64::MAX, |due| due.0);
                next_tick = due.clamp(self.now + 60 * SECOND, self.now + DAY);
            }
        }
    }

    fn advance(&mut self, to: i64) {
        self.now = to;
        self.world.clock.advance_to(TimeUs(to));
    }

    pub(crate) fn place(&self) -> String {
        format!("seed {} at {}", self.seed, TimeUs(self.now))
    }

    /// The next of the moments around the boundaries up to `limit`.
    fn next_boundary(&self, limit: i64) -> Option<i64> {
        let changes = self
            .accounts
            .iter()
            .flat_map(|(_, a)| a.changes(&self.floors, self.now - SECOND - 1, limit));
        let around = changes.flat_map(|(c, _)| [c - SECOND, c - 1, c, c + SECOND]);
        around.filter(|moment| *moment > self.now).min()
    }

    /// What changes within a second of now: `(account, record)`.
    pub(crate) fn near(&self) -> Vec<(usize, usize)> {
        let mut near = Vec::new();
        for (index, (_, account)) in self.accounts.iter().enumerate() {
            let changes = account.changes(&self.floors, self.now - SECOND - 1, self.now + SECOND);
            near.extend(changes.into_iter().map(|(_, record)| (index, record)));
        }
        near
    }

    fn readable(&self, account: usize, record: &Rec, reader: Reader) -> bool {
        match self.accounts[account].1.state(record, &self.floors, self.now, true) {
            State::Open => true,
            State::ComplianceOnly => reader == Reader::Compliance,
            State::Gone => false,
        }
    }

    async fn compare_near(&mut self) {
        let near = self.near();
        let mut days = BTreeSet::new();
        for (account, index) in near.iter().copied().take(6) {
            self.compare_one(account, index).await;
            let record = &self.accounts[account].1.records[index];
            days.insert((account, record.kind, record.at.div_euclid(DAY)));
        }
        for (account, kind, day) in days {
            self.compare(account, kind, day * DAY..(day + 1) * DAY).await;
        }
    }

    async fn compare_one(&mut self, account: usize, index: usize) {
        let (sid, model) = &self.accounts[account];
        let record = &model.records[index];
        for reader in READERS {
            let vault = &self.world.vault;
            let answer = match class(record.kind) {
                Class::Recording => vault.get_recording(sid, record.sid, reader).await.map(|view| view.sid),
                class => vault
                    .get_record(sid, class, record.sid, reader)
                    .await
                    .map(|found| found.sid()),
            };
            let expected = self.readable(account, record, reader);
            match answer {
                Ok(found) => assert!(
                    expected && found == record.sid,
                    "{}: {reader:?} reads {record:?}\n{:?} {:?}",
                    self.place(),
                    self.floors,
                    Account {
                        records: vec![],
                        ..model.clone()
                    }
                ),
                Err(VaultError::NotFound { .. }) => {
                    assert!(
                        !expected,
                        "{}: {reader:?} misses {record:?}\n{:?} {:?}",
                        self.place(),
                        self.floors,
                        Account {
                            records: vec![],
                            ..model.clone()
                        }
                    );
                }
                Err(error) => panic!("{}: {error}", self.place()),
            }
            self.reads += 1;
        }
    }

    /// Both readers' listings of a span, against the model.
    async fn compare(&mut self, account: usize, kind: Kind, span: std::ops::Range<i64>) {
        for reader in READERS {
            let (sid, model) = &self.accounts[account];
            let mut expected: Vec<(i64, Sid)> = model
                .records
                .iter()
                .filter(|record| record.kind == kind && span.contains(&record.at))
                .filter(|record| self.readable(account, record, reader))
                .map(|record| (record.at, record.sid))
                .collect();
            expected.sort_unstable();
            let (from, to) = (Some(TimeUs(span.start)), Some(TimeUs(span.end)));
            let vault = &self.world.vault;
            let listed: Vec<(i64, Sid)> = if kind == Kind::Recording {
                let query = RecordingQuery {
                    from,
                    to,
                    limit: 900,
                    ..RecordingQuery::default()
                };
                let (views, more) = vault.list_recordings(sid, query, reader).await.unwrap();
                assert_eq!(more, None);
                views.iter().map(|view| (view.at.0, view.sid)).collect()
            } else {
                let query = Query {
                    from,
                    to,
                    newest_first: false,
                    limit: 1_000,
                    ..Query::default()
                };
                let page = vault.list_records(sid, class(kind), &query, reader).await.unwrap();
                assert_eq!(page.next, None);
                page.records
                    .iter()
                    .map(|record| (record.at().0, record.sid()))
                    .collect()
            };
            let wrong: Vec<_> = model
                .records
                .iter()
                .filter(|r| expected.contains(&(r.at, r.sid)) != listed.contains(&(r.at, r.sid)) && r.kind == kind)
                .filter(|r| span.contains(&r.at))
                .collect();
            assert!(
                expected == listed,
                "{}: {reader:?} of {sid} lists {} {kind:?}, the model {}; they differ in {wrong:?}\n{:?} {:?}",
                self.place(),
                listed.len(),
                expected.len(),
                self.floors,
                Account {
                    records: vec![],
                    ..model.clone()
                }
            );
            self.reads += 1;
        }
    }

    pub(crate) async fn compare_all(&mut self, account: usize) {
        for kind in KINDS {
            self.compare(account, kind, 0..at("2040-01-01T00:00:00Z").0).await;
        }
        let count = self.accounts[account].1.records.len() as i64;
        for _ in 0..count.min(2) {
            let index = self.dice.below(count).unsigned_abs() as usize;
            self.compare_one(account, index).await;
        }
    }

    /// After a tick no key lives that nothing needs, and every key that is needed lives.
    async fn check_stores(&mut self) {
        let catalog = std::sync::Arc::clone(self.world.vault.catalog());
        for (index, (sid, model)) in self.accounts.iter().enumerate() {
            for kind in [Kind::Call, Kind::Message] {
                for row in catalog.list_partitions(sid, class(kind), EVERY_DAY).await.unwrap() {
                    self.keys.insert(row.key);
                    let last = row.day.end().0 - 1;
                    let of_day = Rec {
                        at: last,
                        since: last,
                        ..blank(kind)
                    };
                    if model.state(&of_day, &self.floors, self.now, false) == State::Gone {
                        let mut rows = model.records.iter().filter(|record| {
                            record.kind == kind && TimeUs(record.at).day() == row.day && record.deleted_at.is_none()
                        });
                        assert!(
                            rows.any(|record| model.state(record, &self.floors, self.now, true) != State::Gone),
                            "{}: the key of {kind:?}s of {} of account {index} outlives them",
                            self.place(),
                            row.day
                        );
                    }
                }
            }
            let query = RecordingQuery {
                limit: 2_000,
                ..RecordingQuery::default()
            };
            let rows = catalog.list_recordings(sid, &query).await.unwrap();
            self.keys.extend(rows.iter().map(|row| row.key));
            let there: BTreeSet<Sid> = rows.iter().map(|row| row.sid).collect();
            let needed = model.records.iter().filter(|record| record.kind == Kind::Recording);
            let needed = needed.filter(|r| model.state(r, &self.floors, self.now, true) != State::Gone);
            assert_eq!(
                there,
                needed.map(|record| record.sid).collect(),
                "{}: keys of recordings",
                self.place()
            );
        }
        let overdue = catalog.list_tombstoned(TimeUs(self.now - 3 * DAY), 10).await.unwrap();
        assert!(overdue.is_empty(), "{}: {overdue:?}", self.place());
    }

    fn prune(&mut self) {
        let now = self.now - 2 * SECOND;
        for (_, account) in &mut self.accounts {
            for index in 0..account.records.len() {
                let record = &account.records[index];
                let over = record.since <= now && account.state(record, &self.floors, now, true) == State::Gone;
                account.records[index].over |= over;
            }
        }
    }

    /// Leaves, counters, and what `doctor` says, at the end.
    async fn finish(&mut self) {
        for account in 0..self.accounts.len() {
            self.compare_all(account).await;
        }
        let report = self.world.vault.tick().await;
        assert!(report.failures.is_empty(), "{:?}", report.failures);
        self.check_stores().await;
        let catalog = self.world.vault.catalog();
        checks::check(catalog).await;
        let mut named: BTreeMap<KeyId, u64> = BTreeMap::new();
        let size = catalog.log_size().await.unwrap();
        for leaf in catalog.list_leaves(0..size).await.unwrap() {
            let leaf = LeafBody::parse(std::str::from_utf8(&leaf).unwrap()).unwrap();
            for key in leaf.keys() {
                *named.entry(*key).or_default() += 1;
            }
        }
        assert!(
            named.values().all(|count| *count == 1),
            "{}: a key in two leaves",
            self.place()
        );
        let mut alive = BTreeSet::new();
        for epoch in catalog.list_epochs().await.unwrap() {
            alive.extend(
                catalog
                    .list_keys_in_epoch(epoch.epoch, 1_000_000)
                    .await
                    .unwrap()
                    .iter()
                    .map(|row| row.key),
            );
        }
        for key in &self.keys {
            assert!(
                alive.contains(key) != named.contains_key(key),
                "{}: key {key} and its leaf",
                self.place()
            );
        }
        assert!(named.len() > 20, "{} keys destroyed", named.len());
        let findings = self.world.vault.doctor().await.unwrap();
        let good = findings
            .iter()
            .all(|f| f.severity != callvault_app::doctor::Severity::Alarm);
        assert!(good, "{}: {findings:?}", self.place());
    }
}

pub(crate) fn class(kind: Kind) -> Class {
    match kind {
        Kind::Call => Class::Call,
        Kind::Message => Class::Message,
        Kind::Recording => Class::Recording,
    }
}

pub(crate) const fn ceiling(plan: Plan) -> i64 {
    match plan {
        Plan::Starter => 90,
        Plan::Growth => 180,
        Plan::Enterprise => 365,
    }
}

pub(crate) fn blank(kind: Kind) -> Rec {
    Rec {
        kind,
        sid: Sid::new(TimeUs(0), [0; 10]),
        call_sid: None,
        at: 0,
        since: 0,
        parties: [u32::MAX; 2],
        deleted_at: None,
        over: false,
    }
}

/// What ingest said, for a failure's text.
pub(crate) fn is_new(taken: &Taken) -> bool {
    matches!(taken, Taken::New { .. })
}
