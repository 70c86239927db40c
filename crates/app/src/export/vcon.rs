//! A call as a vCon (draft-ietf-vcon-vcon-core-03, version 0.4.0), with the consent to each recording as a
//! `lawful_basis` attachment (draft-howe-vcon-lawful-basis).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use callvault_core::{
    AccountSid, Class, Number, Sid, TimeUs,
    hold::Reader,
    record::{AudioFormat, Call, CallStatus, Consent, Record},
};
use callvault_seal::digest::Hasher;
use callvault_store::rows::RecordingQuery;
use futures::TryStreamExt as _;
use serde_json::{Map, Value, json};

use super::Sink;
use crate::{
    error::{Result, VaultError},
    recording::RecordingView,
    vault::Vault,
};

/// The most recordings of one call that a vCon holds.
const MAX_RECORDINGS: u32 = 100;

/// Where a vCon's audio is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VconAudio {
    /// In it.
    Inline,
    /// Behind the account's API: the address of its recordings, without a slash at the end.
    Url(String),
    /// Nowhere: descriptions alone.
    Absent,
}

/// A call as a vCon, ready to be written.
pub struct Vcon {
    account: AccountSid,
    reader: Reader,
    call: Call,
    pub(super) recordings: Vec<RecordingView>,
    at: TimeUs,
}

impl Vault {
    /// A call and its recordings.
    ///
    /// # Errors
    /// [`VaultError::NotFound`] when there is no such call, or this reader may not see it.
    pub async fn plan_vcon(&self, account: &AccountSid, call: Sid, reader: Reader) -> Result<Vcon> {
        let Record::Call(found) = self.get_record(account, Class::Call, call, reader).await? else {
            return Err(VaultError::NotFound { what: "call" });
        };
        let query = RecordingQuery {
            call_sid: Some(call),
            limit: MAX_RECORDINGS,
            ..RecordingQuery::default()
        };
        let (recordings, _) = self.list_recordings(account, query, reader).await?;
        Ok(Vcon {
            account: account.clone(),
            reader,
            call: found,
            recordings,
            at: self.now(),
        })
    }
}

impl Vcon {
    /// Writes it as JSON; audio is read and encoded piece by piece.
    ///
    /// # Errors
    /// Those of the sink and the stores; [`VaultError::NotFound`] when a recording goes meanwhile.
    pub async fn write(&self, vault: &Vault, audio: &VconAudio, sink: &mut dyn Sink) -> Result<()> {
        let call = &self.call;
        let mut text = format!(
            "{{\"vcon\":\"0.4.0\",\"uuid\":\"{}\",\"created_at\":\"{}\",\"extensions\":[\"lawful_basis\"],\"parties\":{},\"dialog\":[",
            self.uuid(),
            self.at,
            json!([party(&call.from, call.caller_name.as_deref()), party(&call.to, None)])
        );
        if self.recordings.is_empty() {
            text.push_str(&Value::Object(self.dialog_without_audio()).to_string());
        }
        for (index, view) in self.recordings.iter().enumerate() {
            text.push_str(if index > 0 { "," } else { "" });
            let mut dialog = self.dialog_of(view);
            match audio {
                VconAudio::Absent => {}
                VconAudio::Url(base) => {
                    dialog.insert("url".to_owned(), json!(format!("{base}/{}/audio", view.sid)));
                    let hash = self.hash(vault, view).await?;
                    dialog.insert("content_hash".to_owned(), json!(hash));
                }
                VconAudio::Inline => {
                    let object = Value::Object(dialog).to_string();
                    text.push_str(object.strip_suffix('}').unwrap_or(&object));
                    text.push_str(",\"encoding\":\"base64url\",\"body\":\"");
                    sink.write(Bytes::from(std::mem::take(&mut text))).await?;
                    self.write_audio(vault, view, sink).await?;
                    text.push_str("\"}");
                    continue;
                }
            }
            text.push_str(&Value::Object(dialog).to_string());
        }
        let attachments: Vec<Value> = self.recordings.iter().enumerate().map(lawful_basis).collect();
        text.push_str(&format!(
            "],\"analysis\":[],\"attachments\":{}}}\n",
            Value::Array(attachments)
        ));
        sink.write(Bytes::from(text)).await
    }

    /// Its UUID.
    pub(super) fn uuid(&self) -> String {
        uuid(self.call.sid)
    }

    fn dialog_of(&self, view: &RecordingView) -> Map<String, Value> {
        let (media, kind) = match view.meta.format {
            AudioFormat::Wav => ("audio/x-wav", "wav"),
            AudioFormat::Mp3 => ("audio/x-mp3", "mp3"),
        };
        #[expect(clippy::cast_precision_loss, reason = "a recording is shorter than 285,000 years")]
        let duration = view.meta.duration_ms as f64 / 1_000.0;
        object(json!({
            "type": "recording", "start": view.at.to_string(), "duration": duration, "parties": [0, 1],
            "originator": 0, "mediatype": media, "filename": format!("{}.{kind}", view.sid),
        }))
    }

