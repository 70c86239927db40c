//! Campaigns as clients send them: a flat object (the platform's newer documentation) or `{"campaigns": [{...}]}` (the older one);
//! numbers as a list or as one text with commas; flags and counts as texts too.

use callvault_app::{
    Account,
    core::{
        Number, Sid, TimeUs,
        campaign::{MAX_INTERVAL_MINS, MAX_LISTS, MAX_NUMBERS, MAX_RETRIES, Mechanism, Retries, THROTTLE},
        record::CallStatus,
    },
    line::Definition,
};
use serde_json::{Map, Value};

use crate::api::platform::{
    envelope::Failure,
    form::{MAX_URL_BYTES, TARGET, read_target},
};

type Read<T> = Result<T, Failure>;

/// The longest name, in characters.
const MAX_NAME_CHARS: usize = 255;
/// The longest `custom_field`.
const MAX_CUSTOM_CHARS: usize = 128;
/// The longest spoken text.
const MAX_TEXT_CHARS: usize = 2_000;
/// How far ahead a campaign may lie: its data lapse a year after it is made.
const MAX_AHEAD_DAYS: i64 = 180;
/// Campaigns of one request.
const MAX_CAMPAIGNS: usize = 10;

/// The members of one object.
pub(super) struct Fields<'v>(&'v Map<String, Value>);

/// The objects of a body.
pub(super) fn read_objects(body: &Value) -> Read<Vec<Fields<'_>>> {
    let object = |value: &'_ Value| value.as_object().is_some();
    let Some(members) = body.as_object() else {
        return Err(Failure::bad("body", "Expected an object."));
    };
    let Some(list) = members.get("campaigns") else {
        return Ok(vec![Fields(members)]);
    };
    let list = list.as_array().filter(|list| (1..=MAX_CAMPAIGNS).contains(&list.len()));
    let list = list.filter(|list| list.iter().all(object));
    let list = list.ok_or_else(|| Failure::bad("campaigns", "Expected 1 to 10 objects."))?;
    Ok(list.iter().filter_map(Value::as_object).map(Fields).collect())
}

impl Fields<'_> {
    /// A value that was sent and is not null or empty.
    fn find(&self, name: &str) -> Option<&Value> {
        self.0
            .get(name)
            .filter(|value| !value.is_null() && value.as_str() != Some(""))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(super) fn text(&self, name: &'static str, most_chars: usize) -> Read<Option<String>> {
        let Some(value) = self.find(name) else { return Ok(None) };
        let text = match value {
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => number.to_string(),
            _ => return Err(Failure::bad(name, "Expected a text.")),
        };
        if text.chars().count() > most_chars || text.chars().any(char::is_control) {
            return Err(Failure::bad(
                name,
                &format!("Expected at most {most_chars} characters."),
            ));
        }
        Ok(Some(text))
    }

    fn one_of(&self, name: &'static str, known: &[&'static str]) -> Read<Option<&'static str>> {
        let Some(text) = self.text(name, 64)? else {
            return Ok(None);
        };
        let found = known.iter().find(|known| known.eq_ignore_ascii_case(&text));
        let expected = || Failure::bad(name, &format!("Expected {}.", known.join(" or ")));
        found.copied().map(Some).ok_or_else(expected)
    }

    fn flag(&self, name: &'static str) -> Read<Option<bool>> {
        match self.find(name) {
            None => Ok(None),
            Some(Value::Bool(on)) => Ok(Some(*on)),
            Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
            Some(_) => Err(Failure::bad(name, "Expected true or false.")),
        }
    }

    fn number(&self, name: &'static str, bounds: std::ops::RangeInclusive<u32>) -> Read<Option<u32>> {
        let Some(value) = self.find(name) else { return Ok(None) };
        let number = match value {
            Value::String(text) => text.trim().parse().ok(),
            value => value.as_u64().and_then(|number| u32::try_from(number).ok()),
        };
        let number = number.filter(|number| bounds.contains(number));
        let (least, most) = (bounds.start(), bounds.end());
        let expected = || Failure::bad(name, &format!("Expected a number from {least} to {most}."));
        number.map(Some).ok_or_else(expected)
    }

    fn url(&self, name: &'static str) -> Read<Option<String>> {
        let Some(text) = self.text(name, MAX_URL_BYTES)? else {
            return Ok(None);
        };
        let url = read_target(&text).ok_or_else(|| Failure::bad(name, TARGET))?;
        Ok(Some(url.to_string()))
    }

    fn time(&self, name: &'static str) -> Read<Option<TimeUs>> {
        let Some(text) = self.text(name, 64)? else {
            return Ok(None);
        };
        let expected = |_| {
            Failure::bad(
                name,
                "Expected a moment with its offset, such as 2026-01-31T09:30:00+05:30.",
            )
        };
        TimeUs::parse(&text).map(Some).map_err(expected)
    }

    fn object(&self, name: &'static str) -> Read<Option<Fields<'_>>> {
        match self.find(name) {
            None => Ok(None),
            Some(Value::Object(members)) => Ok(Some(Fields(members))),
            Some(_) => Err(Failure::bad(name, "Expected an object.")),
        }
    }

    /// Texts: a list, or one text with commas.
    fn texts(&self, name: &'static str, most: usize) -> Read<Option<Vec<String>>> {
        let texts: Vec<String> = match self.find(name) {
            None => return Ok(None),
            Some(Value::String(text)) => text.split(',').map(|part| part.trim().to_owned()).collect(),
            Some(Value::Array(list)) => {
                let texts = list.iter().map(|value| match value {
                    Value::String(text) => Some(text.trim().to_owned()),
                    Value::Number(number) => Some(number.to_string()),
                    _ => None,
                });
                let expected = || Failure::bad(name, "Expected a list of texts, or one text with commas.");
                texts.collect::<Option<_>>().ok_or_else(expected)?
            }
            Some(_) => return Err(Failure::bad(name, "Expected a list of texts, or one text with commas.")),
        };
        let texts: Vec<String> = texts.into_iter().filter(|text| !text.is_empty()).collect();
        match texts.len() {
            0 => Ok(None),
            count if count > most => Err(Failure::bad(name, &format!("At most {most}."))),
            _ => Ok(Some(texts)),
        }
    }
}

