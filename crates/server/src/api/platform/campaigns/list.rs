//! `GET /v2/accounts/{account}/campaigns`.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use callvault_app::{core::campaign::Status, line::CampaignQuery};
use serde_json::Value;

use super::body::CampaignData;
use crate::{
    api::{
        params::Params,
        platform::envelope::{Envelope, Failure, Item, Metadata, V2},
    },
    door::Door,
};

/// The largest page.
const MAX_LIMIT: u32 = 500;

/// `offset` and `limit` of a listing.
pub(super) fn read_page(params: &mut Params) -> Result<(u32, u32), Failure> {
    let offset: u32 = params.take_as("offset", "a number")?.unwrap_or(0);
    let limit: u32 = params.take_as("limit", "a number from 1 to 500")?.unwrap_or(20);
    match (1..=MAX_LIMIT).contains(&limit) {
        true => Ok((offset, limit)),
        false => Err(Failure::bad("limit", "Expected a number from 1 to 500.")),
    }
}

/// List campaigns
///
/// `sort_by` is `date_created:desc` (if absent), `date_created:asc`, `name:asc` or `name:desc`. Names are sealed: a listing looks
/// through all campaigns of the account.
#[utoipa::path(
    get, path = "/v2/accounts/{account}/campaigns", tag = "campaigns", operation_id = "list_campaigns",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("offset" = Option<u32>, Query, description = "Campaigns to pass over"),
        ("limit" = Option<u32>, Query, description = "1 to 500, 20 if absent"),
        ("name" = Option<String>, Query, description = "Part of the name"),
        ("status" = Option<String>, Query, description = "Statuses with commas between"),
        ("sort_by" = Option<String>, Query, description = "Order"),
        ("type" = Option<String>, Query, description = "`trans`"),
    ),
    responses(
        (status = 200, description = "A page", body = Envelope<Vec<Item<CampaignData>>>),
        (status = 400, description = "A parameter is wrong", body = Envelope<Item<Value>>),
        (status = 404, description = "No such account for this token", body = Envelope<Item<Value>>),
        (status = 429, description = "Over the rate limit", body = Envelope<Item<Value>>),
    ),
    security(("token" = [])),
)]
pub async fn list(State(door): State<Arc<Door>>, v2: V2, mut params: Params) -> Response {
    let done = async {
        let account = door.vault.get_account(&v2.caller.account).await?;
        let (offset, limit) = read_page(&mut params)?;
        let name = params.take("name");
        let statuses = params.take("status").unwrap_or_default();
        let statuses = statuses.split(',').map(str::trim).filter(|text| !text.is_empty());
        let read = |text| Status::from_name(text).ok_or_else(|| Failure::bad("status", "Not a status of a campaign."));
        let statuses = statuses.map(read).collect::<Result<_, _>>()?;
        let (by_name, descending) = match params.take("sort_by").as_deref() {
            None | Some("date_created:desc") => (false, true),
            Some("date_created:asc" | "date_created") => (false, false),
            Some("name:asc" | "name") => (true, false),
            Some("name:desc") => (true, true),
            Some(_) => {
                return Err(Failure::bad(
                    "sort_by",
                    "Expected date_created or name, with :asc or :desc.",
                ));
            }
        };
        if params.take("type").is_some_and(|kind| kind != "trans") {
            return Err(Failure::bad("type", "Expected trans."));
        }
        params.finish()?;
        let query = CampaignQuery {
            name,
            statuses,
            by_name,
            descending,
            offset: offset as usize,
            limit: limit as usize,
        };
        let (found, total) = door.line.list_campaigns(&account, &query).await?;
        let data: Vec<_> = found.iter().map(|one| CampaignData::of(&door, &account, one)).collect();
        let metadata = Metadata {
            count: data.len(),
            offset,
            total,
            limit,
        };
        Ok((data, metadata))
    };
    v2.page(done.await)
}
