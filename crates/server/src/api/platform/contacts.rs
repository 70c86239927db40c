//! `/v2/accounts/{account}/contacts`: the platform's contacts.

mod body;

use std::{collections::HashMap, sync::Arc};

use axum::{
    extract::{Path, State},
    response::Response,
};
use callvault_app::{
    Account,
    contact::{Contact, MAX_BATCH, MAX_SEARCHED},
    core::Sid,
    document::{Document, DocumentQuery},
};
use serde_json::Value;

pub use body::{ContactBody, ContactData, ContactsBody};

use super::envelope::{Envelope, Failure, Item, Metadata, V2, read_sid};
use crate::{
    api::params::{JsonBody, Params, read_json},
    door::Door,
};

/// Contacts of a page at most, and if nothing is asked for (the platform's documentation, "Contacts").
const PAGE: u32 = 20;
/// Lists that a listing may be narrowed to.
const MAX_LISTS: usize = 5;

/// Where the certificate of a log entry is.
#[must_use]
pub(super) fn certificate_of(account: &Account, leaves: &[u64]) -> Option<String> {
    let index = leaves.first()?;
    Some(format!("/v1/accounts/{}/deletions/{index}/certificate", account.sid))
}

/// Add contacts
///
/// Each is answered for itself: 409 for a number that another contact has, or that is suppressed.
#[utoipa::path(
    post, path = "/v2/accounts/{account}/contacts", tag = "contacts", operation_id = "create_contacts",
    params(("account" = String, Path, description = "Account SID")),
    request_body = ContactsBody,
    responses(
        (status = 207, description = "What became of each", body = Envelope<Vec<Item<ContactData>>>),
        (status = 400, description = "The body is wrong", body = Envelope<Item<Value>>),
        (status = 404, description = "No such account for this token", body = Envelope<Item<Value>>),
        (status = 429, description = "Over the rate limit", body = Envelope<Item<Value>>),
    ),
    security(("token" = [])),
)]
pub async fn create(State(door): State<Arc<Door>>, v2: V2, body: JsonBody<ContactsBody>) -> Response {
    let done = async {
        let body = read_json(body)?;
        check_count("contacts", body.contacts.len())?;
        let account = door.vault.get_account(&v2.caller.account).await?;
        let mut outcomes: Vec<Result<Option<usize>, Failure>> = Vec::with_capacity(body.contacts.len());
        let mut contacts = Vec::new();
        for contact in body.contacts {
            outcomes.push(contact.read(&account).map(|contact| {
                contacts.push(contact);
                None
            }));
        }
        let made = match contacts.is_empty() {
            true => Vec::new(),
            false => door.vault.create_contacts(&account, contacts, None).await?,
        };
        let mut made = made.into_iter();
        let finish = |outcome: Result<Option<usize>, Failure>| {
            outcome?;
            let made = made
                .next()
                .ok_or_else(|| Failure::bad("contacts", "It was not looked at."))?;
            Ok(ContactData::of(&account, &made?))
        };
        Ok(outcomes.into_iter().map(finish).collect())
    };
    v2.many(done.await)
}

pub(super) fn check_count(field: &str, count: usize) -> Result<(), Failure> {
    match count {
        1..=MAX_BATCH => Ok(()),
        _ => Err(Failure::bad(field, "Expected 1 to 5000 items.")),
    }
}

/// Change contacts
///
/// Each names its `sid`; what is left out stays as it is. What was there before is gone for good.
#[utoipa::path(
    put, path = "/v2/accounts/{account}/contacts", tag = "contacts", operation_id = "update_contacts",
    params(("account" = String, Path, description = "Account SID")),
    request_body = ContactsBody,
    responses(
        (status = 207, description = "What became of each", body = Envelope<Vec<Item<ContactData>>>),
        (status = 400, description = "The body is wrong", body = Envelope<Item<Value>>),
        (status = 404, description = "No such account for this token", body = Envelope<Item<Value>>),
        (status = 429, description = "Over the rate limit", body = Envelope<Item<Value>>),
    ),
    security(("token" = [])),
)]
pub async fn update_many(State(door): State<Arc<Door>>, v2: V2, body: JsonBody<ContactsBody>) -> Response {
    let done = async {
        let body = read_json(body)?;
        check_count("contacts", body.contacts.len())?;
        let account = door.vault.get_account(&v2.caller.account).await?;
        let mut results = Vec::with_capacity(body.contacts.len());
        for contact in body.contacts {
            let sid = contact.sid.clone().unwrap_or_default();
            results.push(update_one(&door, &account, &sid, &contact).await);
        }
        Ok(results)
    };
    v2.many(done.await)
}

