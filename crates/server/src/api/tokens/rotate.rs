//! `POST /v1/accounts/{account}/tokens/{key}/rotate`.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use callvault_app::token::OVERLAP_S;

use super::create::MadeToken;
use crate::{
    api::params::Params,
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// Rotate a token
///
/// Makes its successor, with the same role, scopes and label, and lets the old one live on for an overlap.
#[utoipa::path(
    post, path = "/v1/accounts/{account}/tokens/{key}/rotate", tag = "credentials", operation_id = "rotate_token",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("key" = String, Path, description = "Key of the token"),
        ("overlap_s" = Option<u32>, Query, description = "Seconds that the old one lives on, 0 to 2592000; 86400 if absent"),
    ),
    responses(
        (status = 201, description = "The successor", body = MadeToken),
        (status = 404, description = "There is none in force", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It was rotated before, or is being changed", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Refused, with the reason and the field", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = []), ("session" = [])),
)]
pub async fn rotate(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(place): Path<(String, String)>,
    mut params: Params,
) -> Answer<(StatusCode, Json<MadeToken>)> {
    let overlap_s = params.take_as("overlap_s", "a number of seconds from 0 to 2592000")?;
    params.finish()?;
    let new = door
        .vault
        .rotate_token(
            &caller.account,
            &place.1,
            overlap_s.unwrap_or(OVERLAP_S),
            Some(&caller.powers()),
        )
        .await?;
    Ok((StatusCode::CREATED, Json(new.into())))
}
