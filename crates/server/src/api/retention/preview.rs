//! `GET /v1/accounts/{account}/retention/preview`.

use std::sync::Arc;

use axum::{Json, extract::State};

use super::body::ChangeBody;
use crate::{
    api::params::Params,
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// What a change would delete
///
/// Nothing is changed.
#[utoipa::path(
    get, path = "/v1/accounts/{account}/retention/preview", tag = "retention", operation_id = "preview_retention",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("recording_days" = u32, Query, description = "Days to keep recordings"),
    ),
    responses(
        (status = 200, description = "What would happen, and when", body = ChangeBody),
        (status = 404, description = "There is none, it is gone, or it is not this token's", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Refused, with the reason and the field", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn preview(State(door): State<Arc<Door>>, caller: Caller, mut params: Params) -> Answer<Json<ChangeBody>> {
    let days = params.take_as("recording_days", "a number of days")?;
    let days = days.ok_or_else(|| Problem::invalid("recording_days", "Expected a number of days."))?;
    params.finish()?;
    let (change, preview) = door.vault.preview_retention(&caller.account, days).await?;
    Ok(Json(ChangeBody::new(&change, &preview)))
}
