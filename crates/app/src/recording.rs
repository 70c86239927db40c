//! Recordings: sealed as they are written, read by range.

mod link;
mod lookup;

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use callvault_core::{
    AccountSid, Class, KeyId, ObjectId, Sid, TimeUs,
    hold::{Reader, access, may_read},
    record::RecordingMeta,
};
use callvault_seal::{
    SecretKey, envelope, random_bytes,
    stream::{DEFAULT_SEGMENT_BYTES, Decryptor, Encryptor, HEADER_BYTES, Layout},
};
use callvault_store::{
    Catalog, Objects, StoreError, Upload,
    catalog::object_names,
    rows::{KeyPurpose, KeyRow, RecordingQuery, RecordingRow},
};
use futures::Stream;

use crate::{
    deletion::facts_of,
    error::{Result, VaultError},
    ingest::MAX_FUTURE_S,
    vault::{Account, Vault},
};

pub use link::Link;

/// Audio read from the object store at once when a recording is read whole. Small range reads of S3 stall.
const READ_STEP_BYTES: u64 = 1024 * 1024;
/// Audio sealed at once: what fits into a core's own cache.
const SEAL_STEP_BYTES: usize = 256 * 1024;

/// Where a recording is heard, below the region's address.
#[must_use]
pub fn audio_path(account: &AccountSid, recording: Sid) -> String {
    format!("/v1/accounts/{account}/records/recordings/{recording}/audio")
}

/// What is known of a recording before its audio comes.
#[derive(Clone)]
pub struct NewRecording {
    /// Its SID; begins with `at`.
    pub sid: Sid,
    /// The call it belongs to.
    pub call_sid: Option<Sid>,
    /// When it began.
    pub at: TimeUs,
    /// Description and consent.
    pub meta: RecordingMeta,
}

/// A recording as readers see it.
#[derive(Clone)]
pub struct RecordingView {
    /// Its SID.
    pub sid: Sid,
    /// The call it belongs to.
    pub call_sid: Option<Sid>,
    /// When it began.
    pub at: TimeUs,
    /// Bytes of audio.
    pub bytes: u64,
    /// When its term ends, as things stand.
    pub ends_at: TimeUs,
    /// Description and consent.
    pub meta: RecordingMeta,
}

/// A recording being written. Nothing of it is visible until [`RecordingUpload::finish`].
pub struct RecordingUpload<'v> {
    vault: &'v Vault,
    row: RecordingRow,
    key: KeyRow,
    secret: SecretKey,
    name: String,
    cipher: Encryptor,
    upload: Box<dyn Upload>,
}

