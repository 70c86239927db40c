//! `GET /v1/accounts/{account}/tokens`.

use std::sync::Arc;

use axum::{Json, extract::State};
use callvault_app::token::TokenView;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// An account's tokens.
#[derive(Serialize, ToSchema)]
pub struct Tokens {
    /// Oldest first, revoked ones included.
    pub tokens: Vec<TokenBody>,
}

/// A token. Its secret is not kept.
#[derive(Serialize, ToSchema)]
pub struct TokenBody {
    /// The user of HTTP Basic.
    pub key: String,
    /// Role.
    pub role: String,
    /// What it is narrowed to; absent when it may all that its role may.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub scopes: Vec<&'static str>,
    /// What people call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// When it was made.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When it ends by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub expires_at: Option<String>,
    /// When it was revoked, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub revoked_at: Option<String>,
    /// The UTC day of its last use.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = Date)]
    pub last_used: Option<String>,
    /// The key of the token that takes its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub successor: Option<String>,
}

impl From<TokenView> for TokenBody {
    fn from(token: TokenView) -> Self {
        Self {
            scopes: token.scopes.names(),
            key: token.token_key,
            role: token.role,
            label: token.label,
            created_at: token.created_at.to_string(),
            expires_at: token.expires_at.map(|at| at.to_string()),
            revoked_at: token.revoked_at.map(|at| at.to_string()),
            last_used: token.used_day.map(|day| day.to_string()),
            successor: token.successor,
        }
    }
}

/// List tokens
#[utoipa::path(
    get, path = "/v1/accounts/{account}/tokens", tag = "credentials", operation_id = "list_tokens",
    params(("account" = String, Path, description = "Account SID")),
    responses(
        (status = 200, description = "All of them; secrets are not shown", body = Tokens),
        (status = 404, description = "No such account for this token", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = []), ("session" = [])),
)]
pub async fn list(State(door): State<Arc<Door>>, caller: Caller) -> Answer<Json<Tokens>> {
    let tokens = door.vault.list_tokens(&caller.account).await?;
    Ok(Json(Tokens {
        tokens: tokens.into_iter().map(TokenBody::from).collect(),
    }))
}
