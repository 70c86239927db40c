//! Contacts and lists (class `contact`): kept until the account deletes them.
//!
//! A contact is found by the blind hash of its number, of which an account has one each; a list by that of its name. What
//! a number was suppressed for is in [`suppression`].

pub mod sheet;
pub mod suppression;
pub mod upload;

use std::collections::{HashMap, HashSet};

use callvault_core::{
    DocumentKind, Number, Refusal, Sid,
    hold::{Cause, Reader},
};
use callvault_store::StoreError;
use serde::{Deserialize, Serialize};

use crate::{
    document::{Document, DocumentQuery, NewDocument},
    error::{Result, VaultError},
    vault::{Account, Vault},
};

/// Contacts or lists of one request (the platform's documentation, "Contacts").
pub const MAX_BATCH: usize = 5_000;
/// The longest name, tag or address, in characters.
pub const MAX_TEXT_CHARS: usize = 255;
/// The longest custom text, in bytes.
pub const MAX_CUSTOM_BYTES: usize = 4_096;
/// Lists that an account may have: they are looked through when they are sorted or searched by name.
pub const MAX_LISTS: u64 = 10_000;
/// Contacts looked through when they are sorted or searched by name.
pub const MAX_SEARCHED: u64 = 50_000;

/// A person that the account knows.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// Telephone number.
    pub number: Number,
    /// First name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_name: Option<String>,
    /// Last name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_name: Option<String>,
    /// Company.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub company_name: Option<String>,
    /// E-mail address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// What the account marks it with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Whatever else the account knows, as it wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom: Option<String>,
}

/// A list of contacts.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct List {
    /// Its name, which no other list of the account has.
    pub name: String,
    /// What the account marks it with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
}

impl Contact {
    /// Its names, as one text.
    #[must_use]
    pub fn full_name(&self) -> String {
        let names = [&self.first_name, &self.last_name].into_iter().flatten();
        names.map(String::as_str).collect::<Vec<_>>().join(" ")
    }

    /// Checks lengths, and that it has a telephone number.
    ///
    /// # Errors
    /// [`VaultError::Invalid`] that names the field.
    pub fn check(&self) -> Result<()> {
        let digits = self.number.as_str().trim_start_matches('+');
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(VaultError::invalid("number", "expected a telephone number"));
        }
        let texts = [
            ("first_name", &self.first_name),
            ("last_name", &self.last_name),
            ("company_name", &self.company_name),
            ("email", &self.email),
            ("tag", &self.tag),
        ];
        for (field, text) in texts {
            check_text(field, text.as_deref())?;
        }
        let custom = self.custom.as_ref().map_or(0, String::len);
        if custom > MAX_CUSTOM_BYTES {
            let reason = format!("longer than {MAX_CUSTOM_BYTES} bytes");
            return Err(VaultError::invalid("custom", reason));
        }
        match &self.email {
            Some(email) if !is_address(email) => Err(VaultError::invalid("email", "expected an e-mail address")),
            _ => Ok(()),
        }
    }
}

impl List {
    /// Checks lengths, and that it has a name.
    ///
    /// # Errors
    /// [`VaultError::Invalid`] that names the field.
    pub fn check(&self) -> Result<()> {
        if self.name.trim().is_empty() {
            return Err(VaultError::invalid("name", "expected a name"));
        }
        check_text("name", Some(&self.name))?;
        check_text("tag", self.tag.as_deref())
    }
}

fn check_text(field: &'static str, text: Option<&str>) -> Result<()> {
    let text = text.unwrap_or_default();
    if text.chars().count() > MAX_TEXT_CHARS {
        return Err(VaultError::invalid(
            field,
            format!("longer than {MAX_TEXT_CHARS} characters"),
        ));
    }
    match text.chars().any(char::is_control) {
        true => Err(VaultError::invalid(field, "control characters are not taken")),
        false => Ok(()),
    }
}

fn is_address(text: &str) -> bool {
    let parts = text.split_once('@');
    parts.is_some_and(|(user, domain)| {
        !user.is_empty() && !domain.is_empty() && !domain.contains('@') && !text.contains(char::is_whitespace)
    })
}

fn duplicate(what: &str) -> VaultError {
    Refusal::new("duplicate", what).into()
}

fn not_there(kind: DocumentKind) -> VaultError {
    VaultError::NotFound { what: kind.as_str() }
}

impl Account {
    fn list_name_hash(&self, name: &str) -> [u8; 16] {
        self.keys.blind.hash("list-name", name.trim())
    }
}

