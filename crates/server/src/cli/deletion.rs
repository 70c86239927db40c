//! `delete`: says what will go, asks, and deletes for good.

use callvault_app::{
    Vault,
    core::{AccountSid, Cause, Class, Reader, Sid},
    store::rows::RecordingQuery,
};
use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    CliError, Done, Output,
    output::{show_bytes, show_counted},
    parse_account, parse_sid,
};
use crate::site::Site;

#[derive(Subcommand)]
pub(super) enum Delete {
    /// Delete a recording.
    Recording {
        /// Account.
        #[arg(value_parser = parse_account)]
        account: AccountSid,
        /// The recording.
        #[arg(value_parser = parse_sid)]
        sid: Sid,
        /// The recording's SID again, instead of typing it.
        #[arg(long, value_name = "SID")]
        confirm: Option<String>,
    },
    /// Delete calls or messages that should never have been put in.
    Records(Records),
    /// Delete everything of an account, and the account.
    Account {
        /// Account.
        #[arg(value_parser = parse_account)]
        account: AccountSid,
        /// The account's name again, instead of typing it.
        #[arg(long, value_name = "ACCOUNT")]
        confirm: Option<String>,
    },
}

#[derive(Args)]
pub(super) struct Records {
    /// Account.
    #[arg(value_parser = parse_account)]
    account: AccountSid,
    /// call or message.
    #[arg(long)]
    class: String,
    /// The records.
    #[arg(required = true, value_parser = parse_sid)]
    sids: Vec<Sid>,
    /// The account's name, instead of typing it.
    #[arg(long, value_name = "ACCOUNT")]
    confirm: Option<String>,
}

impl Delete {
    pub(super) async fn run(self, site: &Site, out: &Output) -> Done {
        match self {
            Self::Recording { account, sid, confirm } => {
                let vault = site.open_vault_of(&account).await?;
                let view = vault.get_recording(&account, sid, Reader::Compliance).await?;
                vault.check_recording_deletion(&account, sid, Cause::Request).await?;
                let what = format!("Deletes recording {sid} of {} ({}).", view.at, show_bytes(view.bytes));
                out.confirm(&sid.to_string(), confirm.as_deref(), &what)?;
                let entries = vault.delete_recordings(&account, &[sid], Cause::Request).await?;
                finish(&vault, out, &account, 1, &entries).await
            }
            Self::Records(records) => records.run(site, out).await,
            Self::Account { account, confirm } => {
                let vault = site.open_vault_of(&account).await?;
                vault.check_closure(&account).await?;
                let mut total = 0;
                let mut parts = Vec::new();
                for class in [Class::Call, Class::Message, Class::Recording] {
                    let (records, bytes) = vault.usage(&account, class).await?;
                    total += records;
                    parts.push(format!(
                        "{} ({})",
                        show_counted(records, class.as_str()),
                        show_bytes(bytes)
                    ));
                }
                let what = format!(
                    "Deletes account {account} with {}. Export first what is still needed.",
                    parts.join(", ")
                );
                out.confirm(account.as_str(), confirm.as_deref(), &what)?;
                let entries = vault.close_account(&account).await?;
                finish(&vault, out, &account, total, &entries).await
            }
        }
    }
}

impl Records {
    async fn run(self, site: &Site, out: &Output) -> Done {
        let class = match self.class.parse() {
            Ok(class @ (Class::Call | Class::Message)) => class,
            _ => return Err(CliError::Usage("--class: expected call or message".to_owned())),
        };
        let vault = site.open_vault_of(&self.account).await?;
        let records = show_counted(self.sids.len() as u64, &format!("{class} record"));
        let left = match class {
            Class::Call => self.count_recordings(&vault).await?,
            _ => 0,
        };
        let mut what = format!("Deletes {records} as put in by mistake.");
        if left > 0 {
            let left = show_counted(left, "recording");
            what += &format!(" The calls' {left} would stay: delete them with `callvault delete recording`.");
        }
        out.confirm(self.account.as_str(), self.confirm.as_deref(), &what)?;
        let entries = vault
            .erase_records(&self.account, class, &self.sids, Cause::IngestError)
            .await?;
        finish(&vault, out, &self.account, self.sids.len() as u64, &entries).await
    }

    /// Recordings of these calls.
    async fn count_recordings(&self, vault: &Vault) -> Result<u64, CliError> {
        let mut count = 0;
        for sid in &self.sids {
            let query = RecordingQuery {
                call_sid: Some(*sid),
                limit: 100,
                ..RecordingQuery::default()
            };
            let (found, _) = vault.list_recordings(&self.account, query, Reader::Compliance).await?;
            count += found.len() as u64;
        }
        Ok(count)
    }
}

async fn finish(vault: &Vault, out: &Output, account: &AccountSid, records: u64, entries: &[u64]) -> Done {
    // The deletion stands even if the log cannot be published now; the next tick does it.
    let published = vault.publish().await.is_ok();
    out.show(
        &json!({ "account": account, "records": records, "log_entries": entries, "published": published }),
        || {
            let mut text = format!("deleted: {}, unreadable now\n", show_counted(records, "record"));
            for entry in entries {
                text += &format!("certificate: callvault certificate {account} {entry}\n");
            }
            text
        },
    )
}