async fn update_one(door: &Door, account: &Account, sid: &str, body: &ContactBody) -> Result<ContactData, Failure> {
    let sid = read_sid(sid, "contact")?;
    let number = body.number(account)?;
    let change = |old: &Contact| body.change(old, number.clone());
    let changed = door.vault.update_contact(account, sid, change).await?;
    Ok(ContactData::of(account, &changed))
}

/// Get a contact
#[utoipa::path(
    get, path = "/v2/accounts/{account}/contacts/{sid}", tag = "contacts", operation_id = "get_contact",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("sid" = String, Path, description = "SID of the contact"),
    ),
    responses(
        (status = 200, description = "The contact, with its lists", body = Envelope<Item<ContactData>>),
        (status = 404, description = "There is none, or it is gone", body = Envelope<Item<Value>>),
        (status = 429, description = "Over the rate limit", body = Envelope<Item<Value>>),
    ),
    security(("token" = [])),
)]
pub async fn get(State(door): State<Arc<Door>>, v2: V2, Path(place): Path<(String, String)>) -> Response {
    let done = async {
        let account = door.vault.get_account(&v2.caller.account).await?;
        let contact = door.vault.get_contact(&account, read_sid(&place.1, "contact")?).await?;
        let mut data = vec![ContactData::of(&account, &contact)];
        add_lists(&door, &account, &mut data, &[contact.id]).await?;
        data.pop().ok_or_else(|| Failure::bad("sid", "It is gone."))
    };
    v2.one(done.await)
}

/// Change a contact
///
/// What is left out stays as it is. What was there before is gone for good; a contact under a legal hold cannot be changed.
#[utoipa::path(
    put, path = "/v2/accounts/{account}/contacts/{sid}", tag = "contacts", operation_id = "update_contact",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("sid" = String, Path, description = "SID of the contact"),
    ),
    request_body = ContactBody,
    responses(
        (status = 200, description = "Changed", body = Envelope<Item<ContactData>>),
        (status = 400, description = "A field is wrong", body = Envelope<Item<Value>>),
        (status = 404, description = "There is none, or it is gone", body = Envelope<Item<Value>>),
        (status = 409, description = "Held, or another contact has the number, or it is suppressed", body = Envelope<Item<Value>>),
        (status = 429, description = "Over the rate limit", body = Envelope<Item<Value>>),
    ),
    security(("token" = [])),
)]
pub async fn update(
    State(door): State<Arc<Door>>,
    v2: V2,
    Path(place): Path<(String, String)>,
    body: JsonBody<ContactBody>,
) -> Response {
    let done = async {
        let body = read_json(body)?;
        let account = door.vault.get_account(&v2.caller.account).await?;
        update_one(&door, &account, &place.1, &body).await
    };
    v2.one(done.await)
}

/// Delete a contact
///
/// From every list, for good. The answer repeats it a last time and names the certificate.
#[utoipa::path(
    delete, path = "/v2/accounts/{account}/contacts/{sid}", tag = "contacts", operation_id = "delete_contact",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("sid" = String, Path, description = "SID of the contact"),
    ),
    responses(
        (status = 200, description = "Deleted", body = Envelope<Item<ContactData>>),
        (status = 404, description = "There is none, or it is gone", body = Envelope<Item<Value>>),
        (status = 409, description = "A legal hold freezes it", body = Envelope<Item<Value>>),
        (status = 429, description = "Over the rate limit", body = Envelope<Item<Value>>),
    ),
    security(("token" = [])),
)]
pub async fn delete(State(door): State<Arc<Door>>, v2: V2, Path(place): Path<(String, String)>) -> Response {
    let done = async {
        let account = door.vault.get_account(&v2.caller.account).await?;
        let contact = door.vault.get_contact(&account, read_sid(&place.1, "contact")?).await?;
        let leaves = door.vault.delete_contacts(&account, &[contact.id]).await?;
        let mut data = ContactData::of(&account, &contact);
        data.certificate = certificate_of(&account, &leaves);
        Ok(data)
    };
    v2.one(done.await)
}

