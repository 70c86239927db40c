//! Query parameters, read one by one so that each error names its parameter.

use std::{collections::BTreeMap, convert::Infallible, str::FromStr};

use axum::{
    Json,
    extract::{FromRequestParts, rejection::JsonRejection},
    http::{StatusCode, request::Parts},
};
use callvault_app::{
    Account,
    core::{Number, Sid, TimeUs},
    read::Cursor,
};

use crate::problem::{Answer, Problem};

/// The parameters of a request. What is left after reading is an error: a misspelt filter must not be ignored.
pub struct Params(BTreeMap<String, String>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::parse(parts.uri.query().unwrap_or_default()))
    }
}

impl Params {
    fn parse(query: &str) -> Self {
        let mut params = BTreeMap::new();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()).into_owned() {
            // A parameter sent twice is left over under a name that nobody asks for, and so refused.
            let name = if params.contains_key(&name) {
                format!("{name} (sent twice)")
            } else {
                name
            };
            params.insert(name, value);
        }
        Self(params)
    }

    /// A parameter's text, if it was sent and is not empty.
    pub fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name).filter(|value| !value.is_empty())
    }

    /// A parameter of a type that reads itself.
    ///
    /// # Errors
    /// 422 that names the parameter and what was expected.
    pub fn take_as<T: FromStr>(&mut self, name: &'static str, expected: &str) -> Answer<Option<T>> {
        self.take(name)
            .map(|text| {
                text.parse()
                    .map_err(|_| Problem::invalid(name, format!("Expected {expected}.")))
            })
            .transpose()
    }

    /// A moment.
    ///
    /// # Errors
    /// 422.
    pub fn take_time(&mut self, name: &'static str) -> Answer<Option<TimeUs>> {
        self.take(name).map(|text| parse_time(name, &text)).transpose()
    }

    /// A telephone number; national ones are read in the account's country.
    ///
    /// # Errors
    /// 422.
    pub fn take_number(&mut self, name: &'static str, account: &Account) -> Answer<Option<Number>> {
        self.take(name)
            .map(|text| parse_number(name, &text, account))
            .transpose()
    }

    /// The size of a page.
    ///
    /// # Errors
    /// 422.
    pub fn take_limit(&mut self) -> Answer<usize> {
        let limit = self.take_as("limit", "a number from 1 to 1000")?.unwrap_or(50);
        if (1..=callvault_app::read::MAX_PAGE).contains(&limit) {
            Ok(limit)
        } else {
            Err(Problem::invalid("limit", "Expected a number from 1 to 1000."))
        }
    }

    /// Where a listing continues.
    ///
    /// # Errors
    /// 422.
    pub fn take_cursor(&mut self) -> Answer<Option<Cursor>> {
        self.take("after").map(|text| parse_cursor(&text)).transpose()
    }

    /// Refuses parameters that nobody asked for.
    ///
    /// # Errors
    /// 422 that names one.
    pub fn finish(self) -> Answer<()> {
        match self.0.into_iter().find(|(_, value)| !value.is_empty()) {
            // The name itself is the caller's text and stays out of the answer.
            Some(_) => Err(Problem::invalid(
                "query",
                "There is a parameter that this endpoint does not know.",
            )),
            None => Ok(()),
        }
    }
}

/// Reads a moment, RFC 3339.
///
/// # Errors
/// 422.
pub fn parse_time(field: &'static str, text: &str) -> Answer<TimeUs> {
    // In a query, an unescaped `+` of the offset arrives as a blank.
    TimeUs::parse(&text.replace(' ', "+")).map_err(|error| Problem::invalid(field, format!("{error}.")))
}

/// Reads a telephone number.
///
/// # Errors
/// 422; the text is not repeated.
pub fn parse_number(field: &'static str, text: &str, account: &Account) -> Answer<Number> {
    let text = match text.strip_prefix(' ') {
        Some(rest) => format!("+{rest}"),
        None => text.to_owned(),
    };
    Number::parse(&text, account.country).map_err(|error| Problem::invalid(field, format!("Is {error}.")))
}

/// Reads a SID from a path. What is none does not exist.
///
/// # Errors
/// 404.
pub fn parse_sid(text: &str, what: &str) -> Answer<Sid> {
    text.parse().map_err(|_| Problem::not_found(what))
}

/// Reads a JSON body.
///
/// # Errors
/// 400 when it is no JSON, 415 when it says it is none, 422 when a field is missing, unknown or of another type.
pub fn read_json<T>(body: Result<Json<T>, JsonRejection>) -> Answer<T> {
    match body {
        Ok(Json(value)) => Ok(value),
        Err(JsonRejection::JsonDataError(error)) => {
            // serde names fields in backticks; the first is the one at fault. Values stay out of the answer.
            let text = error.body_text();
            let field = text
                .split('`')
                .nth(1)
                .filter(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
            let field = field.unwrap_or("body").to_owned();
            Err(Problem::invalid(field, "Missing, unknown, or of another type."))
        }
        Err(JsonRejection::JsonSyntaxError(_)) => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "malformed-json",
            "The body is not JSON.",
        )),
        Err(JsonRejection::MissingJsonContentType(_)) => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "not-json",
            "Send application/json.",
        )),
        Err(_) => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "body-cut",
            "The body could not be read.",
        )),
    }
}

/// A cursor as clients see it: opaque.
#[must_use]
pub fn show_cursor(cursor: Cursor) -> String {
    format!("{:016x}{}", cursor.at.0, cursor.sid)
}

fn parse_cursor(text: &str) -> Answer<Cursor> {
    let bad = || Problem::invalid("after", "Not a cursor of this listing; take it from `next_after`.");
    let (at, sid) = text.split_at_checked(16).ok_or_else(bad)?;
    let at = i64::from_str_radix(at, 16).map_err(|_| bad())?;
    Ok(Cursor {
        at: TimeUs(at),
        sid: sid.parse().map_err(|_| bad())?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_survive_the_trip() {
        let at = TimeUs(1_763_890_000_123_456);
        let cursor = Cursor {
            at,
            sid: Sid::new(at, [9; 10]),
        };
        assert!(parse_cursor(&show_cursor(cursor)).is_ok_and(|read| read == cursor));
        for text in ["", "zz", &"0".repeat(47), &"é".repeat(24)] {
            assert!(parse_cursor(text).is_err(), "{text}");
        }
    }

    #[test]
    fn every_wrong_parameter_is_named() {
        let field = |problem: Problem| problem.field.unwrap_or_default().into_owned();
        let mut params = Params::parse("limit=0&from=yesterday&wat=1");
        assert_eq!(field(params.take_limit().expect_err("limit")), "limit");
        assert_eq!(field(params.take_time("from").expect_err("from")), "from");
        assert_eq!(field(params.finish().expect_err("unknown")), "query");
    }

    #[test]
    fn an_offset_with_a_bare_plus_is_read() {
        let mut params = Params::parse("from=2026-01-31T09:30:00+05:30");
        let at = params.take_time("from").expect("good").expect("there");
        assert_eq!(at.to_string(), "2026-01-31T04:00:00Z");
    }
}
