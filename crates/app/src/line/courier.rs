//! Deliveries: status callbacks as the platform sends them, and webhooks.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

/// What is posted.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub enum Payload {
    /// A multipart form, field by field.
    Form(Vec<(String, String)>),
    /// JSON, byte for byte: signatures are made over it.
    Json(String),
    /// An e-mail, which is not posted but sent.
    Mail(Mail),
}

/// An e-mail to one address.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Mail {
    /// Address.
    pub to: String,
    /// Subject.
    pub subject: String,
    /// Plain text.
    pub text: String,
    /// The local part of its Message-ID: the same for every attempt.
    pub id: String,
}

/// A delivery to be made.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Letter {
    /// Where to.
    pub url: String,
    /// The body.
    pub payload: Payload,
    /// Headers beside the body's own.
    pub headers: Vec<(String, String)>,
}

/// Why a delivery failed. Without personal data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PostError {
    /// The receiver answered with another status than 2xx; redirects are not followed.
    #[error("answered {0}")]
    Status(u16),
    /// It said nothing in time.
    #[error("no answer in time")]
    Timeout,
    /// It could not be reached, or its certificate is wrong.
    #[error("not reached: {0}")]
    Unreachable(String),
    /// The address is one that is never posted to (private, link-local, loopback), or no address.
    #[error("refused: {0}")]
    Forbidden(String),
    /// The receiver will never take it.
    #[error("refused for good: {0}")]
    Refused(String),
}

/// Posts letters.
#[async_trait]
pub trait Courier: Send + Sync {
    /// Posts once and waits for the answer, 15 seconds at most.
    async fn post(&self, letter: &Letter) -> Result<u16, PostError>;
}

/// Sends e-mail.
#[async_trait]
pub trait Mailer: Send + Sync {
    /// Hands a mail to the server and returns its answer's code.
    async fn send(&self, mail: &Mail) -> Result<u16, PostError>;
}
