//! `POST /v1/session/passkeys/challenge`.

use std::sync::Arc;

use axum::{Json, extract::State};
use callvault_app::{
    passkey::{CHALLENGE_S, user_handle},
    seal::webauthn::ALGORITHMS,
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{door::Door, people::Person, problem::Answer};

/// Options for `navigator.credentials.create`; what is binary is in base64url.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreationOptions {
    /// The question; it is answered once, within five minutes.
    pub challenge: String,
    /// The site.
    pub rp: Site,
    /// The user.
    pub user: Handle,
    /// Algorithms that are taken, in order.
    pub pub_key_cred_params: Vec<KeyKind>,
    /// Passkeys that the user has.
    pub exclude_credentials: Vec<Known>,
    /// What is asked of the authenticator.
    pub authenticator_selection: Selection,
    /// `none`.
    pub attestation: &'static str,
    /// Milliseconds.
    pub timeout: i64,
}

/// The site.
#[derive(Serialize, ToSchema)]
pub struct Site {
    /// Its host.
    pub id: String,
    /// Its name.
    pub name: &'static str,
}

/// The user.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Handle {
    /// Identifier.
    pub id: String,
    /// E-mail address.
    pub name: String,
    /// Name.
    pub display_name: String,
}

/// An algorithm.
#[derive(Serialize, ToSchema)]
pub struct KeyKind {
    /// `public-key`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// COSE number.
    pub alg: i64,
}

/// A passkey that is known.
#[derive(Serialize, ToSchema)]
pub struct Known {
    /// `public-key`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Credential id.
    pub id: String,
}

/// What is asked of the authenticator.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Selection {
    /// `required`: the passkey itself says whose it is.
    pub resident_key: &'static str,
    /// `required`.
    pub user_verification: &'static str,
}

/// Ask for a new passkey
#[utoipa::path(
    post, path = "/v1/session/passkeys/challenge", tag = "session", operation_id = "ask_new_passkey",
    responses((status = 200, description = "Options for `navigator.credentials.create`", body = CreationOptions)),
    security(("session" = [])),
)]
pub async fn challenge(State(door): State<Arc<Door>>, person: Person) -> Answer<Json<CreationOptions>> {
    let user = person.user(&door).await?;
    let challenge = door.vault.begin_registration(&person.realm, user.id()).await?;
    let kind = "public-key";
    let known = user.passkeys().iter().map(|passkey| Known {
        kind,
        id: passkey.id.clone(),
    });
    Ok(Json(CreationOptions {
        challenge,
        rp: Site {
            id: door.passkey_site().rp_id,
            name: "Callvault",
        },
        user: Handle {
            id: user_handle(user.id()),
            name: user.email().to_owned(),
            display_name: user.name().unwrap_or(user.email()).to_owned(),
        },
        pub_key_cred_params: ALGORITHMS.iter().map(|alg| KeyKind { kind, alg: *alg }).collect(),
        exclude_credentials: known.collect(),
        authenticator_selection: Selection {
            resident_key: "required",
            user_verification: "required",
        },
        attestation: "none",
        timeout: CHALLENGE_S * 1_000,
    }))
}
