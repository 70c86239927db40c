//! `retention`, `plan` and `forecast`.

use callvault_app::core::{AccountSid, Plan, TimeUs};
use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    Done, Output,
    accounts::parse_plan,
    output::{show_bytes, show_count, show_counted},
    parse_account, parse_time,
};
use crate::{
    api::{
        forecast::get::ForecastRowBody,
        retention::body::{ChangeBody, RetentionBody},
    },
    site::Site,
};

#[derive(Subcommand)]
pub(super) enum Retention {
    /// Show how long an account's data is kept.
    Show {
        /// Account.
        #[arg(value_parser = parse_account)]
        account: AccountSid,
    },
    /// Say what a new setting would delete, without setting it.
    Preview {
        /// Account.
        #[arg(value_parser = parse_account)]
        account: AccountSid,
        /// Days to keep recordings.
        #[arg(long)]
        recording_days: u32,
    },
    /// Set how long recordings are kept.
    Set {
        /// Account.
        #[arg(value_parser = parse_account)]
        account: AccountSid,
        /// Days to keep recordings.
        #[arg(long)]
        recording_days: u32,
        /// The account's name, when the setting deletes something sooner.
        #[arg(long, value_name = "ACCOUNT")]
        confirm: Option<String>,
    },
}

#[derive(Subcommand)]
pub(super) enum PlanCommand {
    /// Change the plan; a smaller one may delete recordings sooner, after notice.
    Set {
        /// Account.
        #[arg(value_parser = parse_account)]
        account: AccountSid,
        /// starter, growth or enterprise.
        #[arg(value_parser = parse_plan)]
        plan: Plan,
        /// The account's name, when the change deletes something sooner.
        #[arg(long, value_name = "ACCOUNT")]
        confirm: Option<String>,
    },
}

/// Arguments of `forecast`.
#[derive(Args)]
pub(super) struct Forecast {
    /// Account.
    #[arg(value_parser = parse_account)]
    account: AccountSid,
    /// Up to this moment; 30 days ahead if absent.
    #[arg(long, value_parser = parse_time)]
    to: Option<TimeUs>,
}

fn show_change(change: &ChangeBody) -> String {
    let mut text = format!(
        "recordings kept {} instead of {}, from {}\n",
        show_counted(u64::from(change.recording_days), "day"),
        change.previous_days,
        change.effective_at
    );
    let deletes = &change.deletes;
    match &deletes.first_at {
        Some(first_at) => {
            let (records, bytes) = (show_counted(deletes.records, "recording"), show_bytes(deletes.bytes));
            text += &format!("deletes {records} ({bytes}) sooner, the first at {first_at}\n");
        }
        None => text += "deletes nothing sooner\n",
    }
    if deletes.held > 0 {
        text += &format!(
            "held, and kept until their hold is lifted: {} more\n",
            show_count(deletes.held)
        );
    }
    text
}

impl Retention {
    pub(super) async fn run(self, site: &Site, out: &Output) -> Done {
        match self {
            Self::Show { account } => {
                let vault = site.open_vault_of(&account).await?;
                let body = RetentionBody::new(&vault.get_account(&account).await?.policy, vault.now());
                out.show(&body, || {
                    let mut text = format!(
                        "plan {}: recordings {} days (at most {}), notice {} days\n",
                        body.plan, body.recording_days, body.recording_days_limit, body.notice_days
                    );
                    for change in &body.scheduled {
                        text += &format!(
                            "from {}: plan {}, recordings {} days\n",
                            change.effective_at, change.plan, change.recording_days
                        );
                    }
                    for term in &body.classes {
                        text += &format!("{:18} {}\n", term.class, term.term);
                    }
                    for floor in &body.floors {
                        text += &format!("floor {} {}: {}\n", floor.class, floor.term, floor.law);
                    }
                    text
                })
            }
            Self::Preview {
                account,
                recording_days,
            } => {
                let vault = site.open_vault_of(&account).await?;
                let (change, preview) = vault.preview_retention(&account, recording_days).await?;
                let body = ChangeBody::new(&change, &preview);
                out.show(&body, || show_change(&body))
            }
            Self::Set {
                account,
                recording_days,
                confirm,
            } => {
                let vault = site.open_vault_of(&account).await?;
                let (change, preview) = vault.preview_retention(&account, recording_days).await?;
                if preview.records > 0 {
                    let what = show_change(&ChangeBody::new(&change, &preview));
                    out.confirm(account.as_str(), confirm.as_deref(), what.trim_end())?;
                }
                let (change, preview) = vault.set_retention(&account, recording_days).await?;
                let body = ChangeBody::new(&change, &preview);
                out.show(&body, || show_change(&body))
            }
        }
    }
}

impl PlanCommand {
    pub(super) async fn run(self, site: &Site, out: &Output) -> Done {
        let Self::Set { account, plan, confirm } = self;
        let vault = site.open_vault_of(&account).await?;
        let (_, preview) = vault.preview_plan(&account, plan).await?;
        if preview.records > 0 {
            let (records, bytes) = (show_counted(preview.records, "recording"), show_bytes(preview.bytes));
            let what = format!("Deletes {records} ({bytes}) sooner.");
            out.confirm(account.as_str(), confirm.as_deref(), &what)?;
        }
        let (change, preview) = vault.set_plan(&account, plan).await?;
        let effective_at = change.effective_at.to_string();
        let first_at = preview.first_at.map(|at| at.to_string());
        let value = json!({
            "plan": plan.as_str(), "previous_plan": change.previous_plan.as_str(), "effective_at": effective_at,
            "deletes_sooner": preview.records, "first_at": first_at,
        });
        out.show(&value, || {
            let mut text = format!("plan {plan} instead of {}, from {effective_at}\n", change.previous_plan);
            if let Some(first_at) = &first_at {
                let (records, bytes) = (show_counted(preview.records, "recording"), show_bytes(preview.bytes));
                text += &format!("deletes {records} ({bytes}) sooner, the first at {first_at}\n");
            }
            text
        })
    }
}

impl Forecast {
    pub(super) async fn run(self, site: &Site, out: &Output) -> Done {
        let vault = site.open_vault_of(&self.account).await?;
        let to = self.to.unwrap_or_else(|| vault.now().plus_days(30));
        let rows = vault.forecast(&self.account, to).await?;
        let rows: Vec<_> = rows.iter().map(ForecastRowBody::from).collect();
        out.show(&json!({ "to": to.to_string(), "rows": rows }), || {
            show_forecast(&rows, to)
        })
    }
}

/// A forecast as a table.
pub(crate) fn show_forecast(rows: &[ForecastRowBody], to: TimeUs) -> String {
    if rows.is_empty() {
        return format!("nothing is deleted until {to}");
    }
    let mut text = String::new();
    for row in rows {
        let (records, bytes) = (show_count(row.records), show_bytes(row.bytes));
        text += &format!(
            "{}  {:18} {records:>10}  {bytes:>12}  {}\n",
            row.day, row.class, row.because
        );
    }
    text
}
