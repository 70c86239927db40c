//! Decisions: what a rule allows, and why it refuses. A refusal by policy is a value, not an error.

use serde::Serialize;

/// The answer of a `decide_*` rule.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision<T> {
    /// The rule allows it; the value says what follows.
    Allowed(T),
    /// The rule refuses it.
    Refused(Refusal),
}

/// Why a rule refuses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    /// A stable name in kebab-case, such as `retention-over-plan`.
    pub code: &'static str,
    /// A plain sentence that names the rule, the limit, and what would allow it. Carries no personal data.
    pub reason: String,
    /// The request's field at fault, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<&'static str>,
}

impl Refusal {
    /// A refusal with its stable name and its sentence.
    #[must_use]
    pub fn new(code: &'static str, reason: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.into(),
            field: None,
        }
    }

    /// The same refusal, pointing at the request's field at fault.
    #[must_use]
    pub fn in_field(mut self, field: &'static str) -> Self {
        self.field = Some(field);
        self
    }
}

impl<T> Decision<T> {
    /// A refusal with its stable name and its sentence.
    pub fn refuse(code: &'static str, reason: impl Into<String>) -> Self {
        Self::Refused(Refusal::new(code, reason))
    }

    /// Whether the rule allows it.
    #[must_use]
    pub const fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed(_))
    }

    /// The decision as a result, for callers that stop at a refusal with `?`.
    ///
    /// # Errors
    /// The [`Refusal`], when there is one.
    pub fn into_result(self) -> Result<T, Refusal> {
        match self {
            Self::Allowed(value) => Ok(value),
            Self::Refused(refusal) => Err(refusal),
        }
    }
}
