//! `GET /v1/accounts/{account}/users`.

use std::sync::Arc;

use axum::{Json, extract::State};
use callvault_app::user::User;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// An account's users.
#[derive(Serialize, ToSchema)]
pub struct Users {
    /// In the order they were invited.
    pub users: Vec<UserBody>,
}

/// A user.
#[derive(Serialize, ToSchema)]
pub struct UserBody {
    /// Identifier.
    pub id: String,
    /// E-mail address.
    pub email: String,
    /// Name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Role.
    pub role: &'static str,
    /// Passkeys registered.
    pub passkeys: usize,
    /// When the user was invited.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When the invitation was accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub joined_at: Option<String>,
    /// Until when an invitation can be accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub invited_until: Option<String>,
    /// When the user was disabled, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub disabled_at: Option<String>,
}

impl From<&User> for UserBody {
    fn from(user: &User) -> Self {
        Self {
            id: user.id().to_string(),
            email: user.email().to_owned(),
            name: user.name().map(ToOwned::to_owned),
            role: user.role().as_str(),
            passkeys: user.passkeys().len(),
            created_at: user.created_at().to_string(),
            joined_at: user.joined_at().map(|at| at.to_string()),
            invited_until: user.invited_until().map(|at| at.to_string()),
            disabled_at: user.disabled_at().map(|at| at.to_string()),
        }
    }
}

/// List users
#[utoipa::path(
    get, path = "/v1/accounts/{account}/users", tag = "credentials", operation_id = "list_users",
    params(("account" = String, Path, description = "Account SID")),
    responses(
        (status = 200, description = "All of them", body = Users),
        (status = 404, description = "No such account for this token", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = []), ("session" = [])),
)]
pub async fn list(State(door): State<Arc<Door>>, caller: Caller) -> Answer<Json<Users>> {
    let realm = door.vault.get_realm(Some(&caller.account)).await?;
    let users = door.vault.list_users(&realm).await?;
    Ok(Json(Users {
        users: users.iter().map(UserBody::from).collect(),
    }))
}
