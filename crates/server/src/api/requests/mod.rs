//! Support requests: deletions that one person asks for and another one approves.

pub mod answer;
pub mod body;
pub mod create;
pub mod get;
pub mod list;
pub mod preview;

use callvault_app::{core::request::MAX_REASON_CHARS, line::Person};

use crate::{
    door::Caller,
    problem::{Answer, Problem},
};

/// The person who calls.
pub(crate) fn person_of(caller: &Caller) -> Person {
    Person {
        id: caller.person.clone(),
        role: caller.role.as_str().to_owned(),
    }
}

/// A reason or note as people write one.
pub(crate) fn read_text(field: &'static str, text: &str) -> Answer<String> {
    let text = text.trim();
    let is_bad = |c: char| c.is_control() && c != '\n';
    if text.is_empty() || text.chars().count() > MAX_REASON_CHARS || text.chars().any(is_bad) {
        let expected = format!("Expected 1 to {MAX_REASON_CHARS} characters of text.");
        return Err(Problem::invalid(field, expected));
    }
    Ok(text.to_owned())
}
