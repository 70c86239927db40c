//! The rules of spec section 1, by brute force: a record's life is walked from moment to moment.
//!
//! Nothing here calls the vault's own rules; even the calendar is its own.

use callvault_core::Sid;

pub(crate) const SECOND: i64 = 1_000_000;
pub(crate) const DAY: i64 = 86_400 * SECOND;
/// The notice before a change that deletes sooner.
const NOTICE: i64 = 7 * DAY;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Call,
    Message,
    Recording,
}

pub(crate) const KINDS: [Kind; 3] = [Kind::Call, Kind::Message, Kind::Recording];

/// How far a record can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Open,
    ComplianceOnly,
    Gone,
}

#[derive(Debug, Clone)]
pub(crate) struct Rec {
    pub(crate) kind: Kind,
    pub(crate) sid: Sid,
    pub(crate) call_sid: Option<Sid>,
    pub(crate) at: i64,
    pub(crate) since: i64,
    pub(crate) parties: [u32; 2],
    pub(crate) deleted_at: Option<i64>,
    /// Gone for good; saves the walk.
    pub(crate) over: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum Scope {
    Records(Vec<Sid>),
    Number(u32),
    Span { kind: Option<Kind>, from: i64, to: i64 },
}

#[derive(Debug, Clone)]
pub(crate) struct Hold {
    pub(crate) scope: Scope,
    pub(crate) placed: i64,
    pub(crate) lifted: i64,
}

impl Hold {
    fn matches(&self, record: &Rec) -> bool {
        match &self.scope {
            Scope::Records(sids) => sids
                .iter()
                .any(|sid| *sid == record.sid || Some(*sid) == record.call_sid),
            Scope::Number(number) => record.parties.contains(number),
            Scope::Span { kind, from, to } => {
                (kind.is_none() || *kind == Some(record.kind)) && record.at >= *from && record.at < *to
            }
        }
    }
}

/// A longer law: days, or years when `years` is set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Floor {
    pub(crate) kind: Kind,
    pub(crate) days: i64,
    pub(crate) years: i64,
    pub(crate) from: i64,
    pub(crate) until: i64,
}

impl Floor {
    fn end(&self, at: i64) -> i64 {
        if self.years > 0 {
            plus_years(at, self.years)
        } else {
            at + self.days * DAY
        }
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Account {
    /// When, and the ceiling from then on.
    pub(crate) plans: Vec<(i64, i64)>,
    /// When, and the days from then on.
    pub(crate) settings: Vec<(i64, i64)>,
    pub(crate) holds: Vec<Hold>,
    pub(crate) records: Vec<Rec>,
}

/// What an attempt to delete comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deleting {
    Missing,
    Refused,
    Done,
}

impl Account {
    fn plan_at(&self, t: i64) -> i64 {
        self.plans
            .iter()
            .rfind(|(when, _)| *when <= t)
            .unwrap_or(&self.plans[0])
            .1
    }

    fn setting_at(&self, t: i64) -> i64 {
        self.settings
            .iter()
            .rfind(|(when, _)| *when <= t)
            .map_or(90, |(_, days)| *days)
    }

    pub(crate) fn days_at(&self, t: i64) -> i64 {
        self.setting_at(t).min(self.plan_at(t))
    }

    fn own_end(&self, record: &Rec, in_force_at: i64) -> i64 {
        match record.kind {
            Kind::Call | Kind::Message => plus_years(record.at, 1),
            Kind::Recording => record.at + self.days_at(in_force_at) * DAY,
        }
    }

    /// No term that ever holds is over before this.
    fn earliest(&self, record: &Rec) -> i64 {
        let days = self
            .settings
            .iter()
            .chain(&self.plans)
            .map(|(_, days)| *days)
            .chain([90])
            .min()
            .unwrap();
        let term = if record.kind == Kind::Recording {
            record.at + days * DAY
        } else {
            plus_years(record.at, 1)
        };
        term.max(record.since)
    }

    /// Every moment at which this record's state could change.
    pub(crate) fn moments(&self, record: &Rec, floors: &[Floor]) -> Vec<i64> {
        let mut moments = vec![record.since];
        if record.kind == Kind::Recording {
            let days = self.settings.iter().chain(&self.plans).map(|(_, days)| *days);
            moments.extend(days.chain([90]).map(|days| record.at + days * DAY));
            moments.extend(self.settings.iter().chain(&self.plans).map(|(when, _)| *when));
        } else {
            moments.push(plus_years(record.at, 1));
        }
        for floor in floors {
            moments.extend([floor.end(record.at), floor.until]);
        }
        moments.extend(self.holds.iter().map(|hold| hold.lifted));
        // Before the shortest of its terms nothing can happen to it.
        let first = self.earliest(record);
        moments.retain(|moment| *moment >= first);
        moments.sort_unstable();
        moments.dedup();
        moments
    }

    /// Walks the record's life until `t`. What is over stays over, whatever comes later; a protector (floor, hold)
    /// counts only if it stood before the moment and stands after it.
    pub(crate) fn state(&self, record: &Rec, floors: &[Floor], t: i64, with_holds: bool) -> State {
        if record.over || record.deleted_at.is_some_and(|at| at <= t) {
            return State::Gone;
        }
        if t < self.earliest(record) {
            return State::Open;
        }
        let (mut own_over, mut floor_over, mut gone) = (false, false, false);
        let mut walk = self.moments(record, floors);
        walk.retain(|moment| *moment < t);
        walk.push(t);
        for m in walk {
            own_over |= m >= self.own_end(record, m) || m > record.since && m >= self.own_end(record, m - 1);
            let floored = floors.iter().any(|floor| {
                floor.kind == record.kind && floor.from < m && m < floor.until && m < floor.end(record.at)
            });
            floor_over |= own_over && !floored;
            let held = self
                .holds
                .iter()
                .any(|hold| hold.placed < m && m < hold.lifted && hold.matches(record));
            gone |= floor_over && !(with_holds && held);
        }
        match (own_over, gone) {
            (_, true) => State::Gone,
            (true, false) => State::ComplianceOnly,
            (false, false) => State::Open,
        }
    }

