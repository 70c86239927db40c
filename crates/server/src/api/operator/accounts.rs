//! `GET /v1/operator/accounts`.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::account::AccountBody;
use crate::{
    api::params::Params,
    door::Door,
    people::Person,
    problem::{Answer, Problem},
};

/// A page of accounts.
#[derive(Serialize, ToSchema)]
pub struct Accounts {
    /// In order of name.
    pub accounts: Vec<AccountBody>,
    /// Continues the listing; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_after: Option<String>,
}

/// List the region's accounts
#[utoipa::path(
    get, path = "/v1/operator/accounts", tag = "operator", operation_id = "list_accounts",
    params(
        ("limit" = Option<u32>, Query, description = "1 to 1000, 50 if absent"),
        ("after" = Option<String>, Query, description = "`next_after` of the page before"),
    ),
    responses(
        (status = 200, description = "A page of those that are open", body = Accounts),
        (status = 422, description = "A wrong parameter", body = Problem, content_type = "application/problem+json"),
    ),
    security(("session" = [])),
)]
pub async fn accounts(State(door): State<Arc<Door>>, _: Person, mut params: Params) -> Answer<Json<Accounts>> {
    let limit = params.take_limit()?;
    let after = params.take_as("after", "an account's name")?;
    params.finish()?;
    let page = door.vault.list_accounts_after(after.as_ref(), limit).await?;
    let next_after = page.next.map(|account| account.to_string());
    let mut accounts = Vec::with_capacity(page.accounts.len());
    for sid in page.accounts {
        accounts.push(AccountBody::of(&door, &door.vault.get_account(&sid).await?));
    }
    Ok(Json(Accounts { accounts, next_after }))
}
