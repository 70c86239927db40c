//! Campaigns: numbers that are called one after the other, each until it is reached or given up.
//!
//! A campaign is a document, and its numbers are documents of their own, some hundred in each: the *pages*. One job drives
//! it: it looks at the pages where something is due, writes down which calls it begins, and only then orders them, under
//! the SIDs that it wrote down. What a crash leaves undone is found in the pages and done again under the same ids.

mod draw;
mod drive;
mod report;
mod tell;

use callvault_core::{
    DocumentKind, Number, Reader, Sid, TimeUs,
    campaign::{Action, Pace, Retries, Stats, Status, Target, decide_action},
};
use callvault_store::StoreError;
use serde::{Deserialize, Serialize};

use super::{CAMPAIGN, Line};
use crate::{
    document::{Document, DocumentQuery, NewDocument},
    error::{Result, VaultError},
    vault::Account,
};

pub use report::CallDetail;

/// Attempts at a campaign that others keep changing.
const ATTEMPTS: u32 = 8;
/// Documents asked for at once.
const PAGE: u32 = 200;
/// Numbers of a page.
const PAGE_TARGETS: usize = 200;

/// What a campaign is to do.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    /// What people call it.
    pub name: String,
    /// The number that calls.
    pub caller_id: Number,
    /// `static` or `dynamic`.
    pub campaign_type: String,
    /// `ivr` or `greeting`.
    pub flow_type: Option<String>,
    /// The flow that who answers is led into.
    pub url: Option<String>,
    /// What a greeting says.
    pub read_via_text: Option<String>,
    /// Lists whose contacts are called.
    pub lists: Vec<Sid>,
    /// Whether a number that is named twice is called twice.
    pub call_duplicate_numbers: bool,
    /// When who was not reached is called again.
    pub retries: Option<Retries>,
    /// When it begins.
    pub send_at: Option<TimeUs>,
    /// When nobody is called any more.
    pub end_at: Option<TimeUs>,
    /// Who is told of every call's end.
    pub call_status_callback: Option<String>,
    /// Who is told of every number's end.
    pub call_schedule_callback: Option<String>,
    /// Who is told of the campaign's end.
    pub status_callback: Option<String>,
    /// `auto` or `custom`.
    pub mode: String,
    /// Calls a minute.
    pub throttle: u32,
    /// The account's own text.
    pub custom_field: Option<String>,
    /// How often a menu is repeated.
    pub repeat_menu_attempts: Option<u8>,
    /// The address of the door, for the report's.
    pub base_url: String,
}

/// A campaign as it stands.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Campaign {
    /// What it is to do.
    pub definition: Definition,
    /// Where it stands.
    pub status: Status,
    /// How many numbers are how far.
    pub stats: Stats,
    /// Numbers that were named one by one, until they are drawn up.
    numbers: Vec<Number>,
    /// Its numbers, once they are drawn up.
    pages: Vec<PageNote>,
    /// When its numbers were drawn up.
    pub begun_at: Option<TimeUs>,
    /// When all was done and told.
    pub closed_at: Option<TimeUs>,
    /// Numbers that were left out, because they are suppressed.
    pub left_out: u64,
    pace: Pace,
    /// Counts the jobs that drive it; the last one counts.
    run: u32,
}

/// What is known of a page without opening it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct PageNote {
    id: Sid,
    stats: Stats,
    /// When the first of those that wait is due.
    waiting_from: Option<TimeUs>,
    /// How many are being called.
    calling: u64,
    /// How many are through and not reported yet.
    unreported: u64,
}

/// Some of a campaign's numbers.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Page {
    campaign: Sid,
    number: u32,
    targets: Vec<Target>,
}

/// A job that drives a campaign.
#[derive(Serialize, Deserialize)]
struct Drive {
    campaign: Sid,
    run: u32,
}

/// Which campaigns to list.
#[derive(Debug, Clone, Default)]
pub struct CampaignQuery {
    /// Whose names contain this, in any case.
    pub name: Option<String>,
    /// In one of these states; in any when there are none.
    pub statuses: Vec<Status>,
    /// By name; otherwise by the moment they were made.
    pub by_name: bool,
    /// From the last to the first.
    pub descending: bool,
    /// Pass over so many.
    pub offset: usize,
    /// At most this many.
    pub limit: usize,
}

impl Campaign {
    fn has_begun(&self) -> bool {
        self.begun_at.is_some()
    }
}

impl Line {
    /// Makes a campaign. It is durable when this returns, and begins by itself at its time.
    ///
    /// # Errors
    /// [`VaultError::Invalid`] for a list that is not there; those of the stores.
    pub async fn create_campaign(
        &self,
        account: &Account,
        definition: Definition,
        numbers: Vec<Number>,
    ) -> Result<Document<Campaign>> {
        self.check_lists(account, &definition.lists).await?;
        let at = self.vault.now();
        let id = Account::fresh_sid(at)?;
        let mut numbers = numbers;
        if !definition.call_duplicate_numbers {
            let mut seen = std::collections::HashSet::new();
            numbers.retain(|number| seen.insert(number.clone()));
        }
        let created = numbers.len() as u64;
        let starts_at = definition.send_at.map_or(at, |send_at| send_at.max(at));
        let body = Campaign {
            definition,
            status: Status::Created,
            stats: Stats {
                created,
                pending: created,
                ..Stats::default()
            },
            numbers,
            pages: Vec::new(),
            begun_at: None,
            closed_at: None,
            left_out: 0,
            pace: Pace::default(),
            run: 0,
        };
        // The job first: without a campaign it waits for it a while, a campaign without a job would never begin.
        self.enqueue_drive(account, id, 0, starts_at).await?;
        let new = [NewDocument {
            id,
            at,
            name: None,
            body,
        }];
        let kind = DocumentKind::Campaign;
        self.vault.insert_documents(account, kind, &new, None).await?;
        self.wake();
        self.get_campaign(account, id).await
    }

