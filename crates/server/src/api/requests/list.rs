//! `GET /v1/accounts/{account}/requests`.

use std::sync::Arc;

use axum::{Json, extract::State};
use callvault_app::read::Cursor;
use serde::Serialize;
use utoipa::ToSchema;

use super::body::RequestBody;
use crate::{
    api::params::{Params, show_cursor},
    door::{Caller, Door},
    problem::{Answer, Problem},
};

const STATES: [&str; 6] = ["open", "approved", "done", "declined", "withdrawn", "expired"];

/// A page of requests.
#[derive(Serialize, ToSchema)]
pub struct RequestPage {
    /// Newest first.
    pub requests: Vec<RequestBody>,
    /// Pass it as `after` to go on; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_after: Option<String>,
}

/// List requests
#[utoipa::path(
    get, path = "/v1/accounts/{account}/requests", tag = "requests", operation_id = "list_requests",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("state" = Option<String>, Query, description = "`open`, `approved`, `done`, `declined`, `withdrawn` or `expired`"),
        ("limit" = Option<u32>, Query, description = "1 to 1000, 50 if absent"),
        ("after" = Option<String>, Query, description = "`next_after` of the page before"),
    ),
    responses(
        (status = 200, description = "A page", body = RequestPage),
        (status = 404, description = "No such account for this token", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A wrong parameter", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn list(State(door): State<Arc<Door>>, caller: Caller, mut params: Params) -> Answer<Json<RequestPage>> {
    let state = params.take("state");
    if state.as_deref().is_some_and(|state| !STATES.contains(&state)) {
        return Err(Problem::invalid(
            "state",
            format!("Expected one of {}.", STATES.join(", ")),
        ));
    }
    let after = params.take_cursor()?.map(|cursor| (cursor.at, cursor.sid));
    let limit = params.take_limit()?;
    params.finish()?;
    let account = door.vault.get_account(&caller.account).await?;
    let listed = door.line.list_requests(&account, state.as_deref(), after, limit).await;
    let (views, next) = listed?;
    Ok(Json(RequestPage {
        requests: views.iter().map(|view| RequestBody::new(&account.sid, view)).collect(),
        next_after: next.map(|(at, sid)| show_cursor(Cursor { at, sid })),
    }))
}
