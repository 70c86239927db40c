//! `POST /v1/session/challenge`.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{address, begin::Sender, begin::read_account, find_realm, too_many_attempts};
use crate::{
    api::params::{JsonBody, read_json},
    door::Door,
    problem::{Answer, Problem},
};

/// Whose passkeys are asked.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChallengeRequest {
    /// Account; absent for the operator.
    #[schema(max_length = 64)]
    pub account: Option<String>,
}

/// Options for `navigator.credentials.get`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestOptions {
    /// The question in base64url; it is answered once, within five minutes.
    pub challenge: String,
    /// The site.
    pub rp_id: String,
    /// `required`.
    pub user_verification: &'static str,
    /// Milliseconds.
    pub timeout: i64,
}

/// Ask for a passkey
///
/// The passkey itself says whose it is, so that nobody learns here who is a user.
#[utoipa::path(
    post, path = "/v1/session/challenge", tag = "session", operation_id = "ask_passkey",
    request_body = ChallengeRequest,
    responses(
        (status = 200, description = "Options for `navigator.credentials.get`", body = RequestOptions),
        (status = 401, description = "Not an account's name", body = Problem, content_type = "application/problem+json"),
        (status = 421, description = "The account is in another region", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "An unknown field", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many from this address", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn challenge(
    State(door): State<Arc<Door>>,
    sender: Sender,
    body: JsonBody<ChallengeRequest>,
) -> Answer<Response> {
    let request = read_json(body)?;
    let account = read_account(&door, request.account.as_deref(), &sender)?;
    if let Err(retry_s) = door.attempts.ask(address(&sender.peer), door.vault.now()) {
        return Ok(too_many_attempts(retry_s));
    }
    let challenge = match find_realm(&door, account.as_ref()).await? {
        Some(realm) => door.vault.begin_authentication(&realm).await?,
        // A question that nobody can answer, so that accounts are not told from names.
        None => callvault_app::passkey::fresh_challenge()?,
    };
    Ok(Json(RequestOptions {
        challenge,
        rp_id: door.passkey_site().rp_id,
        user_verification: "required",
        timeout: callvault_app::passkey::CHALLENGE_S * 1_000,
    })
    .into_response())
}
