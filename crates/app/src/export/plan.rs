//! What an export will hold, and the mark that names it.

use std::fmt::Write as _;

use async_trait::async_trait;
use callvault_core::{Class, Day, Record, Sid, TimeUs, hold::Reader, time::DAY_US};
use callvault_seal::digest::sha256;
use callvault_store::rows::PartitionRow;

use super::{
    Export, Format, Request, Snapshot,
    walk::{Visit, Walk},
};
use crate::{
    error::{Result, VaultError},
    vault::{Account, Vault},
};

/// A day of an export.
pub(super) struct PlannedDay {
    /// The partition as it is.
    pub(super) row: PartitionRow,
    /// What of it goes in.
    pub(super) content: Content,
}

/// What of a partition goes into an export.
pub(super) enum Content {
    /// Everything, as long as it is what it was.
    Whole,
    /// Whatever is there.
    Any,
    /// The records with these SIDs, sorted: only a part of the day goes in, or rows still arrive.
    Named(Vec<Sid>),
}

impl PlannedDay {
    pub(super) fn records(&self) -> u64 {
        match &self.content {
            Content::Named(sids) => sids.len() as u64,
            Content::Whole | Content::Any => rows_of(&self.row).saturating_sub(self.row.tombstones),
        }
    }

    /// Whether the partition still holds what it held when it was planned. Sealing moves rows and changes nothing;
    /// whatever takes rows away leaves a tombstone or another key.
    pub(super) fn is_same(&self, row: &PartitionRow) -> bool {
        !matches!(self.content, Content::Whole)
            || (row.key, rows_of(row), row.tombstones) == (self.row.key, rows_of(&self.row), self.row.tombstones)
    }
}

fn rows_of(row: &PartitionRow) -> u64 {
    row.loose_rows + row.sealed_rows
}

impl Vault {
    /// Plans an export of what can be read now.
    ///
    /// # Errors
    /// [`VaultError::Invalid`] for a class that is not exported or a span that ends before it begins; those of the
    /// stores.
    pub async fn plan_export(&self, account: Account, request: &Request) -> Result<Export> {
        check(request)?;
        self.plan_export_at(account, request, self.now()).await
    }

