//! Records as columns. What follows from another column is kept as the difference to it, so that it costs nothing when
//! it follows as expected; a column without any value is left out.

use callvault_core::record::{Call, CallStatus, Direction, Entry, Message, MessageStatus};
use callvault_core::{Number, Sid, TimeUs, record::Record, time::SECOND_US};

/// How a column's values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Integers near their neighbours.
    Near,
    /// Integers spread over a wide range, such as telephone numbers.
    Wide,
    /// Integers from a small set that is spread wide.
    Few,
    /// Random bytes of one length.
    Random(usize),
    /// Text.
    Text,
}

/// Every column: its name and shape. The position is its number in the packed form, so new ones go at the end.
pub(super) const COLUMNS: &[(&str, Shape)] = &[
    ("at", Shape::Near),
    ("sid_ms", Shape::Near),
    ("sid_tail", Shape::Random(10)),
    ("source_s", Shape::Near),
    ("source_seq", Shape::Near),
    ("source_uuid", Shape::Random(16)),
    ("source_text", Shape::Text),
    ("direction", Shape::Near),
    ("from", Shape::Wide),
    ("from_text", Shape::Text),
    ("to", Shape::Wide),
    ("to_text", Shape::Text),
    ("exophone", Shape::Few),
    ("exophone_text", Shape::Text),
    ("status", Shape::Near),
    ("answered_s", Shape::Near),
    ("answered_us", Shape::Near),
    ("ended_s", Shape::Near),
    ("ended_us", Shape::Near),
    ("duration_s", Shape::Near),
    ("talk_s", Shape::Near),
    ("price_micros", Shape::Few),
    ("caller_name", Shape::Text),
    ("extra", Shape::Text),
    ("status_code", Shape::Near),
    ("sent_s", Shape::Near),
    ("sent_us", Shape::Near),
    ("units", Shape::Near),
    ("body", Shape::Text),
    ("dlt_entity_id", Shape::Text),
    ("dlt_template_id", Shape::Text),
];

/// The values of a column; absent ones take no room.
pub(super) enum Values {
    Ints(Vec<i64>),
    /// Bytes of fixed length, one after another.
    Fixed(usize, Vec<u8>),
    /// Texts one after another, and where each ends.
    Texts(Vec<u8>, Vec<usize>),
}

/// A column: 1 for each row that has a value and 0 for the others, and the values.
pub(super) struct Column {
    pub number: usize,
    pub levels: Vec<i16>,
    pub values: Values,
}

impl Column {
    fn new(number: usize, shape: Shape, rows: usize) -> Self {
        let values = match shape {
            Shape::Random(width) => Values::Fixed(width, Vec::new()),
            Shape::Text => Values::Texts(Vec::new(), Vec::new()),
            Shape::Near | Shape::Wide | Shape::Few => Values::Ints(Vec::new()),
        };
        Self {
            number,
            levels: Vec::with_capacity(rows),
            values,
        }
    }

    pub(super) fn name(&self) -> &'static str {
        COLUMNS.get(self.number).map_or("", |column| column.0)
    }

    pub(super) fn shape(&self) -> Shape {
        COLUMNS.get(self.number).map_or(Shape::Text, |column| column.1)
    }

    /// How many rows have a value.
    pub(super) fn present(&self) -> usize {
        match &self.values {
            Values::Ints(values) => values.len(),
            Values::Fixed(width, bytes) => bytes.len() / width,
            Values::Texts(_, ends) => ends.len(),
        }
    }

    fn int(&mut self, value: Option<i64>) {
        self.levels.push(i16::from(value.is_some()));
        if let (Some(value), Values::Ints(values)) = (value, &mut self.values) {
            values.push(value);
        }
    }

    fn fixed(&mut self, value: Option<&[u8]>) {
        self.levels.push(i16::from(value.is_some()));
        if let (Some(value), Values::Fixed(_, bytes)) = (value, &mut self.values) {
            bytes.extend_from_slice(value);
        }
    }

    fn text(&mut self, value: Option<&str>) {
        self.levels.push(i16::from(value.is_some()));
        if let (Some(value), Values::Texts(bytes, ends)) = (value, &mut self.values) {
            bytes.extend_from_slice(value.as_bytes());
            ends.push(bytes.len());
        }
    }
}

