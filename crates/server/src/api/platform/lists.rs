//! `/v2/accounts/{account}/lists`: the platform's lists of contacts.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    response::Response,
};
use callvault_app::{
    Account,
    contact::List,
    core::{DocumentKind, Reader, Sid},
    document::{Document, DocumentQuery},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    contacts::{ContactData, Page, certificate_of, check_count},
    envelope::{Envelope, Failure, Item, V2, read_sid, show_moment},
};
use crate::{
    api::params::{JsonBody, Params, read_json},
    door::Door,
};

/// Items of a page at most.
const PAGE: u32 = 20;

/// Lists to add or change.
#[derive(Deserialize, ToSchema)]
pub struct ListsBody {
    /// At most 5,000.
    #[schema(min_items = 1, max_items = 5000)]
    pub lists: Vec<ListBody>,
}

/// A list to add, or what is to be changed of one.
#[derive(Deserialize, ToSchema)]
pub struct ListBody {
    /// Identifier, to change one of several.
    #[serde(default)]
    pub sid: Option<String>,
    /// Its name; needed for a new one, and no other list may have it.
    #[serde(default)]
    #[schema(max_length = 255)]
    pub name: Option<String>,
    /// A mark.
    #[serde(default)]
    #[schema(max_length = 255)]
    pub tag: Option<String>,
}

/// A list as it is now.
#[derive(Serialize, ToSchema)]
pub struct ListData {
    /// Identifier.
    pub sid: String,
    /// Its name.
    pub name: String,
    /// A mark.
    pub tag: Option<String>,
    /// Contacts on it.
    pub contact_count: u64,
    /// When it was made.
    #[schema(format = DateTime)]
    pub date_created: String,
    /// When it was changed last.
    #[schema(format = DateTime)]
    pub date_updated: String,
    /// Of a deleted one: where its certificate is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
}

impl ListData {
    fn of(account: &Account, list: &Document<List>) -> Self {
        Self {
            sid: list.id.to_string(),
            name: list.body.name.clone(),
            tag: list.body.tag.clone(),
            contact_count: list.members,
            date_created: show_moment(account, list.at),
            date_updated: show_moment(account, list.updated_at),
            certificate: None,
        }
    }
}

impl ListBody {
    fn change(&self, old: &List) -> List {
        List {
            name: self
                .name
                .as_ref()
                .map_or_else(|| old.name.clone(), |name| name.trim().to_owned()),
            tag: match &self.tag {
                Some(tag) => Some(tag.trim().to_owned()).filter(|tag| !tag.is_empty()),
                None => old.tag.clone(),
            },
        }
    }
}

/// Add lists
///
/// Each is answered for itself: 409 for a name that another list has.
#[utoipa::path(
    post, path = "/v2/accounts/{account}/lists", tag = "contacts", operation_id = "create_lists",
    params(("account" = String, Path, description = "Account SID")),
    request_body = ListsBody,
    responses(
        (status = 207, description = "What became of each", body = Envelope<Vec<Item<ListData>>>),
        (status = 400, description = "The body is wrong", body = Envelope<Item<Value>>),
        (status = 404, description = "No such account for this token", body = Envelope<Item<Value>>),
        (status = 409, description = "The account has as many lists as it may have", body = Envelope<Item<Value>>),
        (status = 429, description = "Over the rate limit", body = Envelope<Item<Value>>),
    ),
    security(("token" = [])),
)]
pub async fn create(State(door): State<Arc<Door>>, v2: V2, body: JsonBody<ListsBody>) -> Response {
    let done = async {
        let body = read_json(body)?;
        check_count("lists", body.lists.len())?;
        let account = door.vault.get_account(&v2.caller.account).await?;
        let blank = List {
            name: String::new(),
            tag: None,
        };
        let lists = body.lists.iter().map(|list| list.change(&blank)).collect();
        let made = door.vault.create_lists(&account, lists).await?;
        let finish = |made| match made {
            Ok(made) => Ok(ListData::of(&account, &made)),
            Err(error) => Err(Failure::from(error)),
        };
        Ok(made.into_iter().map(finish).collect())
    };
    v2.many(done.await)
}

