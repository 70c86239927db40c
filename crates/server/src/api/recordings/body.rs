//! Recordings as JSON.

use callvault_app::{core::record::Consent, recording::RecordingView};
use serde::Serialize;
use utoipa::ToSchema;

/// A recording's description.
#[derive(Serialize, ToSchema)]
pub struct RecordingBody {
    /// Identifier: 32 hexadecimal digits.
    pub sid: String,
    /// The call it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call_sid: Option<String>,
    /// When it began.
    #[schema(format = DateTime)]
    pub at: String,
    /// When its term ends, as things stand.
    #[schema(format = DateTime)]
    pub ends_at: String,
    /// Parties of the call.
    pub parties: Vec<String>,
    /// `wav` or `mp3`.
    pub format: &'static str,
    /// Channels.
    pub channels: u16,
    /// Samples a second.
    pub sample_rate_hz: u32,
    /// Length in milliseconds.
    pub duration_ms: u64,
    /// Size of the audio.
    pub bytes: u64,
    /// The decision that allows keeping it.
    pub consent: ConsentBody,
    /// The version of the consent policy that it was made under.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consent_policy_version: Option<u32>,
    /// The file it came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_name: Option<String>,
}

/// Why a recording may be kept.
#[derive(Serialize, ToSchema)]
pub struct ConsentBody {
    /// `announced`, `accepted`, `contract` or `attested`.
    pub decision: &'static str,
    /// Version of the terms of service, for `contract`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Who attested, for `attested`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// A page of recordings.
#[derive(Serialize, ToSchema)]
pub struct RecordingPage {
    /// The recordings, newest first.
    pub recordings: Vec<RecordingBody>,
    /// Pass it as `after` to go on; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_after: Option<String>,
}

impl From<&Consent> for ConsentBody {
    fn from(consent: &Consent) -> Self {
        let plain = |decision| Self {
            decision,
            version: None,
            by: None,
        };
        match consent {
            Consent::Announced => plain("announced"),
            Consent::Accepted => plain("accepted"),
            Consent::Contract { version } => Self {
                version: Some(version.clone()),
                ..plain("contract")
            },
            Consent::Attested { by } => Self {
                by: Some(by.clone()),
                ..plain("attested")
            },
        }
    }
}

impl From<&RecordingView> for RecordingBody {
    fn from(view: &RecordingView) -> Self {
        Self {
            sid: view.sid.to_string(),
            call_sid: view.call_sid.map(|sid| sid.to_string()),
            at: view.at.to_string(),
            ends_at: view.ends_at.to_string(),
            parties: view
                .meta
                .parties
                .iter()
                .map(|number| number.as_str().to_owned())
                .collect(),
            format: view.meta.format.as_str(),
            channels: view.meta.channels,
            sample_rate_hz: view.meta.sample_rate_hz,
            duration_ms: view.meta.duration_ms,
            bytes: view.bytes,
            consent: ConsentBody::from(&view.meta.consent),
            consent_policy_version: view.meta.policy_version,
            file_name: view.meta.file_name.clone(),
        }
    }
}
