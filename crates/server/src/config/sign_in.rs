//! Sessions, and how often anything may be tried: `[sign_in]`.

use callvault_app::session::{Lifetime, MAX_SESSION_S};
use serde::Deserialize;

use super::{ConfigError, value};
use crate::{attempts::PER_USER, rates::PER_MINUTE};

/// Sessions, and how often anything may be tried.
#[derive(Debug, Clone, Copy)]
pub struct SignIn {
    /// How long sessions last.
    pub lifetime: Lifetime,
    /// Failed attempts to sign in as one user, in a quarter of an hour.
    pub failures: u32,
    /// Requests of one account in a minute, beside the platform's own API.
    pub requests_per_minute: u32,
}

/// Sessions and limits.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct SignInFile {
    idle_minutes: Option<u32>,
    hours: Option<u32>,
    failures: Option<u32>,
    requests_per_minute: Option<u32>,
}

impl SignInFile {
    pub(super) fn resolve(self) -> Result<SignIn, ConfigError> {
        let between = |key: &str, given: Option<u32>, usual: u32, most: u32| match given.unwrap_or(usual) {
            number if (1..=most).contains(&number) => Ok(number),
            _ => Err(value(format!("sign_in.{key}"), format!("expected 1 to {most}"))),
        };
        let most_hours = u32::try_from(MAX_SESSION_S / 3_600).unwrap_or(1);
        let whole_s = i64::from(between("hours", self.hours, 12, most_hours)?) * 3_600;
        let idle_s = i64::from(between("idle_minutes", self.idle_minutes, 30, most_hours * 60)?) * 60;
        Ok(SignIn {
            lifetime: Lifetime { idle_s, whole_s },
            failures: between("failures", self.failures, PER_USER, 1_000)?,
            requests_per_minute: between("requests_per_minute", self.requests_per_minute, PER_MINUTE, u32::MAX)?,
        })
    }
}
