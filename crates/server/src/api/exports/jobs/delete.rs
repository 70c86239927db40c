//! `DELETE /v1/accounts/{account}/exports/jobs/{id}`.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::StatusCode,
};

use crate::{
    api::params::parse_sid,
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// Cancel or forget an export job
///
/// One that is under way ends within some seconds, one whose process died within two minutes; what it brought to a target
/// by then is removed. What a job that is done brought to a target stays.
#[utoipa::path(
    delete, path = "/v1/accounts/{account}/exports/jobs/{id}", tag = "exports", operation_id = "delete_export_job",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("id" = String, Path, description = "The job"),
    ),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "There is none, or it is not this token's", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn delete(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(place): Path<(String, String)>,
) -> Answer<StatusCode> {
    let id = parse_sid(&place.1, "export job")?;
    let account = door.vault.get_account(&caller.account).await?;
    door.vault.delete_export_job(&account, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
