//! `GET /ready`.

use std::sync::Arc;

use axum::extract::State;

use crate::{
    door::Door,
    problem::{Answer, Problem},
};

/// Whether requests can be answered: the catalog is there
#[utoipa::path(
    get, path = "/ready", tag = "status",
    responses(
        (status = 200, description = "They can", body = String),
        (status = 503, description = "The catalog cannot be reached", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn ready(State(door): State<Arc<Door>>) -> Answer<&'static str> {
    door.vault
        .catalog()
        .ping()
        .await
        .map_err(callvault_app::VaultError::from)?;
    Ok("ready\n")
}
