//! `GET /v1/sessions`.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{door::Door, people::Person, problem::Answer};

/// A user's sessions.
#[derive(Serialize, ToSchema)]
pub struct Sessions {
    /// Oldest first.
    pub sessions: Vec<OwnSession>,
}

/// A session of one's own.
#[derive(Serialize, ToSchema)]
pub struct OwnSession {
    /// Identifier.
    pub id: String,
    /// Whether it is the one that asks.
    pub current: bool,
    /// `password`, `passkey` or `invitation`.
    pub method: &'static str,
    /// The browser, as it names itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// When it began.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When it was used last, give or take a minute.
    #[schema(format = DateTime)]
    pub seen_at: String,
}

/// List one's own sessions
#[utoipa::path(
    get, path = "/v1/sessions", tag = "session", operation_id = "list_sessions",
    responses((status = 200, description = "All that are not over", body = Sessions)),
    security(("session" = [])),
)]
pub async fn list(State(door): State<Arc<Door>>, person: Person) -> Answer<Json<Sessions>> {
    let sessions = door
        .vault
        .list_sessions(&person.realm, person.user_id(), door.lifetime)
        .await?;
    let sessions = sessions.into_iter().map(|session| OwnSession {
        id: session.session.to_string(),
        current: session.session == person.signed.session,
        method: session.method.as_str(),
        agent: session.agent,
        created_at: session.created_at.to_string(),
        seen_at: session.seen_at.to_string(),
    });
    Ok(Json(Sessions {
        sessions: sessions.collect(),
    }))
}
