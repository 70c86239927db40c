//! `DELETE /v1/accounts/{account}/exports/schedule`.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};

use crate::{
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// End exports on schedule
///
/// The bucket's keys are forgotten. What was exported stays where it is.
#[utoipa::path(
    delete, path = "/v1/accounts/{account}/exports/schedule", tag = "exports", operation_id = "delete_export_schedule",
    params(("account" = String, Path, description = "Account SID")),
    responses(
        (status = 204, description = "Ended"),
        (status = 404, description = "There is none, or no such account for this token", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn delete(State(door): State<Arc<Door>>, caller: Caller) -> Answer<StatusCode> {
    let account = door.vault.get_account(&caller.account).await?;
    door.vault.delete_schedule(&account).await?;
    Ok(StatusCode::NO_CONTENT)
}
