//! `GET /v1/accounts/{account}/exports/recordings.tar`.

use std::sync::Arc;

use axum::{extract::State, http::HeaderMap, response::Response};
use callvault_app::{
    conversion::parse_format,
    export::{Archive, ArchiveRequest, Nowhere, Passage},
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

/// Export every recording of a span of time
///
/// One tar archive, streamed, of known length unless recordings are encoded as MP3. Its last member is `manifest.json`:
/// SID, call, time, bytes, SHA-256 and consent of each. What cannot be converted comes as it is, and its entry says why
/// (`not_converted`). Goes on where it broke off, as other exports do.
#[utoipa::path(
    get, path = "/v1/accounts/{account}/exports/recordings.tar", tag = "exports", operation_id = "export_recordings",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("from" = Option<String>, Query, description = "Began at or after, RFC 3339; from the first one if absent"),
        ("to" = Option<String>, Query, description = "Began before, RFC 3339; the moment of the request if absent"),
        ("format" = Option<String>, Query, description = "`original` (if absent): as they came in; `wav` or `mp3`: those that are not are converted"),
        ("snapshot" = Option<String>, Query, description = "This state and no other: the ETag of an earlier answer"),
        ("Range" = Option<String>, Header, description = "One range in bytes, such as `bytes=1048576-`"),
        ("If-Range" = Option<String>, Header, description = "The range of this ETag, or everything"),
        ("If-Match" = Option<String>, Header, description = "This ETag and no other"),
    ),
    responses(
        (status = 200, description = "The archive", body = String, content_type = "application/x-tar"),
        (status = 206, description = "The range", body = String, content_type = "application/x-tar"),
        (status = 404, description = "No such account for this token", body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "The snapshot changed", body = Problem, content_type = "application/problem+json"),
        (status = 416, description = "The range lies outside", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A wrong parameter, more than 100,000 recordings, or no MP3 encoder", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Too many exports at once", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn recordings(
    State(door): State<Arc<Door>>,
    caller: Caller,
    headers: HeaderMap,
    mut params: Params,
) -> Answer<Response> {
    let named = Named::read(&mut params, &headers)?;
    let format = params.take("format");
    let format = format.map(|text| parse_format(&text)).transpose()?.flatten();
    let request = ArchiveRequest {
        format,
        from: params.take_time("from")?,
        to: params.take_time("to")?,
        reader: caller.reader(),
    };
    params.finish()?;
    let permit = begin(&door)?;
    let (archive, is_named) = find_archive(&door, &caller, &request, &named).await?;
    let mut part = Part::whole(archive.bytes());
    if let Some(range) = range_of(&headers).filter(|_| is_named) {
        let total = match archive.bytes() {
            Some(total) => total,
            // How long what is encoded will be is known by encoding it.
            None => {
                archive
                    .write(&door.vault, Passage::default(), &mut Nowhere)
                    .await?
                    .bytes
            }
        };
        part = match Part::asked(Some(range), total) {
            Ok(part) => part,
            Err(response) => return Ok(*response),
        };
    }
    let passage = Passage {
        skip_bytes: part.range.start,
        sha256: false,
    };
    let (vault, snapshot) = (Arc::clone(&door.vault), archive.snapshot());
    Ok(respond(
        &part,
        snapshot,
        "application/x-tar",
        permit,
        |mut sink| async move { archive.write(&vault, passage, &mut sink).await.map(|_| ()) },
    ))
}

async fn find_archive(
    door: &Door,
    caller: &Caller,
    request: &ArchiveRequest,
    named: &Named,
) -> Answer<(Archive, bool)> {
    let vault = &door.vault;
    if let Some(snapshot) = named.snapshot() {
        let account = vault.get_account(&caller.account).await?;
        if let Some(archive) = vault.resume_archive(account, request, snapshot).await? {
            return Ok((archive, true));
        }
        if matches!(named, Named::Only(_)) {
            return Err(gone());
        }
    }
    let account = vault.get_account(&caller.account).await?;
    Ok((vault.plan_archive(account, request).await?, false))
}