    /// The shortest wait for a change between these moments: `(moment, index)` of every record that changes.
    pub(crate) fn changes(&self, floors: &[Floor], after: i64, until: i64) -> Vec<(i64, usize)> {
        let mut found = Vec::new();
        for (index, record) in self.records.iter().enumerate() {
            if record.over || record.deleted_at.is_some() || until < self.earliest(record) {
                continue;
            }
            for m in self.moments(record, floors) {
                if m > after && m <= until && m > record.since {
                    let before = self.state(record, floors, m - 1, true);
                    if before != self.state(record, floors, m, true) {
                        found.push((m, index));
                    }
                }
            }
        }
        found
    }

    /// Asks for another retention: when it takes effect, or nothing when it is refused.
    pub(crate) fn set_retention(&mut self, now: i64, days: i64) -> Option<i64> {
        let planned = self
            .plans
            .iter()
            .filter(|(when, _)| *when > now)
            .map(|(_, ceiling)| *ceiling);
        let ceiling = planned.chain([self.plan_at(now)]).min().unwrap();
        if days < 1 || days > ceiling {
            return None;
        }
        let effective = if days >= self.days_at(now) {
            self.settings.retain(|(when, _)| *when <= now);
            now + i64::from(self.settings.iter().any(|(when, _)| *when == now))
        } else {
            let announced = self
                .settings
                .iter()
                .find(|(when, d)| *when > now && *when <= now + NOTICE && *d == days);
            let effective = announced.map_or(now + NOTICE, |(when, _)| *when);
            self.settings
                .retain(|(when, d)| *when <= now || *d >= days && *when <= effective);
            effective
        };
        if self.setting_at(effective) != days {
            self.settings.push((effective, days));
            self.settings.sort_unstable();
        }
        Some(effective)
    }

    /// Changes the plan: when it takes effect.
    pub(crate) fn set_plan(&mut self, now: i64, ceiling: i64) -> i64 {
        let planned: Vec<(i64, i64)> = self.plans.iter().copied().filter(|(when, _)| *when > now).collect();
        let days = self.days_at(now);
        let taken = self.plans.iter().any(|(when, _)| *when == now);
        self.plans.retain(|(when, _)| *when <= now);
        self.settings.retain(|setting| !planned.contains(setting));
        let mut effective = now + i64::from(taken);
        if days > ceiling {
            let announced = planned.iter().find(|(_, c)| *c == ceiling);
            effective = announced.map_or(now + NOTICE, |(when, _)| *when);
            if self.days_at(effective) > ceiling {
                self.settings.push((effective, ceiling));
                self.settings.sort_unstable();
            }
        }
        if self.plan_at(effective) != ceiling {
            self.plans.push((effective, ceiling));
        }
        effective
    }

    /// What deleting this record comes to; `asked` when the account asks, not the operator.
    pub(crate) fn deleting(&self, index: usize, floors: &[Floor], now: i64, asked: bool) -> Deleting {
        let record = &self.records[index];
        if self.state(record, floors, now, true) == State::Gone {
            return Deleting::Missing;
        }
        let held = self
            .holds
            .iter()
            .any(|hold| hold.placed <= now && now < hold.lifted && hold.matches(record));
        let floored = floors.iter().any(|floor| {
            floor.kind == record.kind && floor.from <= now && now < floor.until && now < floor.end(record.at)
        });
        if held || asked && floored {
            Deleting::Refused
        } else {
            Deleting::Done
        }
    }
}

/// Days since 1970 of a civil date, counted year by year and month by month.
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let years: i64 = (1970..year).map(|y| 365 + i64::from(is_leap(y))).sum();
    let months: i64 = (1..month).map(|m| month_days(year, m)).sum();
    years + months + day - 1
}

const fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn month_days(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Calendar years later; 29 February becomes 28 February where there is none.
pub(crate) fn plus_years(at: i64, years: i64) -> i64 {
    let (mut rest, time) = (at.div_euclid(DAY), at.rem_euclid(DAY));
    let (mut year, mut month) = (1970, 1);
    while rest >= 365 + i64::from(is_leap(year)) {
        rest -= 365 + i64::from(is_leap(year));
        year += 1;
    }
    while rest >= month_days(year, month) {
        rest -= month_days(year, month);
        month += 1;
    }
    let year = year + years;
    days_of(year, month, (rest + 1).min(month_days(year, month))) * DAY + time
}

/// A seeded generator (SplitMix64): the same seed, the same three years.
pub(crate) struct Dice(pub u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// `0..n`.
    pub(crate) fn below(&mut self, n: i64) -> i64 {
        (self.roll() % n.unsigned_abs().max(1)).cast_signed()
    }

    pub(crate) fn one_in(&mut self, n: i64) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        if of.is_empty() {
            None
        } else {
            of.get(self.below(of.len() as i64).unsigned_abs() as usize)
        }
    }
}
