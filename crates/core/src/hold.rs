//! Legal holds (spec 1.6), who may read what, and which deletions are allowed.

use serde::{Deserialize, Serialize};

use crate::{
    class::Class,
    decision::Decision,
    id::{HoldId, Sid},
    retention::{Floor, Policy, Term, base_term},
    time::TimeUs,
};

/// A legal hold. Its matter and reason are sealed elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Identifier.
    pub id: HoldId,
    /// What it freezes.
    pub scope: HoldScope,
    /// When it was placed. What was gone by then stays gone.
    pub placed_at: TimeUs,
    /// When it was lifted, if it was. What it alone kept lapses at that moment.
    pub lifted_at: Option<TimeUs>,
    /// When somebody looks at it again.
    pub review_at: TimeUs,
}

/// What a hold freezes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldScope {
    /// These records. A call's SID also covers its recordings.
    Records(Vec<Sid>),
    /// Every record with this party, given as the account's blind hash of the number.
    Number([u8; 16]),
    /// Every record of a span of time.
    Span {
        /// Of this class, or of every class.
        class: Option<Class>,
        /// The first moment.
        from: TimeUs,
        /// The moment after the last.
        to: TimeUs,
    },
}

/// What the rules need to know of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts<'a> {
    /// Class.
    pub class: Class,
    /// Identifier.
    pub sid: Sid,
    /// The call it belongs to, for a recording.
    pub call_sid: Option<Sid>,
    /// The moment its term counts from.
    pub at: TimeUs,
    /// When the vault began to keep it.
    pub kept_since: TimeUs,
    /// Blind hashes of its parties.
    pub parties: &'a [[u8; 16]],
}

impl Hold {
    /// Whether the record is in the hold's scope, whenever that is.
    #[must_use]
    pub fn matches(&self, facts: &Facts<'_>) -> bool {
        match &self.scope {
            HoldScope::Records(sids) => sids.iter().any(|sid| *sid == facts.sid || Some(*sid) == facts.call_sid),
            HoldScope::Number(hash) => facts.parties.contains(hash),
            HoldScope::Span { class, from, to } => {
                class.is_none_or(|class| class == facts.class) && *from <= facts.at && facts.at < *to
            }
        }
    }

    /// Whether the hold stands at `t`.
    #[must_use]
    pub fn stands(&self, t: TimeUs) -> bool {
        self.placed_at <= t && self.lifted_at.is_none_or(|lifted_at| t < lifted_at)
    }
}

/// The second the record is gone for every reader: [`Policy::kept_until`], prolonged by every matching hold that was
/// placed before that moment and not lifted by then, hold after hold. A hold placed at the end or later revives nothing.
#[must_use]
pub fn gone_at(policy: &Policy, holds: &[Hold], facts: &Facts<'_>) -> TimeUs {
    let mut end = policy.kept_until(facts.class, facts.at, facts.kept_since);
    let matching: Vec<&Hold> = holds.iter().filter(|hold| hold.matches(facts)).collect();
    loop {
        let prolonged = matching
            .iter()
            .filter(|hold| hold.placed_at < end)
            .map(|hold| hold.lifted_at.unwrap_or(TimeUs::NEVER))
            .fold(end, TimeUs::max);
        if prolonged == end {
            return end;
        }
        end = prolonged;
    }
}

/// The hold that freezes the record at `now`, if one does: it matches, stands, and was placed while the record was kept.
#[must_use]
pub fn find_hold<'h>(policy: &Policy, holds: &'h [Hold], facts: &Facts<'_>, now: TimeUs) -> Option<&'h Hold> {
    let standing = holds.iter().find(|hold| hold.stands(now) && hold.matches(facts))?;
    (now < gone_at(policy, holds, facts)).then_some(standing)
}

/// Whether a hold freezes the record at `now`.
#[must_use]
pub fn is_held(policy: &Policy, holds: &[Hold], facts: &Facts<'_>, now: TimeUs) -> bool {
    find_hold(policy, holds, facts, now).is_some()
}

/// Who reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reader {
    /// The account, through any door.
    Account,
    /// The compliance role.
    Compliance,
}

