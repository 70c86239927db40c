//! Query parameters, read one by one so that each error names its parameter.

use std::{collections::BTreeMap, convert::Infallible, marker::PhantomData, str::FromStr};

use axum::{
    Json,
    body::Bytes,
    extract::{
        FromRequestParts,
        rejection::{BytesRejection, JsonRejection},
    },
    http::{StatusCode, request::Parts},
};
use callvault_app::{
    Account,
    core::{Number, Sid, TimeUs},
    read::Cursor,
};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};

use crate::{
    api::MAX_BODY_BYTES,
    problem::{Answer, Problem},
};

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

    /// A SID, in upper or lower case.
    ///
    /// # Errors
    /// 422 that names the parameter.
    pub fn take_sid(&mut self, name: &'static str) -> Answer<Option<Sid>> {
        let text = self.take(name).map(|text| text.to_ascii_lowercase());
        let sid = text.map(|text| text.parse()).transpose();
        sid.map_err(|_| Problem::invalid(name, "Expected a SID, 32 hexadecimal digits."))
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
        let Some((name, _)) = self.0.into_iter().find(|(_, value)| !value.is_empty()) else {
            return Ok(());
        };
        // What does not look like a name is not repeated: it may be anything.
        let is_name = name.len() <= 32 && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        let field = if is_name { name } else { "query".to_owned() };
        Err(Problem::invalid(
            field,
            "This endpoint does not know this parameter, or it was sent twice.",
        ))
    }
}

/// Reads a moment: RFC 3339, or a day, which is its first moment in UTC.
///
/// # Errors
/// 422.
pub fn parse_time(field: &'static str, text: &str) -> Answer<TimeUs> {
    // In a query, an unescaped `+` of the offset arrives as a blank.
    crate::cli::parse_time(&text.replace(' ', "+")).map_err(|error| Problem::invalid(field, format!("{error}.")))
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

/// A JSON object as a structure. serde by itself also takes an array for one, its fields in order.
pub struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}

/// A whole number as JSON Schema means it: `30.0` is one.
///
/// # Errors
/// For what is none, or does not fit.
pub fn whole_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    use serde::de::Error as _;
    let number = serde_json::Number::deserialize(deserializer)?;
    let whole = number.as_f64().filter(|number| number.fract() == 0.0);
    let text = whole.map(|number| format!("{number:.0}"));
    text.and_then(|text| text.parse().ok())
        .ok_or_else(|| D::Error::custom("expected a whole number"))
}

/// What a handler gets of a JSON body.
pub type JsonBody<T> = Result<Json<Object<T>>, JsonRejection>;

/// Reads a JSON body.
///
/// # Errors
/// 400 when it is no JSON, 413 when it is too long, 415 when it says it is no JSON, 422 when a field is missing, unknown
/// or of another type.
pub fn read_json<T>(body: JsonBody<T>) -> Answer<T> {
    match body {
        Ok(Json(Object(value))) => Ok(value),
        Err(JsonRejection::JsonDataError(error)) => {
            let field = field_at_fault(&error.body_text());
            Err(Problem::invalid(
                field,
                "Missing, unknown, sent twice, or of another type.",
            ))
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
        Err(rejection) => Err(unreadable(rejection.status(), MAX_BODY_BYTES)),
    }
}

/// Reads a whole body of bytes.
///
/// # Errors
/// 413 above the endpoint's limit, 400 when it broke off.
pub fn read_bytes(body: Result<Bytes, BytesRejection>, limit_bytes: usize) -> Answer<Bytes> {
    body.map_err(|rejection| unreadable(rejection.status(), limit_bytes))
}

fn unreadable(status: StatusCode, limit_bytes: usize) -> Problem {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::too_large(limit_bytes),
        _ => Problem::new(StatusCode::BAD_REQUEST, "body-cut", "The body broke off or stalled."),
    }
}

/// The field that serde's text is about: the path it begins with, or the name behind what is wrong with it. Values stay
/// out of it.
fn field_at_fault(text: &str) -> String {
    let said = text.rsplit_once("target type: ").map_or(text, |(_, said)| said);
    let is_name = |name: &&str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let path = said
        .split(": ")
        .next()
        .and_then(|path| path.split(['[', '.']).next())
        .filter(is_name)
        .filter(|_| said.contains(": "));
    let named = || {
        ["missing field `", "unknown field `", "duplicate field `"]
            .iter()
            .find_map(|start| said.strip_prefix(start))
            .and_then(|rest| rest.split('`').next())
            .filter(is_name)
    };
    path.or_else(named).unwrap_or("body").to_owned()
}

/// A cursor as clients see it: opaque.
#[must_use]
pub fn show_cursor(cursor: Cursor) -> String {
    format!("{:016x}{}", cursor.at.0, cursor.sid)
}

/// A cursor from a client.
///
/// # Errors
/// 422.
pub fn parse_cursor(text: &str) -> Answer<Cursor> {
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
        assert_eq!(field(params.finish().expect_err("unknown")), "wat");
        let params = Params::parse("%2B919876543210=1");
        assert_eq!(field(params.finish().expect_err("unknown")), "query");
    }

    #[test]
    fn the_field_at_fault_is_found_and_no_value_is_taken_for_one() {
        let start = "Failed to deserialize the JSON body into the target type: ";
        for (said, field) in [
            (
                "recording_days: invalid type: string \"90\", expected u32 at line 1 column 22",
                "recording_days",
            ),
            (
                "sids[3]: invalid type: integer `7`, expected a string at line 1 column 22",
                "sids",
            ),
            ("missing field `matter` at line 1 column 2", "matter"),
            (
                "unknown field `colour`, expected `recording_days` at line 1 column 9",
                "colour",
            ),
            (
                "invalid type: string \"`secret`: x\", expected an object at line 1 column 9",
                "body",
            ),
        ] {
            assert_eq!(field_at_fault(&format!("{start}{said}")), field, "{said}");
        }
    }

    #[test]
    fn a_day_is_its_first_moment() {
        let mut params = Params::parse("to=2026-01-31");
        let at = params.take_time("to").expect("good").expect("there");
        assert_eq!(at.to_string(), "2026-01-31T00:00:00Z");
    }

    #[test]
    fn an_offset_with_a_bare_plus_is_read() {
        let mut params = Params::parse("from=2026-01-31T09:30:00+05:30");
        let at = params.take_time("from").expect("good").expect("there");
        assert_eq!(at.to_string(), "2026-01-31T04:00:00Z");
    }
}
