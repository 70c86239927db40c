//! Contacts as CSV (spec section 7): written page by page, and read from uploads.

use std::io::Cursor;

use callvault_core::Number;

use super::Contact;
use crate::{
    document::Document,
    export::{push_text, unprotect},
    import::{framing, own_csv::split_row, window::Window},
    vault::Account,
};

/// The columns of an export. An upload has some of them, in any order.
pub const COLUMNS: [&str; 9] = [
    "sid",
    "number",
    "first_name",
    "last_name",
    "company_name",
    "email",
    "tag",
    "custom",
    "date_created",
];
/// The longest row of an upload.
const MAX_ROW_BYTES: usize = 64 * 1024;

/// The header line of an export.
#[must_use]
pub fn header_line() -> String {
    COLUMNS.join(",") + "\r\n"
}

/// Writes a contact's row.
pub fn push_row(out: &mut Vec<u8>, contact: &Document<Contact>) {
    out.extend_from_slice(contact.id.to_string().as_bytes());
    let body = &contact.body;
    push_text(out, Some(body.number.as_str()));
    for text in [
        &body.first_name,
        &body.last_name,
        &body.company_name,
        &body.email,
        &body.tag,
        &body.custom,
    ] {
        push_text(out, text.as_deref());
    }
    push_text(out, Some(&contact.at.to_string()));
    out.extend_from_slice(b"\r\n");
}

/// A row of an upload that is no contact.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct BadRow {
    /// Row number; the header is row 1.
    pub row: u64,
    /// What is wrong, with the field's name and without what it holds.
    pub reason: String,
}

/// What a row of an upload is.
pub type Row = std::result::Result<(u64, Contact), BadRow>;

/// Reads an upload: a header line, then contacts. A broken row costs itself alone.
///
/// # Errors
/// What is wrong with the header line.
pub fn read_upload(account: &Account, text: &[u8]) -> std::result::Result<Vec<Row>, String> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut window = Window::new(Cursor::new(text), 0);
    let mut columns: Option<Vec<String>> = None;
    let (mut rows, mut number) = (Vec::new(), 0_u64);
    // A buffer in memory does not fail.
    while let Ok(frame) = framing::next_row(&mut window, MAX_ROW_BYTES, true) {
        number += 1;
        let row = match frame {
            framing::Frame::End => break,
            framing::Frame::Row { len, consumed, .. } => {
                let row = std::str::from_utf8(&window.data()[..len]).map(ToOwned::to_owned);
                window.consume(consumed);
                row.map_err(|_| "not UTF-8".to_owned())
            }
            framing::Frame::Bad { fault, consumed, .. } => {
                window.consume(consumed);
                Err(fault.message.into_owned())
            }
            framing::Frame::Skipped { fault, .. } => Err(fault.message.into_owned()),
        };
        let Some(columns) = &columns else {
            columns = Some(read_header(&row?)?);
            continue;
        };
        match row {
            Ok(row) if row.trim().is_empty() => {}
            row => rows.push(
                row.and_then(|row| read_row(account, columns, &row))
                    .map(|contact| (number, contact))
                    .map_err(|reason| BadRow { row: number, reason }),
            ),
        }
    }
    match columns {
        Some(_) => Ok(rows),
        None => Err("the file is empty; it begins with a header line".to_owned()),
    }
}

fn read_header(line: &str) -> std::result::Result<Vec<String>, String> {
    let columns: Vec<String> = split_row(line)
        .map(|name| name.trim().to_ascii_lowercase().replace([' ', '-'], "_"))
        .collect();
    for (place, name) in columns.iter().enumerate() {
        if !COLUMNS.contains(&name.as_str()) {
            return Err(format!("column {} is none of {}", place + 1, COLUMNS.join(", ")));
        }
        if columns[..place].contains(name) {
            return Err(format!("column {name} is there twice"));
        }
    }
    match columns.iter().any(|name| name == "number") {
        true => Ok(columns),
        false => Err("column number is missing".to_owned()),
    }
}

fn read_row(account: &Account, columns: &[String], row: &str) -> std::result::Result<Contact, String> {
    let fields: Vec<_> = split_row(row).take(columns.len() + 1).collect();
    if fields.len() != columns.len() {
        return Err(format!("expected {} fields", columns.len()));
    }
    let find = |name: &str| {
        let place = columns.iter().position(|column| column == name)?;
        let field = unprotect(fields.get(place)?.trim());
        (!field.is_empty()).then(|| field.to_owned())
    };
    let text = find("number").ok_or("number: it is empty")?;
    let number = Number::parse(&text, account.country).map_err(|error| format!("number: is {error}"))?;
    let contact = Contact {
        number,
        first_name: find("first_name"),
        last_name: find("last_name"),
        company_name: find("company_name"),
        email: find("email"),
        tag: find("tag"),
        custom: find("custom"),
    };
    contact.check().map_err(|error| error.to_string())?;
    Ok(contact)
}
