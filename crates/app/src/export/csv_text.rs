//! CSV (RFC 4180): CRLF, a header line, and no field that a spreadsheet takes for a formula.
//!
//! A field that begins with `=`, `+`, `-`, `@`, TAB, CR or LF, after any apostrophes, is written with one apostrophe
//! more, unless the whole of it is a number: `+919876543210` and `-15` stay as they are. [`unprotect`] takes the
//! apostrophe off again, so nothing is lost.

use callvault_core::{
    Class, Number, TimeUs,
    campaign::Report,
    record::{Call, Entry, Message, Record},
};

use super::moment::{Moments, push_hex, push_int};

const CALL_HEADER: &str = "sid,at,source_id,direction,from,to,exophone,status,answered_at,ended_at,duration_s,talk_s,\
                           price_micros,caller_name,extra";
const MESSAGE_HEADER: &str = "sid,at,source_id,direction,from,to,status,status_code,sent_at,units,price_micros,body,\
                              dlt_entity_id,dlt_template_id,extra";

const REPORT_HEADER: &str = "sid,at,campaign,number,name,status,attempts,call_sids,started_at,ended_at,talk_s,caller_id,\
                             custom_field";

/// Columns of a report that come from its detail.
const REPORT_DETAILS: usize = 9;

/// The header line of an export of this class.
pub(crate) const fn header_line(class: Class) -> &'static str {
    match class {
        Class::Message => MESSAGE_HEADER,
        Class::CampaignReport => REPORT_HEADER,
        _ => CALL_HEADER,
    }
}

/// Records of a campaign's report as one file.
pub(crate) fn report_csv(records: &[Record]) -> Vec<u8> {
    let mut out = format!("{REPORT_HEADER}\r\n").into_bytes();
    let mut rows = Rows::default();
    for record in records {
        rows.push(&mut out, record);
    }
    out
}

/// A field of an export as it was before it was protected.
pub(crate) fn unprotect(field: &str) -> &str {
    match field.strip_prefix('\'') {
        Some(rest) if is_trigger(rest.as_bytes()) => rest,
        _ => field,
    }
}

/// Whether the text begins, after apostrophes, with what begins a formula.
fn is_trigger(text: &[u8]) -> bool {
    let first = text.iter().find(|byte| **byte != b'\'');
    matches!(first, Some(b'=' | b'+' | b'-' | b'@' | b'\t' | b'\r' | b'\n'))
}

/// `+`, `-` or nothing, then digits, with at most one point between them.
fn is_number(text: &[u8]) -> bool {
    let digits = text
        .strip_prefix(b"+")
        .or_else(|| text.strip_prefix(b"-"))
        .unwrap_or(text);
    let ends = [digits.first(), digits.last()];
    ends.iter().all(|end| end.is_some_and(u8::is_ascii_digit))
        && digits.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
        && digits.iter().filter(|byte| **byte == b'.').count() <= 1
}

/// Writes rows.
#[derive(Default)]
pub(super) struct Rows {
    moments: Moments,
}

impl Rows {
    pub(super) fn push(&mut self, out: &mut Vec<u8>, record: &Record) {
        match record {
            Record::Call(call) => self.push_call(out, call),
            Record::Message(message) => self.push_message(out, message),
            Record::CampaignReport(entry) => self.push_report(out, entry),
            Record::Activity(_) | Record::ApiAccess(_) | Record::WebhookDelivery(_) => return,
        }
        out.extend_from_slice(b"\r\n");
    }

    fn push_call(&mut self, out: &mut Vec<u8>, call: &Call) {
        push_hex(out, &call.sid.0);
        self.moment(out, Some(call.at));
        text(out, call.source_id.as_deref());
        word(out, call.direction.as_str());
        number(out, &call.from);
        number(out, &call.to);
        number(out, &call.exophone);
        word(out, call.status.as_str());
        self.moment(out, call.answered_at);
        self.moment(out, call.ended_at);
        int(out, Some(call.duration_s.into()));
        int(out, Some(call.talk_s.into()));
        int(out, call.price_micros);
        text(out, call.caller_name.as_deref());
        text(out, call.extra.as_deref());
    }