/// What became of one contact or list of several.
pub type Outcome<T> = Result<Document<T>>;

impl Vault {
    /// Adds contacts, as members of a list if one is named. One that is wrong, or whose number another contact has or is
    /// suppressed, is refused, and the others are added. Answers are in the order of the contacts.
    ///
    /// # Errors
    /// [`VaultError::NotFound`] when there is no such list; [`VaultError::Invalid`] above [`MAX_BATCH`]; those of the
    /// stores, and then none is added.
    pub async fn create_contacts(
        &self,
        account: &Account,
        contacts: Vec<Contact>,
        list: Option<Sid>,
    ) -> Result<Vec<Outcome<Contact>>> {
        check_batch(contacts.len())?;
        let names: Vec<[u8; 16]> = contacts
            .iter()
            .map(|contact| account.number_hash(&contact.number))
            .collect();
        let suppressed = self.find_suppressed(account, &names).await?;
        let mut outcomes: Vec<Result<Option<Sid>>> = Vec::with_capacity(contacts.len());
        let (mut new, mut seen) = (Vec::new(), HashSet::new());
        for (contact, name) in contacts.into_iter().zip(names) {
            let fault = contact.check().err();
            let fault = fault.or_else(|| suppressed.contains(&name).then(suppression::refuse));
            let fault = fault.or_else(|| (!seen.insert(name)).then(|| duplicate("number: twice in this request.")));
            if let Some(fault) = fault {
                outcomes.push(Err(fault));
                continue;
            }
            let now = self.now();
            let id = Account::fresh_sid(now)?;
            new.push(NewDocument {
                id,
                at: now,
                name: Some(name),
                body: contact,
            });
            outcomes.push(Ok(Some(id)));
        }
        let added = self
            .insert_documents(account, DocumentKind::Contact, &new, list)
            .await?;
        let added: HashSet<Sid> = new
            .iter()
            .zip(added)
            .filter(|(_, added)| *added)
            .map(|(new, _)| new.id)
            .collect();
        self.forget_suppressed(account, &new, &added).await?;
        let ids: Vec<Sid> = added.into_iter().collect();
        let found = self
            .find_documents(account, DocumentKind::Contact, &ids, Reader::Account)
            .await?;
        Ok(match_outcomes(outcomes, found))
    }

    /// Takes back what was added while its number was being suppressed.
    async fn forget_suppressed(
        &self,
        account: &Account,
        new: &[NewDocument<Contact>],
        added: &HashSet<Sid>,
    ) -> Result<()> {
        let names: Vec<[u8; 16]> = new.iter().filter_map(|new| new.name).collect();
        let suppressed = self.find_suppressed(account, &names).await?;
        let late = new
            .iter()
            .filter(|new| new.name.is_some_and(|name| suppressed.contains(&name)));
        let late: Vec<Sid> = late.map(|new| new.id).filter(|id| added.contains(id)).collect();
        if !late.is_empty() {
            self.delete_documents(&account.sid, DocumentKind::Contact, &late, Cause::Right)
                .await?;
        }
        Ok(())
    }

    /// One contact.
    ///
    /// # Errors
    /// [`VaultError::NotFound`].
    pub async fn get_contact(&self, account: &Account, id: Sid) -> Result<Document<Contact>> {
        let found = self
            .find_document(account, DocumentKind::Contact, id, Reader::Account)
            .await?;
        found.ok_or_else(|| not_there(DocumentKind::Contact))
    }

    /// The contact with this number.
    ///
    /// # Errors
    /// Those of the stores.
    pub async fn find_contact(&self, account: &Account, number: &Number) -> Result<Option<Document<Contact>>> {
        let name = account.number_hash(number);
        self.find_named(account, DocumentKind::Contact, name, Reader::Account)
            .await
    }

    /// Changes a contact. The old version is gone for good.
    ///
    /// # Errors
    /// [`VaultError::Refused`] when it is held, or another contact has the number, or the number is suppressed;
    /// [`VaultError::Invalid`]; [`VaultError::NotFound`].
    pub async fn update_contact(
        &self,
        account: &Account,
        id: Sid,
        change: impl Fn(&Contact) -> Contact,
    ) -> Outcome<Contact> {
        let old = self.get_contact(account, id).await?;
        let contact = change(&old.body);
        contact.check()?;
        self.check_free(account, &old)?;
        let name = account.number_hash(&contact.number);
        if contact.number != old.body.number && !self.find_suppressed(account, &[name]).await?.is_empty() {
            return Err(suppression::refuse());
        }
        let moved = contact.number != old.body.number;
        let done = self.replace_document(&old, Some(name), contact).await?;
        let done = done.ok_or_else(|| duplicate("number: another contact has it."))?;
        // A number that was suppressed meanwhile is on no list.
        if moved && !self.find_suppressed(account, &[name]).await?.is_empty() {
            self.take_off_lists(account, id).await?;
        }
        Ok(done)
    }

