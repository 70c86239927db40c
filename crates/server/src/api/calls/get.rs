//! `GET /v1/accounts/{account}/records/calls/{sid}`.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use callvault_app::core::{Class, Record};

use crate::{
    api::records::{body::CallBody, listing::get_one},
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// One call
#[utoipa::path(
    get, path = "/v1/accounts/{account}/records/calls/{sid}", tag = "calls", operation_id = "get_call",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("sid" = String, Path, description = "SID of the call"),
    ),
    responses(
        (status = 200, description = "The call", body = CallBody),
        (status = 404, description = "There is none, or it is gone", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn get(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(place): Path<(String, String)>,
) -> Answer<Json<CallBody>> {
    let (_, sid) = place;
    match get_one(&door, &caller, Class::Call, &sid).await? {
        Record::Call(call) => Ok(Json(CallBody::from(&call))),
        _ => Err(Problem::not_found("call")),
    }
}
