//! Errors as clients see them: RFC 9457 problems with stable types. They carry no personal data.

use std::borrow::Cow;

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use callvault_app::{VaultError, store::StoreError};
use serde::Serialize;
use utoipa::ToSchema;

/// A refused or failed request.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Problem {
    /// Stable URI of the kind of problem, such as `/problems/retention-over-plan`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: Cow<'static, str>,
    /// HTTP status.
    pub status: u16,
    /// What is wrong in this request, and what would be right.
    pub detail: String,
    /// The field or parameter at fault, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<Cow<'static, str>>,
    #[serde(skip)]
    header: Option<Box<(HeaderName, HeaderValue)>>,
}

/// The result of a handler.
pub type Answer<T> = Result<T, Problem>;

impl Problem {
    /// A problem of this kind. The title is made from the code.
    #[must_use]
    pub fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        let mut title = code.replace('-', " ");
        if let Some(first) = title.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        Self {
            kind: format!("/problems/{code}"),
            title: title.into(),
            status: status.as_u16(),
            detail: detail.into(),
            field: None,
            header: None,
        }
    }

    /// The same problem, pointing at a field.
    #[must_use]
    pub fn in_field(mut self, field: impl Into<Cow<'static, str>>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// The header that goes with it beside its body's own.
    #[must_use]
    pub fn own_header(&self) -> Option<(HeaderName, HeaderValue)> {
        self.header.as_deref().cloned()
    }

    fn with_header(mut self, name: HeaderName, value: &str) -> Self {
        self.header = HeaderValue::from_str(value).ok().map(|value| Box::new((name, value)));
        self
    }

    /// The same problem, saying how one proves to be somebody here.
    #[must_use]
    pub fn with_challenge(self, challenge: &str) -> Self {
        self.with_header(header::WWW_AUTHENTICATE, challenge)
    }

    /// A field whose value is wrong: 422.
    #[must_use]
    pub fn invalid(field: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-value", detail).in_field(field)
    }

    /// Not there, gone, or another account's: the answer is the same.
    #[must_use]
    pub fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", format!("There is no such {what}."))
    }

    /// No valid credentials.
    #[must_use]
    pub fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "Send the token's key and secret as HTTP Basic credentials.",
        )
        .with_header(header::WWW_AUTHENTICATE, "Basic realm=\"callvault\", charset=\"UTF-8\"")
    }

    /// The token's role is not enough.
    #[must_use]
    pub fn wrong_role(needed: &str) -> Self {
        let detail = format!("This needs a token with the {needed} role.");
        Self::new(StatusCode::FORBIDDEN, "wrong-role", detail)
    }

    /// The token is narrowed to other scopes.
    #[must_use]
    pub fn wrong_scope(needed: &str) -> Self {
        let detail = format!("This token is narrowed to other scopes; this needs {needed}.");
        Self::new(StatusCode::FORBIDDEN, "wrong-scope", detail)
    }

    /// The account lives in another region (spec 3.2).
    #[must_use]
    pub fn misdirected(region: &str, place: &str) -> Self {
        let detail = format!("This account's data is in region {region}; its door is {place}.");
        Self::new(StatusCode::MISDIRECTED_REQUEST, "wrong-region", detail).with_header(header::LOCATION, place)
    }

    /// A body that is larger than this endpoint takes.
    #[must_use]
    pub fn too_large(limit_bytes: usize) -> Self {
        let detail = format!("The body is longer than {limit_bytes} bytes.");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", detail)
    }

    /// Something failed inside; what, is in the log under the request's id.
    #[must_use]
    pub fn internal() -> Self {
        let detail = "Something failed inside the vault; its log says what, under this answer's X-Request-Id.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }

    /// As much as can be done at once is being done.
    #[must_use]
    pub fn busy(detail: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail).with_header(header::RETRY_AFTER, "30")
    }

    fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail).with_header(header::RETRY_AFTER, "5")
    }
}

impl From<VaultError> for Problem {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::Refused(refusal) => {
                let problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, refusal.code, refusal.reason);
                match refusal.field {
                    Some(field) => problem.in_field(field),
                    None => Self {
                        status: StatusCode::CONFLICT.as_u16(),
                        ..problem
                    },
                }
            }
            VaultError::Invalid { field, reason } => Self::invalid(field, reason),
            VaultError::NotFound { what } => Self::not_found(what),
            VaultError::RecordingKnown => Self::new(StatusCode::CONFLICT, "known", "The recording is there already."),
            VaultError::Store(StoreError::Conflict { .. } | StoreError::EpochClosed(_)) => {
                let detail = "Somebody else changed the same thing at the same time; try again.";
                Self::new(StatusCode::CONFLICT, "conflict", detail)
            }
            VaultError::Store(StoreError::Full { store }) => {
                tracing::error!(store, "out of space");
                let detail = "The vault is out of space; nothing of this request was stored.";
                Self::new(StatusCode::INSUFFICIENT_STORAGE, "out-of-space", detail)
            }
            VaultError::Store(StoreError::Unavailable { store, reason }) => {
                tracing::error!(store, reason, "store unreachable");
                Self::unavailable("A store of the vault cannot be reached; try again.")
            }
            VaultError::CatalogOlderThanLog { .. } | VaultError::RestoreUnfinished | VaultError::CatalogMissing => {
                tracing::error!(%error, "refused to serve");
                Self::unavailable("The vault is being restored.")
            }
            error => {
                tracing::error!(%error, "request failed");
                Self::internal()
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some((name, value)) = self.header.map(|header| *header) {
            headers.insert(name, value);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use callvault_app::core::Refusal;

    use super::*;

    #[test]
    fn a_refusal_keeps_its_name_and_field() {
        let refusal = Refusal::new("retention-over-plan", "The Growth plan keeps 180 days.").in_field("recording_days");
        let problem = Problem::from(VaultError::Refused(refusal));
        assert_eq!(
            (problem.kind.as_str(), problem.status),
            ("/problems/retention-over-plan", 422)
        );
        assert_eq!(problem.field.as_deref(), Some("recording_days"));
        assert_eq!(problem.title, "Retention over plan");
    }

    #[test]
    fn what_failed_inside_stays_inside() {
        let error = VaultError::Damaged {
            what: "catalog",
            reason: "secret detail".to_owned(),
        };
        assert!(!Problem::from(error).detail.contains("secret"));
    }
}
