//! `DELETE /v1/accounts/{account}/webhooks/{id}`.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::StatusCode,
};

use crate::{
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// Remove an endpoint
///
/// What is under way to it is given up.
#[utoipa::path(
    delete, path = "/v1/accounts/{account}/webhooks/{id}", tag = "webhooks", operation_id = "delete_webhook",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("id" = String, Path, description = "Identifier of the endpoint"),
    ),
    responses(
        (status = 204, description = "Removed"),
        (status = 404, description = "There is none", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn delete(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(place): Path<(String, String)>,
) -> Answer<StatusCode> {
    let account = door.vault.get_account(&caller.account).await?;
    door.line.delete_endpoint(&account, &place.1).await?;
    Ok(StatusCode::NO_CONTENT)
}
