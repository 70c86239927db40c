//! Records as JSON.

use callvault_app::core::{
    TimeUs,
    record::{Call, Message},
};
use serde::Serialize;
use utoipa::ToSchema;

/// A call detail record.
#[derive(Serialize, ToSchema)]
pub struct CallBody {
    /// Identifier: 32 hexadecimal digits.
    pub sid: String,
    /// When the call started.
    #[schema(format = DateTime)]
    pub at: String,
    /// The source's own id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_id: Option<String>,
    /// `inbound`, `outbound-dial` or `outbound-api`.
    pub direction: &'static str,
    /// The first leg's number; empty when it was withheld.
    pub from: String,
    /// The second leg's number.
    pub to: String,
    /// The platform's own number of the call, or empty.
    pub exophone: String,
    /// `completed`, `no-answer`, `busy`, `failed`, `canceled`, `queued`, `ringing` or `in-progress`.
    pub status: &'static str,
    /// When it was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub answered_at: Option<String>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub ended_at: Option<String>,
    /// Seconds from start to end.
    pub duration_s: u32,
    /// Seconds of conversation.
    pub talk_s: u32,
    /// Price in millionths of the account's currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price_micros: Option<i64>,
    /// The caller's display name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller_name: Option<String>,
    /// Whatever else the source wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub extra: Option<serde_json::Value>,
}

/// An SMS delivery log entry.
#[derive(Serialize, ToSchema)]
pub struct MessageBody {
    /// Identifier: 32 hexadecimal digits.
    pub sid: String,
    /// When the message was created.
    #[schema(format = DateTime)]
    pub at: String,
    /// The source's own id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_id: Option<String>,
    /// `inbound`, `outbound-dial` or `outbound-api`.
    pub direction: &'static str,
    /// Sender.
    pub from: String,
    /// Recipient.
    pub to: String,
    /// `queued`, `sending`, `submitted`, `sent`, `failed` or `failed-dnd`.
    pub status: &'static str,
    /// The platform's detailed status code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_code: Option<u32>,
    /// When it left.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub sent_at: Option<String>,
    /// Billed SMS units.
    pub units: u32,
    /// Price in millionths of the account's currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price_micros: Option<i64>,
    /// Text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// DLT entity id (India).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dlt_entity_id: Option<String>,
    /// DLT template id (India).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dlt_template_id: Option<String>,
    /// Whatever else the source wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub extra: Option<serde_json::Value>,
}

/// A page of calls.
#[derive(Serialize, ToSchema)]
pub struct CallPage {
    /// The calls, newest first.
    pub calls: Vec<CallBody>,
    /// Pass it as `after` to go on; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_after: Option<String>,
}

/// A page of messages.
#[derive(Serialize, ToSchema)]
pub struct MessagePage {
    /// The messages, newest first.
    pub messages: Vec<MessageBody>,
    /// Pass it as `after` to go on; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_after: Option<String>,
}

fn show(at: Option<TimeUs>) -> Option<String> {
    at.map(|at| at.to_string())
}

fn parse_extra(extra: Option<&str>) -> Option<serde_json::Value> {
    extra.and_then(|text| serde_json::from_str(text).ok())
}

impl From<&Call> for CallBody {
    fn from(call: &Call) -> Self {
        Self {
            sid: call.sid.to_string(),
            at: call.at.to_string(),
            source_id: call.source_id.as_ref().map(ToString::to_string),
            direction: call.direction.as_str(),
            from: call.from.as_str().to_owned(),
            to: call.to.as_str().to_owned(),
            exophone: call.exophone.as_str().to_owned(),
            status: call.status.as_str(),
            answered_at: show(call.answered_at),
            ended_at: show(call.ended_at),
            duration_s: call.duration_s,
            talk_s: call.talk_s,
            price_micros: call.price_micros,
            caller_name: call.caller_name.as_ref().map(ToString::to_string),
            extra: parse_extra(call.extra.as_deref()),
        }
    }
}

impl From<&Message> for MessageBody {
    fn from(message: &Message) -> Self {
        Self {
            sid: message.sid.to_string(),
            at: message.at.to_string(),
            source_id: message.source_id.as_ref().map(ToString::to_string),
            direction: message.direction.as_str(),
            from: message.from.as_str().to_owned(),
            to: message.to.as_str().to_owned(),
            status: message.status.as_str(),
            status_code: message.status_code,
            sent_at: show(message.sent_at),
            units: message.units,
            price_micros: message.price_micros,
            body: message.body.as_deref().map(ToOwned::to_owned),
            dlt_entity_id: message.dlt_entity_id.as_ref().map(ToString::to_string),
            dlt_template_id: message.dlt_template_id.as_ref().map(ToString::to_string),
            extra: parse_extra(message.extra.as_deref()),
        }
    }
}
