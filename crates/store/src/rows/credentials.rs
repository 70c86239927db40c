//! Rows of tokens, users and sessions.

use callvault_core::{AccountSid, Day, TimeUs, id::UserId};

/// An API token: the key is public, the secret's hash is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRow {
    /// Account.
    pub account: AccountSid,
    /// Public part, the Basic auth user.
    pub token_key: String,
    /// SHA-256 of the secret part, which has 256 random bits.
    pub hash: Vec<u8>,
    /// `developer`, `compliance`, ...
    pub role: String,
    /// Names of scopes with blanks between; nothing for all that the role may.
    pub scopes: Option<String>,
    /// What people call it, sealed under the account's key.
    pub label: Option<Vec<u8>>,
    /// When it was made.
    pub created_at: TimeUs,
    /// When it ends by itself.
    pub expires_at: Option<TimeUs>,
    /// When it was revoked, if it was.
    pub revoked_at: Option<TimeUs>,
    /// The UTC day of its last use.
    pub used_day: Option<Day>,
    /// The token that takes its place.
    pub successor: Option<String>,
    /// The user or token that it goes back to, when somebody made it with one; nobody becomes two people by making tokens.
    pub person: Option<String>,
}

/// A person who signs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRow {
    /// Account; nothing for a user of the operator.
    pub account: Option<AccountSid>,
    /// Identifier.
    pub id: UserId,
    /// Blind hash of the normalised e-mail address.
    pub email: [u8; 16],
    /// `owner`, `operator`, ...
    pub role: String,
    /// When it was invited.
    pub created_at: TimeUs,
    /// When the invitation was accepted.
    pub joined_at: Option<TimeUs>,
    /// When it was disabled, if it is.
    pub disabled_at: Option<TimeUs>,
    /// E-mail address, name, password, passkeys and invitation, sealed.
    pub body: Vec<u8>,
    /// Counts changes.
    pub version: i64,
}

/// A user who is signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// Account; nothing for a user of the operator.
    pub account: Option<AccountSid>,
    /// SHA-256 of the cookie's secret, which has 256 random bits.
    pub hash: [u8; 32],
    /// Whose.
    pub user: UserId,
    /// When it began.
    pub created_at: TimeUs,
    /// When it was used last, give or take a minute.
    pub seen_at: TimeUs,
    /// What signed in, sealed.
    pub note: Vec<u8>,
}

/// A question that a passkey has to sign. It is asked once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChallengeRow {
    /// Account; nothing for a user of the operator.
    pub account: Option<AccountSid>,
    /// SHA-256 of the question.
    pub hash: [u8; 32],
    /// Who is asked.
    pub user: UserId,
    /// `register` or `authenticate`.
    pub purpose: String,
    /// When it is too late to answer.
    pub expires_at: TimeUs,
}
