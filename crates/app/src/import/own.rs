//! From the fields of our own formats to a record.

use callvault_core::{
    Class, Number, Sid, TimeUs,
    record::{Call, CallStatus, Direction, Message, MessageStatus, Record},
    time::SECOND_US,
};
use compact_str::CompactString;
use std::num::IntErrorKind;

use super::{
    Fault, SidMaker,
    context::{CallFields, Context, check_call, check_extra, check_name, check_no_nul, parse_count},
    field::{Draft, Field, Scalar},
    moment::parse_rfc3339,
};

/// The longest message text, in characters.
const MAX_BODY_CHARS: usize = 2000;

const CALL_FIELDS: CallFields = CallFields {
    answered: "answered_at",
    ended: "ended_at",
    talk: "talk_s",
};

/// Builds the record, checking every field.
pub(crate) fn build_record<S: SidMaker>(
    class: Class,
    draft: &mut Draft<'_>,
    cx: &mut Context<S>,
) -> Result<Record, Fault> {
    if let Some(named) = text(draft, Field::Class)?
        && named != class.as_str()
    {
        return Err(Fault::field(
            "class",
            "wrong-class",
            format!("this import reads {class} records only"),
        ));
    }
    let mut record = match class {
        Class::Message => Record::Message(build_message(draft, cx)?),
        _ => Record::Call(build_call(draft, cx)?),
    };
    let given = match text(draft, Field::Sid)? {
        Some(sid) => Some(
            sid.parse::<Sid>()
                .map_err(|error| Fault::field("sid", "not-a-sid", error.to_string()))?,
        ),
        None => None,
    };
    let at = record.at();
    let sid = match given {
        Some(sid) if sid.at_ms().0 != at.0.div_euclid(1000) * 1000 => {
            return Err(Fault::field(
                "sid",
                "sid-time-mismatch",
                "the SID's first 12 digits are not the record's time",
            ));
        }
        Some(sid) => sid,
        None => derive_sid(&record, cx),
    };
    match &mut record {
        Record::Call(call) => {
            call.sid = sid;
            derive_lengths(call, draft)?;
            check_call(call, &CALL_FIELDS)?;
        }
        Record::Message(message) => message.sid = sid,
        Record::Activity(entry)
        | Record::ApiAccess(entry)
        | Record::WebhookDelivery(entry)
        | Record::CampaignReport(entry) => entry.sid = sid,
    }
    Ok(record)
}

fn build_call<S: SidMaker>(draft: &mut Draft<'_>, cx: &mut Context<S>) -> Result<Call, Fault> {
    Ok(Call {
        sid: Sid([0; 16]),
        at: required_moment(draft, cx)?,
        source_id: name(draft, Field::SourceId)?,
        direction: choice(
            draft,
            Field::Direction,
            Direction::from_name,
            "inbound, outbound-dial or outbound-api",
        )?,
        from: party(draft, Field::From, cx)?,
        to: party(draft, Field::To, cx)?,
        exophone: match text(draft, Field::Exophone)? {
            Some(text) => cx.number("exophone", text)?,
            None => Number::default(),
        },
        status: choice(
            draft,
            Field::Status,
            CallStatus::from_name,
            "queued, ringing, in-progress, completed, failed, busy, no-answer or canceled",
        )?,
        answered_at: moment(draft, Field::AnsweredAt, cx)?,
        ended_at: moment(draft, Field::EndedAt, cx)?,
        duration_s: count(draft, Field::DurationS)?.unwrap_or(0),
        talk_s: count(draft, Field::TalkS)?.unwrap_or(0),
        price_micros: integer(draft, Field::PriceMicros)?,
        caller_name: name(draft, Field::CallerName)?,
        extra: take_extra(draft)?,
    })
}

/// Lengths that the row does not give, from its times. The SID is made before, of what the row says.
fn derive_lengths(call: &mut Call, draft: &Draft<'_>) -> Result<(), Fault> {
    let Some(ended_at) = call.ended_at else {
        return Ok(());
    };
    let since = |from: TimeUs| u32::try_from(ended_at.0.saturating_sub(from.0) / SECOND_US).unwrap_or(0);
    if count(draft, Field::DurationS)?.is_none() {
        call.duration_s = since(call.at);
    }
    if count(draft, Field::TalkS)?.is_none()
        && let Some(answered_at) = call.answered_at
    {
        call.talk_s = since(answered_at).min(call.duration_s);
    }
    Ok(())
}

fn build_message<S: SidMaker>(draft: &mut Draft<'_>, cx: &mut Context<S>) -> Result<Message, Fault> {
    let message = Message {
        sid: Sid([0; 16]),
        at: required_moment(draft, cx)?,
        source_id: name(draft, Field::SourceId)?,
        direction: choice(
            draft,
            Field::Direction,
            Direction::from_name,
            "inbound, outbound-dial or outbound-api",
        )?,
        from: party(draft, Field::From, cx)?,
        to: party(draft, Field::To, cx)?,
        status: choice(
            draft,
            Field::Status,
            MessageStatus::from_name,
            "queued, sending, submitted, sent, failed or failed-dnd",
        )?,
        status_code: count(draft, Field::StatusCode)?,
        sent_at: moment(draft, Field::SentAt, cx)?,
        units: count(draft, Field::Units)?.unwrap_or(0),
        price_micros: integer(draft, Field::PriceMicros)?,
        body: match text(draft, Field::Body)? {
            Some(body) if body.len() > MAX_BODY_CHARS && body.chars().count() > MAX_BODY_CHARS => {
                return Err(Fault::field("body", "text-too-long", "longer than 2000 characters"));
            }
            Some(body) => {
                check_no_nul("body", body)?;
                Some(body.into())
            }
            None => None,
        },
        dlt_entity_id: name(draft, Field::DltEntityId)?,
        dlt_template_id: name(draft, Field::DltTemplateId)?,
        extra: take_extra(draft)?,
    };
    if message.sent_at.is_some_and(|sent| sent < message.at) {
        return Err(Fault::field(
            "sent_at",
            "sent-before-created",
            "the message is sent before it is created",
        ));
    }
    Ok(message)
}

