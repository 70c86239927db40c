//! `GET /v2/accounts/{account}/campaigns/{id}/call-details` and `/report.csv`.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::header,
    response::{IntoResponse, Response},
};
use callvault_app::{Account, core::record::CallStatus, line::CallDetail};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::list::read_page;
use crate::{
    api::{
        params::Params,
        platform::envelope::{Envelope, Failure, Item, Metadata, V2, read_sid, show_moment},
    },
    door::Door,
};

/// A call of a campaign.
#[derive(Serialize, ToSchema)]
pub struct CallDetailData {
    /// The call.
    pub call_sid: String,
    /// Whom it was to.
    pub number: String,
    /// What a list calls them.
    pub name: Option<String>,
    /// The number that called.
    pub caller_id: String,
    /// `Outgoing`.
    pub direction: &'static str,
    /// How it ended; `in-progress` while it goes on.
    pub status: &'static str,
    /// Seconds of conversation.
    pub duration: u32,
    /// Keys that were pressed.
    pub digit: Option<String>,
    /// The recording's audio.
    pub recording_url: Option<String>,
    /// When it was ordered.
    #[schema(format = DateTime)]
    pub date_created: String,
    /// When it began.
    #[schema(format = DateTime)]
    pub start_time: String,
    /// When it ended.
    #[schema(format = DateTime)]
    pub end_time: Option<String>,
}

impl CallDetailData {
    fn of(account: &Account, caller_id: &str, call: &CallDetail) -> Self {
        let (at, end) = (show_moment(account, call.attempt.at), call.attempt.end);
        Self {
            call_sid: call.attempt.sid.to_string(),
            number: call.number.as_str().to_owned(),
            name: call.name.clone(),
            caller_id: caller_id.to_owned(),
            direction: "Outgoing",
            status: end.map_or(CallStatus::InProgress, |end| end.status).as_str(),
            duration: end.map_or(0, |end| end.talk_s),
            digit: None,
            recording_url: None,
            date_created: at.clone(),
            start_time: at,
            end_time: end.map(|end| show_moment(account, end.at)),
        }
    }
}

/// A campaign's calls
///
/// Every attempt is a call. `sort_by` is `date_created:asc` (if absent) or `date_created:desc`.
#[utoipa::path(
    get, path = "/v2/accounts/{account}/campaigns/{id}/call-details", tag = "campaigns", operation_id = "list_campaign_calls",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("id" = String, Path, description = "The campaign"),
        ("offset" = Option<u32>, Query, description = "Calls to pass over"),
        ("limit" = Option<u32>, Query, description = "1 to 500, 20 if absent"),
        ("status" = Option<String>, Query, description = "A status of a call"),
        ("sort_by" = Option<String>, Query, description = "Order"),
    ),
    responses(
        (status = 200, description = "A page", body = Envelope<Vec<Item<CallDetailData>>>),
        (status = 400, description = "A parameter is wrong", body = Envelope<Item<Value>>),
        (status = 404, description = "There is none, or it is gone", body = Envelope<Item<Value>>),
        (status = 429, description = "Over the rate limit", body = Envelope<Item<Value>>),
    ),
    security(("token" = [])),
)]
pub async fn calls(
    State(door): State<Arc<Door>>,
    v2: V2,
    Path(place): Path<(String, String)>,
    mut params: Params,
) -> Response {
    let done = async {
        let account = door.vault.get_account(&v2.caller.account).await?;
        let id = read_sid(&place.1, "campaign")?;
        let (offset, limit) = read_page(&mut params)?;
        let status = params.take("status");
        let read = |text: &String| CallStatus::from_name(text);
        let wanted = status
            .as_ref()
            .map(|text| read(text).ok_or_else(|| Failure::bad("status", "Not a status of a call.")));
        let wanted = wanted.transpose()?;
        let descending = match params.take("sort_by").as_deref() {
            None | Some("date_created:asc" | "date_created") => false,
            Some("date_created:desc") => true,
            Some(_) => {
                return Err(Failure::bad(
                    "sort_by",
                    "Expected date_created:asc or date_created:desc.",
                ));
            }
        };
        params.finish()?;
        let campaign = door.line.get_campaign(&account, id).await?;
        let mut calls = door.line.list_campaign_calls(&account, &campaign).await?;
        let status_of = |call: &CallDetail| call.attempt.end.map_or(CallStatus::InProgress, |end| end.status);
        calls.retain(|call| wanted.is_none_or(|wanted| wanted == status_of(call)));
        if descending {
            calls.reverse();
        }
        let total = calls.len() as u64;
        let caller_id = campaign.body.definition.caller_id.as_str();
        let page = calls.iter().skip(offset as usize).take(limit as usize);
        let data: Vec<_> = page.map(|call| CallDetailData::of(&account, caller_id, call)).collect();
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

/// A campaign's report
///
/// A line for every number that is through, as `report_url` of the campaign and of its callback names it.
#[utoipa::path(
    get, path = "/v2/accounts/{account}/campaigns/{id}/report.csv", tag = "campaigns", operation_id = "get_campaign_report",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("id" = String, Path, description = "The campaign"),
    ),
    responses(
        (status = 200, description = "The report", body = String, content_type = "text/csv"),
        (status = 404, description = "There is none, or it is gone", body = Envelope<Item<Value>>),
        (status = 429, description = "Over the rate limit", body = Envelope<Item<Value>>),
    ),
    security(("token" = [])),
)]
pub async fn report(State(door): State<Arc<Door>>, v2: V2, Path(place): Path<(String, String)>) -> Response {
    let done = async {
        let account = door.vault.get_account(&v2.caller.account).await?;
        let id = read_sid(&place.1, "campaign")?;
        let campaign = door.line.get_campaign(&account, id).await?;
        Ok::<_, Failure>(door.line.campaign_report(&account, &campaign).await?)
    };
    match done.await {
        Ok(bytes) => {
            let kind = "text/csv; charset=utf-8; header=present";
            v2.finish(([(header::CONTENT_TYPE, kind)], bytes).into_response())
        }
        Err(failure) => v2.one(Err::<Value, _>(failure)),
    }
}