    /// A hold freezes what a document says as it freezes the document.
    fn check_free<T>(&self, account: &Account, document: &Document<T>) -> Result<()> {
        match self.find_document_hold(account, document) {
            Some(hold) => {
                let reason = format!("Legal hold {hold} freezes it; it can be changed once the hold is lifted.");
                Err(Refusal::new("held", reason).into())
            }
            None => Ok(()),
        }
    }

    /// Deletes contacts, from every list that has them. Returns the log entries that say so.
    ///
    /// # Errors
    /// [`VaultError::NotFound`], [`VaultError::Refused`] when one is held; then none is deleted.
    pub async fn delete_contacts(&self, account: &Account, ids: &[Sid]) -> Result<Vec<u64>> {
        self.delete_documents(&account.sid, DocumentKind::Contact, ids, Cause::Request)
            .await
    }

    /// Adds lists. One that is wrong, or whose name another one has, is refused.
    ///
    /// # Errors
    /// [`VaultError::Refused`] above [`MAX_LISTS`]; as [`Vault::create_contacts`].
    pub async fn create_lists(&self, account: &Account, lists: Vec<List>) -> Result<Vec<Outcome<List>>> {
        check_batch(lists.len())?;
        let there = self.count_documents(account, DocumentKind::List).await?;
        if there + lists.len() as u64 > MAX_LISTS {
            return Err(Refusal::new("too-many", format!("An account has at most {MAX_LISTS} lists.")).into());
        }
        let mut outcomes: Vec<Result<Option<Sid>>> = Vec::with_capacity(lists.len());
        let mut new = Vec::new();
        for list in lists {
            if let Err(fault) = list.check() {
                outcomes.push(Err(fault));
                continue;
            }
            let now = self.now();
            let id = Account::fresh_sid(now)?;
            outcomes.push(Ok(Some(id)));
            new.push(NewDocument {
                id,
                at: now,
                name: Some(account.list_name_hash(&list.name)),
                body: list,
            });
        }
        let added = self.insert_documents(account, DocumentKind::List, &new, None).await?;
        let ids: Vec<Sid> = new
            .iter()
            .zip(added)
            .filter(|(_, added)| *added)
            .map(|(new, _)| new.id)
            .collect();
        let found = self
            .find_documents(account, DocumentKind::List, &ids, Reader::Account)
            .await?;
        Ok(match_outcomes(outcomes, found))
    }

    /// One list.
    ///
    /// # Errors
    /// [`VaultError::NotFound`].
    pub async fn get_list(&self, account: &Account, id: Sid) -> Result<Document<List>> {
        let found = self
            .find_document(account, DocumentKind::List, id, Reader::Account)
            .await?;
        found.ok_or_else(|| not_there(DocumentKind::List))
    }

    /// The list with this name.
    ///
    /// # Errors
    /// Those of the stores.
    pub async fn find_list(&self, account: &Account, name: &str) -> Result<Option<Document<List>>> {
        let name = account.list_name_hash(name);
        self.find_named(account, DocumentKind::List, name, Reader::Account)
            .await
    }

    /// Changes a list.
    ///
    /// # Errors
    /// As [`Vault::update_contact`].
    pub async fn update_list(&self, account: &Account, id: Sid, change: impl Fn(&List) -> List) -> Outcome<List> {
        let old = self.get_list(account, id).await?;
        let list = change(&old.body);
        list.check()?;
        self.check_free(account, &old)?;
        let name = account.list_name_hash(&list.name);
        let done = self.replace_document(&old, Some(name), list).await?;
        done.ok_or_else(|| duplicate("name: another list has it."))
    }

    /// Deletes a list. Its contacts stay.
    ///
    /// # Errors
    /// As [`Vault::delete_contacts`].
    pub async fn delete_list(&self, account: &Account, id: Sid) -> Result<Vec<u64>> {
        self.delete_documents(&account.sid, DocumentKind::List, &[id], Cause::Request)
            .await
    }

