//! Whose users: an account's, or the operator's.

use std::sync::Arc;

use callvault_core::AccountSid;
use callvault_seal::{SecretKey, blind::BlindIndex, envelope};

use crate::{
    error::Result,
    keys::AccountKeys,
    vault::{Account, Vault},
};

/// Where users belong, with the keys that their data is sealed and found under.
#[derive(Clone)]
pub struct Realm {
    account: Option<AccountSid>,
    keys: RealmKeys,
}

#[derive(Clone)]
enum RealmKeys {
    Account(Arc<AccountKeys>),
    Operator(Arc<OperatorKeys>),
}

/// The keys of the operator's users; they derive from the region's own secret.
pub(crate) struct OperatorKeys {
    blind: BlindIndex,
    notes: SecretKey,
}

impl OperatorKeys {
    pub(crate) fn new(seed: &SecretKey) -> Self {
        Self {
            blind: BlindIndex::new(seed.derive(b"operators blind-index")),
            notes: seed.derive(b"operators notes"),
        }
    }
}

impl Realm {
    /// An account's.
    #[must_use]
    pub fn of_account(account: &Account) -> Self {
        Self {
            account: Some(account.sid.clone()),
            keys: RealmKeys::Account(Arc::clone(&account.keys)),
        }
    }

    /// The account; nothing for the operator.
    #[must_use]
    pub const fn account(&self) -> Option<&AccountSid> {
        self.account.as_ref()
    }

    fn notes(&self) -> &SecretKey {
        match &self.keys {
            RealmKeys::Account(keys) => &keys.notes,
            RealmKeys::Operator(keys) => &keys.notes,
        }
    }

    pub(crate) fn hash_email(&self, email: &str) -> [u8; 16] {
        match &self.keys {
            RealmKeys::Account(keys) => keys.blind.hash("user-email", email),
            RealmKeys::Operator(keys) => keys.blind.hash("user-email", email),
        }
    }

    pub(crate) fn seal(&self, context: &str, plain: &[u8]) -> Result<Vec<u8>> {
        Ok(envelope::seal(self.notes(), context.as_bytes(), plain)?)
    }

    pub(crate) fn open(&self, context: &str, sealed: &[u8]) -> Result<Vec<u8>> {
        Ok(envelope::open(self.notes(), context.as_bytes(), sealed)?)
    }
}

impl Vault {
    /// The operator's realm.
    #[must_use]
    pub fn operators(&self) -> Realm {
        Realm {
            account: None,
            keys: RealmKeys::Operator(Arc::clone(&self.operator_keys)),
        }
    }

    /// An account's realm, or the operator's.
    ///
    /// # Errors
    /// [`crate::VaultError::NotFound`] when there is no such account.
    pub async fn get_realm(&self, account: Option<&AccountSid>) -> Result<Realm> {
        match account {
            Some(sid) => Ok(Realm::of_account(&self.get_account(sid).await?)),
            None => Ok(self.operators()),
        }
    }
}
