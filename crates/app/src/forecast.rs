//! What will be deleted and when (spec 1.5), and what a change of settings would delete (spec 1.4).

use callvault_core::{
    AccountSid, Class, Day, DocumentKind, Plan as AccountPlan, TimeUs,
    change::{PlanChange, RecordingChange, decide_plan_change, decide_recording_retention},
    forecast::{ForecastRow, Preview, Warning, forecast, preview_plan_change, preview_recording_change, warnings},
    inventory::{DocumentItem, Inventory, RecordingItem},
    plan::Policies,
    retention::{Term, base_term},
};
use callvault_store::rows::{DocumentQuery, RecordingQuery};

use crate::{
    error::Result,
    partition::CLASSES,
    tick::{document_item, recording_item},
    vault::{Account, Vault},
};

const PAGE: u32 = 5_000;

impl Vault {
    /// What of an account goes from now until `to`: by class, day, reason, count and bytes. Computed by the same rules
    /// as the deletion itself.
    ///
    /// # Errors
    /// Those of the stores.
    pub async fn forecast(&self, sid: &AccountSid, to: TimeUs) -> Result<Vec<ForecastRow>> {
        let now = self.now();
        let account = self.get_account(sid).await?;
        let inventory = self.inventory(&account, now, to).await?;
        let policies = Policies::from([(account.sid.clone(), account.policy.clone())]);
        Ok(forecast(&policies, &inventory, now, to))
    }

    /// Recordings that lapse within 30 days, by day, without those that an export on schedule took already.
    ///
    /// # Errors
    /// Those of the stores.
    pub async fn warnings(&self, sid: &AccountSid) -> Result<Vec<Warning>> {
        let now = self.now();
        let account = self.get_account(sid).await?;
        let inventory = Inventory {
            recordings: self.recording_items(&account, now).await?,
            ..Inventory::default()
        };
        let policies = Policies::from([(account.sid.clone(), account.policy.clone())]);
        let exported = self.exported(&account, &[Class::Recording]).await?;
        let is_exported = |item: &RecordingItem| exported.has_recording(item.sid);
        Ok(warnings(&policies, &inventory, now, &is_exported))
    }

    /// What a new recording retention would change and delete, without doing it.
    ///
    /// # Errors
    /// [`crate::VaultError::Refused`] when the plan does not allow it.
    pub async fn preview_retention(&self, sid: &AccountSid, days: u32) -> Result<(RecordingChange, Preview)> {
        self.decide_retention_of(&self.get_account(sid).await?, days).await
    }

    /// What a new plan would change and delete, without doing it.
    ///
    /// # Errors
    /// [`crate::VaultError::Refused`].
    pub async fn preview_plan(&self, sid: &AccountSid, plan: AccountPlan) -> Result<(PlanChange, Preview)> {
        self.decide_plan_of(&self.get_account(sid).await?, plan).await
    }

    pub(crate) async fn decide_retention_of(&self, account: &Account, days: u32) -> Result<(RecordingChange, Preview)> {
        let now = self.now();
        let change = decide_recording_retention(&account.policy, now, days).into_result()?;
        let items = self.recording_items(account, now).await?;
        let preview = preview_recording_change(&account.policy, &change, &items);
        Ok((change, preview))
    }

    pub(crate) async fn decide_plan_of(&self, account: &Account, plan: AccountPlan) -> Result<(PlanChange, Preview)> {
        let now = self.now();
        let change = decide_plan_change(&account.policy, now, plan).into_result()?;
        let items = self.recording_items(account, now).await?;
        let preview = preview_plan_change(&account.policy, &change, &items);
        Ok((change, preview))
    }

    /// Everything an account has, as the planner sees it, with the held rows of what falls due by `until`.
    pub(crate) async fn inventory(&self, account: &Account, now: TimeUs, until: TimeUs) -> Result<Inventory> {
        let mut inventory = Inventory {
            recordings: self.recording_items(account, now).await?,
            documents: self.document_items(account, now).await?,
            ..Default::default()
        };
        for class in CLASSES {
            for row in self.catalog.list_partitions(&account.sid, class, all_days()).await? {
                inventory
                    .partitions
                    .push(self.item_of(account, &row, now, until).await?);
            }
        }
        Ok(inventory)
    }

    async fn recording_items(&self, account: &Account, now: TimeUs) -> Result<Vec<RecordingItem>> {
        let mut items = Vec::new();
        let mut query = RecordingQuery {
            limit: PAGE,
            ..RecordingQuery::default()
        };
        loop {
            let rows = self.catalog.list_recordings(&account.sid, &query).await?;
            let Some(last) = rows.last() else { return Ok(items) };
            query.after = Some((last.at, last.sid));
            items.extend(rows.iter().map(|row| recording_item(account, row, now)));
        }
    }

    /// Documents that have a term.
    pub(crate) async fn document_items(&self, account: &Account, now: TimeUs) -> Result<Vec<DocumentItem>> {
        let mut items = Vec::new();
        let kinds = DocumentKind::ALL.into_iter();
        for kind in kinds.filter(|kind| base_term(kind.class()) != Term::UntilDeleted) {
            let mut query = DocumentQuery {
                limit: PAGE,
                ..DocumentQuery::default()
            };
            loop {
                let rows = self.catalog.list_documents(&account.sid, kind, &query).await?;
                let Some(last) = rows.last() else { break };
                query.after = Some((last.at, last.id));
                items.extend(rows.iter().map(|row| document_item(account, row, now)));
            }
        }
        Ok(items)
    }

    /// How much of a class an account has: records (hidden ones not counted) and bytes as stored.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn usage(&self, sid: &AccountSid, class: Class) -> Result<(u64, u64)> {
        if class == Class::Recording {
            let days = self.catalog.list_recording_days(sid).await?;
            return Ok(days
                .iter()
                .fold((0, 0), |sum, day| (sum.0 + day.count, sum.1 + day.bytes)));
        }
        let mut documents = (0, 0);
        for kind in DocumentKind::ALL.into_iter().filter(|kind| kind.class() == class) {
            let (count, bytes) = self.catalog.count_documents(sid, kind).await?;
            documents = (documents.0 + count, documents.1 + bytes);
        }
        let rows = self.catalog.list_partitions(sid, class, all_days()).await?;
        Ok(rows.iter().fold(documents, |sum, row| {
            (
                sum.0 + (row.loose_rows + row.sealed_rows).saturating_sub(row.tombstones),
                sum.1 + row.bytes,
            )
        }))
    }
}

pub(crate) const fn all_days() -> std::ops::Range<Day> {
    Day(i32::MIN)..Day(i32::MAX)
}
