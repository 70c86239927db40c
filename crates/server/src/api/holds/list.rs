//! `GET /v1/accounts/{account}/holds`.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::body::HoldBody;
use crate::{
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// An account's holds.
#[derive(Serialize, ToSchema)]
pub struct HoldList {
    /// Lifted ones included, oldest first.
    pub holds: Vec<HoldBody>,
}

/// List holds
///
/// With what each one blocks: its records by class, and how many of them only a hold keeps.
#[utoipa::path(
    get, path = "/v1/accounts/{account}/holds", tag = "holds", operation_id = "list_holds",
    params(("account" = String, Path, description = "Account SID"),),
    responses(
        (status = 200, description = "Every hold", body = HoldList),
        (status = 404, description = "There is none, it is gone, or it is not this token's", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn list(State(door): State<Arc<Door>>, caller: Caller) -> Answer<Json<HoldList>> {
    let views = door.vault.list_holds(&caller.account).await?;
    Ok(Json(HoldList {
        holds: views.iter().map(|view| HoldBody::new(view, caller.reader())).collect(),
    }))
}
