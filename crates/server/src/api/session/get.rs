//! `GET /v1/session`.

use std::sync::Arc;

use axum::{Json, extract::State};
use callvault_app::{session::SignedIn, user::User};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{door::Door, people::Person, problem::Answer};

/// Who is signed in.
#[derive(Serialize, ToSchema)]
pub struct SessionBody {
    /// Identifier of the session.
    pub id: String,
    /// Account; absent for a user of the operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Identifier of the user.
    pub user: String,
    /// E-mail address.
    pub email: String,
    /// Name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Role.
    pub role: &'static str,
    /// When the session ends, used or not.
    #[schema(format = DateTime)]
    pub ends_at: String,
}

impl SessionBody {
    pub(super) fn of(user: &User, signed: &SignedIn) -> Self {
        Self {
            id: signed.session.to_string(),
            account: signed.account.as_ref().map(ToString::to_string),
            user: user.id().to_string(),
            email: user.email().to_owned(),
            name: user.name().map(ToOwned::to_owned),
            role: signed.role.as_str(),
            ends_at: signed.ends_at.to_string(),
        }
    }

    /// Of who is signed in.
    ///
    /// # Errors
    /// Those of the vault.
    pub async fn of_person(door: &Door, person: &Person) -> Answer<Self> {
        Ok(Self::of(&person.user(door).await?, &person.signed))
    }
}

/// Say who is signed in
#[utoipa::path(
    get, path = "/v1/session", tag = "session", operation_id = "get_session",
    responses((status = 200, description = "You", body = SessionBody)),
    security(("session" = [])),
)]
pub async fn get(State(door): State<Arc<Door>>, person: Person) -> Answer<Json<SessionBody>> {
    Ok(Json(SessionBody::of_person(&door, &person).await?))
}