/// Change lists
///
/// Each names its `sid`.
#[utoipa::path(
    put, path = "/v2/accounts/{account}/lists", tag = "contacts", operation_id = "update_lists",
    params(("account" = String, Path, description = "Account SID")),
    request_body = ListsBody,
    responses(
        (status = 207, description = "What became of each", body = Envelope<Vec<Item<ListData>>>),
        (status = 400, description = "The body is wrong", body = Envelope<Item<Value>>),
        (status = 404, description = "No such account for this token", body = Envelope<Item<Value>>),
        (status = 429, description = "Over the rate limit", body = Envelope<Item<Value>>),
    ),
    security(("token" = [])),
)]
pub async fn update_many(State(door): State<Arc<Door>>, v2: V2, body: JsonBody<ListsBody>) -> Response {
    let done = async {
        let body = read_json(body)?;
        check_count("lists", body.lists.len())?;
        let account = door.vault.get_account(&v2.caller.account).await?;
        let mut results = Vec::with_capacity(body.lists.len());
        for list in body.lists {
            let sid = list.sid.clone().unwrap_or_default();
            results.push(update_one(&door, &account, &sid, &list).await);
        }
        Ok(results)
    };
    v2.many(done.await)
}

async fn update_one(door: &Door, account: &Account, sid: &str, body: &ListBody) -> Result<ListData, Failure> {
    let sid = read_sid(sid, "list")?;
    let changed = door.vault.update_list(account, sid, |old| body.change(old)).await?;
    Ok(ListData::of(account, &changed))
}

/// List lists
///
/// `name` finds part of a name; `sort_by` is `date_created:asc`, `date_created:desc` (if absent), `name:asc` or `name:desc`.
#[utoipa::path(
    get, path = "/v2/accounts/{account}/lists", tag = "contacts", operation_id = "list_lists",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("offset" = Option<u32>, Query, description = "Lists to pass over"),
        ("limit" = Option<u32>, Query, description = "1 to 20, 20 if absent"),
        ("name" = Option<String>, Query, description = "Part of the name"),
        ("sort_by" = Option<String>, Query, description = "Order"),
    ),
    responses(
        (status = 200, description = "A page", body = Envelope<Vec<Item<ListData>>>),
        (status = 400, description = "A parameter is wrong", body = Envelope<Item<Value>>),
        (status = 404, description = "No such account for this token", body = Envelope<Item<Value>>),
        (status = 429, description = "Over the rate limit", body = Envelope<Item<Value>>),
    ),
    security(("token" = [])),
)]
pub async fn list(State(door): State<Arc<Door>>, v2: V2, mut params: Params) -> Response {
    let done = async {
        let account = door.vault.get_account(&v2.caller.account).await?;
        let asked = Page::read(&mut params, PAGE)?;
        params.finish()?;
        let (kind, reader) = (DocumentKind::List, Reader::Account);
        let (lists, total) = if asked.by_name() {
            let query = DocumentQuery {
                limit: u32::try_from(callvault_app::contact::MAX_LISTS).unwrap_or(u32::MAX),
                ..DocumentQuery::default()
            };
            let all = door
                .vault
                .list_documents::<List>(&account, kind, &query, reader)
                .await?;
            let found = asked.sort(all, |list| list.body.name.clone());
            let total = found.len() as u64;
            (asked.cut(found), total)
        } else {
            let page = door
                .vault
                .list_documents(&account, kind, &asked.query(), reader)
                .await?;
            (page, door.vault.count_documents(&account, kind).await?)
        };
        let data: Vec<_> = lists.iter().map(|list| ListData::of(&account, list)).collect();
        let metadata = asked.metadata(data.len(), total);
        Ok((data, metadata))
    };
    v2.page(done.await)
}

/// Get a list
#[utoipa::path(
    get, path = "/v2/accounts/{account}/lists/{sid}", tag = "contacts", operation_id = "get_list",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("sid" = String, Path, description = "SID of the list"),
    ),
    responses(
        (status = 200, description = "The list", body = Envelope<Item<ListData>>),
        (status = 404, description = "There is none, or it is gone", body = Envelope<Item<Value>>),
        (status = 429, description = "Over the rate limit", body = Envelope<Item<Value>>),
    ),
    security(("token" = [])),
)]
pub async fn get(State(door): State<Arc<Door>>, v2: V2, Path(place): Path<(String, String)>) -> Response {
    let done = async {
        let account = door.vault.get_account(&v2.caller.account).await?;
        let list = door.vault.get_list(&account, read_sid(&place.1, "list")?).await?;
        Ok(ListData::of(&account, &list))
    };
    v2.one(done.await)
}

