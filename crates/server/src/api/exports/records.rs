//! `GET /v1/accounts/{account}/exports/{file}`.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::HeaderMap,
    response::Response,
};
use callvault_app::{
    core::Class,
    export::{Export, Format, Nowhere, Passage, Request},
};

use crate::{
    api::{
        exports::{
            Named, begin,
            body::{Part, range_of, respond},
            gone,
        },
        params::Params,
    },
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// Export calls or messages
///
/// Everything of a span of time, oldest first, streamed. The ETag names a snapshot: while nothing of it is deleted or
/// lapses, and nothing comes in, the same snapshot gives the same bytes. A broken download goes on with `Range:
/// bytes=N-` and the ETag in `If-Range` (the whole again if it changed), or in `If-Match` or `snapshot` (412 then). A
/// range without any of them is answered whole.
#[utoipa::path(
    get, path = "/v1/accounts/{account}/exports/{file}", tag = "exports", operation_id = "export_records",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("file" = String, Path, description = "`calls` or `messages`, with `.csv`, `.ndjson`, `.json` or `.parquet`; `campaign_reports.csv`"),
        ("from" = Option<String>, Query, description = "At or after, RFC 3339; from the first record if absent"),
        ("to" = Option<String>, Query, description = "Before, RFC 3339; the moment of the request if absent"),
        ("snapshot" = Option<String>, Query, description = "This state and no other: the ETag of an earlier answer, or a manifest's"),
        ("Range" = Option<String>, Header, description = "One range in bytes, such as `bytes=1048576-`"),
        ("If-Range" = Option<String>, Header, description = "The range of this ETag, or everything"),
        ("If-Match" = Option<String>, Header, description = "This ETag and no other"),
    ),
    responses(
        (status = 200, description = "The export", body = String, content_type = "text/csv"),
        (status = 206, description = "The range", body = String, content_type = "text/csv"),
        (status = 404, description = "No such account for this token, or no such file", body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "The snapshot changed", body = Problem, content_type = "application/problem+json"),
        (status = 416, description = "The range lies outside", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A wrong parameter", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Too many exports at once", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn records(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(place): Path<(String, String)>,
    headers: HeaderMap,
    mut params: Params,
) -> Answer<Response> {
    let (class, format) = read_name(&place.1)?;
    let named = Named::read(&mut params, &headers)?;
    let request = read_request(&caller, class, format, &mut params)?;
    params.finish()?;
    let permit = begin(&door)?;
    let (export, is_named) = find_export(&door, &caller, &request, &named).await?;
    let mut part = Part::whole(None);
    if is_named && let Some(range) = range_of(&headers) {
        // The answer to a range says how long the whole is, so it is written once for nobody.
        let written = export.write(&door.vault, Passage::default(), &mut Nowhere).await?;
        part = match Part::asked(Some(range), written.bytes) {
            Ok(part) => part,
            Err(response) => return Ok(*response),
        };
    }
    let passage = Passage {
        skip_bytes: part.range.start,
        sha256: false,
    };
    let (vault, snapshot) = (Arc::clone(&door.vault), export.snapshot());
    Ok(respond(
        &part,
        snapshot,
        format.media_type(),
        permit,
        |mut sink| async move { export.write(&vault, passage, &mut sink).await.map(|_| ()) },
    ))
}

fn read_name(file: &str) -> Answer<(Class, Format)> {
    let read = || {
        let (name, format) = file.split_once('.')?;
        let class = match name {
            "calls" => Class::Call,
            "messages" => Class::Message,
            "campaign_reports" => Class::CampaignReport,
            _ => return None,
        };
        let format = format.parse().ok()?;
        Some((class, format)).filter(|_| class != Class::CampaignReport || format == Format::Csv)
    };
    read().ok_or_else(|| Problem::not_found("export"))
}

/// The span of a request.
pub(super) fn read_request(caller: &Caller, class: Class, format: Format, params: &mut Params) -> Answer<Request> {
    Ok(Request {
        class,
        format,
        from: params.take_time("from")?,
        to: params.take_time("to")?,
        reader: caller.reader(),
    })
}

/// The export that is named, and whether it is that.
pub(super) async fn find_export(
    door: &Door,
    caller: &Caller,
    request: &Request,
    named: &Named,
) -> Answer<(Export, bool)> {
    let vault = &door.vault;
    let account = vault.get_account(&caller.account).await?;
    if let Some(snapshot) = named.snapshot() {
        if let Some(export) = vault.resume_export(account, request, snapshot).await? {
            return Ok((export, true));
        }
        if matches!(named, Named::Only(_)) {
            return Err(gone());
        }
        let account = vault.get_account(&caller.account).await?;
        return Ok((vault.plan_export(account, request).await?, false));
    }
    Ok((vault.plan_export(account, request).await?, false))
}
