//! Deliveries: status callbacks as the platform sends them, and webhooks; and what is asked while a call goes on.

use std::time::Duration;

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

/// What is asked of an address.
pub struct Question<'q> {
    /// Which.
    pub url: &'q str,
    /// What is added to its query.
    pub query: &'q [(&'static str, String)],
    /// Headers.
    pub headers: &'q [(&'static str, &'static str)],
    /// The longest answer that is taken.
    pub most_bytes: usize,
    /// How long the whole answer may take.
    pub patience: Duration,
}

/// What an address answered, whatever it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// The body's media type; empty if the answer names none.
    pub content_type: String,
    /// The body.
    pub body: Vec<u8>,
}

/// Posts letters, and asks.
#[async_trait]
pub trait Courier: Send + Sync {
    /// Posts once and waits for the answer, 15 seconds at most.
    async fn post(&self, letter: &Letter) -> Result<u16, PostError>;

    /// Asks once (GET). An answer that is too long is [`PostError::Refused`].
    async fn ask(&self, question: &Question<'_>) -> Result<Reply, PostError>;
}

/// Sends e-mail.
#[async_trait]
pub trait Mailer: Send + Sync {
    /// Hands a mail to the server and returns its answer's code.
    async fn send(&self, mail: &Mail) -> Result<u16, PostError>;
}
