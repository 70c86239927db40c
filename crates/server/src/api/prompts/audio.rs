//! `GET /v1/accounts/{account}/prompts/{id}/audio`.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::header,
    response::IntoResponse,
};

use crate::{
    api::{params::parse_sid, recordings::audio::media_type},
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// A prompt's file, as it was uploaded
#[utoipa::path(
    get, path = "/v1/accounts/{account}/prompts/{id}/audio", tag = "flows", operation_id = "get_prompt_audio",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("id" = String, Path, description = "The prompt"),
    ),
    responses(
        (status = 200, description = "The file", content(
            (String = "audio/wav"),
            (String = "audio/mpeg"),
        )),
        (status = 404, description = "There is none, or it is not this token's", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn audio(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(place): Path<(String, String)>,
) -> Answer<impl IntoResponse> {
    let id = parse_sid(&place.1, "prompt")?;
    let account = door.vault.get_account(&caller.account).await?;
    let (prompt, file) = door.vault.read_prompt(&account, id).await?;
    Ok(([(header::CONTENT_TYPE, media_type(prompt.format))], file))
}
