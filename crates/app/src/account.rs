//! Accounts: creating them, their tokens, their retention settings and plans.

use callvault_core::{
    AccountSid, Plan, TimeUs,
    change::{PlanChange, RecordingChange, apply_plan_change, apply_recording_change},
    forecast::Preview,
    retention::Policy,
};
use callvault_seal::{digest::sha256, random_bytes};
use callvault_store::{
    StoreError,
    rows::{AccountRow, KeyPurpose, TokenRow},
};

use crate::{
    error::{Result, VaultError},
    vault::{Account, Vault},
};

/// What a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything that the account may do.
    Owner,
    /// Records, users and keys; nothing that deletes.
    Admin,
    /// Reads and writes the account's records.
    Developer,
    /// Also reads what is restricted, sets retention, places holds, deletes.
    Compliance,
    /// Sees the account's rules, not its records.
    Support,
    /// Sees rules, proofs and logs, and changes nothing.
    Auditor,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 6] = [
        Self::Owner,
        Self::Admin,
        Self::Developer,
        Self::Compliance,
        Self::Support,
        Self::Auditor,
    ];

    /// The role's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Developer => "developer",
            Self::Compliance => "compliance",
            Self::Support => "support",
            Self::Auditor => "auditor",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }

    /// The reader that this role is.
    #[must_use]
    pub const fn reader(self) -> callvault_core::hold::Reader {
        match self {
            Self::Compliance => callvault_core::hold::Reader::Compliance,
            _ => callvault_core::hold::Reader::Account,
        }
    }
}

impl std::str::FromStr for Role {
    type Err = VaultError;

    fn from_str(text: &str) -> Result<Self> {
        Self::from_name(text).ok_or_else(|| {
            VaultError::invalid(
                "role",
                "expected owner, admin, developer, compliance, support or auditor",
            )
        })
    }
}

/// A new token. The secret is shown once; the vault keeps its hash.
#[derive(Clone)]
pub struct NewToken {
    /// The Basic auth user.
    pub token_key: String,
    /// The Basic auth password, 64 hexadecimal digits.
    pub secret: String,
}

/// A token as people see it. The secret is not kept, and so not here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenView {
    /// The Basic auth user.
    pub token_key: String,
    /// `developer` or `compliance`.
    pub role: String,
    /// When it was made.
    pub created_at: TimeUs,
    /// When it was revoked, if it was.
    pub revoked_at: Option<TimeUs>,
}

/// Who a request comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The account of the token.
    pub account: AccountSid,
    /// The token's role.
    pub role: Role,
    /// The token's public part.
    pub token_key: String,
}