/// Declares a struct with one field for each column, in the order of [`COLUMNS`].
macro_rules! table {
    ($($field:ident),+ $(,)?) => {
        struct Table { $($field: Column),+ }

        impl Table {
            fn new(rows: usize) -> Self {
                let mut columns = COLUMNS.iter().enumerate().map(|(number, column)| Column::new(number, column.1, rows));
                let mut next = || columns.next().unwrap_or_else(|| Column::new(0, Shape::Near, 0));
                Self { $($field: next()),+ }
            }

            /// The columns that hold anything.
            fn finish(self) -> Vec<Column> {
                [$(self.$field),+].into_iter().filter(|column| column.present() > 0).collect()
            }
        }
    };
}

table!(
    at,
    sid_ms,
    sid_tail,
    source_s,
    source_seq,
    source_uuid,
    source_text,
    direction,
    from,
    from_text,
    to,
    to_text,
    exophone,
    exophone_text,
    status,
    answered_s,
    answered_us,
    ended_s,
    ended_us,
    duration_s,
    talk_s,
    price_micros,
    caller_name,
    extra,
    status_code,
    sent_s,
    sent_us,
    units,
    body,
    dlt_entity_id,
    dlt_template_id,
);

/// The columns of records that are all of one class.
pub(super) fn columns_of(records: &[Record]) -> Vec<Column> {
    let mut table = Table::new(records.len());
    for record in records {
        match record {
            Record::Call(call) => table.call(call),
            Record::Message(message) => table.message(message),
            Record::Activity(entry)
            | Record::ApiAccess(entry)
            | Record::WebhookDelivery(entry)
            | Record::CampaignReport(entry) => table.entry(entry),
        }
    }
    table.finish()
}

impl Table {
    fn call(&mut self, call: &Call) {
        self.head(
            call.at,
            call.sid,
            call.source_id.as_deref(),
            call.direction,
            &call.from,
            &call.to,
        );
        put_number(&mut self.exophone, &mut self.exophone_text, &call.exophone);
        self.status.int(position(CallStatus::ALL, call.status));
        put_time(&mut self.answered_s, &mut self.answered_us, call.at, call.answered_at);
        put_time(&mut self.ended_s, &mut self.ended_us, call.at, call.ended_at);
        let length_s = seconds_between(Some(call.at), call.ended_at);
        self.duration_s
            .int(non_zero(i64::from(call.duration_s).wrapping_sub(length_s)));
        let talk_s = seconds_between(call.answered_at, call.ended_at);
        self.talk_s.int(non_zero(i64::from(call.talk_s).wrapping_sub(talk_s)));
        self.price_micros.int(call.price_micros);
        self.caller_name.text(call.caller_name.as_deref());
        self.extra.text(call.extra.as_deref());
    }

    fn message(&mut self, message: &Message) {
        let Message {
            at,
            sid,
            source_id,
            direction,
            from,
            to,
            ..
        } = message;
        self.head(*at, *sid, source_id.as_deref(), *direction, from, to);
        self.status.int(position(MessageStatus::ALL, message.status));
        self.status_code.int(message.status_code.map(i64::from));
        put_time(&mut self.sent_s, &mut self.sent_us, message.at, message.sent_at);
        self.units.int(non_zero(i64::from(message.units)));
        self.price_micros.int(message.price_micros);
        self.body.text(message.body.as_deref());
        self.dlt_entity_id.text(message.dlt_entity_id.as_deref());
        self.dlt_template_id.text(message.dlt_template_id.as_deref());
        self.extra.text(message.extra.as_deref());
    }

    fn entry(&mut self, entry: &Entry) {
        self.moment(entry.at, entry.sid);
        self.source_text.text(Some(&entry.name));
        put_number(&mut self.from, &mut self.from_text, &entry.subject);
        self.extra.text(entry.detail.as_deref());
    }

    fn moment(&mut self, at: TimeUs, sid: Sid) {
        self.at.int(Some(at.0));
        let own_ms = expected_sid_ms(at);
        self.sid_ms.int(non_zero((sid.at_ms().0 / 1000).wrapping_sub(own_ms)));
        self.sid_tail.fixed(sid.0.get(6..));
    }

