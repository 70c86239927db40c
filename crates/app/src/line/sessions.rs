//! Recording sessions: what is said of consent to a call that another switch carries, before and while it sends its copies.
//!
//! Each word is a job that does nothing but go away after a day; so it is there for whichever process has the session, and for
//! no longer than a call may last.

use callvault_core::{
    Refusal, TimeUs,
    consent::Event,
    time::{DAY_US, SECOND_US},
};
use callvault_seal::digest::sha256;

use super::{Line, open};
use crate::{error::Result, vault::Account};

/// What is said of consent.
pub(super) const CONSENT: &str = "session-consent";
/// Seconds for which it is there.
const KEPT_S: i64 = DAY_US / SECOND_US;
/// What may be said of one session.
const MAX_WORDS: usize = 32;
/// The longest identifier of a session.
pub const MAX_SESSION_BYTES: usize = 255;

fn word_id(account: &Account, session: &str, n: usize) -> String {
    let digest = sha256(&[account.sid.as_str().as_bytes(), b"\0", session.as_bytes()]);
    format!("{CONSENT}:{}:{n:02}", hex::encode(&digest[..16]))
}

impl Line {
    /// Says something of the consent to a communication session, which may have begun or not. Nothing is forgotten within a day:
    /// what was said before stays, as the story's beginning.
    ///
    /// # Errors
    /// [`VaultError::Refused`](crate::VaultError::Refused) when too much was said already; those of the catalog.
    pub async fn tell_session(&self, account: &Account, session: &str, event: Event) -> Result<TimeUs> {
        let now = self.vault.now();
        for n in 0..MAX_WORDS {
            let id = word_id(account, session, n);
            let mut job = self.job(account, CONSENT, &id, now.plus_seconds(KEPT_S), &(now, &event))?;
            job.created_at = now;
            if self.vault.catalog.enqueue(&job).await?.body == job.body {
                return Ok(now);
            }
        }
        let reason = format!("Within a day {MAX_WORDS} decisions may be told of a session.");
        Err(Refusal::new("too-many-decisions", reason).in_field("session_id").into())
    }

    /// The next that was said of a session; `n` counts what was told already.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn next_of_session(
        &self,
        account: &Account,
        session: &str,
        n: &mut usize,
    ) -> Result<Option<(TimeUs, Event)>> {
        while *n < MAX_WORDS {
            let id = word_id(account, session, *n);
            let Some(job) = self.vault.catalog.find_job(&id).await? else {
                return Ok(None);
            };
            *n += 1;
            // What is older than a day is gone.
            if !job.body.is_empty() {
                return open(account, &id, &job.body).map(Some);
            }
        }
        Ok(None)
    }
}
