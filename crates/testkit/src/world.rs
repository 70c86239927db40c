//! A vault on real stores with a clock that the test moves.

use std::{path::PathBuf, sync::Arc};

use callvault_app::{ManualClock, Parts, Vault};
use callvault_core::{
    AccountSid, Class, HoldScope, Number, Plan, Sid, TimeUs,
    id::HoldId,
    record::{AudioFormat, Call, CallStatus, Consent, Direction, Message, MessageStatus, Record, RecordingMeta},
};
use callvault_seal::provider::{KeyProvider, PassphraseCost, SealedFile};
use callvault_store::{Catalog, Objects, files::Files, postgres::Postgres, s3::S3, sqlite::Sqlite};

use crate::services;

/// Which stores a world stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pair {
    /// SQLite and local files.
    Embedded,
    /// PostgreSQL and S3.
    Scaled,
}

impl Pair {
    /// The pairs of this run: both, unless a service is left out by name.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let without = services::goes_without("postgres") | services::goes_without("s3");
        if without {
            vec![Self::Embedded]
        } else {
            vec![Self::Embedded, Self::Scaled]
        }
    }
}

/// One region under test. Its stores outlive a [`World::restart`].
pub struct World {
    /// The vault.
    pub vault: Arc<Vault>,
    /// Its clock.
    pub clock: Arc<ManualClock>,
    /// What it was opened from.
    pub parts: Parts,
    /// A folder with everything of the world that lies in files.
    pub folder: PathBuf,
    /// The database of a [`Pair::Scaled`]; dropped after the vault.
    pub database: Option<services::postgres::Database>,
    _temporary: Arc<tempfile::TempDir>,
}

/// The passphrase of every world's key file.
pub const PASSPHRASE: &str = "correct horse battery staple";

impl World {
    /// A new region on these stores, at this moment.
    pub async fn new(pair: Pair, now: TimeUs) -> Self {
        let temporary = Arc::new(tempfile::tempdir().expect("a folder"));
        let folder = temporary.path().to_owned();
        let clock = Arc::new(ManualClock::new(now));
        let mut database = None;
        let (catalog, objects): (Arc<dyn Catalog>, Arc<dyn Objects>) = match pair {
            Pair::Embedded => (
                Arc::new(Sqlite::open(&folder.join("catalog.db")).await.expect("SQLite")),
                Arc::new(Files::open(&folder.join("objects")).await.expect("files")),
            ),
            Pair::Scaled => {
                let database = database.insert(services::postgres::Database::create());
                let catalog = Postgres::open(&database.address()).await.expect("PostgreSQL");
                let objects = S3::open(&services::s3_config(&services::unique_name()))
                    .await
                    .expect("S3");
                (Arc::new(catalog), Arc::new(objects))
            }
        };
        let keys = folder.join("keys.sealed");
        SealedFile::create(&keys, PASSPHRASE.as_bytes(), PassphraseCost::TEST).expect("a key file");
        let parts = Parts {
            region: "in".to_owned(),
            catalog,
            objects,
            provider: Self::provider(&keys),
            clock: Arc::clone(&clock) as Arc<dyn callvault_app::Clock>,
            worker: "test".to_owned(),
        };
        let vault = Arc::new(Vault::open(parts.clone()).await.expect("a vault"));
        Self {
            vault,
            clock,
            parts,
            folder,
            database,
            _temporary: temporary,
        }
    }

    /// The key file, opened anew.
    #[must_use]
    pub fn provider(keys: &std::path::Path) -> Arc<dyn KeyProvider> {
        Arc::new(SealedFile::open(keys, PASSPHRASE.as_bytes()).expect("the key file"))
    }

    /// Ends the process, as far as the vault can tell, and opens the region again.
    pub async fn restart(&mut self) {
        self.parts.provider = Self::provider(&self.folder.join("keys.sealed"));
        self.vault = Arc::new(Vault::open(self.parts.clone()).await.expect("a vault"));
    }

    /// Adds an account.
    pub async fn account(&self, name: &str, plan: Plan) -> AccountSid {
        let sid: AccountSid = name.parse().expect("a SID");
        self.vault.create_account(&sid, plan, "IN").await.expect("an account");
        sid
    }

