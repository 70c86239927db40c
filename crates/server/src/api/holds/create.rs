//! `POST /v1/accounts/{account}/holds`.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use callvault_app::{Account, core::Class, coverage::HoldTarget};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    api::params::{JsonBody, parse_number, parse_time, read_json},
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// A hold to place: exactly one of `sids`, `number`, or `from` with `to`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewHold {
    /// These records; a call's SID also covers its recordings.
    #[serde(default)]
    pub sids: Option<Vec<String>>,
    /// Every record with this number, or with a name that a record has.
    #[serde(default)]
    pub number: Option<String>,
    /// Every record from this moment on.
    #[serde(default)]
    #[schema(format = DateTime)]
    pub from: Option<String>,
    /// Up to, not including.
    #[serde(default)]
    #[schema(format = DateTime)]
    pub to: Option<String>,
    /// Of this class only, with `from` and `to`.
    #[serde(default)]
    pub class: Option<String>,
    /// The matter it serves.
    pub matter: String,
    /// Why.
    pub reason: String,
    /// When it is to be looked at again.
    #[schema(format = DateTime)]
    pub review_at: String,
}

/// A hold that was placed.
#[derive(Serialize, ToSchema)]
pub struct PlacedHold {
    /// Its identifier.
    pub id: String,
}

/// Place a hold
///
/// Freezes expiry and erasure of what it covers until it is lifted. Each SID must be a record of the account; a telephone
/// number may be held before anybody called it.
#[utoipa::path(
    post, path = "/v1/accounts/{account}/holds", tag = "holds", operation_id = "place_hold",
    params(("account" = String, Path, description = "Account SID"),),
    request_body = NewHold,
    responses(
        (status = 201, description = "Placed", body = PlacedHold),
        (status = 404, description = "There is none, it is gone, or it is not this token's", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Refused, with the reason and the field", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn create(
    State(door): State<Arc<Door>>,
    caller: Caller,
    body: JsonBody<NewHold>,
) -> Answer<(StatusCode, Json<PlacedHold>)> {
    let new = read_json(body)?;
    let account = door.vault.get_account(&caller.account).await?;
    let review_at = parse_time("review_at", &new.review_at)?;
    let target = read_target(&account, &new)?;
    let id = door
        .vault
        .place_hold_on(&caller.account, &target, &new.matter, &new.reason, review_at)
        .await?;
    Ok((StatusCode::CREATED, Json(PlacedHold { id: id.to_string() })))
}

/// What a hold is to cover.
///
/// # Errors
/// 422 that names the field.
pub(crate) fn read_target(account: &Account, new: &NewHold) -> Answer<HoldTarget> {
    let class = new.class.as_deref().map(str::parse::<Class>).transpose();
    let class = class.map_err(|error| Problem::invalid("class", format!("Expected {}.", error.expected)))?;
    match (&new.sids, &new.number, &new.from, &new.to) {
        (Some(sids), None, None, None) if class.is_none() => sids
            .iter()
            .map(|sid| {
                sid.parse()
                    .map_err(|_| Problem::invalid("sids", "Expected 32 hexadecimal digits each."))
            })
            .collect::<Answer<_>>()
            .map(HoldTarget::Records),
        (None, Some(number), None, None) if class.is_none() => {
            parse_number("number", number, account).map(HoldTarget::Number)
        }
        (None, None, Some(from), Some(to)) => Ok(HoldTarget::Span {
            class,
            from: parse_time("from", from)?,
            to: parse_time("to", to)?,
        }),
        _ => Err(Problem::invalid(
            "sids",
            "Give exactly one of: sids; number; from and to, with class if you like.",
        )),
    }
}
