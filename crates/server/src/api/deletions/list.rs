//! `GET /v1/accounts/{account}/deletions`.

use std::sync::Arc;

use axum::{Json, extract::State};
use callvault_app::certificate::DeletionSummary;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    api::params::Params,
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// A page of deletions.
#[derive(Serialize, ToSchema)]
pub struct DeletionPage {
    /// Newest first.
    pub deletions: Vec<DeletionBody>,
    /// Pass it as `before` to go on; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_before: Option<u64>,
}

/// A deletion.
#[derive(Serialize, ToSchema)]
pub struct DeletionBody {
    /// Index of the entry in the transparency log.
    pub log_index: u64,
    /// When.
    #[schema(format = DateTime)]
    pub at: String,
    /// Class; absent when the account's own key went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<&'static str>,
    /// How many records.
    pub records: u64,
    /// Why.
    pub cause: &'static str,
    /// Whether every row and object is removed too.
    pub purged: bool,
    /// Path of the certificate.
    pub certificate: String,
}

impl DeletionBody {
    /// A deletion of this account.
    #[must_use]
    pub fn new(account: &callvault_app::core::AccountSid, summary: &DeletionSummary) -> Self {
        Self {
            log_index: summary.log_index,
            at: summary.at.to_string(),
            class: summary.class.map(callvault_app::core::Class::as_str),
            records: summary.records,
            cause: summary.cause.as_str(),
            purged: summary.purged,
            certificate: format!("/v1/accounts/{account}/deletions/{}/certificate", summary.log_index),
        }
    }
}

/// List deletions
#[utoipa::path(
    get, path = "/v1/accounts/{account}/deletions", tag = "deletions", operation_id = "list_deletions",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("before" = Option<u64>, Query, description = "`next_before` of the page before"),
        ("limit" = Option<u32>, Query, description = "1 to 1000, 50 if absent"),
    ),
    responses(
        (status = 200, description = "A page", body = DeletionPage),
        (status = 404, description = "There is none, it is gone, or it is not this token's", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Refused, with the reason and the field", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn list(State(door): State<Arc<Door>>, caller: Caller, mut params: Params) -> Answer<Json<DeletionPage>> {
    let before: Option<u64> = params.take_as("before", "an index")?;
    if before.is_some_and(|before| i64::try_from(before).is_err()) {
        return Err(Problem::invalid("before", "Expected an index."));
    }
    let limit = params.take_limit()?;
    params.finish()?;
    let want = u32::try_from(limit).unwrap_or(u32::MAX);
    let found = door.vault.list_deletions(&caller.account, before, want).await?;
    let next_before = found.last().filter(|_| found.len() == limit).map(|last| last.log_index);
    let deletions = found
        .iter()
        .map(|summary| DeletionBody::new(&caller.account, summary))
        .collect();
    Ok(Json(DeletionPage { deletions, next_before }))
}
