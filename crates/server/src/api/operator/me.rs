//! `GET /v1/operator/me`.

use std::sync::Arc;

use axum::{Json, extract::State};

use crate::{api::session::get::SessionBody, door::Door, people::Person, problem::Answer};

/// Say who of the operator is signed in
#[utoipa::path(
    get, path = "/v1/operator/me", tag = "operator", operation_id = "get_operator",
    responses((status = 200, description = "You", body = SessionBody)),
    security(("session" = [])),
)]
pub async fn me(State(door): State<Arc<Door>>, person: Person) -> Answer<Json<SessionBody>> {
    Ok(Json(SessionBody::of_person(&door, &person).await?))
}
