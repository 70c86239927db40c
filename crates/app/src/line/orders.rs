//! Orders: calls to be placed and messages to be sent, and where they stand until they are records.

use callvault_core::{
    Number, Sid, TimeUs,
    record::{Call, CallStatus, Direction, Message, MessageStatus},
    time::SECOND_US,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{CallOutcome, MessageOutcome};

/// Where the end of an order is told.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusCallback {
    /// Whom to tell.
    pub url: String,
    /// Whether the body is JSON; otherwise it is a multipart form.
    pub json: bool,
    /// Whether the caller named events and so gets the long form.
    pub long: bool,
    /// Whether an answer is told as well.
    pub answered: bool,
}

/// A call to be placed.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct CallOrder {
    /// Its SID.
    pub sid: Sid,
    /// When it was ordered.
    pub at: TimeUs,
    /// The first leg.
    pub from: Number,
    /// The second leg; of a call into a flow, the platform's own number.
    pub to: Number,
    /// The platform's own number.
    pub exophone: Number,
    /// The flow that the first leg is led into, if it is not connected to a second.
    pub flow_url: Option<String>,
    /// The longest conversation.
    pub time_limit_s: Option<u32>,
    /// The longest ringing of a leg.
    pub ring_limit_s: Option<u32>,
    /// Whether it is to be recorded, consent allowing.
    pub record: bool,
    /// Whether both parties have a channel of their own in the recording.
    #[serde(default)]
    pub dual: bool,
    /// The caller's own text, told again at the end.
    pub custom_field: Option<String>,
    /// Who is told.
    pub callback: Option<StatusCallback>,
}

impl CallOrder {
    /// The call that it becomes.
    pub(super) fn call(&self) -> Call {
        let numbers = [&self.from, &self.to, &self.exophone].map(Number::clone);
        Call::ringing(self.sid, self.at, Direction::OutboundApi, numbers)
    }
}

/// A message to be sent.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct MessageOrder {
    /// Its SID.
    pub sid: Sid,
    /// When it was ordered.
    pub at: TimeUs,
    /// Sender.
    pub from: Number,
    /// Recipient.
    pub to: Number,
    /// Text.
    pub body: String,
    /// DLT entity (India).
    pub dlt_entity_id: Option<String>,
    /// DLT template (India).
    pub dlt_template_id: Option<String>,
    /// The caller's own text, told again at the end.
    pub custom_field: Option<String>,
    /// Who is told.
    pub callback: Option<StatusCallback>,
}

/// An order and what the carrier said of it.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Running<O, R> {
    pub order: O,
    pub outcome: Option<R>,
}

fn after(at: TimeUs, seconds: u32) -> TimeUs {
    TimeUs(at.0.saturating_add(i64::from(seconds) * SECOND_US))
}

/// The texts that a record keeps beside its own fields.
fn extra(custom_field: Option<&str>, record: bool) -> Option<Box<str>> {
    let value = match (custom_field, record) {
        (None, false) => return None,
        (Some(text), false) => json!({ "custom_field": text }),
        (None, true) => json!({ "record": true }),
        (Some(text), true) => json!({ "custom_field": text, "record": true }),
    };
    Some(value.to_string().into_boxed_str())
}

impl Running<CallOrder, CallOutcome> {
    /// When the call's next step is due.
    pub(super) fn ends_at(&self) -> TimeUs {
        after(self.order.at, self.outcome.map_or(0, |outcome| outcome.ended_after_s))
    }

    /// The call as it stands at a moment.
    pub(super) fn call(&self, now: TimeUs) -> Call {
        let order = &self.order;
        let over = self.outcome.filter(|_| self.ends_at() <= now);
        let answered_at = self
            .outcome
            .and_then(|outcome| outcome.answered_after_s)
            .map(|seconds| after(order.at, seconds))
            .filter(|answered_at| *answered_at <= now);
        let status = match (over, answered_at, self.outcome) {
            (Some(outcome), _, _) => outcome.status,
            (None, Some(_), _) => CallStatus::InProgress,
            (None, None, Some(_)) => CallStatus::Ringing,
            (None, None, None) => CallStatus::Queued,
        };
        let ended_at = over.map(|_| self.ends_at());
        let seconds = |from: Option<TimeUs>| {
            let span = from.zip(ended_at).map_or(0, |(from, to)| (to.0 - from.0) / SECOND_US);
            u32::try_from(span).unwrap_or(0)
        };
        Call {
            status,
            answered_at,
            ended_at,
            duration_s: seconds(Some(order.at)),
            talk_s: seconds(answered_at),
            price_micros: over.and_then(|outcome| outcome.price_micros),
            extra: extra(order.custom_field.as_deref(), order.record),
            ..order.call()
        }
    }
}

impl Running<MessageOrder, MessageOutcome> {
    /// The message as it stands.
    pub(super) fn message(&self) -> Message {
        let order = &self.order;
        let compact = |text: &Option<String>| text.as_deref().map(Into::into);
        Message {
            sid: order.sid,
            at: order.at,
            source_id: None,
            direction: Direction::OutboundApi,
            from: order.from.clone(),
            to: order.to.clone(),
            status: self.outcome.map_or(MessageStatus::Queued, |outcome| outcome.status),
            status_code: Some(self.outcome.map_or(21010, |outcome| outcome.status_code)),
            sent_at: self
                .outcome
                .filter(|outcome| outcome.status == MessageStatus::Sent)
                .map(|_| order.at),
            units: self.outcome.map_or(0, |outcome| outcome.units),
            price_micros: None,
            body: Some(order.body.clone().into_boxed_str()),
            dlt_entity_id: compact(&order.dlt_entity_id),
            dlt_template_id: compact(&order.dlt_template_id),
            extra: extra(order.custom_field.as_deref(), false),
        }
    }
}
