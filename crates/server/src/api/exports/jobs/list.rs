//! `GET /v1/accounts/{account}/exports/jobs`.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::body::ExportJobBody;
use crate::{
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// Export jobs.
#[derive(Serialize, ToSchema)]
pub struct ExportJobs {
    /// The newest first.
    pub jobs: Vec<ExportJobBody>,
}

/// Export jobs
///
/// Those that are not over, and the latest thirty that are.
#[utoipa::path(
    get, path = "/v1/accounts/{account}/exports/jobs", tag = "exports", operation_id = "list_export_jobs",
    params(("account" = String, Path, description = "Account SID")),
    responses(
        (status = 200, description = "The jobs", body = ExportJobs),
        (status = 404, description = "No such account for this token", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn list(State(door): State<Arc<Door>>, caller: Caller) -> Answer<Json<ExportJobs>> {
    let account = door.vault.get_account(&caller.account).await?;
    let jobs = door.vault.list_export_jobs(&account).await?;
    let jobs = jobs.into_iter();
    Ok(Json(ExportJobs {
        jobs: jobs
            .map(|(job, state)| ExportJobBody::new(&account.sid, &job, state))
            .collect(),
    }))
}
