//! `GET /v1/accounts/{account}/exports/contacts.csv`.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use callvault_app::{
    Account, Vault, VaultError,
    contact::sheet::{header_line, push_row},
    core::AccountSid,
    document::DocumentQuery,
};
use futures::stream;

use crate::{
    api::params::Params,
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// Contacts read at once.
const PAGE: u32 = 500;

/// Export contacts
///
/// CSV (RFC 4180), oldest first, of a list or of the whole account. A contact that is added while it is written may be in it
/// or not; one that is deleted before its row is written is not.
#[utoipa::path(
    get, path = "/v1/accounts/{account}/exports/contacts.csv", tag = "exports", operation_id = "export_contacts",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("list" = Option<String>, Query, description = "SID of a list; all contacts if absent"),
    ),
    responses(
        (status = 200, description = "The contacts", body = String, content_type = "text/csv"),
        (status = 404, description = "No such account or list", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Too many exports at once", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn contacts(State(door): State<Arc<Door>>, caller: Caller, mut params: Params) -> Answer<Response> {
    let list = params.take_sid("list")?;
    params.finish()?;
    let account = door.vault.get_account(&caller.account).await?;
    if let Some(list) = list {
        door.vault.get_list(&account, list).await?;
    }
    let permit = super::begin(&door)?;
    let start = Pages {
        vault: Arc::clone(&door.vault),
        account: account.sid,
        query: Some(DocumentQuery {
            list,
            limit: PAGE,
            ..DocumentQuery::default()
        }),
        begun: false,
    };
    let pages = stream::try_unfold((start, permit), |(mut pages, permit)| async move {
        let bytes = pages.next().await?;
        Ok::<_, VaultError>(bytes.map(|bytes| (bytes, (pages, permit))))
    });
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8; header=present"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"contacts.csv\""),
    ];
    Ok((headers, Body::from_stream(pages)).into_response())
}

/// An export that is being written.
struct Pages {
    vault: Arc<Vault>,
    account: AccountSid,
    /// What comes next; nothing after the last page.
    query: Option<DocumentQuery>,
    begun: bool,
}

impl Pages {
    async fn next(&mut self) -> Result<Option<Bytes>, VaultError> {
        let mut out = Vec::new();
        if !self.begun {
            self.begun = true;
            out.extend_from_slice(header_line().as_bytes());
        }
        if let Some(query) = &mut self.query {
            // The account may have been closed since the last page.
            let account: Account = self.vault.get_account(&self.account).await?;
            let rows = self.vault.page_contacts(&account, query).await?;
            for row in &rows {
                push_row(&mut out, row);
            }
            if query.after.is_none() {
                self.query = None;
            }
        }
        Ok((!out.is_empty()).then(|| Bytes::from(out)))
    }
}
