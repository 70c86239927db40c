//! Sessions: users who are signed in. The cookie's secret has 256 random bits; the catalog has its hash.

use callvault_core::{AccountSid, TimeUs, id::UserId, time::SECOND_US};
use callvault_seal::{digest::sha256, random_bytes};
use callvault_store::rows::SessionRow;
use serde::{Deserialize, Serialize};

use crate::{
    account::Role,
    error::{Result, VaultError},
    realm::Realm,
    user::User,
    vault::Vault,
};

/// What a session remembers of the browser, in bytes at most.
const MAX_AGENT_BYTES: usize = 200;
/// A session's use is noted once in this time, in seconds.
const NOTED_EVERY_S: i64 = 60;
/// The longest that any configuration lets a session last, in seconds; what is older is removed.
pub const MAX_SESSION_S: i64 = 30 * 24 * 3_600;

/// How long a session lasts.
#[derive(Debug, Clone, Copy)]
pub struct Lifetime {
    /// Without use, in seconds.
    pub idle_s: i64,
    /// In all, in seconds.
    pub whole_s: i64,
}

impl Default for Lifetime {
    fn default() -> Self {
        Self {
            idle_s: 30 * 60,
            whole_s: 12 * 3_600,
        }
    }
}

/// How a user proved to be the one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// By password.
    Password,
    /// By passkey.
    Passkey,
    /// By the link of an invitation.
    Invitation,
}

impl Method {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Passkey => "passkey",
            Self::Invitation => "invitation",
        }
    }
}

/// Identifies a session to people: the first 16 bytes of the hash, from which nobody gets the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionId([u8; 16]);

impl SessionId {
    fn of(hash: &[u8; 32]) -> Self {
        let mut id = [0; 16];
        id.copy_from_slice(&hash[..16]);
        Self(id)
    }
}

impl std::fmt::Display for SessionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// Who is signed in.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// Account; nothing for a user of the operator.
    pub account: Option<AccountSid>,
    /// User.
    pub user: UserId,
    /// What the user may now.
    pub role: Role,
    /// Session.
    pub session: SessionId,
    /// When it ends, used or not.
    pub ends_at: TimeUs,
}

/// A session as its user sees it.
#[derive(Debug, Clone)]
pub struct SessionView {
    /// Identifier.
    pub session: SessionId,
    /// When it began.
    pub created_at: TimeUs,
    /// When it was used last, give or take a minute.
    pub seen_at: TimeUs,
    /// How the user signed in.
    pub method: Method,
    /// The browser, as it named itself.
    pub agent: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Note {
    method: Method,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    agent: Option<String>,
}

fn context(hash: &[u8; 32]) -> String {
    format!("session/{}", hex::encode(hash))
}

fn is_alive(row: &SessionRow, lifetime: Lifetime, now: TimeUs) -> bool {
    let whole_s = lifetime.whole_s.min(MAX_SESSION_S);
    now.0 < row.seen_at.0 + lifetime.idle_s * SECOND_US && now.0 < row.created_at.0 + whole_s * SECOND_US
}

impl Vault {
    /// Begins a session and returns the cookie's secret. `replaces` is the secret of a session that ends with it, so that
    /// nobody carries one over a change of rights.
    ///
    /// # Errors
    /// A conflict when the user is gone or disabled.
    pub async fn begin_session(
        &self,
        realm: &Realm,
        user: &User,
        method: Method,
        agent: Option<&str>,
        replaces: Option<&str>,
    ) -> Result<String> {
        let now = self.now();
        let secret = hex::encode(random_bytes::<32>()?);
        let hash = sha256(&[secret.as_bytes()]);
        let agent = agent.map(|agent| {
            let plain = agent.chars().filter(|c| !c.is_control());
            let mut left = MAX_AGENT_BYTES;
            plain
                .take_while(|c| {
                    left = left.saturating_sub(c.len_utf8());
                    left > 0
                })
                .collect()
        });
        let note = serde_json::to_vec(&Note { method, agent });
        let note = note.map_err(|error| VaultError::invalid("session", error.to_string()))?;
        let row = SessionRow {
            account: realm.account().cloned(),
            hash,
            user: user.id(),
            created_at: now,
            seen_at: now,
            note: realm.seal(&context(&hash), &note)?,
        };
        let replaces = replaces.map(|secret| sha256(&[secret.as_bytes()]));
        self.catalog.insert_session(&row, replaces.as_ref()).await?;
        Ok(secret)
    }

