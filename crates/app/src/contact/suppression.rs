//! Numbers that are not to be called or written to again (spec section 4, objection). What is kept is a keyed hash, so
//! that the number cannot be read from it and is known when it comes back.

use std::collections::HashSet;

use callvault_core::{AccountSid, Number, Refusal, TimeUs};
use callvault_seal::envelope;
use serde::{Deserialize, Serialize};

use crate::{
    error::{Result, VaultError},
    vault::{Account, Vault},
};

/// The longest reason, in characters.
pub const MAX_REASON_CHARS: usize = 500;
/// The most entries of one page.
pub const MAX_PAGE: u32 = 1_000;

/// A suppressed number, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppression {
    /// The number's keyed hash in hexadecimal.
    pub id: String,
    /// Since when.
    pub at: TimeUs,
    /// Why, without the number.
    pub reason: String,
}

#[derive(Serialize, Deserialize)]
struct Note {
    at: TimeUs,
    reason: String,
}

fn value_name(account: &AccountSid, id: &str) -> String {
    format!("suppressed/{account}/{id}")
}

pub(super) fn refuse() -> VaultError {
    let reason = "This number is suppressed: the person objected. It is not added again.";
    Refusal::new("suppressed", reason).into()
}

impl Vault {
    /// Suppresses a number: it is taken off every list, and neither added as a contact nor to a list again. Suppressing it
    /// twice changes nothing.
    ///
    /// # Errors
    /// [`VaultError::Invalid`] for a number that is withheld or a reason that is too long.
    pub async fn suppress(&self, account: &Account, number: &Number, reason: &str) -> Result<Suppression> {
        if number.is_withheld() {
            return Err(VaultError::invalid(
                "number",
                "expected a number; this is empty or withheld",
            ));
        }
        if reason.trim().is_empty() || reason.chars().count() > MAX_REASON_CHARS {
            return Err(VaultError::invalid(
                "reason",
                format!("expected 1 to {MAX_REASON_CHARS} characters"),
            ));
        }
        let id = hex::encode(account.number_hash(number));
        let name = value_name(&account.sid, &id);
        let note = Note {
            at: self.now(),
            reason: reason.to_owned(),
        };
        let json = serde_json::to_vec(&note).map_err(|error| VaultError::invalid("reason", error.to_string()))?;
        let sealed = envelope::seal(&account.keys.notes, name.as_bytes(), &json)?;
        let stored = self.catalog.init_value(&name, &sealed).await?;
        // After the entry stands: whoever adds the number from now on finds it.
        if let Some(contact) = self.find_contact(account, number).await? {
            self.take_off_lists(account, contact.id).await?;
        }
        open(account, id, &name, &stored)
    }

    /// Whether a number is suppressed.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn is_suppressed(&self, account: &Account, number: &Number) -> Result<bool> {
        Ok(!self
            .find_suppressed(account, &[account.number_hash(number)])
            .await?
            .is_empty())
    }

    /// Those of these hashes of numbers that are suppressed.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn find_suppressed(&self, account: &Account, numbers: &[[u8; 16]]) -> Result<HashSet<[u8; 16]>> {
        let names: Vec<String> = numbers
            .iter()
            .map(|hash| value_name(&account.sid, &hex::encode(hash)))
            .collect();
        let found: HashSet<String> = self.catalog.find_values(&names).await?.into_iter().collect();
        let pairs = numbers.iter().zip(&names);
        Ok(pairs
            .filter(|(_, name)| found.contains(*name))
            .map(|(hash, _)| *hash)
            .collect())
    }

    /// Lifts a suppression.
    ///
    /// # Errors
    /// [`VaultError::NotFound`].
    pub async fn lift_suppression(&self, account: &Account, id: &str) -> Result<()> {
        match self.catalog.delete_value(&value_name(&account.sid, id)).await? {
            true => Ok(()),
            false => Err(VaultError::NotFound { what: "suppression" }),
        }
    }

    /// Suppressions with an identifier after this one, in order of identifier.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn list_suppressions(&self, account: &Account, after: &str, limit: u32) -> Result<Vec<Suppression>> {
        let prefix = value_name(&account.sid, "");
        let values = self.catalog.page_values(&prefix, after, limit.min(MAX_PAGE)).await?;
        let open = |(name, value): &(String, Vec<u8>)| {
            let id = name.get(prefix.len()..).unwrap_or_default();
            open(account, id.to_owned(), name, value)
        };
        values.iter().map(open).collect()
    }

    /// The suppression of a number, if there is one.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn find_suppression(&self, account: &Account, number: &Number) -> Result<Option<Suppression>> {
        let id = hex::encode(account.number_hash(number));
        let name = value_name(&account.sid, &id);
        let value = self.catalog.find_value(&name).await?;
        value.map(|value| open(account, id, &name, &value)).transpose()
    }
}

fn open(account: &Account, id: String, name: &str, sealed: &[u8]) -> Result<Suppression> {
    let json = envelope::open(&account.keys.notes, name.as_bytes(), sealed)?;
    let note: Note = serde_json::from_slice(&json).map_err(|_| VaultError::Damaged {
        what: "suppression",
        reason: "it is not readable".to_owned(),
    })?;
    Ok(Suppression {
        id,
        at: note.at,
        reason: note.reason,
    })
}
