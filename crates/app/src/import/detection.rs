//! Which format a file is in, from its beginning and its name.

use callvault_core::Class;

use super::{
    Format, ImportError, asterisk,
    field::{Field, REQUIRED},
    own_csv::split_row,
};

/// Guesses the format from a file's first bytes (some kilobytes do) and its name. `None` when it is none of ours; then
/// [`check_readable`] says what it is, if it is a packed file or not UTF-8.
#[must_use]
pub fn detect(first_bytes: &[u8], file_name: &str) -> Option<Format> {
    let bytes = first_bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(first_bytes);
    // The cut may fall inside a character.
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).ok()?,
    };
    let text = text.trim_start();
    if text.starts_with(['{', '[']) {
        return detect_json(text, file_name);
    }
    let line = text.lines().next()?;
    if asterisk::looks_like(line) {
        return Some(Format::AsteriskCsv);
    }
    let names: Vec<String> = split_row(line).map(|name| name.trim().to_owned()).collect();
    let has = |name: &str| names.iter().any(|column| column == name);
    if !REQUIRED.iter().all(|field| has(field.name())) {
        return None;
    }
    let is_message = names.iter().any(|name| is_message_only(name)) || (says_message(file_name) && !has("duration_s"));
    Some(Format::Csv(if is_message { Class::Message } else { Class::Call }))
}

/// Whether a file that begins with these bytes can be read at all.
///
/// # Errors
/// [`ImportError`] for an empty file, a packed one, and one in UTF-16.
pub fn check_readable(data: &[u8]) -> Result<(), ImportError> {
    let compressed: [(&[u8], &str); 5] = [
        (b"\x1f\x8b", "gzip"),
        (b"PK\x03\x04", "zip"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"\xfd7zXZ\0", "xz"),
        (b"BZh", "bzip2"),
    ];
    if let Some((_, name)) = compressed.iter().find(|(magic, _)| data.starts_with(magic)) {
        return Err(ImportError::Compressed(name));
    }
    if data.starts_with(b"\xff\xfe") || data.starts_with(b"\xfe\xff") {
        return Err(ImportError::Encoding("UTF-16"));
    }
    if data.is_empty() {
        Err(ImportError::Empty)
    } else {
        Ok(())
    }
}

fn detect_json(text: &str, file_name: &str) -> Option<Format> {
    let has = |name: &str| text.contains(&format!("\"{name}\""));
    if has("core-uuid")
        || has("channel_data")
        || file_name.ends_with(".cdr.json")
        || (has("variables") && has("callflow"))
    {
        return Some(Format::FreeswitchJson);
    }
    let line = text.lines().next()?;
    let key = |name: &str| line.contains(&format!("\"{name}\""));
    if !text.starts_with('{') || !REQUIRED.iter().all(|field| key(field.name())) {
        return None;
    }
    let names = [
        "status_code",
        "sent_at",
        "units",
        "body",
        "dlt_entity_id",
        "dlt_template_id",
    ];
    let is_message = line.contains("\"class\":\"message\"")
        || line.contains("\"class\": \"message\"")
        || names.into_iter().any(key)
        || (says_message(file_name) && !key("duration_s"));
    Some(Format::Ndjson(if is_message { Class::Message } else { Class::Call }))
}

fn is_message_only(name: &str) -> bool {
    Field::find(Class::Message, name).is_some() && Field::find(Class::Call, name).is_none()
}

fn says_message(file_name: &str) -> bool {
    let name = file_name.to_ascii_lowercase();
    name.contains("message") || name.contains("sms")
}
