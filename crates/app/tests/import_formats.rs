//! What switches really write, read as records.

#![allow(clippy::expect_used, clippy::panic, reason = "a test ends here when it fails")]

use std::io::Cursor;

use callvault_app::import::{
    Batch, DirectoryStream, Format, ImportError, Options, Position, Reader, detect, parse_time_zone,
};
use callvault_core::{
    Class, Sid, TimeUs,
    record::{Call, CallStatus, Direction, Message, MessageStatus, Record},
};
use phonenumber::country::Id::IN;

fn at(text: &str) -> TimeUs {
    TimeUs::parse(text).expect("a time")
}

fn options() -> Options {
    Options::new(
        IN,
        parse_time_zone("+05:30").expect("a zone"),
        at("2026-11-23T00:00:00Z"),
    )
}

/// No keyed hash, but enough of one to tell rows apart.
fn sid(source: &str, at: TimeUs) -> Sid {
    let mut tail = [0_u8; 10];
    for (n, byte) in source.bytes().enumerate() {
        tail[n % 10] = tail[n % 10].wrapping_mul(31).wrapping_add(byte);
    }
    Sid::new(at, tail)
}

fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/fixtures/import/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).expect(&path)
}

fn read(bytes: &[u8], format: Format) -> Batch {
    let mut reader = Reader::new(bytes, format, &options(), sid).expect("a reader");
    let batch = reader.next_batch(1000).expect("readable").unwrap_or_default();
    assert!(reader.next_batch(1000).expect("readable").is_none());
    batch
}

fn read_good(name: &str, format: Format) -> Vec<Record> {
    let bytes = fixture(name);
    assert_eq!(detect(&bytes, name), Some(format), "{name}");
    let batch = read(&bytes, format);
    assert!(batch.rejects.is_empty(), "{name}: {:?}", batch.rejects);
    assert_eq!(batch.position.offset, bytes.len() as u64);
    batch.records.into_iter().map(|(_, record)| record).collect()
}

fn calls(records: Vec<Record>) -> Vec<Call> {
    records
        .into_iter()
        .map(|record| match record {
            Record::Call(call) => call,
            _ => panic!("a call"),
        })
        .collect()
}

fn message(record: &Record) -> &Message {
    match record {
        Record::Message(message) => message,
        _ => panic!("a message"),
    }
}

fn extra(call: &Call) -> serde_json::Value {
    serde_json::from_str(call.extra.as_deref().unwrap_or("{}")).expect("extra is JSON")
}

#[test]
fn asterisk_with_17_columns() {
    let calls = calls(read_good("master-17.csv", Format::AsteriskCsv));
    assert_eq!(calls.len(), 4);
    let first = &calls[0];
    assert_eq!(first.at, at("2026-01-31T04:00:00Z"), "09:30 in India");
    assert_eq!(
        (first.from.as_str(), first.to.as_str()),
        ("+919900012345", "+918049501234")
    );
    assert_eq!(first.exophone.as_str(), "+918049501234");
    assert_eq!(
        (first.direction, first.status),
        (Direction::Inbound, CallStatus::Completed)
    );
    assert_eq!(
        (first.answered_at, first.ended_at),
        (Some(at("2026-01-31T04:00:08Z")), Some(at("2026-01-31T04:02:10Z")))
    );
    assert_eq!((first.duration_s, first.talk_s), (130, 122));
    assert_eq!(first.caller_name.as_deref(), Some("Asha Rao"));
    assert_eq!(first.source_id.as_deref(), Some("1769832000.42"));
    assert_eq!(first.sid.at_ms(), first.at);
    assert_eq!(
        extra(first),
        serde_json::json!({"dcontext": "from-trunk", "channel": "PJSIP/trunk-in-0000002a", "dstchannel": "PJSIP/1001-0000002b",
            "lastapp": "Dial", "lastdata": "PJSIP/1001,30,tT", "amaflags": "DOCUMENTATION"})
    );
    assert_eq!(
        (calls[1].direction, calls[1].status),
        (Direction::OutboundDial, CallStatus::NoAnswer)
    );
    assert_eq!(
        (calls[1].from.as_str(), calls[1].exophone.as_str()),
        ("1001", "+918049501234")
    );
    assert_eq!(
        extra(&calls[1])["clid"],
        "\"Front desk\" <+918049501234>",
        "its number is no field of the call"
    );
    assert!(calls[1].answered_at.is_none());
    assert!(calls[2].from.is_withheld());
    assert_eq!((calls[2].to.as_str(), calls[2].status), ("1002", CallStatus::Busy));
    assert_eq!(extra(&calls[2])["dst"], "s");
    assert_eq!(
        (calls[3].status, &extra(&calls[3])["disposition"]),
        (CallStatus::Failed, &"CONGESTION".into())
    );
}

