//! `GET /v1/accounts/{account}/consent/policies`.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::body::ConsentPolicyBody;
use crate::{
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// Every policy that an account adopted.
#[derive(Serialize, ToSchema)]
pub struct ConsentPolicies {
    /// The newest first.
    pub policies: Vec<ConsentPolicyBody>,
}

/// Every version of the consent policy
///
/// Versions stay: a decision points at the one that was in force.
#[utoipa::path(
    get, path = "/v1/accounts/{account}/consent/policies", tag = "consent", operation_id = "list_consent_policies",
    params(("account" = String, Path, description = "Account SID")),
    responses(
        (status = 200, description = "The policies", body = ConsentPolicies),
        (status = 404, description = "No such account for this token", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn list(State(door): State<Arc<Door>>, caller: Caller) -> Answer<Json<ConsentPolicies>> {
    let account = door.vault.get_account(&caller.account).await?;
    let policies = door.vault.list_consent_policies(&account).await?;
    Ok(Json(ConsentPolicies {
        policies: policies.into_iter().map(ConsentPolicyBody::from).collect(),
    }))
}