/// The SID from the source's id, or from the whole row where the source has none.
fn derive_sid<S: SidMaker>(record: &Record, cx: &mut Context<S>) -> Sid {
    let mut source = std::mem::take(&mut cx.scratch);
    source.clear();
    match record.source_id() {
        Some(id) => {
            source.push_str("id\u{1f}");
            source.push_str(record.class().as_str());
            source.push('\u{1f}');
            source.push_str(id);
        }
        None => {
            source.push_str("row\u{1f}");
            // The SID is all zeros here, so the text is the row's alone.
            source.push_str(&serde_json::to_string(record).unwrap_or_default());
        }
    }
    let sid = cx.make_sid(&source, record.at());
    cx.scratch = source;
    sid
}

/// A field's text; an empty text is no value.
fn text<'d>(draft: &'d Draft<'_>, field: Field) -> Result<Option<&'d str>, Fault> {
    match draft.get(field) {
        None => Ok(None),
        Some(Scalar::Text(text)) if text.is_empty() => Ok(None),
        Some(Scalar::Text(text)) => Ok(Some(text)),
        Some(Scalar::Integer(_)) => Err(Fault::field(field.name(), "wrong-type", "expected a text in quotes")),
    }
}

fn missing(field: Field) -> Fault {
    Fault::field(field.name(), "missing-field", "this field is required")
}

fn name(draft: &Draft<'_>, field: Field) -> Result<Option<CompactString>, Fault> {
    let Some(text) = text(draft, field)? else {
        return Ok(None);
    };
    check_name(field.name(), text)?;
    Ok(Some(text.into()))
}

fn choice<T>(draft: &Draft<'_>, field: Field, find: fn(&str) -> Option<T>, choices: &'static str) -> Result<T, Fault> {
    let text = text(draft, field)?.ok_or_else(|| missing(field))?;
    find(text).ok_or_else(|| Fault::field(field.name(), "unknown-value", format!("expected {choices}")))
}

/// A party must be there, and may be empty: the caller withheld it.
fn party<S: SidMaker>(draft: &Draft<'_>, field: Field, cx: &mut Context<S>) -> Result<Number, Fault> {
    if draft.get(field).is_none() {
        return Err(missing(field));
    }
    cx.number(field.name(), text(draft, field)?.unwrap_or(""))
}

fn moment<S: SidMaker>(draft: &Draft<'_>, field: Field, cx: &Context<S>) -> Result<Option<TimeUs>, Fault> {
    let at = match draft.get(field) {
        None => return Ok(None),
        Some(Scalar::Text(text)) if text.is_empty() => return Ok(None),
        Some(Scalar::Integer(micros)) => TimeUs(*micros),
        Some(Scalar::Text(text)) => parse_rfc3339(text).ok_or_else(|| {
            Fault::field(
                field.name(),
                "not-a-time",
                "expected RFC 3339, such as 2026-01-31T09:30:00Z",
            )
        })?,
    };
    cx.check_moment(field.name(), at).map(Some)
}

fn required_moment<S: SidMaker>(draft: &Draft<'_>, cx: &Context<S>) -> Result<TimeUs, Fault> {
    moment(draft, Field::At, cx)?.ok_or_else(|| missing(Field::At))
}

fn count(draft: &Draft<'_>, field: Field) -> Result<Option<u32>, Fault> {
    match draft.get(field) {
        None => Ok(None),
        Some(Scalar::Text(text)) if text.is_empty() => Ok(None),
        Some(Scalar::Text(text)) => parse_count(field.name(), text).map(Some),
        Some(Scalar::Integer(value)) if *value < 0 => Err(Fault::field(field.name(), "negative-number", "below zero")),
        Some(Scalar::Integer(value)) => u32::try_from(*value)
            .map(Some)
            .map_err(|_| Fault::field(field.name(), "number-too-large", "above 4294967295")),
    }
}

fn integer(draft: &Draft<'_>, field: Field) -> Result<Option<i64>, Fault> {
    match draft.get(field) {
        None => Ok(None),
        Some(Scalar::Text(text)) if text.is_empty() => Ok(None),
        Some(Scalar::Text(text)) => text
            .trim()
            .parse()
            .map(Some)
            .map_err(|error: std::num::ParseIntError| match error.kind() {
                IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => {
                    Fault::field(field.name(), "number-too-large", "beyond 9223372036854775807")
                }
                _ => Fault::field(field.name(), "not-an-integer", "expected a whole number of millionths"),
            }),
        Some(Scalar::Integer(value)) => Ok(Some(*value)),
    }
}

fn take_extra(draft: &mut Draft<'_>) -> Result<Option<Box<str>>, Fault> {
    let extra = std::mem::take(&mut draft.extra);
    check_extra(&extra)?;
    Ok((!extra.is_empty()).then(|| extra.into_boxed_str()))
}
