//! `POST /v1/accounts/{account}/recording-sessions/consent`.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use callvault_app::{VaultError, core::consent::event_of, line::MAX_SESSION_BYTES};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    api::params::{JsonBody, read_json},
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// The longest version of terms, and the longest name of who attests, in bytes.
const MAX_TEXT_BYTES: usize = 255;

/// What was decided about recording a call that another switch carries.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionConsent {
    /// The communication session: the metadata's `session_id` (RFC 7865), 1 to 255 bytes.
    #[schema(min_length = 1, max_length = 255)]
    pub session_id: String,
    /// What was decided.
    pub consent: SessionDecision,
    /// Version of the terms, for `contract`.
    pub consent_version: Option<String>,
    /// Who attests, for `attested`.
    pub consent_by: Option<String>,
}

/// What was decided.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SessionDecision {
    /// The recording was announced.
    Announced,
    /// The person agreed.
    Accepted,
    /// The terms of service cover it; with `consent_version`.
    Contract,
    /// Somebody vouches for it; with `consent_by`.
    Attested,
    /// The person does not agree.
    Declined,
    /// The person takes the consent back. Final.
    Withdrawn,
}

impl SessionDecision {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Announced => "announced",
            Self::Accepted => "accepted",
            Self::Contract => "contract",
            Self::Attested => "attested",
            Self::Declined => "declined",
            Self::Withdrawn => "withdrawn",
        }
    }
}

/// What was noted.
#[derive(Serialize, ToSchema)]
pub struct SessionConsentNoted {
    /// The communication session.
    pub session_id: String,
    /// When, RFC 3339.
    pub at: String,
}

/// Say what was decided about recording a call that another switch carries
///
/// For recording sessions (SIPREC, RFC 7866). It may be said before the session begins, and while it goes on: the switch is told within
/// some seconds whether its audio is wanted. What is said is kept for a day. Several decisions about one session are taken in their order:
/// after `declined` or `withdrawn` what was captured is destroyed.
#[utoipa::path(
    post, path = "/v1/accounts/{account}/recording-sessions/consent", tag = "calls", operation_id = "tell_session_consent",
    params(("account" = String, Path, description = "Account SID")),
    request_body = SessionConsent,
    responses(
        (status = 202, description = "Noted", body = SessionConsentNoted),
        (status = 404, description = "No such account for this token", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Refused, with the field", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn consent(
    State(door): State<Arc<Door>>,
    caller: Caller,
    body: JsonBody<SessionConsent>,
) -> Answer<(StatusCode, Json<SessionConsentNoted>)> {
    let said = read_json(body)?;
    let check = |field, text: &str, most: usize| {
        let is_good = (1..=most).contains(&text.len()) && !text.chars().any(char::is_control);
        match is_good {
            true => Ok(()),
            false => Err(Problem::invalid(field, format!("Expected 1 to {most} bytes of text."))),
        }
    };
    check("session_id", &said.session_id, MAX_SESSION_BYTES)?;
    for (field, text) in [
        ("consent_version", &said.consent_version),
        ("consent_by", &said.consent_by),
    ] {
        text.iter().try_for_each(|text| check(field, text, MAX_TEXT_BYTES))?;
    }
    let event =
        event_of(Some(said.consent.as_str()), said.consent_version, said.consent_by).map_err(VaultError::from)?;
    let account = door.vault.get_account(&caller.account).await?;
    let at = door.line.tell_session(&account, said.session_id.trim(), event).await?;
    let noted = SessionConsentNoted {
        session_id: said.session_id,
        at: at.to_string(),
    };
    Ok((StatusCode::ACCEPTED, Json(noted)))
}
