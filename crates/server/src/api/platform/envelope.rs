//! Answers of the platform's version 2: one JSON envelope, with an item or a list of items in it.

use std::sync::Arc;

use axum::{
    extract::FromRequestParts,
    http::{HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use callvault_app::{
    Account,
    core::{Sid, TimeUs, time::SECOND_US},
};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::limits::Allowance;
use crate::{
    api::layers::FullPath,
    door::{Caller, Door},
    problem::Problem,
};

/// A caller of version 2: authenticated, within the account's rate, and the method that the envelope repeats.
pub struct V2 {
    /// Who asks.
    pub caller: Caller,
    /// The request's method.
    pub method: Method,
    allowance: Allowance,
}

impl V2 {
    /// An answer with one item.
    pub fn one<T: Serialize>(&self, result: Result<T, Failure>) -> Response {
        self.finish(match result {
            Ok(data) => answer(&self.method, StatusCode::OK, None, Item::done(data)),
            Err(failure) => refuse(&self.method, failure),
        })
    }

    /// An answer with what became of many things (207), or why none was looked at.
    pub fn many<T: Serialize>(&self, result: Result<Vec<Result<T, Failure>>, Failure>) -> Response {
        self.finish(match result {
            Ok(results) => {
                let items: Vec<Item<T>> = results.into_iter().map(Item::from).collect();
                answer(&self.method, StatusCode::MULTI_STATUS, None, items)
            }
            Err(failure) => refuse(&self.method, failure),
        })
    }

    /// A page of a listing.
    pub fn page<T: Serialize>(&self, result: Result<(Vec<T>, Metadata), Failure>) -> Response {
        self.finish(match result {
            Ok((items, metadata)) => {
                let items: Vec<Item<T>> = items.into_iter().map(Item::done).collect();
                answer(&self.method, StatusCode::OK, Some(metadata), items)
            }
            Err(failure) => refuse(&self.method, failure),
        })
    }

    /// An answer with a list of what became of things, under this status.
    pub fn list<T: Serialize>(&self, status: StatusCode, results: Vec<Result<T, Failure>>) -> Response {
        let items: Vec<Item<T>> = results.into_iter().map(Item::from).collect();
        self.finish(answer(&self.method, status, None, items))
    }

    /// An answer with what is left of the rate limit.
    pub fn finish(&self, mut response: Response) -> Response {
        self.allowance.write(response.headers_mut());
        response
    }
}

impl FromRequestParts<Arc<Door>> for V2 {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, door: &Arc<Door>) -> Result<Self, Response> {
        let caller = Caller::from_request_parts(parts, door).await;
        let method = parts.method.clone();
        let caller = caller.map_err(|problem| refuse(&method, problem))?;
        let path = parts.extensions.get::<FullPath>().map_or("", |path| path.0.as_str());
        let allowance = door.limits.take(&caller.account, &method, path, door.vault.now());
        if allowance.is_over() {
            let failure = Failure::new(
                StatusCode::TOO_MANY_REQUESTS,
                "rate-limit-exceeded",
                "Try again after the seconds that Retry-After says.",
            );
            let mut response = refuse(&method, failure);
            allowance.write(response.headers_mut());
            return Err(response);
        }
        Ok(Self {
            caller,
            method,
            allowance,
        })
    }
}

/// A moment as version 2 writes it: RFC 3339, in the account's local time with its offset.
#[must_use]
pub fn show_moment(account: &Account, at: TimeUs) -> String {
    let offset_s = account.utc_offset_s();
    let whole =
        at.0.div_euclid(SECOND_US)
            .saturating_add(offset_s)
            .saturating_mul(SECOND_US);
    let text = TimeUs(whole).to_string();
    let minutes = offset_s / 60;
    format!("{}+{:02}:{:02}", text.trim_end_matches('Z'), minutes / 60, minutes % 60)
}

/// A SID from a path. What is none does not exist.
///
/// # Errors
/// 404.
pub fn read_sid(text: &str, what: &str) -> Result<Sid, Failure> {
    text.parse().map_err(|_| Problem::not_found(what).into())
}

/// What every request is answered with.
#[derive(Debug, Serialize, ToSchema)]
pub struct Envelope<T> {
    /// Identifier of the request.
    pub request_id: String,
    /// Its method.
    pub method: String,
    /// HTTP status.
    pub http_code: u16,
    /// Of a listing: how many there are, and which these are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
    /// An item, or a list of them.
    pub response: T,
}

/// Where a listing stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Metadata {
    /// Items in this answer.
    pub count: usize,
    /// Items before them.
    pub offset: u32,
    /// Items in all.
    pub total: u64,
    /// Items that were asked for.
    pub limit: u32,
}