impl Vault {
    /// Begins a recording.
    ///
    /// # Errors
    /// [`VaultError::Refused`] when its term is over already; [`VaultError::Invalid`] for a moment in the future or a
    /// SID that does not begin with it; [`VaultError::RecordingKnown`].
    pub async fn begin_recording(&self, account: &Account, mut new: NewRecording) -> Result<RecordingUpload<'_>> {
        new.meta.policy_version = Some(self.decide_consent(account, &new.meta).await?);
        self.begin_decided(account, new).await
    }

    /// Begins a recording whose consent was decided, by the gate of its call.
    pub(crate) async fn begin_decided(&self, account: &Account, new: NewRecording) -> Result<RecordingUpload<'_>> {
        let now = self.now();
        if new.sid.at_ms().0 != new.at.0.div_euclid(1_000) * 1_000 {
            return Err(VaultError::invalid("sid", "does not begin with the recording's time"));
        }
        if new.at > now.plus_seconds(MAX_FUTURE_S) {
            return Err(VaultError::invalid("at", "lies in the future"));
        }
        account.check_keeping(Class::Recording, new.at, now)?;
        if self.was_deleted(&account.sid, new.sid).await? {
            return Err(refuse_deleted());
        }
        if self.catalog.find_recording(&account.sid, new.sid).await?.is_some() {
            return Err(VaultError::RecordingKnown);
        }
        let (secret, key) = self.keys.make(&account.sid, KeyPurpose::Recording)?;
        let object = ObjectId(random_bytes()?);
        let name = object_names::recording(&account.sid, object);
        let meta = serde_json::to_vec(&new.meta).map_err(|error| VaultError::invalid("meta", error.to_string()))?;
        let row = RecordingRow {
            account: account.sid.clone(),
            sid: new.sid,
            call_sid: new.call_sid,
            at: new.at,
            kept_since: now,
            key: key.key,
            object,
            bytes: 0,
            parties: [0, 1].map(|i| {
                new.meta
                    .parties
                    .get(i)
                    .map_or([0; 16], |number| account.number_hash(number))
            }),
            meta: envelope::seal(&secret.derive(b"callvault/recording-meta/v1"), &new.sid.0, &meta)?,
        };
        let cipher = Encryptor::new(&audio_key(&secret), &object.0, DEFAULT_SEGMENT_BYTES)?;
        self.catalog.stage_objects(std::slice::from_ref(&name), now).await?;
        let upload = self.objects.begin(&name).await?;
        Ok(RecordingUpload {
            vault: self,
            row,
            key,
            secret,
            name,
            cipher,
            upload,
        })
    }

    /// Stores a whole recording.
    ///
    /// # Errors
    /// As [`Vault::begin_recording`].
    pub async fn put_recording(&self, sid: &AccountSid, new: NewRecording, audio: &[u8]) -> Result<Sid> {
        let account = self.get_account(sid).await?;
        let mut upload = self.begin_recording(&account, new).await?;
        upload.write(audio).await?;
        upload.finish().await
    }

    /// Why a recording could not be added: it is there, it was deleted while it came, or something else failed.
    async fn explain_refusal(&self, row: &RecordingRow, error: StoreError) -> VaultError {
        if !matches!(error, StoreError::Conflict { .. }) {
            return error.into();
        }
        let account = self.get_account(&row.account).await;
        let deleted = self.was_deleted(&row.account, row.sid).await;
        let there = self.catalog.find_recording(&row.account, row.sid).await;
        match (account, deleted, there) {
            (Err(gone), _, _) => gone,
            (_, Ok(true), _) => refuse_deleted(),
            (_, _, Ok(Some(_))) => VaultError::RecordingKnown,
            _ => error.into(),
        }
    }

    async fn find_readable(&self, account: &Account, sid: Sid, reader: Reader) -> Result<Option<RecordingRow>> {
        let row = self.catalog.find_recording(&account.sid, sid).await?;
        let now = self.now();
        Ok(row.filter(|row| may_read(access(&account.policy, &account.holds, &facts_of(row), now), reader)))
    }

    /// One recording's description.
    ///
    /// # Errors
    /// [`VaultError::NotFound`] when there is none, or this reader may not see it.
    pub async fn get_recording(&self, sid: &AccountSid, recording: Sid, reader: Reader) -> Result<RecordingView> {
        let account = self.get_account(sid).await?;
        let row = self.find_readable(&account, recording, reader).await?;
        let row = row.ok_or(VaultError::NotFound { what: "recording" })?;
        let secret = self
            .keys
            .find(sid, row.key)
            .await?
            .ok_or(VaultError::NotFound { what: "recording" })?;
        view_of(&account, &row, &secret)
    }

    /// An account's recordings that this reader may see. `query.after` continues a listing; the answer's second part
    /// is where it stopped, or nothing at the end.
    ///
    /// # Errors
    /// Those of the stores.
    pub async fn list_recordings(
        &self,
        sid: &AccountSid,
        mut query: RecordingQuery,
        reader: Reader,
    ) -> Result<(Vec<RecordingView>, Option<(TimeUs, Sid)>)> {
        let account = self.get_account(sid).await?;
        let now = self.now();
        let want = query.limit as usize;
        let mut views = Vec::new();
        query.limit = query.limit.saturating_add(1).max(100);
        loop {
            let rows = self.catalog.list_recordings(sid, &query).await?;
            let last_page = rows.len() < query.limit as usize;
            let keys: Vec<_> = rows.iter().map(|row| row.key).collect();
            let secrets = self.keys.find_all(sid, &keys).await?;
            for row in &rows {
                let readable = may_read(access(&account.policy, &account.holds, &facts_of(row), now), reader);
                let Some(secret) = secrets.get(&row.key).filter(|_| readable) else {
                    continue;
                };
                if views.len() == want {
                    return Ok((views, query.after));
                }
                views.push(view_of(&account, row, secret)?);
                query.after = Some((row.at, row.sid));
            }
            match rows.last() {
                Some(row) if !last_page => query.after = Some((row.at, row.sid)),
                _ => return Ok((views, None)),
            }
        }
    }

    /// A range of a recording's audio, piece by piece. Reads by range what is asked for and nothing else.
    ///
    /// # Errors
    /// [`VaultError::NotFound`] as in [`Vault::get_recording`]; the stream ends with an error when the bytes are
    /// damaged or the recording goes meanwhile.
    pub async fn read_recording(
        &self,
        sid: &AccountSid,
        recording: Sid,
        range: Range<u64>,
        reader: Reader,
    ) -> Result<impl Stream<Item = Result<Bytes>> + Send + 'static + use<>> {
        let account = self.get_account(sid).await?;
        let row = self.find_readable(&account, recording, reader).await?;
        let row = row.ok_or(VaultError::NotFound { what: "recording" })?;
        let secret = self
            .keys
            .find(sid, row.key)
            .await?
            .ok_or(VaultError::NotFound { what: "recording" })?;
        let name = object_names::recording(sid, row.object);
        let layout = Layout::of_plaintext(row.bytes, DEFAULT_SEGMENT_BYTES)?;
        let range = range.start.min(row.bytes)..range.end.min(row.bytes);
        let header = self.objects.get_range(&name, 0..HEADER_BYTES as u64).await?;
        let cipher = Decryptor::new(
            &audio_key(&secret),
            &row.object.0,
            &header,
            layout.ciphertext_bytes(),
            DEFAULT_SEGMENT_BYTES,
        )?;
        let source = Source {
            objects: Arc::clone(&self.objects),
            catalog: Arc::clone(&self.catalog),
            account: sid.clone(),
            key: row.key,
            name,
            cipher: Arc::new(cipher),
        };
        Ok(futures::stream::try_unfold(
            (source, range, None),
            |(source, mut range, ahead)| async move {
                if range.start >= range.end {
                    return Ok(None);
                }
                let piece = next_piece(&mut range);
                let sealed = match ahead {
                    Some(fetched) => fetched,
                    None => source.fetch(piece.clone()).await,
                }?;
                // While this piece is opened the next one is fetched.
                let next = async {
                    match next_piece(&mut range.clone()) {
                        next if next.is_empty() => None,
                        next => Some(source.fetch(next).await),
                    }
                };
                let (plain, kept, ahead) = futures::join!(source.open(piece, sealed), source.check_kept(), next);
                kept?;
                Ok(Some((plain?, (source, range, ahead))))
            },
        ))
    }
}

