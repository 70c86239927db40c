//! What a deletion leaves behind (spec 5.3): the leaf in the transparency log, and the certificate.
//!
//! Both are JSON with a fixed field order and no spaces; times are microseconds since 1970, spans include `from` and
//! exclude `to`. [`LeafBody::parse`] and [`CertificateBody::parse`] accept exactly the text that the value is written
//! as, so one value has one text and one hash.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    class::Class,
    hold::Cause,
    id::{AccountSid, HoldId, KeyId, Subject},
    purge::Purge,
    time::TimeUs,
};

/// The version of both formats.
pub const VERSION: u8 = 1;

/// What an erasure or a shred says of the records it took; generic over how the account is named (`W`) and over what was
/// taken (`T`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deletion<W, T> {
    /// Region.
    pub region: String,
    /// Whose records.
    #[serde(flatten)]
    pub whose: W,
    /// Class; `null` when the account's own key goes, which opens no records.
    pub class: Option<Class>,
    /// How many.
    pub records: u64,
    /// The first moment of the span they lie in.
    pub from: TimeUs,
    /// The moment after the last of the span.
    pub to: TimeUs,
    /// Why.
    pub cause: Cause,
    /// When.
    pub at: TimeUs,
    /// What was taken.
    #[serde(flatten)]
    pub taken: T,
}

/// The account as a leaf names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountHash {
    /// Hexadecimal hash of the account and a salt that only its certificates carry.
    pub account_hash: String,
}

/// The account as a certificate names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountSalt {
    /// The account.
    pub account: AccountSid,
    /// The salt of the leaf's hash: 32 bytes in hexadecimal.
    pub salt: String,
}

/// The destroyed keys of a shred.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keys {
    /// The keys.
    pub keys: Vec<KeyId>,
}

/// The erased records of an erasure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subjects {
    /// Keyed hashes of their SIDs.
    pub subjects: Vec<Subject>,
}

/// The end of an epoch key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochEnd {
    /// Region.
    pub region: String,
    /// The epoch's number.
    pub epoch: u64,
    /// When its key was created.
    pub created_at: TimeUs,
    /// When its key was destroyed.
    pub at: TimeUs,
}

/// A leaf of the transparency log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeafBody {
    /// Keys were destroyed.
    Shred(Deletion<AccountHash, Keys>),
    /// Single records were erased from what lives on.
    Erase(Deletion<AccountHash, Subjects>),
    /// An epoch key was destroyed.
    Epoch(EpochEnd),
}

/// What a certificate certifies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateBody {
    /// Keys were destroyed.
    Shred(Certified<Keys>),
    /// Single records were erased.
    Erase(Certified<Subjects>),
}

/// The content of a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certified<T> {
    /// What was deleted; the same as in the leaf.
    #[serde(flatten)]
    pub deletion: Deletion<AccountSalt, T>,
    /// The state of every copy when the certificate was issued.
    pub copies: Copies,
    /// When it was issued.
    pub issued_at: TimeUs,
}

/// The state of every copy (spec 5.3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copies {
    /// Key and rows in the catalog.
    pub catalog: CopyState,
    /// Objects in the object store.
    pub objects: CopyState,
    /// Index entries, in the catalog and beside the objects.
    pub index: CopyState,
    /// Caches of running processes.
    pub cache: CopyState,
    /// Backups.
    pub backups: CopyState,
    /// Exports that the vault holds.
    pub exports: CopyState,
}

/// The state of one kind of copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum CopyState {
    /// Gone, since `at`.
    Done {
        /// When the last part went.
        at: TimeUs,
    },
    /// Not yet gone; it is, or an alarm stands, by `until`.
    Pending {
        /// The purge deadline.
        until: TimeUs,
    },
    /// Kept by a legal hold.
    Held {
        /// The hold.
        by: HoldId,
    },
    /// There was no such copy.
    None,
}

/// Why a text is no leaf or certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Not JSON of this form.
    #[error("not a {what} of version 1: {why}")]
    Malformed {
        /// What was expected.
        what: &'static str,
        /// What is wrong, and where.
        why: String,
    },
    /// JSON of this form, but not the one text of its value.
    #[error("not the canonical text of a {what}: fields, their order and spacing are fixed")]
    NotCanonical {
        /// What was expected.
        what: &'static str,
    },
}

