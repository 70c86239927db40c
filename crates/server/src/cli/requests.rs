//! `requests`: the operator as the second person of a deletion.

use std::sync::Arc;

use callvault_app::{
    core::{AccountSid, Sid, request::Answer},
    line::{Line, Person},
};
use clap::{Args, Subcommand};
use serde_json::json;

use super::{CliError, Done, Output, parse_account, parse_sid};
use crate::{
    api::requests::{body::RequestBody, read_text},
    courier::HttpCourier,
    site::Site,
};

/// Requests that are listed at most.
const MOST: usize = 1_000;

#[derive(Subcommand)]
pub(super) enum Requests {
    /// List an account's requests, newest first.
    List {
        /// Account.
        #[arg(value_parser = parse_account)]
        account: AccountSid,
        /// Only those in this state, such as `open`.
        #[arg(long)]
        state: Option<String>,
    },
    /// Approve a request: what it asks for is done at once, and for good.
    Approve(Reply),
    /// Decline a request: nothing is deleted.
    Decline(Reply),
}

#[derive(Args)]
pub(super) struct Reply {
    /// Account.
    #[arg(value_parser = parse_account)]
    account: AccountSid,
    /// The request.
    #[arg(value_parser = parse_sid)]
    request: Sid,
    /// What is to be said about it.
    #[arg(long)]
    note: Option<String>,
    /// The recording's SID again, instead of typing it.
    #[arg(long, value_name = "SID")]
    confirm: Option<String>,
}

impl Requests {
    pub(super) async fn run(self, site: &Site, out: &Output) -> Done {
        match self {
            Self::List { account, state } => {
                let line = open_line(site, &account).await?;
                let vault = site.open_vault_of(&account).await?;
                let loaded = vault.get_account(&account).await?;
                let (views, _) = line.list_requests(&loaded, state.as_deref(), None, MOST).await?;
                let requests: Vec<_> = views.iter().map(|view| RequestBody::new(&account, view)).collect();
                out.show(&json!({ "requests": requests }), || match requests.is_empty() {
                    true => "no requests".to_owned(),
                    false => requests.iter().map(show).collect(),
                })
            }
            Self::Approve(reply) => reply.send(site, out, Answer::Approve).await,
            Self::Decline(reply) => reply.send(site, out, Answer::Decline).await,
        }
    }
}

impl Reply {
    async fn send(self, site: &Site, out: &Output, answer: Answer) -> Done {
        let note = self.note.as_deref().map(|text| read_text("note", text)).transpose();
        let note = note.map_err(|problem| CliError::Usage(format!("--note: {}", problem.detail)))?;
        let line = open_line(site, &self.account).await?;
        let vault = site.open_vault_of(&self.account).await?;
        let account = vault.get_account(&self.account).await?;
        let asked = RequestBody::new(&self.account, &line.get_request(&account, self.request).await?);
        if answer == Answer::Approve {
            let (recording, reason) = (&asked.recording, &asked.reason);
            let what = format!("Deletes recording {recording}, asked for because: {reason}");
            out.confirm(recording, self.confirm.as_deref(), &what)?;
        }
        let operator = Person {
            id: "operator".to_owned(),
            role: "operator".to_owned(),
        };
        let done = line
            .answer_request(&account, self.request, answer, operator, note)
            .await?;
        let body = RequestBody::new(&self.account, &done);
        out.show(&body, || show(&body))
    }
}

fn show(request: &RequestBody) -> String {
    let proof = match &request.deletion {
        Some(deletion) => format!("; log entry {}", deletion.log_index),
        None => String::new(),
    };
    let (id, state, until) = (&request.id, request.state, &request.expires_at);
    let (recording, reason) = (&request.recording, &request.reason);
    format!("{id}  {state}{proof}, open until {until}\n  recording {recording}: {reason}\n")
}

/// A line that tells of what is done; what it tells is posted by `serve`.
async fn open_line(site: &Site, account: &AccountSid) -> Result<Line, CliError> {
    let vault = site.open_vault_of(account).await?;
    let courier = HttpCourier::new(site.config.private_targets);
    let courier = courier.map_err(|error| CliError::Failed(format!("callbacks: {error}")))?;
    Ok(Line::new(vault, Arc::new(site.config.carrier), Arc::new(courier)))
}
