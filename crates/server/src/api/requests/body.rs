//! Requests as JSON.

use callvault_app::{
    core::{
        AccountSid,
        request::{Asked, State},
    },
    line::{RequestView, Step},
};
use serde::Serialize;
use utoipa::ToSchema;

/// A support request.
#[derive(Serialize, ToSchema)]
pub struct RequestBody {
    /// Identifier: 32 hexadecimal digits.
    pub id: String,
    /// `delete_recording`.
    pub kind: &'static str,
    /// The recording.
    pub recording: String,
    /// Why.
    pub reason: String,
    /// `open`, `approved` (being carried out), `done`, `declined`, `withdrawn` or `expired`.
    pub state: &'static str,
    /// When it was opened.
    #[schema(format = DateTime)]
    pub opened_at: String,
    /// When it is over if nobody answers.
    #[schema(format = DateTime)]
    pub expires_at: String,
    /// What was done to it, oldest first; the first opened it.
    pub steps: Vec<StepBody>,
    /// The deletion, once it is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion: Option<DoneBody>,
}

/// Something that was done to a request.
#[derive(Serialize, ToSchema)]
pub struct StepBody {
    /// When.
    #[schema(format = DateTime)]
    pub at: String,
    /// By whom: the public part of a token.
    pub by: String,
    /// In which role.
    pub role: String,
    /// The state that it led to.
    pub state: String,
    /// What they said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Proof of a deletion.
#[derive(Serialize, ToSchema)]
pub struct DoneBody {
    /// Index of the entry in the transparency log.
    pub log_index: u64,
    /// Path of the certificate.
    pub certificate: String,
}

impl DoneBody {
    /// The proof of a deletion of this account.
    #[must_use]
    pub fn new(account: &AccountSid, log_index: u64) -> Self {
        Self {
            log_index,
            certificate: format!("/v1/accounts/{account}/deletions/{log_index}/certificate"),
        }
    }
}

impl From<&Step> for StepBody {
    fn from(step: &Step) -> Self {
        Self {
            at: step.at.to_string(),
            by: step.by.id.clone(),
            role: step.by.role.clone(),
            state: step.state.clone(),
            note: step.note.clone(),
        }
    }
}

impl RequestBody {
    /// A request of this account.
    #[must_use]
    pub fn new(account: &AccountSid, view: &RequestView) -> Self {
        let Asked::DeleteRecording { recording } = &view.asked;
        let deletion = match view.state {
            State::Done { log_index } => Some(DoneBody::new(account, log_index)),
            _ => None,
        };
        Self {
            id: view.id.to_string(),
            kind: view.asked.kind(),
            recording: recording.to_string(),
            reason: view.reason.clone(),
            state: view.state.as_str(),
            opened_at: view.opened_at.to_string(),
            expires_at: view.expires_at.to_string(),
            steps: view.steps.iter().map(StepBody::from).collect(),
            deletion,
        }
    }
}
