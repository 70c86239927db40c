//! `GET /openapi.json`.

use axum::Json;
use utoipa::OpenApi;

/// This description
#[utoipa::path(get, path = "/openapi.json", tag = "status", responses((status = 200, description = "OpenAPI 3.1", body = Object)))]
pub async fn openapi() -> Json<utoipa::openapi::OpenApi> {
    Json(crate::api::ApiDoc::openapi())
}