/// Takes the next piece off a range.
fn next_piece(range: &mut Range<u64>) -> Range<u64> {
    let end = range.end.min(range.start.saturating_add(READ_STEP_BYTES));
    std::mem::replace(&mut range.start, end)..end
}

/// A recording being read.
struct Source {
    objects: Arc<dyn Objects>,
    catalog: Arc<dyn Catalog>,
    account: AccountSid,
    key: KeyId,
    name: String,
    cipher: Arc<Decryptor>,
}

impl Source {
    /// The sealed segments that a piece of the audio lies in.
    async fn fetch(&self, piece: Range<u64>) -> Result<Bytes> {
        let wanted = self.cipher.layout().plan_fetch(piece)?.ciphertext;
        let sealed = self.objects.get_range(&self.name, wanted.clone()).await?;
        if sealed.len() as u64 == wanted.end - wanted.start {
            Ok(sealed)
        } else {
            Err(cut_short())
        }
    }

    /// Opens what [`Source::fetch`] brought, where it lies.
    async fn open(&self, piece: Range<u64>, sealed: Bytes) -> Result<Bytes> {
        let fetch = self.cipher.layout().plan_fetch(piece)?;
        let cipher = Arc::clone(&self.cipher);
        let opened = tokio::task::spawn_blocking(move || {
            let mut buffer = Vec::from(sealed);
            cipher.open_in_place(fetch.first_segment, &mut buffer).map(|()| buffer)
        });
        let plain = opened.await.map_err(|_| VaultError::Damaged {
            what: "recording",
            reason: "its decryption stopped".to_owned(),
        })??;
        if fetch.keep.end > plain.len() {
            return Err(cut_short());
        }
        Ok(Bytes::from(plain).slice(fetch.keep))
    }

