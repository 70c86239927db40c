//! Carriers: what places calls and sends messages.

use async_trait::async_trait;
use callvault_core::record::{CallStatus, MessageStatus};

use super::{CallOrder, MessageOrder};

/// What became of a call. Seconds count from the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CallOutcome {
    /// How it ended.
    pub status: CallStatus,
    /// When the second leg answered, if it did.
    pub answered_after_s: Option<u32>,
    /// When it ended.
    pub ended_after_s: u32,
    /// Price in millionths of the account's currency.
    pub price_micros: Option<i64>,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MessageOutcome {
    /// How it ended.
    pub status: MessageStatus,
    /// The platform's detailed code.
    pub status_code: u32,
    /// Billed units.
    pub units: u32,
}

/// Why a carrier did not take an order. Without personal data.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct CarrierError(pub String);

/// Takes orders. The same order may come again after a crash; its SID tells.
#[async_trait]
pub trait Carrier: Send + Sync {
    /// What it is called in answers and logs.
    fn name(&self) -> &'static str;

    /// Places a call.
    async fn place_call(&self, order: &CallOrder) -> Result<CallOutcome, CarrierError>;

    /// Sends a message.
    async fn send_message(&self, order: &MessageOrder) -> Result<MessageOutcome, CarrierError>;
}

/// A carrier that reaches nobody: every order ends as it is configured to.
#[derive(Debug, Clone, Copy)]
pub struct Loopback {
    /// How calls end.
    pub call: CallStatus,
    /// Seconds until the answer.
    pub ring_s: u32,
    /// Seconds of conversation, of calls that are completed.
    pub talk_s: u32,
    /// How messages end.
    pub message: MessageStatus,
}

impl Default for Loopback {
    fn default() -> Self {
        Self {
            call: CallStatus::Completed,
            ring_s: 0,
            talk_s: 0,
            message: MessageStatus::Sent,
        }
    }
}

/// Characters of an SMS unit: GSM 7-bit alphabet, and UCS-2 for any other text (3GPP TS 23.040).
const UNIT_CHARS: [usize; 2] = [160, 70];

#[async_trait]
impl Carrier for Loopback {
    fn name(&self) -> &'static str {
        "loopback"
    }

    async fn place_call(&self, order: &CallOrder) -> Result<CallOutcome, CarrierError> {
        let completed = self.call == CallStatus::Completed;
        let talk_s = match order.time_limit_s {
            Some(limit_s) => self.talk_s.min(limit_s),
            None => self.talk_s,
        };
        Ok(CallOutcome {
            status: self.call,
            answered_after_s: completed.then_some(self.ring_s),
            ended_after_s: self.ring_s + if completed { talk_s } else { 0 },
            price_micros: None,
        })
    }

    async fn send_message(&self, order: &MessageOrder) -> Result<MessageOutcome, CarrierError> {
        let unit = UNIT_CHARS[usize::from(!order.body.is_ascii())];
        let units = order.body.chars().count().div_ceil(unit).max(1);
        Ok(MessageOutcome {
            status: self.message,
            status_code: match self.message {
                MessageStatus::Queued => 21010,
                MessageStatus::Sending => 21015,
                MessageStatus::Submitted => 21020,
                MessageStatus::Sent => 20005,
                MessageStatus::Failed => 23010,
                MessageStatus::FailedDnd => 23005,
            },
            units: u32::try_from(units).unwrap_or(u32::MAX),
        })
    }
}
