//! `POST /v1/accounts/{account}/requests/{id}/approve`, `/decline` and `/withdraw`.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use callvault_app::core::request;

use super::{body::RequestBody, person_of, read_text};
use crate::{
    api::params::{Params, parse_sid},
    door::{Caller, Door},
    problem::{Answer, Problem},
};

async fn answer(
    door: &Door,
    caller: &Caller,
    id: &str,
    mut params: Params,
    answer: request::Answer,
) -> Answer<Json<RequestBody>> {
    let id = parse_sid(id, "request")?;
    let note = params.take("note").map(|text| read_text("note", &text)).transpose()?;
    params.finish()?;
    let account = door.vault.get_account(&caller.account).await?;
    let done = door.line.answer_request(&account, id, answer, person_of(caller), note);
    let view = done.await?;
    Ok(Json(RequestBody::new(&account.sid, &view)))
}

/// Approve a request
///
/// By somebody else than who asked. The recording's key is destroyed and the recording is unreadable when this answers;
/// `deletion` names the certificate.
#[utoipa::path(
    post, path = "/v1/accounts/{account}/requests/{id}/approve", tag = "requests", operation_id = "approve_request",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("id" = String, Path, description = "The request"),
        ("note" = Option<String>, Query, description = "What is to be said about it, at most 500 characters"),
    ),
    responses(
        (status = 200, description = "Approved and carried out", body = RequestBody),
        (status = 404, description = "There is none, its recording is gone, or it is not this token's", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Your own, over, or a hold or a law keeps the recording", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A wrong parameter", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn approve(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(place): Path<(String, String)>,
    params: Params,
) -> Answer<Json<RequestBody>> {
    answer(&door, &caller, &place.1, params, request::Answer::Approve).await
}

/// Decline a request
///
/// By somebody else than who asked. Nothing is deleted.
#[utoipa::path(
    post, path = "/v1/accounts/{account}/requests/{id}/decline", tag = "requests", operation_id = "decline_request",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("id" = String, Path, description = "The request"),
        ("note" = Option<String>, Query, description = "What is to be said about it, at most 500 characters"),
    ),
    responses(
        (status = 200, description = "Declined", body = RequestBody),
        (status = 404, description = "There is none, or it is not this token's", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Your own, or over", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A wrong parameter", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn decline(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(place): Path<(String, String)>,
    params: Params,
) -> Answer<Json<RequestBody>> {
    answer(&door, &caller, &place.1, params, request::Answer::Decline).await
}

/// Withdraw a request
///
/// By who asked. Nothing is deleted.
#[utoipa::path(
    post, path = "/v1/accounts/{account}/requests/{id}/withdraw", tag = "requests", operation_id = "withdraw_request",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("id" = String, Path, description = "The request"),
        ("note" = Option<String>, Query, description = "What is to be said about it, at most 500 characters"),
    ),
    responses(
        (status = 200, description = "Withdrawn", body = RequestBody),
        (status = 404, description = "There is none, or it is not this token's", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Somebody else's, or over", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A wrong parameter", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn withdraw(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(place): Path<(String, String)>,
    params: Params,
) -> Answer<Json<RequestBody>> {
    answer(&door, &caller, &place.1, params, request::Answer::Withdraw).await
}
