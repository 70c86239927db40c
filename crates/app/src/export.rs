//! Exports: an account's records of a span of time as bytes, from the oldest to the newest.
//!
//! An export is planned first: the plan knows which days hold something, and names its state by a [`Snapshot`]. While
//! nothing of it goes and nothing comes in, the same snapshot gives the same bytes, so that a broken download goes on
//! where it stopped. Days are read one after the other and never held whole. What it promises: `docs/exports.md`.

mod archive;
mod csv_text;
mod desk;
mod encode;
mod job;
mod json_text;
mod moment;
mod plan;
mod sheet;
mod signed;
mod snapshot;
mod tar;
mod vcon;
mod walk;

pub use archive::{Archive, ArchiveRequest, MAX_RECORDINGS};
pub(crate) use csv_text::{header_line, report_csv, text as push_text, unprotect};
pub(crate) use job::JobRequest;
pub use job::{ExportJob, ExportOrder, JobContent, JobDelivery, JobPhase, JobResult, JobState, MAX_OPEN_JOBS};
pub use signed::MAX_SIGNED_AUDIO_BYTES;
pub use snapshot::Snapshot;
pub use vcon::{Vcon, VconAudio};

use std::str::FromStr;

use async_trait::async_trait;
use bytes::Bytes;
use callvault_core::{Class, Record, TimeUs, hold::Reader};
use callvault_seal::digest::Hasher;
use serde::{Deserialize, Serialize};

use crate::{
    error::{Result, VaultError},
    vault::{Account, Vault},
};
use desk::Seat;
use encode::Encoder;
use plan::PlannedDay;
use walk::{Visit, Walk};

/// What an export of records is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// RFC 4180, with a header line; fields that a spreadsheet would take for a formula begin with an apostrophe.
    Csv,
    /// One JSON object a line, as the import reads it.
    Ndjson,
    /// One JSON array.
    Json,
    /// Apache Parquet, not encrypted.
    Parquet,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 4] = [Self::Csv, Self::Ndjson, Self::Json, Self::Parquet];

    /// The format's name, also the ending of its files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
            Self::Json => "json",
            Self::Parquet => "parquet",
        }
    }

    /// Its media type.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Ndjson => "application/x-ndjson",
            Self::Json => "application/json",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }
}

impl FromStr for Format {
    type Err = VaultError;

    fn from_str(text: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|format| format.as_str() == text);
        found.ok_or_else(|| VaultError::invalid("format", "expected csv, ndjson, json or parquet"))
    }
}

/// What is to be exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// [`Class::Call`] or [`Class::Message`]; [`Class::CampaignReport`] as CSV alone.
    pub class: Class,
    /// What it is written in.
    pub format: Format,
    /// At or after; from the first one if absent.
    pub from: Option<TimeUs>,
    /// Before; the snapshot's moment if absent.
    pub to: Option<TimeUs>,
    /// Who reads.
    pub reader: Reader,
}

/// Takes an export's bytes.
#[async_trait]
pub trait Sink: Send {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// Whatever ends the export.
    async fn write(&mut self, bytes: Bytes) -> Result<()>;

    /// Hears how many records are done.
    fn progress(&mut self, records: u64) {
        let _ = records;
    }
}

/// Throws an export's bytes away: for its length, count and checksum.
#[derive(Debug, Default)]
pub struct Nowhere;

#[async_trait]
impl Sink for Nowhere {
    async fn write(&mut self, _: Bytes) -> Result<()> {
        Ok(())
    }
}

/// Records whose text is one piece: some hundred kilobytes.
const PIECE_ROWS: usize = 1_024;

/// What an export came to, from its first byte on, whatever was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Records.
    pub records: u64,
    /// Bytes.
    pub bytes: u64,
    /// SHA-256 in hexadecimal digits, if it was asked for.
    pub sha256: Option<String>,
}

/// How an export is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Passage {
    /// Bytes at the beginning that the sink has already.
    pub skip_bytes: u64,
    /// Whether the checksum is wanted.
    pub sha256: bool,
}

/// An export, planned.
pub struct Export {
    account: Account,
    request: Request,
    snapshot: Snapshot,
    days: Vec<PlannedDay>,
}

