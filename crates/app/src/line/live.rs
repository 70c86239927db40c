//! Calls that are answered here, while they go on.
//!
//! A live call is a job that the process that carries it holds a lease on. What is captured lies in parts, sealed under a key that
//! is in the job alone, wrapped in its epoch: whoever ends the job, this process or, after a crash, another one, makes the recording
//! of them, or lets the key go and nothing can be read any more.

use std::sync::Arc;

use bytes::Bytes;
use callvault_core::{
    AccountSid, KeyId, Sid, TimeUs,
    consent::{Consenting, Standing},
    record::{AudioFormat, Call, CallStatus, Record, RecordingMeta},
    time::SECOND_US,
};
use callvault_seal::{SecretKey, envelope};
use callvault_store::{
    StoreError,
    rows::{JobRow, KeyPurpose, KeyRow},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{CallOrder, LEASE_S, LIVE, Line, job_id, open, seal};
use crate::{
    conversion::{Shape, wav_head},
    error::{Result, VaultError},
    recording::NewRecording,
    vault::{Account, Vault},
};

/// How often the lease is renewed, at least.
pub const RENEW_S: i64 = 15;
/// Samples a second of what is captured.
const RATE_HZ: u32 = 8_000;
/// Bytes of a sample.
const SAMPLE_BYTES: u64 = 2;
/// The longest evidence that goes into a call's record; of a longer one the decision alone does.
const MAX_EVIDENCE_BYTES: usize = 8 * 1024;

/// What is known of a live call.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Live {
    pub call: Call,
    /// The order that it was placed for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    order: Option<CallOrder>,
    /// What is kept of the call beside its record's own fields.
    extra: Map<String, Value>,
    story: Option<Consenting>,
    take: Option<TakeNote>,
    /// Who is told of the message that the caller left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message_url: Option<String>,
    /// When it was last known to go on.
    seen_at: TimeUs,
    is_over: bool,
}

/// What is being captured.
#[derive(Clone, Serialize, Deserialize)]
struct TakeNote {
    sid: Sid,
    at: TimeUs,
    channels: u16,
    key: [u8; 16],
    epoch: u64,
    wrapped: Vec<u8>,
}

impl TakeNote {
    fn key_row(&self, account: &AccountSid) -> KeyRow {
        KeyRow {
            account: account.clone(),
            key: KeyId(self.key),
            purpose: KeyPurpose::Recording,
            epoch: self.epoch,
            wrapped: self.wrapped.clone(),
        }
    }

    const fn frame_bytes(&self) -> u64 {
        SAMPLE_BYTES * self.channels as u64
    }
}

/// Where the parts of an account's takes lie.
fn takes_of(account: &AccountSid) -> String {
    format!("takes/{account}/")
}

fn parts_of(account: &AccountSid, take: Sid) -> String {
    format!("{}{take}/", takes_of(account))
}

fn part_name(account: &AccountSid, take: Sid, n: u64) -> String {
    format!("{}{n:08}", parts_of(account, take))
}

fn part_key(secret: &SecretKey) -> SecretKey {
    secret.derive(b"callvault/take-part/v1")
}

/// A take that this process adds to.
struct OpenTake {
    secret: SecretKey,
    parts: u64,
}

/// A call that this process carries.
pub struct LiveCall {
    line: Arc<Line>,
    account: Account,
    row: JobRow,
    live: Live,
    take: Option<OpenTake>,
}

impl Line {
    /// Begins a live call: from now on it ends in a record, whatever happens, and whoever ordered it is told.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it was begun already; those of the catalog.
    pub async fn begin_live(
        self: &Arc<Self>,
        account: Account,
        call: Call,
        order: Option<CallOrder>,
    ) -> Result<LiveCall> {
        let id = job_id(LIVE, call.sid);
        let now = self.vault.now();
        let live = Live {
            call,
            order,
            extra: Map::new(),
            story: None,
            take: None,
            message_url: None,
            seen_at: now,
            is_over: false,
        };
        let mut row = self.job(&account, LIVE, &id, now, &live)?;
        // It is held from its first moment on: nobody who looks for work takes it for one that was left.
        row.lease_until = Some(now.plus_seconds(LEASE_S));
        row.leased_by = Some(self.vault.worker.to_string());
        row.attempts = 1;
        let known = self.vault.catalog.enqueue(&row).await?;
        if known.body != row.body {
            return Err(StoreError::Conflict { what: "live call" }.into());
        }
        Ok(LiveCall {
            line: Arc::clone(self),
            account,
            row,
            live,
            take: None,
        })
    }

