//! `POST /v1/accounts/{account}/requests`.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use callvault_app::core::request::Asked;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{body::RequestBody, person_of, read_text};
use crate::{
    api::params::{JsonBody, read_json},
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// What is asked for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRequest {
    /// `delete_recording`.
    pub kind: String,
    /// The recording: 32 hexadecimal digits.
    #[schema(min_length = 32, max_length = 32, pattern = "^[0-9a-fA-F]{32}$")]
    pub recording: String,
    /// Why.
    #[schema(min_length = 1, max_length = 500)]
    pub reason: String,
    /// The recording again: deleting cannot be undone.
    #[serde(default)]
    pub confirm: Option<String>,
}

/// Ask for a deletion
///
/// A single recording goes before its term when somebody else than who asks approves it, within 14 days. What will go, and
/// where it can be exported before, is at `/requests/preview`. The recording has to be repeated as `confirm`.
#[utoipa::path(
    post, path = "/v1/accounts/{account}/requests", tag = "requests", operation_id = "open_request",
    params(("account" = String, Path, description = "Account SID")),
    request_body = NewRequest,
    responses(
        (status = 201, description = "Open", body = RequestBody),
        (status = 404, description = "There is no such recording, it is gone, or it is not this token's", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "A hold or a law keeps it, or an open request asks for the same", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Refused, with the reason and the field", body = Problem, content_type = "application/problem+json"),
        (status = 428, description = "Not confirmed", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn create(
    State(door): State<Arc<Door>>,
    caller: Caller,
    body: JsonBody<NewRequest>,
) -> Answer<(StatusCode, Json<RequestBody>)> {
    let new = read_json(body)?;
    if new.kind != "delete_recording" {
        return Err(Problem::invalid("kind", "Expected delete_recording."));
    }
    let recording = new.recording.to_ascii_lowercase().parse();
    let recording = recording.map_err(|_| Problem::invalid("recording", "Expected 32 hexadecimal digits."))?;
    let reason = read_text("reason", &new.reason)?;
    let confirmed = new
        .confirm
        .is_some_and(|confirm| confirm.eq_ignore_ascii_case(&new.recording));
    let account = door.vault.get_account(&caller.account).await?;
    if !confirmed {
        // What is not there cannot be confirmed.
        door.vault
            .get_recording(&account.sid, recording, caller.reader())
            .await?;
        let path = format!("/v1/accounts/{}/requests/preview?recording={recording}", account.sid);
        let detail = format!(
            "Deleting cannot be undone; {path} says what will go and where it can be exported. Repeat the recording as confirm."
        );
        return Err(Problem::new(StatusCode::PRECONDITION_REQUIRED, "not-confirmed", detail).in_field("confirm"));
    }
    let asked = Asked::DeleteRecording { recording };
    let view = door
        .line
        .open_request(&account, asked, reason, person_of(&caller))
        .await?;
    Ok((StatusCode::CREATED, Json(RequestBody::new(&account.sid, &view))))
}
