//! `DELETE /v1/accounts/{account}/tokens/{key}`.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::StatusCode,
};

use crate::{
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// Revoke a token
///
/// The next request with it is refused. The last way in of the account's owner stays.
#[utoipa::path(
    delete, path = "/v1/accounts/{account}/tokens/{key}", tag = "credentials", operation_id = "revoke_token",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("key" = String, Path, description = "Key of the token"),
    ),
    responses(
        (status = 204, description = "Revoked"),
        (status = 404, description = "There is none", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is the owner's last way in", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "It may more than you", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = []), ("session" = [])),
)]
pub async fn revoke(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(place): Path<(String, String)>,
) -> Answer<StatusCode> {
    door.vault
        .revoke_token_by(&caller.account, &place.1, &caller.powers())
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
