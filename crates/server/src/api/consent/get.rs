//! `GET /v1/accounts/{account}/consent/policy`.

use std::sync::Arc;

use axum::{Json, extract::State};

use super::body::ConsentPolicyBody;
use crate::{
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// The consent policy in force
///
/// An account that adopted none has version 0: recording is off unless a call or its flow switches it on, India is announced with
/// the four grounds of its law, everybody else is asked.
#[utoipa::path(
    get, path = "/v1/accounts/{account}/consent/policy", tag = "consent", operation_id = "get_consent_policy",
    params(("account" = String, Path, description = "Account SID")),
    responses(
        (status = 200, description = "The policy", body = ConsentPolicyBody),
        (status = 404, description = "No such account for this token", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn get(State(door): State<Arc<Door>>, caller: Caller) -> Answer<Json<ConsentPolicyBody>> {
    let account = door.vault.get_account(&caller.account).await?;
    Ok(Json(door.vault.get_consent_policy(&account).await?.into()))
}
