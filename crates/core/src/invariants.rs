//! What must hold in every vault at every moment, checked by the same code in tests, in the simulated world and by
//! `callvault doctor`.
//!
//! - Nothing is readable after its second.
//! - No key outlives its deadline.
//! - Nothing is deleted early.
//! - Nothing held is shredded.
//! - Every shred has exactly one leaf, and a leaf names destroyed keys only.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    class::Class,
    hold::{Cause, Facts, Hold, Reader, access, decide_deletion, gone_at, is_held, may_read},
    id::{AccountSid, KeyId, Sid},
    plan::Policies,
    time::{DAY_US, TimeUs},
};

/// How long after its last record's second a key may live (spec 1.1).
pub const KEY_GRACE_US: i64 = DAY_US;

/// A record that a key opens, or opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
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
    pub parties: Vec<[u8; 16]>,
    /// When it was erased by a tombstone, if it was.
    pub erased_at: Option<TimeUs>,
    /// Who was in fact given it at [`View::now`].
    pub read_by: Vec<Reader>,
}

impl Opened {
    /// The facts that the rules work on.
    #[must_use]
    pub fn facts(&self) -> Facts<'_> {
        Facts {
            class: self.class,
            sid: self.sid,
            call_sid: self.call_sid,
            at: self.at,
            kept_since: self.kept_since,
            parties: &self.parties,
        }
    }
}

/// A key that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveKey {
    /// The key.
    pub key: KeyId,
    /// Whose.
    pub account: AccountSid,
    /// What it opens.
    pub opens: Vec<Opened>,
}

/// A key that was destroyed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestroyedKey {
    /// The key.
    pub key: KeyId,
    /// Whose.
    pub account: AccountSid,
    /// When.
    pub at: TimeUs,
    /// Why.
    pub cause: Cause,
    /// What it opened and no living key opens.
    pub opened: Vec<Opened>,
}

/// A vault at a moment.
#[derive(Debug, Clone)]
pub struct View<'a> {
    /// The moment.
    pub now: TimeUs,
    /// The policies of all accounts.
    pub policies: &'a Policies,
    /// The holds of all accounts.
    pub holds: &'a BTreeMap<AccountSid, Vec<Hold>>,
    /// The keys that exist.
    pub live: Vec<LiveKey>,
    /// The keys that were destroyed.
    pub destroyed: Vec<DestroyedKey>,
    /// The keys that the log's leaves name, each as often as it is named.
    pub leaf_keys: Vec<KeyId>,
}

/// A broken invariant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A record was given to a reader who may not have it.
    #[error("record {sid} was readable by {reader:?} at {now}, when it should not be")]
    Readable {
        /// The record.
        sid: Sid,
        /// The reader.
        reader: Reader,
        /// When.
        now: TimeUs,
    },
    /// A key lives longer than a record of it allows.
    #[error("key {key} still opens record {sid}, and should be destroyed since {deadline}")]
    KeyOutlives {
        /// The key.
        key: KeyId,
        /// The record.
        sid: Sid,
        /// The key's deadline.
        deadline: TimeUs,
    },
    /// A record was deleted before its second.
    #[error("record {sid} was deleted with key {key} at {at}, before its second {gone_at}")]
    Early {
        /// The key.
        key: KeyId,
        /// The record.
        sid: Sid,
        /// When it was deleted.
        at: TimeUs,
        /// When it should have been.
        gone_at: TimeUs,
    },
    /// A record was deleted for a cause that does not allow it.
    #[error("record {sid} was deleted with key {key} for the cause {cause}, which its class does not allow")]
    NotAllowed {
        /// The key.
        key: KeyId,
        /// The record.
        sid: Sid,
        /// The cause.
        cause: Cause,
    },
    /// A record was deleted under a hold.
    #[error("record {sid} was deleted with key {key} while a hold froze it")]
    HeldShredded {
        /// The key.
        key: KeyId,
        /// The record.
        sid: Sid,
    },
    /// A destroyed key has another number of leaves than one.
    #[error("destroyed key {key} has {leaves} leaves instead of one")]
    Leaves {
        /// The key.
        key: KeyId,
        /// How many leaves name it.
        leaves: usize,
    },
    /// A leaf names a key that is not destroyed.
    #[error("a leaf names key {key}, which is not destroyed")]
    LeafWithoutShred {
        /// The key.
        key: KeyId,
    },
    /// A key is both alive and destroyed.
    #[error("key {key} is destroyed and still there")]
    Undead {
        /// The key.
        key: KeyId,
    },
    /// An account has keys and no policy.
    #[error("account {account} has keys and no policy")]
    NoPolicy {
        /// The account.
        account: AccountSid,
    },
}

