//! A region's door: what every handler works with, and who may come in.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    extract::{FromRequestParts, RawPathParams},
    http::{StatusCode, header, request::Parts},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use callvault_app::{
    Vault,
    account::Role,
    core::{AccountSid, Reader, id::UserId},
    line::Line,
    passkey,
    scope::Scopes,
    session::{Lifetime, SignedIn},
    token::Powers,
};
use callvault_voice::exchange::Exchange;
use tokio::sync::Semaphore;
use url::Url;
use zeroize::Zeroizing;

use crate::{
    api::{layers::FullPath, platform::limits::Limits},
    attempts::Attempts,
    batch::Batcher,
    cookie,
    directory::Directory,
    metrics::Metrics,
    passwords::Passwords,
    problem::{Answer, Problem},
    rates::Rates,
};

/// A region being served.
pub struct Door {
    /// The region.
    pub vault: Arc<Vault>,
    /// Where every account lives.
    pub directory: Arc<Directory>,
    /// The doors of all regions, by region.
    pub doors: Arc<BTreeMap<String, Url>>,
    /// Calls, messages and what is told of them.
    pub line: Arc<Line>,
    /// Where calls are answered, if they are.
    pub exchange: Option<Arc<Exchange>>,
    /// Requests of this minute.
    pub limits: Limits,
    /// Requests of this minute beside the platform's.
    pub rates: Rates,
    /// Attempts to sign in.
    pub attempts: Attempts,
    /// Where passwords are hashed.
    pub passwords: Passwords,
    /// How long sessions last.
    pub lifetime: Lifetime,
    /// Takes single records in.
    pub batcher: Batcher,
    /// Exports that may still begin.
    pub exports: Arc<Semaphore>,
    /// Counts.
    pub metrics: Metrics,
    /// Whether the counts are served.
    pub serves_metrics: bool,
}

/// A caller who may act for the account in the path.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The account.
    pub account: AccountSid,
    /// What the caller may do.
    pub role: Role,
    /// What of that; a token may be narrowed.
    pub scopes: Scopes,
    /// The token's public part, or the session's.
    pub token_key: String,
    /// Who is signed in, if it is a session.
    pub user: Option<UserId>,
    /// What tells this person from another: the user, or the user or token that the token goes back to.
    pub person: String,
}

impl Caller {
    /// What the caller may read.
    #[must_use]
    pub const fn reader(&self) -> Reader {
        self.role.reader()
    }

    /// What a link that the caller makes is bound to: it ends with the token, or with the user.
    #[must_use]
    pub fn signer(&self) -> String {
        self.user
            .map_or_else(|| self.token_key.clone(), |user| user.to_string())
    }

    /// What the caller may give to others, and take away.
    #[must_use]
    pub fn powers(&self) -> Powers {
        Powers {
            role: self.role,
            scopes: self.scopes.clone(),
            person: self.person.clone(),
        }
    }

    /// Who sends a request for the account in its path.
    ///
    /// A token of another account of this region learns nothing about this account, whatever its region. Credentials
    /// that are not known here may be known at the right region's door (spec 3.2); who shows none is told nothing.
    ///
    /// # Errors
    /// 401, 404, or 421 with the right door.
    pub async fn find(parts: &Parts, params: &RawPathParams, door: &Door) -> Answer<Self> {
        let account = params
            .iter()
            .find(|(name, _)| *name == "account")
            .map(|(_, value)| value.parse::<AccountSid>());
        let account = account.and_then(Result::ok);
        let found = match find_credentials(parts) {
            Some((key, secret)) => match door.vault.find_caller(&key, &secret).await? {
                Some(found) => Self::of_token(found),
                None => {
                    if let Some(account) = account.filter(|_| is_token(&key, &secret)) {
                        door.check_region(&account, parts)?;
                    }
                    return Err(Problem::unauthorized());
                }
            },
            None => Self::of_session(parts, account.as_ref(), door).await?,
        };
        match account {
            Some(account) if account == found.account => {
                tracing::Span::current().record("account", tracing::field::display(&account));
                Ok(found)
            }
            _ => Err(Problem::not_found("account")),
        }
    }