    /// Deleted while it is read: what was not read yet is not given.
    async fn check_kept(&self) -> Result<()> {
        match self.catalog.find_keys(&self.account, &[self.key]).await?.is_empty() {
            true => Err(VaultError::NotFound { what: "recording" }),
            false => Ok(()),
        }
    }
}

fn cut_short() -> VaultError {
    VaultError::Damaged {
        what: "recording",
        reason: "its object is cut short".to_owned(),
    }
}

impl RecordingUpload<'_> {
    /// Adds audio.
    ///
    /// # Errors
    /// Those of the object store.
    pub async fn write(&mut self, audio: &[u8]) -> Result<()> {
        for piece in audio.chunks(SEAL_STEP_BYTES) {
            // A segment may be left from the piece before.
            let mut sealed = Vec::with_capacity(piece.len() + DEFAULT_SEGMENT_BYTES + 4096);
            self.cipher.push(piece, &mut sealed)?;
            self.row.bytes += piece.len() as u64;
            if !sealed.is_empty() {
                self.upload.write(sealed.into()).await?;
            }
        }
        Ok(())
    }

    /// Makes the recording visible and durable. Returns its SID.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is one of this SID; those of the stores.
    pub async fn finish(self) -> Result<Sid> {
        let Self {
            vault,
            row,
            mut key,
            secret,
            name: _,
            cipher,
            mut upload,
        } = self;
        let mut rest = Vec::new();
        cipher.finish(&mut rest)?;
        upload.write(rest.into()).await?;
        upload.finish().await?;
        let mark = vault.deleted_mark(&row.account, row.sid);
        loop {
            match vault.catalog.insert_recording(&row, &key, &mark).await {
                Ok(()) => return Ok(row.sid),
                // An epoch began while the audio came: the same key is wrapped again.
                Err(StoreError::EpochClosed(_)) => {
                    vault.keys.load().await?;
                    key = vault.keys.wrap_again(&key, &secret)?;
                }
                Err(error) => return Err(vault.explain_refusal(&row, error).await),
            }
        }
    }

    /// Gives up; what was written is unreadable already, since its key was never stored.
    ///
    /// # Errors
    /// Those of the stores; the housekeeping removes what is left then.
    pub async fn abort(self) -> Result<()> {
        self.upload.abort().await?;
        Ok(self.vault.catalog.unstage_objects(&[self.name]).await?)
    }
}

fn refuse_deleted() -> VaultError {
    let reason = "This recording was deleted; deleting is for good, and it is not taken in again.";
    callvault_core::Refusal::new("deleted", reason).in_field("sid").into()
}

fn audio_key(secret: &SecretKey) -> SecretKey {
    secret.derive(b"callvault/recording-audio/v1")
}

pub(crate) fn view_of(account: &Account, row: &RecordingRow, secret: &SecretKey) -> Result<RecordingView> {
    let meta = envelope::open(&secret.derive(b"callvault/recording-meta/v1"), &row.sid.0, &row.meta)?;
    let meta: RecordingMeta = serde_json::from_slice(&meta).map_err(|_| VaultError::Damaged {
        what: "recording",
        reason: "its description is not readable".to_owned(),
    })?;
    Ok(RecordingView {
        sid: row.sid,
        call_sid: row.call_sid,
        at: row.at,
        bytes: row.bytes,
        ends_at: account.policy.ends_at(Class::Recording, row.at, row.kept_since),
        meta,
    })
}
