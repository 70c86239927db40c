//! `GET /v1/accounts/{account}/flows`.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::body::FlowBody;
use crate::{
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// An account's flows.
#[derive(Serialize, ToSchema)]
pub struct Flows {
    /// By their names; the newest version of each.
    pub flows: Vec<FlowBody>,
}

/// The account's call flows
#[utoipa::path(
    get, path = "/v1/accounts/{account}/flows", tag = "flows", operation_id = "list_flows",
    params(("account" = String, Path, description = "Account SID")),
    responses(
        (status = 200, description = "The flows", body = Flows),
        (status = 404, description = "No such account for this token", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn list(State(door): State<Arc<Door>>, caller: Caller) -> Answer<Json<Flows>> {
    let account = door.vault.get_account(&caller.account).await?;
    let flows = door.vault.list_flows(&account).await?;
    Ok(Json(Flows {
        flows: flows.into_iter().map(FlowBody::from).collect(),
    }))
}
