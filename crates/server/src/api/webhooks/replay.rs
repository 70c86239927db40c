//! `POST /v1/accounts/{account}/webhooks/{id}/replay`.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    api::params::Params,
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// What is told again.
#[derive(Serialize, ToSchema)]
pub struct Replayed {
    /// Events.
    pub events: u64,
}

/// Enable an endpoint and replay
///
/// What was given up since a moment is told again, with the ids that it had.
#[utoipa::path(
    post, path = "/v1/accounts/{account}/webhooks/{id}/replay", tag = "webhooks", operation_id = "replay_webhook",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("id" = String, Path, description = "Identifier of the endpoint"),
        ("since" = String, Query, description = "RFC 3339; deliveries are kept 30 days"),
    ),
    responses(
        (status = 200, description = "Told again", body = Replayed),
        (status = 404, description = "There is none", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A wrong parameter", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn replay(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(place): Path<(String, String)>,
    mut params: Params,
) -> Answer<Json<Replayed>> {
    let since = params.take_time("since")?;
    let since = since.ok_or_else(|| Problem::invalid("since", "Say from when on."))?;
    params.finish()?;
    let account = door.vault.get_account(&caller.account).await?;
    let events = door.line.replay(&account, &place.1, since).await?;
    Ok(Json(Replayed { events }))
}