/// The first field in which a certificate and a leaf differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("certificate and log leaf disagree on `{field}`")]
pub struct Disagreement {
    /// The field.
    pub field: &'static str,
}

#[derive(Serialize, Deserialize)]
struct Wire<T> {
    v: u8,
    r#type: String,
    #[serde(flatten)]
    body: T,
}

#[derive(Deserialize)]
struct Kind {
    v: u8,
    r#type: String,
}

fn write<T: Serialize>(kind: &str, body: &T) -> String {
    // Strings, integers and lists with fixed names: there is nothing in them that JSON cannot express.
    serde_json::to_string(&Wire {
        v: VERSION,
        r#type: kind.to_owned(),
        body,
    })
    .unwrap_or_default()
}

fn read_kind(what: &'static str, text: &str) -> Result<String, ProofError> {
    let kind: Kind = read(what, text)?;
    if kind.v == VERSION {
        return Ok(kind.r#type);
    }
    Err(ProofError::Malformed {
        what,
        why: format!("version {} is not known", kind.v),
    })
}

fn read<T: DeserializeOwned>(what: &'static str, text: &str) -> Result<T, ProofError> {
    serde_json::from_str(text).map_err(|error| ProofError::Malformed {
        what,
        why: error.to_string(),
    })
}

fn unknown_kind<T>(what: &'static str) -> Result<T, ProofError> {
    Err(ProofError::Malformed {
        what,
        why: "its type is not known".to_owned(),
    })
}

impl LeafBody {
    /// The leaf's one text, which the log hashes.
    #[must_use]
    pub fn to_json(&self) -> String {
        match self {
            Self::Shred(body) => write("shred", body),
            Self::Erase(body) => write("erase", body),
            Self::Epoch(body) => write("epoch", body),
        }
    }

    /// Reads a leaf, and accepts its one text only.
    ///
    /// # Errors
    /// [`ProofError`] for every other text.
    pub fn parse(text: &str) -> Result<Self, ProofError> {
        const WHAT: &str = "log leaf";
        let leaf = match read_kind(WHAT, text)?.as_str() {
            "shred" => Self::Shred(read::<Wire<_>>(WHAT, text)?.body),
            "erase" => Self::Erase(read::<Wire<_>>(WHAT, text)?.body),
            "epoch" => Self::Epoch(read::<Wire<_>>(WHAT, text)?.body),
            _ => return unknown_kind(WHAT),
        };
        if leaf.to_json() == text {
            Ok(leaf)
        } else {
            Err(ProofError::NotCanonical { what: WHAT })
        }
    }

    /// The keys that the leaf says are destroyed.
    #[must_use]
    pub fn keys(&self) -> &[KeyId] {
        match self {
            Self::Shred(body) => &body.taken.keys,
            Self::Erase(_) | Self::Epoch(_) => &[],
        }
    }
}

impl CertificateBody {
    /// The certificate's one text.
    #[must_use]
    pub fn to_json(&self) -> String {
        match self {
            Self::Shred(body) => write("shred", body),
            Self::Erase(body) => write("erase", body),
        }
    }

    /// Reads a certificate, and accepts its one text only.
    ///
    /// # Errors
    /// [`ProofError`] for every other text.
    pub fn parse(text: &str) -> Result<Self, ProofError> {
        const WHAT: &str = "certificate";
        let certificate = match read_kind(WHAT, text)?.as_str() {
            "shred" => Self::Shred(read::<Wire<_>>(WHAT, text)?.body),
            "erase" => Self::Erase(read::<Wire<_>>(WHAT, text)?.body),
            _ => return unknown_kind(WHAT),
        };
        if certificate.to_json() == text {
            Ok(certificate)
        } else {
            Err(ProofError::NotCanonical { what: WHAT })
        }
    }

    /// The account and the salt that the leaf's hash is made of.
    #[must_use]
    pub const fn whose(&self) -> &AccountSalt {
        match self {
            Self::Shred(body) => &body.deletion.whose,
            Self::Erase(body) => &body.deletion.whose,
        }
    }

    /// The state of every copy.
    #[must_use]
    pub const fn copies(&self) -> &Copies {
        match self {
            Self::Shred(body) => &body.copies,
            Self::Erase(body) => &body.copies,
        }
    }
}

/// Whether the certificate says what the leaf says. `account_hash` is the hash of the certificate's account and salt,
/// as the caller computed it.
///
/// # Errors
/// The first field in which they differ.
pub fn agrees(certificate: &CertificateBody, leaf: &LeafBody, account_hash: &str) -> Result<(), Disagreement> {
    match (certificate, leaf) {
        (CertificateBody::Shred(certificate), LeafBody::Shred(leaf)) => {
            same_deletion(&certificate.deletion, leaf, account_hash, "keys")
        }
        (CertificateBody::Erase(certificate), LeafBody::Erase(leaf)) => {
            same_deletion(&certificate.deletion, leaf, account_hash, "subjects")
        }
        _ => Err(Disagreement { field: "type" }),
    }
}

fn same_deletion<T: PartialEq>(
    certified: &Deletion<AccountSalt, T>,
    leaf: &Deletion<AccountHash, T>,
    account_hash: &str,
    taken: &'static str,
) -> Result<(), Disagreement> {
    let fields = [
        ("region", certified.region == leaf.region),
        ("account_hash", account_hash == leaf.whose.account_hash),
        ("class", certified.class == leaf.class),
        ("records", certified.records == leaf.records),
        ("from", certified.from == leaf.from),
        ("to", certified.to == leaf.to),
        ("cause", certified.cause == leaf.cause),
        ("at", certified.at == leaf.at),
        (taken, certified.taken == leaf.taken),
    ];
    fields
        .into_iter()
        .find(|(_, same)| !same)
        .map_or(Ok(()), |(field, _)| Err(Disagreement { field }))
}

/// One kind of bytes, as the stores report it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// There never were any.
    Never,
    /// They are still there.
    There,
    /// The last of them went at this moment.
    Gone(TimeUs),
    /// A hold keeps them.
    Held(HoldId),
}

