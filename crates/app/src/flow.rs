//! Call flows of accounts: each is kept in versions, so that a call's record can name the one it went through.

use std::collections::BTreeMap;

use callvault_core::{DocumentKind, Number, Reader, Refusal, Sid, TimeUs, flow::Flow};
use serde::{Deserialize, Serialize};

use crate::{
    error::{Result, VaultError},
    exophone::Exophone,
    line::{open, seal},
    vault::{Account, Vault},
};

/// Flows that an account may have.
const MAX_FLOWS: usize = 200;
/// Attempts at a version that others take first.
const ATTEMPTS: u32 = 8;

/// A flow as it was saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedFlow {
    /// Identifier; the same for all its versions.
    pub id: Sid,
    /// Counts from 1.
    pub version: u32,
    /// When it was saved.
    pub saved_at: TimeUs,
    /// What it says.
    pub flow: Flow,
}

fn flows_of(account: &Account) -> String {
    format!("flow/{}/", account.sid)
}

fn version_name(account: &Account, id: Sid, version: u32) -> String {
    format!("{}{id}/{version:08}", flows_of(account))
}

/// The flow that an address names, as the platform writes it: `.../exoml/start_voice/ID`, in old ones `.../exoml/start/ID`.
#[must_use]
pub fn flow_of_url(url: &str) -> Option<Sid> {
    let path = url.split(['?', '#']).next()?;
    let (before, id) = path.trim_end_matches('/').rsplit_once('/')?;
    let is_flow = before.ends_with("/exoml/start_voice") || before.ends_with("/exoml/start");
    is_flow.then(|| id.parse().ok())?
}

