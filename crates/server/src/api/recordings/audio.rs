//! `GET /v1/accounts/{account}/records/recordings/{sid}/audio`.

use std::{ops::Range, sync::Arc};

use axum::{
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use callvault_app::{
    VaultError,
    conversion::{Conversion, decide_conversion, parse_format},
    core::{AccountSid, Reader, Sid, record::AudioFormat},
    recording::RecordingView,
};
use futures::StreamExt as _;

use crate::{
    api::{
        exports::begin,
        params::{Params, parse_sid},
    },
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// A recording's audio
///
/// As it came in, whole or one range of it (RFC 9110, 14); or in the format that is asked for. What is converted is
/// answered whole, an MP3 without saying its length before.
#[utoipa::path(
    get, path = "/v1/accounts/{account}/records/recordings/{sid}/audio", tag = "recordings", operation_id = "get_audio",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("sid" = String, Path, description = "SID of the recording"),
        ("format" = Option<String>, Query, description = "`original` (if absent), `wav` or `mp3`"),
        ("Range" = Option<String>, Header, description = "One range in bytes, such as `bytes=0-65535`"),
    ),
    responses(
        (status = 200, description = "The audio", body = String, content_type = "audio/wav"),
        (status = 206, description = "The range", body = String, content_type = "audio/wav"),
        (status = 404, description = "There is none, it is gone, or it is not this token's", body = Problem, content_type = "application/problem+json"),
        (status = 416, description = "The range lies outside", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A wrong parameter, or it cannot be had in this format", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Too many exports and conversions at once", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn audio(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(place): Path<(String, String)>,
    headers: HeaderMap,
    mut params: Params,
) -> Answer<Response> {
    let sid = parse_sid(&place.1, "recording")?;
    let format = params.take("format");
    let format = format.map(|text| parse_format(&text)).transpose()?.flatten();
    params.finish()?;
    let view = door.vault.get_recording(&caller.account, sid, caller.reader()).await?;
    let conversion = format.map(|to| decide_conversion(&view.meta, to)).transpose();
    if let Some(conversion) = conversion.map_err(VaultError::from)?.flatten() {
        return convert(&door, &caller, &view, conversion).await;
    }
    answer_audio(&door, &caller.account, sid, caller.reader(), &headers).await
}

/// A recording's audio as it came in, or the range of it that the headers ask for.
pub(super) async fn answer_audio(
    door: &Door,
    account: &AccountSid,
    sid: Sid,
    reader: Reader,
    headers: &HeaderMap,
) -> Answer<Response> {
    let view = door.vault.get_recording(account, sid, reader).await?;
    // Audio has no validator, so that none that is sent can match: the whole answers (RFC 9110, 13.1.5).
    let ranged = !headers.contains_key(header::IF_RANGE);
    let asked = headers
        .get(header::RANGE)
        .filter(|_| ranged)
        .and_then(|value| value.to_str().ok());
    let kind = media_type(view.meta.format);
    let (status, range) = match asked.map_or(Asked::Whole, |text| read_range(text, view.bytes)) {
        Asked::Whole => (StatusCode::OK, 0..view.bytes),
        Asked::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Asked::Outside => {
            let detail = format!("The recording has {} bytes.", view.bytes);
            let problem = Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, "range-outside", detail).in_field("range");
            let headers = [(header::CONTENT_RANGE, format!("bytes */{}", view.bytes))];
            return Ok((headers, problem).into_response());
        }
    };
    let stream = door.vault.read_recording(account, sid, range.clone(), reader).await?;
    let headers = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (header::CONTENT_LENGTH, (range.end - range.start).to_string()),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    let mut response = (status, headers, Body::from_stream(stream)).into_response();
    if status == StatusCode::PARTIAL_CONTENT
        && let Ok(value) = format!("bytes {}-{}/{}", range.start, range.end - 1, view.bytes).parse()
    {
        response.headers_mut().insert(header::CONTENT_RANGE, value);
    }
    Ok(response)
}

/// What a format is called in a header.
pub(in crate::api) const fn media_type(format: AudioFormat) -> &'static str {
    match format {
        AudioFormat::Wav => "audio/wav",
        AudioFormat::Mp3 => "audio/mpeg",
    }
}

/// A recording in another format, converted while it is sent.
async fn convert(door: &Arc<Door>, caller: &Caller, view: &RecordingView, conversion: Conversion) -> Answer<Response> {
    let permit = begin(door)?;
    let vault = &door.vault;
    let converted = vault
        .convert_recording(&caller.account, view, conversion, caller.reader())
        .await?;
    let audio = converted.audio.map(move |piece| {
        // The room is taken until the last piece is.
        let _ = &permit;
        piece
    });
    let headers = [
        (header::CONTENT_TYPE, media_type(conversion.to)),
        (header::CACHE_CONTROL, "no-store"),
        (header::ACCEPT_RANGES, "none"),
    ];
    let mut response = (headers, Body::from_stream(audio)).into_response();
    if let Some(bytes) = converted.bytes {
        response.headers_mut().insert(header::CONTENT_LENGTH, bytes.into());
    }
    Ok(response)
}

/// What a `Range` header asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Everything.
    Whole,
    /// These bytes.
    Part(Range<u64>),
    /// Bytes that are not there.
    Outside,
}

/// RFC 9110, 14.1.2 and 14.2: one range is served; what is not understood, and several ranges, are answered whole.
pub(crate) fn read_range(text: &str, size: u64) -> Asked {
    let Some((first, last)) = text
        .strip_prefix("bytes=")
        .and_then(|range| range.trim().split_once('-'))
    else {
        return Asked::Whole;
    };
    let part = |range: Range<u64>| {
        if range.start < range.end {
            Asked::Part(range)
        } else {
            Asked::Outside
        }
    };
    if !(first.bytes().chain(last.bytes())).all(|byte| byte.is_ascii_digit()) {
        return Asked::Whole;
    }
    match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), _) if last.is_empty() => part(first..size),
        (Ok(first), Ok(last)) if first <= last => part(first..last.saturating_add(1).min(size)),
        (Err(_), Ok(count)) if first.is_empty() => part(size.saturating_sub(count)..size),
        _ => Asked::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_rfc_says() {
        for (text, want) in [
            ("bytes=0-0", Asked::Part(0..1)),
            ("bytes=90-", Asked::Part(90..100)),
            ("bytes=-10", Asked::Part(90..100)),
            ("bytes=-1000", Asked::Part(0..100)),
            ("bytes=50-1000", Asked::Part(50..100)),
            ("bytes=100-", Asked::Outside),
            ("bytes=-0", Asked::Outside),
            ("bytes=5-4", Asked::Whole),
            ("bytes=+3-+9", Asked::Whole),
            ("bytes=0-1,3-4", Asked::Whole),
            ("lines=0-1", Asked::Whole),
            ("bytes=", Asked::Whole),
        ] {
            assert_eq!(read_range(text, 100), want, "{text}");
        }
    }
}
