//! `Sms/send`, `Sms/bulksend` and `SMS/Messages/{SmsSid}`.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use callvault_app::{
    Account,
    core::record::Message,
    line::{MessageOrder, StatusCallback},
};
use serde::Deserialize;

use super::{
    call::read_sid,
    connect::{MAX_CUSTOM_CHARS, read_callback},
    form::{Fields, FormBody, MAX_LIST, read_party},
    reply::{Fault, Node, Platform},
};
use crate::{
    api::params::{JsonBody, read_json},
    door::Door,
};

/// The longest text (documentation of `Sms/send`).
const MAX_BODY_CHARS: usize = 2_000;
/// The longest DLT id.
const MAX_DLT_CHARS: usize = 64;

/// Send a message
///
/// The platform's `Sms/send`: form-encoded; `From`, `To` and `Body` are needed. Several recipients, with commas between
/// or as repeated `To`, make several messages.
#[utoipa::path(
    post, path = "/v1/accounts/{account}/sms/send.json", tag = "platform", operation_id = "send_message",
    params(("account" = String, Path, description = "Account SID")),
    request_body(content = String, content_type = "application/x-www-form-urlencoded", description = "`From`, `To`, `Body`, `EncodingType`, `Priority`, `DltEntityId`, `DltTemplateId`, `SmsType`, `CustomField`, `StatusCallback`"),
    responses(
        (status = 200, description = "Accepted: `{\"SMSMessage\": {...}}`", body = Object),
        (status = 404, description = "`RestException`: no such account for this token", body = Object),
        (status = 429, description = "`RestException`: over the rate limit", body = Object),
    ),
    security(("token" = [])),
)]
pub async fn send(State(door): State<Arc<Door>>, platform: Platform, FormBody(fields): FormBody) -> Response {
    let done = async {
        let account = door.vault.get_account(&platform.caller.account).await?;
        let fields = fields?;
        let text = Text::from_fields(&fields)?;
        let mut orders = Vec::new();
        for to in fields
            .all("To")
            .flat_map(|to| to.split(','))
            .filter(|to| !to.trim().is_empty())
        {
            orders.push(text.order(&door, &account, to)?);
        }
        if orders.is_empty() {
            return Err(Fault::bad("To", "Mandatory parameter missing."));
        }
        if orders.len() > MAX_LIST {
            return Err(Fault::bad("To", "At most 100 recipients."));
        }
        let mut nodes = accept(&door, &account, orders).await?;
        let node = match nodes.len() {
            1 => Node::of("SMSMessage", nodes.remove(0)),
            _ => Node::of("SMSMessages", Node::List("SMSMessage", nodes)),
        };
        Ok((StatusCode::OK, node))
    };
    platform.finish(done.await)
}

/// A message of a bulk request.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BulkItem {
    from: String,
    to: String,
    body: String,
    dlt_entity_id: Option<String>,
    dlt_template_id: Option<String>,
    custom_field: Option<String>,
}

/// The body of a bulk request.
#[derive(Deserialize)]
pub struct Bulk {
    sms: Vec<BulkItem>,
}

/// Send different messages at once
///
/// The platform's `Sms/bulksend`: `{"sms": [{"From", "To", "Body", ...}]}`, at most 100. All are accepted or none.
#[utoipa::path(
    post, path = "/v1/accounts/{account}/sms/bulksend.json", tag = "platform", operation_id = "send_messages",
    params(("account" = String, Path, description = "Account SID")),
    request_body(content = Object, content_type = "application/json"),
    responses(
        (status = 200, description = "Accepted: `{\"SMSMessages\": [...]}`", body = Object),
        (status = 404, description = "`RestException`: no such account for this token", body = Object),
        (status = 429, description = "`RestException`: over the rate limit", body = Object),
    ),
    security(("token" = [])),
)]
pub async fn bulk_send(State(door): State<Arc<Door>>, platform: Platform, body: JsonBody<Bulk>) -> Response {
    let done = async {
        let Bulk { sms } = read_json(body)?;
        if sms.is_empty() || sms.len() > MAX_LIST {
            return Err(Fault::bad("sms", "Expected 1 to 100 messages."));
        }
        let account = door.vault.get_account(&platform.caller.account).await?;
        let mut orders = Vec::with_capacity(sms.len());
        for item in sms {
            let to = item.to.clone();
            orders.push(Text::from_item(item)?.order(&door, &account, &to)?);
        }
        let nodes = accept(&door, &account, orders).await?;
        Ok((StatusCode::OK, Node::of("SMSMessages", Node::List("SMSMessage", nodes))))
    };
    platform.finish(done.await)
}

/// Message details
#[utoipa::path(
    get, path = "/v1/accounts/{account}/sms/messages/{sid}", tag = "platform", operation_id = "get_platform_message",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("sid" = String, Path, description = "SID of the message; with `.json` behind it the answer is JSON, otherwise XML"),
    ),
    responses(
        (status = 200, description = "`{\"SMSMessage\": {...}}`", content((Object = "application/json"), (String = "application/xml"))),
        (status = 404, description = "`RestException`: there is none, or it is gone", content((Object = "application/json"), (String = "application/xml"))),
        (status = 429, description = "`RestException`: over the rate limit", content((Object = "application/json"), (String = "application/xml"))),
    ),
    security(("token" = [])),
)]
pub async fn get(State(door): State<Arc<Door>>, platform: Platform, Path(place): Path<(String, String)>) -> Response {
    let done = async {
        let sid = read_sid(&place.1, "message")?;
        let account = door.vault.get_account(&platform.caller.account).await?;
        let message = door.line.get_message(&account, sid, platform.caller.reader()).await?;
        let mut node = message_node(&door, &account, &message);
        if let (Node::Map(members), Some(code)) = (&mut node, message.status_code) {
            members.push(("DetailedStatusCode", Node::Number(i64::from(code))));
            members.push(("DetailedStatus", Node::Text(detailed_status(code).to_owned())));
        }
        Ok((StatusCode::OK, Node::of("SMSMessage", node)))
    };
    platform.finish(done.await)
}

