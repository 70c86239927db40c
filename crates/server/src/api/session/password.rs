//! `PUT /v1/session/password`.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use callvault_app::{
    session::Method,
    user::{MAX_PASSWORD_BYTES, check_password},
};
use serde::Deserialize;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::{address, begin::Sender, get::SessionBody, too_many_attempts, welcome};
use crate::{
    api::params::{JsonBody, read_json},
    door::Door,
    people::Person,
    problem::{Answer, Problem},
};

/// Another password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordRequest {
    /// The present one; absent when there is none.
    #[schema(max_length = 512, format = Password)]
    pub present: Option<String>,
    /// The new one: 12 characters to 512 bytes.
    #[schema(min_length = 12, max_length = 512, format = Password)]
    pub password: String,
}

/// Change one's own password
///
/// Every session ends, and this one goes on under a new cookie.
#[utoipa::path(
    put, path = "/v1/session/password", tag = "session", operation_id = "change_password",
    request_body = PasswordRequest,
    responses(
        (status = 201, description = "Changed, with a new cookie", body = SessionBody),
        (status = 409, description = "The user is being changed", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Refused, with the reason and the field", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many failed attempts", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Too many people are signing in at once", body = Problem, content_type = "application/problem+json"),
    ),
    security(("session" = [])),
)]
pub async fn change(
    State(door): State<Arc<Door>>,
    person: Person,
    sender: Sender,
    body: JsonBody<PasswordRequest>,
) -> Answer<Response> {
    let request = read_json(body)?;
    let (present, password) = (request.present.map(Zeroizing::new), Zeroizing::new(request.password));
    let user = person.user(&door).await?;
    check_password(&password, user.email())?;
    if let Some(hash) = user.password() {
        let account = person.realm.account();
        let attempt = door
            .attempts
            .begin(account, user.email(), address(&sender.peer), door.vault.now());
        let attempt = match attempt {
            Ok(attempt) => attempt,
            Err(retry_s) => return Ok(too_many_attempts(retry_s)),
        };
        let present = present.filter(|present| present.len() <= MAX_PASSWORD_BYTES);
        let wrong = || Problem::invalid("present", "Is not the present password.");
        if !door.passwords.fits(present.ok_or_else(wrong)?, hash).await? {
            return Err(wrong());
        }
        attempt.succeeded();
    }
    let hash = door.passwords.hash(password).await?;
    let user = door.vault.set_password(&person.realm, user, &hash, true).await?;
    welcome(&door, &person.realm, &user, Method::Password, sender.headers()).await
}
