//! `GET`, `PUT` and `DELETE /v2/accounts/{account}/campaigns/{id}`.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    response::Response,
};
use callvault_app::{VaultError, core::campaign::Action, line::Definition};
use serde_json::{Map, Value};

use super::{
    body::CampaignData,
    read::{edit, read_objects},
};
use crate::{
    api::{
        params::{JsonBody, read_json},
        platform::envelope::{Envelope, Failure, Item, V2, read_sid},
    },
    door::Door,
};

/// Get a campaign
#[utoipa::path(
    get, path = "/v2/accounts/{account}/campaigns/{id}", tag = "campaigns", operation_id = "get_campaign",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("id" = String, Path, description = "The campaign"),
    ),
    responses(
        (status = 200, description = "The campaign", body = Envelope<Item<CampaignData>>),
        (status = 404, description = "There is none, or it is gone", body = Envelope<Item<Value>>),
        (status = 429, description = "Over the rate limit", body = Envelope<Item<Value>>),
    ),
    security(("token" = [])),
)]
pub async fn get(State(door): State<Arc<Door>>, v2: V2, Path(place): Path<(String, String)>) -> Response {
    let done = async {
        let account = door.vault.get_account(&v2.caller.account).await?;
        let id = read_sid(&place.1, "campaign")?;
        let campaign = door.line.get_campaign(&account, id).await?;
        Ok(CampaignData::of(&door, &account, &campaign))
    };
    v2.one(done.await)
}

/// Change a campaign
///
/// `action` is `pause` (of `Created` or `InProgress`), `resume` (of `Paused`), `complete` (of `Paused`: who was not reached is
/// marked failed) or `archive` (of `Completed`). Once it has begun, the three callbacks alone can be changed besides.
#[utoipa::path(
    put, path = "/v2/accounts/{account}/campaigns/{id}", tag = "campaigns", operation_id = "update_campaign",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("id" = String, Path, description = "The campaign"),
    ),
    request_body(content = Object, content_type = "application/json", description = "`{\"action\": \"pause\"}`, or what is to be changed; also as `{\"campaigns\": [{...}]}`"),
    responses(
        (status = 200, description = "The campaign as it is now", body = Envelope<Item<CampaignData>>),
        (status = 400, description = "A field is wrong", body = Envelope<Item<Value>>),
        (status = 404, description = "There is none, or it is gone", body = Envelope<Item<Value>>),
        (status = 409, description = "Its status does not allow it", body = Envelope<Item<Value>>),
        (status = 429, description = "Over the rate limit", body = Envelope<Item<Value>>),
    ),
    security(("token" = [])),
)]
pub async fn put(
    State(door): State<Arc<Door>>,
    v2: V2,
    Path(place): Path<(String, String)>,
    body: JsonBody<Map<String, Value>>,
) -> Response {
    let done = async {
        let id = read_sid(&place.1, "campaign")?;
        let account = door.vault.get_account(&v2.caller.account).await?;
        let body = Value::Object(read_json(body)?);
        let objects = read_objects(&body)?;
        let [fields] = objects.as_slice() else {
            return Err(Failure::bad("campaigns", "Expected one."));
        };
        let action = fields.text("action", 16)?;
        let action = action.map(|text| {
            let known = [Action::Pause, Action::Resume, Action::Complete, Action::Archive];
            let found = known
                .into_iter()
                .find(|action| action.as_str().eq_ignore_ascii_case(&text));
            found.ok_or_else(|| Failure::bad("action", "Expected pause, resume, complete or archive."))
        });
        let action = action.transpose()?;
        let now = door.vault.now();
        let change = |definition: &mut Definition, has_begun: bool| {
            let edited = edit(fields, definition, has_begun, now);
            edited.map_err(|failure| VaultError::invalid("campaign", failure.description()))
        };
        let mut campaign = door
            .line
            .edit_campaign(&account, id, &change)
            .await
            .map_err(unwrap_invalid)?;
        if let Some(action) = action {
            campaign = door.line.act_on_campaign(&account, id, action).await?;
        }
        Ok(CampaignData::of(&door, &account, &campaign))
    };
    v2.one(done.await)
}

/// What `edit` said was wrong says it itself.
fn unwrap_invalid(error: VaultError) -> Failure {
    match error {
        VaultError::Invalid {
            field: "campaign",
            reason,
        } => match reason.split_once(": ") {
            Some((field, reason)) => Failure::bad(field, reason),
            None => Failure::bad("campaign", &reason),
        },
        error => error.into(),
    }
}

/// Delete a campaign
///
/// Nobody is called any more. What was done stays as a report until its term, a year: campaign data cannot be deleted before.
#[utoipa::path(
    delete, path = "/v2/accounts/{account}/campaigns/{id}", tag = "campaigns", operation_id = "delete_campaign",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("id" = String, Path, description = "The campaign"),
    ),
    responses(
        (status = 200, description = "The campaign as it is now", body = Envelope<Item<CampaignData>>),
        (status = 404, description = "There is none, or it is gone", body = Envelope<Item<Value>>),
        (status = 429, description = "Over the rate limit", body = Envelope<Item<Value>>),
    ),
    security(("token" = [])),
)]
pub async fn delete(State(door): State<Arc<Door>>, v2: V2, Path(place): Path<(String, String)>) -> Response {
    let done = async {
        let account = door.vault.get_account(&v2.caller.account).await?;
        let id = read_sid(&place.1, "campaign")?;
        let campaign = door.line.act_on_campaign(&account, id, Action::Cancel).await?;
        Ok(CampaignData::of(&door, &account, &campaign))
    };
    v2.one(done.await)
}
