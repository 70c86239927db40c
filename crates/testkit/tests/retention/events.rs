//! What happens in the three years, done to the vault and to the model.

use callvault_app::{Vault, VaultError, ingest::Taken};
use callvault_core::{Cause, HoldScope, Plan, Record, Sid, Term, TimeUs};
use callvault_testkit::{
    fault::{Faults, Mode},
    world::{at, call, message, number, recording},
};

use crate::{
    model::{DAY, Deleting, Floor, Hold, Kind, Rec, SECOND, Scope, State},
    sim::{Sim, blank, ceiling, class, is_new},
};

const DAYS: [i64; 16] = [0, 1, 2, 7, 29, 30, 60, 89, 90, 91, 120, 179, 180, 181, 365, 366];
/// Moments whose year has a trap.
const SPECIAL: [&str; 8] = [
    "2027-02-28T23:59:59Z",
    "2027-12-31T23:59:59.999999Z",
    "2028-01-01T00:00:00Z",
    "2028-02-28T00:00:00Z",
    "2028-02-29T00:00:00Z",
    "2028-02-29T23:59:59.999999Z",
    "2028-12-31T23:59:59Z",
    "2029-02-28T12:00:00Z",
];

impl Sim {
    fn count(&mut self, what: &'static str) {
        *self.done.entry(what).or_default() += 1;
    }

    /// Something random, to one account.
    pub(crate) async fn event(&mut self, account: usize) {
        match self.dice.below(100) {
            0..45 => self.ingest(account).await,
            45..57 => {
                let days = *self.dice.pick(&DAYS).unwrap();
                self.set_retention(account, days).await;
            }
            57..66 => {
                let plan = *self
                    .dice
                    .pick(&[Plan::Starter, Plan::Growth, Plan::Enterprise])
                    .unwrap();
                self.set_plan(account, plan).await;
            }
            66..75 => {
                let scope = self.some_scope(account);
                self.place_hold(account, scope).await;
            }
            75..83 => self.lift_hold(account).await,
            83..88 => self.delete(account, Kind::Recording, None).await,
            88..92 => {
                let kind = if self.dice.one_in(2) { Kind::Call } else { Kind::Message };
                self.delete(account, kind, None).await;
            }
            92..97 => self.restart().await,
            _ => self.change_floors().await,
        }
    }

    /// Something at the worst moment, to a record that changes within a second.
    pub(crate) async fn event_at_boundary(&mut self) {
        let near = self.near();
        let Some((account, index)) = self.dice.pick(&near).copied() else {
            return;
        };
        let record = self.accounts[account].1.records[index].clone();
        self.count("at a boundary");
        match self.dice.below(6) {
            0 => self.place_hold(account, Scope::Records(vec![record.sid])).await,
            1 => self.place_hold(account, Scope::Number(record.parties[0])).await,
            2 => self.lift_hold(account).await,
            3 => self.delete(account, record.kind, Some(index)).await,
            4 => self.set_retention(account, 90).await,
            _ => self.set_plan(account, Plan::Enterprise).await,
        }
    }

    async fn ingest(&mut self, account: usize) {
        self.count("ingest");
        let base = self.some_moment();
        for _ in 0..1 + self.dice.below(5) {
            let step = *self.dice.pick(&[0, 1, SECOND, 7 * SECOND, 3_600 * SECOND]).unwrap();
            let moment = (base + step).min(self.now);
            match self.dice.below(5) {
                0 | 1 => self.take(account, Kind::Call, moment).await,
                2 => self.take(account, Kind::Message, moment).await,
                _ => self.record(account, moment).await,
            }
        }
    }