    /// An account with fifty calls, a second apart from 2027-03-01T09:00:00Z on, and a hold on the number that ten of them
    /// have, until 2029.
    pub async fn hold_ten_of_fifty(&self) -> (AccountSid, Vec<Record>, HoldId) {
        let account = self.account("acme", Plan::Growth).await;
        let first = at("2027-03-01T09:00:00Z");
        let records: Vec<_> = (0..50)
            .map(|n| call(first.plus_seconds(i64::from(n)), n, n % 5, 100))
            .collect();
        self.vault.ingest(&account, &records).await.expect("calls");
        let opened = self.vault.get_account(&account).await.expect("the account");
        let scope = HoldScope::Number(opened.number_hash(&number(2)));
        let review_at = at("2029-01-01T00:00:00Z");
        let hold = self
            .vault
            .place_hold(&account, scope, "Case 7", "Dispute", review_at)
            .await;
        (account, records, hold.expect("a hold"))
    }

    /// Moves the clock and does what is due; fails on any failure.
    pub async fn tick_at(&self, at: TimeUs) -> callvault_app::tick::TickReport {
        self.clock.advance_to(at);
        let report = self.vault.tick().await;
        assert!(report.failures.is_empty(), "{:?}", report.failures);
        report
    }
}

/// RFC 3339 to a moment.
#[must_use]
pub fn at(text: &str) -> TimeUs {
    TimeUs::parse(text).expect("a time")
}

/// The `n`th telephone number of a fictitious range.
#[must_use]
pub fn number(n: u32) -> Number {
    Number(format!("+9199000{n:05}").into())
}

/// A call with these parties.
#[must_use]
pub fn call(at: TimeUs, tail: u32, from: u32, to: u32) -> Record {
    let mut bytes = [0; 10];
    bytes[6..].copy_from_slice(&tail.to_be_bytes());
    Record::Call(Call {
        sid: Sid::new(at, bytes),
        at,
        source_id: Some(format!("source-{tail}").into()),
        direction: Direction::Inbound,
        from: number(from),
        to: number(to),
        exophone: Number("+918047112233".into()),
        status: CallStatus::Completed,
        answered_at: Some(at.plus_seconds(5)),
        ended_at: Some(at.plus_seconds(65)),
        duration_s: 65,
        talk_s: 60,
        price_micros: Some(1_500_000),
        caller_name: Some(format!("Caller {from}").into()),
        extra: None,
    })
}

/// A message with these parties and this text.
#[must_use]
pub fn message(at: TimeUs, tail: u32, from: u32, to: u32, body: &str) -> Record {
    let mut bytes = [1; 10];
    bytes[6..].copy_from_slice(&tail.to_be_bytes());
    Record::Message(Message {
        sid: Sid::new(at, bytes),
        at,
        source_id: None,
        direction: Direction::OutboundApi,
        from: number(from),
        to: number(to),
        status: MessageStatus::Sent,
        status_code: Some(20_005),
        sent_at: Some(at.plus_seconds(2)),
        units: 1,
        price_micros: Some(200_000),
        body: Some(body.into()),
        dlt_entity_id: None,
        dlt_template_id: None,
        extra: None,
    })
}

/// A recording's description.
#[must_use]
pub fn recording(at: TimeUs, tail: u32, from: u32, to: u32) -> callvault_app::recording::NewRecording {
    let mut bytes = [2; 10];
    bytes[6..].copy_from_slice(&tail.to_be_bytes());
    callvault_app::recording::NewRecording {
        sid: Sid::new(at, bytes),
        call_sid: None,
        at,
        meta: RecordingMeta {
            parties: [number(from), number(to)],
            format: AudioFormat::Wav,
            channels: 1,
            sample_rate_hz: 8_000,
            duration_ms: 1_000,
            consent: Consent::Announced,
            policy_version: None,
            file_name: Some(format!("{}.wav", number(from).as_str())),
        },
    }
}

/// The classes a world's records have.
pub const CLASSES: [Class; 2] = [Class::Call, Class::Message];
