//! Users: people of an account.

pub mod change;
pub mod invite;
pub mod invite_again;
pub mod list;
pub mod remove;

use callvault_app::{core::id::UserId, user::InvitationLetter};
use serde::Serialize;
use utoipa::ToSchema;

use crate::problem::{Answer, Problem};

/// An invitation, shown once to whoever invites. The vault keeps its hash.
#[derive(Serialize, ToSchema)]
pub struct InvitationBody {
    /// Identifier of the user.
    pub user: String,
    /// What `POST /v1/invitation` takes, within 72 hours and once.
    pub invitation: String,
    /// When it stops working.
    #[schema(format = DateTime)]
    pub until: String,
}

impl From<InvitationLetter> for InvitationBody {
    fn from(letter: InvitationLetter) -> Self {
        Self {
            user: letter.user.to_string(),
            invitation: letter.secret,
            until: letter.until.to_string(),
        }
    }
}

fn parse_user(text: &str) -> Answer<UserId> {
    text.parse().map_err(|_| Problem::not_found("user"))
}