#[test]
fn asterisk_with_18_columns_may_have_several_rows_for_one_call() {
    let calls = calls(read_good("master-18.csv", Format::AsteriskCsv));
    assert_eq!(calls[0].source_id, calls[1].source_id);
    assert_ne!(calls[0].sid, calls[1].sid);
    assert_eq!(calls[0].caller_name.as_deref(), Some("Rao, Asha"));
    assert_eq!(
        (&extra(&calls[0])["userfield"], &extra(&calls[0])["accountcode"]),
        (&"ticket=4711".into(), &"sales".into())
    );
}

#[test]
fn asterisk_with_every_other_number_of_columns() {
    let row = String::from_utf8(fixture("master-18.csv")).expect("UTF-8");
    let row = row.lines().next().expect("a row");
    let base = row
        .strip_suffix(r#","pbx1-1769832000.42","ticket=4711""#)
        .expect("16 columns");
    for (tail, userfield, sequence) in [
        ("", None, None),
        (r#","ticket=4711""#, Some("ticket=4711"), None),
        (r#","l-1","peer",7"#, None, Some("7")),
        (r#","1769832000.42","l-1","peer",7"#, None, Some("7")),
        (r#","u","l-1","peer",7"#, Some("u"), Some("7")),
        (r#","1769832000.42","u","l-1","peer",7"#, Some("u"), Some("7")),
    ] {
        let batch = read(format!("{base}{tail}\n").as_bytes(), Format::AsteriskCsv);
        assert!(batch.rejects.is_empty(), "{tail}: {:?}", batch.rejects);
        let Record::Call(call) = &batch.records[0].1 else {
            panic!("a call")
        };
        let extra = extra(call);
        assert_eq!(extra.get("userfield").and_then(|v| v.as_str()), userfield, "{tail}");
        assert_eq!(extra.get("sequence").and_then(|v| v.as_str()), sequence, "{tail}");
        assert_eq!(call.source_id.is_some(), tail.contains("1769832000.42"), "{tail}");
    }
}

#[test]
fn freeswitch_in_each_of_its_shapes() {
    let one = calls(read_good(
        "c37517e6-7fe3-42f7-8560-03df6cca0306.cdr.json",
        Format::FreeswitchJson,
    ));
    let shapes = [
        "freeswitch.ndjson",
        "freeswitch-array.json",
        "freeswitch-concatenated.json",
    ]
    .map(|name| calls(read_good(name, Format::FreeswitchJson)));
    for shape in &shapes {
        assert_eq!(shape.len(), 3);
        assert!(shape[0] == one[0], "the same call whatever surrounds it");
        assert!(shape == &shapes[0]);
    }
    let first = &one[0];
    assert_eq!(first.at, at("2026-01-31T04:00:00Z"));
    assert_eq!(
        (first.from.as_str(), first.to.as_str(), first.exophone.as_str()),
        ("+919900012345", "+918049501234", "+918049501234")
    );
    assert_eq!(
        (first.direction, first.status),
        (Direction::Inbound, CallStatus::Completed)
    );
    assert_eq!((first.duration_s, first.talk_s), (130, 122));
    assert_eq!(first.ended_at, Some(at("2026-01-31T04:02:10.5Z")));
    assert_eq!(first.caller_name.as_deref(), Some("Asha Rao"), "URL-decoded");
    assert_eq!(first.source_id.as_deref(), Some("c37517e6-7fe3-42f7-8560-03df6cca0306"));
    let extra = extra(first);
    assert_eq!(
        extra["variables"]["last_arg"], "user%2F1001%40pbx.example",
        "what is not mapped survives as written"
    );
    assert!(extra["variables"].get("start_uepoch").is_none());
    assert_eq!(
        (shapes[0][1].direction, shapes[0][1].status),
        (Direction::OutboundDial, CallStatus::Canceled)
    );
    assert_eq!(
        (shapes[0][2].direction, shapes[0][2].status),
        (Direction::OutboundApi, CallStatus::Busy)
    );
}

#[test]
fn a_document_beyond_the_limit_names_what_it_lost() {
    let batch = read(&fixture("freeswitch-large.cdr.json"), Format::FreeswitchJson);
    assert_eq!((batch.records.len(), batch.rejects.len(), batch.shortened), (1, 0, 1));
    let Record::Call(call) = &batch.records[0].1 else {
        panic!("a call")
    };
    assert!(call.extra.as_ref().expect("extra").len() <= 16 * 1024);
    let extra = extra(call);
    let dropped = extra["_dropped"].as_array().expect("a list");
    assert!(
        dropped.contains(&"app_log".into()) && dropped.contains(&"variables.custom_var_149".into()),
        "{dropped:?}"
    );
    assert_eq!(extra["variables"]["hangup_cause"], "NORMAL_CLEARING");
}

#[test]
fn a_directory_of_documents_reads_as_one_file_and_resumes() {
    let dir = tempfile::tempdir().expect("a directory");
    for (n, line) in String::from_utf8(fixture("freeswitch.ndjson"))
        .expect("UTF-8")
        .lines()
        .enumerate()
    {
        std::fs::write(dir.path().join(format!("a_{n}.cdr.json")), line).expect("written");
    }
    std::fs::write(dir.path().join("notes.txt"), "not this").expect("written");
    let open = || DirectoryStream::open(dir.path()).expect("open");
    assert_eq!(open().files().count(), 3);
    let mut reader = Reader::new(open(), Format::FreeswitchJson, &options(), sid).expect("a reader");
    let first = reader.next_batch(1).expect("readable").expect("one");
    let rest = reader.next_batch(9).expect("readable").expect("two");
    let mut resumed =
        Reader::resume(open(), Format::FreeswitchJson, &options(), sid, first.position).expect("a reader");
    let again = resumed.next_batch(9).expect("readable").expect("two");
    assert_eq!((rest.records.len(), first.rejects.len(), rest.rejects.len()), (2, 0, 0));
    assert!(rest.records == again.records);
}

#[test]
fn own_formats() {
    let ndjson = calls(read_good("calls.ndjson", Format::Ndjson(Class::Call)));
    assert_eq!(ndjson[0].price_micros, Some(1_200_000));
    assert_eq!(
        extra(&ndjson[0]),
        serde_json::json!({"flow": {"id": 42, "name": "sales"}})
    );
    assert_eq!(ndjson[1].at, at("2026-01-31T04:05:00Z"));
    assert_eq!(
        (ndjson[1].from.as_str(), ndjson[1].to.as_str(), ndjson[1].duration_s),
        ("+918049501234", "+919900054321", 30)
    );
    assert_eq!(extra(&ndjson[1]), serde_json::json!({"campaign": "spring"}));

    let csv = calls(read_good("calls.csv", Format::Csv(Class::Call)));
    assert_eq!(
        (csv[0].talk_s, extra(&csv[0])),
        (122, serde_json::json!({"team": "sales, south"}))
    );
    assert_eq!(
        (csv[1].status, extra(&csv[1])),
        (CallStatus::Busy, serde_json::json!({"note": "call back"}))
    );

    let sms = read_good("messages.ndjson", Format::Ndjson(Class::Message));
    assert_eq!(
        (message(&sms[0]).status, message(&sms[0]).from.as_str()),
        (MessageStatus::Sent, "vm-exmpl")
    );
    let sms = read_good("messages.csv", Format::Csv(Class::Message));
    assert_eq!(message(&sms[0]).body.as_deref(), Some("Two lines,\none message"));
}

#[test]
fn lengths_that_are_not_given_come_from_the_times() {
    let row = |lengths: &str| {
        let text = format!(
            "{{\"at\":\"2026-01-31T09:30:00Z\",\"answered_at\":\"2026-01-31T09:30:08.5Z\",\"ended_at\":\"2026-01-31T09:32:10Z\",\
             \"direction\":\"inbound\",\"from\":\"100\",\"to\":\"101\",\"status\":\"completed\"{lengths}}}\n"
        );
        read(text.as_bytes(), Format::Ndjson(Class::Call))
    };
    let lengths = |given: &str| {
        let call = calls(row(given).records.into_iter().map(|(_, record)| record).collect()).remove(0);
        (call.duration_s, call.talk_s)
    };
    assert_eq!(lengths(""), (130, 121));
    assert_eq!(lengths(",\"talk_s\":100"), (130, 100));
    assert_eq!(lengths(",\"duration_s\":90"), (90, 90));
    assert_eq!(lengths(",\"duration_s\":0,\"talk_s\":0"), (0, 0));
    assert_eq!(row(",\"talk_s\":131").rejects[0].error.code, "talk-exceeds-duration");
    let csv = "at,direction,from,to,status,ended_at,duration_s\n\
               2026-01-31T09:30:00Z,inbound,100,101,no-answer,2026-01-31T09:30:20Z,\n";
    let call = calls(
        read(csv.as_bytes(), Format::Csv(Class::Call))
            .records
            .into_iter()
            .map(|row| row.1)
            .collect(),
    );
    assert_eq!((call[0].duration_s, call[0].talk_s), (20, 0));
}

#[test]
fn a_given_sid_is_kept_and_must_fit_its_time() {
    let row =
        |sid: &str| format!("sid,at,direction,from,to,status\n{sid},2026-01-31T09:30:00Z,inbound,100,101,completed\n");
    let good = Sid::new(at("2026-01-31T09:30:00Z"), [7; 10]).to_string();
    assert_eq!(
        read(row(&good).as_bytes(), Format::Csv(Class::Call)).records[0]
            .1
            .sid()
            .to_string(),
        good
    );
    let other = Sid::new(at("2026-01-31T09:30:01Z"), [7; 10]).to_string();
    for (sid, code) in [(other.as_str(), "sid-time-mismatch"), ("call-7", "not-a-sid")] {
        let batch = read(row(sid).as_bytes(), Format::Csv(Class::Call));
        assert_eq!(
            (batch.rejects[0].error.code, batch.rejects[0].error.field.as_deref()),
            (code, Some("sid"))
        );
    }
}

#[test]
fn byte_order_mark_crlf_and_blank_lines_are_no_trouble() {
    let text = "\u{feff}at,direction,from,to,status\r\n\r\n2026-01-31T09:30:00Z,inbound,100,\"101\",completed\r\n";
    let batch = read(text.as_bytes(), Format::Csv(Class::Call));
    assert_eq!(
        (batch.records.len(), batch.rejects.len(), batch.records[0].0),
        (1, 0, 3)
    );
}

#[test]
fn every_resume_point_gives_the_same_records() {
    for (name, format) in [
        ("master-17.csv", Format::AsteriskCsv),
        ("freeswitch-array.json", Format::FreeswitchJson),
        ("calls.ndjson", Format::Ndjson(Class::Call)),
        ("calls.csv", Format::Csv(Class::Call)),
        ("messages.csv", Format::Csv(Class::Message)),
    ] {
        let bytes = fixture(name);
        let whole = read(&bytes, format).records;
        let (mut position, mut pieces) = (Position::default(), Vec::new());
        loop {
            let mut reader = Reader::resume(Cursor::new(&bytes), format, &options(), sid, position).expect("a reader");
            let Some(batch) = reader.next_batch(1).expect("readable") else {
                break;
            };
            assert!(batch.position.offset > position.offset);
            position = batch.position;
            pieces.extend(batch.records);
        }
        assert!(pieces == whole, "{name}");
    }
}

#[test]
fn files_of_another_kind_are_named() {
    let error = |bytes: &[u8], format| {
        let mut reader = Reader::new(bytes, format, &options(), sid)?;
        reader.next_batch(1).map(|_| ())
    };
    let call_csv = Format::Csv(Class::Call);
    for (bytes, format, code) in [
        (&b""[..], Format::AsteriskCsv, "empty-file"),
        (b"\xef\xbb\xbf", call_csv, "empty-file"),
        (b"\x1f\x8b\x08\0\0", Format::FreeswitchJson, "compressed-file"),
        (b"PK\x03\x04", call_csv, "compressed-file"),
        (b"\xff\xfea\0t\0", call_csv, "wrong-encoding"),
        (b"at,direction,from\n", call_csv, "bad-header"),
        (b"at,at,direction,from,to,status\n", call_csv, "bad-header"),
        (b"a", Format::Csv(Class::Contact), "unsupported-class"),
    ] {
        assert_eq!(error(bytes, format).expect_err(code).code(), code);
        assert_ne!(detect(bytes, "Master.csv"), Some(Format::AsteriskCsv));
    }
    let Err(ImportError::Header(reason)) = error(b"at,direction,from\n", call_csv) else {
        panic!("a header error")
    };
    assert_eq!(reason, "lacks the required column(s) to, status");
}

#[test]
fn time_zones_as_operators_write_them() {
    for (text, offset) in [("UTC", 0), ("+05:30", 19_800), ("-08:00", -28_800)] {
        let zone = parse_time_zone(text).expect(text);
        assert_eq!(zone.to_fixed_offset().expect("fixed").seconds(), offset);
    }
    for text in ["", "+5", "+25:00", "+05:60", "Mars/Olympus", "+ab:cd", "+é:00"] {
        assert!(parse_time_zone(text).is_err(), "{text}");
    }
}
