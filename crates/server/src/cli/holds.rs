//! `holds`.

use callvault_app::core::{AccountSid, HoldId, Reader, TimeUs};
use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    CliError, Done, Output,
    output::{show_count, show_counted},
    parse_account, parse_time,
};
use crate::{
    api::holds::{
        body::{BlockedBody, HoldBody, ScopeBody},
        create::{NewHold, read_target},
    },
    site::Site,
};

#[derive(Subcommand)]
pub(super) enum Holds {
    /// List an account's holds, lifted ones included.
    List {
        /// Account.
        #[arg(value_parser = parse_account)]
        account: AccountSid,
    },
    /// Place a hold on records, on a number, or on a span of time.
    Place(Place),
    /// Lift a hold; what it alone kept is unreadable at once.
    Lift {
        /// Account.
        #[arg(value_parser = parse_account)]
        account: AccountSid,
        /// Identifier of the hold.
        hold: String,
    },
}

#[derive(Args)]
pub(super) struct Place {
    /// Account.
    #[arg(value_parser = parse_account)]
    account: AccountSid,
    /// A record; may be repeated. A call's SID also covers its recordings.
    #[arg(long)]
    sid: Vec<String>,
    /// Every record with this number.
    #[arg(long)]
    number: Option<String>,
    /// Every record from this moment on.
    #[arg(long, value_parser = parse_time)]
    from: Option<TimeUs>,
    /// Up to, not including.
    #[arg(long, value_parser = parse_time)]
    to: Option<TimeUs>,
    /// Of this class only, with --from and --to.
    #[arg(long)]
    class: Option<String>,
    /// The matter it serves.
    #[arg(long)]
    matter: String,
    /// Why.
    #[arg(long)]
    reason: String,
    /// When it is to be looked at again.
    #[arg(long, value_parser = parse_time)]
    review_at: TimeUs,
}

fn show_scope(scope: &ScopeBody) -> String {
    match scope {
        ScopeBody::Records { sids } => show_counted(sids.len() as u64, "record"),
        ScopeBody::Number {
            number: Some(number), ..
        } => format!("number {number}"),
        ScopeBody::Number { number_hash, .. } => format!("number with hash {number_hash}"),
        ScopeBody::Span { class, from, to } => format!("{} from {from} to {to}", class.unwrap_or("everything")),
    }
}

fn show_blocked(blocks: &[BlockedBody]) -> String {
    if blocks.is_empty() {
        return "nothing".to_owned();
    }
    let parts = blocks.iter().map(|blocked| {
        let records = show_counted(blocked.records, blocked.class);
        match blocked.past_term {
            0 => records,
            past_term => format!("{records} ({} past term)", show_count(past_term)),
        }
    });
    parts.collect::<Vec<_>>().join(", ")
}

impl Holds {
    pub(super) async fn run(self, site: &Site, out: &Output) -> Done {
        match self {
            Self::List { account } => {
                let views = site.open_vault_of(&account).await?.list_holds(&account).await?;
                let holds: Vec<_> = views
                    .iter()
                    .map(|view| HoldBody::new(view, Reader::Compliance))
                    .collect();
                out.show(&json!({ "holds": holds }), || {
                    if holds.is_empty() {
                        return "no holds".to_owned();
                    }
                    holds
                        .iter()
                        .map(|hold| {
                            let state = match &hold.lifted_at {
                                Some(at) => format!("lifted {at}"),
                                None => format!("in force, review {}", hold.review_at),
                            };
                            format!(
                                "{}  {state}\n  {}: {}\n  {}; blocks {}\n",
                                hold.id,
                                hold.matter,
                                hold.reason,
                                show_scope(&hold.scope),
                                show_blocked(&hold.blocks)
                            )
                        })
                        .collect()
                })
            }
            Self::Place(place) => place.run(site, out).await,
            Self::Lift { account, hold } => {
                let id: HoldId = hold
                    .parse()
                    .map_err(|_| CliError::Refused("no such hold in force".to_owned()))?;
                site.open_vault_of(&account).await?.lift_hold(&account, id).await?;
                out.show(&json!({ "lifted": hold }), || format!("hold {hold} lifted"))
            }
        }
    }
}

impl Place {
    /// What is held is said in one way.
    fn check_scope(&self) -> Done {
        let (from, to) = (self.from.is_some(), self.to.is_some());
        let ways = [!self.sid.is_empty(), self.number.is_some(), from || to];
        let usage = |text: &str| Err(CliError::Usage(text.to_owned()));
        match ways.into_iter().filter(|way| *way).count() {
            0 => usage("say what is held: --sid, --number, or --from with --to"),
            1 if from != to => usage("--from and --to go together"),
            1 if self.class.is_some() && !from => usage("--class goes with --from and --to"),
            1 => Ok(()),
            _ => usage("a hold has one scope: --sid, --number, or --from with --to; place one hold for each"),
        }
    }

    async fn run(self, site: &Site, out: &Output) -> Done {
        self.check_scope()?;
        let vault = site.open_vault_of(&self.account).await?;
        let new = NewHold {
            sids: (!self.sid.is_empty()).then_some(self.sid),
            number: self.number,
            from: self.from.map(|at| at.to_string()),
            to: self.to.map(|at| at.to_string()),
            class: self.class,
            matter: self.matter,
            reason: self.reason,
            review_at: self.review_at.to_string(),
        };
        let account = vault.get_account(&self.account).await?;
        let target = read_target(&account, &new).map_err(|problem| {
            let field = problem.field.as_deref().unwrap_or("hold");
            CliError::Refused(format!("{field}: {}", problem.detail))
        })?;
        let id = vault
            .place_hold_on(&self.account, &target, &new.matter, &new.reason, self.review_at)
            .await?;
        out.show(&json!({ "hold": id.to_string() }), || format!("hold {id} placed"))
    }
}
