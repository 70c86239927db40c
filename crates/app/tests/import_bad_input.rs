//! Bad input: each fault has its row, its field and its code, the good rows around it stay, and nothing panics.

#![allow(clippy::expect_used, clippy::panic, reason = "a test ends here when it fails")]

use std::io::{self, Read};

use callvault_app::import::{Batch, Format, Options, Reader, Reject, parse_time_zone};
use callvault_core::{Class, Sid, TimeUs};
use phonenumber::country::Id::IN;
use proptest::prelude::*;

const GOOD: &str = r#""","9900012345","918049501234","from-trunk","9900012345","PJSIP/t-1","PJSIP/1001-2","Dial","PJSIP/1001","2026-01-31 09:30:00","2026-01-31 09:30:08","2026-01-31 09:32:10",130,122,"ANSWERED","DOCUMENTATION","1769832000.42""#;
const NDJSON: &str =
    r#"{"at":"2026-01-31T09:30:00Z","direction":"inbound","from":"100","to":"101","status":"completed"}"#;
const CSV: &str = "at,direction,from,to,status,duration_s,talk_s,ended_at\n";

fn options() -> Options {
    let now = TimeUs::parse("2026-11-23T00:00:00Z").expect("a time");
    Options::new(IN, parse_time_zone("+05:30").expect("a zone"), now)
}

fn sid(source: &str, at: TimeUs) -> Sid {
    let mut tail = [0; 10];
    tail[0] = source.len().to_le_bytes()[0];
    Sid::new(at, tail)
}

fn read(input: impl Read, format: Format, options: &Options) -> Batch {
    let mut reader = Reader::new(input, format, options, sid).expect("a reader");
    let mut all = Batch::default();
    while let Some(batch) = reader.next_batch(7).expect("readable") {
        all.records.extend(batch.records);
        all.rejects.extend(batch.rejects);
        all.position = batch.position;
    }
    all
}

/// `bad` between two good rows: both survive, and the fault is as said.
fn check(format: Format, header: &str, good: &str, bad: &[u8], field: Option<&str>, code: &str) {
    let mut file = format!("{header}{good}\n").into_bytes();
    file.extend_from_slice(bad);
    file.extend_from_slice(format!("\n{good}\n").as_bytes());
    let batch = read(&file[..], format, &options());
    let shown = String::from_utf8_lossy(bad);
    assert_eq!(batch.records.len(), 2, "{shown}: {:?}", batch.rejects);
    assert_eq!(batch.rejects.len(), 1, "{shown}: {:?}", batch.rejects);
    let error = &batch.rejects[0].error;
    let row = 2 + header.lines().count() as u64;
    assert_eq!(
        (error.row, error.field.as_deref(), error.code),
        (row, field, code),
        "{shown}"
    );
    assert_eq!(batch.rejects[0].raw, &bad[..bad.len().min(Reject::MAX_RAW_BYTES)]);
    assert!(!error.to_string().contains("9900012345"));
    assert_eq!(batch.position.offset, file.len() as u64);
}

#[test]
fn asterisk_rows() {
    let cases: &[(&str, &str, Option<&str>, &str)] = &[
        (
            "\"2026-01-31 09:30:00\",\"2026-01-31 09:30:08\",",
            "",
            None,
            "wrong-column-count",
        ),
        (
            "\"2026-01-31 09:30:00\"",
            "\"2026-02-30 09:30:00\"",
            Some("start"),
            "not-a-time",
        ),
        ("\"2026-01-31 09:30:00\"", "\"yesterday\"", Some("start"), "not-a-time"),
        ("\"2026-01-31 09:30:00\"", "", Some("start"), "missing-field"),
        (
            "\"2026-01-31 09:30:00\"",
            "\"2026-11-23 05:36:00\"",
            Some("start"),
            "time-in-future",
        ),
        (
            "\"2026-01-31 09:30:00\"",
            "\"1970-01-01 05:30:00\"",
            Some("start"),
            "time-too-early",
        ),
        ("09:32:10", "09:29:59", Some("end"), "end-before-start"),
        ("09:30:08", "09:29:59", Some("answer"), "answer-before-start"),
        (",130,", ",-1,", Some("duration"), "negative-number"),
        (",130,", ",many,", Some("duration"), "not-an-integer"),
        (",130,", ",99999999999,", Some("duration"), "number-too-large"),
        (",122,", ",131,", Some("billsec"), "talk-exceeds-duration"),
        ("\"9900012345\",\"91", "\"<script>\",\"91", Some("src"), "not-a-number"),
        (
            "\"918049501234\"",
            "\"12 34 56 78 90 12 34 56 78\"",
            Some("dst"),
            "not-a-number",
        ),
        ("ANSWERED", "MAYBE", Some("disposition"), "unknown-value"),
        ("\"from-trunk\"", "\"from-trunk", None, "bad-quotes"),
        ("\"from-trunk\"", "\"from\"-trunk\"", None, "bad-quotes"),
        ("from-trunk", "from\0trunk", None, "nul-byte"),
    ];
    for (from, to, field, code) in cases {
        let bad = GOOD.replacen(from, to, 1);
        assert_ne!(bad, GOOD, "{from}");
        check(Format::AsteriskCsv, "", GOOD, bad.as_bytes(), *field, code);
    }
    let mut bad = GOOD.as_bytes().to_vec();
    bad[20] = 0xff;
    check(Format::AsteriskCsv, "", GOOD, &bad, None, "invalid-utf8");
}

