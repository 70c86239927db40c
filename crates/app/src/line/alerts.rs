//! Alerts by e-mail: who of an account is told of what. A mail never names a caller.

use callvault_seal::digest::sha256;
use serde::{Deserialize, Serialize};

use super::{
    Line,
    courier::{Letter, Mail, Payload},
    delivery::{Delivery, Ladder},
    open, seal,
};
use crate::{
    error::{Result, VaultError},
    vault::Account,
};

/// Addresses an account may name.
pub const MAX_ADDRESSES: usize = 10;
/// What can be told by e-mail.
pub const ALERTS: [&str; 2] = ["recordings.lapsing", "webhook.disabled"];
/// The longest address (RFC 5321, section 4.5.3.1.3, without its brackets).
const MAX_ADDRESS_BYTES: usize = 254;

/// Who is told of what.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alerts {
    /// Addresses.
    pub addresses: Vec<String>,
    /// Events, all if empty.
    pub events: Vec<String>,
}

impl Alerts {
    fn check(&self) -> Result<()> {
        if self.addresses.len() > MAX_ADDRESSES {
            return Err(VaultError::invalid("addresses", format!("at most {MAX_ADDRESSES}")));
        }
        if let Some(bad) = self.addresses.iter().position(|address| !is_address(address)) {
            let reason = format!("number {} is no address, such as security@example.in", bad + 1);
            return Err(VaultError::invalid("addresses", reason));
        }
        match self.events.iter().position(|event| !ALERTS.contains(&event.as_str())) {
            Some(unknown) => {
                let reason = format!("number {} is none of {}", unknown + 1, ALERTS.join(", "));
                Err(VaultError::invalid("events", reason))
            }
            None => Ok(()),
        }
    }

    pub(super) fn wants(&self, event: &str) -> bool {
        !self.addresses.is_empty() && (self.events.is_empty() || self.events.iter().any(|wanted| wanted == event))
    }
}

/// An address of the plain form: no quotes, no comments, no other alphabet, so that nothing can hide in it.
fn is_address(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else {
        return false;
    };
    let atom = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_%+-".contains(&b));
    let label = |part: &str| {
        let inner = part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        (1..=63).contains(&part.len()) && inner && !part.starts_with('-') && !part.ends_with('-')
    };
    text.len() <= MAX_ADDRESS_BYTES
        && local.len() <= 64
        && local.split('.').all(atom)
        && domain.contains('.')
        && domain.split('.').all(label)
}

fn value_name(account: &Account) -> String {
    format!("alerts/{}", account.sid)
}

impl Line {
    /// Who is told of what.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn get_alerts(&self, account: &Account) -> Result<Alerts> {
        let name = value_name(account);
        let value = self.vault.catalog.find_value(&name).await?;
        let alerts = value.map(|value| open(account, &name, &value)).transpose()?;
        Ok(alerts.unwrap_or_default())
    }

    /// Sets who is told of what.
    ///
    /// # Errors
    /// [`VaultError::Invalid`] for what is no address, or an unknown event.
    pub async fn set_alerts(&self, account: &Account, alerts: &Alerts) -> Result<()> {
        alerts.check()?;
        let name = value_name(account);
        let sealed = seal(account, &name, alerts)?;
        Ok(self.vault.catalog.put_value(&name, &sealed).await?)
    }

    /// Tells the account's people of an event by e-mail: at least once, each address once for this id. The text names
    /// nobody who is in the account's data.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn notify(&self, account: &Account, event: &str, id: &str, subject: &str, text: &str) -> Result<()> {
        let alerts = self.get_alerts(account).await?;
        if !alerts.wants(event) {
            return Ok(());
        }
        for address in alerts.addresses {
            let url = format!("mailto:{address}");
            let mark = hex::encode(
                &sha256(&[
                    account.sid.as_str().as_bytes(),
                    b"\0",
                    id.as_bytes(),
                    b"\0",
                    url.as_bytes(),
                ])[..16],
            );
            let mail = Mail {
                to: address,
                subject: subject.to_owned(),
                text: text.to_owned(),
                id: mark.clone(),
            };
            let kind = super::lane_of(&account.sid, &url);
            let delivery = Delivery {
                letter: Letter {
                    url,
                    payload: Payload::Mail(mail),
                    headers: Vec::new(),
                },
                ladder: Ladder::Webhook,
                event: event.to_owned(),
                endpoint: None,
                message: None,
            };
            let job = format!("mail:{mark}");
            self.enqueue(account, kind, &job, self.vault.now(), &delivery).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_of_the_plain_form() {
        for good in ["security@example.in", "a.b+c_d%e-f@x-1.example.co.in", "A@B.C"] {
            assert!(is_address(good), "{good}");
        }
        for bad in [
            "",
            "a",
            "@example.in",
            "a@",
            "a@b",
            "a@b..c",
            ".a@b.c",
            "a.@b.c",
            "a b@b.c",
            "a@-b.c",
            "a@b.c\r\nBcc: d@e.f",
            "\"a b\"@b.c",
            "a@b.c,d@e.f",
            "<a@b.c>",
            "a@[10.0.0.1]",
            "é@b.c",
        ] {
            assert!(!is_address(bad), "{bad}");
        }
        assert!(!is_address(&format!("{}@b.c", "a".repeat(65))));
    }
}
