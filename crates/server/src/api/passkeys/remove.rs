//! `DELETE /v1/session/passkeys/{passkey}`.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::StatusCode,
};

use crate::{
    door::Door,
    people::Person,
    problem::{Answer, Problem},
};

/// Remove a passkey
#[utoipa::path(
    delete, path = "/v1/session/passkeys/{passkey}", tag = "session", operation_id = "remove_passkey",
    params(("passkey" = String, Path, description = "Identifier of the passkey")),
    responses(
        (status = 204, description = "Removed"),
        (status = 404, description = "There is none", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is the only way in, or the user is being changed", body = Problem, content_type = "application/problem+json"),
    ),
    security(("session" = [])),
)]
pub async fn remove(State(door): State<Arc<Door>>, person: Person, Path(passkey): Path<String>) -> Answer<StatusCode> {
    let user = person.user(&door).await?;
    door.vault.remove_passkey(&person.realm, user, &passkey).await?;
    Ok(StatusCode::NO_CONTENT)
}