    /// Makes contacts members of a list; one that is a member already stays one. Answers are in the order of the contacts.
    ///
    /// # Errors
    /// [`VaultError::NotFound`] when there is no such list; [`VaultError::Invalid`] above [`MAX_BATCH`].
    pub async fn add_to_list(&self, account: &Account, list: Sid, contacts: &[Sid]) -> Result<Vec<Result<()>>> {
        check_batch(contacts.len())?;
        let found = self
            .find_documents::<Contact>(account, DocumentKind::Contact, contacts, Reader::Account)
            .await?;
        let numbers: HashMap<Sid, [u8; 16]> = found
            .iter()
            .map(|found| (found.id, account.number_hash(&found.body.number)))
            .collect();
        let names: Vec<[u8; 16]> = numbers.values().copied().collect();
        let suppressed = self.find_suppressed(account, &names).await?;
        let decide = |id: &Sid| match numbers.get(id) {
            None => Err(not_there(DocumentKind::Contact)),
            Some(name) if suppressed.contains(name) => Err(suppression::refuse()),
            Some(_) => Ok(()),
        };
        let decided: Vec<Result<()>> = contacts.iter().map(decide).collect();
        let allowed = contacts.iter().zip(&decided).filter(|(_, decided)| decided.is_ok());
        let allowed: Vec<Sid> = allowed.map(|(id, _)| *id).collect();
        let added = self
            .catalog
            .add_members(&account.sid, list, DocumentKind::Contact, &allowed, self.now());
        match added.await {
            Err(StoreError::NotFound { what }) => return Err(VaultError::NotFound { what }),
            done => done?,
        };
        // A number that was suppressed meanwhile is taken off again.
        let late = self.find_suppressed(account, &names).await?;
        for (id, name) in numbers.iter().filter(|(_, name)| late.contains(*name)) {
            if !suppressed.contains(name) {
                self.catalog.remove_member(&account.sid, list, *id).await?;
            }
        }
        Ok(decided)
    }

    /// Takes a contact off a list; it stays a contact.
    ///
    /// # Errors
    /// [`VaultError::NotFound`] when it is not on it.
    pub async fn remove_from_list(&self, account: &Account, list: Sid, contact: Sid) -> Result<()> {
        match self.catalog.remove_member(&account.sid, list, contact).await? {
            true => Ok(()),
            false => Err(not_there(DocumentKind::Contact)),
        }
    }

    /// Takes a contact off every list.
    pub(super) async fn take_off_lists(&self, account: &Account, contact: Sid) -> Result<()> {
        for (_, list) in self.catalog.list_memberships(&account.sid, &[contact]).await? {
            self.catalog.remove_member(&account.sid, list, contact).await?;
        }
        Ok(())
    }

    /// The lists that each of these contacts is on.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn list_memberships(&self, account: &Account, contacts: &[Sid]) -> Result<HashMap<Sid, Vec<Sid>>> {
        let mut lists: HashMap<Sid, Vec<Sid>> = HashMap::new();
        for (contact, list) in self.catalog.list_memberships(&account.sid, contacts).await? {
            lists.entry(contact).or_default().push(list);
        }
        Ok(lists)
    }

    /// Contacts of an account or of a list, by the moment they were made; moves the query to the next page, and its
    /// `after` is nothing at the end.
    ///
    /// # Errors
    /// Those of the stores.
    pub async fn page_contacts(&self, account: &Account, query: &mut DocumentQuery) -> Result<Vec<Document<Contact>>> {
        self.page_documents(account, DocumentKind::Contact, query, Reader::Account)
            .await
    }
}

fn check_batch(count: usize) -> Result<()> {
    match count {
        1..=MAX_BATCH => Ok(()),
        _ => Err(VaultError::invalid("body", format!("expected 1 to {MAX_BATCH} items"))),
    }
}

/// Puts what was added beside what was refused before; what is missing of the former has a name that another one has.
fn match_outcomes<T>(outcomes: Vec<Result<Option<Sid>>>, found: Vec<Document<T>>) -> Vec<Outcome<T>> {
    let mut found: HashMap<Sid, Document<T>> = found.into_iter().map(|document| (document.id, document)).collect();
    let finish = |outcome: Result<Option<Sid>>| match outcome?.and_then(|id| found.remove(&id)) {
        Some(document) => Ok(document),
        None => Err(duplicate("Another one has this number or name.")),
    };
    outcomes.into_iter().map(finish).collect()
}
