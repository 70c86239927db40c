//! Rows a second of the import readers, one core: a million generated rows of each format, in memory.
//!
//! `cargo run --release -p callvault-app --example import_speed [rows]`

use std::{fmt::Write as _, time::Instant};

use callvault_app::import::{Format, Options, Reader, parse_time_zone};
use callvault_core::{Class, Sid, TimeUs};

#[expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench measures wall time and prints it"
)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rows: u64 = std::env::args().nth(1).map_or(Ok(1_000_000), |text| text.parse())?;
    let options = Options::new(
        phonenumber::country::Id::IN,
        parse_time_zone("+05:30")?,
        TimeUs::parse("2026-11-23T00:00:00Z")?,
    );
    // The cost of the caller's keyed hash is the caller's.
    let sid = |source: &str, at: TimeUs| Sid::new(at, [source.len().to_le_bytes()[0]; 10]);
    for (name, format, line) in [
        ("own CSV", Format::Csv(Class::Call), csv_row as fn(&mut String, u64)),
        ("own NDJSON", Format::Ndjson(Class::Call), ndjson_row),
        ("Asterisk Master.csv", Format::AsteriskCsv, asterisk_row),
        ("FreeSWITCH JSON", Format::FreeswitchJson, freeswitch_row),
    ] {
        let mut file = String::new();
        if matches!(format, Format::Csv(_)) {
            file.push_str(
                "at,source_id,direction,from,to,exophone,status,answered_at,ended_at,duration_s,talk_s,caller_name\n",
            );
        }
        let rows = if format == Format::FreeswitchJson {
            rows / 5
        } else {
            rows
        };
        (0..rows).for_each(|n| line(&mut file, n));
        let start = Instant::now();
        let mut reader = Reader::new(file.as_bytes(), format, &options, sid)?;
        let (mut good, mut bad) = (0, 0);
        while let Some(batch) = reader.next_batch(10_000)? {
            good += batch.records.len();
            bad += batch.rejects.len();
        }
        let seconds = start.elapsed().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a rate of three digits")]
        let (rate, mb) = (good as f64 / seconds, file.len() as f64 / 1e6 / seconds);
        println!("{name:<20} {good:>9} rows ({bad} bad)  {rate:>10.0} rows/s  {mb:>6.0} MB/s");
    }
    Ok(())
}

fn csv_row(out: &mut String, n: u64) {
    let (h, m, s) = (n / 3600 % 20, n / 60 % 60, n % 60);
    let _ = writeln!(
        out,
        "2026-01-{:02}T{h:02}:{m:02}:{s:02}Z,c-{n},inbound,+9199000{:05},+918049501234,+918049501234,completed,2026-02-01T00:00:08Z,2026-02-01T00:02:10Z,130,122,Asha",
        n / 40_000 % 28 + 1,
        n % 100_000
    );
}

fn ndjson_row(out: &mut String, n: u64) {
    let (h, m, s) = (n / 3600 % 20, n / 60 % 60, n % 60);
    let _ = writeln!(
        out,
        r#"{{"at":"2026-01-{:02}T{h:02}:{m:02}:{s:02}Z","source_id":"c-{n}","direction":"inbound","from":"+9199000{:05}","to":"+918049501234","status":"completed","duration_s":130,"talk_s":122,"caller_name":"Asha"}}"#,
        n / 40_000 % 28 + 1,
        n % 100_000
    );
}

fn asterisk_row(out: &mut String, n: u64) {
    let (d, h, m, s) = (n / 40_000 % 28 + 1, n / 3600 % 20, n / 60 % 60, n % 60);
    let _ = writeln!(
        out,
        r#""","99000{:05}","918049501234","from-trunk","""Asha Rao"" <99000{:05}>","PJSIP/trunk-in-{n:08x}","PJSIP/1001-{n:08x}","Dial","PJSIP/1001,30,tT","2026-01-{d:02} {h:02}:{m:02}:{s:02}","2026-02-01 09:30:08","2026-02-01 09:32:10",130,122,"ANSWERED","DOCUMENTATION","1769832000.{n}""#,
        n % 100_000,
        n % 100_000
    );
}

fn freeswitch_row(out: &mut String, n: u64) {
    let start = 1_769_832_000_000_000 + n * 1_000_000;
    let _ = writeln!(
        out,
        r#"{{"core-uuid":"9b1dbe3a-3a6c-4c0f-9f1f-1d2c3b4a5e6f","switchname":"pbx1","channel_data":{{"direction":"inbound"}},"variables":{{"uuid":"c37517e6-7fe3-42f7-8560-{n:012x}","direction":"inbound","start_uepoch":"{start}","answer_uepoch":"{}","end_uepoch":"{}","duration":"130","billsec":"122","hangup_cause":"NORMAL_CLEARING","last_app":"bridge","sip_call_id":"{n}%40192.0.2.10"}},"app_log":{{"applications":[]}},"callflow":[{{"caller_profile":{{"caller_id_name":"Asha%20Rao","caller_id_number":"%2B9199000{:05}","destination_number":"%2B918049501234"}},"times":{{"created_time":"{start}"}}}}]}}"#,
        start + 8_000_000,
        start + 130_000_000,
        n % 100_000
    );
}