/// Change a list
#[utoipa::path(
    put, path = "/v2/accounts/{account}/lists/{sid}", tag = "contacts", operation_id = "update_list",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("sid" = String, Path, description = "SID of the list"),
    ),
    request_body = ListBody,
    responses(
        (status = 200, description = "Changed", body = Envelope<Item<ListData>>),
        (status = 400, description = "A field is wrong", body = Envelope<Item<Value>>),
        (status = 404, description = "There is none, or it is gone", body = Envelope<Item<Value>>),
        (status = 409, description = "Held, or another list has the name", body = Envelope<Item<Value>>),
        (status = 429, description = "Over the rate limit", body = Envelope<Item<Value>>),
    ),
    security(("token" = [])),
)]
pub async fn update(
    State(door): State<Arc<Door>>,
    v2: V2,
    Path(place): Path<(String, String)>,
    body: JsonBody<ListBody>,
) -> Response {
    let done = async {
        let body = read_json(body)?;
        let account = door.vault.get_account(&v2.caller.account).await?;
        update_one(&door, &account, &place.1, &body).await
    };
    v2.one(done.await)
}

/// Delete a list
///
/// For good; its contacts stay. The answer repeats it a last time and names the certificate.
#[utoipa::path(
    delete, path = "/v2/accounts/{account}/lists/{sid}", tag = "contacts", operation_id = "delete_list",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("sid" = String, Path, description = "SID of the list"),
    ),
    responses(
        (status = 200, description = "Deleted", body = Envelope<Item<ListData>>),
        (status = 404, description = "There is none, or it is gone", body = Envelope<Item<Value>>),
        (status = 409, description = "A legal hold freezes it", body = Envelope<Item<Value>>),
        (status = 429, description = "Over the rate limit", body = Envelope<Item<Value>>),
    ),
    security(("token" = [])),
)]
pub async fn delete(State(door): State<Arc<Door>>, v2: V2, Path(place): Path<(String, String)>) -> Response {
    let done = async {
        let account = door.vault.get_account(&v2.caller.account).await?;
        let list = door.vault.get_list(&account, read_sid(&place.1, "list")?).await?;
        let leaves = door.vault.delete_list(&account, list.id).await?;
        let mut data = ListData::of(&account, &list);
        data.certificate = certificate_of(&account, &leaves);
        Ok(data)
    };
    v2.one(done.await)
}

/// List a list's contacts
#[utoipa::path(
    get, path = "/v2/accounts/{account}/lists/{sid}/contacts", tag = "contacts", operation_id = "list_contacts_of_list",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("sid" = String, Path, description = "SID of the list"),
        ("offset" = Option<u32>, Query, description = "Contacts to pass over"),
        ("limit" = Option<u32>, Query, description = "1 to 20, 20 if absent"),
    ),
    responses(
        (status = 200, description = "A page", body = Envelope<Vec<Item<ContactData>>>),
        (status = 400, description = "A parameter is wrong", body = Envelope<Item<Value>>),
        (status = 404, description = "There is none, or it is gone", body = Envelope<Item<Value>>),
        (status = 429, description = "Over the rate limit", body = Envelope<Item<Value>>),
    ),
    security(("token" = [])),
)]
pub async fn contacts(
    State(door): State<Arc<Door>>,
    v2: V2,
    Path(place): Path<(String, String)>,
    mut params: Params,
) -> Response {
    let done = async {
        let account = door.vault.get_account(&v2.caller.account).await?;
        let list = door.vault.get_list(&account, read_sid(&place.1, "list")?).await?;
        let asked = Page::read(&mut params, PAGE)?;
        params.finish()?;
        if asked.by_name() {
            return Err(Failure::bad(
                "sort_by",
                "List contacts with list_sids to sort or find them by name.",
            ));
        }
        let mut query = DocumentQuery {
            list: Some(list.id),
            ..asked.query()
        };
        let contacts = door.vault.page_contacts(&account, &mut query).await?;
        let data: Vec<_> = contacts
            .iter()
            .map(|contact| ContactData::of(&account, contact))
            .collect();
        let metadata = asked.metadata(data.len(), list.members);
        Ok((data, metadata))
    };
    v2.page(done.await)
}

