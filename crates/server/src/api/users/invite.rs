//! `POST /v1/accounts/{account}/users`.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;
use utoipa::ToSchema;

use super::InvitationBody;
use crate::{
    api::params::{JsonBody, read_json},
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// Who is invited.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// E-mail address; kept sealed.
    #[schema(max_length = 254, format = Email)]
    pub email: String,
    /// Name; kept sealed.
    #[schema(max_length = 200)]
    pub name: Option<String>,
    /// `owner`, `admin`, `developer`, `compliance`, `support` or `auditor`; at most what you may yourself.
    #[schema(pattern = "^(owner|admin|developer|compliance|support|auditor)$")]
    pub role: String,
}

/// Invite a user
///
/// The invitation is in this answer and nowhere else.
#[utoipa::path(
    post, path = "/v1/accounts/{account}/users", tag = "credentials", operation_id = "invite_user",
    params(("account" = String, Path, description = "Account SID")),
    request_body = NewUser,
    responses(
        (status = 201, description = "Invited", body = InvitationBody),
        (status = 404, description = "No such account for this token", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The account has too many users", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Refused, with the reason and the field", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = []), ("session" = [])),
)]
pub async fn invite(
    State(door): State<Arc<Door>>,
    caller: Caller,
    body: JsonBody<NewUser>,
) -> Answer<(StatusCode, Json<InvitationBody>)> {
    let new = read_json(body)?;
    let realm = door.vault.get_realm(Some(&caller.account)).await?;
    let role = new.role.parse()?;
    let (_, letter) = door
        .vault
        .invite_user(&realm, &new.email, new.name, role, Some(&caller.powers()))
        .await?;
    Ok((StatusCode::CREATED, Json(letter.into())))
}
