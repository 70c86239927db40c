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
    core::{AccountSid, Reader},
    line::Line,
};
use tokio::sync::Semaphore;
use url::Url;
use zeroize::Zeroizing;

use crate::{
    api::{layers::FullPath, platform::limits::Limits},
    batch::Batcher,
    directory::Directory,
    metrics::Metrics,
    problem::{Answer, Problem},
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
    pub line: Line,
    /// Requests of this minute.
    pub limits: Limits,
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
    /// What the token may do.
    pub role: Role,
    /// The token's public part.
    pub token_key: String,
}

impl Caller {
    /// What the caller may read.
    #[must_use]
    pub const fn reader(&self) -> Reader {
        self.role.reader()
    }

    /// What tells this person from another: for now the token, which is one person's.
    #[must_use]
    pub fn person(&self) -> &str {
        &self.token_key
    }

    /// Who sends a request for the account in its path.
    ///
    /// A token of another account of this region learns nothing about this account, whatever its region. Credentials
    /// that are not known here may be known at the right region's door (spec 3.2); who shows none is told nothing.
    ///
    /// # Errors
    /// 401, 404, or 421 with the right door.
    pub async fn find(parts: &mut Parts, params: &RawPathParams, door: &Door) -> Answer<Self> {
        let account = params
            .iter()
            .find(|(name, _)| *name == "account")
            .map(|(_, value)| value.parse::<AccountSid>());
        let account = account.and_then(Result::ok);
        let (key, secret) = find_credentials(parts).ok_or_else(Problem::unauthorized)?;
        let Some(found) = door.vault.find_caller(&key, &secret).await? else {
            if let Some(account) = account.filter(|_| is_token(&key, &secret)) {
                door.check_region(&account, parts)?;
            }
            return Err(Problem::unauthorized());
        };
        match account {
            Some(account) if account == found.account => {
                tracing::Span::current().record("account", tracing::field::display(&account));
                Ok(Self {
                    account,
                    role: found.role,
                    token_key: found.token_key,
                })
            }
            _ => Err(Problem::not_found("account")),
        }
    }
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

    fn check_region(&self, account: &AccountSid, parts: &Parts) -> Answer<()> {
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
