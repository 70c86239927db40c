//! What comes while calls run: records one by one, batches, recordings.

use std::{ops::Range, path::Path, time::Instant};

use callvault_app::{Account, Clock as _, Vault, recording::NewRecording};
use callvault_core::{
    AccountSid, Class, Number, Plan, Record, Sid, TimeUs,
    hold::Reader,
    record::{AudioFormat, Call, CallStatus, Consent, Direction, RecordingMeta},
};
use callvault_seal::{
    SecretKey,
    stream::{DEFAULT_SEGMENT_BYTES, Encryptor},
};
use futures::TryStreamExt as _;

use crate::{
    report::{Results, median},
    vault::{Outcome, World},
};

const AUDIO_BYTES: usize = 100_000_000;

fn call(at: TimeUs, number: u64) -> Outcome<Record> {
    let party = |n: u64| Number(format!("+91{}", 7_000_000_000 + n).into());
    Ok(Record::Call(Call {
        sid: Account::fresh_sid(at)?,
        at,
        source_id: Some(format!("1793500000.{number}").into()),
        direction: Direction::Inbound,
        from: party(number % 5_000),
        to: party(9_000),
        exophone: party(9_001),
        status: CallStatus::Completed,
        answered_at: Some(at.plus_seconds(4)),
        ended_at: Some(at.plus_seconds(90)),
        duration_s: 90,
        talk_s: 86,
        price_micros: Some(1_800_000),
        caller_name: None,
        extra: None,
    }))
}

/// Loose rows: one a commit, and ten thousand a commit.
pub(crate) async fn measure_ingest(world: &World, results: &mut Results) -> Outcome<()> {
    let (vault, now) = (&world.vault, world.clock.now());
    let sid: AccountSid = "live-calls".parse()?;
    vault.create_account(&sid, Plan::Enterprise, "IN").await?;
    let at = |n: u64| TimeUs(now.day().start().0 + (n as i64 % 3_600) * 1_000);
    let mut each = Vec::new();
    for n in 0..500 {
        let record = call(at(n), n)?;
        let start = Instant::now();
        vault.ingest(&sid, &[record]).await?;
        each.push(start.elapsed().as_secs_f64());
    }
    results.put("vault.commits_s", each.len() as f64 / each.iter().sum::<f64>());
    results.put("vault.commit_p99_ms", {
        each.sort_by(f64::total_cmp);
        1e3 * each.get(each.len() * 99 / 100).copied().unwrap_or_default()
    });
    let batch_rows = 10_000_u64;
    let mut rates = Vec::new();
    for batch in 0..5 {
        let records: Vec<Record> = (0..batch_rows)
            .map(|n| call(at(n), 1_000 + batch * batch_rows + n))
            .collect::<Outcome<_>>()?;
        let start = Instant::now();
        vault.ingest(&sid, &records).await?;
        rates.push(batch_rows as f64 / start.elapsed().as_secs_f64());
    }
    results.put("vault.loose_rows_s", median(rates));
    Ok(())
}

fn recording(at: TimeUs) -> Outcome<NewRecording> {
    Ok(NewRecording {
        sid: Sid::new(at, callvault_seal::random_bytes()?),
        call_sid: None,
        at,
        meta: RecordingMeta {
            parties: [Number("+919000000001".into()), Number("+919000000002".into())],
            format: AudioFormat::Wav,
            channels: 2,
            sample_rate_hz: 16_000,
            duration_ms: 1_562_500,
            consent: Consent::Announced,
            policy_version: None,
            file_name: None,
        },
    })
}

async fn read(vault: &Vault, account: &AccountSid, sid: Sid, range: Range<u64>) -> Outcome<u64> {
    let mut pieces = std::pin::pin!(vault.read_recording(account, sid, range, Reader::Account).await?);
    let mut bytes = 0;
    while let Some(piece) = pieces.try_next().await? {
        bytes += piece.len() as u64;
    }
    Ok(bytes)
}

/// Recordings: sealing alone, storing and reading through the vault, and a range of a large one.
pub(crate) async fn measure_recordings(folder: &Path, now: TimeUs, results: &mut Results) -> Outcome<()> {
    let audio: Vec<u8> = (0..AUDIO_BYTES)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let key = SecretKey::generate()?;
    let mut sealed = Vec::with_capacity(4 << 20);
    let mut times = Vec::new();
    for _ in 0..11 {
        let start = Instant::now();
        let mut cipher = Encryptor::new(&key, b"bench", DEFAULT_SEGMENT_BYTES)?;
        for piece in audio.chunks(256 * 1024) {
            sealed.clear();
            cipher.push(piece, &mut sealed)?;
        }
        cipher.finish(&mut sealed)?;
        times.push(start.elapsed().as_secs_f64());
    }
    let speed = |times: Vec<f64>| AUDIO_BYTES as f64 / median(times) / 1e9;
    results.put("vault.recording_seal_gb_s", speed(times));
    let sid: AccountSid = "recordings".parse()?;
    for (place, path) in [("disk", folder.to_owned()), ("memory", "/dev/shm".into())] {
        let path = path.join("callvault-bench-recordings");
        let world = World::open(&path, now).await?;
        world.vault.create_account(&sid, Plan::Enterprise, "IN").await?;
        let (mut puts, mut reads, mut stored) = (Vec::new(), Vec::new(), Vec::new());
        for n in 0..5 {
            let start = Instant::now();
            stored.push(
                world
                    .vault
                    .put_recording(&sid, recording(TimeUs(now.0 - n * 1_000_000))?, &audio)
                    .await?,
            );
            puts.push(start.elapsed().as_secs_f64());
        }
        for sealed in &stored {
            let start = Instant::now();
            let bytes = read(&world.vault, &sid, *sealed, 0..u64::MAX).await?;
            reads.push(start.elapsed().as_secs_f64());
            assert_eq!(bytes, AUDIO_BYTES as u64, "the whole recording");
        }
        if place == "memory" {
            results.put("vault.recording_put_memory_gb_s", speed(puts));
            results.put("vault.recording_read_gb_s", speed(reads));
        } else {
            results.put("vault.recording_put_disk_mb_s", 1e3 * speed(puts));
            results.put("vault.recording_read_disk_cached_gb_s", speed(reads));
            measure_range(&world, &sid, &stored, results).await?;
        }
        world.sqlite.close().await;
        std::fs::remove_dir_all(&path)?;
    }
    Ok(())
}

async fn measure_range(world: &World, account: &AccountSid, stored: &[Sid], results: &mut Results) -> Outcome<()> {
    let (mut fetched, mut times) = (Vec::new(), Vec::new());
    for (turn, sid) in stored.iter().cycle().take(100).enumerate() {
        let from = (turn as u64 * 7_919_993) % (AUDIO_BYTES as u64 - 65_536);
        let before = world.fetches.bytes();
        let start = Instant::now();
        let bytes = read(&world.vault, account, *sid, from..from + 65_536).await?;
        times.push(start.elapsed().as_secs_f64());
        assert_eq!(bytes, 65_536, "the range");
        fetched.push((world.fetches.bytes() - before) as f64);
    }
    results.put("vault.recording_range_bytes", median(fetched));
    results.put("vault.recording_range_ms", 1e3 * median(times));
    // Nothing of a recording appears in a listing of records.
    debug_assert!(Class::Recording != Class::Call);
    Ok(())
}
