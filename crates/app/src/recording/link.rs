//! Links to a recording's audio that work without credentials: signed, for one recording, and for a while.

use callvault_core::{AccountSid, Sid, TimeUs, id::UserId, time::SECOND_US};
use callvault_seal::{digest::is_equal, hmac_sha256};

use crate::{
    error::{Result, VaultError},
    vault::{Account, Vault},
};

/// What a link says. Its signature covers all of it, and the account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The recording.
    pub recording: Sid,
    /// When it ends, in seconds since 1970.
    pub until_s: i64,
    /// Who asked for it: the public part of a token, or a user.
    pub person: String,
}

impl Link {
    /// A link that ends so many minutes from now.
    #[must_use]
    pub fn lasting(recording: Sid, minutes: u32, person: &str, now: TimeUs) -> Self {
        Self {
            recording,
            until_s: now.0.div_euclid(SECOND_US) + i64::from(minutes) * 60,
            person: person.to_owned(),
        }
    }
}

impl Account {
    fn link_mac(&self, link: &Link) -> [u8; 32] {
        // Who asked is last: nothing that it contains can be taken for another field.
        let text = format!(
            "callvault recording-link/v1\n{}\n{}\n{}\n{}",
            self.sid, link.recording, link.until_s, link.person
        );
        hmac_sha256(self.keys.links.expose(), &[text.as_bytes()])
    }

    /// The link's signature: 64 hexadecimal digits.
    #[must_use]
    pub fn sign_link(&self, link: &Link) -> String {
        hex::encode(self.link_mac(link))
    }
}

impl Vault {
    /// Whether a link opens its recording now: its signature is this account's, its time is not over, and who
    /// asked for it is still somebody here. Whether the recording is still there is another question.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn is_link_good(&self, sid: &AccountSid, link: &Link, signature: &str) -> Result<bool> {
        let account = match self.get_account(sid).await {
            Ok(account) => account,
            Err(VaultError::NotFound { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        let signed = hex::decode(signature).is_ok_and(|mac| is_equal(&mac, &account.link_mac(link)));
        if !signed || self.now().0 >= link.until_s.saturating_mul(SECOND_US) {
            return Ok(false);
        }
        self.is_person_in_force(sid, &link.person).await
    }

    /// Whether who asked for a link is still somebody here: a token that is in force, or a user who may sign in.
    async fn is_person_in_force(&self, sid: &AccountSid, person: &str) -> Result<bool> {
        if let Some(token) = self.catalog.find_token(person).await? {
            return Ok(crate::token::is_in_force(&token, self.now()));
        }
        let Ok(user) = person.parse::<UserId>() else {
            return Ok(false);
        };
        for realm in [Some(sid), None] {
            let user = self.catalog.find_user(realm, user).await?;
            if user.is_some_and(|user| user.joined_at.is_some() && user.disabled_at.is_none()) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
