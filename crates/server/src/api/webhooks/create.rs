//! `POST /v1/accounts/{account}/webhooks`.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    api::{
        params::{JsonBody, read_json},
        platform::form::{TARGET, read_target},
    },
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// An endpoint to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewEndpoint {
    /// `https://` or `http://`.
    pub url: String,
    /// Events to be told: `call.ended`, `message.ended`, `campaign.ended`, `recordings.lapsing`, `export.done`,
    /// `export.failed`, `request.opened`, `request.ended`; all if absent or empty.
    #[serde(default)]
    pub events: Vec<String>,
}

/// An endpoint that was made.
#[derive(Serialize, ToSchema)]
pub struct MadeEndpoint {
    /// Identifier.
    pub id: String,
    /// What deliveries are signed with (Standard Webhooks); shown once.
    pub secret: String,
}

/// Make an endpoint
///
/// Deliveries are signed as Standard Webhooks 1.0 says (`webhook-id`, `webhook-timestamp`, `webhook-signature`). One that is
/// not answered with 2xx within 15 seconds is tried again after 5 seconds, 5 and 30 minutes, 2, 5, 10, 14, 20 and 24 hours;
/// then, or at once on 410, the endpoint is disabled. Private, local and reserved addresses are not
/// posted to: the delivery log says so.
#[utoipa::path(
    post, path = "/v1/accounts/{account}/webhooks", tag = "webhooks", operation_id = "create_webhook",
    params(("account" = String, Path, description = "Account SID")),
    request_body = NewEndpoint,
    responses(
        (status = 201, description = "Made", body = MadeEndpoint),
        (status = 404, description = "No such account for this token", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Refused, with the reason and the field", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn create(
    State(door): State<Arc<Door>>,
    caller: Caller,
    body: JsonBody<NewEndpoint>,
) -> Answer<(StatusCode, Json<MadeEndpoint>)> {
    let new = read_json(body)?;
    let url = read_target(&new.url).ok_or_else(|| Problem::invalid("url", TARGET))?;
    let account = door.vault.get_account(&caller.account).await?;
    let made = door.line.create_endpoint(&account, url.to_string(), new.events).await?;
    Ok((
        StatusCode::CREATED,
        Json(MadeEndpoint {
            secret: made.shown_secret(),
            id: made.id,
        }),
    ))
}