/// List contacts
///
/// `name` finds part of a name; `sort_by` is `date_created:asc`, `date_created:desc` (if absent), `name:asc` or `name:desc`.
/// Names are sealed: a listing by name looks through all contacts, and is refused above 50,000.
#[utoipa::path(
    get, path = "/v2/accounts/{account}/contacts", tag = "contacts", operation_id = "list_contacts",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("offset" = Option<u32>, Query, description = "Contacts to pass over"),
        ("limit" = Option<u32>, Query, description = "1 to 20, 20 if absent"),
        ("name" = Option<String>, Query, description = "Part of the name"),
        ("number" = Option<String>, Query, description = "The number"),
        ("sort_by" = Option<String>, Query, description = "Order"),
        ("list_sids" = Option<String>, Query, description = "On one of these lists, at most 5, with commas between"),
        ("filter" = Option<String>, Query, description = "`show_list` for the lists of each"),
    ),
    responses(
        (status = 200, description = "A page", body = Envelope<Vec<Item<ContactData>>>),
        (status = 400, description = "A parameter is wrong", body = Envelope<Item<Value>>),
        (status = 404, description = "No such account or list", body = Envelope<Item<Value>>),
        (status = 429, description = "Over the rate limit", body = Envelope<Item<Value>>),
    ),
    security(("token" = [])),
)]
pub async fn list(State(door): State<Arc<Door>>, v2: V2, mut params: Params) -> Response {
    let done = async {
        let account = door.vault.get_account(&v2.caller.account).await?;
        let asked = Page::read(&mut params, PAGE)?;
        let number = params.take_number("number", &account)?;
        let lists = params.take("list_sids").unwrap_or_default();
        let lists = lists.split(',').map(str::trim).filter(|sid| !sid.is_empty());
        let lists = lists
            .map(|sid| read_sid(sid, "list"))
            .collect::<Result<Vec<Sid>, _>>()?;
        if lists.len() > MAX_LISTS {
            return Err(Failure::bad("list_sids", "At most 5."));
        }
        let shows_lists = match params.take("filter").as_deref() {
            None => false,
            Some("show_list") => true,
            Some(_) => return Err(Failure::bad("filter", "Expected show_list.")),
        };
        params.finish()?;
        let (contacts, total) = match number {
            Some(number) => {
                let found: Vec<_> = door.vault.find_contact(&account, &number).await?.into_iter().collect();
                let total = found.len() as u64;
                (asked.cut(found), total)
            }
            None => find_page(&door, &account, &asked, &lists).await?,
        };
        let mut data: Vec<_> = contacts
            .iter()
            .map(|contact| ContactData::of(&account, contact))
            .collect();
        if shows_lists {
            let ids: Vec<Sid> = contacts.iter().map(|contact| contact.id).collect();
            add_lists(&door, &account, &mut data, &ids).await?;
        }
        let metadata = asked.metadata(data.len(), total);
        Ok((data, metadata))
    };
    v2.page(done.await)
}

async fn add_lists(door: &Door, account: &Account, data: &mut [ContactData], ids: &[Sid]) -> Result<(), Failure> {
    let mut lists: HashMap<Sid, Vec<Sid>> = door.vault.list_memberships(account, ids).await?;
    for (data, id) in data.iter_mut().zip(ids) {
        let of = lists.remove(id).unwrap_or_default();
        data.lists = Some(of.iter().map(Sid::to_string).collect());
    }
    Ok(())
}