#[test]
fn own_csv_rows() {
    let good = "2026-01-31T09:30:00Z,inbound,100,101,completed,10,5,";
    for (bad, field, code) in [
        (
            "2026-01-31T09:30:00Z,inbound,100,101,completed,10,5",
            None,
            "wrong-column-count",
        ),
        ("31/01/2026,inbound,100,101,completed,10,5,", Some("at"), "not-a-time"),
        (",inbound,100,101,completed,10,5,", Some("at"), "missing-field"),
        (
            "2026-01-31T09:30:00Z,sideways,100,101,completed,10,5,",
            Some("direction"),
            "unknown-value",
        ),
        (
            "2026-01-31T09:30:00Z,inbound,+++,101,completed,10,5,",
            Some("from"),
            "not-a-number",
        ),
        (
            "2026-01-31T09:30:00Z,inbound,100,101,completed,-10,5,",
            Some("duration_s"),
            "negative-number",
        ),
        (
            "2026-01-31T09:30:00Z,inbound,100,101,completed,1e3,5,",
            Some("duration_s"),
            "not-an-integer",
        ),
        (
            "2026-01-31T09:30:00Z,inbound,100,101,completed,4,5,",
            Some("talk_s"),
            "talk-exceeds-duration",
        ),
        (
            "2026-01-31T09:30:00Z,inbound,100,101,completed,10,5,2026-01-31T09:29:00Z",
            Some("ended_at"),
            "end-before-start",
        ),
        (
            "2026-01-31T09:30:00Z,inbound,100,101,\"completed,10,5,",
            None,
            "unterminated-quote",
        ),
    ] {
        check(Format::Csv(Class::Call), CSV, good, bad.as_bytes(), field, code);
    }
}

#[test]
fn own_ndjson_rows() {
    let deep = NDJSON.replacen("{", &format!("{{\"x\":{}{},", "[".repeat(500), "]".repeat(500)), 1);
    for (bad, field, code) in [
        (NDJSON.replace("\"to\":\"101\",", ""), Some("to"), "missing-field"),
        (NDJSON.replace("\"to\"", "\"from\""), Some("from"), "duplicate-key"),
        (NDJSON.replacen('{', "{\"x\":1,\"x\":2,", 1), None, "duplicate-key"),
        (
            NDJSON.replacen('{', "{\"x\":{\"y\":1,\"y\":2},", 1),
            None,
            "duplicate-key",
        ),
        (NDJSON.replace("\"100\"", "[100]"), Some("from"), "wrong-type"),
        (NDJSON.replace("\"100\"", "100"), Some("from"), "wrong-type"),
        (
            NDJSON.replacen('{', "{\"class\":\"message\",", 1),
            Some("class"),
            "wrong-class",
        ),
        (
            NDJSON.replacen('{', "{\"duration_s\":-4,", 1),
            Some("duration_s"),
            "negative-number",
        ),
        (
            NDJSON.replacen('{', "{\"caller_name\":\"a\\u0000b\",", 1),
            Some("caller_name"),
            "nul-byte",
        ),
        (
            NDJSON.replacen('{', &format!("{{\"caller_name\":\"{}\",", "n".repeat(129)), 1),
            Some("caller_name"),
            "text-too-long",
        ),
        (
            NDJSON.replacen('{', &format!("{{\"x\":\"{}\",", "n".repeat(17_000)), 1),
            Some("extra"),
            "extra-too-large",
        ),
        (NDJSON[..50].to_owned(), None, "bad-json"),
        (format!("{NDJSON} {NDJSON}"), None, "bad-json"),
        ("[1,2]".to_owned(), None, "bad-json"),
        (deep, None, "too-deep"),
    ] {
        check(Format::Ndjson(Class::Call), "", NDJSON, bad.as_bytes(), field, code);
    }
}

