//! ExoPhones: the platform's numbers that an account has. Where there is no platform, the account's operator or the account
//! itself says which they are.

use callvault_core::{AccountSid, Cause, DocumentKind, Number, Reader, Refusal, Sid};
use serde::{Deserialize, Serialize};

use crate::{
    document::{Document, DocumentQuery, NewDocument},
    error::{Result, VaultError},
    vault::{Account, Vault},
};

/// Numbers that an account may have.
pub const MAX_EXOPHONES: u64 = 1_000;
/// The longest name, in characters.
pub const MAX_NAME_CHARS: usize = 255;

/// A number of an account.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exophone {
    /// The number.
    pub number: Number,
    /// What people call it.
    pub friendly_name: String,
    /// What answers calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voice_url: Option<String>,
    /// What answers messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sms_url: Option<String>,
}

impl Exophone {
    /// The country that the number belongs to, as ISO 3166 has it.
    #[must_use]
    pub fn country(&self) -> Option<String> {
        let number = phonenumber::parse(None, self.number.as_str()).ok()?;
        number.country().id().map(|id| id.as_ref().to_owned())
    }

    /// Checks that it is a telephone number, and lengths.
    ///
    /// # Errors
    /// [`VaultError::Invalid`] that names the field.
    pub fn check(&self) -> Result<()> {
        let digits = self.number.as_str().strip_prefix('+').unwrap_or_default();
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(VaultError::invalid("phone_number", "expected a telephone number"));
        }
        let name = &self.friendly_name;
        if name.chars().count() > MAX_NAME_CHARS || name.chars().any(char::is_control) {
            let reason = format!("expected at most {MAX_NAME_CHARS} characters of text");
            return Err(VaultError::invalid("friendly_name", reason));
        }
        Ok(())
    }
}

impl Vault {
    /// Gives an account a number.
    ///
    /// # Errors
    /// [`VaultError::Invalid`]; [`VaultError::Refused`] when the account has it already, or has [`MAX_EXOPHONES`].
    pub async fn add_exophone(&self, account: &Account, exophone: Exophone) -> Result<Document<Exophone>> {
        exophone.check()?;
        let kind = DocumentKind::Exophone;
        if self.count_documents(account, kind).await? >= MAX_EXOPHONES {
            let reason = format!("an account has at most {MAX_EXOPHONES} numbers");
            return Err(VaultError::invalid("phone_number", reason));
        }
        let at = self.now();
        let id = Account::fresh_sid(at)?;
        let new = [NewDocument {
            id,
            at,
            name: Some(account.number_hash(&exophone.number)),
            body: exophone,
        }];
        match self.insert_documents(account, kind, &new, None).await?.contains(&true) {
            true => self.get_exophone(account, id).await,
            false => Err(Refusal::new("duplicate", "The account has this number already.").into()),
        }
    }

    /// One of an account's numbers.
    ///
    /// # Errors
    /// [`VaultError::NotFound`].
    pub async fn get_exophone(&self, account: &Account, id: Sid) -> Result<Document<Exophone>> {
        let kind = DocumentKind::Exophone;
        let found = self.find_document(account, kind, id, Reader::Account).await?;
        found.ok_or(VaultError::NotFound { what: "exophone" })
    }

    /// An account's numbers, oldest first, and how many there are.
    ///
    /// # Errors
    /// Those of the stores.
    pub async fn list_exophones(
        &self,
        account: &Account,
        offset: u32,
        limit: u32,
    ) -> Result<(Vec<Document<Exophone>>, u64)> {
        let query = DocumentQuery {
            offset,
            limit,
            ..DocumentQuery::default()
        };
        let kind = DocumentKind::Exophone;
        let found = self.list_documents(account, kind, &query, Reader::Account).await?;
        Ok((found, self.count_documents(account, kind).await?))
    }

    /// Changes what a number is called and what answers it; the number stays.
    ///
    /// # Errors
    /// [`VaultError::Invalid`]; [`VaultError::NotFound`]; a conflict when somebody else changes it.
    pub async fn change_exophone(
        &self,
        account: &Account,
        id: Sid,
        change: &(dyn Fn(&mut Exophone) + Send + Sync),
    ) -> Result<Document<Exophone>> {
        let known = self.get_exophone(account, id).await?;
        let mut body = known.body.clone();
        change(&mut body);
        body.number = known.body.number.clone();
        body.check()?;
        let name = Some(account.number_hash(&body.number));
        let changed = self.replace_document(&known, name, body).await?;
        changed.ok_or(VaultError::NotFound { what: "exophone" })
    }

    /// Releases a number. Returns the log entries that say so.
    ///
    /// # Errors
    /// [`VaultError::NotFound`]; [`VaultError::Refused`] when a hold freezes it.
    pub async fn release_exophone(&self, sid: &AccountSid, id: Sid) -> Result<Vec<u64>> {
        self.delete_documents(sid, DocumentKind::Exophone, &[id], Cause::Request)
            .await
    }
}
