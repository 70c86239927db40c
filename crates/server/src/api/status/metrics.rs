//! `GET /metrics`.

use std::sync::Arc;

use axum::{extract::State, http::header, response::IntoResponse};

use crate::{
    door::Door,
    problem::{Answer, Problem},
};

/// Counters for Prometheus
///
/// Served when the configuration says `metrics = true`. No label names an account.
#[utoipa::path(
    get, path = "/metrics", tag = "status",
    responses(
        (status = 200, description = "Prometheus text format", body = String, content_type = "text/plain"),
        (status = 404, description = "Not switched on", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn metrics(State(door): State<Arc<Door>>) -> Answer<impl IntoResponse> {
    if !door.serves_metrics {
        return Err(Problem::not_found("path"));
    }
    Ok((
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4")],
        door.metrics.render(door.vault.region()),
    ))
}
