//! Columns as records again.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, FixedSizeBinaryArray, Int64Array, StringArray};
use callvault_core::record::{Call, CallStatus, Direction, Entry, Message, MessageStatus, Record};
use callvault_core::{Class, Number, Sid, TimeUs, time::SECOND_US};
use compact_str::{CompactString, format_compact};

use super::columns::{expected_sid_ms, seconds_between};
use super::{Result, SegmentError};

/// Columns by name; one that is missing has no value in any row.
pub(super) struct Batch {
    pub rows: usize,
    pub columns: Vec<(String, ArrayRef)>,
}

struct Ints(Option<Arc<dyn Array>>);
struct Texts(Option<Arc<dyn Array>>);
struct Fixed(Option<Arc<dyn Array>>);

impl Batch {
    fn find(&self, name: &str) -> Option<ArrayRef> {
        self.columns
            .iter()
            .find(|column| column.0 == name)
            .map(|column| Arc::clone(&column.1))
    }

    fn checked<T: Array + 'static>(&self, name: &str) -> Result<Option<ArrayRef>> {
        let found = self.find(name);
        match &found {
            Some(array) if !array.as_any().is::<T>() || array.len() != self.rows => Err(SegmentError::Damaged(
                "a column has another type or length than it should",
            )),
            _ => Ok(found),
        }
    }

    fn ints(&self, name: &str) -> Result<Ints> {
        self.checked::<Int64Array>(name).map(Ints)
    }

    fn texts(&self, name: &str) -> Result<Texts> {
        self.checked::<StringArray>(name).map(Texts)
    }

    fn fixed(&self, name: &str) -> Result<Fixed> {
        self.checked::<FixedSizeBinaryArray>(name).map(Fixed)
    }
}

impl Ints {
    fn view(&self) -> IntView<'_> {
        IntView(self.0.as_ref().and_then(|array| array.as_any().downcast_ref()))
    }
}

impl Texts {
    fn view(&self) -> TextView<'_> {
        TextView(self.0.as_ref().and_then(|array| array.as_any().downcast_ref()))
    }
}

impl Fixed {
    fn get(&self, row: usize) -> Option<&[u8]> {
        let array: &FixedSizeBinaryArray = self.0.as_ref()?.as_any().downcast_ref()?;
        (row < array.len() && array.is_valid(row)).then(|| array.value(row))
    }
}

#[derive(Clone, Copy)]
struct IntView<'a>(Option<&'a Int64Array>);

impl IntView<'_> {
    fn get(self, row: usize) -> Option<i64> {
        self.0
            .filter(|array| row < array.len() && array.is_valid(row))
            .map(|array| array.value(row))
    }
}

#[derive(Clone, Copy)]
struct TextView<'a>(Option<&'a StringArray>);

impl<'a> TextView<'a> {
    fn get(self, row: usize) -> Option<&'a str> {
        self.0
            .filter(|array| row < array.len() && array.is_valid(row))
            .map(|array| array.value(row))
    }

    fn compact(self, row: usize) -> Option<CompactString> {
        self.get(row).map(CompactString::new)
    }

    fn boxed(self, row: usize) -> Option<Box<str>> {
        self.get(row).map(Box::from)
    }
}

/// The columns a SID is made of.
pub(super) const SID_COLUMNS: [&str; 3] = ["at", "sid_ms", "sid_tail"];

/// The SIDs of a batch that holds at least [`SID_COLUMNS`].
pub(super) fn sids_of(batch: &Batch) -> Result<Vec<Sid>> {
    let (at, ms, tail) = (batch.ints("at")?, batch.ints("sid_ms")?, batch.fixed("sid_tail")?);
    (0..batch.rows)
        .map(|row| {
            let at = at.view().get(row).ok_or(MISSING)?;
            sid(TimeUs(at), ms.view().get(row), tail.get(row).ok_or(MISSING)?)
        })
        .collect()
}

const MISSING: SegmentError = SegmentError::Damaged("a value is missing");
const RANGE: SegmentError = SegmentError::Damaged("a value is out of range");

