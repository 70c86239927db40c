//! FreeSWITCH's `mod_json_cdr` (`switch_ivr_generate_json_cdr`): `core-uuid`, `switchname`, `channel_data`, `variables`,
//! `app_log`, `callflow`. Values of `variables` are texts, URL-encoded unless `encode-values` is off.

use std::borrow::Cow;

use callvault_core::{
    Number, Sid, TimeUs,
    record::{Call, CallStatus, Direction, Record},
    time::SECOND_US,
};
use serde_json::{Map, Value};

use super::{
    Fault, SidMaker,
    context::{CallFields, Context, MAX_EXTRA_BYTES, check_call, check_name, is_telephone, parse_count},
    json::StrictValue,
    ndjson::describe,
};

const CALL_FIELDS: CallFields = CallFields {
    answered: "variables.answer_uepoch",
    ended: "variables.end_uepoch",
    talk: "variables.billsec",
};

/// The variables whose whole meaning a call takes over.
const MAPPED: [&str; 6] = [
    "uuid",
    "start_uepoch",
    "answer_uepoch",
    "end_uepoch",
    "duration",
    "billsec",
];

/// Reads one document.
pub(crate) fn read_document<S: SidMaker>(text: &str, cx: &mut Context<S>) -> Result<Record, Fault> {
    let StrictValue(value) = serde_json::from_str(text).map_err(|error| describe(&error))?;
    let Value::Object(mut document) = value else {
        return Err(Fault::row("bad-json", "expected a JSON object"));
    };
    let mut call = build_call(&Source::new(&document)?, cx)?;
    check_call(&call, &CALL_FIELDS)?;
    if let Some(variables) = document.get_mut("variables").and_then(Value::as_object_mut) {
        variables.retain(|name, _| !MAPPED.contains(&name.as_str()));
    }
    let (extra, dropped) = fit_extra(document)?;
    call.extra = Some(extra.into_boxed_str());
    cx.shortened += u64::from(dropped);
    Ok(Record::Call(call))
}

/// Where a document keeps its values.
struct Source<'a> {
    document: &'a Map<String, Value>,
    variables: &'a Map<String, Value>,
    /// The oldest entry of the call flow: the call as it came in, before any transfer.
    flow: Option<&'a Map<String, Value>>,
}

impl<'a> Source<'a> {
    fn new(document: &'a Map<String, Value>) -> Result<Self, Fault> {
        let variables = document.get("variables").and_then(Value::as_object).ok_or_else(|| {
            Fault::field(
                "variables",
                "missing-field",
                "not a mod_json_cdr document: it has no variables",
            )
        })?;
        let flow = match document.get("callflow") {
            Some(Value::Array(entries)) => entries.last().and_then(Value::as_object),
            Some(Value::Object(entry)) => Some(entry),
            _ => None,
        };
        Ok(Self {
            document,
            variables,
            flow,
        })
    }

    /// A variable, decoded; an empty one is none.
    fn variable(&self, name: &str) -> Option<Cow<'a, str>> {
        text(self.variables.get(name)?)
    }

    fn profile(&self, name: &str) -> Option<Cow<'a, str>> {
        text(self.flow?.get("caller_profile")?.get(name)?)
    }

    fn flow_time(&self, name: &str) -> Option<Cow<'a, str>> {
        text(self.flow?.get("times")?.get(name)?)
    }
}

fn text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => Some(percent_decode(text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        _ => None,
    }
}

/// Undoes URL encoding, where the text is validly encoded and decodes to UTF-8.
fn percent_decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let (bytes, mut out, mut at) = (text.as_bytes(), Vec::with_capacity(text.len()), 0);
    while let Some(&byte) = bytes.get(at) {
        if byte != b'%' {
            out.push(byte);
            at += 1;
            continue;
        }
        let Some(decoded) = bytes.get(at + 1..at + 3).and_then(|digits| hex::decode(digits).ok()) else {
            return Cow::Borrowed(text);
        };
        out.extend_from_slice(&decoded);
        at += 3;
    }
    String::from_utf8(out).map_or(Cow::Borrowed(text), Cow::Owned)
}

