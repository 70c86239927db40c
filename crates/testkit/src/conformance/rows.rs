//! Rows for the suites.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use callvault_core::{AccountSid, Class, Day, DocumentKind, KeyId, ObjectId, Sid, TimeUs, id::UserId};
use callvault_store::{
    Catalog,
    rows::{
        AccountRow, ChallengeRow, DocumentRow, EpochRow, JobRow, JobState, KeyPurpose, KeyRow, LooseRow, NewLeaf,
        Packed, PartitionRef, RecordingRow, SegmentRow, SessionRow, Shred, TokenRow, UserRow,
    },
};

/// A moment of day 20000 (2024-10-04).
#[must_use]
pub fn at(seconds: i64) -> TimeUs {
    Day(20_000).start().plus_seconds(seconds)
}

/// Sixteen bytes that nothing else of this process has.
#[must_use]
pub fn id() -> [u8; 16] {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut bytes = [0xA5; 16];
    // Spread over the space, so that order of creation is not order of keys.
    bytes[..8].copy_from_slice(&number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
    bytes
}

/// An account's name.
///
/// # Panics
/// When the text is none.
#[must_use]
pub fn account(name: &str) -> AccountSid {
    name.parse().expect("an account's name")
}

/// A key.
#[must_use]
pub fn key(account: &AccountSid, purpose: KeyPurpose, epoch: u64) -> KeyRow {
    KeyRow {
        account: account.clone(),
        key: KeyId(id()),
        purpose,
        epoch,
        wrapped: vec![7; 60],
    }
}

/// An epoch.
#[must_use]
pub fn epoch(epoch: u64) -> EpochRow {
    EpochRow {
        epoch,
        created_at: at(0),
        wrapped: vec![9; 60],
        open: true,
        live_keys: 0,
    }
}

/// A partition to open, with its key.
#[must_use]
pub fn partition(account: &AccountSid, class: Class, day: i32, epoch: u64) -> (PartitionRef, KeyRow) {
    let key = key(account, KeyPurpose::Partition, epoch);
    (
        PartitionRef {
            account: account.clone(),
            class,
            day: Day(day),
            key: key.key,
        },
        key,
    )
}

/// A loose row.
#[must_use]
pub fn loose(seconds: i64) -> LooseRow {
    let mut tail = [0; 10];
    tail.copy_from_slice(&id()[..10]);
    LooseRow {
        sid: Sid::new(at(seconds), tail),
        at: at(seconds),
        body: vec![3; 100],
    }
}

/// A large segment, whose parts are objects.
#[must_use]
pub fn segment(rows: u64) -> SegmentRow {
    SegmentRow {
        segment: ObjectId(id()),
        rows,
        bytes: rows * 70,
        min_at: at(0),
        max_at: at(9),
        packed: None,
    }
}

/// A small segment, in the catalog.
#[must_use]
pub fn packed(rows: u64) -> SegmentRow {
    let packed = Packed {
        body: vec![1; 300],
        locator: vec![2; 40],
    };
    SegmentRow {
        bytes: 340,
        packed: Some(packed),
        ..segment(rows)
    }
}

/// A leaf.
#[must_use]
pub fn leaf(text: &str) -> NewLeaf {
    NewLeaf {
        body: format!("{{\"leaf\":\"{text}\"}}").into_bytes(),
        statement: format!("{{\"of\":\"{text}\"}}"),
    }
}

/// A recording with its key.
#[must_use]
pub fn recording(account: &AccountSid, seconds: i64, parties: [u8; 2]) -> (RecordingRow, KeyRow) {
    let key = key(account, KeyPurpose::Recording, 1);
    let row = RecordingRow {
        account: account.clone(),
        sid: loose(seconds).sid,
        call_sid: None,
        at: at(seconds),
        kept_since: at(seconds + 60),
        key: key.key,
        object: ObjectId(id()),
        bytes: 1_000,
        parties: parties.map(|party| [party; 16]),
        meta: vec![4; 50],
    };
    (row, key)
}

/// A document with its key.
#[must_use]
pub fn document(account: &AccountSid, kind: DocumentKind, seconds: i64, name: Option<u8>) -> (DocumentRow, KeyRow) {
    let key = key(account, KeyPurpose::Document, 1);
    let row = DocumentRow {
        account: account.clone(),
        kind,
        id: loose(seconds).sid,
        name: name.map(|name| [name; 16]),
        at: at(seconds),
        updated_at: at(seconds),
        version: 0,
        members: 0,
        key: key.key,
        body: vec![6; 40],
    };
    (row, key)
}

/// A job that may run from this moment on.
#[must_use]
pub fn job(id: &str, kind: &str, run_at: TimeUs) -> JobRow {
    JobRow {
        id: id.to_owned(),
        account: None,
        kind: kind.to_owned(),
        body: vec![5; 20],
        run_at,
        lease_until: None,
        leased_by: None,
        attempts: 0,
        state: JobState::Open,
        error: None,
        created_at: at(0),
    }
}

/// A token.
#[must_use]
pub fn token(account: &AccountSid, token_key: &str, role: &str) -> TokenRow {
    TokenRow {
        account: account.clone(),
        token_key: token_key.to_owned(),
        hash: vec![1; 32],
        role: role.to_owned(),
        scopes: None,
        label: None,
        created_at: at(0),
        expires_at: None,
        revoked_at: None,
        used_day: None,
        successor: None,
        person: None,
    }
}

/// A user who has joined.
#[must_use]
pub fn user(account: Option<&AccountSid>, role: &str) -> UserRow {
    UserRow {
        account: account.cloned(),
        id: UserId(id()),
        email: id(),
        role: role.to_owned(),
        created_at: at(0),
        joined_at: Some(at(1)),
        disabled_at: None,
        body: vec![6; 80],
        version: 0,
    }
}

/// A session of a user.
#[must_use]
pub fn session(user: &UserRow, hash: u8, seen: i64) -> SessionRow {
    SessionRow {
        account: user.account.clone(),
        hash: [hash; 32],
        user: user.id,
        created_at: at(2),
        seen_at: at(seen),
        note: vec![8; 40],
    }
}

/// A question to a user.
#[must_use]
pub fn challenge(user: &UserRow, hash: u8) -> ChallengeRow {
    ChallengeRow {
        account: user.account.clone(),
        hash: [hash; 32],
        user: user.id,
        purpose: "register".to_owned(),
        expires_at: at(300),
    }
}

/// The version of the rules of an account that [`add_account`] added.
pub const RULES_VERSION: i64 = 1;

/// A shred of partitions.
#[must_use]
pub fn shred(account: &AccountSid, partitions: Vec<PartitionRef>) -> Shred {
    Shred {
        account: account.clone(),
        rules_version: RULES_VERSION,
        at: at(1_000),
        partitions,
        recordings: Vec::new(),
        documents: Vec::new(),
        marks: Vec::new(),
        account_key: None,
        leaf: leaf("shred"),
    }
}

/// Adds an account with its key in epoch 1; returns the key.
///
/// # Panics
/// When the catalog refuses.
pub async fn add_account(catalog: &Arc<dyn Catalog>, name: &str) -> (AccountSid, KeyId) {
    let account = account(name);
    let key = key(&account, KeyPurpose::Account, 1);
    let row = AccountRow {
        account: account.clone(),
        created_at: at(0),
        key: key.key,
        country: "IN".to_owned(),
        policy: "{}".to_owned(),
        version: RULES_VERSION,
        closed_at: None,
    };
    catalog.insert_account(&row, &key).await.expect("an account");
    (account, key.key)
}

/// Epoch 1 and an account `acme`.
///
/// # Panics
/// When the catalog refuses.
pub async fn begin(catalog: &Arc<dyn Catalog>) -> (AccountSid, KeyId) {
    catalog.insert_epoch(&epoch(1)).await.expect("an epoch");
    add_account(catalog, "acme").await
}

/// Opens one partition of calls.
///
/// # Panics
/// When the catalog refuses.
pub async fn open_one(catalog: &Arc<dyn Catalog>, account: &AccountSid, day: i32) -> PartitionRef {
    let new = partition(account, Class::Call, day, 1);
    let opened = catalog
        .open_partitions(std::slice::from_ref(&new))
        .await
        .expect("a partition");
    opened[0].reference()
}

/// Adds loose rows to a partition and returns them.
///
/// # Panics
/// When the catalog refuses.
pub async fn fill(catalog: &Arc<dyn Catalog>, partition: &PartitionRef, count: i64) -> Vec<LooseRow> {
    let rows: Vec<LooseRow> = (0..count).map(loose).collect();
    let named: Vec<_> = rows.iter().map(|row| (partition.clone(), row.clone())).collect();
    let new = catalog.append_loose(at(5), &named).await.expect("rows");
    assert!(new.iter().all(|new| *new));
    rows
}

/// Names a segment's objects as about to be written.
///
/// # Panics
/// When the catalog refuses.
pub async fn stage(catalog: &Arc<dyn Catalog>, account: &AccountSid, segment: &SegmentRow) {
    use callvault_store::catalog::object_names;
    let names = [
        object_names::segment(account, segment.segment),
        object_names::locator(account, segment.segment),
    ];
    catalog.stage_objects(&names, at(0)).await.expect("staged");
}

/// Names a recording's object as about to be written.
///
/// # Panics
/// When the catalog refuses.
pub async fn add_recording(catalog: &Arc<dyn Catalog>, recording: &RecordingRow, key: &KeyRow) {
    use callvault_store::catalog::object_names;
    let name = object_names::recording(&recording.account, recording.object);
    catalog.stage_objects(&[name], at(0)).await.expect("staged");
    catalog
        .insert_recording(recording, key, "deleted/none")
        .await
        .expect("a recording");
}
