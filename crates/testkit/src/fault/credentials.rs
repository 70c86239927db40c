//! Tokens, users and sessions that fail where a test wants them to.

use async_trait::async_trait;
use callvault_core::{AccountSid, Day, TimeUs, id::UserId};
use callvault_store::{
    Credentials, StoreError,
    rows::{ChallengeRow, SessionRow, TokenRow, UserRow},
};

use super::catalog::FaultyCatalog;

type Result<T> = std::result::Result<T, StoreError>;

#[async_trait]
impl Credentials for FaultyCatalog {
    async fn insert_token(&self, token: &TokenRow) -> Result<()> {
        self.faults
            .around("catalog", "insert_token", self.inner.insert_token(token))
            .await
    }

    async fn rotate_token(&self, token_key: &str, now: TimeUs, until: TimeUs, successor: &TokenRow) -> Result<()> {
        self.faults
            .around(
                "catalog",
                "rotate_token",
                self.inner.rotate_token(token_key, now, until, successor),
            )
            .await
    }

    async fn find_token(&self, token_key: &str) -> Result<Option<TokenRow>> {
        self.faults
            .around("catalog", "find_token", self.inner.find_token(token_key))
            .await
    }

    async fn list_tokens(&self, account: &AccountSid) -> Result<Vec<TokenRow>> {
        self.faults
            .around("catalog", "list_tokens", self.inner.list_tokens(account))
            .await
    }

    async fn touch_token(&self, account: &AccountSid, token_key: &str, day: Day) -> Result<()> {
        self.faults
            .around(
                "catalog",
                "touch_token",
                self.inner.touch_token(account, token_key, day),
            )
            .await
    }

    async fn revoke_token(&self, account: &AccountSid, token_key: &str, at: TimeUs) -> Result<bool> {
        self.faults
            .around(
                "catalog",
                "revoke_token",
                self.inner.revoke_token(account, token_key, at),
            )
            .await
    }

    async fn revoke_spare_token(&self, account: &AccountSid, token_key: &str, at: TimeUs) -> Result<bool> {
        self.faults
            .around(
                "catalog",
                "revoke_spare_token",
                self.inner.revoke_spare_token(account, token_key, at),
            )
            .await
    }

    async fn insert_user(&self, user: &UserRow) -> Result<()> {
        self.faults
            .around("catalog", "insert_user", self.inner.insert_user(user))
            .await
    }

    async fn find_user(&self, account: Option<&AccountSid>, id: UserId) -> Result<Option<UserRow>> {
        self.faults
            .around("catalog", "find_user", self.inner.find_user(account, id))
            .await
    }

    async fn find_user_by_email(&self, account: Option<&AccountSid>, email: [u8; 16]) -> Result<Option<UserRow>> {
        self.faults
            .around(
                "catalog",
                "find_user_by_email",
                self.inner.find_user_by_email(account, email),
            )
            .await
    }

    async fn list_users(&self, account: Option<&AccountSid>) -> Result<Vec<UserRow>> {
        self.faults
            .around("catalog", "list_users", self.inner.list_users(account))
            .await
    }

    async fn put_user(&self, user: &UserRow, now: TimeUs, ends_sessions: bool) -> Result<()> {
        self.faults
            .around("catalog", "put_user", self.inner.put_user(user, now, ends_sessions))
            .await
    }

    async fn delete_user(&self, account: Option<&AccountSid>, id: UserId, now: TimeUs) -> Result<bool> {
        self.faults
            .around("catalog", "delete_user", self.inner.delete_user(account, id, now))
            .await
    }

    async fn insert_session(&self, session: &SessionRow, replaces: Option<&[u8; 32]>) -> Result<()> {
        self.faults
            .around(
                "catalog",
                "insert_session",
                self.inner.insert_session(session, replaces),
            )
            .await
    }

    async fn find_session(&self, hash: &[u8; 32]) -> Result<Option<SessionRow>> {
        self.faults
            .around("catalog", "find_session", self.inner.find_session(hash))
            .await
    }

    async fn list_sessions(&self, account: Option<&AccountSid>, user: UserId) -> Result<Vec<SessionRow>> {
        self.faults
            .around("catalog", "list_sessions", self.inner.list_sessions(account, user))
            .await
    }

    async fn touch_session(&self, hash: &[u8; 32], at: TimeUs) -> Result<()> {
        self.faults
            .around("catalog", "touch_session", self.inner.touch_session(hash, at))
            .await
    }

    async fn delete_session(&self, hash: &[u8; 32]) -> Result<bool> {
        self.faults
            .around("catalog", "delete_session", self.inner.delete_session(hash))
            .await
    }

    async fn disable_all_users(&self, at: TimeUs) -> Result<u64> {
        self.faults
            .around("catalog", "disable_all_users", self.inner.disable_all_users(at))
            .await
    }

    async fn sweep_sessions(&self, older_than: TimeUs, now: TimeUs) -> Result<u64> {
        self.faults
            .around("catalog", "sweep_sessions", self.inner.sweep_sessions(older_than, now))
            .await
    }

    async fn insert_challenge(&self, challenge: &ChallengeRow) -> Result<()> {
        self.faults
            .around("catalog", "insert_challenge", self.inner.insert_challenge(challenge))
            .await
    }

    async fn take_challenge(&self, account: Option<&AccountSid>, hash: &[u8; 32]) -> Result<Option<ChallengeRow>> {
        self.faults
            .around("catalog", "take_challenge", self.inner.take_challenge(account, hash))
            .await
    }
}
