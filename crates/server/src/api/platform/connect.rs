//! `POST /v1/Accounts/{sid}/Calls/connect[.json]`: connects two numbers, or a number to a flow.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Response};
use callvault_app::{
    Account,
    line::{CallOrder, StatusCallback},
};

use super::{
    call::call_node,
    form::{Fields, FormBody, read_party},
    recordings::AudioUrls,
    reply::{Fault, Node, Platform},
};
use crate::door::Door;

/// The longest call (documentation of `Calls/connect`: `TimeLimit`).
const MAX_SECONDS: u32 = 14_400;
/// The longest `CustomField`.
pub(super) const MAX_CUSTOM_CHARS: usize = 128;

/// Make a call
///
/// The platform's `Calls/connect`: form-encoded; `From`, `CallerId`, and `To` (two numbers) or `Url` (a flow) are needed.
/// XML unless the path ends in `.json`. 200 means accepted; the carrier is asked afterwards.
#[utoipa::path(
    post, path = "/v1/accounts/{account}/calls/connect.json", tag = "platform", operation_id = "connect_call",
    params(("account" = String, Path, description = "Account SID")),
    request_body(content = String, content_type = "application/x-www-form-urlencoded", description = "`From`, `To` or `Url`, `CallerId`, `TimeLimit`, `TimeOut`, `Record`, `RecordingChannels`, `CustomField`, `StatusCallback`, `StatusCallbackEvents[]`, `StatusCallbackContentType`"),
    responses(
        (status = 200, description = "Accepted: `{\"Call\": {...}}`", body = Object),
        (status = 404, description = "`RestException`: no such account for this token", body = Object),
        (status = 429, description = "`RestException`: over the rate limit", body = Object),
    ),
    security(("token" = [])),
)]
pub async fn connect(State(door): State<Arc<Door>>, platform: Platform, FormBody(fields): FormBody) -> Response {
    let done = async {
        let account = door.vault.get_account(&platform.caller.account).await?;
        let order = read_order(&door, &account, &fields?)?;
        let call = door.line.order_call(&account, order).await?;
        let audio = AudioUrls::new(&door, &account, &platform.caller, None);
        let node = call_node(&door, &account, &call, &audio, None);
        Ok((StatusCode::OK, Node::of("Call", node)))
    };
    platform.finish(done.await)
}

fn read_order(door: &Door, account: &Account, fields: &Fields) -> Result<CallOrder, Fault> {
    let from = read_party("From", fields.get("From")?, account)?;
    let exophone = read_party("CallerId", fields.get("CallerId")?, account)?;
    let to = fields
        .find("To")
        .map(|text| read_party("To", text, account))
        .transpose()?;
    let flow_url = fields.url("Url")?;
    let to = match (to, &flow_url) {
        (Some(to), None) => to,
        (None, Some(_)) => exophone.clone(),
        (Some(_), Some(_)) => return Err(Fault::bad("Url", "Send To or Url, not both.")),
        (None, None) => return Err(Fault::bad("To", "Mandatory parameter missing.")),
    };
    let at = door.vault.now();
    Ok(CallOrder {
        sid: Account::fresh_sid(at)?,
        at,
        from,
        to,
        exophone,
        flow_url,
        time_limit_s: fields.number("TimeLimit", 1..=MAX_SECONDS)?,
        ring_limit_s: fields.number("TimeOut", 1..=MAX_SECONDS)?,
        record: fields.flag("Record")?,
        dual: read_channels(fields)?,
        custom_field: fields.text("CustomField", MAX_CUSTOM_CHARS)?,
        callback: read_callback(fields)?,
    })
}

/// Whether both parties have a channel of their own. One of the platform's pages says `mono` for `single`.
fn read_channels(fields: &Fields) -> Result<bool, Fault> {
    match fields.find("RecordingChannels") {
        None | Some("single" | "mono") => Ok(false),
        Some("dual") => Ok(true),
        Some(_) => Err(Fault::bad("RecordingChannels", "Expected single or dual.")),
    }
}

/// Who is told of the end.
pub(super) fn read_callback(fields: &Fields) -> Result<Option<StatusCallback>, Fault> {
    let Some(url) = fields.url("StatusCallback")? else {
        return Ok(None);
    };
    let events: Vec<String> = fields
        .all("StatusCallbackEvents")
        .map(str::to_ascii_lowercase)
        .collect();
    if events
        .iter()
        .any(|event| !matches!(event.as_str(), "terminal" | "answered"))
    {
        return Err(Fault::bad("StatusCallbackEvents", "Expected terminal or answered."));
    }
    let json = match fields.find("StatusCallbackContentType") {
        None | Some("multipart/form-data") => false,
        Some("application/json") => true,
        Some(_) => {
            let expected = "Expected multipart/form-data or application/json.";
            return Err(Fault::bad("StatusCallbackContentType", expected));
        }
    };
    Ok(Some(StatusCallback {
        url,
        json,
        long: !events.is_empty(),
        answered: events.iter().any(|event| event == "answered"),
    }))
}
