//! `GET /v1/accounts/{account}/alerts`.

use std::sync::Arc;

use axum::{Json, extract::State};

use super::AlertsBody;
use crate::{
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// Who is told by e-mail
#[utoipa::path(
    get, path = "/v1/accounts/{account}/alerts", tag = "alerts", operation_id = "get_alerts",
    params(("account" = String, Path, description = "Account SID")),
    responses(
        (status = 200, description = "Addresses and events", body = AlertsBody),
        (status = 404, description = "No such account for this token", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn get(State(door): State<Arc<Door>>, caller: Caller) -> Answer<Json<AlertsBody>> {
    let account = door.vault.get_account(&caller.account).await?;
    Ok(Json(door.line.get_alerts(&account).await?.into()))
}
