//! Contacts as JSON.

use callvault_app::{Account, contact::Contact, core::Number, document::Document};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::api::platform::envelope::{Failure, show_moment};

/// Contacts to add or change.
#[derive(Deserialize, ToSchema)]
pub struct ContactsBody {
    /// At most 5,000.
    #[schema(min_items = 1, max_items = 5000)]
    pub contacts: Vec<ContactBody>,
}

/// A contact to add, or what is to be changed of one. What is left out stays as it is.
#[derive(Deserialize, ToSchema)]
pub struct ContactBody {
    /// Identifier, to change one of several.
    #[serde(default)]
    pub sid: Option<String>,
    /// Telephone number; needed for a new one. National ones are read in the account's country.
    #[serde(default)]
    #[schema(max_length = 64)]
    pub number: Option<String>,
    /// First name.
    #[serde(default)]
    #[schema(max_length = 255)]
    pub first_name: Option<String>,
    /// Last name.
    #[serde(default)]
    #[schema(max_length = 255)]
    pub last_name: Option<String>,
    /// Company.
    #[serde(default)]
    #[schema(max_length = 255)]
    pub company_name: Option<String>,
    /// E-mail address.
    #[serde(default)]
    #[schema(max_length = 255)]
    pub email: Option<String>,
    /// A mark.
    #[serde(default)]
    #[schema(max_length = 255)]
    pub tag: Option<String>,
    /// A text or any other JSON, at most 4,096 bytes.
    #[serde(default)]
    pub custom: Option<Value>,
}

/// A contact as it is now.
#[derive(Serialize, ToSchema)]
pub struct ContactData {
    /// Identifier.
    pub sid: String,
    /// Telephone number, E.164 where it is one.
    pub number: String,
    /// First name.
    pub first_name: Option<String>,
    /// Last name.
    pub last_name: Option<String>,
    /// Company.
    pub company_name: Option<String>,
    /// E-mail address.
    pub email: Option<String>,
    /// A mark.
    pub tag: Option<String>,
    /// What was sent as `custom`.
    pub custom: Option<Value>,
    /// The lists it is on, with `filter=show_list`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lists: Option<Vec<String>>,
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

impl ContactData {
    pub(in crate::api::platform) fn of(account: &Account, contact: &Document<Contact>) -> Self {
        let body = contact.body.clone();
        Self {
            sid: contact.id.to_string(),
            number: body.number.as_str().to_owned(),
            first_name: body.first_name,
            last_name: body.last_name,
            company_name: body.company_name,
            email: body.email,
            tag: body.tag,
            custom: body
                .custom
                .map(|text| serde_json::from_str(&text).unwrap_or(Value::String(text))),
            lists: None,
            date_created: show_moment(account, contact.at),
            date_updated: show_moment(account, contact.updated_at),
            certificate: None,
        }
    }
}

impl ContactBody {
    pub(super) fn number(&self, account: &Account) -> Result<Option<Number>, Failure> {
        let read = |text: &String| {
            Number::parse(text, account.country).map_err(|error| Failure::bad("number", &format!("Is {error}.")))
        };
        self.number.as_ref().map(read).transpose()
    }

    /// A new contact.
    pub(super) fn read(self, account: &Account) -> Result<Contact, Failure> {
        let number = self.number(account)?;
        let number = number.ok_or_else(|| Failure::bad("number", "Mandatory parameter missing."))?;
        let blank = Contact {
            number: number.clone(),
            first_name: None,
            last_name: None,
            company_name: None,
            email: None,
            tag: None,
            custom: None,
        };
        let contact = self.change(&blank, Some(number));
        contact.check().map_err(Failure::from)?;
        Ok(contact)
    }

    /// A contact with what was sent in place of what it had; an empty text takes it away.
    pub(super) fn change(&self, old: &Contact, number: Option<Number>) -> Contact {
        let text = |new: &Option<String>, old: &Option<String>| match new {
            Some(new) => Some(new.trim().to_owned()).filter(|new| !new.is_empty()),
            None => old.clone(),
        };
        Contact {
            number: number.unwrap_or_else(|| old.number.clone()),
            first_name: text(&self.first_name, &old.first_name),
            last_name: text(&self.last_name, &old.last_name),
            company_name: text(&self.company_name, &old.company_name),
            email: text(&self.email, &old.email),
            tag: text(&self.tag, &old.tag),
            custom: match &self.custom {
                Some(Value::String(text)) => Some(Value::String(text.clone()).to_string()),
                Some(other) => Some(other.to_string()),
                None => old.custom.clone(),
            },
        }
    }
}
