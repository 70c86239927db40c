//! `users` and `operators`.

use callvault_app::{
    Vault,
    account::Role,
    core::{AccountSid, id::UserId},
    realm::Realm,
    user::{InvitationLetter, User, UserChange},
};
use clap::Subcommand;
use serde_json::json;
use std::sync::Arc;

use super::{CliError, Done, Output, parse_account, tokens::parse_role};
use crate::site::Site;

#[derive(Subcommand)]
pub(super) enum Users {
    /// Invite a person. The invitation is shown once.
    Invite {
        /// Account.
        #[arg(value_parser = parse_account)]
        account: AccountSid,
        /// E-mail address.
        email: String,
        /// Name.
        #[arg(long)]
        name: Option<String>,
        /// owner, admin, developer, compliance, support or auditor.
        #[arg(long, value_parser = parse_role)]
        role: Role,
    },
    /// List an account's users.
    List {
        /// Account.
        #[arg(value_parser = parse_account)]
        account: AccountSid,
    },
    /// Keep a user out, let one in again, invite one again, or remove one.
    #[command(flatten)]
    Change(Change<AccountArg>),
}

#[derive(Subcommand)]
pub(super) enum Operators {
    /// Invite one of the operator's people. The invitation is shown once.
    Invite {
        /// E-mail address.
        email: String,
        /// Name.
        #[arg(long)]
        name: Option<String>,
        /// Region, when several are here.
        #[arg(long)]
        region: Option<String>,
    },
    /// List the operator's people of a region.
    List {
        /// Region, when several are here.
        #[arg(long)]
        region: Option<String>,
    },
    /// Keep one out, let one in again, invite one again, or remove one.
    #[command(flatten)]
    Change(Change<RegionArg>),
}

/// Whose user.
#[derive(clap::Args)]
pub(super) struct AccountArg {
    /// Account.
    #[arg(value_parser = parse_account)]
    account: AccountSid,
}

/// Which region's.
#[derive(clap::Args)]
pub(super) struct RegionArg {
    /// Region, when several are here.
    #[arg(long)]
    region: Option<String>,
}

#[derive(Subcommand)]
pub(super) enum Change<W: clap::Args> {
    /// Keep a user out; sessions end at once.
    Disable {
        #[command(flatten)]
        whose: W,
        /// Identifier of the user.
        #[arg(value_parser = parse_user)]
        user: UserId,
    },
    /// Let a user in again.
    Enable {
        #[command(flatten)]
        whose: W,
        /// Identifier of the user.
        #[arg(value_parser = parse_user)]
        user: UserId,
    },
    /// Invite a user again, who lost invitation, password or passkey.
    Reinvite {
        #[command(flatten)]
        whose: W,
        /// Identifier of the user.
        #[arg(value_parser = parse_user)]
        user: UserId,
    },
    /// Remove a user.
    Remove {
        #[command(flatten)]
        whose: W,
        /// Identifier of the user.
        #[arg(value_parser = parse_user)]
        user: UserId,
    },
}

fn parse_user(text: &str) -> Result<UserId, String> {
    text.parse()
        .map_err(|error: callvault_app::core::id::BadId| error.to_string())
}

fn show_letter(out: &Output, letter: &InvitationLetter) -> Done {
    let user = letter.user.to_string();
    let until = letter.until.to_string();
    out.show(
        &json!({ "user": user, "email": letter.email, "invitation": letter.secret, "until": until }),
        || {
            format!(
                "user       {user}\ninvitation {}\nworks once, until {until}. It is not shown again.",
                letter.secret
            )
        },
    )
}