    fn head(
        &mut self,
        at: TimeUs,
        sid: Sid,
        source_id: Option<&str>,
        direction: Direction,
        from: &Number,
        to: &Number,
    ) {
        self.moment(at, sid);
        let source = source_id.map(SourceId::parse);
        let (mut stamp, mut uuid, mut text) = (None, None, None);
        match &source {
            Some(SourceId::Stamp(second, counter)) => stamp = Some((*second, *counter)),
            Some(SourceId::Uuid(bytes)) => uuid = Some(bytes.as_slice()),
            Some(SourceId::Text(other)) => text = Some(*other),
            None => {}
        }
        self.source_s
            .int(stamp.map(|(second, _)| second.wrapping_sub(at.0.div_euclid(SECOND_US))));
        self.source_seq.int(stamp.map(|(_, counter)| counter));
        self.source_uuid.fixed(uuid);
        self.source_text.text(text);
        self.direction.int(position(Direction::ALL, direction));
        put_number(&mut self.from, &mut self.from_text, from);
        put_number(&mut self.to, &mut self.to_text, to);
    }
}

/// The milliseconds the SID of a record of this moment begins with.
pub(super) fn expected_sid_ms(at: TimeUs) -> i64 {
    at.0.div_euclid(1000).max(0)
}

/// Whole seconds between two moments; 0 when one is unknown.
pub(super) fn seconds_between(start: Option<TimeUs>, end: Option<TimeUs>) -> i64 {
    start
        .zip(end)
        .map_or(0, |(start, end)| end.0.wrapping_sub(start.0).div_euclid(SECOND_US))
}

fn non_zero(value: i64) -> Option<i64> {
    (value != 0).then_some(value)
}

fn position<T: PartialEq>(all: &[T], value: T) -> Option<i64> {
    all.iter()
        .position(|other| *other == value)
        .and_then(|position| i64::try_from(position).ok())
}

/// A moment as whole seconds after `at` and the microseconds beyond, which most switches do not write.
fn put_time(seconds: &mut Column, micros: &mut Column, at: TimeUs, time: Option<TimeUs>) {
    let delta = time.map(|time| time.0.wrapping_sub(at.0));
    seconds.int(delta.map(|delta| delta.div_euclid(SECOND_US)));
    micros.int(delta.and_then(|delta| non_zero(delta.rem_euclid(SECOND_US))));
}

/// E.164 as an integer, other texts as they are, the empty number as neither.
fn put_number(code: &mut Column, text: &mut Column, number: &Number) {
    let value = number_code(number.as_str());
    code.int(value);
    text.text(if value.is_some() || number.is_withheld() {
        None
    } else {
        Some(number.as_str())
    });
}

/// `+` and 1 to 18 digits, the first not 0, as the integer they spell.
pub(super) fn number_code(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('+')?;
    canonical_decimal(digits, 18).filter(|_| !digits.starts_with('0'))
}

/// Decimal digits that print back the same, at most `longest` of them (18 always fit).
fn canonical_decimal(digits: &str, longest: usize) -> Option<i64> {
    if digits.is_empty() || digits.len() > longest || (digits.len() > 1 && digits.starts_with('0')) {
        return None;
    }
    digits.bytes().try_fold(0_i64, |value, byte| {
        byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0'))
    })
}

/// A source's id, taken apart where its form is known.
#[derive(Debug, PartialEq, Eq)]
enum SourceId<'a> {
    /// Asterisk's `uniqueid`: Unix seconds, a dot, a counter.
    Stamp(i64, i64),
    /// FreeSWITCH's `uuid`, lower case.
    Uuid([u8; 16]),
    Text(&'a str),
}

impl<'a> SourceId<'a> {
    fn parse(text: &'a str) -> Self {
        let stamp = text.split_once('.').and_then(|(second, counter)| {
            Some(Self::Stamp(
                canonical_decimal(second, 15)?,
                canonical_decimal(counter, 18)?,
            ))
        });
        stamp
            .or_else(|| uuid_bytes(text).map(Self::Uuid))
            .unwrap_or(Self::Text(text))
    }
}

fn uuid_bytes(text: &str) -> Option<[u8; 16]> {
    let bytes = text.as_bytes();
    if bytes.len() != 36 || bytes.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    let mut digits = [0; 32];
    let mut filled = 0;
    for (index, byte) in bytes.iter().enumerate() {
        match index {
            8 | 13 | 18 | 23 if *byte == b'-' => {}
            8 | 13 | 18 | 23 => return None,
            _ => {
                *digits.get_mut(filled)? = *byte;
                filled += 1;
            }
        }
    }
    let mut out = [0; 16];
    hex::decode_to_slice(digits, &mut out).ok()?;
    Some(out)
}
