//! `GET /v1/accounts/{account}/retention`.

use std::sync::Arc;

use axum::{Json, extract::State};

use super::body::RetentionBody;
use crate::{
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// How long data is kept
#[utoipa::path(
    get, path = "/v1/accounts/{account}/retention", tag = "retention", operation_id = "get_retention",
    params(("account" = String, Path, description = "Account SID"),),
    responses(
        (status = 200, description = "The settings in force and to come", body = RetentionBody),
        (status = 404, description = "There is none, it is gone, or it is not this token's", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn get(State(door): State<Arc<Door>>, caller: Caller) -> Answer<Json<RetentionBody>> {
    let account = door.vault.get_account(&caller.account).await?;
    Ok(Json(RetentionBody::new(&account.policy, door.vault.now())))
}
