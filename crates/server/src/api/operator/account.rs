//! `GET /v1/operator/accounts/{account}`.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use callvault_app::{Account, core::AccountSid};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    door::Door,
    people::Person,
    problem::{Answer, Problem},
};

/// An account, as the operator sees it.
#[derive(Serialize, ToSchema)]
pub struct AccountBody {
    /// Account SID.
    pub account: String,
    /// Region.
    pub region: String,
    /// Plan.
    pub plan: &'static str,
    /// Country that national numbers are read in.
    pub country: String,
    /// When it was made.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// Holds in force.
    pub holds: usize,
}

impl AccountBody {
    pub(super) fn of(door: &Door, account: &Account) -> Self {
        Self {
            account: account.sid.to_string(),
            region: door.vault.region().to_owned(),
            plan: account.policy.plan_at(door.vault.now()).as_str(),
            country: account.country.as_ref().to_owned(),
            created_at: account.created_at.to_string(),
            holds: account.holds.iter().filter(|hold| hold.lifted_at.is_none()).count(),
        }
    }
}

/// Show an account's rules
///
/// The request is in the account's own log of accesses.
#[utoipa::path(
    get, path = "/v1/operator/accounts/{account}", tag = "operator", operation_id = "get_account",
    params(("account" = String, Path, description = "Account SID")),
    responses(
        (status = 200, description = "The account", body = AccountBody),
        (status = 404, description = "There is none", body = Problem, content_type = "application/problem+json"),
    ),
    security(("session" = [])),
)]
pub async fn account(
    State(door): State<Arc<Door>>,
    _: Person,
    Path(account): Path<String>,
) -> Answer<Json<AccountBody>> {
    let sid: AccountSid = account.parse().map_err(|_| Problem::not_found("account"))?;
    Ok(Json(AccountBody::of(&door, &door.vault.get_account(&sid).await?)))
}
