//! `GET /v1/accounts/{account}/flows/{id}`.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};

use super::body::FlowBody;
use crate::{
    api::params::parse_sid,
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// A call flow, as it is now
#[utoipa::path(
    get, path = "/v1/accounts/{account}/flows/{id}", tag = "flows", operation_id = "get_flow",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("id" = String, Path, description = "The flow"),
    ),
    responses(
        (status = 200, description = "Its newest version", body = FlowBody),
        (status = 404, description = "There is none, or it is not this token's", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn get(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(place): Path<(String, String)>,
) -> Answer<Json<FlowBody>> {
    let id = parse_sid(&place.1, "flow")?;
    let account = door.vault.get_account(&caller.account).await?;
    Ok(Json(door.vault.get_flow(&account, id, None).await?.into()))
}
