//! Every recording of a span of time as one tar archive, its manifest last. How long it is, is known before any audio is
//! read.

use bytes::Bytes;
use callvault_core::{
    KeyId, Sid, TimeUs,
    hold::{Reader, access, may_read},
    record::AudioFormat,
    time::SECOND_US,
};
use callvault_seal::digest::Hasher;
use callvault_store::rows::{RecordingQuery, RecordingRow};
use futures::TryStreamExt as _;
use serde_json::json;

use super::{Passage, Sink, Snapshot, Written, changed, plan::check_span, tar};
use crate::{
    deletion::facts_of,
    error::{Result, VaultError},
    recording::{RecordingView, view_of},
    vault::{Account, Vault},
};

/// The most recordings of one archive.
pub const MAX_RECORDINGS: usize = 100_000;
/// Rows asked for at once.
const PAGE: u32 = 500;
/// As long as any checksum.
const NO_SHA256: &str = "0000000000000000000000000000000000000000000000000000000000000000";
const MANIFEST: &str = "manifest.json";

/// Which recordings an archive takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchiveRequest {
    /// Began at or after; from the first one if absent.
    pub from: Option<TimeUs>,
    /// Began before; the snapshot's moment if absent.
    pub to: Option<TimeUs>,
    /// Who reads.
    pub reader: Reader,
}

/// An archive, planned.
pub struct Archive {
    account: Account,
    request: ArchiveRequest,
    snapshot: Snapshot,
    members: Vec<Member>,
    manifest_bytes: u64,
    bytes: u64,
}

struct Member {
    sid: Sid,
    key: KeyId,
}

impl Vault {
    /// Plans an archive of the recordings that can be read now.
    ///
    /// # Errors
    /// [`VaultError::Invalid`] for a span that ends before it begins or holds more than [`MAX_RECORDINGS`]; those of the
    /// stores.
    pub async fn plan_archive(&self, account: Account, request: &ArchiveRequest) -> Result<Archive> {
        self.plan_archive_at(account, request, self.now()).await
    }

