//! Campaigns as the platform shows them.

use callvault_app::{Account, core::campaign::Mechanism, document::Document, line::Campaign};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{api::platform::envelope::show_moment, door::Door};

/// A campaign.
#[derive(Serialize, ToSchema)]
pub struct CampaignData {
    /// Identifier.
    pub id: String,
    /// Account.
    pub account_sid: String,
    /// Name.
    pub name: String,
    /// `trans`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The number that calls.
    pub caller_id: String,
    /// `static` or `dynamic`.
    pub campaign_type: String,
    /// `ivr` or `greeting`.
    pub flow_type: Option<String>,
    /// The flow.
    pub url: Option<String>,
    /// What a greeting says.
    pub read_via_text: Option<String>,
    /// Lists whose contacts are called.
    pub lists: Vec<String>,
    /// Whether a number that is named twice is called twice.
    pub call_duplicate_numbers: bool,
    /// When who was not reached is called again.
    pub retries: Option<RetriesData>,
    /// When it begins and ends.
    pub schedule: ScheduleData,
    /// `Created`, `InProgress`, `Paused`, `Completed`, `Failed`, `Canceled` or `Archived`.
    pub status: &'static str,
    /// `auto` or `custom`.
    pub mode: String,
    /// Calls a minute.
    pub throttle: u32,
    /// The account's own text.
    pub custom_field: Option<String>,
    /// How often a menu is repeated.
    pub repeat_menu_attempts: Option<u8>,
    /// Who is told of every call.
    pub call_status_callback: Option<String>,
    /// Who is told of every number.
    pub call_schedule_callback: Option<String>,
    /// Who is told of the end.
    pub status_callback: Option<String>,
    /// How many numbers are how far.
    pub stats: StatsData,
    /// Numbers that were left out, because the person objected.
    pub suppressed: u64,
    /// The report as CSV.
    pub report_url: String,
    /// When it was made.
    #[schema(format = DateTime)]
    pub date_created: String,
    /// When it was changed last.
    #[schema(format = DateTime)]
    pub date_updated: String,
}

/// When who was not reached is called again.
#[derive(Serialize, ToSchema)]
pub struct RetriesData {
    /// Attempts after the first.
    pub number_of_retries: u8,
    /// The first pause.
    pub interval_mins: u16,
    /// `Linear` or `Exponential`.
    pub mechanism: &'static str,
    /// After which ends.
    pub on_status: Vec<&'static str>,
}

/// When a campaign begins and ends.
#[derive(Serialize, ToSchema)]
pub struct ScheduleData {
    /// When it begins; at once if absent.
    pub send_at: Option<String>,
    /// When nobody is called any more.
    pub end_at: Option<String>,
}

/// How many numbers are how far.
#[derive(Serialize, ToSchema)]
pub struct StatsData {
    /// All of them.
    pub created: u64,
    /// Reached.
    pub completed: u64,
    /// Not reached.
    pub failed: u64,
    /// Not through yet.
    pub pending: u64,
}

impl CampaignData {
    /// A campaign of this account.
    #[must_use]
    pub fn of(door: &Door, account: &Account, campaign: &Document<Campaign>) -> Self {
        let (body, definition) = (&campaign.body, campaign.body.definition.clone());
        let retries = definition.retries.map(|retries| RetriesData {
            number_of_retries: retries.number_of_retries,
            interval_mins: retries.interval_mins,
            mechanism: match retries.mechanism {
                Mechanism::Linear => "Linear",
                Mechanism::Exponential => "Exponential",
            },
            on_status: retries.on_status.iter().map(|status| status.as_str()).collect(),
        });
        Self {
            id: campaign.id.to_string(),
            account_sid: account.sid.to_string(),
            name: definition.name,
            kind: "trans",
            caller_id: definition.caller_id.as_str().to_owned(),
            campaign_type: definition.campaign_type,
            flow_type: definition.flow_type,
            url: definition.url,
            read_via_text: definition.read_via_text,
            lists: definition.lists.iter().map(ToString::to_string).collect(),
            call_duplicate_numbers: definition.call_duplicate_numbers,
            retries,
            schedule: ScheduleData {
                send_at: definition.send_at.map(|at| show_moment(account, at)),
                end_at: definition.end_at.map(|at| show_moment(account, at)),
            },
            status: body.status.as_str(),
            mode: definition.mode,
            throttle: definition.throttle,
            custom_field: definition.custom_field,
            repeat_menu_attempts: definition.repeat_menu_attempts,
            call_status_callback: definition.call_status_callback,
            call_schedule_callback: definition.call_schedule_callback,
            status_callback: definition.status_callback,
            stats: StatsData {
                created: body.stats.created,
                completed: body.stats.completed,
                failed: body.stats.failed,
                pending: body.stats.pending,
            },
            suppressed: body.left_out,
            report_url: door.line.report_url(account, campaign),
            date_created: show_moment(account, campaign.at),
            date_updated: show_moment(account, campaign.updated_at),
        }
    }
}
