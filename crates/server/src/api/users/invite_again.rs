//! `POST /v1/accounts/{account}/users/{user}/invitation`.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};

use super::{InvitationBody, parse_user};
use crate::{
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// Invite a user again
///
/// For who lost the invitation, the password or the passkeys. The older invitation stops working; accepting this one sets a
/// new password, removes the passkeys and ends the sessions.
#[utoipa::path(
    post, path = "/v1/accounts/{account}/users/{user}/invitation", tag = "credentials", operation_id = "invite_user_again",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("user" = String, Path, description = "Identifier of the user"),
    ),
    responses(
        (status = 201, description = "Invited", body = InvitationBody),
        (status = 404, description = "There is none", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The user is being changed", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The user may more than you", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = []), ("session" = [])),
)]
pub async fn invite_again(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(place): Path<(String, String)>,
) -> Answer<(StatusCode, Json<InvitationBody>)> {
    let realm = door.vault.get_realm(Some(&caller.account)).await?;
    let user = parse_user(&place.1)?;
    let letter = door.vault.invite_again(&realm, user, Some(&caller.powers())).await?;
    Ok((StatusCode::CREATED, Json(letter.into())))
}
