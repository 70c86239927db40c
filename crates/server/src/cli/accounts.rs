//! `accounts`.

use callvault_app::{
    VaultError,
    core::{AccountSid, Class, Plan},
};
use clap::Subcommand;
use serde_json::json;

use super::{CliError, Done, Output, output::show_count, parse_account};
use crate::site::Site;

#[derive(Subcommand)]
pub(super) enum Accounts {
    /// Create an account. Its region cannot be changed.
    Create {
        /// Name: 3 to 64 characters of a-z, 0-9, _ and -.
        #[arg(value_parser = parse_account)]
        account: AccountSid,
        /// Region.
        #[arg(long)]
        region: String,
        /// starter, growth or enterprise.
        #[arg(long, default_value = "starter", value_parser = parse_plan)]
        plan: Plan,
        /// Country that national numbers are read in (ISO 3166).
        #[arg(long)]
        country: String,
    },
    /// List accounts, with what they hold.
    List,
}

pub(super) fn parse_plan(text: &str) -> Result<Plan, String> {
    text.parse()
        .map_err(|error: callvault_app::core::id::BadId| error.to_string())
}

impl Accounts {
    pub(super) async fn run(self, site: &Site, out: &Output) -> Done {
        match self {
            Self::Create {
                account,
                region,
                plan,
                country,
            } => {
                let country = country.to_ascii_uppercase();
                site.create_account(&account, &region, plan, &country).await?;
                out.show(
                    &json!({ "account": account, "region": region, "plan": plan.as_str() }),
                    || format!("account {account} created in region {region}, plan {plan}"),
                )
            }
            Self::List => list(site, out).await,
        }
    }
}

async fn list(site: &Site, out: &Output) -> Done {
    // A region that cannot be opened must not look like one without accounts.
    site.open_here().await?;
    let mut rows = Vec::new();
    let mut lines = String::new();
    for (account, region) in site
        .directory
        .list()
        .map_err(|error| CliError::Failed(error.to_string()))?
    {
        let here = site
            .config
            .get_region(&region)
            .is_ok_and(|region| region.here.is_some());
        if !here {
            rows.push(json!({ "account": account, "region": region, "elsewhere": true }));
            lines += &format!("{account:24} {region:8} elsewhere\n");
            continue;
        }
        let vault = site.open_vault(&region).await?;
        let open = match vault.get_account(&account).await {
            Ok(open) => open,
            // Closed accounts stay in the directory: their names are not given away again. A name without a closure is
            // what a crash left of a creation; it holds nothing.
            Err(VaultError::NotFound { .. }) => {
                if !vault.list_deletions(&account, None, 1).await?.is_empty() {
                    rows.push(json!({ "account": account, "region": region, "closed": true }));
                    lines += &format!("{account:24} {region:8} closed\n");
                }
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let mut counts = Vec::new();
        for class in [Class::Call, Class::Message, Class::Recording] {
            counts.push(vault.usage(&account, class).await?.0);
        }
        let plan = open.policy.plan_at(vault.now());
        let [calls, messages, recordings] = counts.as_slice() else {
            continue;
        };
        rows.push(json!({
            "account": account, "region": region, "plan": plan.as_str(),
            "calls": calls, "messages": messages, "recordings": recordings,
        }));
        lines += &format!(
            "{account:24} {region:8} {plan:10} {:>12} calls {:>12} messages {:>8} recordings\n",
            show_count(*calls),
            show_count(*messages),
            show_count(*recordings)
        );
    }
    out.show(&json!({ "accounts": rows }), || {
        if lines.is_empty() {
            "no accounts".to_owned()
        } else {
            lines
        }
    })
}
