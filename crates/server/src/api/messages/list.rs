//! `GET /v1/accounts/{account}/records/messages`.

use std::sync::Arc;

use axum::{Json, extract::State};
use callvault_app::core::{Class, Record};

use crate::{
    api::{
        params::{Params, show_cursor},
        records::{
            body::{MessageBody, MessagePage},
            listing::list_page,
        },
    },
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// List messages
///
/// Newest first. A page that continues after a cursor repeats nothing and skips nothing that was there, whatever is taken
/// in meanwhile.
#[utoipa::path(
    get, path = "/v1/accounts/{account}/records/messages", tag = "messages", operation_id = "list_messages",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("from" = Option<String>, Query, description = "At or after, RFC 3339"),
        ("to" = Option<String>, Query, description = "Before, RFC 3339"),
        ("number" = Option<String>, Query, description = "With this party; any spelling"),
        ("status" = Option<String>, Query, description = "With this status"),
        ("direction" = Option<String>, Query, description = "`inbound`, `outbound-dial` or `outbound-api`"),
        ("limit" = Option<u32>, Query, description = "1 to 1000, 50 if absent"),
        ("after" = Option<String>, Query, description = "`next_after` of the page before"),
    ),
    responses(
        (status = 200, description = "A page", body = MessagePage),
        (status = 404, description = "No such account for this token", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A wrong parameter", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn list(State(door): State<Arc<Door>>, caller: Caller, params: Params) -> Answer<Json<MessagePage>> {
    let page = list_page(&door, &caller, Class::Message, params).await?;
    let messages = page
        .records
        .iter()
        .filter_map(|record| match record {
            Record::Message(message) => Some(MessageBody::from(message)),
            _ => None,
        })
        .collect();
    Ok(Json(MessagePage {
        messages,
        next_after: page.next.map(show_cursor),
    }))
}
