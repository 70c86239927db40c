//! Prompts as JSON.

use callvault_app::prompt::Prompt;
use serde::Serialize;
use utoipa::ToSchema;

/// A prompt.
#[derive(Serialize, ToSchema)]
pub struct PromptBody {
    /// Identifier: what a flow says as `{"audio": ID}`.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// When it was uploaded.
    #[schema(format = DateTime)]
    pub at: String,
    /// `wav` or `mp3`.
    pub format: &'static str,
    /// Bytes of the file.
    pub bytes: u64,
    /// How long it is, in milliseconds.
    pub duration_ms: u64,
}

impl From<Prompt> for PromptBody {
    fn from(prompt: Prompt) -> Self {
        Self {
            id: prompt.id.to_string(),
            name: prompt.name,
            at: prompt.at.to_string(),
            format: prompt.format.as_str(),
            bytes: prompt.bytes,
            duration_ms: prompt.duration_ms,
        }
    }
}
