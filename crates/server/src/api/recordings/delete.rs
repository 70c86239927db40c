//! `DELETE /v1/accounts/{account}/recordings/{sid}`.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
};
use callvault_app::core::Cause;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    api::params::{Params, parse_sid},
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// Proof of a deletion.
#[derive(Serialize, ToSchema)]
pub struct Deleted {
    /// Records that are gone.
    pub records: u64,
    /// Index of the entry in the transparency log.
    pub log_index: u64,
    /// Path of the certificate.
    pub certificate: String,
}

/// Delete a recording
///
/// For good: its key is destroyed and the recording is unreadable when this answers. The SID has to be repeated as
/// `confirm`.
#[utoipa::path(
    delete, path = "/v1/accounts/{account}/recordings/{sid}", tag = "recordings", operation_id = "delete_recording",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("sid" = String, Path, description = "SID of the recording"),
        ("confirm" = Option<String>, Query, description = "The SID again; or as header X-Confirm"),
        ("X-Confirm" = Option<String>, Header, description = "The SID again"),
    ),
    responses(
        (status = 200, description = "Deleted", body = Deleted),
        (status = 404, description = "There is none, it is gone, or it is not this token's", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "A hold or a law keeps it", body = Problem, content_type = "application/problem+json"),
        (status = 428, description = "Not confirmed", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn delete(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(place): Path<(String, String)>,
    mut params: Params,
    headers: HeaderMap,
) -> Answer<Json<Deleted>> {
    let (_, text) = place;
    let sid = parse_sid(&text, "recording")?;
    let header = headers
        .get("x-confirm")
        .and_then(|value| value.to_str().ok())
        .map(ToOwned::to_owned);
    let confirm = params.take("confirm").or(header);
    params.finish()?;
    if !confirm.is_some_and(|confirm| confirm.eq_ignore_ascii_case(&text)) {
        let detail =
            "Deleting cannot be undone; repeat the recording's SID as the confirm parameter or X-Confirm header.";
        return Err(Problem::new(StatusCode::PRECONDITION_REQUIRED, "not-confirmed", detail).in_field("confirm"));
    }
    let entries = door
        .vault
        .delete_recordings(&caller.account, &[sid], Cause::Request)
        .await?;
    // The deletion stands even if the log cannot be published now; the next tick does it.
    if let Err(error) = door.vault.publish().await {
        tracing::warn!(%error, "log not published yet");
    }
    let log_index = entries.first().copied().ok_or_else(Problem::internal)?;
    Ok(Json(Deleted {
        records: 1,
        log_index,
        certificate: format!("/v1/accounts/{}/deletions/{log_index}/certificate", caller.account),
    }))
}
