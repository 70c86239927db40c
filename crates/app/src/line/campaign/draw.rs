//! Drawing up a campaign's numbers: those that were named, those of its lists, without those that are suppressed.

use std::collections::HashSet;

use super::{Campaign, PAGE_TARGETS, Page, PageNote};
use crate::{
    document::{Document, DocumentQuery, NewDocument},
    error::{Result, VaultError},
    line::Line,
    vault::Account,
};
use callvault_core::{
    DocumentKind, Reader, Sid, TimeUs,
    campaign::{Stats, Status, Target},
};

/// Contacts asked for at once.
const CONTACTS: u32 = 1_000;
/// Most numbers of a campaign, lists and all.
pub(super) const MAX_DRAWN: usize = 100_000;

impl PageNote {
    pub(super) fn of(id: Sid, targets: &[Target]) -> Self {
        use callvault_core::campaign::Progress;
        let waiting = targets.iter().filter_map(|target| match target.progress {
            Progress::Waiting(at) => Some(at),
            _ => None,
        });
        let is_calling = |target: &&Target| target.progress == Progress::Calling;
        let is_unreported = |target: &&Target| target.ended_at().is_some() && !target.reported;
        Self {
            id,
            stats: Stats::of(targets),
            waiting_from: waiting.min(),
            calling: targets.iter().filter(is_calling).count() as u64,
            unreported: targets.iter().filter(is_unreported).count() as u64,
        }
    }
}

impl Line {
    /// Draws a campaign's numbers up. All pages are written together, so that whoever does it again after a crash finds
    /// them all or none.
    pub(super) async fn draw_up(&self, account: &Account, document: &Document<Campaign>) -> Result<Document<Campaign>> {
        let now = self.vault.now();
        let mut body = document.body.clone();
        body.pages = self.find_drawn(account, document).await?;
        if body.pages.is_empty() {
            body.left_out = self.write_pages(account, document, now).await?;
            body.pages = self.find_drawn(account, document).await?;
        }
        body.numbers = Vec::new();
        body.stats = sum(&body.pages);
        body.begun_at = Some(now);
        if body.status == Status::Created {
            body.status = match body.stats.created {
                0 => Status::Failed,
                _ => Status::InProgress,
            };
        }
        let changed = self.vault.replace_document(document, None, body).await?;
        changed.ok_or(VaultError::NotFound { what: "campaign" })
    }

    /// Writes all pages at once. Returns how many numbers were left out.
    async fn write_pages(&self, account: &Account, document: &Document<Campaign>, now: TimeUs) -> Result<u64> {
        let (targets, left_out) = self.find_targets(account, &document.body, now).await?;
        let pages: Vec<NewDocument<Page>> = (0..)
            .zip(targets.chunks(PAGE_TARGETS))
            .map(|(number, targets)| NewDocument {
                id: page_id(account, document, number),
                // They go when the campaign goes.
                at: document.at,
                name: None,
                body: Page {
                    campaign: document.id,
                    number,
                    targets: targets.to_vec(),
                },
            })
            .collect();
        let kind = DocumentKind::CampaignPage;
        self.vault.insert_documents(account, kind, &pages, None).await?;
        Ok(left_out)
    }

    /// The pages that were written, by this or an earlier attempt.
    async fn find_drawn(&self, account: &Account, document: &Document<Campaign>) -> Result<Vec<PageNote>> {
        let mut notes = Vec::new();
        for number in 0.. {
            let kind = DocumentKind::CampaignPage;
            let id = page_id(account, document, number);
            let page = self
                .vault
                .find_document::<Page>(account, kind, id, Reader::Account)
                .await?;
            let Some(page) = page else { break };
            notes.push(PageNote::of(id, &page.body.targets));
        }
        Ok(notes)
    }

    /// Whom to call, and how many were left out.
    async fn find_targets(&self, account: &Account, body: &Campaign, now: TimeUs) -> Result<(Vec<Target>, u64)> {
        let named = body.numbers.iter().map(|number| Target::new(number.clone(), None, now));
        let mut wanted: Vec<Target> = named.collect();
        for list in &body.definition.lists {
            self.add_contacts(account, *list, now, &mut wanted).await?;
        }
        if !body.definition.call_duplicate_numbers {
            let mut seen = HashSet::new();
            wanted.retain(|target| seen.insert(target.number.clone()));
        }
        wanted.truncate(MAX_DRAWN);
        let (mut targets, mut left_out) = (Vec::with_capacity(wanted.len()), 0);
        for some in wanted.chunks(CONTACTS as usize) {
            let hashes: Vec<[u8; 16]> = some.iter().map(|target| account.number_hash(&target.number)).collect();
            let suppressed = self.vault.find_suppressed(account, &hashes).await?;
            for (target, hash) in some.iter().zip(&hashes) {
                match suppressed.contains(hash) {
                    true => left_out += 1,
                    false => targets.push(target.clone()),
                }
            }
        }
        Ok((targets, left_out))
    }

    async fn add_contacts(&self, account: &Account, list: Sid, now: TimeUs, wanted: &mut Vec<Target>) -> Result<()> {
        let mut query = DocumentQuery {
            list: Some(list),
            limit: CONTACTS,
            ..DocumentQuery::default()
        };
        loop {
            let page = self.vault.page_contacts(account, &mut query).await?;
            wanted.extend(page.into_iter().map(|contact| {
                let name = contact.body.full_name();
                let name = (!name.is_empty()).then(|| name.into());
                Target {
                    contact: Some(contact.id),
                    ..Target::new(contact.body.number, name, now)
                }
            }));
            if query.after.is_none() || wanted.len() >= MAX_DRAWN {
                return Ok(());
            }
        }
    }
}

/// The sum of these pages.
pub(super) fn sum(pages: &[PageNote]) -> Stats {
    pages.iter().fold(Stats::default(), |sum, page| sum.plus(page.stats))
}

/// Always the same for the same campaign and number.
fn page_id(account: &Account, document: &Document<Campaign>, number: u32) -> Sid {
    let text = format!("{}/{number}", document.id);
    Sid::new(document.at, account.keys.blind.tail("campaign-page", &text))
}
