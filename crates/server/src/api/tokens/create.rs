//! `POST /v1/accounts/{account}/tokens`.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use callvault_app::{
    account::{NewToken, Role},
    scope::{Scope, Scopes},
    token::TokenOrder,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    api::params::{JsonBody, parse_time, read_json},
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// A token to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// `owner`, `admin`, `developer`, `compliance`, `support` or `auditor`; at most what you may yourself.
    #[schema(pattern = "^(owner|admin|developer|compliance|support|auditor)$")]
    pub role: String,
    /// What it is narrowed to, of `records:read`, `records:write`, `recordings:read`, `recordings:write`, `exports`,
    /// `retention`, `holds`, `deletions`, `webhooks`, `logs`, `keys`, `users`, `platform`; all that its role may if absent or
    /// empty.
    #[serde(default)]
    #[schema(max_items = 64)]
    pub scopes: Vec<String>,
    /// What people call it, without control characters; kept sealed.
    #[schema(max_length = 100)]
    pub label: Option<String>,
    /// When it ends by itself, RFC 3339; until it is revoked if absent.
    pub expires_at: Option<String>,
}

/// A token that was made.
#[derive(Serialize, ToSchema)]
pub struct MadeToken {
    /// The user of HTTP Basic.
    pub key: String,
    /// The password of HTTP Basic; shown once.
    pub secret: String,
}

impl From<NewToken> for MadeToken {
    fn from(token: NewToken) -> Self {
        Self {
            key: token.token_key,
            secret: token.secret,
        }
    }
}

/// Make a token
///
/// The secret is in this answer and nowhere else. Nobody makes a token that may more than he himself.
#[utoipa::path(
    post, path = "/v1/accounts/{account}/tokens", tag = "credentials", operation_id = "create_token",
    params(("account" = String, Path, description = "Account SID")),
    request_body = TokenRequest,
    responses(
        (status = 201, description = "Made", body = MadeToken),
        (status = 404, description = "No such account for this token", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The account has too many tokens", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Refused, with the reason and the field", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = []), ("session" = [])),
)]
pub async fn create(
    State(door): State<Arc<Door>>,
    caller: Caller,
    body: JsonBody<TokenRequest>,
) -> Answer<(StatusCode, Json<MadeToken>)> {
    let request = read_json(body)?;
    let role: Role = request.role.parse()?;
    let scopes: Vec<Scope> = request
        .scopes
        .iter()
        .map(|name| name.parse())
        .collect::<Result<_, _>>()?;
    let order = TokenOrder {
        role,
        scopes: Scopes::of(scopes),
        label: request.label,
        expires_at: request
            .expires_at
            .map(|text| parse_time("expires_at", &text))
            .transpose()?,
    };
    let new = door
        .vault
        .issue_token(&caller.account, order, Some(&caller.powers()))
        .await?;
    Ok((StatusCode::CREATED, Json(new.into())))
}
