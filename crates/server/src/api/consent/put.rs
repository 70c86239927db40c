//! `PUT /v1/accounts/{account}/consent/policy`.

use std::sync::Arc;

use axum::{Json, extract::State};

use super::body::{ConsentPolicyBody, NewConsentPolicy};
use crate::{
    api::params::{JsonBody, read_json},
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// Adopt a consent policy
///
/// As the next version; the same text again is no new one. Recordings that come in from now on point at it.
#[utoipa::path(
    put, path = "/v1/accounts/{account}/consent/policy", tag = "consent", operation_id = "adopt_consent_policy",
    params(("account" = String, Path, description = "Account SID")),
    request_body = NewConsentPolicy,
    responses(
        (status = 200, description = "In force", body = ConsentPolicyBody),
        (status = 404, description = "No such account for this token", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Others adopt one at the same time", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Refused, with the reason and the field", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn put(
    State(door): State<Arc<Door>>,
    caller: Caller,
    body: JsonBody<NewConsentPolicy>,
) -> Answer<Json<ConsentPolicyBody>> {
    let policy = read_json(body)?.read()?;
    let account = door.vault.get_account(&caller.account).await?;
    Ok(Json(door.vault.adopt_consent_policy(&account, policy).await?.into()))
}
