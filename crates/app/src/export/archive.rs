//! Every recording of a span of time as one tar archive, its manifest last. How long it is, is known before any audio is
//! read, unless some of it is encoded first.

mod converted;

use bytes::Bytes;
use callvault_core::{
    KeyId, Sid, TimeUs,
    hold::{Reader, access, may_read},
    record::AudioFormat,
    time::SECOND_US,
};
use callvault_seal::digest::Hasher;
use callvault_store::rows::{RecordingQuery, RecordingRow};
use futures::{Stream, TryStreamExt as _};
use serde_json::json;

use super::{Passage, Sink, Snapshot, Written, changed, plan::check_span, tar};
use crate::{
    conversion::{Conversion, decide_conversion},
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
    /// What every recording is delivered in; each as it came in if absent.
    pub format: Option<AudioFormat>,
    /// Who reads.
    pub reader: Reader,
}

/// An archive, planned.
pub struct Archive {
    account: Account,
    request: ArchiveRequest,
    snapshot: Snapshot,
    members: Vec<Member>,
    /// The manifest's length and the archive's, where they are known before the end.
    lengths: Option<Lengths>,
}

#[derive(Clone, Copy)]
struct Lengths {
    manifest_bytes: u64,
    bytes: u64,
}

struct Member {
    sid: Sid,
    key: KeyId,
    delivery: Delivery,
}

/// How a recording is delivered.
enum Delivery {
    /// As it came in.
    Original,
    /// In another format.
    Converted(Conversion),
    /// As it came in, because it cannot be converted.
    Unconvertible(String),
}

/// A recording as it was delivered.
struct Delivered {
    format: AudioFormat,
    bytes: u64,
    sha256: String,
    not_converted: Option<String>,
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
            lengths: Some(Lengths {
                manifest_bytes: 0,
                bytes: 0,
            }),
        };
        let (from, to) = (request.from.unwrap_or_default(), request.to.unwrap_or(at));
        let mut marked = Hasher::sha256();
        let asked = format!(
            "archive 1 {} {} {:?} {} {:?}\n",
            from.0, to.0, request.reader, at.0, request.format
        );
        marked.update(asked.as_bytes());
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
        let ends = archive.head().len() as u64 + TAIL.len() as u64;
        if let Some(lengths) = &mut archive.lengths {
            lengths.manifest_bytes += ends;
            lengths.bytes += tar::member_bytes(lengths.manifest_bytes) + tar::END as u64;
        }
        let encodes = |member: &Member| matches!(&member.delivery, Delivery::Converted(conversion) if conversion.to == AudioFormat::Mp3);
        if archive.members.iter().any(encodes) {
            self.mp3_encoder.check().await?;
        }
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

    /// How long it is, if that is known before it is written.
    #[must_use]
    pub fn bytes(&self) -> Option<u64> {
        self.lengths.map(|lengths| lengths.bytes)
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
            let delivery = match self.request.format.map(|to| decide_conversion(&view.meta, to)) {
                None | Some(Ok(None)) => Delivery::Original,
                Some(Ok(Some(conversion))) => Delivery::Converted(conversion),
                Some(Err(refusal)) => Delivery::Unconvertible(refusal.reason),
            };
            marked.update(format!("{} {} {}\n", row.sid, row.key, row.bytes).as_bytes());
            self.add_lengths(&view, &delivery);
            self.members.push(Member {
                sid: row.sid,
                key: row.key,
                delivery,
            });
        }
        Ok(())
    }

    fn add_lengths(&mut self, view: &RecordingView, delivery: &Delivery) {
        let mut delivered = Delivered {
            format: view.meta.format,
            bytes: view.bytes,
            sha256: NO_SHA256.to_owned(),
            not_converted: None,
        };
        match delivery {
            Delivery::Original => {}
            Delivery::Unconvertible(reason) => delivered.not_converted = Some(reason.clone()),
            Delivery::Converted(conversion) => match conversion.bytes {
                Some(bytes) => (delivered.format, delivered.bytes) = (conversion.to, bytes),
                None => self.lengths = None,
            },
        }
        if let Some(lengths) = &mut self.lengths {
            lengths.manifest_bytes += entry(view, &delivered, self.members.is_empty()).len() as u64;
            lengths.bytes += tar::member_bytes(delivered.bytes);
        }
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
            let (view, delivered) = self.write_member(vault, member, &mut writer).await?;
            manifest.push_str(&entry(&view, &delivered, count == 1));
            writer.sink.progress(count);
        }
        manifest.push_str(TAIL);
        let manifest_bytes = manifest.len() as u64;
        if self
            .lengths
            .is_some_and(|lengths| lengths.manifest_bytes != manifest_bytes)
        {
            return Err(changed());
        }
        let header = tar::header(MANIFEST, manifest_bytes, seconds(self.snapshot.at));
        writer.pass(header.to_vec()).await?;
        writer.pass(manifest).await?;
        let zeros = vec![0; tar::padding(manifest_bytes) + tar::END];
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
    ) -> Result<(RecordingView, Delivered)> {
        let account = &self.account.sid;
        let row = vault.catalog.find_recording(account, member.sid).await?;
        let row = row.filter(|row| row.key == member.key).ok_or_else(changed)?;
        let secret = vault.keys.find(account, row.key).await?.ok_or_else(changed)?;
        let view = view_of(&self.account, &row, &secret)?;
        let delivered = match &member.delivery {
            Delivery::Original => self.write_original(vault, &view, None, writer).await,
            Delivery::Unconvertible(reason) => self.write_original(vault, &view, Some(reason.clone()), writer).await,
            Delivery::Converted(conversion) => self.write_converted(vault, &view, *conversion, writer).await,
        };
        let delivered = delivered.map_err(|error| match error {
            VaultError::NotFound { .. } => changed(),
            error => error,
        })?;
        Ok((view, delivered))
    }

    async fn write_original(
        &self,
        vault: &Vault,
        view: &RecordingView,
        not_converted: Option<String>,
        writer: &mut Writer<'_>,
    ) -> Result<Delivered> {
        let reader = self.request.reader;
        let audio = vault
            .read_recording(&self.account.sid, view.sid, 0..view.bytes, reader)
            .await?;
        let sha256 = writer.member(view, view.meta.format, view.bytes, audio).await?;
        Ok(Delivered {
            format: view.meta.format,
            bytes: view.bytes,
            sha256,
            not_converted,
        })
    }
}

