//! `GET /v1/accounts/{account}/records/messages/{sid}`.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use callvault_app::core::{Class, Record};

use crate::{
    api::records::{body::MessageBody, listing::get_one},
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// One message
#[utoipa::path(
    get, path = "/v1/accounts/{account}/records/messages/{sid}", tag = "messages", operation_id = "get_message",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("sid" = String, Path, description = "SID of the message"),
    ),
    responses(
        (status = 200, description = "The message", body = MessageBody),
        (status = 404, description = "There is none, or it is gone", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn get(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(place): Path<(String, String)>,
) -> Answer<Json<MessageBody>> {
    let (_, sid) = place;
    match get_one(&door, &caller, Class::Message, &sid).await? {
        Record::Message(message) => Ok(Json(MessageBody::from(&message))),
        _ => Err(Problem::not_found("message")),
    }
}
