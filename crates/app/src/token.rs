//! API tokens: made, narrowed, rotated, revoked.

use callvault_core::{AccountSid, Day, Refusal, TimeUs, time::SECOND_US};
use callvault_seal::{digest::sha256, envelope, random_bytes};
use callvault_store::{StoreError, rows::TokenRow};

use crate::{
    account::Role,
    error::{Result, VaultError},
    scope::Scopes,
    vault::{Account, Vault},
};

/// The longest label, in bytes.
pub const MAX_LABEL_BYTES: usize = 100;
/// Tokens in force that an account may have.
pub const MAX_TOKENS: usize = 1_000;
/// How long a rotated token lives on unless somebody says otherwise, in seconds.
pub const OVERLAP_S: i64 = 24 * 3_600;
/// How long it may at most, in seconds.
pub const MAX_OVERLAP_S: i64 = 30 * 24 * 3_600;

/// A new token. The secret is shown once; the vault keeps its hash.
#[derive(Clone)]
pub struct NewToken {
    /// The Basic auth user.
    pub token_key: String,
    /// The Basic auth password, 64 hexadecimal digits.
    pub secret: String,
}

/// A token to be made.
#[derive(Debug, Clone)]
pub struct TokenOrder {
    /// What it may.
    pub role: Role,
    /// What of that.
    pub scopes: Scopes,
    /// What people call it.
    pub label: Option<String>,
    /// When it ends by itself.
    pub expires_at: Option<TimeUs>,
}

impl TokenOrder {
    /// A token that may all that a role may, until it is revoked.
    #[must_use]
    pub const fn of_role(role: Role) -> Self {
        Self {
            role,
            scopes: Scopes::Whole,
            label: None,
            expires_at: None,
        }
    }
}

/// What somebody may, who makes, rotates or revokes.
#[derive(Debug, Clone)]
pub struct Powers {
    /// Role.
    pub role: Role,
    /// What of that.
    pub scopes: Scopes,
    /// Who it is: a user, or the token that he goes back to.
    pub person: String,
}

impl Powers {
    /// Fails unless this role and these scopes allow nothing more.
    pub(crate) fn require(&self, role: Role, scopes: &Scopes) -> Result<()> {
        self.require_role(role)?;
        if !self.scopes.cover(scopes) {
            let reason = format!(
                "Your own token is narrowed to {}, and cannot give more.",
                self.scopes.names().join(", ")
            );
            return Err(Refusal::new("scopes-above-own", reason).in_field("scopes").into());
        }
        Ok(())
    }

    /// Fails unless this role is one that may be given and taken away.
    pub(crate) fn require_role(&self, role: Role) -> Result<()> {
        if !self.role.covers(role) {
            let reason = format!(
                "The {} role cannot give or take the {} role.",
                self.role.as_str(),
                role.as_str()
            );
            return Err(Refusal::new("role-above-own", reason).in_field("role").into());
        }
        Ok(())
    }
}

/// A token as people see it. The secret is not kept, and so not here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenView {
    /// The Basic auth user.
    pub token_key: String,
    /// `developer`, `compliance`, ...
    pub role: String,
    /// What it is narrowed to.
    pub scopes: Scopes,
    /// What people call it.
    pub label: Option<String>,
    /// When it was made.
    pub created_at: TimeUs,
    /// When it ends by itself.
    pub expires_at: Option<TimeUs>,
    /// When it was revoked, if it was.
    pub revoked_at: Option<TimeUs>,
    /// The UTC day of its last use.
    pub used_day: Option<Day>,
    /// The token that takes its place.
    pub successor: Option<String>,
}

/// Who a request comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The account of the token.
    pub account: AccountSid,
    /// The token's role.
    pub role: Role,
    /// What it is narrowed to.
    pub scopes: Scopes,
    /// The token's public part.
    pub token_key: String,
    /// Who it is: the user or token that this token goes back to.
    pub person: String,
}

fn label_context(token_key: &str) -> Vec<u8> {
    format!("token label/{token_key}").into_bytes()
}

/// Whether a token opens anything now.
pub(crate) fn is_in_force(row: &TokenRow, now: TimeUs) -> bool {
    row.revoked_at.is_none() && row.expires_at.is_none_or(|end| end > now)
}

impl Vault {
    /// Makes a token that may all that a role may.
    ///
    /// # Errors
    /// [`VaultError::NotFound`] when there is no such account.
    pub async fn create_token(&self, sid: &AccountSid, role: Role) -> Result<NewToken> {
        self.issue_token(sid, TokenOrder::of_role(role), None).await
    }

