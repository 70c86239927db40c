//! `GET /v1/Accounts/{sid}/Calls/{CallSid}[.json]`.

use std::sync::Arc;

use axum::{
    extract::{Path, RawQuery, State},
    http::StatusCode,
    response::Response,
};
use callvault_app::{
    Account,
    core::{Sid, TimeUs, record::Call},
};

use super::{
    form::Fields,
    recordings::{AudioUrls, read_validity},
    reply::{Fault, Node, Platform},
};
use crate::{door::Door, problem::Problem};

/// Call details
///
/// The platform's call object. With `details=true` the legs as well.
#[utoipa::path(
    get, path = "/v1/accounts/{account}/calls/{sid}", tag = "platform", operation_id = "get_platform_call",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("sid" = String, Path, description = "SID of the call; with `.json` behind it the answer is JSON, otherwise XML"),
        ("details" = Option<String>, Query, description = "`true` for the legs"),
        ("RecordingUrlValidity" = Option<u32>, Query, description = "5 to 60 minutes"),
    ),
    responses(
        (status = 200, description = "`{\"Call\": {...}}`", content((Object = "application/json"), (String = "application/xml"))),
        (status = 400, description = "`RestException`: a parameter is wrong", content((Object = "application/json"), (String = "application/xml"))),
        (status = 404, description = "`RestException`: there is none, or it is gone", content((Object = "application/json"), (String = "application/xml"))),
        (status = 429, description = "`RestException`: over the rate limit", content((Object = "application/json"), (String = "application/xml"))),
    ),
    security(("token" = [])),
)]
pub async fn get(
    State(door): State<Arc<Door>>,
    platform: Platform,
    Path(place): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Response {
    let done = async {
        let fields = Fields::parse(query.unwrap_or_default().as_bytes());
        let details = fields.flag("details")?;
        let validity = read_validity(&fields)?;
        let sid = read_sid(&place.1, "call")?;
        let account = door.vault.get_account(&platform.caller.account).await?;
        let reader = platform.caller.reader();
        let call = door.line.get_call(&account, sid, reader).await?;
        let recordings = door.vault.find_recordings_of(&account, &[sid], reader).await?;
        let audio = AudioUrls::new(&door, &account, &platform.caller, validity);
        let mut node = call_node(&door, &account, &call, &audio, recordings.get(&sid).copied());
        if details && let Node::Map(members) = &mut node {
            members.push(("Details", details_node(&call)));
        }
        Ok((StatusCode::OK, Node::of("Call", node)))
    };
    platform.finish(done.await)
}

/// A SID from a path, with or without `.json` behind it.
pub(super) fn read_sid(text: &str, what: &str) -> Result<Sid, Fault> {
    let bare = text.strip_suffix(".json").unwrap_or(text);
    bare.parse().map_err(|_| Problem::not_found(what).into())
}

/// A price as the platform writes it: three decimals.
fn price_text(micros: i64) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    let millis = micros.unsigned_abs() / 1_000;
    format!("{sign}{}.{:03}", millis / 1_000, millis % 1_000)
}

/// The call object. Members in the platform's order; what is not known yet is null.
pub(super) fn call_node(
    door: &Door,
    account: &Account,
    call: &Call,
    audio: &AudioUrls<'_>,
    recording: Option<Sid>,
) -> Node {
    let time = |at: Option<TimeUs>| Node::text(at.map(|at| door.line.local_time(account, at)));
    let over = call.ended_at.is_some() || call.status.is_over();
    let sid = account.sid.as_str();
    let mut members = vec![
        ("Sid", Node::Text(call.sid.to_string())),
        ("ParentCallSid", Node::Nothing),
        ("DateCreated", time(Some(call.at))),
        ("DateUpdated", time(Some(call.ended_at.unwrap_or(call.at)))),
        ("AccountSid", Node::Text(sid.to_owned())),
        ("To", Node::Text(call.to.as_str().to_owned())),
        ("From", Node::Text(call.from.as_str().to_owned())),
        ("PhoneNumberSid", Node::Text(call.exophone.as_str().to_owned())),
        ("Status", Node::Text(call.status.as_str().to_owned())),
        ("StartTime", time(Some(call.at))),
        ("EndTime", time(call.ended_at)),
        ("Duration", Node::text(over.then(|| call.duration_s.to_string()))),
        ("Price", Node::text(call.price_micros.map(price_text))),
        ("Direction", Node::Text(call.direction.as_str().to_owned())),
        ("AnsweredBy", Node::text(call.answered_at.map(|_| "human"))),
        ("ForwardedFrom", Node::Nothing),
        ("CallerName", Node::text(call.caller_name.as_deref())),
        ("Uri", Node::Text(format!("/v1/Accounts/{sid}/Calls.json/{}", call.sid))),
    ];
    members.extend(audio.members(recording));
    Node::Map(members)
}

pub(super) fn details_node(call: &Call) -> Node {
    let leg = |id: i64, seconds: u32| {
        let leg = Node::Map(vec![
            ("Id", Node::Number(id)),
            ("OnCallDuration", Node::Number(i64::from(seconds))),
        ]);
        Node::of("Leg", leg)
    };
    let status = || Node::Text(call.status.as_str().to_owned());
    Node::Map(vec![
        ("ConversationDuration", Node::Number(i64::from(call.talk_s))),
        ("Leg1Status", status()),
        ("Leg2Status", status()),
        (
            "Legs",
            Node::List("Legs", vec![leg(1, call.duration_s), leg(2, call.talk_s)]),
        ),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_have_three_decimals() {
        assert_eq!(
            [1_500_000, 0, -20_000, 999].map(price_text),
            ["1.500", "0.000", "-0.020", "0.000"]
        );
    }
}
