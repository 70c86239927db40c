//! `PUT /v1/accounts/{account}/users/{user}`.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use callvault_app::{account::Role, user::UserChange};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{list::UserBody, parse_user};
use crate::{
    api::params::{JsonBody, read_json},
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// What changes; what is absent stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserUpdate {
    /// Another role, at most what you may yourself.
    #[schema(pattern = "^(owner|admin|developer|compliance|support|auditor)$")]
    pub role: Option<String>,
    /// Whether the user is kept out.
    pub disabled: Option<bool>,
}

/// Change a user's role, or keep the user out
///
/// The user's sessions end; the next request finds the new rights. The account's owner cannot be locked out.
#[utoipa::path(
    put, path = "/v1/accounts/{account}/users/{user}", tag = "credentials", operation_id = "change_user",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("user" = String, Path, description = "Identifier of the user"),
    ),
    request_body = UserUpdate,
    responses(
        (status = 200, description = "Changed", body = UserBody),
        (status = 404, description = "There is none", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is the owner's last way in, or the user is being changed", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Refused, with the reason and the field", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = []), ("session" = [])),
)]
pub async fn change(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(place): Path<(String, String)>,
    body: JsonBody<UserUpdate>,
) -> Answer<Json<UserBody>> {
    let update = read_json(body)?;
    let user = parse_user(&place.1)?;
    let role = update.role.map(|role| role.parse::<Role>()).transpose()?;
    let change = UserChange {
        role,
        disabled: update.disabled,
    };
    let realm = door.vault.get_realm(Some(&caller.account)).await?;
    let user = door
        .vault
        .change_user(&realm, user, change, Some(&caller.powers()))
        .await?;
    Ok(Json(UserBody::from(&user)))
}
