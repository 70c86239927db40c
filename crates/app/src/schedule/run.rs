//! One run: slices of what lapses soon, each written, read back, listed in a manifest and noted as exported.

use async_trait::async_trait;
use bytes::Bytes;
use callvault_core::{
    Class, Day, Sid, TimeUs,
    hold::{Reader, access, may_read},
    time::DAY_US,
};
use callvault_store::{
    Objects, Upload,
    rows::{PartitionRow, RecordingQuery, RecordingRow},
};
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Exported, Run, Schedule,
    object::{Writing, read_back, write_object},
};
use crate::{
    conversion::{Pieces, decide_conversion},
    deletion::facts_of,
    error::{Result, VaultError},
    export::{Passage, Request, Sink},
    forecast::all_days,
    recording::{RecordingView, view_of},
    vault::{Account, Vault},
};

/// Recordings of a slice, and the audio after which it ends early.
const SLICE_RECORDINGS: usize = 200;
const SLICE_BYTES: u64 = 1024 * 1024 * 1024;
/// Rows asked for at once.
const PAGE: u32 = 500;
/// Manifests of a run are numbered with this many digits.
const DIGITS: usize = 5;

/// Where a run is, between two slices.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The last recording that was looked at.
    after: Option<(TimeUs, Sid)>,
    /// Whether every recording was.
    past_recordings: bool,
    /// Slices that are done.
    slices: u32,
}

/// Whether a slice left something to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// There may be more.
    Slice,
    /// Nothing that lapses soon is left.
    End,
}

/// A run with what it works on.
pub(crate) struct Slices<'a> {
    pub vault: &'a Vault,
    pub account: &'a Account,
    pub schedule: &'a Schedule,
    pub place: &'a dyn Objects,
    pub writing: &'a mut dyn Writing,
}

