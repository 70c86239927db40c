//! `POST /v1/session/passkeys`.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use callvault_app::passkey::Registration;
use serde::Deserialize;
use utoipa::ToSchema;

use super::list::PasskeyBody;
use crate::{
    api::params::{JsonBody, read_json},
    door::Door,
    people::Person,
    problem::{Answer, Problem},
};

/// What `navigator.credentials.create` gave; what is binary is in base64url.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPasskey {
    /// What the user calls it.
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
    /// `response.clientDataJSON`.
    #[schema(max_length = 4096)]
    pub client_data: String,
    /// `response.attestationObject`.
    #[schema(max_length = 65536)]
    pub attestation: String,
}

/// Register a passkey
#[utoipa::path(
    post, path = "/v1/session/passkeys", tag = "session", operation_id = "register_passkey",
    request_body = NewPasskey,
    responses(
        (status = 201, description = "Registered", body = PasskeyBody),
        (status = 409, description = "Too many, or the user is being changed", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Not accepted, with the reason and the field", body = Problem, content_type = "application/problem+json"),
    ),
    security(("session" = [])),
)]
pub async fn register(
    State(door): State<Arc<Door>>,
    person: Person,
    body: JsonBody<NewPasskey>,
) -> Answer<(StatusCode, Json<PasskeyBody>)> {
    let new = read_json(body)?;
    let user = person.user(&door).await?;
    let registration = Registration {
        client_data: &new.client_data,
        attestation: &new.attestation,
    };
    let passkey = door
        .vault
        .finish_registration(&person.realm, user, &new.name, &registration, &door.passkey_site())
        .await?;
    Ok((StatusCode::CREATED, Json(PasskeyBody::from(&passkey))))
}
