//! What lives and changes until it is deleted or its term is over: contacts, lists, campaigns, requests. Each is sealed
//! under a key of its own.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{class::Class, id::BadId};

/// What a document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DocumentKind {
    /// A person that the account knows.
    Contact,
    /// A list of contacts.
    List,
    /// A file of contacts that was uploaded, and what became of its rows.
    Upload,
    /// A campaign: what is to be done, and how far it is.
    Campaign,
    /// Some of a campaign's numbers, and how far each is.
    CampaignPage,
    /// A number of the platform's that the account has (an ExoPhone).
    Exophone,
    /// A request to delete that a second person decides on.
    Request,
}

impl DocumentKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Contact,
        Self::List,
        Self::Upload,
        Self::Campaign,
        Self::CampaignPage,
        Self::Exophone,
        Self::Request,
    ];

    /// The class whose term it has (spec section 1).
    #[must_use]
    pub const fn class(self) -> Class {
        match self {
            Self::Contact | Self::List | Self::Exophone => Class::Contact,
            Self::Campaign | Self::CampaignPage => Class::CampaignReport,
            Self::Upload | Self::Request => Class::Activity,
        }
    }

    /// The kind's name in catalogs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Contact => "contact",
            Self::List => "list",
            Self::Upload => "upload",
            Self::Campaign => "campaign",
            Self::CampaignPage => "campaign_page",
            Self::Exophone => "exophone",
            Self::Request => "request",
        }
    }
}

impl fmt::Display for DocumentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for DocumentKind {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(BadId {
            what: "kind of document",
            expected: "contact, list, upload, campaign, campaign_page, exophone or request",
        })
    }
}
