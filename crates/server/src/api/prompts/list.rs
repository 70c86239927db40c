//! `GET /v1/accounts/{account}/prompts`.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::body::PromptBody;
use crate::{
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// An account's prompts.
#[derive(Serialize, ToSchema)]
pub struct Prompts {
    /// By their names.
    pub prompts: Vec<PromptBody>,
}

/// The account's prompts
#[utoipa::path(
    get, path = "/v1/accounts/{account}/prompts", tag = "flows", operation_id = "list_prompts",
    params(("account" = String, Path, description = "Account SID")),
    responses(
        (status = 200, description = "The prompts", body = Prompts),
        (status = 404, description = "No such account for this token", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn list(State(door): State<Arc<Door>>, caller: Caller) -> Answer<Json<Prompts>> {
    let account = door.vault.get_account(&caller.account).await?;
    let prompts = door.vault.list_prompts(&account).await?;
    Ok(Json(Prompts {
        prompts: prompts.into_iter().map(PromptBody::from).collect(),
    }))
}