/// What a message says beside its recipient.
struct Text {
    from: String,
    body: String,
    dlt_entity_id: Option<String>,
    dlt_template_id: Option<String>,
    custom_field: Option<String>,
    callback: Option<StatusCallback>,
}

impl Text {
    fn from_fields(fields: &Fields) -> Result<Self, Fault> {
        let one_of = |name: &'static str, known: &[&str]| match fields.find(name) {
            Some(text) if !known.iter().any(|known| known.eq_ignore_ascii_case(text)) => {
                Err(Fault::bad(name, &format!("Expected one of {}.", known.join(", "))))
            }
            _ => Ok(()),
        };
        one_of("EncodingType", &["plain", "unicode"])?;
        one_of("Priority", &["normal", "high"])?;
        one_of("SmsType", &["transactional", "transactional_opt_in", "promotional"])?;
        let text = Self {
            from: fields.get("From")?.to_owned(),
            body: fields.get("Body")?.to_owned(),
            dlt_entity_id: fields.text("DltEntityId", MAX_DLT_CHARS)?,
            dlt_template_id: fields.text("DltTemplateId", MAX_DLT_CHARS)?,
            custom_field: fields.text("CustomField", MAX_CUSTOM_CHARS)?,
            callback: read_callback(fields)?,
        };
        text.checked()
    }

    fn from_item(item: BulkItem) -> Result<Self, Fault> {
        let text = Self {
            from: item.from,
            body: item.body,
            dlt_entity_id: item.dlt_entity_id,
            dlt_template_id: item.dlt_template_id,
            custom_field: item.custom_field,
            callback: None,
        };
        text.checked()
    }

    fn checked(self) -> Result<Self, Fault> {
        let long = |text: &Option<String>, most| text.as_ref().is_some_and(|text| text.chars().count() > most);
        if self.body.is_empty() || self.body.chars().count() > MAX_BODY_CHARS {
            return Err(Fault::bad("Body", "Expected 1 to 2000 characters."));
        }
        for (name, text) in [
            ("DltEntityId", &self.dlt_entity_id),
            ("DltTemplateId", &self.dlt_template_id),
        ] {
            if long(text, MAX_DLT_CHARS) {
                return Err(Fault::bad(name, "Longer than 64 characters."));
            }
        }
        match long(&self.custom_field, MAX_CUSTOM_CHARS) {
            true => Err(Fault::bad("CustomField", "Longer than 128 characters.")),
            false => Ok(self),
        }
    }

    fn order(&self, door: &Door, account: &Account, to: &str) -> Result<MessageOrder, Fault> {
        let at = door.vault.now();
        Ok(MessageOrder {
            sid: Account::fresh_sid(at)?,
            at,
            from: read_party("From", &self.from, account)?,
            to: read_party("To", to, account)?,
            body: self.body.clone(),
            dlt_entity_id: self.dlt_entity_id.clone(),
            dlt_template_id: self.dlt_template_id.clone(),
            custom_field: self.custom_field.clone(),
            callback: self.callback.clone(),
        })
    }
}

async fn accept(door: &Door, account: &Account, orders: Vec<MessageOrder>) -> Result<Vec<Node>, Fault> {
    let messages = door.line.order_messages(account, orders).await?;
    Ok(messages
        .iter()
        .map(|message| message_node(door, account, message))
        .collect())
}

fn message_node(door: &Door, account: &Account, message: &Message) -> Node {
    let time = |at| Node::Text(door.line.local_time(account, at));
    let sid = account.sid.as_str();
    Node::Map(vec![
        ("Sid", Node::Text(message.sid.to_string())),
        ("AccountSid", Node::Text(sid.to_owned())),
        ("From", Node::Text(message.from.as_str().to_owned())),
        ("To", Node::Text(message.to.as_str().to_owned())),
        ("DateCreated", time(message.at)),
        ("DateUpdated", time(message.sent_at.unwrap_or(message.at))),
        ("DateSent", message.sent_at.map_or(Node::Nothing, time)),
        ("Body", Node::text(message.body.as_deref())),
        ("Direction", Node::Text(message.direction.as_str().to_owned())),
        (
            "Uri",
            Node::Text(format!("/v1/Accounts/{sid}/SMS/Messages/{}", message.sid)),
        ),
        ("Price", Node::Nothing),
        ("Status", Node::Text(message.status.as_str().to_owned())),
        ("SmsUnits", Node::Text(message.units.to_string())),
    ])
}

/// The platform's words for its codes (documentation, "SMS detailed status codes").
const fn detailed_status(code: u32) -> &'static str {
    match code {
        21010 => "PENDING_TO_OPERATOR",
        21015 => "SENDING",
        21020 => "SUBMITTED",
        20005 => "DELIVERED_TO_HANDSET",
        20006 => "DELIVERED_TO_OPERATOR",
        23005 => "FAILED_DND",
        23010 => "FAILED_INVALID_NUMBER",
        23015 => "FAILED_SPAM",
        23020 => "FAILED_BLACKLISTED",
        23072 => "FAILED_INVALID_SENDER",
        23080 => "FAILED_DLT_SCRUBBING",
        23081 => "FAILED_DLT_ENTITY",
        23082 => "FAILED_DLT_TEMPLATE",
        23083 => "FAILED_DLT_CONSENT",
        _ => "UNKNOWN",
    }
}
