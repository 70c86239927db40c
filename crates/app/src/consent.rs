//! Consent policies of accounts (spec 2.4): each is a version that stays, so that a decision can point at the one it was made under.

use callvault_core::{
    Number, Refusal, TimeUs,
    consent::{self, Consenting, Event, Jurisdiction, Policy, Rule, Switches},
    record::{Consent, RecordingMeta},
};
use serde::{Deserialize, Serialize};

use crate::{
    error::{Result, VaultError},
    line::{open, seal},
    vault::{Account, Vault},
};

/// The announcement of an account that has none of its own (spec 2.3).
pub const ANNOUNCEMENT: &str = "This call may be recorded for quality and training purposes.";
/// The longest announcement, in characters.
const MAX_TEXT_CHARS: usize = 2_000;
/// The longest law and demand of a ground, in characters.
const MAX_GROUND_CHARS: usize = 500;
/// The longest address of a privacy policy.
const MAX_URL_BYTES: usize = 2_048;
/// Languages of a policy.
const MAX_LANGUAGES: usize = 50;
/// Grounds of a country.
const MAX_GROUNDS: usize = 20;
/// The refusal of a decision that the policy does not take.
fn refuse_announced() -> VaultError {
    let reason = "Where the called party is, the account's policy asks for a yes, and an announcement is none: send accepted, contract \
                  or attested, or adopt a policy with a rule for that country.";
    Refusal::new("consent-not-enough", reason).in_field("consent").into()
}

/// The country that a number belongs to; nothing for an extension, a name, or nobody.
fn country_of(number: &Number) -> Option<phonenumber::country::Id> {
    let text = number.as_str();
    let parsed = text.starts_with('+').then(|| phonenumber::parse(None, text).ok())?;
    parsed?.country().id()
}

/// Attempts at a version that others take first.
const ATTEMPTS: u32 = 8;

/// A policy that an account adopted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsentPolicy {
    /// What it says.
    pub policy: Policy,
    /// Whether calls are recorded that say nothing of it (spec 2.1).
    pub records_by_default: bool,
    /// When it was adopted; nothing for the one that comes ready.
    pub adopted_at: Option<TimeUs>,
}

impl ConsentPolicy {
    /// What an account has that adopted nothing: recording is off, India is announced, everybody else is asked.
    #[must_use]
    pub fn ready() -> Self {
        Self {
            policy: Policy {
                version: 0,
                text: ANNOUNCEMENT.to_owned(),
                privacy_url: None,
                languages: vec!["en".to_owned()],
                countries: [("IN".to_owned(), consent::india())].into(),
                elsewhere: Rule::OptIn,
            },
            records_by_default: false,
            adopted_at: None,
        }
    }

    fn check(&self) -> Result<()> {
        let policy = &self.policy;
        let text = |field, text: &str, most: usize| {
            let is_good =
                !text.trim().is_empty() && text.chars().count() <= most && !text.chars().any(char::is_control);
            match is_good {
                true => Ok(()),
                false => Err(VaultError::invalid(field, format!("expected 1 to {most} characters"))),
            }
        };
        text("text", &policy.text, MAX_TEXT_CHARS)?;
        if let Some(url) = &policy.privacy_url {
            let is_web =
                url::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "https" | "http") && url.has_host());
            if url.len() > MAX_URL_BYTES || !is_web {
                return Err(VaultError::invalid("privacy_url", "expected an https:// address"));
            }
        }
        let is_tag = |tag: &String| {
            let mut parts = tag.split('-');
            let first = parts.next().unwrap_or_default();
            let small = |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric());
            (2..=3).contains(&first.len()) && first.bytes().all(|b| b.is_ascii_alphabetic()) && parts.all(small)
        };
        if !(1..=MAX_LANGUAGES).contains(&policy.languages.len()) || !policy.languages.iter().all(is_tag) {
            let reason = format!("expected 1 to {MAX_LANGUAGES} language tags, such as en-IN (BCP 47)");
            return Err(VaultError::invalid("languages", reason));
        }
        for (country, Jurisdiction { grounds, .. }) in &policy.countries {
            if country.parse::<phonenumber::country::Id>().is_err() {
                let reason = "expected ISO 3166-1 codes in capitals, such as IN";
                return Err(VaultError::invalid("countries", reason));
            }
            if grounds.len() > MAX_GROUNDS {
                return Err(VaultError::invalid(
                    "countries",
                    format!("at most {MAX_GROUNDS} grounds each"),
                ));
            }
            for ground in grounds {
                text("countries", &ground.law, MAX_GROUND_CHARS)?;
                text("countries", &ground.asks, MAX_GROUND_CHARS)?;
            }
        }
        Ok(())
    }
}

