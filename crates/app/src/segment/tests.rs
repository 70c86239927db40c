//! Round trips, lookups, damage, and what a stranger sees.

mod arbitrary;

use std::sync::Arc;

use bytes::Bytes;
use callvault_core::record::{Call, CallStatus, Direction, Record};
use callvault_core::{Number, Sid, TimeUs};
use callvault_seal::{SecretKey, blind::BlindIndex};
use futures::FutureExt;
use proptest::prelude::*;

use self::arbitrary::{call, message};
use super::encode::encode_as;
use super::*;

const ID: [u8; 16] = [9; 16];
const KINDS: [SegmentKind; 2] = [SegmentKind::Packed, SegmentKind::Parquet];
const ALWAYS: std::ops::Range<TimeUs> = TimeUs(i64::MIN)..TimeUs(i64::MAX);

/// Bytes in memory are always ready.
fn block_on<F: Future>(future: F) -> F::Output {
    future.now_or_never().expect("ready")
}

fn key() -> SecretKey {
    SecretKey::from_bytes([3; 32])
}

fn hash(number: &Number) -> [u8; 16] {
    BlindIndex::new(SecretKey::from_bytes([4; 32])).hash("number", number.as_str())
}

fn open(kind: SegmentKind, bytes: &[u8], key: &SecretKey, id: [u8; 16]) -> Result<SegmentReader> {
    match kind {
        SegmentKind::Packed => SegmentReader::open_packed(bytes, key, id),
        SegmentKind::Parquet => block_on(SegmentReader::open_parquet(
            Arc::new(Bytes::copy_from_slice(bytes)),
            key,
            id,
        )),
    }
}

fn read_all(kind: SegmentKind, bytes: &[u8], key: &SecretKey, id: [u8; 16]) -> Result<Vec<Record>> {
    block_on(open(kind, bytes, key, id)?.read_between(ALWAYS))
}

fn locator(bytes: &[u8], key: &SecretKey, id: [u8; 16]) -> Result<Locator> {
    block_on(Locator::open(Arc::new(Bytes::copy_from_slice(bytes)), key, id))
}

