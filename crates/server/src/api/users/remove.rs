//! `DELETE /v1/accounts/{account}/users/{user}`.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::StatusCode,
};

use super::parse_user;
use crate::{
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// Remove a user
///
/// With sessions and passkeys. The account's owner cannot be locked out.
#[utoipa::path(
    delete, path = "/v1/accounts/{account}/users/{user}", tag = "credentials", operation_id = "remove_user",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("user" = String, Path, description = "Identifier of the user"),
    ),
    responses(
        (status = 204, description = "Removed"),
        (status = 404, description = "There is none", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is the owner's last way in", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The user may more than you", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = []), ("session" = [])),
)]
pub async fn remove(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(place): Path<(String, String)>,
) -> Answer<StatusCode> {
    let realm = door.vault.get_realm(Some(&caller.account)).await?;
    let user = parse_user(&place.1)?;
    door.vault.delete_user(&realm, user, Some(&caller.powers())).await?;
    Ok(StatusCode::NO_CONTENT)
}
