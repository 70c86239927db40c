//! `PUT /v1/accounts/{account}/alerts`.

use std::sync::Arc;

use axum::{Json, extract::State};
use callvault_app::line::Alerts;

use super::AlertsBody;
use crate::{
    api::params::{JsonBody, read_json},
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// Say who is told by e-mail
///
/// Replaces the addresses and events. Mails go out as webhooks do: tried again on the same ladder, with one Message-ID for
/// each mail, and every attempt is in the log of deliveries. They name nobody who is in the account's data.
#[utoipa::path(
    put, path = "/v1/accounts/{account}/alerts", tag = "alerts", operation_id = "put_alerts",
    params(("account" = String, Path, description = "Account SID")),
    request_body = AlertsBody,
    responses(
        (status = 200, description = "As it is from now on", body = AlertsBody),
        (status = 404, description = "No such account for this token", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Refused, with the reason and the field", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn put(
    State(door): State<Arc<Door>>,
    caller: Caller,
    body: JsonBody<AlertsBody>,
) -> Answer<Json<AlertsBody>> {
    let AlertsBody { addresses, events } = read_json(body)?;
    let alerts = Alerts { addresses, events };
    let account = door.vault.get_account(&caller.account).await?;
    door.line.set_alerts(&account, &alerts).await?;
    Ok(Json(alerts.into()))
}
