//! The catalog port's part of who may come in: tokens, users, sessions, and the questions that passkeys answer.
//!
//! Where an account is optional, nothing stands for the operator, whose users belong to no account.

use async_trait::async_trait;
use callvault_core::{AccountSid, Day, TimeUs, id::UserId};

use crate::{
    StoreError,
    rows::{ChallengeRow, SessionRow, TokenRow, UserRow},
};

type Result<T> = std::result::Result<T, StoreError>;

/// What a [`StoreError::Conflict`] names when an account's owner would be locked out.
pub const LAST_WAY_IN: &str = "the owner's last way in";

/// Tokens, users, sessions, challenges.
///
/// A way in of an account's owner is a token with the owner's role and no narrower scopes, or a user with the owner's role
/// who has joined; both in force. What takes the last one away is a
/// [`StoreError::Conflict`] with [`LAST_WAY_IN`] where the method says so.
#[async_trait]
pub trait Credentials: Send + Sync + 'static {
    /// Adds a token.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the account is closed, or there is one of this key.
    async fn insert_token(&self, token: &TokenRow) -> Result<()>;
    /// Adds a token in another one's place, which ends at `until` and names its successor.
    ///
    /// # Errors
    /// As [`Self::insert_token`]; also when the old one is revoked, over, or has a successor.
    async fn rotate_token(&self, token_key: &str, now: TimeUs, until: TimeUs, successor: &TokenRow) -> Result<()>;
    /// A token by its public part, revoked ones included.
    async fn find_token(&self, token_key: &str) -> Result<Option<TokenRow>>;
    /// Tokens of an account.
    async fn list_tokens(&self, account: &AccountSid) -> Result<Vec<TokenRow>>;
    /// Notes the day of a token's use.
    async fn touch_token(&self, account: &AccountSid, token_key: &str, day: Day) -> Result<()>;
    /// Revokes a token. Returns whether it was there and not revoked.
    async fn revoke_token(&self, account: &AccountSid, token_key: &str, at: TimeUs) -> Result<bool>;
    /// As [`Self::revoke_token`], unless it is the last way in of the account's owner.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it is.
    async fn revoke_spare_token(&self, account: &AccountSid, token_key: &str, at: TimeUs) -> Result<bool>;

    /// Adds a user.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the account is closed, or there is one of this address.
    async fn insert_user(&self, user: &UserRow) -> Result<()>;
    /// A user.
    async fn find_user(&self, account: Option<&AccountSid>, id: UserId) -> Result<Option<UserRow>>;
    /// A user by the blind hash of the address.
    async fn find_user_by_email(&self, account: Option<&AccountSid>, email: [u8; 16]) -> Result<Option<UserRow>>;
    /// Users of an account or of the operator, by id.
    async fn list_users(&self, account: Option<&AccountSid>) -> Result<Vec<UserRow>>;
    /// Replaces a user that has this row's version, and counts it up. With `ends_sessions`, whoever is signed in as the user
    /// is not any more.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the version is another one, or the owner's last way in would go.
    async fn put_user(&self, user: &UserRow, now: TimeUs, ends_sessions: bool) -> Result<()>;
    /// Removes a user with sessions and challenges. Returns whether there was one.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the owner's last way in would go.
    async fn delete_user(&self, account: Option<&AccountSid>, id: UserId, now: TimeUs) -> Result<bool>;

    /// Adds a session, in place of another one if one is named.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the user is gone or disabled.
    async fn insert_session(&self, session: &SessionRow, replaces: Option<&[u8; 32]>) -> Result<()>;
    /// A session by its hash.
    async fn find_session(&self, hash: &[u8; 32]) -> Result<Option<SessionRow>>;
    /// A user's sessions, oldest first.
    async fn list_sessions(&self, account: Option<&AccountSid>, user: UserId) -> Result<Vec<SessionRow>>;
    /// Notes a session's use.
    async fn touch_session(&self, hash: &[u8; 32], at: TimeUs) -> Result<()>;
    /// Ends a session. Returns whether there was one.
    async fn delete_session(&self, hash: &[u8; 32]) -> Result<bool>;
    /// Disables every user and ends every session, whoever is locked out by it. Returns how many users were not disabled.
    async fn disable_all_users(&self, at: TimeUs) -> Result<u64>;
    /// Removes sessions that began before `older_than`, and challenges that are over by `now`. Returns how many sessions.
    async fn sweep_sessions(&self, older_than: TimeUs, now: TimeUs) -> Result<u64>;

    /// Adds a challenge.
    async fn insert_challenge(&self, challenge: &ChallengeRow) -> Result<()>;
    /// Takes a challenge out: whoever comes second finds none.
    async fn take_challenge(&self, account: Option<&AccountSid>, hash: &[u8; 32]) -> Result<Option<ChallengeRow>>;
}
