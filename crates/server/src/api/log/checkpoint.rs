//! `GET /log/checkpoint`.

use std::sync::Arc;

use axum::{extract::State, http::header, response::IntoResponse};

use crate::{door::Door, problem::Answer};

/// The newest signed checkpoint of the log
#[utoipa::path(
    get, path = "/log/checkpoint", tag = "log",
    responses((status = 200, description = "A signed note", body = String, content_type = "text/plain")),
)]
pub async fn checkpoint(State(door): State<Arc<Door>>) -> Answer<impl IntoResponse> {
    let note = door.vault.get_checkpoint().await?;
    Ok((
        [
            (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
            (header::CACHE_CONTROL, "no-cache"),
        ],
        note,
    ))
}
