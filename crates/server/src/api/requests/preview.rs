//! `GET /v1/accounts/{account}/requests/preview`.

use std::sync::Arc;

use axum::{Json, extract::State};
use callvault_app::{VaultError, core::Cause, recording::RecordingView};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    api::params::Params,
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// What a deletion would take, and where it can be exported before.
#[derive(Serialize, ToSchema)]
pub struct RequestPreview {
    /// Records that would go.
    pub records: u64,
    /// The recording.
    pub recording: String,
    /// Its call, which stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call_sid: Option<String>,
    /// When it began.
    #[schema(format = DateTime)]
    pub at: String,
    /// When it goes by itself.
    #[schema(format = DateTime)]
    pub ends_at: String,
    /// Length in milliseconds.
    pub duration_ms: u64,
    /// Size of the audio.
    pub bytes: u64,
    /// Why it may not be deleted now, if it may not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// Paths to take it with before it goes.
    pub exports: ExportPaths,
}

/// Where a recording can be exported.
#[derive(Serialize, ToSchema)]
pub struct ExportPaths {
    /// The audio.
    pub audio: String,
    /// The call with its recording as a vCon, when the recording has a call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vcon: Option<String>,
}

impl ExportPaths {
    fn new(account: &str, view: &RecordingView) -> Self {
        let base = format!("/v1/accounts/{account}");
        Self {
            audio: format!("{base}/records/recordings/{}/audio", view.sid),
            vcon: view
                .call_sid
                .map(|call| format!("{base}/exports/calls/{call}.vcon.json")),
        }
    }
}

/// What a deletion would take
///
/// Nothing is changed. A recording goes alone: its call is another record, which stays until its own term.
#[utoipa::path(
    get, path = "/v1/accounts/{account}/requests/preview", tag = "requests", operation_id = "preview_request",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("recording" = String, Query, description = "SID of the recording"),
    ),
    responses(
        (status = 200, description = "What would go", body = RequestPreview),
        (status = 404, description = "There is none, it is gone, or it is not this token's", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A wrong parameter", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn preview(
    State(door): State<Arc<Door>>,
    caller: Caller,
    mut params: Params,
) -> Answer<Json<RequestPreview>> {
    let sid = params.take_sid("recording")?;
    let sid = sid.ok_or_else(|| Problem::invalid("recording", "Say which."))?;
    params.finish()?;
    let (vault, account) = (&door.vault, &caller.account);
    let view = vault.get_recording(account, sid, caller.reader()).await?;
    let refused = match vault.check_recording_deletion(account, sid, Cause::Request).await {
        Ok(()) => None,
        Err(VaultError::Refused(refusal)) => Some(refusal.reason),
        Err(error) => return Err(error.into()),
    };
    Ok(Json(RequestPreview {
        records: 1,
        recording: view.sid.to_string(),
        call_sid: view.call_sid.map(|call| call.to_string()),
        at: view.at.to_string(),
        ends_at: view.ends_at.to_string(),
        duration_ms: view.meta.duration_ms,
        bytes: view.bytes,
        refused,
        exports: ExportPaths::new(account.as_str(), &view),
    }))
}
