//! What is told of a campaign, as the platform tells it: of every call, of every number, and of the end.

use callvault_core::{
    Sid, TimeUs,
    campaign::{End, Progress, Target},
    time::SECOND_US,
};
use serde_json::{Value, json};

use super::Campaign;
use crate::{
    document::Document,
    error::Result,
    line::{Letter, Line, Payload},
    vault::Account,
};

fn letter(url: &str, body: &Value) -> Letter {
    Letter {
        url: url.to_owned(),
        payload: Payload::Json(body.to_string()),
        headers: Vec::new(),
    }
}

impl Line {
    /// A moment as the platform's version 2 writes it: local time with its offset.
    #[must_use]
    pub fn offset_time(&self, account: &Account, at: TimeUs) -> String {
        let offset_s = account.utc_offset_s();
        let shifted = TimeUs(at.0.saturating_add(offset_s * SECOND_US)).to_string();
        let text: String = shifted.chars().take(19).collect();
        let (hours, minutes) = (offset_s / 3_600, offset_s % 3_600 / 60);
        format!("{text}+{hours:02}:{minutes:02}")
    }

    /// Where a campaign's report is.
    #[must_use]
    pub fn report_url(&self, account: &Account, campaign: &Document<Campaign>) -> String {
        let base = &campaign.body.definition.base_url;
        format!(
            "{base}/v2/accounts/{}/campaigns/{}/report.csv",
            account.sid, campaign.id
        )
    }

    pub(super) async fn tell_of_campaign_call(
        &self,
        account: &Account,
        campaign: &Document<Campaign>,
        target: &Target,
        sid: Sid,
        end: End,
    ) -> Result<()> {
        let Some(url) = &campaign.body.definition.call_status_callback else {
            return Ok(());
        };
        let began = target.attempts.last().map_or(end.at, |attempt| attempt.at);
        let body = json!({
            "campaign_sid": campaign.id.to_string(), "call_sid": sid.to_string(),
            "date_created": self.offset_time(account, began), "date_updated": self.offset_time(account, end.at),
            "number": target.number.as_str(), "status": end.status.as_str(),
        });
        let id = format!("callback:{sid}:campaign");
        self.post_later(account, id, "campaign.call", letter(url, &body)).await
    }

    pub(super) async fn tell_of_target(
        &self,
        account: &Account,
        campaign: &Document<Campaign>,
        place: (u32, usize),
        target: &Target,
    ) -> Result<()> {
        let definition = &campaign.body.definition;
        let Some(url) = &definition.call_schedule_callback else {
            return Ok(());
        };
        let calls: Vec<String> = target.attempts.iter().map(|attempt| attempt.sid.to_string()).collect();
        let status = match target.progress {
            Progress::Completed(_) => "completed",
            _ => "failed",
        };
        let ended_at = target.ended_at().unwrap_or(campaign.at);
        let body = json!({
            "campaign_sid": campaign.id.to_string(), "to": target.number.as_str(),
            "from": definition.caller_id.as_str(), "call_sids": calls, "status": status,
            "name": target.name, "custom_field": definition.custom_field,
            "date_created": self.offset_time(account, campaign.at),
            "date_updated": self.offset_time(account, ended_at),
        });
        let id = format!("callback:{}:{}:{}", campaign.id, place.0, place.1);
        self.post_later(account, id, "campaign.number", letter(url, &body))
            .await
    }

    pub(super) async fn tell_of_campaign(&self, account: &Account, campaign: &Document<Campaign>) -> Result<()> {
        let body = &campaign.body;
        let (id, now) = (campaign.id.to_string(), self.vault.now());
        if let Some(url) = &body.definition.status_callback {
            let told = json!({
                "campaign_sid": id, "status": body.status.as_str(),
                "date_created": self.offset_time(account, campaign.at),
                "date_updated": self.offset_time(account, now),
                "report_url": self.report_url(account, campaign),
            });
            let job = format!("callback:{id}:end");
            self.post_later(account, job, "campaign.ended", letter(url, &told))
                .await?;
        }
        let data = json!({ "id": id, "status": body.status.as_str(), "stats": body.stats });
        let event = format!("campaign:{id}");
        self.emit(account, "campaign.ended", &event, now, data).await
    }
}
