//! Prints the size and speed of sealed partitions: `cargo run --release -p callvault-app --example segment_speed`.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a bench prints, and measures wall time"
)]

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use callvault_app::segment::{Encoded, Fence, Footer, Locator, Order, RangeRead, SegmentReader, encode};
use callvault_core::record::{Call, CallStatus, Direction, Record};
use callvault_core::{Number, Sid, TimeUs};
use callvault_seal::{SecretKey, blind::BlindIndex};
use futures::FutureExt;

const DAY_START_US: i64 = 1_763_856_000_000_000;
const DAY_US: i64 = 86_400_000_000;

/// A small generator (splitmix64), so that every run measures the same records.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// Bytes in memory are always ready.
fn block_on<F: Future>(future: F) -> F::Output {
    future.now_or_never().unwrap()
}

fn mobile(index: u64) -> Number {
    let digits = Random(index).below(3_000_000_000) + 6_000_000_000;
    Number(format!("+91{digits}").into())
}

/// One day of calls: 20 ExoPhones, agents, a pool of customers a quarter as large as the calls, some far busier.
fn day_of_calls(rows: u64, day: u64, step_us: i64) -> Vec<Record> {
    let mut random = Random(day);
    let exophones: Vec<_> = (0..20)
        .map(|n| Number(format!("+9180471{:05}", 12_300 + n).into()))
        .collect();
    let agents: Vec<_> = (0..200).map(|n| mobile(900_000_000 + n)).collect();
    let mut times: Vec<_> = (0..rows)
        .map(|_| DAY_START_US + (random.below(DAY_US as u64) as i64) / step_us * step_us)
        .collect();
    times.sort_unstable();
    let mut records: Vec<_> = times
        .into_iter()
        .enumerate()
        .map(|(index, at)| {
            let pool = rows / 4 + 50;
            let pick = random.below(pool) * random.below(pool) / pool;
            let customer = mobile(pick);
            let agent = agents[random.below(200) as usize].clone();
            let exophone = exophones[random.below(20) as usize].clone();
            let inbound = random.below(10) < 4;
            let answered = random.below(100) < 62;
            let ring_us = (random.below(40_000_000) as i64 + 2_000_000) / step_us * step_us;
            let talk_us = if answered {
                (random.below(600_000_000) as i64) / step_us * step_us
            } else {
                0
            };
            let ended = at + ring_us + talk_us;
            let mut tail = [0; 10];
            tail[..8].copy_from_slice(&random.next().to_le_bytes());
            tail[8..].copy_from_slice(&random.next().to_le_bytes()[..2]);
            let status = match random.below(10) {
                _ if answered => CallStatus::Completed,
                0..=5 => CallStatus::NoAnswer,
                6..=7 => CallStatus::Busy,
                _ => CallStatus::Failed,
            };
            Record::Call(Call {
                sid: Sid::new(TimeUs(at), tail),
                at: TimeUs(at),
                source_id: Some(format!("{}.{}", at / 1_000_000, 123_456 + 2 * index as u64 + random.below(2)).into()),
                direction: if inbound {
                    Direction::Inbound
                } else {
                    Direction::OutboundApi
                },
                from: if inbound { customer.clone() } else { agent.clone() },
                to: if inbound { agent } else { customer },
                exophone,
                status,
                answered_at: answered.then_some(TimeUs(at + ring_us)),
                ended_at: Some(TimeUs(ended)),
                duration_s: u32::try_from((ended - at) / 1_000_000).unwrap(),
                talk_s: u32::try_from(talk_us / 1_000_000).unwrap(),
                price_micros: answered.then_some((talk_us / 60_000_000 + 1) * 600_000),
                caller_name: (random.below(10) == 0).then(|| format!("Caller {}", pick % 500).into()),
                extra: (random.below(20) == 0)
                    .then(|| format!(r#"{{"lastapp":"Dial","amaflags":3,"queue":"q{}"}}"#, random.below(9)).into()),
            })
        })
        .collect();
    records.sort_by_key(|record| (record.at(), record.sid()));
    records
}

fn id(number: u8) -> [u8; 16] {
    [number; 16]
}

fn ms(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

/// The middle of several timings of one thing.
fn median(mut timings: Vec<f64>) -> f64 {
    timings.sort_by(f64::total_cmp);
    timings[timings.len() / 2]
}

fn main() {
    let key = SecretKey::from_bytes([7; 32]);
    let index = BlindIndex::new(SecretKey::from_bytes([8; 32]));
    let hash_of = |number: &Number| index.hash("number", number.as_str());

    println!("rows      times in  form     B/row  locator  all   encode rows/s   decode rows/s");
    for (rows, step_us) in [
        (30, 1_000_000),
        (100, 1),
        (100, 1_000_000),
        (300, 1),
        (300, 1_000_000),
        (1_000, 1),
        (3_999, 1),
        (4_000, 1),
        (20_000, 1),
        (167_000, 1),
        (167_000, 1_000_000),
        (1_000_000, 1),
    ] {
        let records = day_of_calls(rows, 1, step_us);
        let runs = (400_000 / rows).clamp(2, 200);
        let (mut encode_ms, mut decode_ms) = (Vec::new(), Vec::new());
        let mut last: Option<Encoded> = None;
        for _ in 0..runs {
            let start = Instant::now();
            let encoded = encode(&records, &key, id(1), &hash_of).unwrap();
            encode_ms.push(ms(start));
            let bytes = Bytes::from(encoded.bytes.clone());
            let start = Instant::now();
            let reader = open(&bytes, &encoded, &key, id(1));
            let all = block_on(reader.read_between(TimeUs(i64::MIN)..TimeUs(i64::MAX))).unwrap();
            decode_ms.push(ms(start));
            assert!(all == records);
            last = Some(encoded);
        }
        let encoded = last.unwrap();
        let per = |bytes: usize| bytes as f64 / rows as f64;
        println!(
            "{rows:<9} {:<9} {:<8} {:>5.1} {:>7.1} {:>6.1} {:>14.0} {:>15.0}",
            if step_us == 1 { "us" } else { "s" },
            format!("{:?}", encoded.kind),
            per(encoded.bytes.len()),
            per(encoded.locator.len()),
            per(encoded.bytes.len() + encoded.locator.len()),
            rows as f64 / median(encode_ms) * 1e3,
            rows as f64 / median(decode_ms) * 1e3,
        );
    }
    lookups(&key, &hash_of);
}

fn open(bytes: &Bytes, encoded: &Encoded, key: &SecretKey, id: [u8; 16]) -> SegmentReader {
    match encoded.kind {
        callvault_app::segment::SegmentKind::Packed => SegmentReader::open_packed(bytes, key, id).unwrap(),
        callvault_app::segment::SegmentKind::Parquet => {
            block_on(SegmentReader::open_parquet(Arc::new(bytes.clone()), key, id)).unwrap()
        }
    }
}

type Source = Arc<dyn RangeRead>;
type Opened = (Arc<Footer>, Arc<Fence>);

fn lookups(key: &SecretKey, hash_of: &(dyn Fn(&Number) -> [u8; 16] + Sync)) {
    const ROWS: u64 = 167_000;
    let mut segments: Vec<(Source, Source)> = Vec::new();
    let mut wanted = Vec::new();
    for day in 0..30_u8 {
        let records = day_of_calls(ROWS, u64::from(day) + 1, 1);
        let encoded = encode(&records, key, id(day), &hash_of).unwrap();
        segments.push((
            Arc::new(Bytes::from(encoded.bytes)),
            Arc::new(Bytes::from(encoded.locator)),
        ));
        wanted.push(records[77_777].clone());
    }
    let cold = || -> Vec<Opened> {
        segments
            .iter()
            .zip(0_u8..)
            .map(|((file, locator), day)| {
                let footer = block_on(Footer::open(file.as_ref(), key, id(day))).unwrap();
                (
                    Arc::new(footer),
                    block_on(Locator::open(Arc::clone(locator), key, id(day)))
                        .unwrap()
                        .fence(),
                )
            })
            .collect()
    };
    let cached = cold();
    let footer_bytes: usize = cached.iter().map(|(footer, _)| footer.memory_bytes()).sum();
    let fence_bytes: usize = cached.iter().map(|(_, fence)| fence.memory_bytes()).sum();
    println!(
        "cached memory a segment: footer {} KiB, fence {} KiB",
        footer_bytes / 30 / 1024,
        fence_bytes / 30 / 1024
    );
    let find = |number: &Number, cached: &[Opened]| -> usize {
        let one = |((file, locator), (footer, fence)): (&(Source, Source), &Opened)| {
            let reader = SegmentReader::with_footer(Arc::clone(file), Arc::clone(footer));
            let locator = Locator::with_fence(Arc::clone(locator), Arc::clone(fence));
            block_on(reader.find_number(&locator, number, hash_of)).unwrap().len()
        };
        segments.iter().zip(cached).map(one).sum()
    };
    // Numbers of the pool by how often they call, and one nobody has.
    for (label, number) in [
        ("absent", mobile(5_000_000_000)),
        ("rare", mobile(30_000)),
        ("usual", mobile(4_000)),
        ("busy", mobile(3)),
    ] {
        let (mut hot, mut opened, mut cold_ms, mut found) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for _ in 0..9 {
            let start = Instant::now();
            found = find(&number, &cached);
            hot.push(ms(start));
            let start = Instant::now();
            let fresh = cold();
            opened.push(ms(start));
            find(&number, &fresh);
            cold_ms.push(ms(start));
        }
        println!(
            "one number in 30 segments, {label}: {found} records, {:.1} ms cached, {:.1} ms cold ({:.1} of it opening)",
            median(hot),
            median(cold_ms),
            median(opened)
        );
    }
    let mut sid_ms = Vec::new();
    for (record, ((file, _), (footer, _))) in wanted.iter().zip(segments.iter().zip(&cached)) {
        let reader = SegmentReader::with_footer(Arc::clone(file), Arc::clone(footer));
        let start = Instant::now();
        assert!(block_on(reader.find_sid(record.sid())).unwrap().unwrap().1 == *record);
        sid_ms.push(ms(start));
    }
    println!("one SID, cached: {:.2} ms", median(sid_ms));
    let reader = SegmentReader::with_footer(Arc::clone(&segments[0].0), Arc::clone(&cached[0].0));
    let start = Instant::now();
    let newest = block_on(
        reader
            .scan(TimeUs(0)..TimeUs(i64::MAX), Order::NewestFirst)
            .next_batch(),
    )
    .unwrap()
    .unwrap();
    println!("newest page of {} records, cached: {:.2} ms", newest.len(), ms(start));
}