    /// Makes a token. `maker` is who asks for it; the operator's command line has nobody above it.
    ///
    /// # Errors
    /// [`VaultError::Refused`] when it may more than its maker, [`VaultError::Invalid`] for a label that is too long or an
    /// end that is not ahead, [`VaultError::NotFound`] when there is no such account.
    pub async fn issue_token(&self, sid: &AccountSid, order: TokenOrder, maker: Option<&Powers>) -> Result<NewToken> {
        if let Some(maker) = maker {
            maker.require(order.role, &order.scopes)?;
        }
        let account = self.get_account(sid).await?;
        let now = self.now();
        let rows = self.catalog.list_tokens(sid).await?;
        if rows.iter().filter(|row| is_in_force(row, now)).count() >= MAX_TOKENS {
            let reason = format!("The account has {MAX_TOKENS} tokens in force; revoke one first.");
            return Err(Refusal::new("too-many-tokens", reason).into());
        }
        let (row, new) = make_row(&account, &order, maker, now)?;
        self.catalog.insert_token(&row).await?;
        Ok(new)
    }

    /// Makes a token in another one's place. The old one lives on for `overlap_s` seconds, so that its users can change over.
    /// Role, scopes, label and length of life are the old one's.
    ///
    /// # Errors
    /// [`VaultError::NotFound`] when there is no such token in force, [`VaultError::Refused`] when it may more than who asks
    /// or was rotated before, [`VaultError::Invalid`] for an overlap of more than 30 days.
    pub async fn rotate_token(
        &self,
        sid: &AccountSid,
        token_key: &str,
        overlap_s: i64,
        maker: Option<&Powers>,
    ) -> Result<NewToken> {
        if !(0..=MAX_OVERLAP_S).contains(&overlap_s) {
            let reason = format!("expected 0 to {MAX_OVERLAP_S} seconds");
            return Err(VaultError::invalid("overlap_s", reason));
        }
        let account = self.get_account(sid).await?;
        let now = self.now();
        let old = self.get_token_in_force(sid, token_key, now).await?;
        let role = Role::from_stored(&old.role)?;
        let scopes = Scopes::from_stored(old.scopes.as_deref());
        if let Some(maker) = maker {
            maker.require(role, &scopes)?;
        }
        if old.successor.is_some() {
            let reason = "The token was rotated before; rotate its successor.";
            return Err(Refusal::new("rotated-before", reason).into());
        }
        let order = TokenOrder {
            role,
            scopes,
            label: open_label(&account, &old)?,
            expires_at: old.expires_at.map(|end| TimeUs(now.0 + (end.0 - old.created_at.0))),
        };
        let (mut row, new) = make_row(&account, &order, maker, now)?;
        // Whoever sees the secret is who it stands for; the operator's command line keeps it whose it was.
        row.person = row.person.or(old.person).or((maker.is_none()).then_some(old.token_key));
        let until = TimeUs(now.0 + overlap_s * SECOND_US);
        let until = old.expires_at.map_or(until, |end| end.min(until));
        self.catalog.rotate_token(token_key, now, until, &row).await?;
        Ok(new)
    }

    async fn get_token_in_force(&self, sid: &AccountSid, token_key: &str, now: TimeUs) -> Result<TokenRow> {
        let row = self.catalog.find_token(token_key).await?;
        row.filter(|row| row.account == *sid && is_in_force(row, now))
            .ok_or(VaultError::NotFound { what: "token" })
    }

