//! What the vault keeps: calls, messages and the description of recordings.
//!
//! Field names follow the telephony platform's API. Nothing here prints personal data in `Debug`: the types that carry
//! it do not derive it for their contents.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::{class::Class, id::Sid, number::Number, time::TimeUs};

/// Which way a call or message went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// To the account.
    Inbound,
    /// From the account, dialled by a person.
    OutboundDial,
    /// From the account, by API.
    OutboundApi,
}

/// How a call ended, or where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CallStatus {
    /// Accepted, not dialled yet.
    Queued,
    /// Ringing.
    Ringing,
    /// Answered and going on.
    InProgress,
    /// Ended after an answer.
    Completed,
    /// Failed.
    Failed,
    /// Busy.
    Busy,
    /// Not answered.
    NoAnswer,
    /// Cancelled by the caller.
    Canceled,
}

/// Where a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MessageStatus {
    /// Accepted.
    Queued,
    /// On its way to the operator.
    Sending,
    /// With the operator.
    Submitted,
    /// Delivered.
    Sent,
    /// Failed.
    Failed,
    /// Refused: do not disturb.
    FailedDnd,
}

macro_rules! names {
    ($type:ident { $($variant:ident = $name:literal),+ $(,)? }) => {
        impl $type {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The value's name in APIs and exports.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// The value with this name (ASCII case is ignored).
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.as_str().eq_ignore_ascii_case(name))
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

impl CallStatus {
    /// Whether nothing more happens to the call.
    #[must_use]
    pub const fn is_over(self) -> bool {
        !matches!(self, Self::Queued | Self::Ringing | Self::InProgress)
    }
}

names!(Direction { Inbound = "inbound", OutboundDial = "outbound-dial", OutboundApi = "outbound-api" });
names!(CallStatus {
    Queued = "queued", Ringing = "ringing", InProgress = "in-progress", Completed = "completed", Failed = "failed",
    Busy = "busy", NoAnswer = "no-answer", Canceled = "canceled",
});
names!(MessageStatus {
    Queued = "queued", Sending = "sending", Submitted = "submitted", Sent = "sent", Failed = "failed",
    FailedDnd = "failed-dnd",
});

/// A call detail record.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Identifier; its first six bytes are the start time.
    pub sid: Sid,
    /// When the call started. Its retention counts from here.
    pub at: TimeUs,
    /// The source's own id (Asterisk `uniqueid`, FreeSWITCH `uuid`), at most 128 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_id: Option<CompactString>,
    /// Direction.
    pub direction: Direction,
    /// The first leg's number.
    pub from: Number,
    /// The second leg's number.
    pub to: Number,
    /// The platform's own number (ExoPhone) of the call, or empty.
    #[serde(default)]
    pub exophone: Number,
    /// Status.
    pub status: CallStatus,
    /// When it was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_at: Option<TimeUs>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<TimeUs>,
    /// Seconds from start to end.
    #[serde(default)]
    pub duration_s: u32,
    /// Seconds of conversation.
    #[serde(default)]
    pub talk_s: u32,
    /// Price in millionths of the account's currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_micros: Option<i64>,
    /// The caller's display name, at most 128 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller_name: Option<CompactString>,
    /// Whatever else the source wrote, as the text of a JSON object, at most 16 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<Box<str>>,
}

impl Call {
    /// A call that begins: it rings, and nothing else is known of it.
    #[must_use]
    pub fn ringing(sid: Sid, at: TimeUs, direction: Direction, [from, to, exophone]: [Number; 3]) -> Self {
        Self {
            sid,
            at,
            source_id: None,
            direction,
            from,
            to,
            exophone,
            status: CallStatus::Ringing,
            answered_at: None,
            ended_at: None,
            duration_s: 0,
            talk_s: 0,
            price_micros: None,
            caller_name: None,
            extra: None,
        }
    }
}

/// An SMS delivery log entry.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Identifier; its first six bytes are the creation time.
    pub sid: Sid,
    /// When the message was created. Its retention counts from here.
    pub at: TimeUs,
    /// The source's own id, at most 128 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_id: Option<CompactString>,
    /// Direction.
    pub direction: Direction,
    /// Sender.
    pub from: Number,
    /// Recipient.
    pub to: Number,
    /// Status.
    pub status: MessageStatus,
    /// The platform's detailed status code (20005 = delivered to handset).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_code: Option<u32>,
    /// When it left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<TimeUs>,
    /// Billed SMS units.
    #[serde(default)]
    pub units: u32,
    /// Price in millionths of the account's currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_micros: Option<i64>,
    /// Text, at most 2000 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Box<str>>,
    /// DLT entity id (India).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dlt_entity_id: Option<CompactString>,
    /// DLT template id (India).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dlt_template_id: Option<CompactString>,
    /// Whatever else the source wrote, as the text of a JSON object, at most 16 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<Box<str>>,
}

