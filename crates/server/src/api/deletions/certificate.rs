//! `GET /v1/accounts/{account}/deletions/{index}/certificate`.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::header,
    response::IntoResponse,
};

use crate::{
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// A deletion's certificate
///
/// A signed note that anyone can check offline with the key of `/log/key`.
#[utoipa::path(
    get, path = "/v1/accounts/{account}/deletions/{index}/certificate", tag = "deletions", operation_id = "get_certificate",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("index" = u64, Path, description = "Index of the entry in the transparency log"),
    ),
    responses(
        (status = 200, description = "The certificate", body = String, content_type = "text/plain"),
        (status = 404, description = "There is none, it is gone, or it is not this token's", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn certificate(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(place): Path<(String, String)>,
) -> Answer<impl IntoResponse> {
    let (_, index) = place;
    let index = index.parse().map_err(|_| Problem::not_found("certificate"))?;
    let text = door.vault.certificate(&caller.account, index).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text))
}