impl Vault {
    /// Creates an account. National numbers are read in `country` (ISO 3166, two letters).
    ///
    /// # Errors
    /// [`VaultError::Invalid`] for an unknown country or a name that is, or was, in use.
    pub async fn create_account(&self, sid: &AccountSid, plan: Plan, country: &str) -> Result<()> {
        check_country(country)?;
        let now = self.now();
        let policy = policy_json(&Policy::new(plan, now))?;
        let (_, key) = self.keys.make(sid, KeyPurpose::Account)?;
        let row = AccountRow {
            account: sid.clone(),
            created_at: now,
            key: key.key,
            country: country.to_owned(),
            policy,
            version: 0,
            closed_at: None,
        };
        match self.catalog.insert_account(&row, &key).await {
            Ok(()) => Ok(()),
            Err(StoreError::Conflict { .. }) => Err(VaultError::invalid(
                "account",
                "an account of this name exists or existed; choose another name",
            )),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes a token for an account.
    ///
    /// # Errors
    /// [`VaultError::NotFound`] when there is no such account.
    pub async fn create_token(&self, sid: &AccountSid, role: Role) -> Result<NewToken> {
        let account = self.get_account(sid).await?;
        let token_key = hex::encode(random_bytes::<12>()?);
        let secret = hex::encode(random_bytes::<32>()?);
        let row = TokenRow {
            account: account.sid,
            token_key: token_key.clone(),
            hash: sha256(&[secret.as_bytes()]).to_vec(),
            role: role.as_str().to_owned(),
            created_at: self.now(),
            revoked_at: None,
        };
        self.catalog.insert_token(&row).await?;
        Ok(NewToken { token_key, secret })
    }

    /// Finds who a token belongs to; nothing when key or secret are wrong or the token is revoked. The secret is
    /// compared by hash, in constant time. The account's SID may stand for the key, as old clients of the platform have
    /// it.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn find_caller(&self, token_key: &str, secret: &str) -> Result<Option<Caller>> {
        let hash = sha256(&[secret.as_bytes()]);
        let rows = match (
            self.catalog.find_token(token_key).await?,
            token_key.parse::<AccountSid>(),
        ) {
            (Some(row), _) => vec![row],
            (None, Ok(account)) => self.catalog.list_tokens(&account).await?,
            (None, Err(_)) => Vec::new(),
        };
        let fits = |row: &TokenRow| callvault_seal::digest::is_equal(&row.hash, &hash) && row.revoked_at.is_none();
        let row = rows.into_iter().find(fits);
        Ok(row.and_then(|row| {
            let role = Role::from_name(&row.role)?;
            Some(Caller {
                account: row.account,
                role,
                token_key: row.token_key,
            })
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
        let view = |row: TokenRow| TokenView {
            token_key: row.token_key,
            role: row.role,
            created_at: row.created_at,
            revoked_at: row.revoked_at,
        };
        Ok(rows.into_iter().map(view).collect())
    }

    /// Revokes a token; the next request with it fails.
    ///
    /// # Errors
    /// [`VaultError::NotFound`] when there is no such token in force.
    pub async fn revoke_token(&self, sid: &AccountSid, token_key: &str) -> Result<()> {
        if self.catalog.revoke_token(sid, token_key, self.now()).await? {
            Ok(())
        } else {
            Err(VaultError::NotFound { what: "token" })
        }
    }

    /// Sets the recording retention. What has lapsed under the old setting is destroyed before the new one is
    /// stored, so that an extension finds nothing to revive. Returns what is stored, and what it deletes sooner.
    ///
    /// # Errors
    /// [`VaultError::Refused`] when the plan does not allow it; [`StoreError::Conflict`] when somebody else changed the policy meanwhile.
    pub async fn set_retention(&self, sid: &AccountSid, days: u32) -> Result<(RecordingChange, Preview)> {
        self.sweep_recordings(sid, self.now()).await?;
        let mut account = self.get_account(sid).await?;
        let (change, preview) = self.decide_retention_of(&account, days).await?;
        apply_recording_change(&mut account.policy, &change);
        self.store_policy(account).await?;
        Ok((change, preview))
    }

    /// Changes the plan; a downgrade may shorten the recording retention, after notice. Returns what is stored, and what
    /// it deletes sooner.
    ///
    /// # Errors
    /// [`VaultError::Refused`]; [`StoreError::Conflict`] when somebody else changed the policy meanwhile.
    pub async fn set_plan(&self, sid: &AccountSid, plan: Plan) -> Result<(PlanChange, Preview)> {
        self.sweep_recordings(sid, self.now()).await?;
        let mut account = self.get_account(sid).await?;
        let (change, preview) = self.decide_plan_of(&account, plan).await?;
        apply_plan_change(&mut account.policy, &change);
        self.store_policy(account).await?;
        Ok((change, preview))
    }

    async fn store_policy(&self, mut account: Account) -> Result<()> {
        account.policy.floors.clear();
        let json = policy_json(&account.policy)?;
        Ok(self
            .catalog
            .put_policy(&account.sid, &json, account.version, &[])
            .await?)
    }
}

impl Account {
    /// What the account's local time is ahead of UTC, in seconds. The platform's compatible API writes local times: India
    /// and Singapore have one each, without daylight saving; elsewhere it is UTC.
    #[must_use]
    pub fn utc_offset_s(&self) -> i64 {
        match self.country.as_ref() {
            "IN" => 19_800,
            "SG" => 28_800,
            _ => 0,
        }
    }

    /// Whether a record's moment is one this account may still put in.
    ///
    /// # Errors
    /// [`VaultError::Refused`] when its term is over already.
    pub(crate) fn check_keeping(&self, class: callvault_core::Class, at: TimeUs, now: TimeUs) -> Result<()> {
        // Rows of a partition are judged from their own moment on, so a floor that began after their term reaches none.
        let ended_at = self.policy.kept_until(class, at, at);
        if class != callvault_core::Class::Recording && ended_at <= now {
            let reason = format!("The term of this {class} ended on {ended_at}; it is not stored.");
            return Err(callvault_core::Refusal::new("term-over", reason).in_field("at").into());
        }
        callvault_core::retention::decide_keeping(&self.policy, class, at, now).into_result()?;
        Ok(())
    }
}

/// Whether national numbers can be read in this country.
///
/// # Errors
/// [`VaultError::Invalid`] when it is no two-letter code of ISO 3166 with telephone numbers.
pub fn check_country(country: &str) -> Result<()> {
    match country.parse::<phonenumber::country::Id>() {
        Ok(_) => Ok(()),
        Err(_) => Err(VaultError::invalid(
            "country",
            "expected a two-letter ISO 3166 code, such as IN",
        )),
    }
}

fn policy_json(policy: &Policy) -> Result<String> {
    serde_json::to_string(policy).map_err(|error| VaultError::invalid("policy", error.to_string()))
}