/// Plain calls, several in one second, numbers from a small pool.
fn calls(rows: u64) -> Vec<Record> {
    let start = TimeUs::parse("2026-03-01T00:00:00Z").expect("a time").0;
    let call = |row: u64| {
        let at = TimeUs(start + i64::try_from(row / 3).expect("small") * 1_000_000);
        let mut tail = [0; 10];
        tail[..8].copy_from_slice(&row.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        Record::Call(Call {
            sid: Sid::new(at, tail),
            at,
            source_id: Some(format!("{}.{row}", at.0 / 1_000_000).into()),
            direction: Direction::Inbound,
            from: Number(format!("+9198765{:05}", row * 7 % 501).into()),
            to: Number("+918047112345".into()),
            exophone: Number("+918047112345".into()),
            status: if row.is_multiple_of(3) {
                CallStatus::NoAnswer
            } else {
                CallStatus::Completed
            },
            answered_at: (!row.is_multiple_of(3)).then_some(at.plus_seconds(5)),
            ended_at: Some(at.plus_seconds(65)),
            duration_s: 65,
            talk_s: if row.is_multiple_of(3) { 0 } else { 60 },
            price_micros: None,
            caller_name: (row.is_multiple_of(11)).then(|| "Asha Zebra".into()),
            extra: (row.is_multiple_of(17)).then(|| r#"{"queue":"marigold"}"#.into()),
        })
    };
    let mut records: Vec<_> = (0..rows).map(call).collect();
    records.sort_by_key(|record| (record.at(), record.sid()));
    records
}

/// Encodes, reads back in every way, and compares with the records themselves.
fn check(mut records: Vec<Record>) {
    records.sort_by_key(|record| (record.at(), record.sid()));
    records.dedup_by_key(|record| (record.at(), record.sid()));
    for kind in KINDS {
        let encoded = encode_as(kind, &records, &key(), ID, &hash).expect("encodes");
        assert_eq!(encoded.rows as usize, records.len());
        assert_eq!(
            (encoded.min_at, encoded.max_at),
            (records[0].at(), records[records.len() - 1].at())
        );
        let reader = open(kind, &encoded.bytes, &key(), ID).expect("opens");
        let locator = locator(&encoded.locator, &key(), ID).expect("opens");
        check_reads(&reader, &locator, &records);
    }
}

fn check_reads(reader: &SegmentReader, locator: &Locator, records: &[Record]) {
    assert_eq!(reader.rows() as usize, records.len());
    assert_eq!(reader.class(), records[0].class());
    let range = TimeUs(i64::MIN)..TimeUs(i64::MAX);
    let inside = |range: &std::ops::Range<TimeUs>| -> Vec<Record> {
        records
            .iter()
            .filter(|record| range.contains(&record.at()))
            .cloned()
            .collect()
    };
    assert!(block_on(reader.read_between(range.clone())).expect("reads") == inside(&range));
    for (row, record) in records.iter().enumerate().step_by(records.len() / 23 + 1) {
        let (found_row, found) = block_on(reader.find_sid(record.sid()))
            .expect("reads")
            .expect("is there");
        assert!(found.sid() == record.sid() && records[found_row as usize] == found);
        for number in record.parties() {
            let want: Vec<_> = records
                .iter()
                .filter(|record| record.parties().contains(&number))
                .cloned()
                .collect();
            let want = if number.is_withheld() { Vec::new() } else { want };
            assert!(block_on(reader.find_number(locator, number, &hash)).expect("reads") == want);
        }
        let range = record.at()..TimeUs(record.at().0.saturating_add(3_000_000));
        assert!(block_on(reader.read_between(range.clone())).expect("reads") == inside(&range));
        let mut newest = block_on(async {
            let (mut all, mut scan) = (Vec::new(), reader.scan(range.clone(), Order::NewestFirst));
            while let Some(mut batch) = scan.next_batch().await.expect("reads") {
                all.append(&mut batch);
            }
            all
        });
        newest.reverse();
        assert!(newest == inside(&range));
        let rows = [row as u32, (records.len() - 1) as u32];
        let last = records.len() - 1;
        let want = if row == last {
            vec![record.clone()]
        } else {
            vec![record.clone(), records[last].clone()]
        };
        assert!(block_on(reader.rows_at(&rows)).expect("reads") == want);
    }
    assert!(block_on(reader.find_sid(Sid([0xfe; 16]))).expect("reads").is_none());
    assert!(block_on(locator.find_number(&[0xee; 16])).expect("reads").is_empty());
    assert!(matches!(
        block_on(reader.rows_at(&[records.len() as u32])),
        Err(SegmentError::Damaged(_))
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn calls_come_back_whole(records in prop::collection::vec(call(), 1..60)) {
        check(records.into_iter().map(|record| record.0).collect());
    }

    #[test]
    fn messages_come_back_whole(records in prop::collection::vec(message(), 1..60)) {
        check(records.into_iter().map(|record| record.0).collect());
    }
}

#[test]
fn many_pages_come_back_whole() {
    check(calls(20_011));
}

#[test]
fn several_row_groups_come_back_whole() {
    let records = calls(270_000);
    let encoded = encode(&records, &key(), ID, &hash_cheap).expect("encodes");
    let reader = open(SegmentKind::Parquet, &encoded.bytes, &key(), ID).expect("opens");
    assert!(block_on(reader.read_between(ALWAYS)).expect("reads") == records);
    let rows = [0, 262_143, 262_144, 269_999];
    let want: Vec<_> = rows.iter().map(|row| records[*row as usize].clone()).collect();
    assert!(block_on(reader.rows_at(&rows)).expect("reads") == want);
    let found = block_on(reader.find_sid(records[262_200].sid()))
        .expect("reads")
        .expect("is there");
    assert_eq!(found.0, 262_200);
    let locator = locator(&encoded.locator, &key(), ID).expect("opens");
    let number = records[5].parties()[0];
    let want = records.iter().filter(|record| record.parties()[0] == number).count();
    assert_eq!(
        block_on(reader.find_number(&locator, number, &hash_cheap))
            .expect("reads")
            .len(),
        want
    );
}

/// Six varying bytes without the cost of a real hash in a debug build.
fn hash_cheap(number: &Number) -> [u8; 16] {
    let sum = number.as_str().bytes().fold(7_u64, |sum, byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut out = [0; 16];
    out[..8].copy_from_slice(&sum.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    out
}

#[test]
fn unfit_records_are_refused() {
    let mut records = calls(10);
    assert!(matches!(encode(&[], &key(), ID, &hash), Err(SegmentError::Unfit(_))));
    records.reverse();
    assert!(matches!(
        encode(&records, &key(), ID, &hash),
        Err(SegmentError::Unfit(_))
    ));
}

#[test]
fn a_wrong_key_and_a_swapped_segment_are_told_apart_from_damage() {
    let records = calls(5_000);
    let other = SecretKey::from_bytes([5; 32]);
    for kind in KINDS {
        let encoded = encode_as(kind, &records, &key(), ID, &hash).expect("encodes");
        for (key, id) in [(&other, ID), (&key(), [8; 16])] {
            assert!(matches!(
                read_all(kind, &encoded.bytes, key, id),
                Err(SegmentError::WrongKey)
            ));
            assert!(matches!(
                locator(&encoded.locator, key, id),
                Err(SegmentError::WrongKey)
            ));
        }
        for end in (0..encoded.bytes.len()).step_by(encoded.bytes.len() / 60 + 1) {
            let cut = read_all(kind, &encoded.bytes[..end], &key(), ID);
            assert!(matches!(cut, Err(SegmentError::Damaged(_))), "{kind:?} cut at {end}");
            let tail = read_all(kind, &encoded.bytes[end + 1..], &key(), ID);
            assert!(
                tail.is_err() || kind == SegmentKind::Parquet,
                "{kind:?} tail from {end}"
            );
        }
        for end in (0..encoded.locator.len()).step_by(encoded.locator.len() / 60 + 1) {
            assert!(matches!(
                locator(&encoded.locator[..end], &key(), ID),
                Err(SegmentError::Damaged(_))
            ));
        }
    }
}

/// Either an error or the very same records: nothing between.
#[test]
fn a_changed_byte_never_changes_an_answer() {
    let records = calls(4_100);
    for kind in KINDS {
        let encoded = encode_as(kind, &records, &key(), ID, &hash).expect("encodes");
        let length = encoded.bytes.len();
        let near_the_ends = (0..200.min(length)).chain(length.saturating_sub(400)..length);
        let mut refused = 0;
        for at in near_the_ends.chain((0..length).step_by(length / 300 + 1)) {
            for flip in [0x01, 0x80, 0xff] {
                let mut bad = encoded.bytes.clone();
                bad[at] ^= flip;
                match read_all(kind, &bad, &key(), ID) {
                    Ok(read) => assert!(read == records, "{kind:?}: byte {at} changed the answer"),
                    Err(SegmentError::Damaged(_) | SegmentError::WrongKey) => refused += 1,
                    Err(other) => panic!("{kind:?}: byte {at}: {other}"),
                }
            }
        }
        assert!(refused > 1_000, "{kind:?}: only {refused} changes were noticed");
        let number = records[7].parties()[0];
        let want = block_on(
            locator(&encoded.locator, &key(), ID)
                .expect("opens")
                .find_number(&hash(number)),
        );
        let want = want.expect("reads");
        for at in 0..encoded.locator.len() {
            let mut bad = encoded.locator.clone();
            bad[at] ^= 0x10;
            let found = locator(&bad, &key(), ID).and_then(|locator| block_on(locator.find_number(&hash(number))));
            assert!(found.map_or(true, |found| found == want), "locator byte {at}");
        }
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[test]
fn a_stranger_reads_nothing() {
    let records = calls(6_000);
    for kind in KINDS {
        let encoded = encode_as(kind, &records, &key(), ID, &hash).expect("encodes");
        let sid = records[17].sid();
        let tail: &[u8] = &sid.0[6..];
        let code = 918_047_112_345_i64;
        let first = records[0].at().0;
        let needles: Vec<Vec<u8>> = vec![
            b"+918047112345".to_vec(),
            b"918047112345".to_vec(),
            b"98765".to_vec(),
            b"Asha".to_vec(),
            b"marigold".to_vec(),
            b"caller_name".to_vec(),
            b"callvault".to_vec(),
            b"sid_tail".to_vec(),
            tail.to_vec(),
            code.to_le_bytes()[..5].to_vec(),
            code.to_be_bytes()[3..].to_vec(),
            first.to_le_bytes()[..7].to_vec(),
            hash(records[0].parties()[0])[..6].to_vec(),
            hash(records[0].parties()[1])[..6].to_vec(),
        ];
        for bytes in [&encoded.bytes, &encoded.locator] {
            for needle in &needles {
                assert!(!contains(bytes, needle), "{kind:?} shows {needle:?}");
            }
        }
    }
    let encoded = encode_as(SegmentKind::Parquet, &records, &key(), ID, &hash).expect("encodes");
    check_modules(&encoded.bytes);
}

/// The whole Parquet file is modules (a length, a nonce, a ciphertext, a tag) and a footer that begins with a crypto
/// header of known bytes: there is no room for anything else in clear, such as a bloom filter.
fn check_modules(file: &[u8]) {
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().expect("four bytes")) as usize;
    let end = file.len() - 8;
    let footer = end - word(end);
    assert_eq!((&file[..4], &file[end + 4..]), (&b"PARE"[..], &b"PARE"[..]));
    let (mut at, mut modules) = (4, 0);
    while at < footer {
        assert!(word(at) >= 28, "a module at {at}");
        at += 4 + word(at);
        modules += 1;
    }
    assert_eq!(at, footer, "modules fill the file up to its footer");
    assert!(modules > 40);
    assert_eq!(
        footer + 26 + 4 + word(footer + 26),
        end,
        "the footer is its crypto header and one module"
    );
    let reader = parquet::file::metadata::ParquetMetaDataReader::new();
    assert!(
        reader.parse_and_finish(&Bytes::copy_from_slice(file)).is_err(),
        "no footer without the key"
    );
}

#[test]
fn small_segments_are_small() {
    for (rows, most_bytes) in [(100, 110), (300, 95)] {
        let encoded = encode(&calls(rows), &key(), ID, &hash).expect("encodes");
        let all = encoded.bytes.len() + encoded.locator.len();
        assert!(all <= most_bytes * rows as usize, "{rows} rows take {all} bytes");
    }
}

/// The Parquet reader would trust these lengths and panic or allocate gigabytes.
#[test]
fn an_impossible_module_length_is_damage() {
    let records = calls(4_000);
    let encoded = encode_as(SegmentKind::Parquet, &records, &key(), ID, &hash).expect("encodes");
    let file = &encoded.bytes;
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().expect("four bytes")) as usize;
    let footer = file.len() - 8 - word(file.len() - 8);
    let (mut at, mut refused) = (4, 0);
    while at < footer {
        for length in [0_u32, 5, 27, 0x7fff_ffff, u32::MAX] {
            let mut bad = file.clone();
            bad[at..at + 4].copy_from_slice(&length.to_le_bytes());
            match read_all(SegmentKind::Parquet, &bad, &key(), ID) {
                Ok(read) => assert!(read == records, "the module at {at}"),
                Err(error) => {
                    assert!(matches!(error, SegmentError::Damaged(_)), "the module at {at}: {error}");
                    refused += 1;
                }
            }
        }
        at += 4 + word(at);
    }
    assert!(refused > 200, "only {refused} were refused");
}