fn read_number(name: &'static str, text: &str, account: &Account) -> Read<Number> {
    let number = Number::parse(text, account.country);
    let number = number.map_err(|error| Failure::bad(name, &format!("One is {error}.")))?;
    match number.as_str().starts_with('+') {
        true => Ok(number),
        false => Err(Failure::bad(name, "Expected telephone numbers.")),
    }
}

/// The numbers that a campaign names one by one.
pub(super) fn read_numbers(fields: &Fields<'_>, account: &Account) -> Read<Vec<Number>> {
    let texts = fields.texts("from", MAX_NUMBERS)?.unwrap_or_default();
    texts.iter().map(|text| read_number("from", text, account)).collect()
}

fn read_lists(fields: &Fields<'_>) -> Read<Vec<Sid>> {
    let texts = fields.texts("lists", MAX_LISTS)?.unwrap_or_default();
    let read = |text: &String| {
        let sid = text.to_ascii_lowercase().parse::<Sid>();
        sid.map_err(|_| Failure::bad("lists", "Expected SIDs of lists."))
    };
    texts.iter().map(read).collect()
}

fn read_retries(fields: &Fields<'_>) -> Read<Option<Retries>> {
    let Some(retries) = fields.object("retries")? else {
        return Ok(None);
    };
    let count = retries
        .number("number_of_retries", 0..=u32::from(MAX_RETRIES))?
        .unwrap_or(0);
    let interval = retries.number("interval_mins", 1..=u32::from(MAX_INTERVAL_MINS))?;
    let known = ["busy", "no-answer", "failed", "failure"];
    let on: Vec<CallStatus> = match retries.texts("on_status", known.len())? {
        None => vec![CallStatus::Busy, CallStatus::NoAnswer, CallStatus::Failed],
        Some(texts) => texts
            .iter()
            .map(|text| match text.to_ascii_lowercase().as_str() {
                "busy" => Ok(CallStatus::Busy),
                "no-answer" => Ok(CallStatus::NoAnswer),
                "failed" | "failure" => Ok(CallStatus::Failed),
                _ => Err(Failure::bad("on_status", "Expected busy, no-answer or failed.")),
            })
            .collect::<Read<_>>()?,
    };
    let mechanism = match retries.one_of("mechanism", &["Linear", "Exponential"])? {
        Some("Exponential") => Mechanism::Exponential,
        _ => Mechanism::Linear,
    };
    if count > 0 && interval.is_none() {
        return Err(Failure::bad("interval_mins", "Mandatory parameter missing."));
    }
    Ok(Some(Retries {
        number_of_retries: u8::try_from(count).unwrap_or(MAX_RETRIES),
        interval_mins: interval.and_then(|minutes| u16::try_from(minutes).ok()).unwrap_or(1),
        mechanism,
        on_status: on,
    }))
}

/// When a campaign begins and ends.
fn read_schedule(fields: &Fields<'_>, now: TimeUs) -> Read<(Option<TimeUs>, Option<TimeUs>)> {
    let Some(schedule) = fields.object("schedule")? else {
        return Ok((None, None));
    };
    let (send_at, end_at) = (schedule.time("send_at")?, schedule.time("end_at")?);
    let latest = now.plus_days(MAX_AHEAD_DAYS);
    for (name, at) in [("send_at", send_at), ("end_at", end_at)] {
        if at.is_some_and(|at| at > latest) {
            return Err(Failure::bad(name, &format!("At most {MAX_AHEAD_DAYS} days ahead.")));
        }
    }
    match end_at {
        Some(end_at) if end_at <= send_at.unwrap_or(now).max(now) => {
            Err(Failure::bad("end_at", "Lies before the campaign can begin."))
        }
        _ => Ok((send_at, end_at)),
    }
}

