//! `tokens`.

use callvault_app::{
    account::{NewToken, Role, TokenView},
    core::{AccountSid, TimeUs},
    scope::{Scope, Scopes},
    token::TokenOrder,
};
use clap::Subcommand;
use serde_json::json;

use super::{Done, Output, parse_account, parse_time};
use crate::site::Site;

#[derive(Subcommand)]
pub(super) enum Tokens {
    /// Make a token. The secret is shown once.
    Create {
        /// Account.
        #[arg(value_parser = parse_account)]
        account: AccountSid,
        /// owner, admin, developer, compliance, support or auditor.
        #[arg(long, default_value = "developer", value_parser = parse_role)]
        role: Role,
        /// Narrows the token, such as records:read; may be given again. All that the role may if never.
        #[arg(long = "scope", value_parser = parse_scope)]
        scopes: Vec<Scope>,
        /// What people call it.
        #[arg(long)]
        label: Option<String>,
        /// When it ends by itself, RFC 3339 or a day.
        #[arg(long, value_parser = parse_time)]
        expires: Option<TimeUs>,
    },
    /// List an account's tokens, revoked ones included. Secrets are not kept, and so not shown.
    List {
        /// Account.
        #[arg(value_parser = parse_account)]
        account: AccountSid,
    },
    /// Make a token's successor; the old one lives on for a while. The secret is shown once.
    Rotate {
        /// Account.
        #[arg(value_parser = parse_account)]
        account: AccountSid,
        /// The token's key.
        token_key: String,
        /// Hours that the old one lives on, 0 to 720.
        #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(i64).range(0..=720))]
        overlap_hours: i64,
    },
    /// Revoke a token.
    Revoke {
        /// Account.
        #[arg(value_parser = parse_account)]
        account: AccountSid,
        /// The token's key.
        token_key: String,
    },
}

pub(super) fn parse_role(text: &str) -> Result<Role, String> {
    text.parse()
        .map_err(|error: callvault_app::VaultError| error.to_string())
}

fn parse_scope(text: &str) -> Result<Scope, String> {
    text.parse()
        .map_err(|error: callvault_app::VaultError| error.to_string())
}

fn show_tokens(tokens: &[TokenView]) -> String {
    if tokens.is_empty() {
        return "no tokens".to_owned();
    }
    let line = |token: &TokenView| {
        let mut text = format!("{}  {:10}  created {}", token.token_key, token.role, token.created_at);
        let said = [
            token.label.as_ref().map(|label| format!("\"{label}\"")),
            Some(token.scopes.names().join(" ")).filter(|names| !names.is_empty()),
            token.used_day.map(|day| format!("last used {day}")),
            token.expires_at.map(|at| format!("expires {at}")),
            token.successor.as_ref().map(|key| format!("succeeded by {key}")),
            token.revoked_at.map(|at| format!("revoked {at}")),
        ];
        for part in said.into_iter().flatten() {
            text += &format!(", {part}");
        }
        text + "\n"
    };
    tokens.iter().map(line).collect()
}

fn show_new(out: &Output, account: &AccountSid, token: &NewToken) -> Done {
    out.show(
        &json!({ "account": account, "key": token.token_key, "secret": token.secret }),
        || {
            format!(
                "key    {}\nsecret {}\nThe secret is not shown again.",
                token.token_key, token.secret
            )
        },
    )
}

fn to_json(token: &TokenView) -> serde_json::Value {
    json!({
        "key": token.token_key, "role": token.role, "scopes": token.scopes.names(), "label": token.label,
        "created_at": token.created_at.to_string(),
        "expires_at": token.expires_at.map(|at| at.to_string()),
        "revoked_at": token.revoked_at.map(|at| at.to_string()),
        "last_used": token.used_day.map(|day| day.to_string()), "successor": token.successor,
    })
}

impl Tokens {
    pub(super) async fn run(self, site: &Site, out: &Output) -> Done {
        match self {
            Self::Create {
                account,
                role,
                scopes,
                label,
                expires,
            } => {
                let order = TokenOrder {
                    role,
                    scopes: Scopes::of(scopes),
                    label,
                    expires_at: expires,
                };
                let vault = site.open_vault_of(&account).await?;
                show_new(out, &account, &vault.issue_token(&account, order, None).await?)
            }
            Self::List { account } => {
                let tokens = site.open_vault_of(&account).await?.list_tokens(&account).await?;
                let rows: Vec<_> = tokens.iter().map(to_json).collect();
                out.show(&json!({ "account": account, "tokens": rows }), || show_tokens(&tokens))
            }
            Self::Rotate {
                account,
                token_key,
                overlap_hours,
            } => {
                let vault = site.open_vault_of(&account).await?;
                let overlap_s = overlap_hours * 3_600;
                let new = vault.rotate_token(&account, &token_key, overlap_s, None).await?;
                show_new(out, &account, &new)
            }
            Self::Revoke { account, token_key } => {
                site.open_vault_of(&account)
                    .await?
                    .revoke_token(&account, &token_key)
                    .await?;
                out.show(&json!({ "revoked": token_key }), || {
                    format!("token {token_key} revoked")
                })
            }
        }
    }
}
