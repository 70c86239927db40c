//! SIGKILL: another process works a region and says what it has acknowledged; it is killed at any moment, and the
//! region is opened again.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use callvault_app::{ManualClock, Parts, Vault, bulk::ImportFile, import::Format, read::Query};
use callvault_core::{AccountSid, Cause, Class, Plan, Reader, Sid, TimeUs};
use callvault_seal::provider::{PassphraseCost, SealedFile};
use callvault_store::{files::Files, sqlite::Sqlite};
use callvault_testkit::{
    conformance::checks::check,
    world::{PASSPHRASE, World, at, call, recording},
};

use super::{START, count_calls, find_audio};

const FOLDER: &str = "CALLVAULT_KILLED_FOLDER";
const ROUND: &str = "CALLVAULT_KILLED_ROUND";
const ROUNDS: u32 = 14;
const IMPORTED_ROWS: u32 = 400;
static AUDIO: [u8; 90_000] = [0x31; 90_000];

async fn open(folder: &Path, now: TimeUs) -> (Vault, Arc<ManualClock>, Parts) {
    let clock = Arc::new(ManualClock::new(now));
    let parts = Parts {
        region: "in".to_owned(),
        catalog: Arc::new(Sqlite::open(&folder.join("catalog.db")).await.unwrap()),
        objects: Arc::new(Files::open(&folder.join("objects")).await.unwrap()),
        provider: World::provider(&folder.join("keys.sealed")),
        clock: Arc::clone(&clock) as Arc<dyn callvault_app::Clock>,
        worker: "killed".to_owned(),
    };
    (Vault::open(parts.clone()).await.unwrap(), clock, parts)
}

fn begin_of(round: u32) -> TimeUs {
    at(START).plus_days(i64::from(round) * 2)
}

fn import_of(folder: &Path, round: u32) -> ImportFile {
    ImportFile {
        path: folder.join(format!("round{round}.csv")),
        format: Format::Csv(Class::Call),
        time_zone: jiff::tz::TimeZone::UTC,
        rejects: folder.join(format!("rejects{round}.csv")),
        from_start: false,
    }
}

/// The day that a round's file is about, long before what is ingested.
fn import_day(round: u32) -> TimeUs {
    at("2026-09-01T00:00:00Z").plus_days(i64::from(round))
}

fn say(what: &str, sid: impl std::fmt::Display) {
    println!("\nack {what} {sid} .");
    std::io::stdout().flush().unwrap();
}

/// The process that is killed; of no effect unless the parent starts it.
#[tokio::test]
async fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        assert!(std::env::var_os(ROUND).is_none());
        return;
    };
    let folder = std::path::PathBuf::from(folder);
    let round: u32 = std::env::var(ROUND).unwrap().parse().unwrap();
    let (vault, clock, _) = open(&folder, begin_of(round)).await;
    let account: AccountSid = "acme".parse().unwrap();
    let mut last = None;
    for n in 0_u32.. {
        let tail = round * 100_000 + n;
        let now = begin_of(round).plus_seconds(i64::from(n) * 900);
        clock.advance_to(now);
        let records: Vec<_> = (0..5).map(|i| call(now, tail * 10 + i, i, 100)).collect();
        vault.ingest(&account, &records).await.unwrap();
        for record in &records {
            say("call", record.sid());
        }
        match n % 6 {
            1 => {
                let sid = vault
                    .put_recording(&account, recording(now, tail, 1, 2), &AUDIO)
                    .await
                    .unwrap();
                say("recording", sid);
                last = Some(sid);
            }
            2 => {
                if let Some(sid) = last.take().filter(|_| n % 4 == 0) {
                    println!("\nack deleting {sid} .");
                    vault.delete_recordings(&account, &[sid], Cause::Request).await.unwrap();
                    say("deleted", sid);
                }
            }
            3 => {
                let done = vault
                    .import_file(&account, import_of(&folder, round), &mut |_| {})
                    .await
                    .unwrap();
                assert_eq!(done.stored, u64::from(IMPORTED_ROWS));
                say("imported", round);
            }
            5 => {
                let report = vault.tick().await;
                assert!(report.failures.is_empty(), "{report:?}");
            }
            _ => {}
        }
    }
}

