//! `DELETE /v1/accounts/{account}/suppressions/{id}`.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::StatusCode,
};

use crate::{
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// Lift a suppression
///
/// For a person who changed their mind; the number may be added again.
#[utoipa::path(
    delete, path = "/v1/accounts/{account}/suppressions/{id}", tag = "suppressions", operation_id = "lift_suppression",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("id" = String, Path, description = "Identifier, as listed"),
    ),
    responses(
        (status = 204, description = "Lifted"),
        (status = 404, description = "There is none, or it is not this token's", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn lift(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(place): Path<(String, String)>,
) -> Answer<StatusCode> {
    let account = door.vault.get_account(&caller.account).await?;
    door.vault.lift_suppression(&account, &place.1).await?;
    Ok(StatusCode::NO_CONTENT)
}