    /// Now, or up to some time ago, or a special one.
    fn some_moment(&mut self) -> i64 {
        let special = *self.dice.pick(&SPECIAL).unwrap();
        match self.dice.below(10) {
            0 if at(special).0 <= self.now => at(special).0,
            1 => self.now - self.now.rem_euclid(DAY),
            2 => self.now - self.dice.below(800) * DAY - self.dice.below(86_400) * SECOND,
            3 => self.now - 365 * DAY + self.dice.below(3 * 86_400) * SECOND,
            4 | 5 => self.now - self.dice.below(100) * DAY - self.dice.below(86_400) * SECOND,
            _ => self.now - self.dice.below(7_200) * SECOND,
        }
    }

    fn next_record(&mut self, kind: Kind, moment: i64) -> Rec {
        self.tail += 1;
        let parties = [1, 10].map(|first| first + u32::try_from(self.dice.below(6)).unwrap());
        Rec {
            kind,
            at: moment,
            since: moment,
            parties,
            ..blank(kind)
        }
    }

    async fn take(&mut self, account: usize, kind: Kind, moment: i64) {
        let mut record = self.next_record(kind, moment);
        let [from, to] = record.parties;
        let new = match kind {
            Kind::Call => call(TimeUs(moment), self.tail, from, to),
            _ => message(TimeUs(moment), self.tail, from, to, "Your code is 4711"),
        };
        record.sid = new.sid();
        let crashed = self.dice.one_in(10);
        if crashed {
            self.crash_in_ingest(account, &new).await;
        }
        let (sid, model) = &self.accounts[account];
        let taken = self.world.vault.ingest(sid, std::slice::from_ref(&new)).await.unwrap();
        let keeps = model.state(&record, &self.floors, self.now, false) != State::Gone;
        assert_eq!(
            is_new(&taken[0]) || crashed && matches!(taken[0], Taken::Known { .. }),
            keeps,
            "{}: {taken:?} for {record:?} {:?}",
            self.place(),
            self.floors
        );
        assert!(
            keeps || matches!(taken[0], Taken::Rejected { code: "expired", .. }),
            "{taken:?}"
        );
        if keeps {
            self.known_again(account, &new).await;
            self.accounts[account].1.records.push(record);
        } else {
            self.count("too late");
        }
    }

    async fn known_again(&mut self, account: usize, record: &Record) {
        if self.dice.one_in(4) {
            let sid = &self.accounts[account].0;
            let again = self
                .world
                .vault
                .ingest(sid, std::slice::from_ref(record))
                .await
                .unwrap();
            assert!(matches!(again[0], Taken::Known { .. }), "{}: {again:?}", self.place());
        }
    }

    async fn record(&mut self, account: usize, moment: i64) {
        let mut record = self.next_record(Kind::Recording, moment);
        record.since = self.now;
        let mut new = recording(TimeUs(moment), self.tail, record.parties[0], record.parties[1]);
        let calls: Vec<Sid> = self.accounts[account]
            .1
            .records
            .iter()
            .filter(|r| r.kind == Kind::Call)
            .map(|r| r.sid)
            .collect();
        new.call_sid = self.dice.pick(&calls).copied();
        (record.sid, record.call_sid) = (new.sid, new.call_sid);
        let (sid, model) = &self.accounts[account];
        let put = self.world.vault.put_recording(sid, new, b"RIFF, a little audio").await;
        let keeps = model.state(&record, &self.floors, self.now, false) != State::Gone;
        assert_eq!(put.is_ok(), keeps, "{}: {:?} for {record:?}", self.place(), put.err());
        if keeps {
            self.accounts[account].1.records.push(record);
        } else {
            assert!(matches!(put, Err(VaultError::Refused(_))));
            self.count("too late");
        }
    }

    async fn set_retention(&mut self, account: usize, days: i64) {
        self.count("retention");
        let now = self.now;
        let (sid, model) = &mut self.accounts[account];
        let expected = model.set_retention(now, days);
        let change = self.world.vault.set_retention(sid, u32::try_from(days).unwrap()).await;
        let effective = change.as_ref().ok().map(|(change, _)| change.effective_at.0);
        assert_eq!(
            effective,
            expected,
            "seed {}: {days} days for {sid} at {}",
            self.seed,
            TimeUs(now)
        );
        assert!(expected.is_some() || matches!(change, Err(VaultError::Refused(_))));
    }

