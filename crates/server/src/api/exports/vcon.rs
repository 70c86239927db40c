//! `GET /v1/accounts/{account}/exports/calls/{sid}.vcon.json`.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Path, State},
    http::header,
    response::{IntoResponse, Response},
};
use callvault_app::export::VconAudio;

use crate::{
    api::{
        exports::{
            begin,
            body::{Part, stream},
        },
        params::{Params, parse_sid},
    },
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// Export a call as a vCon
///
/// A vCon 0.4.0 with the call's parties, its recordings, and the consent to each as a `lawful_basis` attachment. Signed, it
/// is a JSON Web Signature (general JSON serialisation) with the certificate in `x5c`.
#[utoipa::path(
    get, path = "/v1/accounts/{account}/exports/calls/{file}", tag = "exports", operation_id = "export_vcon",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("file" = String, Path, description = "SID of the call with `.vcon.json` behind it"),
        ("audio" = Option<String>, Query, description = "`inline` (if absent), `url` with its SHA-512, or `none`"),
        ("signed" = Option<bool>, Query, description = "Whether it is signed; at most 8 MiB of audio inside then"),
    ),
    responses(
        (status = 200, description = "The vCon", body = String, content_type = "application/vcon"),
        (status = 404, description = "There is no such call, or it is gone", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A wrong parameter, or too much audio to sign", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Too many exports at once", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn vcon(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(place): Path<(String, String)>,
    mut params: Params,
) -> Answer<Response> {
    let sid = place.1.strip_suffix(".vcon.json");
    let sid = parse_sid(sid.ok_or_else(|| Problem::not_found("export"))?, "call")?;
    let audio = match params.take("audio").as_deref() {
        None | Some("inline") => VconAudio::Inline,
        Some("none") => VconAudio::Absent,
        Some("url") => VconAudio::Url(recordings_url(&door, &caller)?),
        Some(_) => return Err(Problem::invalid("audio", "Expected inline, url or none.")),
    };
    let signed = params.take_as("signed", "true or false")?.unwrap_or(false);
    params.finish()?;
    let permit = begin(&door)?;
    let vcon = door.vault.plan_vcon(&caller.account, sid, caller.reader()).await?;
    if signed {
        vcon.check_signable(&audio)?;
    }
    let vault = Arc::clone(&door.vault);
    let body = stream(&Part::whole(None), permit, |mut sink| async move {
        match signed {
            true => vcon.write_signed(&vault, &audio, &mut sink).await,
            false => vcon.write(&vault, &audio, &mut sink).await,
        }
    });
    let headers = [
        (header::CONTENT_TYPE, "application/vcon"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, Body::from_stream(body)).into_response())
}

fn recordings_url(door: &Door, caller: &Caller) -> Answer<String> {
    let url = door.doors.get(door.vault.region()).ok_or_else(Problem::internal)?;
    let base = url.as_str().trim_end_matches('/');
    Ok(format!("{base}/v1/accounts/{}/records/recordings", caller.account))
}
