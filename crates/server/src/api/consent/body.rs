//! Consent policies as JSON.

use std::collections::BTreeMap;

use callvault_app::{
    consent::ConsentPolicy,
    core::consent::{Ground, Jurisdiction, Policy, Rule},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::problem::{Answer, Problem};

/// A policy to be adopted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewConsentPolicy {
    /// What callers are told.
    pub text: String,
    /// Where the account's privacy policy is.
    #[serde(default)]
    pub privacy_url: Option<String>,
    /// Languages that it is said in, BCP 47 tags.
    pub languages: Vec<String>,
    /// Rules by the called party's country, ISO 3166-1 alpha-2; India's own if absent.
    #[serde(default)]
    pub countries: Option<BTreeMap<String, JurisdictionBody>>,
    /// The rule of every other country: `announce` or `opt-in`.
    pub elsewhere: String,
    /// Whether calls are recorded that say nothing of it.
    #[serde(default)]
    pub records_by_default: bool,
}

/// A country's rule, and why.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JurisdictionBody {
    /// `announce`: who stays on the line after the announcement accepts it. `opt-in`: who does not say yes says no.
    pub rule: String,
    /// What it rests on.
    #[serde(default)]
    #[schema(max_items = 20)]
    pub grounds: Vec<GroundBody>,
}

/// A legal ground.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GroundBody {
    /// The law.
    pub law: String,
    /// What it asks for.
    pub asks: String,
}

/// A policy.
#[derive(Serialize, ToSchema)]
pub struct ConsentPolicyBody {
    /// Counts from 1; 0 is the one that comes ready.
    pub version: u32,
    /// When it was adopted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub adopted_at: Option<String>,
    /// What callers are told.
    pub text: String,
    /// Where the account's privacy policy is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub privacy_url: Option<String>,
    /// Languages that it is said in.
    pub languages: Vec<String>,
    /// Rules by the called party's country.
    pub countries: BTreeMap<String, JurisdictionBody>,
    /// The rule of every other country.
    pub elsewhere: String,
    /// Whether calls are recorded that say nothing of it.
    pub records_by_default: bool,
}

fn read_rule(field: &'static str, text: &str) -> Answer<Rule> {
    let rule = text.parse();
    rule.map_err(|_| Problem::invalid(field, "Expected announce or opt-in."))
}

impl NewConsentPolicy {
    pub(super) fn read(self) -> Answer<ConsentPolicy> {
        let mut read = ConsentPolicy::ready();
        if let Some(countries) = self.countries {
            let jurisdiction = |(country, body): (String, JurisdictionBody)| {
                let grounds = body.grounds.into_iter();
                let rule = read_rule("countries", &body.rule)?;
                let grounds = grounds.map(|GroundBody { law, asks }| Ground { law, asks }).collect();
                Ok((country, Jurisdiction { rule, grounds }))
            };
            read.policy.countries = countries.into_iter().map(jurisdiction).collect::<Answer<_>>()?;
        }
        read.policy = Policy {
            text: self.text,
            privacy_url: self.privacy_url,
            languages: self.languages,
            elsewhere: read_rule("elsewhere", &self.elsewhere)?,
            ..read.policy
        };
        read.records_by_default = self.records_by_default;
        Ok(read)
    }
}

impl From<ConsentPolicy> for ConsentPolicyBody {
    fn from(known: ConsentPolicy) -> Self {
        let policy = known.policy;
        let jurisdiction = |(country, Jurisdiction { rule, grounds }): (String, Jurisdiction)| {
            let rule = rule.as_str().to_owned();
            let grounds = grounds.into_iter();
            let grounds = grounds.map(|Ground { law, asks }| GroundBody { law, asks }).collect();
            (country, JurisdictionBody { rule, grounds })
        };
        Self {
            version: policy.version,
            adopted_at: known.adopted_at.map(|at| at.to_string()),
            text: policy.text,
            privacy_url: policy.privacy_url,
            languages: policy.languages,
            countries: policy.countries.into_iter().map(jurisdiction).collect(),
            elsewhere: policy.elsewhere.as_str().to_owned(),
            records_by_default: known.records_by_default,
        }
    }
}
