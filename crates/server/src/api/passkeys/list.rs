//! `GET /v1/session/passkeys`.

use std::sync::Arc;

use axum::{Json, extract::State};
use callvault_app::passkey::Passkey;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{door::Door, people::Person, problem::Answer};

/// A user's passkeys.
#[derive(Serialize, ToSchema)]
pub struct Passkeys {
    /// In the order they were registered.
    pub passkeys: Vec<PasskeyBody>,
}

/// A passkey.
#[derive(Serialize, ToSchema)]
pub struct PasskeyBody {
    /// Identifier.
    pub id: String,
    /// Its name.
    pub name: String,
    /// When it was registered.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When it was used last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub used_at: Option<String>,
}

impl From<&Passkey> for PasskeyBody {
    fn from(passkey: &Passkey) -> Self {
        Self {
            id: passkey.handle(),
            name: passkey.name.clone(),
            created_at: passkey.created_at.to_string(),
            used_at: passkey.used_at.map(|at| at.to_string()),
        }
    }
}

/// List one's own passkeys
#[utoipa::path(
    get, path = "/v1/session/passkeys", tag = "session", operation_id = "list_passkeys",
    responses((status = 200, description = "All of them", body = Passkeys)),
    security(("session" = [])),
)]
pub async fn list(State(door): State<Arc<Door>>, person: Person) -> Answer<Json<Passkeys>> {
    let user = person.user(&door).await?;
    Ok(Json(Passkeys {
        passkeys: user.passkeys().iter().map(PasskeyBody::from).collect(),
    }))
}