fn document(start: &str) -> String {
    format!(
        r#"{{"core-uuid":"c","variables":{{"uuid":"u-1","direction":"inbound","start_uepoch":"{start}","duration":"3","billsec":"0","hangup_cause":"NO_ANSWER"}},"callflow":[{{"caller_profile":{{"caller_id_number":"100","destination_number":"101"}}}}]}}"#
    )
}

#[test]
fn freeswitch_documents() {
    let good = document("1769832000000000");
    for (bad, field, code) in [
        (document("soon"), Some("variables.start_uepoch"), "not-a-time"),
        (document("0"), Some("variables.start_uepoch"), "missing-field"),
        (
            document("9769832000000000"),
            Some("variables.start_uepoch"),
            "time-in-future",
        ),
        (
            good.replace("\"duration\":\"3\"", "\"duration\":\"-3\""),
            Some("variables.duration"),
            "negative-number",
        ),
        (
            good.replace("\"billsec\":\"0\"", "\"billsec\":\"9\""),
            Some("variables.billsec"),
            "talk-exceeds-duration",
        ),
        (
            good.replace("\"uuid\":\"u-1\",", ""),
            Some("variables.uuid"),
            "missing-field",
        ),
        (
            good.replace("\"101\"", "\"%3Cscript%3E\""),
            Some("destination_number"),
            "not-a-number",
        ),
        (good.replace("\"billsec\"", "\"duration\""), None, "duplicate-key"),
        (
            good.replace("variables", "constants"),
            Some("variables"),
            "missing-field",
        ),
        (good[..good.len() - 1].to_owned(), None, "bad-json"),
        (good[..150].to_owned(), None, "bad-json"),
        (format!("{{\"x\":{}", "[".repeat(100)), None, "too-deep"),
        ("hello".to_owned(), None, "bad-json"),
    ] {
        let file = format!("{good}\n{bad}\n{good}\n");
        let batch = read(file.as_bytes(), Format::FreeswitchJson, &options());
        assert_eq!(
            (batch.records.len(), batch.rejects.len()),
            (2, 1),
            "{bad}: {:?}",
            batch.rejects
        );
        let error = &batch.rejects[0].error;
        assert_eq!(
            (error.row, error.field.as_deref(), error.code),
            (2, field, code),
            "{bad}"
        );
    }
}

#[test]
fn a_document_without_its_last_bracket_costs_itself_only() {
    let good = document("1769832000000000");
    let rows = format!("{good}\n").repeat(5000);
    let file = format!("{}\n{rows}", &good[..good.len() - 1]);
    let batch = read(file.as_bytes(), Format::FreeswitchJson, &options());
    assert_eq!((batch.records.len(), batch.rejects.len()), (5000, 1));
    assert_eq!(batch.rejects[0].error.code, "bad-json");
    assert!(batch.rejects[0].raw.starts_with(&good.as_bytes()[..good.len() - 1]));
}

#[test]
fn half_a_last_line_is_truncated_and_read_again_once_it_is_whole() {
    for (format, header, good) in [
        (Format::AsteriskCsv, "", GOOD),
        (
            Format::Csv(Class::Call),
            CSV,
            "2026-01-31T09:30:00Z,inbound,100,101,completed,10,5,",
        ),
        (Format::Ndjson(Class::Call), "", NDJSON),
        (Format::FreeswitchJson, "", document("1769832000000000").as_str()),
    ] {
        for cut in [good.len() / 4, good.len() / 2, good.len() - 5] {
            let whole = format!("{header}{good}\n{good}\n");
            let at = header.len() + good.len() + 1;
            let batch = read(&whole.as_bytes()[..at + cut], format, &options());
            assert_eq!(
                (batch.records.len(), batch.rejects.len()),
                (1, 1),
                "{format:?} {cut} {:?}",
                batch.rejects
            );
            assert_eq!(batch.rejects[0].error.code, "truncated", "{format:?} {cut}");
            let mut reader =
                Reader::resume(io::Cursor::new(&whole), format, &options(), sid, batch.position).expect("a reader");
            let rest = reader.next_batch(9).expect("readable").expect("the row");
            assert_eq!((rest.records.len(), rest.rejects.len()), (1, 0), "{format:?} {cut}");
        }
    }
}

