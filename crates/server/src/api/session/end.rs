//! `DELETE /v1/session`.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderName, HeaderValue, StatusCode, header},
};

use crate::{cookie, door::Door, people::Person, problem::Answer};

/// Sign out
#[utoipa::path(
    delete, path = "/v1/session", tag = "session", operation_id = "end_session",
    responses((status = 204, description = "Signed out; the cookie is removed")),
    security(("session" = [])),
)]
pub async fn end(
    State(door): State<Arc<Door>>,
    person: Person,
) -> Answer<(StatusCode, [(HeaderName, HeaderValue); 1])> {
    door.vault.end_session(&person.secret).await?;
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie::unset())]))
}
