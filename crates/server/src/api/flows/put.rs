//! `PUT /v1/accounts/{account}/flows/{id}`.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};

use super::body::{FlowBody, NewFlow};
use crate::{
    api::params::{JsonBody, parse_sid, read_json},
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// Save a call flow's next version
///
/// Calls that come from now on go through it; those that are in it go on as they began. The same again is no new version.
#[utoipa::path(
    put, path = "/v1/accounts/{account}/flows/{id}", tag = "flows", operation_id = "change_flow",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("id" = String, Path, description = "The flow"),
    ),
    request_body = NewFlow,
    responses(
        (status = 200, description = "Saved", body = FlowBody),
        (status = 404, description = "There is none, or it is not this token's", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Others change it at the same time", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Refused, with the reason and the field", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn put(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(place): Path<(String, String)>,
    body: JsonBody<NewFlow>,
) -> Answer<Json<FlowBody>> {
    let id = parse_sid(&place.1, "flow")?;
    let flow = read_json(body)?.read()?;
    let account = door.vault.get_account(&caller.account).await?;
    Ok(Json(door.vault.save_flow(&account, Some(id), flow).await?.into()))
}
