//! `POST /v1/accounts/{account}/suppressions`.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;
use utoipa::ToSchema;

use super::list::SuppressionBody;
use crate::{
    api::params::{JsonBody, parse_number, read_json},
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// A number to suppress.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSuppression {
    /// The number. It is not kept: a keyed hash of it is.
    #[schema(min_length = 1, max_length = 64)]
    pub number: String,
    /// Why; without the number.
    #[schema(min_length = 1, max_length = 500)]
    pub reason: String,
}

/// Suppress a number
///
/// It is taken off every list, and neither added as a contact nor to a list again. Suppressing it twice changes nothing.
#[utoipa::path(
    post, path = "/v1/accounts/{account}/suppressions", tag = "suppressions", operation_id = "suppress",
    params(("account" = String, Path, description = "Account SID")),
    request_body = NewSuppression,
    responses(
        (status = 201, description = "Suppressed", body = SuppressionBody),
        (status = 404, description = "No such account for this token", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Refused, with the reason and the field", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn create(
    State(door): State<Arc<Door>>,
    caller: Caller,
    body: JsonBody<NewSuppression>,
) -> Answer<(StatusCode, Json<SuppressionBody>)> {
    let new = read_json(body)?;
    let account = door.vault.get_account(&caller.account).await?;
    let number = parse_number("number", &new.number, &account)?;
    let made = door.vault.suppress(&account, &number, &new.reason).await?;
    Ok((StatusCode::CREATED, Json(made.into())))
}