/// Every broken invariant of the view; empty when all is well.
#[must_use]
pub fn violations(view: &View<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    for key in &view.live {
        check_live(view, key, &mut found);
    }
    for key in &view.destroyed {
        check_destroyed(view, key, &mut found);
    }
    check_leaves(view, &mut found);
    found
}

fn holds_of<'a>(view: &View<'a>, account: &AccountSid) -> &'a [Hold] {
    view.holds.get(account).map_or(&[], Vec::as_slice)
}

fn check_live(view: &View<'_>, key: &LiveKey, found: &mut Vec<Violation>) {
    let Some(policy) = view.policies.get(&key.account) else {
        found.push(Violation::NoPolicy {
            account: key.account.clone(),
        });
        return;
    };
    let holds = holds_of(view, &key.account);
    let kept_since = key
        .opens
        .iter()
        .map(|record| record.kept_since)
        .max()
        .unwrap_or_default();
    for record in &key.opens {
        let facts = record.facts();
        let open = access(policy, holds, &facts, view.now);
        let erased = record.erased_at.is_some_and(|at| at <= view.now);
        for reader in &record.read_by {
            if erased || !may_read(open, *reader) {
                found.push(Violation::Readable {
                    sid: record.sid,
                    reader: *reader,
                    now: view.now,
                });
            }
        }
        // A day's records go as one, with the last moment of their day and the last that came.
        let day_goes_at = match record.class {
            Class::Recording => TimeUs(i64::MIN),
            class => policy.kept_until(class, TimeUs(record.at.day().end().0 - 1), kept_since),
        };
        let goes_at = gone_at(policy, holds, &facts).max(day_goes_at);
        let deadline = TimeUs(goes_at.0.saturating_add(KEY_GRACE_US).min(TimeUs::NEVER.0));
        if view.now > deadline {
            found.push(Violation::KeyOutlives {
                key: key.key,
                sid: record.sid,
                deadline,
            });
        }
    }
}

fn check_destroyed(view: &View<'_>, key: &DestroyedKey, found: &mut Vec<Violation>) {
    let Some(policy) = view.policies.get(&key.account) else {
        // A closed account's policy goes with it; any other cause needs one to be judged.
        if key.cause != Cause::Closure {
            found.push(Violation::NoPolicy {
                account: key.account.clone(),
            });
        }
        return;
    };
    let holds = holds_of(view, &key.account);
    for record in &key.opened {
        let facts = record.facts();
        if record.erased_at.is_some_and(|at| at <= key.at) {
            continue;
        }
        if is_held(policy, holds, &facts, key.at) {
            found.push(Violation::HeldShredded {
                key: key.key,
                sid: record.sid,
            });
        }
        let gone_at = gone_at(policy, holds, &facts);
        if gone_at <= key.at {
            continue;
        }
        match key.cause {
            // What a rewrite keeps is under another key by then, so a row under none was lost.
            Cause::Term | Cause::HoldLifted | Cause::Rewrite => {
                found.push(Violation::Early {
                    key: key.key,
                    sid: record.sid,
                    at: key.at,
                    gone_at,
                });
            }
            cause => {
                let floor = policy.find_floor(record.class, record.at, key.at);
                if !decide_deletion(record.class, cause, None, floor).is_allowed() {
                    found.push(Violation::NotAllowed {
                        key: key.key,
                        sid: record.sid,
                        cause,
                    });
                }
            }
        }
    }
}

fn check_leaves(view: &View<'_>, found: &mut Vec<Violation>) {
    let mut leaves: BTreeMap<KeyId, usize> = BTreeMap::new();
    for key in &view.leaf_keys {
        *leaves.entry(*key).or_default() += 1;
    }
    let destroyed: BTreeSet<KeyId> = view.destroyed.iter().map(|key| key.key).collect();
    for key in &destroyed {
        let count = leaves.remove(key).unwrap_or(0);
        if count != 1 {
            found.push(Violation::Leaves {
                key: *key,
                leaves: count,
            });
        }
    }
    found.extend(leaves.into_keys().map(|key| Violation::LeafWithoutShred { key }));
    let undead = view.live.iter().filter(|key| destroyed.contains(&key.key));
    found.extend(undead.map(|key| Violation::Undead { key: key.key }));
}