    /// Who is signed in by this secret; nothing when the session is over, or the user is gone or disabled. The role is what
    /// it is now.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn find_session(&self, secret: &str, lifetime: Lifetime) -> Result<Option<SignedIn>> {
        let now = self.now();
        let hash = sha256(&[secret.as_bytes()]);
        let Some(row) = self.catalog.find_session(&hash).await? else {
            return Ok(None);
        };
        if !is_alive(&row, lifetime, now) {
            self.catalog.delete_session(&hash).await?;
            return Ok(None);
        }
        let user = self.catalog.find_user(row.account.as_ref(), row.user).await?;
        let Some(user) = user.filter(|user| user.joined_at.is_some() && user.disabled_at.is_none()) else {
            return Ok(None);
        };
        if now.0 >= row.seen_at.0 + NOTED_EVERY_S * SECOND_US {
            self.catalog.touch_session(&hash, now).await?;
        }
        let whole_s = lifetime.whole_s.min(MAX_SESSION_S);
        Ok(Some(SignedIn {
            role: Role::from_stored(&user.role)?,
            account: row.account,
            user: row.user,
            session: SessionId::of(&hash),
            ends_at: TimeUs(row.created_at.0 + whole_s * SECOND_US),
        }))
    }

    /// Ends the session of this secret, if there is one.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn end_session(&self, secret: &str) -> Result<()> {
        self.catalog.delete_session(&sha256(&[secret.as_bytes()])).await?;
        Ok(())
    }

    /// A user's sessions that are not over, oldest first.
    ///
    /// # Errors
    /// Those of the catalog and the cipher.
    pub async fn list_sessions(&self, realm: &Realm, user: UserId, lifetime: Lifetime) -> Result<Vec<SessionView>> {
        let now = self.now();
        let rows = self.catalog.list_sessions(realm.account(), user).await?;
        rows.iter()
            .filter(|row| is_alive(row, lifetime, now))
            .map(|row| {
                let note = realm.open(&context(&row.hash), &row.note)?;
                let note: Note = serde_json::from_slice(&note).map_err(|_| VaultError::Damaged {
                    what: "session",
                    reason: "its note is not readable".to_owned(),
                })?;
                Ok(SessionView {
                    session: SessionId::of(&row.hash),
                    created_at: row.created_at,
                    seen_at: row.seen_at,
                    method: note.method,
                    agent: note.agent,
                })
            })
            .collect()
    }

    /// Ends one of a user's sessions.
    ///
    /// # Errors
    /// [`VaultError::NotFound`] when the user has none of this id.
    pub async fn end_session_of(&self, realm: &Realm, user: UserId, id: &str) -> Result<()> {
        let missing = VaultError::NotFound { what: "session" };
        let rows = self.catalog.list_sessions(realm.account(), user).await?;
        let row = rows.iter().find(|row| SessionId::of(&row.hash).to_string() == id);
        match row {
            Some(row) if self.catalog.delete_session(&row.hash).await? => Ok(()),
            _ => Err(missing),
        }
    }

    /// Removes what no configuration lets live.
    pub(crate) async fn sweep_sessions(&self, now: TimeUs) -> Result<u64> {
        let oldest = TimeUs(now.0 - MAX_SESSION_S * SECOND_US);
        Ok(self.catalog.sweep_sessions(oldest, now).await?)
    }
}
