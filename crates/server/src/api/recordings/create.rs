//! `POST /v1/accounts/{account}/records/recordings`.

use std::{io::Cursor, sync::Arc};

use axum::{
    Json,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header},
};
use callvault_app::{
    Account, VaultError,
    audio::probe,
    core::{
        Class, Number, Record, Sid, TimeUs,
        consent::decide_ingest,
        record::{AudioFormat, Call, Consent, RecordingMeta},
    },
    recording::NewRecording,
    seal::digest::sha256,
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    api::{
        MAX_AUDIO_BYTES,
        params::{Params, read_bytes},
    },
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// How far the clocks of a recorder and of a switch may lie apart.
const CLOCK_SLACK_S: i64 = 60;
/// The longest text of a parameter.
const MAX_TEXT_BYTES: usize = 200;

/// What became of a recording.
#[derive(Serialize, ToSchema)]
pub struct StoredRecording {
    /// Its SID.
    pub sid: String,
    /// `new`, or `known` when the same audio of the same call was there already.
    pub outcome: &'static str,
}

/// Store a recording
///
/// The body is a WAV or MP3 file of at most 64 MiB. Nothing is stored without a consent decision. Without `call_sid`, `at`
/// and both numbers are needed; with it, they are taken from the call, and must agree with it if they are sent: the same
/// numbers, and a moment between its beginning and its end.
#[utoipa::path(
    post, path = "/v1/accounts/{account}/records/recordings", tag = "recordings", operation_id = "create_recording",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("call_sid" = Option<String>, Query, description = "The call it belongs to"),
        ("at" = Option<String>, Query, description = "When it began, RFC 3339"),
        ("from" = Option<String>, Query, description = "The first party"),
        ("to" = Option<String>, Query, description = "The second party"),
        ("consent" = String, Query, description = "`announced`, `accepted`, `contract` or `attested`; `declined` is refused"),
        ("consent_version" = Option<String>, Query, description = "Version of the terms, for `contract`"),
        ("consent_by" = Option<String>, Query, description = "Who attests, for `attested`"),
        ("file_name" = Option<String>, Query, description = "The file it came from"),
    ),
    request_body(content = String, content_type = "audio/wav", description = "The audio, as audio/wav or audio/mpeg"),
    responses(
        (status = 201, description = "Stored", body = StoredRecording),
        (status = 200, description = "It was there already", body = StoredRecording),
        (status = 404, description = "There is none, it is gone, or it is not this token's", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "Longer than 64 MiB", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Neither WAV nor MP3", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Refused, with the reason and the field", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn create(
    State(door): State<Arc<Door>>,
    caller: Caller,
    mut params: Params,
    headers: HeaderMap,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Answer<(StatusCode, Json<StoredRecording>)> {
    let format = read_content_type(&headers)?;
    let consent = read_consent(&mut params)?;
    let account = door.vault.get_account(&caller.account).await?;
    let file_name = take_text(&mut params, "file_name")?;
    let call_sid = params.take_sid("call_sid")?;
    let at = params.take_time("at")?;
    let parties = [
        params.take_number("from", &account)?,
        params.take_number("to", &account)?,
    ];
    params.finish()?;
    let call = match call_sid {
        Some(sid) => find_call(&door, &caller, sid).await?,
        None => None,
    };
    let (at, parties) = decide_with_call(call.as_ref(), at, parties)?;
    let audio = read_bytes(body, MAX_AUDIO_BYTES)?;
    let probed = {
        let (audio, name) = (audio.clone(), file_name.clone().unwrap_or_default());
        tokio::task::spawn_blocking(move || probe(Cursor::new(audio.as_ref()), audio.len() as u64, &name))
    };
    let info = probed.await.map_err(|_| Problem::internal())?.map_err(|error| {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error.code(), format!("{error}.")).in_field("body")
    })?;
    if info.format != format {
        return Err(Problem::invalid(
            "content-type",
            "The body is not of the type that the request says.",
        ));
    }
    let sid = recording_sid(&account, call_sid, at, &audio);
    let meta = RecordingMeta {
        parties,
        format,
        channels: info.channels,
        sample_rate_hz: info.sample_rate_hz,
        duration_ms: info.duration_ms,
        consent,
        policy_version: None,
        file_name,
    };
    let new = NewRecording {
        sid,
        call_sid,
        at,
        meta,
    };
    let (status, outcome) = match door.vault.put_recording(&caller.account, new, &audio).await {
        Ok(_) => (StatusCode::CREATED, "new"),
        Err(VaultError::RecordingKnown) => (StatusCode::OK, "known"),
        Err(error) => {
            let problem = Problem::from(error);
            // The SID is made of the audio, the call and the moment; the request names the audio.
            return Err(match problem.field.as_deref() {
                Some("sid") => problem.in_field("body"),
                _ => problem,
            });
        }
    };
    Ok((
        status,
        Json(StoredRecording {
            sid: sid.to_string(),
            outcome,
        }),
    ))
}

/// The same audio of the same call at the same moment is the same recording.
pub(crate) fn recording_sid(account: &Account, call_sid: Option<Sid>, at: TimeUs, audio: &[u8]) -> Sid {
    let call = call_sid.map(|sid| sid.to_string()).unwrap_or_default();
    account.sid_of_source(
        Class::Recording,
        &format!("{call}/{}", hex::encode(sha256(&[audio]))),
        at,
    )
}

/// The format that a request says its body has.
///
/// # Errors
/// 415 for any other.
pub(in crate::api) fn read_content_type(headers: &HeaderMap) -> Answer<AudioFormat> {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    match kind
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
        .as_str()
    {
        "audio/wav" | "audio/x-wav" | "audio/wave" | "audio/vnd.wave" => Ok(AudioFormat::Wav),
        "audio/mpeg" | "audio/mp3" => Ok(AudioFormat::Mp3),
        _ => {
            let detail = "Send audio/wav or audio/mpeg.";
            Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-audio", detail).in_field("content-type"))
        }
    }
}

/// Spec 2.2: only these decisions let a recording be stored.
fn read_consent(params: &mut Params) -> Answer<Consent> {
    let decision = params.take("consent");
    let version = take_text(params, "consent_version")?;
    let by = take_text(params, "consent_by")?;
    Ok(decide_ingest(decision.as_deref(), version, by).map_err(VaultError::from)?)
}

fn take_text(params: &mut Params, name: &'static str) -> Answer<Option<String>> {
    match params.take(name) {
        Some(text) if text.len() > MAX_TEXT_BYTES || text.chars().any(char::is_control) => Err(Problem::invalid(
            name,
            format!("Expected at most {MAX_TEXT_BYTES} bytes of text."),
        )),
        text => Ok(text),
    }
}

/// The call, when the vault knows it and the caller may see it. A recording may come before its call.
async fn find_call(door: &Door, caller: &Caller, sid: Sid) -> Answer<Option<Call>> {
    match door
        .vault
        .get_record(&caller.account, Class::Call, sid, caller.reader())
        .await
    {
        Ok(Record::Call(call)) => Ok(Some(call)),
        Ok(_) | Err(VaultError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// When the recording began, and between whom. What the request does not say, its call does; what both say must agree:
/// term and subject access hang on it.
fn decide_with_call(
    call: Option<&Call>,
    at: Option<TimeUs>,
    [from, to]: [Option<Number>; 2],
) -> Answer<(TimeUs, [Number; 2])> {
    let Some(call) = call else {
        let needed = |field| Problem::invalid(field, "Needed, because the vault does not know the call.");
        let at = at.ok_or_else(|| needed("at"))?;
        let from = from.ok_or_else(|| needed("from"))?;
        return Ok((at, [from, to.ok_or_else(|| needed("to"))?]));
    };
    for (field, said, known) in [("from", &from, &call.from), ("to", &to, &call.to)] {
        if said.as_ref().is_some_and(|said| said != known) {
            return Err(Problem::invalid(
                field,
                "The call has another; leave it out to take the call's.",
            ));
        }
    }
    let ended_at = match (call.ended_at, call.duration_s) {
        (Some(ended_at), _) => ended_at,
        (None, 0) => call.at.plus_days(1),
        (None, seconds) => call.at.plus_seconds(i64::from(seconds)),
    };
    let during = call.at.plus_seconds(-CLOCK_SLACK_S)..=ended_at.plus_seconds(CLOCK_SLACK_S);
    match at {
        Some(at) if !during.contains(&at) => Err(Problem::invalid(
            "at",
            "Lies outside the call; leave it out to take the call's beginning.",
        )),
        at => Ok((at.unwrap_or(call.at), [call.from.clone(), call.to.clone()])),
    }
}