    /// Ends a live call: of one that is over, and of one whose process died.
    pub(super) async fn run_live(&self, account: &Account, mut row: JobRow) -> Result<()> {
        let mut live: Live = open(account, &row.id, &row.body)?;
        if !live.is_over {
            live.fail();
        }
        if let Some(take) = &live.take {
            let recording = self.vault.keep_take(account, &live, take).await?;
            if let Some(recording) = recording {
                live.extra.insert("recording".to_owned(), json!(recording));
            }
            self.vault
                .delete_parts(&account.sid, &parts_of(&account.sid, take.sid))
                .await?;
        }
        // What the call came to is decided: whoever repeats the rest says the same.
        (live.take, live.is_over) = (None, true);
        row.body = seal(account, &row.id, &live)?;
        self.vault.catalog.renew(&row).await?;
        let call = live.record();
        self.keep(account, Record::Call(call.clone())).await?;
        if let Some(order) = &live.order {
            self.tell_of_call(account, order, &call, live.recording(), true).await?;
        }
        if let (Some(url), Some(recording)) = (&live.message_url, live.recording()) {
            self.tell_of_message_left(account, url, &call, recording).await?;
        }
        let data =
            json!({ "sid": call.sid.to_string(), "status": call.status.as_str(), "duration_s": call.duration_s });
        let id = row.id.clone();
        self.emit(account, "call.ended", &id, self.vault.now(), data).await?;
        self.finish(row).await
    }
}

impl Live {
    /// The process that carried the call died.
    fn fail(&mut self) {
        self.call.status = CallStatus::Failed;
        self.end_at(self.seen_at);
        self.extra.insert("interrupted".to_owned(), json!(true));
    }

    fn end_at(&mut self, at: TimeUs) {
        let seconds = |from: TimeUs| u32::try_from((at.0 - from.0).max(0) / SECOND_US).unwrap_or(u32::MAX);
        self.call.ended_at = Some(at);
        self.call.duration_s = seconds(self.call.at);
        self.call.talk_s = self.call.answered_at.map_or(0, seconds);
    }

    /// The recording that was made of it.
    fn recording(&self) -> Option<Sid> {
        self.extra
            .get("recording")
            .and_then(Value::as_str)
            .and_then(|sid| sid.parse().ok())
    }

    /// The call's record, with the consent it rests on.
    fn record(&self) -> Call {
        let mut extra = self.extra.clone();
        if let Some(story) = &self.story {
            let mut consent = json!({
                "rule": story.rule(), "policy_version": story.policy_version(), "recording_on": story.is_on(),
                "decision": story.standing(),
            });
            let events: Vec<_> = story
                .events()
                .iter()
                .map(|(at, event)| json!({ "at": at.to_string(), "what": event }))
                .collect();
            let events = Value::Array(events);
            if events.to_string().len() <= MAX_EVIDENCE_BYTES {
                consent["events"] = events;
            }
            extra.insert("consent".to_owned(), consent);
        }
        let mut call = self.call.clone();
        call.extra = (!extra.is_empty()).then(|| Value::Object(extra).to_string().into_boxed_str());
        call
    }
}

impl LiveCall {
    /// The account.
    #[must_use]
    pub const fn account(&self) -> &Account {
        &self.account
    }

    /// The call's SID.
    #[must_use]
    pub const fn sid(&self) -> Sid {
        self.live.call.sid
    }

