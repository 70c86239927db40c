//! `DELETE /v1/sessions/{session}`.

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

/// End one of one's own sessions
#[utoipa::path(
    delete, path = "/v1/sessions/{session}", tag = "session", operation_id = "revoke_session",
    params(("session" = String, Path, description = "Identifier of the session")),
    responses(
        (status = 204, description = "Ended"),
        (status = 404, description = "There is none", body = Problem, content_type = "application/problem+json"),
    ),
    security(("session" = [])),
)]
pub async fn revoke(State(door): State<Arc<Door>>, person: Person, Path(session): Path<String>) -> Answer<StatusCode> {
    door.vault
        .end_session_of(&person.realm, person.user_id(), &session)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
