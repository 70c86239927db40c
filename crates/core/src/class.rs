//! The eight data classes and the three plans of spec section 1.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::id::BadId;

/// A data class (spec section 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// A voice recording.
    Recording,
    /// A call detail record (CDR).
    Call,
    /// An SMS delivery log entry.
    Message,
    /// A campaign report.
    CampaignReport,
    /// A contact, or a list of them.
    Contact,
    /// An entry of the account activity log.
    Activity,
    /// An entry of the API access log.
    ApiAccess,
    /// An entry of the webhook delivery log.
    WebhookDelivery,
}

impl Class {
    /// Every class, in the order of the spec's table.
    pub const ALL: [Self; 8] = [
        Self::Recording,
        Self::Call,
        Self::Message,
        Self::CampaignReport,
        Self::Contact,
        Self::Activity,
        Self::ApiAccess,
        Self::WebhookDelivery,
    ];

    /// The class's name in APIs, catalogs and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Recording => "recording",
            Self::Call => "call",
            Self::Message => "message",
            Self::CampaignReport => "campaign_report",
            Self::Contact => "contact",
            Self::Activity => "activity",
            Self::ApiAccess => "api_access",
            Self::WebhookDelivery => "webhook_delivery",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Class {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        Self::ALL.into_iter().find(|class| class.as_str() == text).ok_or(BadId {
            what: "data class",
            expected: "recording, call, message, campaign_report, contact, activity, api_access or webhook_delivery",
        })
    }
}

/// An account's plan (spec section 1, second table).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Plan {
    /// Recordings at most 90 days.
    Starter,
    /// Recordings at most 180 days.
    Growth,
    /// Recordings at most 365 days.
    Enterprise,
}

impl Plan {
    /// Every plan, from the smallest ceiling to the largest.
    pub const ALL: [Self; 3] = [Self::Starter, Self::Growth, Self::Enterprise];

    /// The plan's name in APIs and catalogs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starter => "starter",
            Self::Growth => "growth",
            Self::Enterprise => "enterprise",
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Plan {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        Self::ALL.into_iter().find(|plan| plan.as_str() == text).ok_or(BadId {
            what: "plan",
            expected: "starter, growth or enterprise",
        })
    }
}