#[test]
fn an_array_that_ends_before_its_next_document_is_truncated() {
    let good = document("1769832000000000");
    let whole = format!("[{good},\n{good}]\n");
    for cut in [good.len() + 2, good.len() + 3] {
        let batch = read(&whole.as_bytes()[..cut], Format::FreeswitchJson, &options());
        assert_eq!((batch.records.len(), batch.rejects.len()), (1, 1), "{cut}");
        assert_eq!(batch.rejects[0].error.code, "truncated", "{cut}");
        let mut reader = Reader::resume(
            io::Cursor::new(&whole),
            Format::FreeswitchJson,
            &options(),
            sid,
            batch.position,
        )
        .expect("a reader");
        let rest = reader.next_batch(9).expect("readable").expect("the row");
        assert_eq!((rest.records.len(), rest.rejects.len()), (1, 0), "{cut}");
    }
}

#[test]
fn a_number_beyond_any_field_is_refused_and_not_bent() {
    for number in ["9223372036854775808", "18446744073709551615", "18446744073709551616"] {
        let bad = NDJSON.replacen('{', &format!("{{\"price_micros\":{number},"), 1);
        let code = if number.ends_with('6') {
            "wrong-type"
        } else {
            "number-too-large"
        };
        check(
            Format::Ndjson(Class::Call),
            "",
            NDJSON,
            bad.as_bytes(),
            Some("price_micros"),
            code,
        );
    }
}

#[test]
fn an_open_quote_costs_its_own_line_only() {
    let rows: String = (0..2000)
        .map(|_| "2026-01-31T09:30:00Z,inbound,100,101,completed,10,5,\n")
        .collect();
    let file = format!("{CSV}2026-01-31T09:30:00Z,inbound,100,101,\"completed,10,5,\n{rows}");
    for max_line_bytes in [4096, 1 << 20] {
        let batch = read(
            file.as_bytes(),
            Format::Csv(Class::Call),
            &Options {
                max_line_bytes,
                ..options()
            },
        );
        assert_eq!((batch.records.len(), batch.rejects.len()), (2000, 1));
        assert_eq!(batch.rejects[0].error.code, "unterminated-quote");
    }
}

/// A line of `bytes` bytes that is made as it is read, then good rows.
struct LongLine {
    bytes: u64,
    tail: &'static [u8],
    longest_read: usize,
}

impl Read for LongLine {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.longest_read = self.longest_read.max(buffer.len());
        assert!(self.longest_read <= 8 << 20, "memory must not grow with the line");
        if self.bytes == 0 {
            return self.tail.read(buffer);
        }
        let count = buffer.len().min(usize::try_from(self.bytes).unwrap_or(usize::MAX));
        buffer[..count].fill(b'9');
        self.bytes -= count as u64;
        Ok(count)
    }
}

#[test]
fn a_line_of_3_gb_is_passed_over_in_constant_memory() {
    const TAIL: &[u8] =
        b"\n{\"at\":\"2026-01-31T09:30:00Z\",\"direction\":\"inbound\",\"from\":\"100\",\"to\":\"101\",\"status\":\"completed\"}\n";
    let input = LongLine {
        bytes: 3 << 30,
        tail: TAIL,
        longest_read: 0,
    };
    let batch = read(input, Format::Ndjson(Class::Call), &options());
    assert_eq!((batch.records.len(), batch.rejects.len()), (1, 1));
    assert_eq!(
        (batch.rejects[0].error.code, batch.rejects[0].raw.len()),
        ("line-too-long", Reject::MAX_RAW_BYTES)
    );
    assert_eq!(batch.position.offset, (3 << 30) + TAIL.len() as u64);
}