/// What is known of the copies of something deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyFacts {
    /// When it was deleted for every reader.
    pub deleted_at: TimeUs,
    /// When the last key that opens it was destroyed.
    pub key_destroyed_at: Option<TimeUs>,
    /// Rows in the catalog.
    pub rows: Part,
    /// Objects, with the index entries beside them.
    pub objects: Part,
    /// Caches of running processes.
    pub cache: Part,
    /// When the last epoch key was destroyed that ever wrapped the key.
    pub epochs_destroyed_at: Option<TimeUs>,
    /// Exports that the vault holds.
    pub exports: Part,
}

/// The state of every copy at `now`. Nothing is `done` while a part of it is not, nor before it was.
#[must_use]
pub fn copies(facts: &CopyFacts, now: TimeUs, purge: Purge) -> Copies {
    let until = purge.deadline(facts.deleted_at);
    let since = |moment: Option<TimeUs>| moment.filter(|at| *at <= now).map_or(Part::There, Part::Gone);
    let key = since(facts.key_destroyed_at);
    let state = |parts: &[Part]| state_of(parts, now, until);
    Copies {
        catalog: state(&[key, facts.rows]),
        objects: state(&[facts.objects]),
        index: state(&[facts.rows, facts.objects]),
        cache: state(&[facts.cache]),
        backups: state(&[key, since(facts.epochs_destroyed_at)]),
        exports: state(&[facts.exports]),
    }
}

/// The state of a copy that has these parts: the worst of them.
fn state_of(parts: &[Part], now: TimeUs, until: TimeUs) -> CopyState {
    let mut state = CopyState::None;
    for part in parts {
        state = match (*part, state) {
            (Part::There, _) => return CopyState::Pending { until },
            (Part::Gone(at), _) if at > now => return CopyState::Pending { until },
            (Part::Held(by), _) => CopyState::Held { by },
            (Part::Gone(at), CopyState::Done { at: other }) => CopyState::Done { at: at.max(other) },
            (Part::Gone(at), CopyState::None) => CopyState::Done { at },
            (Part::Gone(_) | Part::Never, state) => state,
        };
    }
    state
}

impl Copies {
    /// The kinds of copies that are still pending though their deadline is over: each is an alarm.
    #[must_use]
    pub fn overdue(&self, now: TimeUs) -> Vec<&'static str> {
        let kinds = [
            ("catalog", self.catalog),
            ("objects", self.objects),
            ("index", self.index),
            ("cache", self.cache),
            ("backups", self.backups),
            ("exports", self.exports),
        ];
        let late = |state: &CopyState| matches!(state, CopyState::Pending { until } if *until <= now);
        kinds
            .into_iter()
            .filter(|(_, state)| late(state))
            .map(|(kind, _)| kind)
            .collect()
    }
}