impl Export {
    /// What names its bytes.
    #[must_use]
    pub const fn snapshot(&self) -> Snapshot {
        self.snapshot
    }

    /// The moment before which its records happened.
    #[must_use]
    pub fn to(&self) -> TimeUs {
        self.request.to.unwrap_or(self.snapshot.at)
    }

    /// At most this many records; fewer when a part of them has lapsed.
    #[must_use]
    pub fn records_at_most(&self) -> u64 {
        self.days.iter().map(PlannedDay::records).sum()
    }

    /// Writes it.
    ///
    /// # Errors
    /// [`callvault_store::StoreError::Conflict`] of `export` when something of it went, or came in, meanwhile: what was
    /// written by then is no whole export. Those of the sink and the stores.
    pub async fn write(&self, vault: &Vault, passage: Passage, sink: &mut dyn Sink) -> Result<Written> {
        let mut writer = Writer {
            seat: Seat::take(),
            encoder: Some(Encoder::new(self.request.class, self.request.format)?),
            hasher: passage.sha256.then(Hasher::sha256),
            skip_bytes: passage.skip_bytes,
            records: 0,
            bytes: 0,
            sink,
        };
        Walk::new(vault, &self.account, &self.request, self.snapshot.at)
            .over(&self.days, &mut writer)
            .await?;
        writer.finish().await
    }
}

/// Encodes records and passes the bytes on.
struct Writer<'s> {
    seat: Seat,
    /// Away while it works.
    encoder: Option<Encoder>,
    hasher: Option<Hasher>,
    skip_bytes: u64,
    records: u64,
    bytes: u64,
    sink: &'s mut dyn Sink,
}

#[async_trait]
impl Visit for Writer<'_> {
    async fn records(&mut self, records: Vec<Record>) -> Result<()> {
        let count = records.len() as u64;
        let encode = move |encoder: &mut Encoder| {
            let pieces = records.chunks(PIECE_ROWS).map(|rows| {
                let mut piece = Vec::new();
                encoder.rows(rows, &mut piece)?;
                Ok(piece)
            });
            pieces.collect()
        };
        self.work(encode).await?;
        self.records += count;
        self.sink.progress(self.records);
        Ok(())
    }
}

impl Writer<'_> {
    /// Encoding is work for a core: done apart, it holds up no other request.
    async fn work(&mut self, work: impl FnOnce(&mut Encoder) -> Result<Vec<Vec<u8>>> + Send + 'static) -> Result<()> {
        let (Some(mut encoder), mut hasher) = (self.encoder.take(), self.hasher.take()) else {
            return Err(stopped());
        };
        let done = self.seat.run(move || {
            let pieces = work(&mut encoder)?;
            if let Some(hasher) = &mut hasher {
                pieces.iter().for_each(|piece| hasher.update(piece));
            }
            Ok::<_, VaultError>((encoder, hasher, pieces))
        });
        let (encoder, hasher, pieces) = done.await.ok_or_else(stopped)??;
        (self.encoder, self.hasher) = (Some(encoder), hasher);
        for piece in pieces {
            self.pass(piece.into()).await?;
        }
        Ok(())
    }

    async fn pass(&mut self, mut bytes: Bytes) -> Result<()> {
        self.bytes += bytes.len() as u64;
        let skipped = usize::try_from(self.skip_bytes).map_or(bytes.len(), |skip| skip.min(bytes.len()));
        self.skip_bytes -= skipped as u64;
        let rest = bytes.split_off(skipped);
        if rest.is_empty() {
            return Ok(());
        }
        self.sink.write(rest).await
    }

    async fn finish(mut self) -> Result<Written> {
        let end = |encoder: &mut Encoder| {
            let mut piece = Vec::new();
            encoder.end(&mut piece)?;
            Ok(vec![piece])
        };
        self.work(end).await?;
        Ok(Written {
            records: self.records,
            bytes: self.bytes,
            sha256: self.hasher.map(|hasher| hex::encode(hasher.finish())),
        })
    }
}

fn stopped() -> VaultError {
    VaultError::Damaged {
        what: "export",
        reason: "its encoder stopped".to_owned(),
    }
}

/// Something of the export went or came in since it was planned.
pub(crate) fn changed() -> VaultError {
    callvault_store::StoreError::Conflict { what: "export" }.into()
}
