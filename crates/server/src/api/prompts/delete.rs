//! `DELETE /v1/accounts/{account}/prompts/{id}`.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::StatusCode,
};

use crate::{
    api::params::parse_sid,
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// Delete a prompt
///
/// Refused while a flow says it.
#[utoipa::path(
    delete, path = "/v1/accounts/{account}/prompts/{id}", tag = "flows", operation_id = "delete_prompt",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("id" = String, Path, description = "The prompt"),
    ),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "There is none, or it is not this token's", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "A flow says it", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn delete(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(place): Path<(String, String)>,
) -> Answer<StatusCode> {
    let id = parse_sid(&place.1, "prompt")?;
    let account = door.vault.get_account(&caller.account).await?;
    door.vault.delete_prompt(&account, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
