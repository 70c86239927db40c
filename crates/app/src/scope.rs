//! What a token may be narrowed to. Every operation of the API declares one scope.

use crate::error::{Result, VaultError};

/// A part of what a role may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Lists and reads calls and messages.
    RecordsRead,
    /// Puts calls and messages in.
    RecordsWrite,
    /// Lists recordings and reads their audio.
    RecordingsRead,
    /// Puts recordings in.
    RecordingsWrite,
    /// Takes data out in bulk.
    Exports,
    /// Reads, previews and sets retention; forecasts.
    Retention,
    /// Reads and adopts the policy of consent to record; withdraws consent.
    Consent,
    /// Lists, places and lifts holds.
    Holds,
    /// Deletes recordings; lists deletions and fetches their certificates.
    Deletions,
    /// Makes, lists, removes and replays webhook endpoints.
    Webhooks,
    /// Reads the account's own logs.
    Logs,
    /// Makes, lists, rotates and revokes tokens.
    Keys,
    /// Invites, lists, changes and removes users.
    Users,
    /// The telephony platform's own API.
    Platform,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 14] = [
        Self::RecordsRead,
        Self::RecordsWrite,
        Self::RecordingsRead,
        Self::RecordingsWrite,
        Self::Exports,
        Self::Retention,
        Self::Consent,
        Self::Holds,
        Self::Deletions,
        Self::Webhooks,
        Self::Logs,
        Self::Keys,
        Self::Users,
        Self::Platform,
    ];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RecordsRead => "records:read",
            Self::RecordsWrite => "records:write",
            Self::RecordingsRead => "recordings:read",
            Self::RecordingsWrite => "recordings:write",
            Self::Exports => "exports",
            Self::Retention => "retention",
            Self::Consent => "consent",
            Self::Holds => "holds",
            Self::Deletions => "deletions",
            Self::Webhooks => "webhooks",
            Self::Logs => "logs",
            Self::Keys => "keys",
            Self::Users => "users",
            Self::Platform => "platform",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == name)
    }
}

impl std::str::FromStr for Scope {
    type Err = VaultError;

    fn from_str(text: &str) -> Result<Self> {
        Self::from_name(text).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|scope| scope.as_str()).collect();
            VaultError::invalid("scopes", format!("expected any of {}", names.join(", ")))
        })
    }
}

/// What a token is narrowed to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Scopes {
    /// Nothing: it may all that its role may.
    #[default]
    Whole,
    /// These, in order.
    Only(Vec<Scope>),
}

impl Scopes {
    /// These scopes; all of them when there are none.
    #[must_use]
    pub fn of(mut scopes: Vec<Scope>) -> Self {
        scopes.sort_unstable();
        scopes.dedup();
        match scopes.is_empty() {
            true => Self::Whole,
            false => Self::Only(scopes),
        }
    }

    /// Whether this scope is among them.
    #[must_use]
    pub fn allow(&self, scope: Scope) -> bool {
        match self {
            Self::Whole => true,
            Self::Only(scopes) => scopes.contains(&scope),
        }
    }

    /// Whether the others allow nothing that these do not.
    #[must_use]
    pub fn cover(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Whole, _) => true,
            (Self::Only(_), Self::Whole) => false,
            (Self::Only(_), Self::Only(scopes)) => scopes.iter().all(|scope| self.allow(*scope)),
        }
    }

    /// Their names; none when it is not narrowed.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        match self {
            Self::Whole => Vec::new(),
            Self::Only(scopes) => scopes.iter().map(|scope| scope.as_str()).collect(),
        }
    }

    pub(crate) fn to_stored(&self) -> Option<String> {
        match self {
            Self::Whole => None,
            Self::Only(_) => Some(self.names().join(" ")),
        }
    }

    /// A name that is not known here allows nothing.
    pub(crate) fn from_stored(text: Option<&str>) -> Self {
        match text {
            None => Self::Whole,
            Some(names) => Self::Only(names.split(' ').filter_map(Scope::from_name).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narrower_scopes_cover_nothing_wider() {
        let some = Scopes::of(vec![Scope::Logs, Scope::RecordsRead, Scope::Logs]);
        let one = Scopes::of(vec![Scope::Logs]);
        assert_eq!(some.names(), ["records:read", "logs"]);
        assert!(Scopes::Whole.cover(&some) && some.cover(&one) && some.cover(&some));
        assert!(!some.cover(&Scopes::Whole) && !one.cover(&some));
        assert!(one.allow(Scope::Logs) && !one.allow(Scope::Keys) && Scopes::Whole.allow(Scope::Keys));
    }

    #[test]
    fn they_come_back_from_the_catalog_and_unknown_ones_allow_nothing() {
        for scopes in [Scopes::Whole, Scopes::of(Scope::ALL.to_vec())] {
            assert_eq!(Scopes::from_stored(scopes.to_stored().as_deref()), scopes);
        }
        let unknown = Scopes::from_stored(Some("of-a-newer-version"));
        assert!(Scope::ALL.iter().all(|scope| !unknown.allow(*scope)));
    }
}
