//! Whether a deletion is allowed: asked before a person is asked to confirm it, and again by the deletion itself.

use callvault_core::{
    AccountSid, Class, KeyId, Sid, TimeUs,
    hold::{Access, Cause, access, decide_deletion, find_hold},
};
use callvault_store::rows::RecordingRow;

use super::facts_of;
use crate::{
    error::{Result, VaultError},
    vault::{Account, Vault},
};

/// Deletions asked for at once.
const DELETIONS_ASKED: u32 = 100;

impl Vault {
    /// Whether [`Vault::delete_recordings`] would delete this recording now.
    ///
    /// # Errors
    /// As [`Vault::delete_recordings`].
    pub async fn check_recording_deletion(&self, sid: &AccountSid, recording: Sid, cause: Cause) -> Result<()> {
        let account = self.get_account(sid).await?;
        let row = self.get_deletable(&account, recording, cause, self.now()).await;
        row.map(|_| ())
    }

    /// The log entry that says that this key was destroyed, if it was since this moment.
    pub(crate) async fn find_deletion_of(&self, sid: &AccountSid, key: KeyId, since: TimeUs) -> Result<Option<u64>> {
        let key = key.to_string();
        let mut before = None;
        loop {
            let rows = self.catalog.list_destructions(sid, before, DELETIONS_ASKED).await?;
            let named = rows.iter().find(|row| row.statement.contains(&key));
            if let Some(row) = named {
                return Ok(Some(row.leaf));
            }
            match rows.last() {
                Some(last) if last.at >= since => before = Some(last.leaf),
                _ => return Ok(None),
            }
        }
    }

    /// Whether [`Vault::close_account`] would close this account now.
    ///
    /// # Errors
    /// As [`Vault::close_account`].
    pub async fn check_closure(&self, sid: &AccountSid) -> Result<()> {
        decide_closure(&self.get_account(sid).await?)
    }

    /// A recording that may be deleted for this cause.
    pub(super) async fn get_deletable(
        &self,
        account: &Account,
        recording: Sid,
        cause: Cause,
        now: TimeUs,
    ) -> Result<RecordingRow> {
        let row = self.catalog.find_recording(&account.sid, recording).await?;
        let is_kept = |row: &RecordingRow| access(&account.policy, &account.holds, &facts_of(row), now) != Access::Gone;
        let row = row.filter(is_kept).ok_or(VaultError::NotFound { what: "recording" })?;
        let hold = find_hold(&account.policy, &account.holds, &facts_of(&row), now).map(|hold| hold.id);
        let floor = account.policy.find_floor(Class::Recording, row.at, now);
        decide_deletion(Class::Recording, cause, hold, floor).into_result()?;
        Ok(row)
    }
}

/// An account is not closed while a hold is in force.
pub(super) fn decide_closure(account: &Account) -> Result<()> {
    if let Some(hold) = account.holds.iter().find(|hold| hold.lifted_at.is_none()) {
        decide_deletion(Class::Call, Cause::Closure, Some(hold.id), None).into_result()?;
    }
    Ok(())
}
