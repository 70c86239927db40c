//! Links to a recording's audio that work without credentials: signed, for one recording, and for a while.

use callvault_core::{AccountSid, Sid, TimeUs, time::SECOND_US};
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
    /// The public part of the token that it was made with.
    pub token_key: String,
}

impl Link {
    /// A link that ends so many minutes from now.
    #[must_use]
    pub fn lasting(recording: Sid, minutes: u32, token_key: &str, now: TimeUs) -> Self {
        Self {
            recording,
            until_s: now.0.div_euclid(SECOND_US) + i64::from(minutes) * 60,
            token_key: token_key.to_owned(),
        }
    }
}

impl Account {
    fn link_mac(&self, link: &Link) -> [u8; 32] {
        // The token's key is last: nothing that it contains can be taken for another field.
        let text = format!(
            "callvault recording-link/v1\n{}\n{}\n{}\n{}",
            self.sid, link.recording, link.until_s, link.token_key
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
    /// Whether a link opens its recording now: its signature is this account's, its time is not over, and the token that
    /// it was made with is not revoked. Whether the recording is still there is another question.
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
        let token = self.catalog.find_token(&link.token_key).await?;
        Ok(token.is_none_or(|token| token.revoked_at.is_none()))
    }
}
