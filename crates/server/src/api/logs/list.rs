//! `GET /v1/accounts/{account}/logs/{class}`.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use callvault_app::{
    core::{Class, Record, record::Entry},
    read::Query,
};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    api::params::{Params, show_cursor},
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// A page of a log.
#[derive(Serialize, ToSchema)]
pub struct LogPage {
    /// Newest first.
    pub entries: Vec<EntryBody>,
    /// Continues the listing; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_after: Option<String>,
}

/// An entry.
#[derive(Serialize, ToSchema)]
pub struct EntryBody {
    /// Its SID.
    pub sid: String,
    /// When it happened.
    #[schema(format = DateTime)]
    pub at: String,
    /// What happened, such as `retention.changed`; of an API access the operation.
    pub name: String,
    /// The rest.
    #[schema(value_type = Object)]
    pub detail: Value,
}

impl From<&Entry> for EntryBody {
    fn from(entry: &Entry) -> Self {
        Self {
            sid: entry.sid.to_string(),
            at: entry.at.to_string(),
            name: entry.name.to_string(),
            detail: entry
                .detail
                .as_deref()
                .and_then(|text| serde_json::from_str(text).ok())
                .unwrap_or_else(|| Value::Object(serde_json::Map::new())),
        }
    }
}

/// Read a log
///
/// The account's activity (two years), its API accesses (90 days), or webhook deliveries (30 days). Newest first.
#[utoipa::path(
    get, path = "/v1/accounts/{account}/logs/{class}", tag = "logs", operation_id = "list_log",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("class" = String, Path, description = "`activity`, `api_access` or `webhook_delivery`"),
        ("from" = Option<String>, Query, description = "At or after, RFC 3339"),
        ("to" = Option<String>, Query, description = "Before, RFC 3339"),
        ("limit" = Option<u32>, Query, description = "1 to 1000, 50 if absent"),
        ("after" = Option<String>, Query, description = "`next_after` of the page before"),
    ),
    responses(
        (status = 200, description = "A page", body = LogPage),
        (status = 404, description = "No such log, or no such account for this token", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A wrong parameter", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn list(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(place): Path<(String, String)>,
    mut params: Params,
) -> Answer<Json<LogPage>> {
    let class = match place.1.parse() {
        Ok(class @ (Class::Activity | Class::ApiAccess | Class::WebhookDelivery)) => class,
        _ => return Err(Problem::not_found("log")),
    };
    let query = Query {
        from: params.take_time("from")?,
        to: params.take_time("to")?,
        after: params.take_cursor()?,
        limit: params.take_limit()?,
        ..Query::default()
    };
    params.finish()?;
    let page = door
        .vault
        .list_records(&caller.account, class, &query, caller.reader())
        .await?;
    let entries = page
        .records
        .iter()
        .filter_map(|record| match record {
            Record::Activity(entry) | Record::ApiAccess(entry) | Record::WebhookDelivery(entry) => {
                Some(EntryBody::from(entry))
            }
            _ => None,
        })
        .collect();
    Ok(Json(LogPage {
        entries,
        next_after: page.next.map(show_cursor),
    }))
}
