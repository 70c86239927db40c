//! Records of every shape a source may write, for property tests.

use callvault_core::record::{Call, CallStatus, Direction, Message, MessageStatus, Record};
use callvault_core::{Number, Sid, TimeUs};
use proptest::prelude::*;

fn number() -> impl Strategy<Value = Number> {
    prop_oneof![
        3 => "\\+[1-9][0-9]{7,14}".prop_map(|text| Number(text.into())),
        1 => "\\+?[0-9]{1,20}".prop_map(|text| Number(text.into())),
        1 => "[a-z0-9_.-]{0,64}".prop_map(|text| Number(text.into())),
        1 => Just(Number("+910000000001".into())),
        1 => Just(Number::default()),
    ]
}

fn source_id() -> impl Strategy<Value = Option<String>> {
    prop_oneof![
        Just(None),
        Just(Some(String::new())),
        "1[0-9]{9}\\.[0-9]{1,7}".prop_map(Some),
        "[0-9]{0,20}\\.[0-9]{0,20}".prop_map(Some),
        "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}".prop_map(Some),
        "[0-9A-F]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}".prop_map(Some),
        Just(Some("z".repeat(128))),
        "\\PC{0,30}".prop_map(Some),
    ]
}

fn text(long: usize) -> impl Strategy<Value = Option<String>> {
    prop_oneof![
        4 => Just(None),
        1 => Just(Some(String::new())),
        3 => "\\PC{0,40}".prop_map(Some),
        1 => Just(Some("é".repeat(long / 2))),
    ]
}

fn moment() -> impl Strategy<Value = TimeUs> {
    prop_oneof![
        6 => (1_760_000_000_000_000..1_760_000_100_000_000_i64).prop_map(TimeUs),
        2 => (0..86_400_i64).prop_map(|second| TimeUs(1_760_000_000_000_000 + second * 1_000_000)),
        1 => any::<i64>().prop_map(TimeUs),
        1 => Just(TimeUs(0)),
    ]
}

type Head = (TimeUs, Sid, Option<String>, Direction, Number, Number);

fn head() -> impl Strategy<Value = Head> {
    let direction = prop::sample::select(Direction::ALL);
    let sid = (any::<[u8; 16]>(), prop::bool::weighted(0.1));
    (moment(), sid, source_id(), direction, number(), number()).prop_map(
        |(at, (bytes, foreign), source, way, from, to)| {
            let mut tail = [0; 10];
            tail.copy_from_slice(&bytes[6..]);
            (
                at,
                if foreign { Sid(bytes) } else { Sid::new(at, tail) },
                source,
                way,
                from,
                to,
            )
        },
    )
}

/// A record that a failing test does not print.
#[derive(Clone)]
pub(super) struct Unshown(pub(super) Record);

impl std::fmt::Debug for Unshown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} at {:?}", self.0.sid(), self.0.at().0)
    }
}

pub(super) fn call() -> impl Strategy<Value = Unshown> {
    let times = (prop::option::of(moment()), prop::option::of(moment()));
    let rest = (
        any::<u32>(),
        any::<u32>(),
        prop::option::of(any::<i64>()),
        text(128),
        text(16_384),
    );
    (head(), number(), prop::sample::select(CallStatus::ALL), times, rest).prop_map(
        |((at, sid, source, direction, from, to), exophone, status, times, rest)| {
            Unshown(Record::Call(Call {
                sid,
                at,
                source_id: source.map(Into::into),
                direction,
                from,
                to,
                exophone,
                status,
                answered_at: times.0,
                ended_at: times.1,
                duration_s: rest.0,
                talk_s: rest.1,
                price_micros: rest.2,
                caller_name: rest.3.map(Into::into),
                extra: rest.4.map(Into::into),
            }))
        },
    )
}

pub(super) fn message() -> impl Strategy<Value = Unshown> {
    let dlt = (text(64), text(64));
    let rest = (
        prop::option::of(any::<u32>()),
        any::<u32>(),
        prop::option::of(any::<i64>()),
        text(8_000),
        text(16_384),
    );
    let sent = prop::option::of(moment());
    (head(), prop::sample::select(MessageStatus::ALL), sent, dlt, rest).prop_map(
        |((at, sid, source, direction, from, to), status, sent_at, dlt, rest)| {
            Unshown(Record::Message(Message {
                sid,
                at,
                source_id: source.map(Into::into),
                direction,
                from,
                to,
                status,
                status_code: rest.0,
                sent_at,
                units: rest.1,
                price_micros: rest.2,
                body: rest.3.map(Into::into),
                dlt_entity_id: dlt.0.map(Into::into),
                dlt_template_id: dlt.1.map(Into::into),
                extra: rest.4.map(Into::into),
            }))
        },
    )
}
