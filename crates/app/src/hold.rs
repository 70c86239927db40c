//! Legal holds (spec 1.6).

use callvault_core::{
    AccountSid, Number, TimeUs,
    hold::{Hold, HoldScope},
    id::HoldId,
};
use callvault_seal::{envelope, random_bytes};
use callvault_store::rows::HoldRow;

use crate::{
    coverage::{Blocked, HoldTarget},
    error::{Result, VaultError},
    vault::{Account, Vault},
};

/// The longest matter and reason, in bytes.
pub const MAX_TEXT_BYTES: usize = 2_000;
/// SIDs that one hold names at most.
pub const MAX_SIDS: usize = 10_000;

/// A hold as people see it.
#[derive(Debug, Clone, serde::Serialize)]
pub struct HoldView {
    /// Identifier.
    pub hold: HoldId,
    /// What it covers. A number is here as its blind hash.
    pub scope: HoldScope,
    /// The number it covers, for the compliance role.
    pub number: Option<Number>,
    /// What it blocks now, by class.
    pub blocks: Vec<Blocked>,
    /// The matter it serves.
    pub matter: String,
    /// Why.
    pub reason: String,
    /// When it was placed.
    pub placed_at: TimeUs,
    /// When it is to be looked at again.
    pub review_at: TimeUs,
    /// When it was lifted, if it was.
    pub lifted_at: Option<TimeUs>,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Note {
    matter: String,
    reason: String,
    /// A hold finds its records by hash; people want to see the number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    number: Option<Number>,
}

impl Vault {
    /// Places a hold on what people name: records of the account, a number, or a span of time. It freezes what exists,
    /// and what is taken in while it stands.
    ///
    /// # Errors
    /// [`VaultError::Invalid`] for an empty or too long text, an empty or unknown target, or a review date that is not
    /// ahead.
    pub async fn place_hold_on(
        &self,
        sid: &AccountSid,
        target: &HoldTarget,
        matter: &str,
        reason: &str,
        review_at: TimeUs,
    ) -> Result<HoldId> {
        let account = self.get_account(sid).await?;
        if let HoldTarget::Records(sids) = target {
            check_sids(sids.len())?;
        }
        let scope = self.scope_of(&account, target).await?;
        let number = match target {
            HoldTarget::Number(number) => Some(number.clone()),
            _ => None,
        };
        let note = Note {
            matter: matter.to_owned(),
            reason: reason.to_owned(),
            number,
        };
        let hold = self.insert_hold(&account, scope, note, review_at).await?;
        // What was deleted between the two looks is not covered, and whoever asked is told so.
        if let Err(gone) = self.scope_of(&account, target).await {
            self.lift_hold(sid, hold).await?;
            return Err(gone);
        }
        Ok(hold)
    }

    /// Places a hold on a scope as the rules see it, whether anything is in it or not.
    ///
    /// # Errors
    /// [`VaultError::Invalid`] for an empty or too long text, an empty scope, or a review date that is not ahead.
    pub async fn place_hold(
        &self,
        sid: &AccountSid,
        scope: HoldScope,
        matter: &str,
        reason: &str,
        review_at: TimeUs,
    ) -> Result<HoldId> {
        let account = self.get_account(sid).await?;
        let note = Note {
            matter: matter.to_owned(),
            reason: reason.to_owned(),
            number: None,
        };
        self.insert_hold(&account, scope, note, review_at).await
    }

    async fn insert_hold(&self, account: &Account, scope: HoldScope, note: Note, review_at: TimeUs) -> Result<HoldId> {
        let now = self.now();
        for (field, text) in [("matter", &note.matter), ("reason", &note.reason)] {
            if text.trim().is_empty() || text.len() > MAX_TEXT_BYTES {
                return Err(VaultError::invalid(
                    field,
                    format!("expected 1 to {MAX_TEXT_BYTES} bytes of text"),
                ));
            }
        }
        if review_at <= now {
            return Err(VaultError::invalid(
                "review_at",
                "lies in the past; a hold is reviewed later",
            ));
        }
        match &scope {
            HoldScope::Records(sids) => check_sids(sids.len())?,
            HoldScope::Span { from, to, .. } if from >= to => {
                return Err(VaultError::invalid("to", "must lie after `from`"));
            }
            _ => {}
        }
        let hold = Hold {
            id: HoldId(random_bytes()?),
            scope,
            placed_at: now,
            lifted_at: None,
            review_at,
        };
        let note = serde_json::to_vec(&note).map_err(|error| VaultError::invalid("matter", error.to_string()))?;
        let row = HoldRow {
            account: account.sid.clone(),
            hold: hold.id,
            rule: rule_json(&hold)?,
            note: envelope::seal(&account.keys.notes, &hold.id.0, &note)?,
            lifted_at: None,
        };
        self.catalog.insert_hold(&row).await?;
        Ok(hold.id)
    }

    /// Lifts a hold. What it alone kept is unreadable at once; its keys go with the next tick.
    ///
    /// # Errors
    /// [`VaultError::NotFound`] when there is no such hold in force.
    pub async fn lift_hold(&self, sid: &AccountSid, hold: HoldId) -> Result<()> {
        let now = self.now();
        let account = self.get_account(sid).await?;
        let missing = VaultError::NotFound { what: "hold in force" };
        let Some(mut rule) = account.holds.into_iter().find(|known| known.id == hold) else {
            return Err(missing);
        };
        if rule.lifted_at.is_some() {
            return Err(missing);
        }
        rule.lifted_at = Some(now);
        if self.catalog.lift_hold(sid, hold, &rule_json(&rule)?, now).await? {
            Ok(())
        } else {
            Err(missing)
        }
    }

    /// Every hold of an account, lifted ones included, oldest first.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn list_holds(&self, sid: &AccountSid) -> Result<Vec<HoldView>> {
        let account = self.get_account(sid).await?;
        let rows = self.catalog.list_holds(sid).await?;
        let mut views = Vec::with_capacity(rows.len());
        for row in rows {
            let Some(rule) = account.holds.iter().find(|rule| rule.id == row.hold) else {
                continue;
            };
            let note = envelope::open(&account.keys.notes, &row.hold.0, &row.note)?;
            let note: Note = serde_json::from_slice(&note).map_err(|_| VaultError::Damaged {
                what: "hold",
                reason: "its note is not readable".to_owned(),
            })?;
            views.push(HoldView {
                hold: row.hold,
                scope: rule.scope.clone(),
                blocks: self.blocked_by(&account, rule, note.number.as_ref()).await?,
                number: note.number,
                matter: note.matter,
                reason: note.reason,
                placed_at: rule.placed_at,
                review_at: rule.review_at,
                lifted_at: rule.lifted_at,
            });
        }
        Ok(views)
    }
}

fn check_sids(count: usize) -> Result<()> {
    match count {
        1..=MAX_SIDS => Ok(()),
        _ => Err(VaultError::invalid("sids", format!("expected 1 to {MAX_SIDS}"))),
    }
}

fn rule_json(hold: &Hold) -> Result<String> {
    serde_json::to_string(hold).map_err(|error| VaultError::invalid("scope", error.to_string()))
}