impl Vault {
    /// The newest version of each of an account's flows, by their names.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn list_flows(&self, account: &Account) -> Result<Vec<SavedFlow>> {
        let mut newest: BTreeMap<Sid, (String, Vec<u8>)> = BTreeMap::new();
        for (name, value) in self.catalog.list_values(&flows_of(account)).await? {
            let id = name.rsplit('/').nth(1).and_then(|id| id.parse().ok());
            if let Some(id) = id {
                let known = newest.get(&id).is_some_and(|(known, _)| *known > name);
                if !known {
                    newest.insert(id, (name, value));
                }
            }
        }
        let flows = newest.values().map(|(name, value)| open(account, name, value));
        let mut flows: Vec<SavedFlow> = flows.collect::<Result<_>>()?;
        flows.sort_by(|a, b| (&a.flow.name, a.id).cmp(&(&b.flow.name, b.id)));
        Ok(flows)
    }

    /// A flow: its newest version, or the one that is named.
    ///
    /// # Errors
    /// [`VaultError::NotFound`] when there is none.
    pub async fn get_flow(&self, account: &Account, id: Sid, version: Option<u32>) -> Result<SavedFlow> {
        let none = VaultError::NotFound { what: "flow" };
        if let Some(version) = version {
            let found = self.find_note(account, &version_name(account, id, version)).await?;
            return found.ok_or(none);
        }
        let prefix = format!("{}{id}/", flows_of(account));
        let values = self.catalog.list_values(&prefix).await?;
        let (name, value) = values.iter().max_by_key(|(name, _)| name).ok_or(none)?;
        open(account, name, value)
    }

    /// Saves a flow as a new one, or as the next version of one that is there. One that says what the newest says is no new version.
    ///
    /// # Errors
    /// [`VaultError::Refused`] with the applet to add when it records callers who were told nothing; [`VaultError::Invalid`];
    /// [`VaultError::NotFound`] when there is no flow of this id.
    pub async fn save_flow(&self, account: &Account, id: Option<Sid>, flow: Flow) -> Result<SavedFlow> {
        let by_default = self.get_consent_policy(account).await?.records_by_default;
        match flow.check(by_default) {
            Ok(()) => {}
            Err(error @ callvault_core::flow::FlowError::Untold { .. }) => {
                return Err(Refusal::new("records-untold", error.to_string())
                    .in_field("applets")
                    .into());
            }
            Err(error) => return Err(VaultError::invalid(error.field(), error.to_string())),
        }
        for (name, applet) in &flow.applets {
            if let Some(clip) = applet.clip()
                && !self.has_prompt(account, clip).await?
            {
                let reason = format!("applet `{name}`: there is no prompt {clip}; upload it first");
                return Err(VaultError::invalid("applets", reason));
            }
        }
        for _ in 0..ATTEMPTS {
            let now = self.now();
            let saved = match id {
                Some(id) => {
                    let known = self.get_flow(account, id, None).await?;
                    if known.flow == flow {
                        return Ok(known);
                    }
                    SavedFlow {
                        id,
                        version: known.version + 1,
                        saved_at: now,
                        flow: flow.clone(),
                    }
                }
                None => {
                    if self.list_flows(account).await?.len() >= MAX_FLOWS {
                        let reason = format!("An account has at most {MAX_FLOWS} flows; delete one.");
                        return Err(Refusal::new("too-many-flows", reason).into());
                    }
                    SavedFlow {
                        id: Account::fresh_sid(now)?,
                        version: 1,
                        saved_at: now,
                        flow: flow.clone(),
                    }
                }
            };
            let name = version_name(account, saved.id, saved.version);
            let sealed = seal(account, &name, &saved)?;
            if self.catalog.init_value(&name, &sealed).await? == sealed {
                return Ok(saved);
            }
        }
        Err(callvault_store::StoreError::Conflict { what: "flow" }.into())
    }

    /// Deletes a flow with all its versions. Calls that are in it go on.
    ///
    /// # Errors
    /// [`VaultError::NotFound`]; [`VaultError::Refused`] while a number is answered by it.
    pub async fn delete_flow(&self, account: &Account, id: Sid) -> Result<()> {
        self.get_flow(account, id, None).await?;
        let mut offset = 0;
        loop {
            let (numbers, count) = self.list_exophones(account, offset, 100).await?;
            let is_used = |number: &Exophone| number.voice_url.as_deref().and_then(flow_of_url) == Some(id);
            if numbers.iter().any(|number| is_used(&number.body)) {
                let reason = "A number of the account is answered by this flow; give it another one first.";
                return Err(Refusal::new("flow-in-use", reason).into());
            }
            offset += 100;
            if u64::from(offset) >= count {
                break;
            }
        }
        for (name, _) in self.catalog.list_values(&format!("{}{id}/", flows_of(account))).await? {
            self.catalog.delete_value(&name).await?;
        }
        Ok(())
    }

    /// Whether a number is one of the account's own.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn has_exophone(&self, account: &Account, number: &Number) -> Result<bool> {
        let (hash, kind) = (account.number_hash(number), DocumentKind::Exophone);
        let found = self
            .find_named::<Exophone>(account, kind, hash, Reader::Account)
            .await?;
        Ok(found.is_some())
    }

    /// The flow that answers an account's number.
    ///
    /// # Errors
    /// [`VaultError::NotFound`] when the number is not the account's, or no flow answers it.
    pub async fn flow_for(&self, account: &Account, number: &Number) -> Result<SavedFlow> {
        let hash = account.number_hash(number);
        let kind = DocumentKind::Exophone;
        let found = self
            .find_named::<Exophone>(account, kind, hash, Reader::Account)
            .await?;
        let url = found.and_then(|found| found.body.voice_url);
        let id = url.as_deref().and_then(flow_of_url);
        self.get_flow(account, id.ok_or(VaultError::NotFound { what: "flow" })?, None)
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_platforms_addresses_name_flows() {
        let id = "0123456789abcdef0123456789abcdef";
        for url in [
            "https://my.exotel.com/acme/exoml/start_voice/",
            "http://my.exotel.in/exoml/start/",
        ] {
            assert_eq!(flow_of_url(&format!("{url}{id}")), id.parse().ok());
            assert_eq!(flow_of_url(&format!("{url}{id}/?x=1")), id.parse().ok());
            assert_eq!(flow_of_url(&format!("{url}12")), None);
        }
        assert_eq!(flow_of_url(&format!("https://example.in/voice/{id}")), None);
    }
}
