//! `GET /health`.

/// Whether the process lives
#[utoipa::path(get, path = "/health", tag = "status", responses((status = 200, description = "It does", body = String)))]
pub async fn health() -> &'static str {
    "ok\n"
}
