//! `GET /log/tile/...`.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::header,
    response::IntoResponse,
};

use crate::{
    door::Door,
    problem::{Answer, Problem},
};

/// A tile or entry bundle of the log
#[utoipa::path(
    get, path = "/log/tile/{path}", tag = "log",
    params(("path" = String, Path, description = "Path by C2SP tlog-tiles, such as `0/000` or `entries/000.p/5`")),
    responses(
        (status = 200, description = "The tile", body = String, content_type = "application/octet-stream"),
        (status = 404, description = "There is none", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn tile(State(door): State<Arc<Door>>, Path(path): Path<String>) -> Answer<impl IntoResponse> {
    let bytes = door.vault.get_log_part(&format!("tile/{path}")).await?;
    // A tile never changes; a partial one is replaced by a fuller one of another name and may go.
    let cache = if path.contains(".p/") {
        "public, max-age=60"
    } else {
        "public, max-age=31536000, immutable"
    };
    Ok((
        [
            (header::CONTENT_TYPE, "application/octet-stream"),
            (header::CACHE_CONTROL, cache),
        ],
        bytes,
    ))
}
