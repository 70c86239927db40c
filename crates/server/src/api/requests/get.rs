//! `GET /v1/accounts/{account}/requests/{id}`.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};

use super::body::RequestBody;
use crate::{
    api::params::parse_sid,
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// One request
#[utoipa::path(
    get, path = "/v1/accounts/{account}/requests/{id}", tag = "requests", operation_id = "get_request",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("id" = String, Path, description = "The request"),
    ),
    responses(
        (status = 200, description = "The request", body = RequestBody),
        (status = 404, description = "There is none, or it is not this token's", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn get(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(place): Path<(String, String)>,
) -> Answer<Json<RequestBody>> {
    let id = parse_sid(&place.1, "request")?;
    let account = door.vault.get_account(&caller.account).await?;
    let view = door.line.get_request(&account, id).await?;
    Ok(Json(RequestBody::new(&account.sid, &view)))
}
