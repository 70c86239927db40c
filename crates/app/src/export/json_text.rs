//! Records as JSON objects with the fields that the import reads.

use callvault_core::{
    Number, TimeUs,
    record::{Call, Message, Record},
};

use super::moment::{Moments, push_hex, push_int};

/// Writes objects.
#[derive(Default)]
pub(super) struct Objects {
    moments: Moments,
}

impl Objects {
    pub(super) fn push(&mut self, out: &mut Vec<u8>, record: &Record) {
        match record {
            Record::Call(call) => self.push_call(out, call),
            Record::Message(message) => self.push_message(out, message),
            Record::Activity(_) | Record::ApiAccess(_) | Record::WebhookDelivery(_) | Record::CampaignReport(_) => {
                return;
            }
        }
        out.push(b'}');
    }

    fn push_call(&mut self, out: &mut Vec<u8>, call: &Call) {
        out.extend_from_slice(b"{\"class\":\"call\",\"sid\":\"");
        push_hex(out, &call.sid.0);
        out.push(b'"');
        self.moment(out, "at", Some(call.at));
        text(out, "source_id", call.source_id.as_deref());
        word(out, "direction", call.direction.as_str());
        number(out, "from", &call.from);
        number(out, "to", &call.to);
        number(out, "exophone", &call.exophone);
        word(out, "status", call.status.as_str());
        self.moment(out, "answered_at", call.answered_at);
        self.moment(out, "ended_at", call.ended_at);
        int(out, "duration_s", Some(call.duration_s.into()));
        int(out, "talk_s", Some(call.talk_s.into()));
        int(out, "price_micros", call.price_micros);
        text(out, "caller_name", call.caller_name.as_deref());
        extra(out, call.extra.as_deref());
    }

    fn push_message(&mut self, out: &mut Vec<u8>, message: &Message) {
        out.extend_from_slice(b"{\"class\":\"message\",\"sid\":\"");
        push_hex(out, &message.sid.0);
        out.push(b'"');
        self.moment(out, "at", Some(message.at));
        text(out, "source_id", message.source_id.as_deref());
        word(out, "direction", message.direction.as_str());
        number(out, "from", &message.from);
        number(out, "to", &message.to);
        word(out, "status", message.status.as_str());
        int(out, "status_code", message.status_code.map(Into::into));
        self.moment(out, "sent_at", message.sent_at);
        int(out, "units", Some(message.units.into()));
        int(out, "price_micros", message.price_micros);
        text(out, "body", message.body.as_deref());
        text(out, "dlt_entity_id", message.dlt_entity_id.as_deref());
        text(out, "dlt_template_id", message.dlt_template_id.as_deref());
        extra(out, message.extra.as_deref());
    }

    fn moment(&mut self, out: &mut Vec<u8>, name: &str, at: Option<TimeUs>) {
        if let Some(at) = at {
            member(out, name);
            out.push(b'"');
            self.moments.push(out, at);
            out.push(b'"');
        }
    }
}

fn member(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// A name of ours: nothing in it is special.
fn word(out: &mut Vec<u8>, name: &str, word: &str) {
    member(out, name);
    out.push(b'"');
    out.extend_from_slice(word.as_bytes());
    out.push(b'"');
}

fn int(out: &mut Vec<u8>, name: &str, value: Option<i64>) {
    if let Some(value) = value {
        member(out, name);
        push_int(out, value);
    }
}

fn number(out: &mut Vec<u8>, name: &str, number: &Number) {
    text(out, name, Some(number.as_str()));
}

fn text(out: &mut Vec<u8>, name: &str, text: Option<&str>) {
    if let Some(text) = text {
        member(out, name);
        push_string(out, text);
    }
}

/// `extra` is the text of an object; one that spans lines is written anew.
fn extra(out: &mut Vec<u8>, extra: Option<&str>) {
    let Some(extra) = extra else { return };
    member(out, "extra");
    if !extra.bytes().any(|byte| matches!(byte, b'\n' | b'\r')) {
        out.extend_from_slice(extra.as_bytes());
        return;
    }
    match serde_json::from_str::<serde_json::Value>(extra) {
        Ok(value) => out.extend_from_slice(value.to_string().as_bytes()),
        Err(_) => push_string(out, extra),
    }
}

/// A JSON string (RFC 8259, section 7).
pub(super) fn push_string(out: &mut Vec<u8>, text: &str) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let bytes = text.as_bytes();
    if bytes
        .iter()
        .all(|byte| *byte >= 0x20 && *byte != b'"' && *byte != b'\\')
    {
        out.extend_from_slice(bytes);
    } else {
        for byte in bytes {
            match byte {
                b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                b'\t' => out.extend_from_slice(b"\\t"),
                0..0x20 => {
                    out.extend_from_slice(b"\\u00");
                    out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
                }
                _ => out.push(*byte),
            }
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_string_comes_back(text in "(?s).{0,12}") {
            let mut out = Vec::new();
            push_string(&mut out, &text);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).expect("JSON"), text);
            prop_assert!(!out.contains(&b'\n'));
        }
    }
}
