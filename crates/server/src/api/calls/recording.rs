//! `POST /v1/accounts/{account}/records/calls/{sid}/recording`.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::StatusCode,
};
use callvault_app::{VaultError, core::consent::Event};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    api::params::{JsonBody, parse_sid, read_json},
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// What is to become of the recording of a call that goes on.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordingControl {
    /// `pause` rests it, for a card number; `resume` goes on; `withdraw` destroys what was captured and keeps nothing more.
    pub action: RecordingAction,
}

/// What is asked of a live recording.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordingAction {
    /// It rests.
    Pause,
    /// It goes on.
    Resume,
    /// The person takes the consent back.
    Withdraw,
}

/// Pause, resume or withdraw the recording of a call that goes on
///
/// The call must be carried by the process that is asked. Of a call that is over, `.../recordings/{sid}/withdrawal` deletes the
/// recording. In the call itself, keys do the same: `*7` pauses, `*8` resumes, `*9` withdraws.
#[utoipa::path(
    post, path = "/v1/accounts/{account}/records/calls/{sid}/recording", tag = "calls", operation_id = "control_recording",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("sid" = String, Path, description = "The call"),
    ),
    request_body = RecordingControl,
    responses(
        (status = 202, description = "The call was told"),
        (status = 404, description = "No such call goes on here", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Refused, with the field", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn control(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(place): Path<(String, String)>,
    body: JsonBody<RecordingControl>,
) -> Answer<StatusCode> {
    let sid = parse_sid(&place.1, "live call")?;
    let event = match read_json(body)?.action {
        RecordingAction::Pause => Event::Paused,
        RecordingAction::Resume => Event::Resumed,
        RecordingAction::Withdraw => Event::Withdrawn,
    };
    let none = VaultError::NotFound { what: "live call" };
    let exchange = door.exchange.as_ref().ok_or(none)?;
    exchange.tell(&caller.account, sid, event).await?;
    Ok(StatusCode::ACCEPTED)
}