    /// Notes that the call was answered.
    ///
    /// # Errors
    /// As [`LiveCall::save`].
    pub async fn answer(&mut self, at: TimeUs) -> Result<()> {
        self.live.call.answered_at = Some(at);
        self.live.call.status = CallStatus::InProgress;
        self.save().await?;
        match &self.live.order {
            Some(order) => {
                let told = self
                    .line
                    .tell_of_call(&self.account, order, &self.live.call, None, false);
                told.await
            }
            None => Ok(()),
        }
    }

    /// Notes something about the call that goes into its record.
    pub fn note(&mut self, name: &str, value: Value) {
        self.live.extra.insert(name.to_owned(), value);
    }

    /// Notes that the caller leaves a message, and who is told of it once the call is over.
    pub fn leave_message(&mut self, url: Option<&str>) {
        self.note("voicemail", true.into());
        self.live.message_url = url.map(ToOwned::to_owned);
    }

    /// The call so far.
    #[must_use]
    pub const fn call(&self) -> &Call {
        &self.live.call
    }

    /// What ordered the call, if anything did.
    #[must_use]
    pub const fn order(&self) -> Option<&CallOrder> {
        self.live.order.as_ref()
    }

    /// Keeps the call's consent as it stands.
    ///
    /// # Errors
    /// As [`LiveCall::save`].
    pub async fn tell(&mut self, story: &Consenting) -> Result<()> {
        self.live.story = Some(story.clone());
        self.save().await
    }

    /// Says that the call goes on, if that was not said lately.
    ///
    /// # Errors
    /// As [`LiveCall::save`].
    pub async fn renew(&mut self) -> Result<()> {
        match self.line.vault.now() < self.live.seen_at.plus_seconds(RENEW_S) {
            true => Ok(()),
            false => self.save().await,
        }
    }

    /// Makes what is known durable, and says that the call goes on. To be called at least every [`RENEW_S`].
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when another process ended the call, because this one was silent for a minute.
    pub async fn save(&mut self) -> Result<()> {
        let now = self.line.vault.now();
        self.live.seen_at = now;
        self.row.body = seal(&self.account, &self.row.id, &self.live)?;
        self.row.lease_until = Some(now.plus_seconds(LEASE_S));
        Ok(self.line.vault.catalog.renew(&self.row).await?)
    }

    /// Begins to capture, which rests on this story.
    ///
    /// # Errors
    /// As [`LiveCall::save`].
    pub async fn begin_take(&mut self, story: &Consenting, channels: u16) -> Result<()> {
        let vault = &self.line.vault;
        let at = vault.now();
        let (secret, key) = vault.keys.make(&self.account.sid, KeyPurpose::Recording)?;
        self.live.take = Some(TakeNote {
            sid: Account::fresh_sid(at)?,
            at,
            channels,
            key: key.key.0,
            epoch: key.epoch,
            wrapped: key.wrapped,
        });
        self.tell(story).await?;
        self.take = Some(OpenTake { secret, parts: 0 });
        Ok(())
    }

    /// Keeps the next samples: 16 bits each, little-endian, of all channels in turn.
    ///
    /// # Errors
    /// [`VaultError::NotFound`] without a take; [`StoreError::Conflict`] as [`LiveCall::save`]; those of the object store, and
    /// then the same samples may be handed in again.
    pub async fn write_take(&mut self, samples: Bytes) -> Result<()> {
        let none = VaultError::NotFound { what: "take" };
        let (Some(take), Some(note)) = (&mut self.take, &self.live.take) else {
            return Err(none);
        };
        let name = part_name(&self.account.sid, note.sid, take.parts);
        let sealed = envelope::seal(&part_key(&take.secret), name.as_bytes(), &samples)?;
        self.line.vault.objects.put(&name, sealed.into()).await?;
        take.parts += 1;
        let saved = self.save().await;
        if saved.is_err() {
            // Somebody else made the recording by now: nothing is added to what he removed.
            let _ = self.line.vault.objects.delete(&name).await;
        }
        saved
    }

