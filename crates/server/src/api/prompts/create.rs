//! `POST /v1/accounts/{account}/prompts`.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::{HeaderMap, StatusCode},
};
use callvault_app::prompt::MAX_PROMPT_BYTES;

use super::body::PromptBody;
use crate::{
    api::{
        params::{Params, read_bytes},
        recordings::create::read_content_type,
    },
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// Upload a prompt
///
/// The body is a WAV or MP3 file of at most 2 MiB and two minutes; its first channel is played, at telephone quality. A prompt
/// never changes: upload another one, and name it in the flow's next version. An account has at most 100.
#[utoipa::path(
    post, path = "/v1/accounts/{account}/prompts", tag = "flows", operation_id = "create_prompt",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("name" = String, Query, description = "What people call it, 1 to 255 characters"),
    ),
    request_body(content = String, content_type = "audio/wav", description = "The audio, as audio/wav or audio/mpeg"),
    responses(
        (status = 201, description = "Kept", body = PromptBody),
        (status = 404, description = "No such account for this token", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The account has 100 already", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "Longer than 2 MiB", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Neither WAV nor MP3", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Refused, with the reason and the field", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn create(
    State(door): State<Arc<Door>>,
    caller: Caller,
    mut params: Params,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Answer<(StatusCode, Json<PromptBody>)> {
    let format = read_content_type(&headers)?;
    let name = params.take("name");
    params.finish()?;
    let name = name.ok_or_else(|| Problem::invalid("name", "Say what people call it."))?;
    let file = read_bytes(body, MAX_PROMPT_BYTES)?;
    let account = door.vault.get_account(&caller.account).await?;
    let prompt = door.vault.add_prompt(&account, name, format, file).await?;
    Ok((StatusCode::CREATED, Json(prompt.into())))
}
