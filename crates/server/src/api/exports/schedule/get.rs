//! `GET /v1/accounts/{account}/exports/schedule`.

use std::sync::Arc;

use axum::{Json, extract::State};

use super::body::ScheduleBody;
use crate::{
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// Exports on schedule, and their latest runs
#[utoipa::path(
    get, path = "/v1/accounts/{account}/exports/schedule", tag = "exports", operation_id = "get_export_schedule",
    params(("account" = String, Path, description = "Account SID")),
    responses(
        (status = 200, description = "The schedule; a bucket's keys are not shown", body = ScheduleBody),
        (status = 404, description = "There is none, or no such account for this token", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn get(State(door): State<Arc<Door>>, caller: Caller) -> Answer<Json<ScheduleBody>> {
    let account = door.vault.get_account(&caller.account).await?;
    let schedule = door.vault.find_schedule(&account).await?;
    let schedule = schedule.ok_or_else(|| Problem::not_found("schedule"))?;
    let runs = door.vault.list_export_runs(&account).await?;
    Ok(Json(ScheduleBody::new(&schedule, runs)))
}