/// Starts the child, kills it after this many acknowledged lines and some microseconds more, and returns the lines.
fn run_and_kill(folder: &Path, round: u32) -> Vec<(String, String)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["killed::child", "--exact", "--nocapture"])
        .env(FOLDER, folder)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut said = Vec::new();
    let mut random = [0_u8; 4];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom").unwrap(), &mut random).unwrap();
    let kill_after = usize::from(random[0]) / (1 + usize::from(random[1]) % 8) + 3;
    let linger = u32::from_le_bytes([random[2], random[3], 0, 0]) * 40;
    let mut line = String::new();
    while lines.read_line(&mut line).unwrap() > 0 {
        if let Some(rest) = line.strip_prefix("ack ").and_then(|rest| rest.strip_suffix(" .\n")) {
            let (what, sid) = rest.split_once(' ').unwrap();
            said.push((what.to_owned(), sid.to_owned()));
        }
        line.clear();
        if said.len() == kill_after {
            for step in 0..linger {
                std::hint::black_box(step);
            }
            child.kill().unwrap();
        }
    }
    let ended = child.wait_with_output().unwrap();
    assert!(
        ended.status.code().is_none(),
        "it was not killed: {}",
        String::from_utf8_lossy(&ended.stderr)
    );
    said
}

#[tokio::test]
async fn whatever_the_moment_nothing_acknowledged_is_lost() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    SealedFile::create(&folder.join("keys.sealed"), PASSPHRASE.as_bytes(), PassphraseCost::TEST).unwrap();
    let (vault, _, _) = open(folder, at(START)).await;
    let account: AccountSid = "acme".parse().unwrap();
    vault.create_account(&account, Plan::Growth, "IN").await.unwrap();
    drop(vault);
    let (mut calls, mut recordings, mut deleted) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let mut rows = "at,direction,from,to,status,source_id\n".to_owned();
        for n in 0..IMPORTED_ROWS {
            let time = import_day(round).plus_seconds(i64::from(n));
            rows += &format!("{time},inbound,+919900000001,+919900000002,completed,round{round}-{n}\n");
        }
        std::fs::write(import_of(folder, round).path, rows).unwrap();
        for (what, sid) in run_and_kill(folder, round) {
            match what.as_str() {
                "call" => calls.push(sid.parse::<Sid>().unwrap()),
                "recording" => recordings.push(sid.parse::<Sid>().unwrap()),
                // Between the two it may be there or not.
                "deleting" => recordings.retain(|known| known.to_string() != sid),
                "deleted" => deleted.push(sid.parse::<Sid>().unwrap()),
                _ => assert_eq!((what.as_str(), sid), ("imported", round.to_string())),
            }
        }
        let (vault, clock, parts) = open(folder, begin_of(round + 1).plus_seconds(-3_600)).await;
        check(&parts.catalog).await;
        for sid in &calls {
            let found = vault.get_record(&account, Class::Call, *sid, Reader::Account).await;
            assert!(found.is_ok(), "round {round}: an acknowledged call is missing");
        }
        for sid in &recordings {
            assert!(
                find_audio(&vault, &account, *sid).await.unwrap() == AUDIO,
                "round {round}"
            );
        }
        for sid in &deleted {
            assert!(find_audio(&vault, &account, *sid).await.is_none(), "round {round}");
        }
        vault
            .import_file(&account, import_of(folder, round), &mut |_| {})
            .await
            .unwrap();
        let day = import_day(round);
        let query = Query {
            from: Some(day),
            to: Some(day.plus_days(1)),
            limit: 1_000,
            ..Query::default()
        };
        let page = vault
            .list_records(&account, Class::Call, &query, Reader::Account)
            .await
            .unwrap();
        assert_eq!(
            page.records.len(),
            IMPORTED_ROWS as usize,
            "round {round}: each row once"
        );
        clock.advance_to(begin_of(round + 1).plus_seconds(-1));
        let report = vault.tick().await;
        assert!(report.failures.is_empty(), "{report:?}");
        check(&parts.catalog).await;
        for finding in vault.doctor().await.unwrap() {
            assert_ne!(
                finding.severity,
                callvault_app::doctor::Severity::Alarm,
                "round {round}: {finding:?}"
            );
        }
    }
    let (vault, _, parts) = open(folder, begin_of(ROUNDS).plus_days(2)).await;
    let report = vault.tick().await;
    assert!(report.failures.is_empty(), "{report:?}");
    let staged = parts.catalog.list_staged(TimeUs::NEVER, 100).await.unwrap();
    assert_eq!(staged, Vec::<String>::new());
    let stored = count_calls(&vault, &account, Reader::Account).await;
    assert!(stored >= calls.len() + (ROUNDS * IMPORTED_ROWS) as usize);
    println!(
        "{ROUNDS} kills; {} calls, {} recordings acknowledged; {} deleted",
        calls.len(),
        recordings.len(),
        deleted.len()
    );
    assert!(calls.len() > 100 && recordings.len() > 3);
}