    /// Destroys what was captured: its key goes first.
    ///
    /// # Errors
    /// Those of the stores; to be called again then.
    pub async fn destroy_take(&mut self, story: &Consenting) -> Result<()> {
        self.take = None;
        let note = self.live.take.take();
        if let Err(error) = self.tell(story).await {
            self.live.take = note;
            return Err(error);
        }
        let Some(note) = note else { return Ok(()) };
        let account = &self.account.sid;
        self.line
            .vault
            .delete_parts(account, &parts_of(account, note.sid))
            .await
    }

    /// The call is over. Its record and its recording are made by whoever works on the line next.
    ///
    /// # Errors
    /// Those of the catalog; the call ends then as one whose process died.
    pub async fn end(mut self, at: TimeUs, status: CallStatus, story: Option<&Consenting>) -> Result<()> {
        self.live.story = story.cloned().or(self.live.story.take());
        self.live.call.status = status;
        self.live.end_at(at);
        self.live.is_over = true;
        self.row.body = seal(&self.account, &self.row.id, &self.live)?;
        self.row.run_at = self.line.vault.now();
        self.line.vault.catalog.release(&self.row).await?;
        self.line.wake();
        Ok(())
    }
}

impl Vault {
    /// Makes a recording of a take's parts. Returns its SID, if there is one: a decision may have gone, or its term be over.
    async fn keep_take(&self, account: &Account, live: &Live, take: &TakeNote) -> Result<Option<Sid>> {
        let Some(Standing::Granted { consent }) = live.story.as_ref().map(Consenting::standing) else {
            return Ok(None);
        };
        if self.catalog.find_recording(&account.sid, take.sid).await?.is_some() {
            return Ok(Some(take.sid));
        }
        // An epoch that was destroyed took the key with it.
        let Some(secret) = self.keys.open(&take.key_row(&account.sid)).await? else {
            return Ok(None);
        };
        let mut parts = self.objects.list(&parts_of(&account.sid, take.sid)).await?;
        parts.sort_by(|a, b| a.name.cmp(&b.name));
        let bytes: u64 = parts
            .iter()
            .map(|part| part.bytes.saturating_sub(envelope::OVERHEAD_BYTES as u64))
            .sum();
        if bytes == 0 {
            return Ok(None);
        }
        let shape = Shape {
            channels: take.channels,
            sample_rate_hz: RATE_HZ,
        };
        let new = NewRecording {
            sid: take.sid,
            call_sid: Some(live.call.sid),
            at: take.at,
            meta: RecordingMeta {
                parties: [live.call.from.clone(), live.call.to.clone()],
                format: AudioFormat::Wav,
                channels: take.channels,
                sample_rate_hz: RATE_HZ,
                duration_ms: bytes / take.frame_bytes() * 1_000 / u64::from(RATE_HZ),
                consent: consent.clone(),
                policy_version: live.story.as_ref().map(Consenting::policy_version),
                file_name: None,
            },
        };
        let mut upload = match self.begin_decided(account, new).await {
            Ok(upload) => upload,
            Err(VaultError::Refused(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let key = part_key(&secret);
        let written = async {
            upload.write(&wav_head(shape, bytes)).await?;
            for part in &parts {
                let sealed = self.objects.get(&part.name).await?;
                let plain = zeroize::Zeroizing::new(envelope::open(&key, part.name.as_bytes(), &sealed)?);
                upload.write(&plain).await?;
            }
            Ok::<_, VaultError>(())
        };
        if let Err(error) = written.await {
            let _ = upload.abort().await;
            return Err(error);
        }
        match upload.finish().await {
            Ok(sid) => Ok(Some(sid)),
            Err(VaultError::RecordingKnown) => Ok(Some(take.sid)),
            Err(VaultError::Refused(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn delete_parts(&self, account: &AccountSid, below: &str) -> Result<()> {
        debug_assert!(below.starts_with(&takes_of(account)), "the account's own");
        for part in self.objects.list(below).await? {
            self.objects.delete(&part.name).await?;
        }
        Ok(())
    }

    /// Removes what the calls of an account that is closed were capturing.
    pub(crate) async fn delete_takes(&self, account: &AccountSid) -> Result<()> {
        self.delete_parts(account, &takes_of(account)).await
    }
}