async fn list(out: &Output, vault: &Vault, realm: &Realm) -> Done {
    let users = vault.list_users(realm).await?;
    let state = |user: &User| match (user.disabled_at(), user.joined_at()) {
        (Some(at), _) => format!("disabled {at}"),
        (None, Some(at)) => format!("joined {at}"),
        (None, None) => format!("invited {}", user.created_at()),
    };
    let rows: Vec<_> = users
        .iter()
        .map(|user| {
            json!({
                "user": user.id().to_string(), "email": user.email(), "name": user.name(), "role": user.role().as_str(),
                "passkeys": user.passkeys().len(), "state": state(user),
            })
        })
        .collect();
    out.show(&json!({ "users": rows }), || {
        let line = |user: &User| {
            format!(
                "{}  {:10}  {}  {}\n",
                user.id(),
                user.role().as_str(),
                user.email(),
                state(user)
            )
        };
        match users.is_empty() {
            true => "no users".to_owned(),
            false => users.iter().map(line).collect(),
        }
    })
}

/// Where a user is looked for.
pub(super) trait Whose {
    async fn open(&self, site: &Site) -> Result<(Arc<Vault>, Realm), CliError>;
}

impl Whose for AccountArg {
    async fn open(&self, site: &Site) -> Result<(Arc<Vault>, Realm), CliError> {
        open_account(site, &self.account).await
    }
}

impl Whose for RegionArg {
    async fn open(&self, site: &Site) -> Result<(Arc<Vault>, Realm), CliError> {
        open_operators(site, self.region.as_deref()).await
    }
}

async fn open_account(site: &Site, account: &AccountSid) -> Result<(Arc<Vault>, Realm), CliError> {
    let vault = site.open_vault_of(account).await?;
    let realm = vault.get_realm(Some(account)).await?;
    Ok((vault, realm))
}

async fn open_operators(site: &Site, region: Option<&str>) -> Result<(Arc<Vault>, Realm), CliError> {
    let vault = site.open_vault(&site.choose_region(region)?).await?;
    let realm = vault.operators();
    Ok((vault, realm))
}

impl<W: clap::Args + Whose> Change<W> {
    async fn run(self, site: &Site, out: &Output) -> Done {
        let (disabled, whose, user) = match self {
            Self::Disable { whose, user } => (true, whose, user),
            Self::Enable { whose, user } => (false, whose, user),
            Self::Reinvite { whose, user } => {
                let (vault, realm) = whose.open(site).await?;
                return show_letter(out, &vault.invite_again(&realm, user, None).await?);
            }
            Self::Remove { whose, user } => {
                let (vault, realm) = whose.open(site).await?;
                vault.delete_user(&realm, user, None).await?;
                return out.show(&json!({ "removed": user.to_string() }), || {
                    format!("user {user} removed")
                });
            }
        };
        let (vault, realm) = whose.open(site).await?;
        let change = UserChange {
            disabled: Some(disabled),
            ..UserChange::default()
        };
        vault.change_user(&realm, user, change, None).await?;
        out.show(&json!({ "user": user.to_string(), "disabled": disabled }), || {
            format!("user {user} {}", if disabled { "disabled" } else { "enabled" })
        })
    }
}

impl Users {
    pub(super) async fn run(self, site: &Site, out: &Output) -> Done {
        match self {
            Self::Invite {
                account,
                email,
                name,
                role,
            } => {
                let (vault, realm) = open_account(site, &account).await?;
                let (_, letter) = vault.invite_user(&realm, &email, name, role, None).await?;
                show_letter(out, &letter)
            }
            Self::List { account } => {
                let (vault, realm) = open_account(site, &account).await?;
                list(out, &vault, &realm).await
            }
            Self::Change(change) => change.run(site, out).await,
        }
    }
}

impl Operators {
    pub(super) async fn run(self, site: &Site, out: &Output) -> Done {
        match self {
            Self::Invite { email, name, region } => {
                let (vault, realm) = open_operators(site, region.as_deref()).await?;
                let (_, letter) = vault.invite_user(&realm, &email, name, Role::Operator, None).await?;
                show_letter(out, &letter)
            }
            Self::List { region } => {
                let (vault, realm) = open_operators(site, region.as_deref()).await?;
                list(out, &vault, &realm).await
            }
            Self::Change(change) => change.run(site, out).await,
        }
    }
}