    async fn enqueue_drive(&self, account: &Account, campaign: Sid, run: u32, at: TimeUs) -> Result<()> {
        let id = format!("campaign:{campaign}:{run}");
        self.enqueue(account, CAMPAIGN, &id, at, &Drive { campaign, run }).await
    }

    /// One campaign.
    ///
    /// # Errors
    /// [`VaultError::NotFound`].
    pub async fn get_campaign(&self, account: &Account, id: Sid) -> Result<Document<Campaign>> {
        let found = self.find_campaign(account, id).await?;
        found.ok_or(VaultError::NotFound { what: "campaign" })
    }

    async fn find_campaign(&self, account: &Account, id: Sid) -> Result<Option<Document<Campaign>>> {
        let kind = DocumentKind::Campaign;
        self.vault.find_document(account, kind, id, Reader::Account).await
    }

    /// An account's campaigns, and how many there are in all.
    ///
    /// # Errors
    /// Those of the stores.
    pub async fn list_campaigns(
        &self,
        account: &Account,
        asked: &CampaignQuery,
    ) -> Result<(Vec<Document<Campaign>>, u64)> {
        let wanted = asked.name.as_ref().map(|name| name.to_lowercase());
        let mut found: Vec<Document<Campaign>> = Vec::new();
        let mut query = DocumentQuery {
            limit: PAGE,
            ..DocumentQuery::default()
        };
        loop {
            let kind = DocumentKind::Campaign;
            let page: Vec<Document<Campaign>> = self
                .vault
                .page_documents(account, kind, &mut query, Reader::Account)
                .await?;
            found.extend(page.into_iter().filter_map(|mut document| {
                let body = &mut document.body;
                // Nobody lists numbers, and there may be many.
                body.numbers = Vec::new();
                body.pages = Vec::new();
                let named = wanted
                    .as_ref()
                    .is_none_or(|name| body.definition.name.to_lowercase().contains(name));
                let stands = asked.statuses.is_empty() || asked.statuses.contains(&body.status);
                (named && stands).then_some(document)
            }));
            if query.after.is_none() {
                break;
            }
        }
        if asked.by_name {
            found.sort_by_cached_key(|document| (document.body.definition.name.clone(), document.at, document.id));
        }
        if asked.descending {
            found.reverse();
        }
        let total = found.len() as u64;
        let page = found.into_iter().skip(asked.offset).take(asked.limit).collect();
        Ok((page, total))
    }

    /// Does something to a campaign.
    ///
    /// # Errors
    /// [`VaultError::Refused`] when its status does not allow it; [`VaultError::NotFound`].
    pub async fn act_on_campaign(&self, account: &Account, id: Sid, action: Action) -> Result<Document<Campaign>> {
        for _ in 0..ATTEMPTS {
            let document = self.get_campaign(account, id).await?;
            let mut body = document.body.clone();
            let status = decide_action(body.status, action, body.has_begun()).into_result()?;
            if status == body.status {
                return Ok(document);
            }
            body.status = status;
            if !matches!(action, Action::Pause | Action::Archive) {
                // Whoever drove it may have stopped.
                body.run += 1;
                let now = self.vault.now();
                self.enqueue_drive(account, id, body.run, now).await?;
            }
            match self.vault.replace_document(&document, None, body).await {
                Err(VaultError::Store(StoreError::Conflict { .. })) => {}
                Ok(changed) => return changed.ok_or(VaultError::NotFound { what: "campaign" }),
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::Conflict { what: "campaign" }.into())
    }

    /// Changes what a campaign is to do.
    ///
    /// # Errors
    /// Those of `edit`; [`VaultError::NotFound`].
    pub async fn edit_campaign(
        &self,
        account: &Account,
        id: Sid,
        edit: &(dyn Fn(&mut Definition, bool) -> Result<()> + Send + Sync),
    ) -> Result<Document<Campaign>> {
        for _ in 0..ATTEMPTS {
            let document = self.get_campaign(account, id).await?;
            let mut body = document.body.clone();
            let has_begun = body.has_begun() || body.status.is_over();
            edit(&mut body.definition, has_begun)?;
            self.check_lists(account, &body.definition.lists).await?;
            if body.definition.send_at != document.body.definition.send_at {
                body.run += 1;
                let now = self.vault.now();
                let at = body.definition.send_at.map_or(now, |send_at| send_at.max(now));
                self.enqueue_drive(account, id, body.run, at).await?;
            }
            match self.vault.replace_document(&document, None, body).await {
                Err(VaultError::Store(StoreError::Conflict { .. })) => {}
                Ok(changed) => return changed.ok_or(VaultError::NotFound { what: "campaign" }),
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::Conflict { what: "campaign" }.into())
    }

    async fn check_lists(&self, account: &Account, lists: &[Sid]) -> Result<()> {
        let kind = DocumentKind::List;
        let found = self
            .vault
            .find_documents::<serde_json::Value>(account, kind, lists, Reader::Account)
            .await?;
        let missing = lists.iter().position(|id| found.iter().all(|list| list.id != *id));
        match missing {
            Some(at) => Err(VaultError::invalid(
                "lists",
                format!("there is no list number {}", at + 1),
            )),
            None => Ok(()),
        }
    }
}