    /// The one dialog of a call that has no recording. One that was answered has no content; the drafts know no other
    /// way to say that there was one.
    fn dialog_without_audio(&self) -> Map<String, Value> {
        let call = &self.call;
        let disposition = match call.status {
            CallStatus::NoAnswer => Some("no-answer"),
            CallStatus::Busy => Some("busy"),
            CallStatus::Failed => Some("failed"),
            CallStatus::Canceled => Some("hung-up"),
            CallStatus::Completed | CallStatus::InProgress | CallStatus::Queued | CallStatus::Ringing => None,
        };
        let mut dialog = object(json!({
            "type": if disposition.is_some() { "incomplete" } else { "recording" },
            "start": call.at.to_string(), "duration": call.duration_s, "parties": [0, 1], "originator": 0,
        }));
        if let Some(disposition) = disposition {
            dialog.insert("disposition".to_owned(), json!(disposition));
        }
        dialog
    }

    /// `sha512-` and the digest of the audio.
    async fn hash(&self, vault: &Vault, view: &RecordingView) -> Result<String> {
        let audio = vault.read_recording(&self.account, view.sid, 0..view.bytes, self.reader);
        let mut audio = std::pin::pin!(audio.await?);
        let mut hasher = Hasher::sha512();
        while let Some(piece) = audio.try_next().await? {
            hasher.update(&piece);
        }
        Ok(format!("sha512-{}", URL_SAFE_NO_PAD.encode(hasher.finish())))
    }

    async fn write_audio(&self, vault: &Vault, view: &RecordingView, sink: &mut dyn Sink) -> Result<()> {
        let audio = vault.read_recording(&self.account, view.sid, 0..view.bytes, self.reader);
        let mut audio = std::pin::pin!(audio.await?);
        let mut left = Vec::new();
        while let Some(piece) = audio.try_next().await? {
            left.extend_from_slice(&piece);
            // Three bytes are four digits; what is over waits for the next piece.
            let rest = left.split_off(left.len() - left.len() % 3);
            sink.write(URL_SAFE_NO_PAD.encode(&left).into()).await?;
            left = rest;
        }
        match left.is_empty() {
            true => Ok(()),
            false => sink.write(URL_SAFE_NO_PAD.encode(&left).into()).await,
        }
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

/// A UUID of version 8 that begins with the call's time, as one of version 7 does; the rest is the SID's.
fn uuid(sid: Sid) -> String {
    let mut bytes = sid.0;
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let text = hex::encode(bytes);
    let part = |range: std::ops::Range<usize>| text.get(range).unwrap_or_default().to_owned();
    [part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)].join("-")
}

/// A number is a `tel`, anything else a name.
fn party(number: &Number, name: Option<&str>) -> Value {
    let text = number.as_str();
    let is_tel = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'+');
    match (is_tel, name) {
        (true, Some(name)) => json!({ "tel": text, "name": name }),
        (true, None) => json!({ "tel": text }),
        (false, name) if text.is_empty() => json!({ "name": name.unwrap_or("anonymous") }),
        (false, _) => json!({ "name": text }),
    }
}

/// The decision that a recording rests on.
fn lawful_basis((dialog, view): (usize, &RecordingView)) -> Value {
    let at = view.at.to_string();
    let (basis, mut metadata) = match &view.meta.consent {
        Consent::Announced => ("consent", json!({ "decision": "announced" })),
        Consent::Accepted => ("consent", json!({ "decision": "accepted" })),
        Consent::Contract { version } => ("contract", json!({ "decision": "contract", "terms_version": version })),
        Consent::Attested { by } => ("consent", json!({ "decision": "attested", "attested_by": by })),
    };
    if let Some(version) = view.meta.policy_version {
        metadata["policy_version"] = version.into();
    }
    json!({
        "purpose": "lawful_basis", "start": at, "party": 0, "dialog": dialog, "mediatype": "application/json",
        "encoding": "json",
        "body": {
            "lawful_basis": basis, "expiration": null,
            "purpose_grants": [{ "purpose": "recording", "granted": true, "granted_at": at }],
            "metadata": metadata,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_has_version_eight_and_the_calls_time() {
        let sid = Sid::new(TimeUs(1_763_890_000_123_000), [0xff; 10]);
        let uuid = uuid(sid);
        assert_eq!(uuid.len(), 36);
        assert_eq!(uuid.replace('-', "")[..12], sid.to_string()[..12]);
        assert_eq!((&uuid[14..15], &uuid[19..20]), ("8", "b"));
    }

    #[test]
    fn parties_are_numbers_or_names() {
        let of = |text: &str, name| party(&Number(text.into()), name);
        assert_eq!(
            of("+919876543210", Some("A")),
            json!({"name": "A", "tel": "+919876543210"})
        );
        assert_eq!(of("", None), json!({"name": "anonymous"}));
        assert_eq!(of("agent-7", None), json!({"name": "agent-7"}));
    }
}
