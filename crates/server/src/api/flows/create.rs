//! `POST /v1/accounts/{account}/flows`.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};

use super::body::{FlowBody, NewFlow};
use crate::{
    api::params::{JsonBody, read_json},
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// Save a new call flow
///
/// A number is answered by it when the number's `voice_url` ends with `/exoml/start_voice/ID`. A flow that records without a
/// `greeting` or `gather` before its `connect` is refused, with the applet to add.
#[utoipa::path(
    post, path = "/v1/accounts/{account}/flows", tag = "flows", operation_id = "create_flow",
    params(("account" = String, Path, description = "Account SID")),
    request_body = NewFlow,
    responses(
        (status = 201, description = "Saved", body = FlowBody),
        (status = 404, description = "No such account for this token", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The account has 200 already", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Refused, with the reason and the field", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn create(
    State(door): State<Arc<Door>>,
    caller: Caller,
    body: JsonBody<NewFlow>,
) -> Answer<(StatusCode, Json<FlowBody>)> {
    let flow = read_json(body)?.read()?;
    let account = door.vault.get_account(&caller.account).await?;
    let saved = door.vault.save_flow(&account, None, flow).await?;
    Ok((StatusCode::CREATED, Json(saved.into())))
}