fn sid(at: TimeUs, ms_delta: Option<i64>, tail: &[u8]) -> Result<Sid> {
    let ms = expected_sid_ms(at).wrapping_add(ms_delta.unwrap_or(0)).to_be_bytes();
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&ms[2..]);
    if tail.len() != 10 {
        return Err(RANGE);
    }
    bytes[6..].copy_from_slice(tail);
    Ok(Sid(bytes))
}

fn number(code: IntView<'_>, text: TextView<'_>, row: usize) -> Number {
    match code.get(row) {
        Some(code) => plus_number(code),
        None => Number(text.compact(row).unwrap_or_default()),
    }
}

fn plus_number(code: i64) -> Number {
    let mut text = [b'0'; 20];
    let (mut rest, mut start) = (code.unsigned_abs(), text.len());
    while rest > 0 && start > 1 {
        start -= 1;
        text[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    start = start.saturating_sub(1);
    text[start] = b'+';
    Number(CompactString::from_utf8(&text[start..]).unwrap_or_default())
}

fn time(at: TimeUs, seconds: IntView<'_>, micros: IntView<'_>, row: usize) -> Option<TimeUs> {
    let delta = seconds
        .get(row)?
        .wrapping_mul(SECOND_US)
        .wrapping_add(micros.get(row).unwrap_or(0));
    Some(TimeUs(at.0.wrapping_add(delta)))
}

fn choice<T: Copy>(all: &[T], view: IntView<'_>, row: usize) -> Result<T> {
    let position = usize::try_from(view.get(row).ok_or(MISSING)?).map_err(|_| RANGE)?;
    all.get(position).copied().ok_or(RANGE)
}

fn unsigned(value: i64) -> Result<u32> {
    u32::try_from(value).map_err(|_| RANGE)
}

fn source_id(
    (second, counter): (IntView<'_>, IntView<'_>),
    uuid: &Fixed,
    text: TextView<'_>,
    at: TimeUs,
    row: usize,
) -> Result<Option<CompactString>> {
    if let Some(second) = second.get(row) {
        let second = second.wrapping_add(at.0.div_euclid(SECOND_US));
        let counter = counter.get(row).ok_or(MISSING)?;
        return Ok(Some(format_compact!("{second}.{counter}")));
    }
    let Some(bytes) = uuid.get(row) else {
        return Ok(text.compact(row));
    };
    let mut digits = [0; 32];
    hex::encode_to_slice(bytes, &mut digits).map_err(|_| RANGE)?;
    let mut out = CompactString::with_capacity(36);
    for (index, byte) in digits.iter().enumerate() {
        if [8, 12, 16, 20].contains(&index) {
            out.push('-');
        }
        out.push(char::from(*byte));
    }
    Ok(Some(out))
}

/// Appends a batch's records. `keep` says which rows, by position in the batch and time.
pub(super) fn push_records(
    class: Class,
    batch: &Batch,
    keep: &dyn Fn(TimeUs) -> bool,
    out: &mut Vec<Record>,
) -> Result<()> {
    let (at, sid_ms, sid_tail) = (batch.ints("at")?, batch.ints("sid_ms")?, batch.fixed("sid_tail")?);
    let (source_s, source_seq) = (batch.ints("source_s")?, batch.ints("source_seq")?);
    let (source_uuid, source_text) = (batch.fixed("source_uuid")?, batch.texts("source_text")?);
    let (direction, status) = (batch.ints("direction")?, batch.ints("status")?);
    let (from, from_text) = (batch.ints("from")?, batch.texts("from_text")?);
    let (to, to_text) = (batch.ints("to")?, batch.texts("to_text")?);
    let (price_micros, extra) = (batch.ints("price_micros")?, batch.texts("extra")?);
    let (at, sid_ms, direction, status) = (at.view(), sid_ms.view(), direction.view(), status.view());
    let (source_s, source_seq, source_text) = (source_s.view(), source_seq.view(), source_text.view());
    let (from, from_text, to, to_text) = (from.view(), from_text.view(), to.view(), to_text.view());
    let (price_micros, extra) = (price_micros.view(), extra.view());
    let head = |row: usize, at: TimeUs| -> Result<_> {
        Ok((
            sid(at, sid_ms.get(row), sid_tail.get(row).ok_or(MISSING)?)?,
            source_id((source_s, source_seq), &source_uuid, source_text, at, row)?,
            choice(Direction::ALL, direction, row)?,
            number(from, from_text, row),
            number(to, to_text, row),
        ))
    };
    match class {
        Class::Call => {
            let (exophone, exophone_text) = (batch.ints("exophone")?, batch.texts("exophone_text")?);
            let (answered_s, answered_us) = (batch.ints("answered_s")?, batch.ints("answered_us")?);
            let (ended_s, ended_us) = (batch.ints("ended_s")?, batch.ints("ended_us")?);
            let (duration_s, talk_s) = (batch.ints("duration_s")?, batch.ints("talk_s")?);
            let caller_name = batch.texts("caller_name")?;
            for row in 0..batch.rows {
                let at = TimeUs(at.get(row).ok_or(MISSING)?);
                if !keep(at) {
                    continue;
                }
                let (sid, source_id, direction, from, to) = head(row, at)?;
                let answered_at = time(at, answered_s.view(), answered_us.view(), row);
                let ended_at = time(at, ended_s.view(), ended_us.view(), row);
                let length_s = seconds_between(Some(at), ended_at);
                let spoken_s = seconds_between(answered_at, ended_at);
                out.push(Record::Call(Call {
                    sid,
                    at,
                    source_id,
                    direction,
                    from,
                    to,
                    exophone: number(exophone.view(), exophone_text.view(), row),
                    status: choice(CallStatus::ALL, status, row)?,
                    answered_at,
                    ended_at,
                    duration_s: unsigned(length_s.wrapping_add(duration_s.view().get(row).unwrap_or(0)))?,
                    talk_s: unsigned(spoken_s.wrapping_add(talk_s.view().get(row).unwrap_or(0)))?,
                    price_micros: price_micros.get(row),
                    caller_name: caller_name.view().compact(row),
                    extra: extra.boxed(row),
                }));
            }
        }
        Class::Message => {
            let (status_code, units) = (batch.ints("status_code")?, batch.ints("units")?);
            let (sent_s, sent_us) = (batch.ints("sent_s")?, batch.ints("sent_us")?);
            let (body, entity) = (batch.texts("body")?, batch.texts("dlt_entity_id")?);
            let template = batch.texts("dlt_template_id")?;
            for row in 0..batch.rows {
                let at = TimeUs(at.get(row).ok_or(MISSING)?);
                if !keep(at) {
                    continue;
                }
                let (sid, source_id, direction, from, to) = head(row, at)?;
                out.push(Record::Message(Message {
                    sid,
                    at,
                    source_id,
                    direction,
                    from,
                    to,
                    status: choice(MessageStatus::ALL, status, row)?,
                    status_code: status_code.view().get(row).map(unsigned).transpose()?,
                    sent_at: time(at, sent_s.view(), sent_us.view(), row),
                    units: unsigned(units.view().get(row).unwrap_or(0))?,
                    price_micros: price_micros.get(row),
                    body: body.view().boxed(row),
                    dlt_entity_id: entity.view().compact(row),
                    dlt_template_id: template.view().compact(row),
                    extra: extra.boxed(row),
                }));
            }
        }
        Class::Activity | Class::ApiAccess | Class::WebhookDelivery | Class::CampaignReport => {
            for row in 0..batch.rows {
                let at = TimeUs(at.get(row).ok_or(MISSING)?);
                if !keep(at) {
                    continue;
                }
                let entry = Entry {
                    sid: sid(at, sid_ms.get(row), sid_tail.get(row).ok_or(MISSING)?)?,
                    at,
                    name: source_text.compact(row).ok_or(MISSING)?,
                    subject: number(from, from_text, row),
                    detail: extra.boxed(row),
                };
                out.push(Record::of_log(class, entry).ok_or(RANGE)?);
            }
        }
        _ => return Err(SegmentError::Damaged("its class has no segments")),
    }
    Ok(())
}
