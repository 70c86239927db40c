//! `POST /v1/invitation`.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Response};
use callvault_app::{core::Class, session::Method, user::check_password};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::{
    address,
    begin::{Sender, read_account},
    find_realm,
    get::SessionBody,
    log_sign_in, too_many_attempts, welcome, wrong_credentials,
};
use crate::{
    access::note,
    api::params::{JsonBody, read_json},
    door::Door,
    problem::{Answer, Problem},
};

/// Who accepts an invitation.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Acceptance {
    /// Account; absent for a user of the operator.
    #[schema(max_length = 64)]
    pub account: Option<String>,
    /// What the invitation's link carries.
    #[schema(max_length = 97)]
    pub invitation: String,
    /// The password that is chosen: 12 characters to 512 bytes.
    #[schema(min_length = 12, max_length = 512, format = Password)]
    pub password: String,
    /// Name; as it is if absent.
    #[schema(max_length = 200)]
    pub name: Option<String>,
}

/// Accept an invitation
///
/// Sets the password and signs in. The link works once, within 72 hours.
#[utoipa::path(
    post, path = "/v1/invitation", tag = "session", operation_id = "accept_invitation",
    request_body = Acceptance,
    responses(
        (status = 201, description = "Signed in", body = SessionBody, headers(("Set-Cookie" = String, description = "`__Host-callvault`"))),
        (status = 401, description = "The link is not right, was used, or is over", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The user is being changed", body = Problem, content_type = "application/problem+json"),
        (status = 421, description = "The account is in another region", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Refused, with the reason and the field", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many failed attempts", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Too many people are signing in at once", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn accept(State(door): State<Arc<Door>>, sender: Sender, body: JsonBody<Acceptance>) -> Answer<Response> {
    let request = read_json(body)?;
    let (link, password) = (Zeroizing::new(request.invitation), Zeroizing::new(request.password));
    let account = read_account(&door, request.account.as_deref(), &sender)?;
    let who = link.split('.').next().unwrap_or_default().to_owned();
    let attempt = door
        .attempts
        .begin(account.as_ref(), &who, address(&sender.peer), door.vault.now());
    let attempt = match attempt {
        Ok(attempt) => attempt,
        Err(retry_s) => return Ok(too_many_attempts(retry_s)),
    };
    let realm = find_realm(&door, account.as_ref())
        .await?
        .ok_or_else(wrong_credentials)?;
    let Some(user) = door.vault.find_invited(&realm, &link).await? else {
        let method = Method::Invitation.as_str();
        log_sign_in(&door, &realm, None, method, StatusCode::UNAUTHORIZED).await?;
        return Err(wrong_credentials());
    };
    attempt.succeeded();
    check_password(&password, user.email())?;
    let hash = door.passwords.hash(password).await?;
    let user = door.vault.accept_invitation(&realm, user, request.name, &hash).await?;
    if let Some(account) = realm.account() {
        let detail = json!({ "user": user.id().to_string(), "role": user.role().as_str() });
        note(&door, account, "invitation.accepted", &[Class::Activity], &detail).await?;
    }
    welcome(&door, &realm, &user, Method::Invitation, sender.headers()).await
}