impl Slices<'_> {
    /// Exports the next part of what lapses soon.
    ///
    /// # Errors
    /// Those of the target and the stores; [`VaultError::Damaged`] when what is read back is not what was written.
    pub(crate) async fn next(&mut self, run: &mut Run, progress: &mut Progress) -> Result<Stop> {
        let classes: Vec<Class> = self.schedule.classes.iter().copied().collect();
        let mut exported = self.vault.exported(self.account, &classes).await?;
        if self.schedule.classes.contains(&Class::Recording) && !progress.past_recordings {
            let due = self.due_recordings(&exported, progress).await?;
            if !due.is_empty() {
                self.export_recordings(&due, &mut exported, run, progress).await?;
                return Ok(Stop::Slice);
            }
        }
        for class in [Class::Call, Class::Message] {
            if self.schedule.classes.contains(&class)
                && let Some(row) = self.due_day(class, &exported).await?
            {
                self.export_day(&row, &mut exported, run, progress).await?;
                return Ok(Stop::Slice);
            }
        }
        self.vault.forget_gone_marks(self.account, &exported).await?;
        Ok(Stop::End)
    }

    /// What ends before this moment is due.
    fn horizon(&self) -> TimeUs {
        TimeUs(
            self.vault
                .now()
                .0
                .saturating_add(i64::from(self.schedule.days_before) * DAY_US),
        )
    }

    /// The next recordings that lapse soon and were not exported.
    async fn due_recordings(&self, exported: &Exported, progress: &mut Progress) -> Result<Vec<RecordingView>> {
        let (now, horizon) = (self.vault.now(), self.horizon());
        let account = self.account;
        let is_due = |row: &RecordingRow| {
            account.policy.ends_at(Class::Recording, row.at, row.kept_since) <= horizon
                && !exported.has_recording_at(&self.schedule.target, row.sid)
                && may_read(
                    access(&account.policy, &account.holds, &facts_of(row), now),
                    Reader::Account,
                )
        };
        let (mut due, mut bytes) = (Vec::new(), 0);
        loop {
            let query = RecordingQuery {
                after: progress.after,
                limit: PAGE,
                ..RecordingQuery::default()
            };
            let rows = self.vault.catalog.list_recordings(&account.sid, &query).await?;
            if rows.is_empty() {
                progress.past_recordings = true;
                return Ok(due);
            }
            let keys: Vec<_> = rows.iter().map(|row| row.key).collect();
            let secrets = self.vault.keys.find_all(&account.sid, &keys).await?;
            for row in &rows {
                progress.after = Some((row.at, row.sid));
                let Some(secret) = secrets.get(&row.key).filter(|_| is_due(row)) else {
                    continue;
                };
                due.push(view_of(account, row, secret)?);
                bytes += row.bytes;
                if due.len() == SLICE_RECORDINGS || bytes >= SLICE_BYTES {
                    return Ok(due);
                }
            }
        }
    }

    async fn export_recordings(
        &mut self,
        due: &[RecordingView],
        exported: &mut Exported,
        run: &mut Run,
        progress: &mut Progress,
    ) -> Result<()> {
        let (mut entries, mut sids, mut written_bytes) = (Vec::new(), Vec::new(), 0);
        for view in due {
            match self.export_recording(view).await {
                Ok((entry, bytes)) => {
                    entries.push(entry);
                    sids.push(view.sid);
                    written_bytes += bytes;
                }
                // It lapsed or was deleted meanwhile.
                Err(VaultError::NotFound { what: "recording" }) => {}
                Err(error) => return Err(error),
            }
        }
        self.write_manifest(run, progress, &entries).await?;
        self.vault
            .mark_recordings(self.account, &self.schedule.target, exported, &sids)
            .await?;
        run.recordings += sids.len() as u64;
        run.bytes += written_bytes;
        Ok(())
    }

    /// Writes a recording and reads it back.
    async fn export_recording(&mut self, view: &RecordingView) -> Result<(Value, u64)> {
        let wanted = self.schedule.audio_format.map(|to| decide_conversion(&view.meta, to));
        let (mut conversion, mut not_converted) = match wanted {
            None | Some(Ok(None)) => (None, None),
            Some(Ok(Some(conversion))) => (Some(conversion), None),
            Some(Err(refusal)) => (None, Some(refusal.reason)),
        };
        let sid = &self.account.sid;
        let mut converted = None;
        if let Some(wanted) = conversion {
            match self.vault.convert_recording(sid, view, wanted, Reader::Account).await {
                Ok(audio) => converted = Some(audio.audio),
                // What cannot be decoded is exported as it is.
                Err(VaultError::Refused(refusal)) if refusal.code == "not-convertible" => {
                    (conversion, not_converted) = (None, Some(refusal.reason));
                }
                Err(error) => return Err(error),
            }
        }
        let format = conversion.map_or(view.meta.format, |conversion| conversion.to);
        let audio: Pieces = match converted {
            Some(audio) => audio,
            None => {
                let audio = self.vault.read_recording(sid, view.sid, 0..view.bytes, Reader::Account);
                audio.await?.boxed()
            }
        };
        let name = format!("recordings/{}/{}.{}", view.at.day(), view.sid, format.as_str());
        let (bytes, sha256) = write_object(self.place, self.writing, &name, audio).await?;
        let entry = json!({
            "file": name, "sid": view.sid, "call_sid": view.call_sid, "at": view.at.to_string(), "bytes": bytes,
            "sha256": sha256, "format": format, "channels": view.meta.channels,
            "sample_rate_hz": view.meta.sample_rate_hz, "duration_ms": view.meta.duration_ms,
            "consent": view.meta.consent, "consent_policy_version": view.meta.policy_version, "parties": view.meta.parties, "lapses_at": view.ends_at.to_string(),
            "not_converted": not_converted,
        });
        Ok((entry, bytes))
    }

    /// The first day of a class that lapses soon and was not exported as it is.
    async fn due_day(&self, class: Class, exported: &Exported) -> Result<Option<PartitionRow>> {
        let (now, horizon) = (self.vault.now(), self.horizon());
        let policy = &self.account.policy;
        let ends = |row: &PartitionRow, at: TimeUs| policy.ends_at(row.class, at, row.day.start());
        let rows = self
            .vault
            .catalog
            .list_partitions(&self.account.sid, class, all_days())
            .await?;
        Ok(rows.into_iter().find(|row| {
            let rows = rows_of(row);
            rows > 0
                && ends(row, row.day.start()) <= horizon
                && ends(row, TimeUs(row.day.end().0 - 1)) > now
                && !exported.has_day_at(&self.schedule.target, class, row.day, rows)
        }))
    }

    /// Writes a day of calls or messages and reads it back.
    async fn export_day(
        &mut self,
        row: &PartitionRow,
        exported: &mut Exported,
        run: &mut Run,
        progress: &mut Progress,
    ) -> Result<()> {
        let (class, day) = (row.class, row.day);
        let request = Request {
            class,
            format: self.schedule.records_format,
            from: Some(day.start()),
            to: Some(day.end()),
            reader: Reader::Account,
        };
        let account = self.vault.get_account(&self.account.sid).await?;
        let export = self.vault.plan_export(account, &request).await?;
        let name = day_name(class, day, request.format.as_str());
        let mut sink = UploadSink {
            upload: self.place.begin(&name).await?,
            writing: &mut *self.writing,
        };
        let passage = Passage {
            skip_bytes: 0,
            sha256: true,
        };
        let written = match export.write(self.vault, passage, &mut sink).await {
            Ok(written) => written,
            Err(error) => {
                // What is left of the upload is the target's to clean up, should this fail too.
                let _ = sink.upload.abort().await;
                return Err(error);
            }
        };
        if written.records == 0 {
            sink.upload.abort().await?;
        } else {
            sink.upload.finish().await?;
            let sha256 = written.sha256.unwrap_or_default();
            read_back(self.place, self.writing, &name, written.bytes, &sha256).await?;
            let entry = json!({
                "file": name, "class": class.as_str(), "day": day.to_string(), "records": written.records,
                "bytes": written.bytes, "sha256": sha256,
            });
            self.write_manifest(run, progress, &[entry]).await?;
        }
        self.vault
            .mark_day(
                self.account,
                &self.schedule.target,
                exported,
                (class, day),
                rows_of(row),
            )
            .await?;
        run.days += 1;
        run.records += written.records;
        run.bytes += written.bytes;
        Ok(())
    }

    async fn write_manifest(&mut self, run: &Run, progress: &mut Progress, entries: &[Value]) -> Result<()> {
        let name = format!("manifests/{}-{:0DIGITS$}.json", run.id, progress.slices);
        let manifest = json!({
            "account": self.account.sid, "run": run.id, "written_at": self.vault.now().to_string(), "objects": entries,
        });
        let text = Bytes::from(format!("{manifest:#}\n"));
        let pieces = futures::stream::iter([Ok(text)]).boxed();
        write_object(self.place, self.writing, &name, pieces).await?;
        progress.slices += 1;
        Ok(())
    }
}

fn rows_of(row: &PartitionRow) -> u64 {
    (row.loose_rows + row.sealed_rows).saturating_sub(row.tombstones)
}

fn day_name(class: Class, day: Day, ending: &str) -> String {
    let folder = match class {
        Class::Message => "messages",
        _ => "calls",
    };
    format!("{folder}/{day}.{ending}")
}

/// Passes an export's bytes to an upload.
struct UploadSink<'w> {
    upload: Box<dyn Upload>,
    writing: &'w mut dyn Writing,
}

#[async_trait]
impl Sink for UploadSink<'_> {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.upload.write(bytes).await?;
        self.writing.piece().await
    }
}