/// Contacts to put on a list.
#[derive(Deserialize, ToSchema)]
pub struct References {
    /// At most 5,000.
    #[schema(min_items = 1, max_items = 5000)]
    pub contact_references: Vec<Reference>,
}

/// A contact, by its SID.
#[derive(Deserialize, ToSchema)]
pub struct Reference {
    /// SID of the contact.
    pub contact_sid: String,
}

/// A contact that is on a list.
#[derive(Serialize, ToSchema)]
pub struct MembershipData {
    /// SID of the contact.
    pub contact_sid: String,
    /// SID of the list.
    pub list_id: String,
}

/// Put contacts on a list
///
/// Each is answered for itself: 404 for one that does not exist, 409 for one whose number is suppressed. One that is on it
/// already stays.
#[utoipa::path(
    post, path = "/v2/accounts/{account}/lists/{sid}/contacts", tag = "contacts", operation_id = "add_contacts_to_list",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("sid" = String, Path, description = "SID of the list"),
    ),
    request_body = References,
    responses(
        (status = 207, description = "What became of each", body = Envelope<Vec<Item<MembershipData>>>),
        (status = 400, description = "The body is wrong", body = Envelope<Item<Value>>),
        (status = 404, description = "There is no such list", body = Envelope<Item<Value>>),
        (status = 429, description = "Over the rate limit", body = Envelope<Item<Value>>),
    ),
    security(("token" = [])),
)]
pub async fn add_contacts(
    State(door): State<Arc<Door>>,
    v2: V2,
    Path(place): Path<(String, String)>,
    body: JsonBody<References>,
) -> Response {
    let done = async {
        let body = read_json(body)?;
        check_count("contact_references", body.contact_references.len())?;
        let account = door.vault.get_account(&v2.caller.account).await?;
        let list = door.vault.get_list(&account, read_sid(&place.1, "list")?).await?.id;
        // What is no SID is no contact; nothing has this one.
        let sid = |reference: &Reference| reference.contact_sid.parse().unwrap_or(Sid([0; 16]));
        let contacts: Vec<Sid> = body.contact_references.iter().map(sid).collect();
        let results = door.vault.add_to_list(&account, list, &contacts).await?;
        let finish = |(contact, result): (Sid, callvault_app::Result<()>)| {
            result.map_err(Failure::from)?;
            Ok(MembershipData {
                contact_sid: contact.to_string(),
                list_id: list.to_string(),
            })
        };
        Ok(contacts.into_iter().zip(results).map(finish).collect())
    };
    v2.many(done.await)
}

/// Take a contact off a list
///
/// It stays a contact.
#[utoipa::path(
    delete, path = "/v2/accounts/{account}/lists/{sid}/contacts/{contact}", tag = "contacts",
    operation_id = "remove_contact_from_list",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("sid" = String, Path, description = "SID of the list"),
        ("contact" = String, Path, description = "SID of the contact"),
    ),
    responses(
        (status = 200, description = "It is off the list", body = Envelope<Item<MembershipData>>),
        (status = 404, description = "There is no such list, or it is not on it", body = Envelope<Item<Value>>),
        (status = 429, description = "Over the rate limit", body = Envelope<Item<Value>>),
    ),
    security(("token" = [])),
)]
pub async fn remove_contact(
    State(door): State<Arc<Door>>,
    v2: V2,
    Path(place): Path<(String, String, String)>,
) -> Response {
    let done = async {
        let account = door.vault.get_account(&v2.caller.account).await?;
        let (list, contact) = (read_sid(&place.1, "list")?, read_sid(&place.2, "contact")?);
        door.vault.remove_from_list(&account, list, contact).await?;
        Ok(MembershipData {
            contact_sid: contact.to_string(),
            list_id: list.to_string(),
        })
    };
    v2.one(done.await)
}