/// Why a record is restricted to the compliance role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Restriction {
    /// Its term is over; a legal hold keeps it (spec 1.6).
    Held,
    /// Its term is over; a floor keeps it (spec 1.8).
    Floor,
}

/// How far a record can be read at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// By everyone who may read the account's records.
    Open,
    /// By the compliance role alone.
    Restricted(Restriction),
    /// By nobody.
    Gone,
}

/// How far the record can be read at `now`. Deletion before the term is not known here.
#[must_use]
pub fn access(policy: &Policy, holds: &[Hold], facts: &Facts<'_>, now: TimeUs) -> Access {
    if now < policy.ends_at(facts.class, facts.at, facts.kept_since) {
        Access::Open
    } else if now < policy.kept_until(facts.class, facts.at, facts.kept_since) {
        Access::Restricted(Restriction::Floor)
    } else if now < gone_at(policy, holds, facts) {
        Access::Restricted(Restriction::Held)
    } else {
        Access::Gone
    }
}

/// Whether this reader may read what has this access.
#[must_use]
pub const fn may_read(access: Access, reader: Reader) -> bool {
    match access {
        Access::Open => true,
        Access::Restricted(_) => matches!(reader, Reader::Compliance),
        Access::Gone => false,
    }
}

/// Why something is deleted (spec 5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Its term is over.
    Term,
    /// Its term was over, and the hold that kept it was lifted.
    HoldLifted,
    /// The account asked for it.
    Request,
    /// The person in the data asked for it.
    Right,
    /// The account was closed.
    Closure,
    /// Consent to the recording was withdrawn.
    ConsentWithdrawn,
    /// The operator takes back data that should never have been put in.
    IngestError,
    /// Its partition was written anew under another key.
    Rewrite,
}

impl Cause {
    /// The cause's name in leaves and APIs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Term => "term",
            Self::HoldLifted => "hold_lifted",
            Self::Request => "request",
            Self::Right => "right",
            Self::Closure => "closure",
            Self::ConsentWithdrawn => "consent_withdrawn",
            Self::IngestError => "ingest_error",
            Self::Rewrite => "rewrite",
        }
    }
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// Whether a record of this class may be deleted for this cause.
///
/// `held` is the hold that freezes it, `floor` the floor that still reaches it. An account may delete recordings and
/// contacts; the other classes go at their term, or with the account, or when they should never have been put in. A
/// hold stops every cause; a floor stops what an account or a person may ask for.
pub fn decide_deletion(class: Class, cause: Cause, held: Option<HoldId>, floor: Option<&Floor>) -> Decision<()> {
    if cause == Cause::Rewrite {
        // What stays is under the new key by then, what goes has a cause of its own.
        return Decision::Allowed(());
    }
    if let Some(hold) = held {
        let what = match cause {
            Cause::Closure => "account",
            _ => class.as_str(),
        };
        return Decision::refuse(
            "held",
            format!("Legal hold {hold} freezes this {what}; it can go once the hold is lifted."),
        );
    }
    let asked = matches!(cause, Cause::Request | Cause::Right | Cause::ConsentWithdrawn);
    let account_may_delete = matches!(class, Class::Recording | Class::Contact);
    if asked && !account_may_delete {
        let reason = format!(
            "A {class} is kept {} and cannot be deleted before; it goes by itself.",
            base_term(class)
        );
        return Decision::refuse("kept-by-term", reason);
    }
    if cause == Cause::ConsentWithdrawn && class != Class::Recording {
        return Decision::refuse(
            "not-consented",
            format!("A {class} does not rest on consent to record."),
        );
    }
    if let Some(floor) = floor.filter(|_| asked) {
        let reason = format!(
            "{} makes the operator keep this {class} {}; it goes by itself after that.",
            floor.law, floor.term
        );
        return Decision::refuse("kept-by-law", reason);
    }
    let by_term = matches!(cause, Cause::Term | Cause::HoldLifted);
    if by_term && base_term(class) == Term::UntilDeleted {
        return Decision::refuse(
            "no-term",
            format!("A {class} has no term; it goes when somebody deletes it."),
        );
    }
    Decision::Allowed(())
}