fn build_call<S: SidMaker>(source: &Source<'_>, cx: &mut Context<S>) -> Result<Call, Fault> {
    let uuid = source
        .variable("uuid")
        .or_else(|| source.profile("uuid"))
        .or_else(|| source.variable("call_uuid"))
        .ok_or_else(|| Fault::field("variables.uuid", "missing-field", "the document names no call"))?;
    check_name("variables.uuid", &uuid)?;
    let at = moment(source, "variables.start_uepoch", "start_epoch", "created_time", cx)?.ok_or_else(|| {
        Fault::field(
            "variables.start_uepoch",
            "missing-field",
            "the document has no start time",
        )
    })?;
    let answered_at = moment(source, "variables.answer_uepoch", "answer_epoch", "answered_time", cx)?;
    let ended_at = moment(source, "variables.end_uepoch", "end_epoch", "hangup_time", cx)?;
    let count = |field: &'static str, name| match source.variable(name) {
        Some(text) => parse_count(field, &text),
        None => Ok(0),
    };
    let from = source
        .variable("caller_id_number")
        .or_else(|| source.profile("caller_id_number"))
        .or_else(|| source.profile("ani"))
        .or_else(|| source.variable("sip_from_user"));
    let from = cx.number("caller_id_number", from.as_deref().unwrap_or(""))?;
    let to = source
        .variable("destination_number")
        .or_else(|| source.profile("destination_number"))
        .or_else(|| source.variable("sip_to_user"))
        .ok_or_else(|| {
            Fault::field(
                "destination_number",
                "missing-field",
                "the document does not say whom the call went to",
            )
        })?;
    let to = cx.number("destination_number", &to)?;
    let direction = direction(source, &from, &to)?;
    let account = source
        .variable("accountcode")
        .and_then(|text| cx.number("accountcode", &text).ok());
    let exophone = account.filter(is_telephone).unwrap_or_else(|| {
        let own = if direction == Direction::Inbound { &to } else { &from };
        if is_telephone(own) {
            own.clone()
        } else {
            Number::default()
        }
    });
    let name = source
        .variable("caller_id_name")
        .or_else(|| source.profile("caller_id_name"));
    if let Some(name) = &name {
        check_name("caller_id_name", name)?;
    }
    let cause = source.variable("hangup_cause");
    Ok(Call {
        sid: make_sid(&uuid, at, cx),
        at,
        source_id: Some(uuid.as_ref().into()),
        direction,
        from,
        to,
        exophone,
        status: status(cause.as_deref(), answered_at.is_some(), ended_at.is_some()),
        answered_at,
        ended_at,
        duration_s: count("variables.duration", "duration")?,
        talk_s: count("variables.billsec", "billsec")?,
        price_micros: None,
        caller_name: name.map(|name| name.as_ref().into()),
        extra: None,
    })
}

fn make_sid<S: SidMaker>(uuid: &str, at: TimeUs, cx: &mut Context<S>) -> Sid {
    let mut source = std::mem::take(&mut cx.scratch);
    source.clear();
    source.push_str("freeswitch\u{1f}");
    source.push_str(uuid);
    let sid = cx.make_sid(&source, at);
    cx.scratch = source;
    sid
}

/// A time: the variable in microseconds, the one in seconds, or that of the call flow in microseconds. 0 is none.
fn moment<S: SidMaker>(
    source: &Source<'_>,
    field: &'static str,
    seconds: &str,
    flow: &str,
    cx: &Context<S>,
) -> Result<Option<TimeUs>, Fault> {
    let micros = field.strip_prefix("variables.").unwrap_or(field);
    let (text, unit) = match source.variable(micros) {
        Some(text) => (Some(text), 1),
        None => match source.variable(seconds) {
            Some(text) => (Some(text), SECOND_US),
            None => (source.flow_time(flow), 1),
        },
    };
    let Some(text) = text else { return Ok(None) };
    let count: i64 = text
        .parse()
        .map_err(|_| Fault::field(field, "not-a-time", "expected microseconds since 1970"))?;
    if count == 0 {
        return Ok(None);
    }
    cx.check_moment(field, TimeUs(count.saturating_mul(unit))).map(Some)
}

