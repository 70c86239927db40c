//! `GET /presigned/{account}/{sid}`: a recording's audio for who has a signed link.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use callvault_app::{
    Account,
    core::{AccountSid, Reader, Sid},
    recording::Link,
};
use url::form_urlencoded::Serializer;

use super::audio::answer_audio;
use crate::{
    access::{self, Anonymous},
    api::params::Params,
    clock::Stopwatch,
    door::Door,
    problem::{Answer, Problem},
};

/// The longest name of who asked.
const MAX_KEY_BYTES: usize = 128;

/// The address of a link.
#[must_use]
pub fn show_link(door: &Door, account: &Account, link: &Link) -> String {
    let query = Serializer::new(String::new())
        .append_pair("until", &link.until_s.to_string())
        .append_pair("by", &link.person)
        .append_pair("signature", &account.sign_link(link))
        .finish();
    let (base, sid) = (door.base_url(), &account.sid);
    format!("{base}/presigned/{sid}/{}?{query}", link.recording)
}

/// A recording's audio by a signed link
///
/// The platform's call and recording objects have such links as `PreSignedRecordingUrl` when `RecordingUrlValidity` is
/// asked for. No credentials are needed. A link opens one recording, for the time that was asked for, while the recording
/// is there and who asked is still in force: a token that is not revoked, a user who is not disabled. Every use is in the account's access log.
#[utoipa::path(
    get, path = "/presigned/{account}/{sid}", tag = "recordings", operation_id = "get_presigned_audio",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("sid" = String, Path, description = "SID of the recording"),
        ("until" = i64, Query, description = "When the link ends, in seconds since 1970"),
        ("by" = String, Query, description = "Who asked for it: the public part of a token, or a user"),
        ("signature" = String, Query, description = "64 hexadecimal digits"),
        ("Range" = Option<String>, Header, description = "One range in bytes, such as `bytes=0-65535`"),
    ),
    responses(
        (status = 200, description = "The audio", body = String, content_type = "audio/wav"),
        (status = 206, description = "The range", body = String, content_type = "audio/wav"),
        (status = 403, description = "The link is over, or was never made", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "The recording is gone", body = Problem, content_type = "application/problem+json"),
        (status = 416, description = "The range lies outside", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A parameter that links do not have: a link gives the audio as it came in", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn presigned(
    State(door): State<Arc<Door>>,
    Path(place): Path<(String, String)>,
    mut params: Params,
    headers: HeaderMap,
) -> Answer<Response> {
    let watch = Stopwatch::start();
    let account: AccountSid = place.0.parse().map_err(|_| refuse())?;
    let recording: Sid = place.1.parse().map_err(|_| refuse())?;
    let link = Link {
        recording,
        until_s: params
            .take_as("until", "seconds since 1970")
            .map_err(|_| refuse())?
            .ok_or_else(refuse)?,
        person: params
            .take("by")
            .filter(|key| key.len() <= MAX_KEY_BYTES)
            .ok_or_else(refuse)?,
    };
    let signature = params.take("signature").ok_or_else(refuse)?;
    if !door.vault.is_link_good(&account, &link, &signature).await? {
        return Err(refuse());
    }
    params.finish()?;
    // What only the compliance role may hear has no links.
    let done = answer_audio(&door, &account, recording, Reader::Account, &headers).await;
    let response = done.unwrap_or_else(IntoResponse::into_response);
    let access = Anonymous {
        account,
        name: "recordings.presigned",
        key: link.person,
        place: recording,
        status: response.status(),
        took: watch.elapsed(),
    };
    access::note_anonymous(&door, access).await?;
    Ok(response)
}

/// The same answer whatever is wrong: nothing is told about what the link names.
fn refuse() -> Problem {
    let detail = "This link is over, or was never made; ask for another one.";
    Problem::new(StatusCode::FORBIDDEN, "link-over", detail)
}
