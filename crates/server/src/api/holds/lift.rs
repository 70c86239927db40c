//! `POST /v1/accounts/{account}/holds/{id}/lift`.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::StatusCode,
};

use crate::{
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// Lift a hold
///
/// What it alone kept is unreadable at once.
#[utoipa::path(
    post, path = "/v1/accounts/{account}/holds/{id}/lift", tag = "holds", operation_id = "lift_hold",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("id" = String, Path, description = "Identifier of the hold"),
    ),
    responses(
        (status = 204, description = "Lifted"),
        (status = 404, description = "There is none, it is gone, or it is not this token's", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn lift(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(place): Path<(String, String)>,
) -> Answer<StatusCode> {
    let (_, id) = place;
    let id = id.parse().map_err(|_| Problem::not_found("hold in force"))?;
    door.vault.lift_hold(&caller.account, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