/// A page's contacts and how many there are in all.
async fn find_page(
    door: &Door,
    account: &Account,
    asked: &Page,
    lists: &[Sid],
) -> Result<(Vec<Document<Contact>>, u64), Failure> {
    let vault = &door.vault;
    let total = match lists {
        [] => {
            vault
                .count_documents(account, callvault_app::core::DocumentKind::Contact)
                .await?
        }
        [list] => vault.get_list(account, *list).await?.members,
        lists => {
            let mut sum = 0;
            for list in lists {
                sum += vault.get_list(account, *list).await?.members;
            }
            sum
        }
    };
    if !asked.by_name() && lists.len() < 2 {
        let mut query = DocumentQuery {
            list: lists.first().copied(),
            ..asked.query()
        };
        return Ok((vault.page_contacts(account, &mut query).await?, total));
    }
    if total > MAX_SEARCHED {
        return Err(Failure::bad(
            "name",
            "There are more than 50000 contacts to look through; narrow it to a list.",
        ));
    }
    let mut found: HashMap<Sid, Document<Contact>> = HashMap::new();
    let places: Vec<Option<Sid>> = match lists {
        [] => vec![None],
        lists => lists.iter().copied().map(Some).collect(),
    };
    for list in places {
        let mut query = DocumentQuery {
            list,
            limit: 1_000,
            ..DocumentQuery::default()
        };
        loop {
            let contacts = vault.page_contacts(account, &mut query).await?;
            found.extend(contacts.into_iter().map(|contact| (contact.id, contact)));
            if query.after.is_none() {
                break;
            }
        }
    }
    let named = |contact: &Document<Contact>| contact.body.full_name();
    let found = asked.sort(found.into_values().collect(), named);
    let total = found.len() as u64;
    Ok((asked.cut(found), total))
}

/// Which page is asked for, in which order.
pub(super) struct Page {
    offset: u32,
    limit: u32,
    name: Option<String>,
    sorts_by_name: bool,
    newest_first: bool,
}

impl Page {
    /// Reads `offset`, `limit`, `name` and `sort_by`.
    pub(super) fn read(params: &mut Params, most: u32) -> Result<Self, Failure> {
        let limit: u32 = params.take_as("limit", "a number")?.unwrap_or(20);
        if !(1..=most).contains(&limit) {
            return Err(Failure::bad("limit", &format!("Expected a number from 1 to {most}.")));
        }
        let (sorts_by_name, newest_first) = match params.take("sort_by").as_deref() {
            None | Some("date_created:desc") => (false, true),
            Some("date_created:asc") => (false, false),
            Some("name:asc") => (true, false),
            Some("name:desc") => (true, true),
            Some(_) => {
                return Err(Failure::bad(
                    "sort_by",
                    "Expected date_created or name, with :asc or :desc.",
                ));
            }
        };
        Ok(Self {
            offset: params.take_as("offset", "a number")?.unwrap_or(0),
            limit,
            name: params.take("name").map(|name| name.to_lowercase()),
            sorts_by_name,
            newest_first,
        })
    }

    /// Whether names must be read to know what is on it.
    pub(super) const fn by_name(&self) -> bool {
        self.sorts_by_name || self.name.is_some()
    }

    pub(super) fn query(&self) -> DocumentQuery {
        DocumentQuery {
            newest_first: self.newest_first,
            offset: self.offset,
            limit: self.limit,
            ..DocumentQuery::default()
        }
    }

    /// Those whose name has what was asked for, in order.
    pub(super) fn sort<T>(&self, mut all: Vec<Document<T>>, name: impl Fn(&Document<T>) -> String) -> Vec<Document<T>> {
        if let Some(part) = &self.name {
            all.retain(|document| name(document).to_lowercase().contains(part));
        }
        match self.sorts_by_name {
            true => all.sort_by_cached_key(|document| (name(document).to_lowercase(), document.id)),
            false => all.sort_by_key(|document| (document.at, document.id)),
        }
        if self.newest_first {
            all.reverse();
        }
        all
    }

    pub(super) fn cut<T>(&self, all: Vec<Document<T>>) -> Vec<Document<T>> {
        all.into_iter()
            .skip(self.offset as usize)
            .take(self.limit as usize)
            .collect()
    }

    pub(super) const fn metadata(&self, count: usize, total: u64) -> Metadata {
        Metadata {
            count,
            offset: self.offset,
            total,
            limit: self.limit,
        }
    }
}