    /// Finds who a token belongs to; nothing when key or secret are wrong or the token is over or revoked. The secret is
    /// compared by hash, in constant time. The account's SID may stand for the key, as old clients of the platform have
    /// it.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn find_caller(&self, token_key: &str, secret: &str) -> Result<Option<Caller>> {
        let now = self.now();
        let hash = sha256(&[secret.as_bytes()]);
        let rows = match (
            self.catalog.find_token(token_key).await?,
            token_key.parse::<AccountSid>(),
        ) {
            (Some(row), _) => vec![row],
            (None, Ok(account)) => self.catalog.list_tokens(&account).await?,
            (None, Err(_)) => Vec::new(),
        };
        let fits = |row: &TokenRow| callvault_seal::digest::is_equal(&row.hash, &hash) && is_in_force(row, now);
        let Some(row) = rows.into_iter().find(fits) else {
            return Ok(None);
        };
        let Ok(role) = Role::from_stored(&row.role) else {
            return Ok(None);
        };
        if row.used_day != Some(now.day()) {
            self.catalog
                .touch_token(&row.account, &row.token_key, now.day())
                .await?;
        }
        Ok(Some(Caller {
            scopes: Scopes::from_stored(row.scopes.as_deref()),
            account: row.account,
            role,
            person: row.person.unwrap_or_else(|| row.token_key.clone()),
            token_key: row.token_key,
        }))
    }

    /// Every token of an account, revoked ones included, oldest first.
    ///
    /// # Errors
    /// [`VaultError::NotFound`] when there is no such account.
    pub async fn list_tokens(&self, sid: &AccountSid) -> Result<Vec<TokenView>> {
        let account = self.get_account(sid).await?;
        let mut rows = self.catalog.list_tokens(&account.sid).await?;
        rows.sort_by_key(|row| row.created_at);
        let view = |row: TokenRow| {
            Ok(TokenView {
                label: open_label(&account, &row)?,
                scopes: Scopes::from_stored(row.scopes.as_deref()),
                token_key: row.token_key,
                role: row.role,
                created_at: row.created_at,
                expires_at: row.expires_at,
                revoked_at: row.revoked_at,
                used_day: row.used_day,
                successor: row.successor,
            })
        };
        rows.into_iter().map(view).collect()
    }

    /// Revokes a token; the next request with it fails.
    ///
    /// # Errors
    /// [`VaultError::NotFound`] when there is no such token that is not revoked.
    pub async fn revoke_token(&self, sid: &AccountSid, token_key: &str) -> Result<()> {
        match self.catalog.revoke_token(sid, token_key, self.now()).await? {
            true => Ok(()),
            false => Err(VaultError::NotFound { what: "token" }),
        }
    }

    /// Revokes a token on the order of somebody of the account.
    ///
    /// # Errors
    /// As [`Vault::revoke_token`]; [`VaultError::Refused`] when it may more than who asks, or is the owner's last way in.
    pub async fn revoke_token_by(&self, sid: &AccountSid, token_key: &str, by: &Powers) -> Result<()> {
        let missing = VaultError::NotFound { what: "token" };
        let row = self.catalog.find_token(token_key).await?;
        let Some(row) = row.filter(|row| row.account == *sid && row.revoked_at.is_none()) else {
            return Err(missing);
        };
        by.require(
            Role::from_stored(&row.role)?,
            &Scopes::from_stored(row.scopes.as_deref()),
        )?;
        match self.catalog.revoke_spare_token(sid, token_key, self.now()).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(missing),
            Err(error) => Err(last_way_in(error)),
        }
    }
}

/// What a change answers that would lock the owner out.
pub(crate) fn last_way_in(error: StoreError) -> VaultError {
    match error {
        StoreError::Conflict { what } if what == callvault_store::LAST_WAY_IN => {
            let reason = "It is the last way in of the account's owner; make another one first, or rotate the token.";
            Refusal::new("last-way-in", reason).into()
        }
        error => error.into(),
    }
}

fn make_row(
    account: &Account,
    order: &TokenOrder,
    maker: Option<&Powers>,
    now: TimeUs,
) -> Result<(TokenRow, NewToken)> {
    if order.expires_at.is_some_and(|end| end <= now) {
        return Err(VaultError::invalid("expires_at", "lies in the past"));
    }
    let token_key = hex::encode(random_bytes::<12>()?);
    let secret = hex::encode(random_bytes::<32>()?);
    let label = match order.label.as_deref().map(str::trim) {
        None | Some("") => None,
        Some(label) if label.len() > MAX_LABEL_BYTES || label.chars().any(char::is_control) => {
            let reason = format!("expected at most {MAX_LABEL_BYTES} bytes without control characters");
            return Err(VaultError::invalid("label", reason));
        }
        Some(label) => {
            let sealed = envelope::seal(&account.keys.notes, &label_context(&token_key), label.as_bytes())?;
            Some(sealed)
        }
    };
    let row = TokenRow {
        account: account.sid.clone(),
        token_key: token_key.clone(),
        hash: sha256(&[secret.as_bytes()]).to_vec(),
        role: order.role.as_str().to_owned(),
        scopes: order.scopes.to_stored(),
        label,
        created_at: now,
        expires_at: order.expires_at,
        revoked_at: None,
        used_day: None,
        successor: None,
        person: maker.map(|maker| maker.person.clone()),
    };
    Ok((row, NewToken { token_key, secret }))
}

fn open_label(account: &Account, row: &TokenRow) -> Result<Option<String>> {
    let Some(sealed) = &row.label else { return Ok(None) };
    let label = envelope::open(&account.keys.notes, &label_context(&row.token_key), sealed)?;
    let label = String::from_utf8(label).map_err(|_| VaultError::Damaged {
        what: "token",
        reason: "its label is not readable".to_owned(),
    });
    label.map(Some)
}
