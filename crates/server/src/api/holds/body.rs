//! Holds as JSON.

use callvault_app::{
    core::{HoldScope, Reader},
    hold::HoldView,
};
use serde::Serialize;
use utoipa::ToSchema;

/// A legal hold.
#[derive(Serialize, ToSchema)]
pub struct HoldBody {
    /// Identifier: 32 hexadecimal digits.
    pub id: String,
    /// What it freezes.
    pub scope: ScopeBody,
    /// What it blocks now, by class; empty once it is lifted.
    pub blocks: Vec<BlockedBody>,
    /// The matter it serves.
    pub matter: String,
    /// Why.
    pub reason: String,
    /// When it was placed.
    #[schema(format = DateTime)]
    pub placed_at: String,
    /// When it is to be looked at again.
    #[schema(format = DateTime)]
    pub review_at: String,
    /// When it was lifted, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub lifted_at: Option<String>,
}

/// What a hold blocks of one class.
#[derive(Serialize, ToSchema)]
pub struct BlockedBody {
    /// Class.
    pub class: &'static str,
    /// Records that cannot be deleted while it stands.
    pub records: u64,
    /// Of these, records whose term is over: nothing but a hold keeps them.
    pub past_term: u64,
}

/// What a hold freezes.
#[derive(Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ScopeBody {
    /// These records; a call's SID also covers its recordings.
    Records {
        /// SIDs.
        sids: Vec<String>,
    },
    /// Every record with one number.
    Number {
        /// The number, for the compliance role.
        #[serde(skip_serializing_if = "Option::is_none")]
        number: Option<String>,
        /// Keyed hash of the number.
        number_hash: String,
    },
    /// Every record of a span of time.
    Span {
        /// Of this class, or of every class.
        #[serde(skip_serializing_if = "Option::is_none")]
        class: Option<&'static str>,
        /// The first moment.
        #[schema(format = DateTime)]
        from: String,
        /// The moment after the last.
        #[schema(format = DateTime)]
        to: String,
    },
}

impl ScopeBody {
    fn new(view: &HoldView, reader: Reader) -> Self {
        match &view.scope {
            HoldScope::Records(sids) => Self::Records {
                sids: sids.iter().map(ToString::to_string).collect(),
            },
            HoldScope::Number(hash) => Self::Number {
                number: view
                    .number
                    .as_ref()
                    .filter(|_| reader == Reader::Compliance)
                    .map(|number| number.as_str().to_owned()),
                number_hash: hex::encode(hash),
            },
            HoldScope::Span { class, from, to } => Self::Span {
                class: class.map(callvault_app::core::Class::as_str),
                from: from.to_string(),
                to: to.to_string(),
            },
        }
    }
}

impl HoldBody {
    /// A hold as this reader sees it.
    #[must_use]
    pub fn new(view: &HoldView, reader: Reader) -> Self {
        Self {
            id: view.hold.to_string(),
            scope: ScopeBody::new(view, reader),
            blocks: view
                .blocks
                .iter()
                .map(|blocked| BlockedBody {
                    class: blocked.class.as_str(),
                    records: blocked.records,
                    past_term: blocked.past_term,
                })
                .collect(),
            matter: view.matter.clone(),
            reason: view.reason.clone(),
            placed_at: view.placed_at.to_string(),
            review_at: view.review_at.to_string(),
            lifted_at: view.lifted_at.map(|at| at.to_string()),
        }
    }
}
