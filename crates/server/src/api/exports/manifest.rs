//! `GET /v1/accounts/{account}/exports/manifest`.

use std::sync::Arc;

use axum::{Json, extract::State, http::HeaderMap};
use callvault_app::{
    core::Class,
    export::{Format, Nowhere, Passage},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    api::{
        exports::{
            Named, begin, path_of,
            records::{find_export, read_request},
        },
        params::Params,
    },
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// What an export is, to be checked against what arrived.
#[derive(Debug, Serialize, ToSchema)]
pub struct ManifestBody {
    /// Account.
    pub account: String,
    /// `call` or `message`.
    pub class: &'static str,
    /// `csv`, `ndjson`, `json` or `parquet`.
    pub format: &'static str,
    /// At or after, if it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub from: Option<String>,
    /// Before.
    #[schema(format = DateTime)]
    pub to: String,
    /// The moment that the export is of.
    #[schema(format = DateTime)]
    pub at: String,
    /// The state that the rest is true of; also the export's ETag.
    pub snapshot: String,
    /// Records.
    pub records: u64,
    /// Bytes.
    pub bytes: u64,
    /// SHA-256 of the bytes, hexadecimal.
    pub sha256: String,
    /// Path and query that give these bytes.
    pub path: String,
}

/// Count, length and checksum of an export
///
/// Writes the export once for nobody, so it takes as long as a download from a fast network.
#[utoipa::path(
    get, path = "/v1/accounts/{account}/exports/manifest", tag = "exports", operation_id = "get_export_manifest",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("class" = String, Query, description = "`call`, `message` or `campaign_report`"),
        ("format" = Option<String>, Query, description = "`csv` (if absent), `ndjson`, `json` or `parquet`"),
        ("from" = Option<String>, Query, description = "At or after, RFC 3339"),
        ("to" = Option<String>, Query, description = "Before, RFC 3339; the moment of the request if absent"),
        ("snapshot" = Option<String>, Query, description = "This state and no other: an export's ETag"),
    ),
    responses(
        (status = 200, description = "The manifest", body = ManifestBody),
        (status = 404, description = "No such account for this token", body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "The snapshot changed", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A wrong parameter", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Too many exports at once", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn manifest(
    State(door): State<Arc<Door>>,
    caller: Caller,
    headers: HeaderMap,
    mut params: Params,
) -> Answer<Json<ManifestBody>> {
    let class: Option<Class> = params.take_as("class", "call, message or campaign_report")?;
    let (class, name) = match class {
        Some(Class::Call) => (Class::Call, "calls"),
        Some(Class::Message) => (Class::Message, "messages"),
        Some(Class::CampaignReport) => (Class::CampaignReport, "campaign_reports"),
        _ => return Err(Problem::invalid("class", "Expected call, message or campaign_report.")),
    };
    let format = params.take_as("format", "csv, ndjson, json or parquet")?;
    let format = format.unwrap_or(Format::Csv);
    let named = Named::read(&mut params, &headers)?;
    let request = read_request(&caller, class, format, &mut params)?;
    params.finish()?;
    let _permit = begin(&door)?;
    let (export, _) = find_export(&door, &caller, &request, &named).await?;
    let passage = Passage {
        skip_bytes: 0,
        sha256: true,
    };
    let written = export.write(&door.vault, passage, &mut Nowhere).await?;
    let (snapshot, to) = (export.snapshot(), export.to());
    let file = format!("{name}.{}", format.as_str());
    let path = path_of(&caller.account, &file, None, (request.from, to), &snapshot.to_string());
    Ok(Json(ManifestBody {
        account: caller.account.to_string(),
        class: class.as_str(),
        format: format.as_str(),
        from: request.from.map(|from| from.to_string()),
        to: to.to_string(),
        at: snapshot.at.to_string(),
        snapshot: snapshot.to_string(),
        records: written.records,
        bytes: written.bytes,
        sha256: written.sha256.unwrap_or_default(),
        path,
    }))
}