    fn push_message(&mut self, out: &mut Vec<u8>, message: &Message) {
        push_hex(out, &message.sid.0);
        self.moment(out, Some(message.at));
        text(out, message.source_id.as_deref());
        word(out, message.direction.as_str());
        number(out, &message.from);
        number(out, &message.to);
        word(out, message.status.as_str());
        int(out, message.status_code.map(Into::into));
        self.moment(out, message.sent_at);
        int(out, Some(message.units.into()));
        int(out, message.price_micros);
        text(out, message.body.as_deref());
        text(out, message.dlt_entity_id.as_deref());
        text(out, message.dlt_template_id.as_deref());
        text(out, message.extra.as_deref());
    }

    /// A report whose detail is not as it should be has its number and campaign alone.
    fn push_report(&mut self, out: &mut Vec<u8>, entry: &Entry) {
        push_hex(out, &entry.sid.0);
        self.moment(out, Some(entry.at));
        text(out, Some(&entry.name));
        number(out, &entry.subject);
        let detail = entry.detail.as_deref().unwrap_or_default();
        let Ok(report) = serde_json::from_str::<Report>(detail) else {
            out.extend_from_slice(&[b','; REPORT_DETAILS]);
            return;
        };
        let calls: Vec<String> = report.call_sids.iter().map(ToString::to_string).collect();
        text(out, report.name.as_deref());
        word(out, report.status.as_str());
        int(out, i64::try_from(calls.len()).ok());
        word(out, &calls.join(" "));
        self.moment(out, report.started_at);
        self.moment(out, report.ended_at);
        int(out, Some(report.talk_s.into()));
        number(out, &report.caller_id);
        text(out, report.custom_field.as_deref());
    }

    fn moment(&mut self, out: &mut Vec<u8>, at: Option<TimeUs>) {
        out.push(b',');
        if let Some(at) = at {
            self.moments.push(out, at);
        }
    }
}

/// A name of ours: nothing in it is special.
fn word(out: &mut Vec<u8>, word: &str) {
    out.push(b',');
    out.extend_from_slice(word.as_bytes());
}

fn int(out: &mut Vec<u8>, value: Option<i64>) {
    out.push(b',');
    if let Some(value) = value {
        push_int(out, value);
    }
}

fn number(out: &mut Vec<u8>, number: &Number) {
    text(out, Some(number.as_str()));
}

/// A comma and a text.
pub(crate) fn text(out: &mut Vec<u8>, text: Option<&str>) {
    out.push(b',');
    let Some(text) = text.map(str::as_bytes) else { return };
    let protected = is_trigger(text) && !is_number(text);
    let quoted = text.iter().any(|byte| matches!(byte, b',' | b'"' | b'\r' | b'\n'));
    if quoted {
        out.push(b'"');
    }
    if protected {
        out.push(b'\'');
    }
    if quoted {
        for byte in text {
            if *byte == b'"' {
                out.push(b'"');
            }
            out.push(*byte);
        }
        out.push(b'"');
    } else {
        out.extend_from_slice(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(value: &str) -> String {
        let mut out = Vec::new();
        text(&mut out, Some(value));
        String::from_utf8(out).expect("UTF-8").split_off(1)
    }

    #[test]
    fn formulas_are_protected_and_numbers_are_not() {
        for (value, want) in [
            ("+919876543210", "+919876543210"),
            ("-15", "-15"),
            ("-1.5", "-1.5"),
            ("=1+1", "'=1+1"),
            ("+1-2", "'+1-2"),
            ("-", "'-"),
            ("-1.", "'-1."),
            ("+", "'+"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\t=1"),
            ("\r=1", "\"'\r=1\""),
            ("'=1", "''=1"),
            ("'quoted'", "'quoted'"),
            ("=HYPERLINK(\"x\",\"y\")", "\"'=HYPERLINK(\"\"x\"\",\"\"y\"\")\""),
            ("plain", "plain"),
            ("", ""),
        ] {
            assert_eq!(written(value), want, "{value:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5_000))]

        #[test]
        fn every_field_comes_back_and_none_is_a_formula(value in "['=+@\t\r\n\",a1.-]{0,8}|\\PC{0,8}") {
            let line = written(&value) + "\r\n";
            let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(line.as_bytes());
            let field = reader.records().next().map(|row| row.expect("a row")[0].to_owned()).unwrap_or_default();
            prop_assert_eq!(unprotect(&field), &value);
            let formula = matches!(field.as_bytes().first(), Some(b'=' | b'+' | b'-' | b'@' | b'\t' | b'\r' | b'\n'));
            prop_assert!(!formula || is_number(field.as_bytes()), "{:?}", field);
        }
    }
}
