//! Fields of a CSV row, and our own CSV: a header line with our field names in any order.

use std::borrow::Cow;

use callvault_core::{Class, record::Record};
use serde_json::Value;

use crate::export::{header_line, unprotect};

use super::{
    Fault, SidMaker,
    context::Context,
    field::{Draft, Field, REQUIRED, Scalar},
    json::push_member,
    ndjson::parse_extra,
    own::build_record,
};

/// The most columns a row may have.
pub(crate) const MAX_COLUMNS: usize = 512;

/// Splits a row that [`super::framing`] found into its fields. Only fields with doubled quotes are copied.
pub(crate) fn split_row(row: &str) -> impl Iterator<Item = Cow<'_, str>> {
    let mut rest = Some(row);
    std::iter::from_fn(move || {
        let text = rest?;
        let bytes = text.as_bytes();
        if bytes.first() != Some(&b'"') {
            let end = memchr::memchr(b',', bytes);
            rest = end.map(|end| &text[end + 1..]);
            return Some(Cow::Borrowed(&text[..end.unwrap_or(text.len())]));
        }
        let (mut at, mut doubled) = (1, false);
        let end = loop {
            let Some(quote) = memchr::memchr(b'"', &bytes[at..]) else {
                break text.len();
            };
            let quote = at + quote;
            if bytes.get(quote + 1) != Some(&b'"') {
                break quote;
            }
            doubled = true;
            at = quote + 2;
        };
        let field = &text[1..end];
        rest = text.get(end + 1..).and_then(|after| after.strip_prefix(','));
        Some(if doubled {
            Cow::Owned(field.replace("\"\"", "\""))
        } else {
            Cow::Borrowed(field)
        })
    })
}

/// What the columns of an own CSV are.
pub(crate) struct Header {
    class: Class,
    columns: Vec<Column>,
    /// Whether the line is that of an export, so that its fields carry the apostrophes of one.
    exported: bool,
}

enum Column {
    Known(Field),
    Other(String),
}

impl Header {
    /// Reads the header line.
    pub(crate) fn read(class: Class, line: &str) -> Result<Self, String> {
        let mut columns: Vec<Column> = Vec::new();
        for name in split_row(line) {
            let name = name.trim();
            if columns.len() == MAX_COLUMNS {
                return Err(format!("has more than {MAX_COLUMNS} columns"));
            }
            let column = match Field::find(class, name) {
                Some(field) => Column::Known(field),
                None => Column::Other(name.to_owned()),
            };
            let twice = columns.iter().any(|earlier| match (earlier, &column) {
                (Column::Known(a), Column::Known(b)) => a == b,
                (Column::Other(a), Column::Other(b)) => a == b,
                _ => false,
            });
            if twice {
                return Err(format!("names column {} twice", columns.len() + 1));
            }
            columns.push(column);
        }
        let known = |field: &Field| {
            columns
                .iter()
                .any(|column| matches!(column, Column::Known(known) if known == field))
        };
        let missing: Vec<&str> = REQUIRED
            .iter()
            .filter(|field| !known(field))
            .map(|field| field.name())
            .collect();
        if !missing.is_empty() {
            return Err(format!("lacks the required column(s) {}", missing.join(", ")));
        }
        let exported = line == header_line(class);
        Ok(Self {
            class,
            columns,
            exported,
        })
    }

    /// Reads one row.
    pub(crate) fn read_row<S: SidMaker>(&self, row: &str, cx: &mut Context<S>) -> Result<Record, Fault> {
        let mut draft = Draft::new();
        let mut extra_text = None;
        let mut count = 0;
        for value in split_row(row) {
            let value = if self.exported { unprotected(value) } else { value };
            match self.columns.get(count) {
                Some(Column::Known(Field::Extra)) => extra_text = Some(value),
                Some(Column::Known(field)) => {
                    draft.set(*field, Scalar::Text(value));
                }
                Some(Column::Other(name)) if !value.is_empty() => push_member(&mut draft.extra, name, &value),
                _ => {}
            }
            count += 1;
        }
        if count != self.columns.len() {
            return Err(wrong_column_count(count, &self.columns.len().to_string()));
        }
        if !draft.extra.is_empty() {
            draft.extra.push('}');
        }
        if let Some(text) = extra_text.filter(|text| !text.is_empty()) {
            draft.extra = merge_extra(&text, &draft.extra)?;
        }
        build_record(self.class, &mut draft, cx)
    }
}

/// A field of an export as it was before it was protected.
fn unprotected(value: Cow<'_, str>) -> Cow<'_, str> {
    match value {
        Cow::Borrowed(value) => Cow::Borrowed(unprotect(value)),
        Cow::Owned(value) => Cow::Owned(unprotect(&value).to_owned()),
    }
}

pub(crate) fn wrong_column_count(count: usize, expected: &str) -> Fault {
    Fault::row(
        "wrong-column-count",
        format!("{count} columns where {expected} are expected"),
    )
}

/// The `extra` column together with the columns that have no field.
fn merge_extra(text: &str, columns: &str) -> Result<String, Fault> {
    let mut members = parse_extra(text)?;
    if !columns.is_empty() {
        for (key, value) in parse_extra(columns)? {
            if members.insert(key, value).is_some() {
                return Err(Fault::field(
                    "extra",
                    "duplicate-key",
                    "a key stands both in extra and as a column",
                ));
            }
        }
    }
    Ok(if members.is_empty() {
        String::new()
    } else {
        Value::Object(members).to_string()
    })
}