/// What somebody else's switch says happened.
fn event_of(consent: &Consent) -> Event {
    match consent.clone() {
        Consent::Announced => Event::Announced,
        Consent::Accepted => Event::Accepted,
        Consent::Contract { version } => Event::Contract { version },
        Consent::Attested { by } => Event::Attested { by },
    }
}

fn value_name(account: &Account, version: u32) -> String {
    format!("consent-policy/{}/{version:08}", account.sid)
}

impl Vault {
    /// The policies that an account adopted, the newest first.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn list_consent_policies(&self, account: &Account) -> Result<Vec<ConsentPolicy>> {
        let prefix = format!("consent-policy/{}/", account.sid);
        let values = self.catalog.list_values(&prefix).await?;
        let policies = values.iter().map(|(name, value)| open(account, name, value));
        let mut policies: Vec<ConsentPolicy> = policies.collect::<Result<_>>()?;
        policies.sort_by_key(|policy| std::cmp::Reverse(policy.policy.version));
        Ok(policies)
    }

    /// The policy in force.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn get_consent_policy(&self, account: &Account) -> Result<ConsentPolicy> {
        let newest = self.list_consent_policies(account).await?.into_iter().next();
        Ok(newest.unwrap_or_else(ConsentPolicy::ready))
    }

    /// Whether the policy in force takes what a recording from elsewhere rests on: the same decision as for a call that was
    /// answered here. Returns the policy's version.
    ///
    /// # Errors
    /// [`VaultError::Refused`] when it does not.
    pub(crate) async fn decide_consent(&self, account: &Account, meta: &RecordingMeta) -> Result<u32> {
        let [_, called] = &meta.parties;
        let (policy, rule) = self.consent_rule(account, called).await?;
        // Who sends a recording has switched it on.
        let switches = Switches {
            call: Some(true),
            ..Switches::default()
        };
        let mut call = Consenting::new(switches, rule, policy.policy.version);
        call.note(self.now(), event_of(&meta.consent));
        match call.basis() {
            Some(_) => Ok(call.policy_version()),
            None => Err(refuse_announced()),
        }
    }

    /// The policy in force, and the rule for a called party.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn consent_rule(&self, account: &Account, called: &Number) -> Result<(ConsentPolicy, Rule)> {
        let policy = self.get_consent_policy(account).await?;
        let country = country_of(called).unwrap_or(account.country);
        let rule = policy.policy.rule_in(Some(country.as_ref()));
        Ok((policy, rule))
    }

    /// Adopts a policy as the next version. One that says what the one in force says is no new version.
    ///
    /// # Errors
    /// [`VaultError::Invalid`] that names the field at fault.
    pub async fn adopt_consent_policy(&self, account: &Account, mut policy: ConsentPolicy) -> Result<ConsentPolicy> {
        policy.check()?;
        for _ in 0..ATTEMPTS {
            let known = self.get_consent_policy(account).await?;
            policy.policy.version = known.policy.version;
            policy.adopted_at = known.adopted_at;
            if policy == known && known.adopted_at.is_some() {
                return Ok(known);
            }
            policy.policy.version += 1;
            policy.adopted_at = Some(self.now());
            let name = value_name(account, policy.policy.version);
            let sealed = seal(account, &name, &policy)?;
            if self.catalog.init_value(&name, &sealed).await? == sealed {
                return Ok(policy);
            }
        }
        Err(callvault_store::StoreError::Conflict { what: "consent policy" }.into())
    }
}