/// What became of one thing.
#[derive(Debug, Serialize, ToSchema)]
pub struct Item<T> {
    /// HTTP status of this item.
    pub code: u16,
    /// What is wrong, if it failed.
    pub error_data: Option<ErrorData>,
    /// `success` or `failure`.
    pub status: &'static str,
    /// The thing as it is now.
    pub data: Option<T>,
}

/// What is wrong with an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ErrorData {
    /// The item's HTTP status again: the platform's own numbers are not public.
    pub code: u16,
    /// The kind, such as `duplicate`.
    pub message: String,
    /// What is wrong and what would be right.
    pub description: String,
}

/// Why an item failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    status: StatusCode,
    kind: String,
    description: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Failure {
    /// A failure of this kind.
    #[must_use]
    pub fn new(status: StatusCode, kind: &str, description: impl Into<String>) -> Self {
        Self {
            status,
            kind: kind.to_owned(),
            description: description.into(),
            headers: Vec::new(),
        }
    }

    /// The HTTP status of what failed.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// What is wrong, and what would be right.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// A field whose value is wrong.
    #[must_use]
    pub fn bad(field: &str, reason: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid-value", format!("{field}: {reason}"))
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        // The platform knows no 422.
        let status = match status {
            StatusCode::UNPROCESSABLE_ENTITY => StatusCode::BAD_REQUEST,
            other => other,
        };
        Self {
            status,
            kind: problem.kind.trim_start_matches("/problems/").to_owned(),
            description: match &problem.field {
                Some(field) => format!("{field}: {}", problem.detail),
                None => problem.detail.clone(),
            },
            headers: problem.own_header().into_iter().collect(),
        }
    }
}

impl From<callvault_app::VaultError> for Failure {
    fn from(error: callvault_app::VaultError) -> Self {
        Problem::from(error).into()
    }
}

impl<T> Item<T> {
    /// It is done.
    #[must_use]
    pub const fn done(data: T) -> Self {
        Self {
            code: 200,
            error_data: None,
            status: "success",
            data: Some(data),
        }
    }

    /// It failed.
    #[must_use]
    pub fn failed(failure: &Failure) -> Self {
        let code = failure.status.as_u16();
        Self {
            code,
            error_data: Some(ErrorData {
                code,
                message: failure.kind.clone(),
                description: failure.description.clone(),
            }),
            status: "failure",
            data: None,
        }
    }
}

impl<T> From<Result<T, Failure>> for Item<T> {
    fn from(result: Result<T, Failure>) -> Self {
        match result {
            Ok(data) => Self::done(data),
            Err(failure) => Self::failed(&failure),
        }
    }
}

/// A request that failed as a whole.
#[must_use]
pub fn refuse(method: &Method, failure: impl Into<Failure>) -> Response {
    let failure = failure.into();
    let mut response = answer(method, failure.status, None, Item::<Value>::failed(&failure));
    response.headers_mut().extend(failure.headers);
    response
}

/// An answer with this in its envelope.
#[must_use]
fn answer<T: Serialize>(method: &Method, status: StatusCode, metadata: Option<Metadata>, response: T) -> Response {
    let envelope = Envelope {
        request_id: callvault_app::seal::random_bytes::<16>()
            .map(hex::encode)
            .unwrap_or_default(),
        method: method.to_string(),
        http_code: status.as_u16(),
        metadata,
        response,
    };
    let body = serde_json::to_vec(&envelope).unwrap_or_else(|_| json!({}).to_string().into_bytes());
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_item_says_what_clients_read() {
        let failure = Failure::new(StatusCode::CONFLICT, "duplicate", "number: another contact has it.");
        let item = serde_json::to_value(Item::<Value>::failed(&failure)).expect("JSON");
        assert_eq!(
            item,
            json!({
                "code": 409, "status": "failure", "data": null,
                "error_data": {"code": 409, "message": "duplicate", "description": "number: another contact has it."}
            })
        );
    }
}