#[test]
fn a_document_longer_than_the_limit_is_passed_over() {
    let good = document("1769832000000000");
    let file = format!("{good}\n{}\n{good}\n", good.replace("NO_ANSWER", &"x".repeat(3 << 20)));
    let batch = read(file.as_bytes(), Format::FreeswitchJson, &options());
    assert_eq!((batch.records.len(), batch.rejects.len()), (2, 1));
    assert_eq!(batch.rejects[0].error.code, "line-too-long");
}

fn formats() -> impl Strategy<Value = (Format, String)> {
    prop_oneof![
        Just((Format::AsteriskCsv, format!("{GOOD}\n{GOOD}\n{GOOD}\n"))),
        Just((
            Format::Csv(Class::Call),
            format!(
                "{CSV}2026-01-31T09:30:00Z,inbound,100,\"1\"\"01\",completed,10,5,\n2026-01-31T09:30:00Z,inbound,100,101,completed,10,5,\n"
            )
        )),
        Just((Format::Ndjson(Class::Call), format!("{NDJSON}\n{NDJSON}\n"))),
        Just((
            Format::FreeswitchJson,
            format!("[{0},\n{0}]{0}", document("1769832000000000"))
        )),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn mutated_files_never_panic_and_no_row_is_both_good_and_bad(
        (format, text) in formats(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..6),
        max_line_bytes in prop_oneof![Just(1 << 20), 16..400_usize],
    ) {
        let mut bytes = text.into_bytes();
        for (index, byte, kind) in edits {
            let at = index.index(bytes.len().max(1)).min(bytes.len().saturating_sub(1));
            if bytes.is_empty() {
                break;
            }
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, b"\"\n,{}[]:\\\r\0"[usize::from(byte) % 11]),
                2 => drop(bytes.remove(at)),
                _ => bytes.truncate(at.max(1)),
            }
        }
        let options = Options { max_line_bytes, ..options() };
        let Ok(mut reader) = Reader::new(&bytes[..], format, &options, sid) else { return Ok(()) };
        let (mut good, mut bad, mut offset) = (Vec::new(), Vec::new(), 0);
        while let Ok(Some(batch)) = reader.next_batch(2) {
            good.extend(batch.records.iter().map(|(row, _)| *row));
            bad.extend(batch.rejects.iter().map(|reject| reject.error.row));
            prop_assert!(batch.position.offset >= offset);
            offset = batch.position.offset;
        }
        prop_assert!(good.is_sorted() && bad.is_sorted());
        prop_assert!(good.iter().all(|row| !bad.contains(row)), "good {good:?} bad {bad:?}");
        prop_assert!(offset <= bytes.len() as u64);
    }

    #[test]
    fn random_bytes_never_panic(
        bytes in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b"\"\n,{}[]:\\\r\0 0a".to_vec())], 0..300),
        format in formats(),
    ) {
        if let Ok(mut reader) = Reader::new(&bytes[..], format.0, &options(), sid) {
            while let Ok(Some(_)) = reader.next_batch(3) {}
        }
        prop_assert_ne!(callvault_app::import::detect(&bytes, "x"), Some(Format::AsteriskCsv));
    }

    #[test]
    fn rows_that_the_csv_crate_writes_are_read_as_it_reads_them(
        cells in prop::collection::vec(prop::collection::vec("[a-z\",\n\r éß]{0,8}", 3), 1..5),
    ) {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(["at", "direction", "from", "to", "status", "x", "y", "z"]).expect("written");
        for row in &cells {
            let fixed = ["2026-01-31T09:30:00Z", "inbound", "100", "101", "completed"];
            writer.write_record(fixed.into_iter().chain(row.iter().map(String::as_str))).expect("written");
        }
        let file = writer.into_inner().expect("flushed");
        let batch = read(&file[..], Format::Csv(Class::Call), &options());
        prop_assert!(batch.rejects.is_empty(), "{:?}", batch.rejects);
        for ((_, record), row) in batch.records.iter().zip(&cells) {
            let callvault_core::record::Record::Call(call) = record else { panic!("a call") };
            let extra: serde_json::Value = serde_json::from_str(call.extra.as_deref().unwrap_or("{}")).expect("JSON");
            for (name, cell) in ["x", "y", "z"].iter().zip(row) {
                prop_assert_eq!(extra.get(name).and_then(|v| v.as_str()).unwrap_or(""), cell);
            }
        }
        prop_assert_eq!(batch.records.len(), cells.len());
    }
}