/// An entry of one of the vault's own logs (spec 1.7), or of a campaign's report.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Identifier; its first six bytes are the moment.
    pub sid: Sid,
    /// When it happened. Its retention counts from here.
    pub at: TimeUs,
    /// What happened, such as `retention.changed`; of an API access the operation, of a report the campaign's SID. At
    /// most 64 bytes.
    pub name: CompactString,
    /// The person in the data it is about, if it is about one; found by number like a call.
    #[serde(default)]
    pub subject: Number,
    /// The rest, as the text of a JSON object, at most 16 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Box<str>>,
}

/// A record of a class that lives in partitions.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "class", rename_all = "snake_case")]
pub enum Record {
    /// A call.
    Call(Call),
    /// A message.
    Message(Message),
    /// Something a user or the vault did.
    Activity(Entry),
    /// A request to the API.
    ApiAccess(Entry),
    /// A delivery of a webhook, or an attempt at one.
    WebhookDelivery(Entry),
    /// What became of a number of a campaign.
    CampaignReport(Entry),
}

static NOBODY: Number = Number(CompactString::const_new(""));

impl Record {
    /// The record's class.
    #[must_use]
    pub const fn class(&self) -> Class {
        match self {
            Self::Call(_) => Class::Call,
            Self::Message(_) => Class::Message,
            Self::Activity(_) => Class::Activity,
            Self::ApiAccess(_) => Class::ApiAccess,
            Self::WebhookDelivery(_) => Class::WebhookDelivery,
            Self::CampaignReport(_) => Class::CampaignReport,
        }
    }

    /// The record's identifier.
    #[must_use]
    pub const fn sid(&self) -> Sid {
        match self {
            Self::Call(call) => call.sid,
            Self::Message(message) => message.sid,
            Self::Activity(entry)
            | Self::ApiAccess(entry)
            | Self::WebhookDelivery(entry)
            | Self::CampaignReport(entry) => entry.sid,
        }
    }

    /// The moment retention counts from.
    #[must_use]
    pub const fn at(&self) -> TimeUs {
        match self {
            Self::Call(call) => call.at,
            Self::Message(message) => message.at,
            Self::Activity(entry)
            | Self::ApiAccess(entry)
            | Self::WebhookDelivery(entry)
            | Self::CampaignReport(entry) => entry.at,
        }
    }

    /// What its source calls it, if the source says.
    #[must_use]
    pub const fn source_id(&self) -> Option<&CompactString> {
        match self {
            Self::Call(call) => call.source_id.as_ref(),
            Self::Message(message) => message.source_id.as_ref(),
            Self::Activity(_) | Self::ApiAccess(_) | Self::WebhookDelivery(_) | Self::CampaignReport(_) => None,
        }
    }

    /// An entry of a log of this class; of another class, nothing.
    #[must_use]
    pub fn of_log(class: Class, entry: Entry) -> Option<Self> {
        match class {
            Class::Activity => Some(Self::Activity(entry)),
            Class::ApiAccess => Some(Self::ApiAccess(entry)),
            Class::WebhookDelivery => Some(Self::WebhookDelivery(entry)),
            Class::CampaignReport => Some(Self::CampaignReport(entry)),
            _ => None,
        }
    }

    /// The numbers a subject can be found by: both parties. The platform's own number is no subject.
    #[must_use]
    pub const fn parties(&self) -> [&Number; 2] {
        match self {
            Self::Call(call) => [&call.from, &call.to],
            Self::Message(message) => [&message.from, &message.to],
            Self::Activity(entry)
            | Self::ApiAccess(entry)
            | Self::WebhookDelivery(entry)
            | Self::CampaignReport(entry) => [&entry.subject, &NOBODY],
        }
    }
}

/// Why a recording may be kept (spec 2.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "decision", rename_all = "snake_case")]
pub enum Consent {
    /// An announcement was played.
    Announced,
    /// The person pressed 1.
    Accepted,
    /// The terms of service cover it.
    Contract {
        /// The document's version.
        version: String,
    },
    /// Imported history: somebody vouches for it.
    Attested {
        /// Who attested.
        by: String,
    },
}

/// The container of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AudioFormat {
    /// RIFF/WAVE.
    Wav,
    /// MPEG-1/2 layer III.
    Mp3,
}

impl AudioFormat {
    /// The container's name, also the ending of its files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Wav => "wav",
            Self::Mp3 => "mp3",
        }
    }
}

/// What is known of a recording beside its audio. Sealed in the catalog.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordingMeta {
    /// The parties of its call, for finding it by number.
    pub parties: [Number; 2],
    /// Container.
    pub format: AudioFormat,
    /// Channels.
    pub channels: u16,
    /// Samples a second.
    pub sample_rate_hz: u32,
    /// Length in milliseconds.
    pub duration_ms: u64,
    /// The decision that allows it.
    pub consent: Consent,
    /// The version of the account's policy that the decision was made under; the vault sets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_version: Option<u32>,
    /// The file it came from, if it was imported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_name: Option<String>,
}
