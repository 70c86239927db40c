//! Parameters as the platform's clients send them: names in any case, lists as `Name[]`, `Name[0]` or repeated.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    http::{StatusCode, header},
};
use callvault_app::{Account, core::Number};

use super::reply::Fault;
use crate::{door::Door, problem::Problem};

/// The longest list of one parameter.
pub const MAX_LIST: usize = 100;

/// Named values of a body or query, in order.
#[derive(Debug, Default)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// Reads `application/x-www-form-urlencoded`; the same text stands in a query.
    #[must_use]
    pub fn parse(text: &[u8]) -> Self {
        let pairs = url::form_urlencoded::parse(text).into_owned();
        Self(
            pairs
                .map(|(name, value)| {
                    let bare = name.split('[').next().unwrap_or_default().to_ascii_lowercase();
                    (bare, value)
                })
                .collect(),
        )
    }

    fn of_json(text: &[u8]) -> Result<Self, Fault> {
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(text).map_err(|_| Fault::bad("body", "Expected a JSON object."))?;
        let text_of = |value: &serde_json::Value| match value {
            serde_json::Value::String(text) => Some(text.clone()),
            serde_json::Value::Number(_) | serde_json::Value::Bool(_) => Some(value.to_string()),
            _ => None,
        };
        let fields = object
            .iter()
            .filter_map(|(name, value)| Some((name.to_ascii_lowercase(), text_of(value)?)));
        Ok(Self(fields.collect()))
    }

    /// A value, if it was sent and is not empty. The first of several counts.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Every value of a name.
    pub fn all<'f>(&'f self, name: &str) -> impl Iterator<Item = &'f str> + use<'f> {
        let name = name.to_ascii_lowercase();
        self.0
            .iter()
            .filter(move |(known, value)| *known == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    /// A value that must be there.
    ///
    /// # Errors
    /// 400 that names it.
    pub fn get(&self, name: &'static str) -> Result<&str, Fault> {
        self.find(name)
            .ok_or_else(|| Fault::bad(name, "Mandatory parameter missing."))
    }

    /// A text of at most so many characters.
    ///
    /// # Errors
    /// 400.
    pub fn text(&self, name: &'static str, most_chars: usize) -> Result<Option<String>, Fault> {
        match self.find(name) {
            Some(text) if text.chars().count() > most_chars => {
                Err(Fault::bad(name, &format!("Longer than {most_chars} characters.")))
            }
            text => Ok(text.map(ToOwned::to_owned)),
        }
    }

    /// A whole number within bounds.
    ///
    /// # Errors
    /// 400.
    pub fn number(&self, name: &'static str, bounds: std::ops::RangeInclusive<u32>) -> Result<Option<u32>, Fault> {
        let read = |text: &str| {
            let number = text.trim().parse().ok().filter(|number| bounds.contains(number));
            number.ok_or_else(|| {
                let (least, most) = (bounds.start(), bounds.end());
                Fault::bad(name, &format!("Expected a number from {least} to {most}."))
            })
        };
        self.find(name).map(read).transpose()
    }

    /// `true` or `false`, in any case.
    ///
    /// # Errors
    /// 400.
    pub fn flag(&self, name: &'static str) -> Result<bool, Fault> {
        match self.find(name).map(str::to_ascii_lowercase).as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Fault::bad(name, "Expected true or false.")),
        }
    }

    /// An address that is told something: http or https.
    ///
    /// # Errors
    /// 400.
    pub fn url(&self, name: &'static str) -> Result<Option<String>, Fault> {
        let read = |text: &str| match read_target(text) {
            Some(url) => Ok(url.to_string()),
            None => Err(Fault::bad(name, TARGET)),
        };
        self.find(name).map(read).transpose()
    }
}

/// The longest address that is told something.
pub const MAX_URL_BYTES: usize = 2_000;
/// What an address that is told something is.
pub const TARGET: &str =
    "Expected an http or https address of up to 2,000 printable ASCII characters, without a user name.";

/// An address that can be told something. Credentials in it would be shown to whoever sees the address; what a parser of
/// addresses drops in silence, such as line breaks, is not taken.
#[must_use]
pub fn read_target(text: &str) -> Option<url::Url> {
    let is_plain = text.len() <= MAX_URL_BYTES && text.bytes().all(|byte| byte.is_ascii_graphic());
    let url = url::Url::parse(text).ok().filter(|_| is_plain)?;
    let is_bare = url.username().is_empty() && url.password().is_none();
    (matches!(url.scheme(), "http" | "https") && url.has_host() && is_bare).then_some(url)
}

/// A telephone number, a sender id, or a SIP user.
///
/// # Errors
/// 400; the text is not repeated.
pub fn read_party(name: &'static str, text: &str, account: &Account) -> Result<Number, Fault> {
    let number = Number::parse(text, account.country).map_err(|error| Fault::bad(name, &format!("Is {error}.")))?;
    if number.is_withheld() {
        return Err(Fault::bad(name, "Mandatory parameter missing."));
    }
    Ok(number)
}

/// A form or a flat JSON object: newer clients of the platform send either.
pub struct AnyBody(pub Result<Fields, Fault>);

impl FromRequest<Arc<Door>> for AnyBody {
    type Rejection = std::convert::Infallible;

    async fn from_request(request: Request, door: &Arc<Door>) -> Result<Self, Self::Rejection> {
        let kind = request.headers().get(header::CONTENT_TYPE);
        let is_json = kind.is_some_and(|kind| kind.as_bytes().to_ascii_lowercase().starts_with(b"application/json"));
        if !is_json {
            let FormBody(fields) = FormBody::from_request(request, door).await?;
            return Ok(Self(fields));
        }
        let body = Bytes::from_request(request, door).await;
        let body = crate::api::params::read_bytes(body, crate::api::MAX_BODY_BYTES).map_err(Fault::from);
        Ok(Self(body.and_then(|bytes| Fields::of_json(&bytes))))
    }
}

/// A form body, or none that could be read.
pub struct FormBody(pub Result<Fields, Fault>);

impl FromRequest<Arc<Door>> for FormBody {
    type Rejection = std::convert::Infallible;

    async fn from_request(request: Request, door: &Arc<Door>) -> Result<Self, Self::Rejection> {
        let kind = request.headers().get(header::CONTENT_TYPE);
        let kind = kind.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        let is_form = kind.is_empty() || kind.eq_ignore_ascii_case("application/x-www-form-urlencoded");
        if !is_form {
            let detail = "Send application/x-www-form-urlencoded.";
            let problem = Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-a-form", detail);
            return Ok(Self(Err(problem.into())));
        }
        let body = Bytes::from_request(request, door).await;
        let body = crate::api::params::read_bytes(body, crate::api::MAX_BODY_BYTES);
        Ok(Self(body.map(|bytes| Fields::parse(&bytes)).map_err(Fault::from)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_any_case_and_lists_any_spelling() {
        let fields = Fields::parse(
            b"from=%2B1&FROM=2&StatusCallbackEvents[]=terminal&statuscallbackevents[1]=answered&Record=TRUE&To=",
        );
        assert_eq!(fields.find("From"), Some("+1"));
        assert_eq!(
            fields.all("StatusCallbackEvents").collect::<Vec<_>>(),
            ["terminal", "answered"]
        );
        assert!(fields.flag("Record").is_ok_and(|on| on));
        assert!(fields.get("To").is_err());
        assert!(fields.url("From").is_err());
    }
}