    fn of_token(found: callvault_app::account::Caller) -> Self {
        Self {
            account: found.account,
            role: found.role,
            scopes: found.scopes,
            token_key: found.token_key,
            user: None,
            person: found.person,
        }
    }

    /// Who is signed in. A user of the operator acts for whatever account the path names, as far as the operator's role may.
    async fn of_session(parts: &Parts, account: Option<&AccountSid>, door: &Door) -> Answer<Self> {
        let (_, signed) = find_signed_in(parts, door).await?;
        let account = match (&signed.account, account) {
            (Some(own), _) => own.clone(),
            (None, Some(named)) => door.vault.get_account(named).await?.sid,
            (None, None) => return Err(Problem::not_found("account")),
        };
        Ok(Self {
            account,
            role: signed.role,
            scopes: Scopes::Whole,
            token_key: signed.session.to_string(),
            user: Some(signed.user),
            person: signed.user.to_string(),
        })
    }
}

/// The session that a request's cookie is of, with the cookie's secret.
///
/// # Errors
/// 401 without one, 403 for a change that another site may have sent.
pub async fn find_signed_in(parts: &Parts, door: &Door) -> Answer<(Zeroizing<String>, SignedIn)> {
    let secret = cookie::find(&parts.headers).ok_or_else(Problem::unauthorized)?;
    let signed = door.vault.find_session(&secret, door.lifetime).await?;
    let signed = signed.ok_or_else(Problem::unauthorized)?;
    cookie::require_same_site(parts, &door.base_url())?;
    Ok((secret, signed))
}

impl FromRequestParts<Arc<Door>> for Caller {
    type Rejection = Problem;

    /// Who was let pass by [`crate::access::authorize`].
    async fn from_request_parts(parts: &mut Parts, _: &Arc<Door>) -> Answer<Self> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(Problem::unauthorized)
    }
}

impl Door {
    /// The address of this door, without a slash behind it.
    #[must_use]
    pub fn base_url(&self) -> String {
        let url = self.doors.get(self.vault.region()).map_or("", Url::as_str);
        url.trim_end_matches('/').to_owned()
    }

    /// The site that passkeys are made for.
    #[must_use]
    pub fn passkey_site(&self) -> passkey::Site {
        let url = self.doors.get(self.vault.region());
        passkey::Site {
            origin: url.map_or_else(String::new, |url| url.origin().ascii_serialization()),
            rp_id: url.and_then(Url::host_str).unwrap_or_default().to_owned(),
        }
    }

    /// Refuses what belongs to another region's account.
    ///
    /// # Errors
    /// 421 with the right door.
    pub fn check_region(&self, account: &AccountSid, parts: &Parts) -> Answer<()> {
        let region = self.directory.find(account).map_err(|error| {
            tracing::error!(%error, "directory unreadable");
            Problem::internal()
        })?;
        let Some(region) = region.filter(|region| region != self.vault.region()) else {
            return Ok(());
        };
        let Some(door) = self.doors.get(&region) else {
            tracing::error!(region, "the directory names a region that is not configured");
            return Err(Problem::new(
                StatusCode::MISDIRECTED_REQUEST,
                "wrong-region",
                "This account's data is elsewhere.",
            ));
        };
        let path = parts.extensions.get::<FullPath>().map_or("", |path| path.0.as_str());
        let place = format!("{}{path}", door.as_str().trim_end_matches('/'));
        Err(Problem::misdirected(&region, &place))
    }
}

/// Whether this has the form of a token, of whatever region.
fn is_token(key: &str, secret: &str) -> bool {
    let hex = |text: &str, digits| text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    hex(key, 24) && hex(secret, 64)
}

/// The Basic credentials (RFC 7617), if there are well-formed ones.
fn find_credentials(parts: &Parts) -> Option<(String, Zeroizing<String>)> {
    let value = parts.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = Zeroizing::new(STANDARD.decode(encoded.trim()).ok()?);
    let (key, secret) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some((key.to_owned(), Zeroizing::new(secret.to_owned())))
}