fn read_throttle(fields: &Fields<'_>) -> Read<(&'static str, u32)> {
    let (usual, most) = THROTTLE;
    let throttle = fields.number("throttle", 1..=most)?;
    let mode = fields.one_of("mode", &["auto", "custom"])?;
    match (mode, throttle) {
        (Some("custom"), None) => Err(Failure::bad("throttle", "Mandatory parameter missing.")),
        (Some("auto"), _) | (None, None) => Ok(("auto", usual)),
        (_, throttle) => Ok(("custom", throttle.unwrap_or(usual))),
    }
}

/// A new campaign.
pub(super) fn read_definition(
    fields: &Fields<'_>,
    account: &Account,
    now: TimeUs,
    base_url: String,
) -> Read<Definition> {
    let missing = |name: &str| Failure::bad(name, "Mandatory parameter missing.");
    let caller_id = fields.text("caller_id", 64)?.ok_or_else(|| missing("caller_id"))?;
    let lists = read_lists(fields)?;
    match (fields.find("from").is_some(), lists.is_empty()) {
        (true, false) => return Err(Failure::bad("lists", "Send from or lists, not both.")),
        (false, true) => return Err(Failure::bad("from", "Mandatory parameter missing: from or lists.")),
        _ => {}
    }
    let (url, text) = (fields.url("url")?, fields.text("read_via_text", MAX_TEXT_CHARS)?);
    if url.is_none() && text.is_none() {
        return Err(Failure::bad(
            "url",
            "Mandatory parameter missing: url or read_via_text.",
        ));
    }
    fields.one_of("type", &["trans", "promo"])?;
    let (send_at, end_at) = read_schedule(fields, now)?;
    let (mode, throttle) = read_throttle(fields)?;
    let menus = fields.number("repeat_menu_attempts", 0..=10)?;
    Ok(Definition {
        name: fields
            .text("name", MAX_NAME_CHARS)?
            .unwrap_or_else(|| format!("Campaign {now}")),
        caller_id: read_number("caller_id", &caller_id, account)?,
        campaign_type: fields
            .one_of("campaign_type", &["static", "dynamic"])?
            .unwrap_or("static")
            .to_owned(),
        flow_type: fields.one_of("flow_type", &["ivr", "greeting"])?.map(ToOwned::to_owned),
        url,
        read_via_text: text,
        lists,
        call_duplicate_numbers: fields.flag("call_duplicate_numbers")?.unwrap_or(false),
        retries: read_retries(fields)?,
        send_at,
        end_at,
        call_status_callback: fields.url("call_status_callback")?,
        call_schedule_callback: fields.url("call_schedule_callback")?,
        status_callback: fields.url("status_callback")?,
        mode: mode.to_owned(),
        throttle,
        custom_field: fields.text("custom_field", MAX_CUSTOM_CHARS)?,
        repeat_menu_attempts: menus.and_then(|menus| u8::try_from(menus).ok()),
        base_url,
    })
}

/// What may be changed once a campaign has begun.
const CALLBACKS: [&str; 3] = ["call_status_callback", "call_schedule_callback", "status_callback"];
/// What may be changed before.
const EDITABLE: [&str; 8] = [
    "name",
    "url",
    "read_via_text",
    "retries",
    "schedule",
    "throttle",
    "mode",
    "custom_field",
];

/// Puts what was sent in place of what a campaign had.
pub(super) fn edit(fields: &Fields<'_>, known: &mut Definition, has_begun: bool, now: TimeUs) -> Read<()> {
    if let Some(name) = EDITABLE.into_iter().find(|name| has_begun && fields.has(name)) {
        let reason = "The campaign has begun: action and the three callbacks alone can be changed.";
        return Err(Failure::bad(name, reason));
    }
    for name in CALLBACKS.into_iter().filter(|name| fields.has(name)) {
        let url = fields.url(name)?;
        match name {
            "call_status_callback" => known.call_status_callback = url,
            "call_schedule_callback" => known.call_schedule_callback = url,
            _ => known.status_callback = url,
        }
    }
    if let Some(name) = fields.text("name", MAX_NAME_CHARS)? {
        known.name = name;
    }
    if let Some(url) = fields.url("url")? {
        known.url = Some(url);
    }
    if let Some(text) = fields.text("read_via_text", MAX_TEXT_CHARS)? {
        known.read_via_text = Some(text);
    }
    if fields.has("retries") {
        known.retries = read_retries(fields)?;
    }
    if fields.has("schedule") {
        (known.send_at, known.end_at) = read_schedule(fields, now)?;
    }
    if fields.has("throttle") || fields.has("mode") {
        let (mode, throttle) = read_throttle(fields)?;
        (known.mode, known.throttle) = (mode.to_owned(), throttle);
    }
    if fields.has("custom_field") {
        known.custom_field = fields.text("custom_field", MAX_CUSTOM_CHARS)?;
    }
    Ok(())
}
