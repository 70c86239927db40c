//! `PUT /v1/accounts/{account}/retention`.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Deserialize;
use utoipa::ToSchema;

use super::body::ChangeBody;
use crate::{
    api::params::{JsonBody, read_json, whole_number},
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// A new setting.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// Days to keep recordings; the plan may allow fewer.
    #[schema(minimum = 1, maximum = 365)]
    #[serde(deserialize_with = "whole_number")]
    pub recording_days: u32,
}

/// Set how long recordings are kept
///
/// What deletes sooner takes effect after the notice period; what extends applies at once, to what still exists.
#[utoipa::path(
    put, path = "/v1/accounts/{account}/retention", tag = "retention", operation_id = "put_retention",
    params(("account" = String, Path, description = "Account SID"),),
    request_body = Setting,
    responses(
        (status = 200, description = "Decided; says what it deletes and when", body = ChangeBody),
        (status = 404, description = "There is none, it is gone, or it is not this token's", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Refused, with the reason and the field", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn put(State(door): State<Arc<Door>>, caller: Caller, body: JsonBody<Setting>) -> Answer<Json<ChangeBody>> {
    let setting = read_json(body)?;
    let (change, preview) = door
        .vault
        .set_retention(&caller.account, setting.recording_days)
        .await?;
    Ok(Json(ChangeBody::new(&change, &preview)))
}