    async fn set_plan(&mut self, account: usize, plan: Plan) {
        self.count("plan");
        let now = self.now;
        let (sid, model) = &mut self.accounts[account];
        let expected = model.set_plan(now, ceiling(plan));
        let (change, _) = self.world.vault.set_plan(sid, plan).await.unwrap();
        assert_eq!(
            change.effective_at.0,
            expected,
            "seed {}: {plan:?} for {sid} at {}",
            self.seed,
            TimeUs(now)
        );
    }

    fn some_scope(&mut self, account: usize) -> Scope {
        let records = &self.accounts[account].1.records;
        let kind = self
            .dice
            .pick(&[None, Some(Kind::Call), Some(Kind::Message), Some(Kind::Recording)])
            .copied();
        match (
            self.dice.below(3),
            self.dice.pick(records).map(|record| (record.sid, record.at)),
        ) {
            (0, Some((first, _))) => {
                let second = self.dice.pick(records).map_or(first, |record| record.sid);
                Scope::Records(vec![first, second])
            }
            (1, Some((_, from))) => {
                let length = 1 + self.dice.below(40) * DAY;
                // A span ends just before a record, as often as anywhere.
                let next = records.iter().map(|record| record.at).filter(|at| *at > from).min();
                let to = next.filter(|_| self.dice.one_in(2)).unwrap_or(from + length);
                Scope::Span {
                    kind: kind.flatten(),
                    from,
                    to,
                }
            }
            _ => Scope::Number(1 + u32::try_from(self.dice.below(6)).unwrap()),
        }
    }

    async fn place_hold(&mut self, account: usize, scope: Scope) {
        self.count("hold");
        let sid = self.accounts[account].0.clone();
        let vault = &self.world.vault;
        let rule = match &scope {
            Scope::Records(sids) => HoldScope::Records(sids.clone()),
            Scope::Number(n) => HoldScope::Number(vault.get_account(&sid).await.unwrap().number_hash(&number(*n))),
            Scope::Span { kind, from, to } => HoldScope::Span {
                class: kind.map(class),
                from: TimeUs(*from),
                to: TimeUs(*to),
            },
        };
        let hold = vault
            .place_hold(&sid, rule, "Matter", "Reason", TimeUs(self.now + 90 * DAY))
            .await
            .unwrap();
        self.hold_ids[account].push(hold);
        self.accounts[account].1.holds.push(Hold {
            scope,
            placed: self.now,
            lifted: i64::MAX,
        });
    }

    /// Lifts a hold: read before it, at its very moment, and a second after it.
    async fn lift_hold(&mut self, account: usize) {
        let holds = &self.accounts[account].1.holds;
        let standing: Vec<usize> = (0..holds.len())
            .filter(|index| holds[*index].lifted == i64::MAX)
            .collect();
        let Some(index) = self.dice.pick(&standing).copied() else {
            return;
        };
        self.count("lift");
        self.compare_all(account).await;
        self.world
            .vault
            .lift_hold(&self.accounts[account].0, self.hold_ids[account][index])
            .await
            .unwrap();
        self.accounts[account].1.holds[index].lifted = self.now;
        self.compare_all(account).await;
    }