    /// Plans the export of this snapshot again. Nothing when it is not what it was: something of it went, or came in.
    ///
    /// # Errors
    /// As [`Vault::plan_export`].
    pub async fn resume_export(
        &self,
        account: Account,
        request: &Request,
        snapshot: Snapshot,
    ) -> Result<Option<Export>> {
        check(request)?;
        if snapshot.at > self.now() {
            return Ok(None);
        }
        let export = match self.plan_export_at(account, request, snapshot.at).await {
            Err(error) if error.is_conflict() => return Ok(None),
            export => export?,
        };
        if export.snapshot != snapshot {
            return Ok(None);
        }
        match export.check_lapses(self).await {
            Ok(()) => Ok(Some(export)),
            Err(error) if error.is_conflict() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn plan_export_at(&self, account: Account, request: &Request, at: TimeUs) -> Result<Export> {
        let (from, to) = span(request, at);
        let last = TimeUs(to.0.saturating_sub(1)).day();
        let mut days = Vec::new();
        if from < to {
            let range = from.day()..last.plus(1);
            for row in self.catalog.list_partitions(&account.sid, request.class, range).await? {
                // What has lapsed by then is in no export, whatever becomes of its key.
                if request.reader == Reader::Compliance || lapse(&account, request, end_of(row.day)) > at {
                    let content = Content::Any;
                    days.push(PlannedDay { row, content });
                }
            }
        }
        let mut export = Export {
            account,
            request: *request,
            snapshot: Snapshot { at, mark: [0; 16] },
            days: Vec::new(),
        };
        for mut day in days {
            let whole = from <= day.row.day.start() && day.row.day.end() <= to;
            let settled = day.row.day.end().0 <= at.0 - DAY_US;
            day.content = match whole && settled {
                true => Content::Whole,
                false => Content::Named(export.name_records(self, &day).await?),
            };
            // A day without any of its records is as one that is not there.
            if !matches!(&day.content, Content::Named(sids) if sids.is_empty()) {
                export.days.push(day);
            }
        }
        export.snapshot.mark = export.mark();
        Ok(export)
    }
}

impl Export {
    /// The SIDs of one day, sorted.
    async fn name_records(&self, vault: &Vault, day: &PlannedDay) -> Result<Vec<Sid>> {
        let mut sids = Sids::default();
        let walk = Walk::new(vault, &self.account, &self.request, self.snapshot.at);
        walk.over_one(day, &mut sids).await?;
        sids.0.sort_unstable();
        Ok(sids.0)
    }

    /// A keyed hash of everything that decides the bytes.
    fn mark(&self) -> [u8; 16] {
        let request = &self.request;
        let (from, to) = span(request, self.snapshot.at);
        let mut text = format!(
            "1 {} {} {} {} {:?} {}\n",
            request.class,
            request.format.as_str(),
            from.0,
            to.0,
            request.reader,
            self.snapshot.at.0
        );
        if request.reader == Reader::Compliance {
            // Holds decide what is read.
            let _ = writeln!(text, "rules {} {:?}", self.account.version, self.account.holds);
        }
        for day in &self.days {
            let row = &day.row;
            let _ = match &day.content {
                Content::Named(sids) => {
                    let parts: Vec<&[u8]> = sids.iter().map(|sid| sid.0.as_slice()).collect();
                    writeln!(text, "{} {}", row.day, hex::encode(sha256(&parts)))
                }
                Content::Whole | Content::Any => {
                    writeln!(text, "{} {} {} {}", row.day, row.key, rows_of(row), row.tombstones)
                }
            };
        }
        self.account.keys.blind.hash("export", &text)
    }

    /// Whether a record that could be read at the snapshot's moment cannot be read any more: a conflict then. Reads only
    /// the days in which something may have lapsed since.
    async fn check_lapses(&self, vault: &Vault) -> Result<()> {
        let (at, now) = (self.snapshot.at, vault.now());
        let walk = Walk::new(vault, &self.account, &self.request, at);
        for day in &self.days {
            let lapses = |moment| lapse(&self.account, &self.request, moment);
            // Within one day, who comes later lapses later.
            if lapses(day.row.day.start()) <= now && lapses(end_of(day.row.day)) > at {
                walk.over_one(day, &mut Sids::default()).await?;
            }
        }
        Ok(())
    }
}

/// The last moment of a day.
fn end_of(day: Day) -> TimeUs {
    TimeUs(day.end().0 - 1)
}

/// When a record of this moment lapses for this reader, holds left aside.
fn lapse(account: &Account, request: &Request, at: TimeUs) -> TimeUs {
    match request.reader {
        Reader::Account => account.policy.ends_at(request.class, at, at),
        Reader::Compliance => account.policy.kept_until(request.class, at, at),
    }
}

/// The moments of an export: at or after the first, before the second.
pub(super) fn span(request: &Request, at: TimeUs) -> (TimeUs, TimeUs) {
    let first = Day(-40_000).start();
    (
        request.from.unwrap_or(first).max(first),
        request.to.unwrap_or(at).min(TimeUs::NEVER),
    )
}

/// What a request may ask for.
pub(super) fn check(request: &Request) -> Result<()> {
    match (request.class, request.format) {
        (Class::Call | Class::Message, _) | (Class::CampaignReport, Format::Csv) => {}
        (Class::CampaignReport, _) => {
            return Err(VaultError::invalid("format", "campaign reports are exported as csv"));
        }
        _ => {
            return Err(VaultError::invalid(
                "class",
                "expected call, message or campaign_report",
            ));
        }
    }
    check_span(request.from, request.to)
}

/// A span does not end before it begins.
pub(super) fn check_span(from: Option<TimeUs>, to: Option<TimeUs>) -> Result<()> {
    match (from, to) {
        (Some(from), Some(to)) if to < from => Err(VaultError::invalid("to", "lies before `from`")),
        _ => Ok(()),
    }
}

#[derive(Default)]
struct Sids(Vec<Sid>);

#[async_trait]
impl Visit for Sids {
    async fn records(&mut self, records: Vec<Record>) -> Result<()> {
        self.0.extend(records.iter().map(Record::sid));
        Ok(())
    }
}