    /// Plans the archive of this snapshot again. Nothing when it is not what it was.
    ///
    /// # Errors
    /// As [`Vault::plan_archive`].
    pub async fn resume_archive(
        &self,
        account: Account,
        request: &ArchiveRequest,
        snapshot: Snapshot,
    ) -> Result<Option<Archive>> {
        if snapshot.at > self.now() {
            return Ok(None);
        }
        match self.plan_archive_at(account, request, snapshot.at).await {
            Ok(archive) => Ok(Some(archive).filter(|archive| archive.snapshot == snapshot)),
            Err(error) if error.is_conflict() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn plan_archive_at(&self, account: Account, request: &ArchiveRequest, at: TimeUs) -> Result<Archive> {
        check_span(request.from, request.to)?;
        let mut archive = Archive {
            account,
            request: *request,
            snapshot: Snapshot { at, mark: [0; 16] },
            members: Vec::new(),
            manifest_bytes: 0,
            bytes: 0,
        };
        let (from, to) = (request.from.unwrap_or_default(), request.to.unwrap_or(at));
        let mut marked = Hasher::sha256();
        marked.update(format!("archive 1 {} {} {:?} {}\n", from.0, to.0, request.reader, at.0).as_bytes());
        let mut query = RecordingQuery {
            from: request.from,
            to: Some(to),
            limit: PAGE,
            ..RecordingQuery::default()
        };
        loop {
            let rows = self.catalog.list_recordings(&archive.account.sid, &query).await?;
            let Some(last) = rows.last() else { break };
            query.after = Some((last.at, last.sid));
            archive.add(self, &rows, &mut marked).await?;
        }
        let text = hex::encode(marked.finish());
        archive.snapshot.mark = archive.account.keys.blind.hash("export", &text);
        archive.manifest_bytes += archive.head().len() as u64 + TAIL.len() as u64;
        archive.bytes += tar::member_bytes(archive.manifest_bytes) + tar::END as u64;
        Ok(archive)
    }
}

const TAIL: &str = "\n]}\n";

impl Archive {
    /// What names its bytes.
    #[must_use]
    pub const fn snapshot(&self) -> Snapshot {
        self.snapshot
    }

    /// How long it is.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many recordings it holds.
    #[must_use]
    pub fn recordings(&self) -> u64 {
        self.members.len() as u64
    }

    /// The moment before which its recordings began.
    #[must_use]
    pub fn to(&self) -> TimeUs {
        self.request.to.unwrap_or(self.snapshot.at)
    }

    /// Plans those of these recordings that could be read at the snapshot's moment.
    async fn add(&mut self, vault: &Vault, rows: &[RecordingRow], marked: &mut Hasher) -> Result<()> {
        let now = vault.now();
        let keys: Vec<KeyId> = rows.iter().map(|row| row.key).collect();
        let secrets = vault.keys.find_all(&self.account.sid, &keys).await?;
        for row in rows {
            if !self.may_read(row, self.snapshot.at) {
                continue;
            }
            let secret = secrets
                .get(&row.key)
                .filter(|_| self.may_read(row, now))
                .ok_or_else(changed)?;
            if self.members.len() == MAX_RECORDINGS {
                let reason = format!("more than {MAX_RECORDINGS} recordings; ask for a shorter span");
                return Err(VaultError::invalid("to", reason));
            }
            let view = view_of(&self.account, row, secret)?;
            let entry = entry(&view, NO_SHA256, self.members.is_empty());
            marked.update(format!("{} {} {}\n", row.sid, row.key, row.bytes).as_bytes());
            self.manifest_bytes += entry.len() as u64;
            self.bytes += tar::member_bytes(row.bytes);
            self.members.push(Member {
                sid: row.sid,
                key: row.key,
            });
        }
        Ok(())
    }

    fn may_read(&self, row: &RecordingRow, at: TimeUs) -> bool {
        let access = access(&self.account.policy, &self.account.holds, &facts_of(row), at);
        may_read(access, self.request.reader)
    }

    fn head(&self) -> String {
        let from = self.request.from.map(|from| from.to_string());
        format!(
            "{{\"account\":{},\"from\":{},\"to\":{},\"at\":{},\"snapshot\":\"{}\",\"recordings\":[",
            json!(self.account.sid.as_str()),
            json!(from),
            json!(self.to().to_string()),
            json!(self.snapshot.at.to_string()),
            self.snapshot
        )
    }

    /// Writes it.
    ///
    /// # Errors
    /// As [`super::Export::write`].
    pub async fn write(&self, vault: &Vault, passage: Passage, sink: &mut dyn Sink) -> Result<Written> {
        let mut writer = Writer {
            sink,
            hasher: passage.sha256.then(Hasher::sha256),
            skip_bytes: passage.skip_bytes,
            bytes: 0,
        };
        let mut manifest = self.head();
        for (count, member) in (1..).zip(&self.members) {
            let (view, sha256) = self.write_member(vault, member, &mut writer).await?;
            manifest.push_str(&entry(&view, &sha256, count == 1));
            writer.sink.progress(count);
        }
        manifest.push_str(TAIL);
        if manifest.len() as u64 != self.manifest_bytes {
            return Err(changed());
        }
        let header = tar::header(MANIFEST, self.manifest_bytes, seconds(self.snapshot.at));
        writer.pass(header.to_vec()).await?;
        writer.pass(manifest).await?;
        let zeros = vec![0; tar::padding(self.manifest_bytes) + tar::END];
        writer.pass(zeros).await?;
        Ok(Written {
            records: self.members.len() as u64,
            bytes: writer.bytes,
            sha256: writer.hasher.map(|hasher| hex::encode(hasher.finish())),
        })
    }

    async fn write_member(
        &self,
        vault: &Vault,
        member: &Member,
        writer: &mut Writer<'_>,
    ) -> Result<(RecordingView, String)> {
        let (account, reader) = (&self.account.sid, self.request.reader);
        let row = vault.catalog.find_recording(account, member.sid).await?;
        let row = row.filter(|row| row.key == member.key).ok_or_else(changed)?;
        let secret = vault.keys.find(account, row.key).await?.ok_or_else(changed)?;
        let view = view_of(&self.account, &row, &secret)?;
        let gone = |error| match error {
            VaultError::NotFound { .. } => changed(),
            error => error,
        };
        let audio = vault.read_recording(account, member.sid, 0..row.bytes, reader).await;
        let mut audio = std::pin::pin!(audio.map_err(gone)?);
        let header = tar::header(&name_of(&view), row.bytes, seconds(row.at));
        writer.pass(header.to_vec()).await?;
        let mut sha256 = Hasher::sha256();
        while let Some(piece) = audio.try_next().await.map_err(gone)? {
            sha256.update(&piece);
            writer.pass(piece).await?;
        }
        writer.pass(vec![0; tar::padding(row.bytes)]).await?;
        Ok((view, hex::encode(sha256.finish())))
    }
}

/// A recording's line of the manifest. The end of its retention is left out: it may change.
fn entry(view: &RecordingView, sha256: &str, is_first: bool) -> String {
    let before = if is_first { "\n" } else { ",\n" };
    let entry = json!({
        "file": name_of(view), "sid": view.sid, "call_sid": view.call_sid, "at": view.at.to_string(),
        "bytes": view.bytes, "sha256": sha256, "format": view.meta.format, "channels": view.meta.channels,
        "sample_rate_hz": view.meta.sample_rate_hz, "duration_ms": view.meta.duration_ms,
        "consent": view.meta.consent, "parties": view.meta.parties,
    });
    format!("{before}{entry}")
}

fn seconds(at: TimeUs) -> u64 {
    u64::try_from(at.0.div_euclid(SECOND_US)).unwrap_or(0)
}

/// A member's name: it holds no personal data, as the name of the file that came in may.
fn name_of(view: &RecordingView) -> String {
    let kind = match view.meta.format {
        AudioFormat::Wav => "wav",
        AudioFormat::Mp3 => "mp3",
    };
    format!("recordings/{}.{kind}", view.sid)
}

/// Passes on what the sink has not got yet.
struct Writer<'s> {
    sink: &'s mut dyn Sink,
    hasher: Option<Hasher>,
    skip_bytes: u64,
    bytes: u64,
}

impl Writer<'_> {
    async fn pass(&mut self, bytes: impl Into<Bytes> + Send) -> Result<()> {
        let mut bytes: Bytes = bytes.into();
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&bytes);
        }
        self.bytes += bytes.len() as u64;
        let skipped = usize::try_from(self.skip_bytes).map_or(bytes.len(), |skip| skip.min(bytes.len()));
        self.skip_bytes -= skipped as u64;
        match bytes.split_off(skipped) {
            rest if rest.is_empty() => Ok(()),
            rest => self.sink.write(rest).await,
        }
    }
}
