//! `GET /v1/accounts/{account}/records/recordings`.

use std::sync::Arc;

use axum::{Json, extract::State};
use callvault_app::{read::Cursor, store::rows::RecordingQuery};

use super::body::{RecordingBody, RecordingPage};
use crate::{
    api::params::{Params, show_cursor},
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// List recordings
///
/// Newest first, paged like calls.
#[utoipa::path(
    get, path = "/v1/accounts/{account}/records/recordings", tag = "recordings", operation_id = "list_recordings",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("from" = Option<String>, Query, description = "Began at or after, RFC 3339"),
        ("to" = Option<String>, Query, description = "Began before, RFC 3339"),
        ("number" = Option<String>, Query, description = "With this party; any spelling"),
        ("call_sid" = Option<String>, Query, description = "Of this call"),
        ("limit" = Option<u32>, Query, description = "1 to 1000, 50 if absent"),
        ("after" = Option<String>, Query, description = "`next_after` of the page before"),
    ),
    responses(
        (status = 200, description = "A page", body = RecordingPage),
        (status = 404, description = "There is none, it is gone, or it is not this token's", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Refused, with the reason and the field", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn list(State(door): State<Arc<Door>>, caller: Caller, mut params: Params) -> Answer<Json<RecordingPage>> {
    let account = door.vault.get_account(&caller.account).await?;
    let limit = params.take_limit()?;
    let query = RecordingQuery {
        from: params.take_time("from")?,
        to: params.take_time("to")?,
        call_sid: params.take_sid("call_sid")?,
        call_sids: Vec::new(),
        party: params
            .take_number("number", &account)?
            .map(|number| account.number_hash(&number)),
        after: params.take_cursor()?.map(|cursor| (cursor.at, cursor.sid)),
        newest_first: true,
        limit: u32::try_from(limit).unwrap_or(u32::MAX),
    };
    params.finish()?;
    let (views, next) = door
        .vault
        .list_recordings(&caller.account, query, caller.reader())
        .await?;
    Ok(Json(RecordingPage {
        recordings: views.iter().map(RecordingBody::from).collect(),
        next_after: next.map(|(at, sid)| show_cursor(Cursor { at, sid })),
    }))
}