/// A recording's line of the manifest. The end of its retention is left out: it may change.
fn entry(view: &RecordingView, delivered: &Delivered, is_first: bool) -> String {
    let before = if is_first { "\n" } else { ",\n" };
    let mut entry = json!({
        "file": name_of(view, delivered.format), "sid": view.sid, "call_sid": view.call_sid, "at": view.at.to_string(),
        "bytes": delivered.bytes, "sha256": delivered.sha256, "format": delivered.format, "channels": view.meta.channels,
        "sample_rate_hz": view.meta.sample_rate_hz, "duration_ms": view.meta.duration_ms,
        "consent": view.meta.consent, "consent_policy_version": view.meta.policy_version, "parties": view.meta.parties,
    });
    if delivered.format != view.meta.format {
        entry["converted_from"] = json!(view.meta.format);
    }
    if let Some(reason) = &delivered.not_converted {
        entry["not_converted"] = json!(reason);
    }
    format!("{before}{entry}")
}

fn seconds(at: TimeUs) -> u64 {
    u64::try_from(at.0.div_euclid(SECOND_US)).unwrap_or(0)
}

/// A member's name: it holds no personal data, as the name of the file that came in may.
fn name_of(view: &RecordingView, format: AudioFormat) -> String {
    format!("recordings/{}.{}", view.sid, format.as_str())
}

/// Passes on what the sink has not got yet.
struct Writer<'s> {
    sink: &'s mut dyn Sink,
    hasher: Option<Hasher>,
    skip_bytes: u64,
    bytes: u64,
}

impl Writer<'_> {
    /// Passes a recording on as a member of this length. Returns its SHA-256.
    async fn member(
        &mut self,
        view: &RecordingView,
        format: AudioFormat,
        bytes: u64,
        audio: impl Stream<Item = Result<Bytes>> + Send,
    ) -> Result<String> {
        let header = tar::header(&name_of(view, format), bytes, seconds(view.at));
        self.pass(header.to_vec()).await?;
        let (mut sha256, mut passed) = (Hasher::sha256(), 0);
        let mut audio = std::pin::pin!(audio);
        while let Some(piece) = audio.try_next().await? {
            sha256.update(&piece);
            passed += piece.len() as u64;
            self.pass(piece).await?;
        }
        if passed != bytes {
            return Err(changed());
        }
        self.pass(vec![0; tar::padding(bytes)]).await?;
        Ok(hex::encode(sha256.finish()))
    }

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
