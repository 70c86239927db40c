//! `GET /v1/accounts/{account}/webhooks`.

use std::sync::Arc;

use axum::{Json, extract::State};
use callvault_app::line::Endpoint;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// An account's endpoints.
#[derive(Serialize, ToSchema)]
pub struct Endpoints {
    /// In order of identifier.
    pub webhooks: Vec<EndpointBody>,
}

/// An endpoint.
#[derive(Serialize, ToSchema)]
pub struct EndpointBody {
    /// Identifier.
    pub id: String,
    /// Address.
    pub url: String,
    /// Events it is told; all when there are none.
    pub events: Vec<String>,
    /// When it was made.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When it was disabled, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub disabled_at: Option<String>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled_because: Option<String>,
}

impl From<Endpoint> for EndpointBody {
    fn from(endpoint: Endpoint) -> Self {
        let (disabled_at, disabled_because) = endpoint.disabled.unzip();
        Self {
            id: endpoint.id,
            url: endpoint.url,
            events: endpoint.events,
            created_at: endpoint.created_at.to_string(),
            disabled_at: disabled_at.map(|at| at.to_string()),
            disabled_because,
        }
    }
}

/// List endpoints
#[utoipa::path(
    get, path = "/v1/accounts/{account}/webhooks", tag = "webhooks", operation_id = "list_webhooks",
    params(("account" = String, Path, description = "Account SID")),
    responses(
        (status = 200, description = "All of them; secrets are not shown", body = Endpoints),
        (status = 404, description = "No such account for this token", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn list(State(door): State<Arc<Door>>, caller: Caller) -> Answer<Json<Endpoints>> {
    let account = door.vault.get_account(&caller.account).await?;
    let endpoints = door.line.list_endpoints(&account).await?;
    Ok(Json(Endpoints {
        webhooks: endpoints.into_iter().map(EndpointBody::from).collect(),
    }))
}