/// The switch says which way the *leg* went. A leg that came in from an extension to the outside is a person dialling
/// out; a leg that went out without one that caused it was started by the API.
fn direction(source: &Source<'_>, from: &Number, to: &Number) -> Result<Direction, Fault> {
    let named = source.variable("direction").or_else(|| {
        source
            .document
            .get("channel_data")
            .and_then(|data| text(data.get("direction")?))
    });
    match named.as_deref() {
        Some("outbound") => {
            let profile = source.flow.and_then(|flow| flow.get("caller_profile"));
            let caused = profile.is_some_and(|profile| profile.get("originator").is_some())
                || source.variable("originator").is_some()
                || source.variable("originating_leg_uuid").is_some();
            Ok(if caused {
                Direction::OutboundDial
            } else {
                Direction::OutboundApi
            })
        }
        Some("inbound") | None if !is_telephone(from) && !from.is_withheld() && is_telephone(to) => {
            Ok(Direction::OutboundDial)
        }
        Some("inbound") | None => Ok(Direction::Inbound),
        Some(_) => Err(Fault::field(
            "variables.direction",
            "unknown-value",
            "expected inbound or outbound",
        )),
    }
}

/// The causes of `switch_cause_t` (ITU-T Q.850 and FreeSWITCH's own).
fn status(cause: Option<&str>, answered: bool, ended: bool) -> CallStatus {
    match cause {
        _ if answered && ended => CallStatus::Completed,
        None if answered => CallStatus::InProgress,
        _ if answered => CallStatus::Completed,
        Some("USER_BUSY" | "CALL_REJECTED") => CallStatus::Busy,
        Some(
            "NO_ANSWER" | "NO_USER_RESPONSE" | "ALLOTTED_TIMEOUT" | "PROGRESS_TIMEOUT" | "MEDIA_TIMEOUT"
            | "NORMAL_CLEARING",
        ) => CallStatus::NoAnswer,
        Some("ORIGINATOR_CANCEL" | "LOSE_RACE" | "PICKED_OFF" | "MANAGER_REQUEST") => CallStatus::Canceled,
        _ => CallStatus::Failed,
    }
}

/// The document as `extra`. Where it exceeds the limit, parts go in a fixed order (the log of applications, the call
/// flow, then the longest variables), and `_dropped` names them.
fn fit_extra(mut document: Map<String, Value>) -> Result<(String, bool), Fault> {
    let text = json_text(&document)?;
    if text.len() <= MAX_EXTRA_BYTES {
        return Ok((text, false));
    }
    let mut dropped = Vec::new();
    let mut length = text.len();
    for part in ["app_log", "callflow"] {
        if length > MAX_EXTRA_BYTES - 512
            && let Some(value) = document.remove(part)
        {
            length = length.saturating_sub(value.to_string().len());
            dropped.push(Value::from(part));
        }
    }
    if let Some(variables) = document.get_mut("variables").and_then(Value::as_object_mut) {
        let mut sizes: Vec<(usize, String)> = variables
            .iter()
            .map(|(name, value)| (value.to_string().len(), name.clone()))
            .collect();
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        for (size, name) in sizes {
            // What is named as dropped takes room itself.
            if length + dropped.iter().map(|name| name.to_string().len() + 1).sum::<usize>() <= MAX_EXTRA_BYTES - 512 {
                break;
            }
            length = length.saturating_sub(size + name.len() + 3);
            variables.remove(&name);
            dropped.push(Value::from(format!("variables.{name}")));
        }
    }
    document.insert("_dropped".to_owned(), Value::Array(dropped));
    let text = json_text(&document)?;
    if text.len() > MAX_EXTRA_BYTES {
        return Err(Fault::field(
            "extra",
            "extra-too-large",
            "what the vault has no field for exceeds 16 KiB",
        ));
    }
    Ok((text, true))
}

fn json_text(document: &Map<String, Value>) -> Result<String, Fault> {
    serde_json::to_string(document).map_err(|error| describe(&error))
}
