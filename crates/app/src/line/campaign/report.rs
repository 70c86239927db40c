//! A campaign's report: a record of class `campaign_report` for every number that is through, and its calls one by one.

use callvault_core::{
    Class, DocumentKind, Number, Reader, Record, Sid,
    campaign::{Attempt, Report, Target},
    record::Entry,
};

use super::{Campaign, Page};
use crate::{
    document::Document,
    error::{Result, VaultError},
    export::report_csv,
    line::Line,
    vault::Account,
};

/// A call of a campaign.
pub struct CallDetail {
    /// Whom it was to.
    pub number: Number,
    /// What a list calls them.
    pub name: Option<String>,
    /// The call.
    pub attempt: Attempt,
}

impl Line {
    /// Makes records of who is through and was not reported yet, and tells of them. The ids are made of the campaign and the
    /// number's place in it, so that nothing is there twice.
    pub(super) async fn report_ends(
        &self,
        account: &Account,
        campaign: &Document<Campaign>,
        page: &mut Page,
    ) -> Result<()> {
        let mut records = Vec::new();
        for (index, target) in page.targets.iter().enumerate() {
            if target.ended_at().is_some() && !target.reported {
                records.extend(report_of(account, campaign, (page.number, index), target));
            }
        }
        if records.is_empty() {
            return Ok(());
        }
        for taken in self.vault.ingest_into(account, &records).await? {
            // One that lapsed already is gone, as it should be.
            if let crate::ingest::Taken::Rejected { code, .. } = taken
                && code != "expired"
            {
                return Err(VaultError::Damaged {
                    what: "campaign",
                    reason: format!("its report is refused: {code}"),
                });
            }
        }
        let number = page.number;
        for (index, target) in page.targets.iter_mut().enumerate() {
            if target.ended_at().is_some() && !target.reported {
                self.tell_of_target(account, campaign, (number, index), target).await?;
                target.reported = true;
            }
        }
        Ok(())
    }

    /// A campaign's numbers, page by page.
    async fn list_pages(&self, account: &Account, campaign: &Document<Campaign>) -> Result<Vec<Page>> {
        let ids: Vec<Sid> = campaign.body.pages.iter().map(|page| page.id).collect();
        let mut pages = Vec::with_capacity(ids.len());
        for some in ids.chunks(super::PAGE as usize) {
            let kind = DocumentKind::CampaignPage;
            let found = self
                .vault
                .find_documents::<Page>(account, kind, some, Reader::Account)
                .await?;
            pages.extend(found.into_iter().map(|page| page.body));
        }
        pages.sort_by_key(|page| page.number);
        Ok(pages)
    }

    /// Every call of a campaign so far, oldest first.
    ///
    /// # Errors
    /// Those of the stores.
    pub async fn list_campaign_calls(
        &self,
        account: &Account,
        campaign: &Document<Campaign>,
    ) -> Result<Vec<CallDetail>> {
        let mut calls = Vec::new();
        for target in self
            .list_pages(account, campaign)
            .await?
            .into_iter()
            .flat_map(|page| page.targets)
        {
            let (number, name) = (target.number, target.name);
            calls.extend(target.attempts.into_iter().map(|attempt| CallDetail {
                number: number.clone(),
                name: name.as_ref().map(ToString::to_string),
                attempt,
            }));
        }
        calls.sort_by_key(|call| (call.attempt.at, call.attempt.sid));
        Ok(calls)
    }

    /// The report of who is through, as CSV.
    ///
    /// # Errors
    /// Those of the stores.
    pub async fn campaign_report(&self, account: &Account, campaign: &Document<Campaign>) -> Result<Vec<u8>> {
        let mut records = Vec::new();
        for page in self.list_pages(account, campaign).await? {
            let targets = page.targets.iter().enumerate();
            records.extend(
                targets.filter_map(|(index, target)| report_of(account, campaign, (page.number, index), target)),
            );
        }
        records.sort_by_key(|record| (record.at(), record.sid()));
        Ok(report_csv(&records))
    }
}

/// The record of a number that is through.
fn report_of(account: &Account, campaign: &Document<Campaign>, place: (u32, usize), target: &Target) -> Option<Record> {
    let at = target.ended_at()?;
    let definition = &campaign.body.definition;
    let report = Report::of(target, &definition.caller_id, definition.custom_field.as_deref());
    let source = format!("{}/{}/{}", campaign.id, place.0, place.1);
    let entry = Entry {
        sid: account.sid_of_source(Class::CampaignReport, &source, at),
        at,
        name: campaign.id.to_string().into(),
        subject: target.number.clone(),
        detail: serde_json::to_string(&report).ok().map(String::into_boxed_str),
    };
    Record::of_log(Class::CampaignReport, entry)
}