    async fn delete(&mut self, account: usize, kind: Kind, index: Option<usize>) {
        let (sid, model) = &self.accounts[account];
        let all: Vec<usize> = (0..model.records.len())
            .filter(|n| model.records[*n].kind == kind)
            .collect();
        let live: Vec<usize> = all.iter().copied().filter(|n| !model.records[*n].over).collect();
        let among = if self.dice.one_in(8) { &all } else { &live };
        let Some(index) = index.or_else(|| self.dice.pick(among).copied()) else {
            return;
        };
        let record = model.records[index].sid;
        let asked = kind == Kind::Recording;
        let expected = model.deleting(index, &self.floors, self.now, asked);
        let vault = &self.world.vault;
        let answer = match kind {
            Kind::Recording => vault.delete_recordings(sid, &[record], Cause::Request).await,
            _ => {
                vault
                    .erase_records(sid, class(kind), &[record], Cause::IngestError)
                    .await
            }
        };
        let outcome = match &answer {
            Ok(leaves) if leaves.len() == 1 => Deleting::Done,
            Err(VaultError::NotFound { .. }) => Deleting::Missing,
            Err(VaultError::Refused(_)) => Deleting::Refused,
            other => panic!("{}: {other:?}", self.place()),
        };
        assert_eq!(outcome, expected, "{}: {:?}", self.place(), model.records[index]);
        let name = match outcome {
            Deleting::Done => "deleted",
            Deleting::Missing => "missing",
            Deleting::Refused => "refused",
        };
        if outcome == Deleting::Done {
            self.accounts[account].1.records[index].deleted_at = Some(self.now);
        }
        self.count(name);
    }

    /// A vault on stores that fail at some call from now, as if the process died there; or once, and it goes on.
    async fn open_doomed(&mut self, calls: i64) -> (Vault, Faults) {
        let faults = Faults::default();
        let vault = Vault::open(faults.wrap(&self.world.parts)).await.unwrap();
        let mode = *self.dice.pick(&Mode::ALL).unwrap();
        faults.arm(self.dice.below(calls).unsigned_abs(), mode);
        (vault, faults)
    }

    /// The process dies somewhere in its background work, and starts again.
    pub(crate) async fn crash_in_a_tick(&mut self) {
        let (vault, faults) = self.open_doomed(25).await;
        let report = vault.tick().await;
        if faults.struck().is_some() {
            self.count("crash in a tick");
        } else {
            assert!(report.failures.is_empty(), "{}: {:?}", self.place(), report.failures);
        }
        self.world.restart().await;
    }

    /// The process dies somewhere while it takes a record, or just after; its client does not know and sends it again.
    async fn crash_in_ingest(&mut self, account: usize, new: &Record) {
        let (vault, faults) = self.open_doomed(4).await;
        let sid = &self.accounts[account].0;
        let answer = vault.ingest(sid, std::slice::from_ref(new)).await;
        if faults.struck().is_some() {
            self.count("crash in ingest");
        } else {
            answer.unwrap();
        }
        self.world.restart().await;
    }

    async fn restart(&mut self) {
        self.count("restart");
        self.world.restart().await;
    }

    /// Floors begin now, or all that stand are removed.
    async fn change_floors(&mut self) {
        self.count("floors");
        let standing = self.floors.iter().any(|floor| floor.until == i64::MAX);
        let mut rules = Vec::new();
        if standing {
            for floor in &mut self.floors {
                floor.until = floor.until.min(self.now);
            }
        } else {
            let days = *self.dice.pick(&[60, 200, 400]).unwrap();
            for (kind, days, years) in [(Kind::Call, 0, 2), (Kind::Recording, days, 0), (Kind::Message, 400, 0)] {
                if self.dice.one_in(2) {
                    continue;
                }
                self.floors.push(Floor {
                    kind,
                    days,
                    years,
                    from: self.now,
                    until: i64::MAX,
                });
                let term = match years {
                    0 => Term::Days(u32::try_from(days).unwrap()),
                    years => Term::Years(u16::try_from(years).unwrap()),
                };
                let law = "A longer law".to_owned();
                rules.push(callvault_core::Floor {
                    class: class(kind),
                    term,
                    from: TimeUs(self.now),
                    until: None,
                    law,
                });
            }
        }
        self.world.vault.set_floors(&rules).await.unwrap();
        self.world.restart().await;
        for account in 0..self.accounts.len() {
            self.compare_all(account).await;
        }
    }
}
