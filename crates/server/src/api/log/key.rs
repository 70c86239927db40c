//! `GET /log/key`.

use std::sync::Arc;

use axum::{extract::State, http::header, response::IntoResponse};

use crate::door::Door;

/// The key that checks the log and the certificates
///
/// Compare it with what the operator gave you by another way.
#[utoipa::path(
    get, path = "/log/key", tag = "log",
    responses((status = 200, description = "A C2SP verifier key", body = String, content_type = "text/plain")),
)]
pub async fn key(State(door): State<Arc<Door>>) -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "text/plain; charset=utf-8")],
        format!("{}\n", door.vault.verifier_key()),
    )
}
