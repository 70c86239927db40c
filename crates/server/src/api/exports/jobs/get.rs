//! `GET /v1/accounts/{account}/exports/jobs/{id}`.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};

use super::body::ExportJobBody;
use crate::{
    api::params::parse_sid,
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// One export job: how far it is, and what it came to
#[utoipa::path(
    get, path = "/v1/accounts/{account}/exports/jobs/{id}", tag = "exports", operation_id = "get_export_job",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("id" = String, Path, description = "The job"),
    ),
    responses(
        (status = 200, description = "The job", body = ExportJobBody),
        (status = 404, description = "There is none, or it is not this token's", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn get(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(place): Path<(String, String)>,
) -> Answer<Json<ExportJobBody>> {
    let id = parse_sid(&place.1, "export job")?;
    let account = door.vault.get_account(&caller.account).await?;
    let (job, state) = door.vault.get_export_job(&account, id).await?;
    Ok(Json(ExportJobBody::new(&account.sid, &job, state)))
}
