//! `exophones`: which numbers of the platform an account has.

use callvault_app::{
    Vault,
    core::{AccountSid, Number, Sid},
    document::Document,
    exophone::{Exophone, MAX_EXOPHONES},
};
use clap::Subcommand;
use serde_json::{Value, json};

use super::{CliError, Done, Output, parse_account};
use crate::site::Site;

#[derive(Subcommand)]
pub(super) enum Exophones {
    /// List an account's numbers.
    List {
        /// Account.
        #[arg(value_parser = parse_account)]
        account: AccountSid,
    },
    /// Give an account a number.
    Add {
        /// Account.
        #[arg(value_parser = parse_account)]
        account: AccountSid,
        /// The number; a national one is read in the account's country.
        number: String,
        /// What people call it.
        #[arg(long)]
        name: Option<String>,
    },
    /// Take a number away from an account.
    Release {
        /// Account.
        #[arg(value_parser = parse_account)]
        account: AccountSid,
        /// The number, or its SID.
        exophone: String,
    },
}

fn json_of(exophone: &Document<Exophone>) -> Value {
    let (number, name) = (exophone.body.number.as_str(), &exophone.body.friendly_name);
    json!({ "sid": exophone.id.to_string(), "number": number, "name": name, "since": exophone.at.to_string() })
}

fn show(exophone: &Document<Exophone>) -> String {
    let (number, name) = (exophone.body.number.as_str(), &exophone.body.friendly_name);
    format!("{}  {number}  {name}\n", exophone.id)
}

impl Exophones {
    pub(super) async fn run(self, site: &Site, out: &Output) -> Done {
        match self {
            Self::List { account } => {
                let vault = site.open_vault_of(&account).await?;
                let loaded = vault.get_account(&account).await?;
                let most = u32::try_from(MAX_EXOPHONES).unwrap_or(u32::MAX);
                let (found, _) = vault.list_exophones(&loaded, 0, most).await?;
                let all: Vec<Value> = found.iter().map(json_of).collect();
                out.show(&json!({ "exophones": all }), || match found.is_empty() {
                    true => "no numbers".to_owned(),
                    false => found.iter().map(show).collect(),
                })
            }
            Self::Add { account, number, name } => {
                let vault = site.open_vault_of(&account).await?;
                let loaded = vault.get_account(&account).await?;
                let number = Number::parse(&number, loaded.country);
                let number = number.map_err(|error| CliError::Usage(format!("the number is {error}")))?;
                let exophone = Exophone {
                    friendly_name: name.unwrap_or_else(|| number.as_str().to_owned()),
                    number,
                    voice_url: None,
                    sms_url: None,
                };
                let made = vault.add_exophone(&loaded, exophone).await?;
                out.show(&json_of(&made), || show(&made))
            }
            Self::Release { account, exophone } => {
                let vault = site.open_vault_of(&account).await?;
                let sid = find(&vault, &account, &exophone).await?;
                let entries = vault.release_exophone(&account, sid).await?;
                out.show(&json!({ "released": sid.to_string(), "log_entries": entries }), || {
                    format!("released {exophone}")
                })
            }
        }
    }
}

/// An account's number by its SID or as people write it.
async fn find(vault: &Vault, account: &AccountSid, text: &str) -> Result<Sid, CliError> {
    if let Ok(sid) = text.parse() {
        return Ok(sid);
    }
    let account = vault.get_account(account).await?;
    let number = Number::parse(text, account.country);
    let number = number.map_err(|error| CliError::Usage(format!("the number is {error}")))?;
    let most = u32::try_from(MAX_EXOPHONES).unwrap_or(u32::MAX);
    let (found, _) = vault.list_exophones(&account, 0, most).await?;
    let found = found.iter().find(|exophone| exophone.body.number == number);
    let found = found.ok_or_else(|| {
        CliError::Refused(format!(
            "{account} has no such number; `exophones list` shows all",
            account = account.sid
        ))
    })?;
    Ok(found.id)
}
