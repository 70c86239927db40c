//! `POST /v1/accounts/{account}/records/recordings/{sid}/withdrawal`.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use callvault_app::core::Cause;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    api::{
        params::{JsonBody, parse_sid, read_json},
        requests::body::DoneBody,
    },
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// Who withdraws knows what goes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Withdrawal {
    /// The recording again: deleting cannot be undone.
    #[serde(default)]
    pub confirm: Option<String>,
}

/// Withdraw consent to a recording
///
/// The person takes consent back, so the recording goes, at once and for good; its certificate names the cause
/// `consent_withdrawn`. No second person is asked: it is the caller's right. A hold or a law that keeps it stands in the way.
#[utoipa::path(
    post, path = "/v1/accounts/{account}/records/recordings/{sid}/withdrawal", tag = "recordings", operation_id = "withdraw_consent",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("sid" = String, Path, description = "The recording"),
    ),
    request_body = Withdrawal,
    responses(
        (status = 200, description = "It is gone", body = DoneBody),
        (status = 404, description = "There is no such recording, it is gone, or it is not this token's", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "A hold or a law keeps it", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A wrong body", body = Problem, content_type = "application/problem+json"),
        (status = 428, description = "Not confirmed", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn withdraw(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(place): Path<(String, String)>,
    body: JsonBody<Withdrawal>,
) -> Answer<Json<DoneBody>> {
    let sid = parse_sid(&place.1, "recording")?;
    let confirm = read_json(body)?.confirm;
    // What is not there cannot be confirmed.
    door.vault.get_recording(&caller.account, sid, caller.reader()).await?;
    if !confirm.is_some_and(|confirm| confirm.eq_ignore_ascii_case(&place.1)) {
        let detail = "Deleting cannot be undone. Repeat the recording as confirm.";
        return Err(Problem::new(StatusCode::PRECONDITION_REQUIRED, "not-confirmed", detail).in_field("confirm"));
    }
    let leaves = door
        .vault
        .delete_recordings(&caller.account, &[sid], Cause::ConsentWithdrawn)
        .await?;
    let log_index = leaves.first().copied().ok_or_else(|| Problem::not_found("recording"))?;
    Ok(Json(DoneBody::new(&caller.account, log_index)))
}
