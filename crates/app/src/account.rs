//! Accounts: creating them, their roles, their retention settings and plans.

use callvault_core::{
    AccountSid, Plan, TimeUs,
    change::{PlanChange, RecordingChange, apply_plan_change, apply_recording_change},
    forecast::Preview,
    retention::Policy,
};
use callvault_store::{
    StoreError,
    rows::{AccountRow, KeyPurpose},
};

use crate::{
    error::{Result, VaultError},
    vault::{Account, Vault},
};

pub use crate::token::{Caller, NewToken, TokenView};

/// What a token or a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything that the account may do.
    Owner,
    /// Records, users and keys; nothing that deletes but contacts and lists.
    Admin,
    /// Reads and writes the account's records.
    Developer,
    /// Also reads what is restricted, sets retention, places holds, deletes.
    Compliance,
    /// Sees the account's rules, not its records.
    Support,
    /// Sees rules, proofs and logs, and changes nothing.
    Auditor,
    /// Of the operator, not of an account: sees every account's rules, not its records.
    Operator,
}

impl Role {
    /// Every role of an account.
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
            Self::Operator => "operator",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }

    /// A role as the catalog has it.
    pub(crate) fn from_stored(name: &str) -> Result<Self> {
        let damaged = || VaultError::Damaged {
            what: "catalog",
            reason: "a role is unknown".to_owned(),
        };
        Self::from_name(name)
            .or((name == "operator").then_some(Self::Operator))
            .ok_or_else(damaged)
    }

    /// Whether this role may give the other one to somebody, and take it away: what it may do itself, and the owner also
    /// appoints who reads what is restricted.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        match self {
            Self::Owner => other != Self::Operator,
            Self::Admin => matches!(other, Self::Admin | Self::Developer | Self::Auditor),
            Self::Operator => other == Self::Operator,
            _ => false,
        }
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
