//! `POST /v2/accounts/{account}/campaigns`.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Response};
use callvault_app::Account;
use serde_json::{Map, Value};

use super::{
    body::CampaignData,
    read::{Fields, read_definition, read_numbers, read_objects},
};
use crate::{
    api::{
        params::{JsonBody, read_json},
        platform::envelope::{Envelope, Failure, Item, V2},
    },
    door::Door,
};

/// Make a campaign
///
/// A flat object, or `{"campaigns": [{...}]}` with up to 10. `from` (numbers, at most 5,000, as a list or one text with
/// commas) or `lists` (at most 5), `caller_id`, and `url` or `read_via_text` are needed. It begins at `schedule.send_at`, or at
/// once if that is absent or past; lists are read then, and suppressed numbers are left out. Fields that are not known are ignored, as the
/// platform does.
#[utoipa::path(
    post, path = "/v2/accounts/{account}/campaigns", tag = "campaigns", operation_id = "create_campaigns",
    params(("account" = String, Path, description = "Account SID")),
    request_body(content = Object, content_type = "application/json"),
    responses(
        (status = 200, description = "Made", body = Envelope<Vec<Item<CampaignData>>>),
        (status = 207, description = "Several, not all of them made", body = Envelope<Vec<Item<CampaignData>>>),
        (status = 400, description = "A field is wrong; nothing is made", body = Envelope<Vec<Item<Value>>>),
        (status = 404, description = "No such account for this token", body = Envelope<Item<Value>>),
        (status = 429, description = "Over the rate limit", body = Envelope<Item<Value>>),
    ),
    security(("token" = [])),
)]
pub async fn create(State(door): State<Arc<Door>>, v2: V2, body: JsonBody<Map<String, Value>>) -> Response {
    let done = async {
        let body = Value::Object(read_json(body)?);
        let account = door.vault.get_account(&v2.caller.account).await?;
        let mut results = Vec::new();
        for fields in read_objects(&body)? {
            results.push(create_one(&door, &account, &fields).await);
        }
        Ok::<_, Failure>(results)
    };
    let results = done.await.unwrap_or_else(|failure| vec![Err(failure)]);
    let failed = results.iter().find_map(|result| result.as_ref().err());
    let status = match (failed, results.len()) {
        (None, _) => StatusCode::OK,
        (Some(failure), 1) => failure.status(),
        _ => StatusCode::MULTI_STATUS,
    };
    v2.list(status, results)
}

async fn create_one(door: &Door, account: &Account, fields: &Fields<'_>) -> Result<CampaignData, Failure> {
    let numbers = read_numbers(fields, account)?;
    let definition = read_definition(fields, account, door.vault.now(), door.base_url())?;
    if numbers.is_empty() && definition.lists.is_empty() {
        return Err(Failure::bad("from", "Mandatory parameter missing."));
    }
    let made = door.line.create_campaign(account, definition, numbers).await?;
    Ok(CampaignData::of(door, account, &made))
}
