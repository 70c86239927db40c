//! `GET /v1/accounts/{account}/suppressions`.

use std::sync::Arc;

use axum::{Json, extract::State};
use callvault_app::contact::suppression::Suppression;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    api::params::Params,
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// Suppressed numbers.
#[derive(Serialize, ToSchema)]
pub struct Suppressions {
    /// In order of identifier.
    pub suppressions: Vec<SuppressionBody>,
    /// Send it as `after` for the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_after: Option<String>,
}

/// A suppressed number, as far as it is known.
#[derive(Serialize, ToSchema)]
pub struct SuppressionBody {
    /// Identifier: the number's keyed hash.
    pub id: String,
    /// Since when.
    #[schema(format = DateTime)]
    pub at: String,
    /// Why.
    pub reason: String,
}

impl From<Suppression> for SuppressionBody {
    fn from(suppression: Suppression) -> Self {
        Self {
            id: suppression.id,
            at: suppression.at.to_string(),
            reason: suppression.reason,
        }
    }
}

/// List suppressions
///
/// With `number`, the entry of that number if there is one.
#[utoipa::path(
    get, path = "/v1/accounts/{account}/suppressions", tag = "suppressions", operation_id = "list_suppressions",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("number" = Option<String>, Query, description = "Is this number suppressed?"),
        ("after" = Option<String>, Query, description = "Continue after this identifier"),
        ("limit" = Option<u32>, Query, description = "1 to 1000, 50 if absent"),
    ),
    responses(
        (status = 200, description = "A page", body = Suppressions),
        (status = 404, description = "No such account for this token", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn list(State(door): State<Arc<Door>>, caller: Caller, mut params: Params) -> Answer<Json<Suppressions>> {
    let account = door.vault.get_account(&caller.account).await?;
    let number = params.take_number("number", &account)?;
    let after = params.take("after").unwrap_or_default();
    let limit = params.take_limit()?;
    params.finish()?;
    if after.len() > 32 || !after.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Problem::invalid("after", "Take it from `next_after`."));
    }
    let found = match number {
        Some(number) => door
            .vault
            .find_suppression(&account, &number)
            .await?
            .into_iter()
            .collect(),
        None => {
            let limit = u32::try_from(limit).unwrap_or(u32::MAX);
            door.vault.list_suppressions(&account, &after, limit).await?
        }
    };
    let next_after = found
        .last()
        .filter(|_| found.len() == limit)
        .map(|last| last.id.clone());
    Ok(Json(Suppressions {
        suppressions: found.into_iter().map(SuppressionBody::from).collect(),
        next_after,
    }))
}
