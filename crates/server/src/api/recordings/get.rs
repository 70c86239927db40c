//! `GET /v1/accounts/{account}/records/recordings/{sid}`.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};

use super::body::RecordingBody;
use crate::{
    api::params::parse_sid,
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// One recording's description
#[utoipa::path(
    get, path = "/v1/accounts/{account}/records/recordings/{sid}", tag = "recordings", operation_id = "get_recording",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("sid" = String, Path, description = "SID of the recording"),
    ),
    responses(
        (status = 200, description = "The description", body = RecordingBody),
        (status = 404, description = "There is none, it is gone, or it is not this token's", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn get(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(place): Path<(String, String)>,
) -> Answer<Json<RecordingBody>> {
    let (_, sid) = place;
    let sid = parse_sid(&sid, "recording")?;
    let view = door.vault.get_recording(&caller.account, sid, caller.reader()).await?;
    Ok(Json(RecordingBody::from(&view)))
}
