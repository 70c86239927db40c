//! Certificates from an authority (RFC 8555), by HTTP-01: ordered when there is none, and at two thirds of its life.

use std::{fs::File, path::Path, time::Duration};

use callvault_app::core::TimeUs;
use instant_acme::{
    Account, AccountBuilder, AccountCredentials, AuthorizationStatus, ChallengeType, Identifier, NewAccount, NewOrder,
    OrderStatus, RetryPolicy,
};

use crate::{
    config::{Acme, Here},
    plain::Challenges,
    tls::{TlsError, write_private},
};

/// Certificate and key in one file, so that they change together.
pub const PAIR_FILE: &str = "acme.pem";
/// The account's key at the authority.
const ACCOUNT_FILE: &str = "acme-account.json";
/// The first line of the pair's file: the names that were asked for.
const NAMES: &str = "# names: ";
/// How long an authority may take for one order.
const PATIENCE: Duration = Duration::from_secs(120);
/// The pause after the first failure; it doubles with each one.
const FIRST_PAUSE: Duration = Duration::from_secs(5 * 60);
/// The longest pause after a failure.
const LONGEST_PAUSE: Duration = Duration::from_secs(12 * 3_600);

/// Why there is no new certificate.
#[derive(Debug, thiserror::Error)]
pub enum AcmeError {
    /// The authority refused or failed.
    #[error("authority: {0}")]
    Authority(#[from] instant_acme::Error),
    /// It does not offer what the vault can do, or an order ended otherwise than well.
    #[error("authority: {0}")]
    Order(String),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] TlsError),
}

/// How long to wait after so many failures in a row.
#[must_use]
pub fn plan_retry(failures: u32) -> Duration {
    FIRST_PAUSE
        .saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)))
        .min(LONGEST_PAUSE)
}

/// Whether the certificate that is there has the names that are wanted.
#[must_use]
pub fn has_names(here: &Here, acme: &Acme) -> bool {
    let text = std::fs::read_to_string(here.folder.join(PAIR_FILE)).unwrap_or_default();
    text.lines().next().and_then(|line| line.strip_prefix(NAMES)) == Some(acme.domains.join(",").as_str())
}

/// Orders a certificate and puts it where the door looks for it.
///
/// # Errors
/// [`AcmeError`]; what was there before still is.
pub async fn order(here: &Here, acme: &Acme, challenges: &Challenges) -> Result<(), AcmeError> {
    let account = open_account(here, acme).await?;
    let done = order_with(&account, acme, challenges).await;
    challenges.clear();
    let (key, chain) = done?;
    let names = acme.domains.join(",");
    replace_private(&here.folder, PAIR_FILE, &format!("{NAMES}{names}\n{key}\n{chain}"))?;
    Ok(())
}

async fn order_with(account: &Account, acme: &Acme, challenges: &Challenges) -> Result<(String, String), AcmeError> {
    let names: Vec<_> = acme.domains.iter().cloned().map(Identifier::Dns).collect();
    let mut order = account.new_order(&NewOrder::new(&names)).await?;
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        match authorization.status {
            AuthorizationStatus::Pending => {}
            AuthorizationStatus::Valid => continue,
            status => return Err(AcmeError::Order(format!("an authorization is {status:?}"))),
        }
        let mut challenge = authorization
            .challenge(ChallengeType::Http01)
            .ok_or_else(|| AcmeError::Order("it offers no http-01".to_owned()))?;
        challenges.put(
            challenge.token.clone(),
            challenge.key_authorization().as_str().to_owned(),
        );
        challenge.set_ready().await?;
    }
    let patience = RetryPolicy::default().timeout(PATIENCE);
    let status = order.poll_ready(&patience).await?;
    if status != OrderStatus::Ready {
        return Err(AcmeError::Order(format!("the order is {status:?}")));
    }
    let key = order.finalize().await?;
    let chain = order.poll_certificate(&patience).await?;
    Ok((key, chain))
}

/// The account at this authority: the one that is kept, or a new one that is kept before it is used.
async fn open_account(here: &Here, acme: &Acme) -> Result<Account, AcmeError> {
    let builder = || -> Result<AccountBuilder, AcmeError> {
        Ok(match &acme.ca_file {
            Some(root) => Account::builder_with_root(root)?,
            None => Account::builder()?,
        })
    };
    let path = here.folder.join(ACCOUNT_FILE);
    let directory = acme.directory.to_string();
    if let Ok(text) = std::fs::read_to_string(&path) {
        let kept: Kept = serde_json::from_str(&text).map_err(|error| TlsError::File {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        if kept.directory == directory {
            return Ok(builder()?.from_credentials(kept.credentials).await?);
        }
    }
    let contact: Vec<_> = acme.contact.iter().map(String::as_str).collect();
    let wanted = NewAccount {
        contact: &contact,
        terms_of_service_agreed: true,
        only_return_existing: false,
    };
    let (account, credentials) = builder()?.create(&wanted, directory.clone(), None).await?;
    let text = serde_json::to_string(&Kept { directory, credentials }).map_err(|error| TlsError::File {
        path,
        reason: error.to_string(),
    })?;
    replace_private(&here.folder, ACCOUNT_FILE, &text)?;
    Ok(account)
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Kept {
    directory: String,
    credentials: AccountCredentials,
}

/// Replaces a file in one step.
fn replace_private(folder: &Path, name: &str, text: &str) -> Result<(), TlsError> {
    let (path, fresh) = (folder.join(name), folder.join(format!("{name}.new")));
    write_private(&fresh, text)?;
    let rename = || {
        std::fs::rename(&fresh, &path)?;
        File::open(folder)?.sync_all()
    };
    rename().map_err(|error| TlsError::File {
        path: path.clone(),
        reason: error.to_string(),
    })
}

/// When to order next: now, or when two thirds of the life are over.
#[must_use]
pub fn plan_order(has_names: bool, renew_at: TimeUs, now: TimeUs) -> TimeUs {
    if has_names { renew_at } else { now }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_half_a_day() {
        let minutes = [1, 2, 3, 8, 9, 1_000].map(|failures| plan_retry(failures).as_secs() / 60);
        assert_eq!(minutes, [5, 10, 20, 640, 720, 720]);
    }
}
