//! How fast loose rows go into SQLite: `cargo run --release -p callvault-store --example append_speed -- FOLDER`.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement: it takes wall time"
)]

use std::{path::PathBuf, time::Instant};

use callvault_core::{Class, Day, KeyId, Sid, TimeUs};
use callvault_store::{
    Accounts as _, Catalog as _, Keys as _, Partitions as _,
    rows::{AccountRow, EpochRow, KeyPurpose, KeyRow, LooseRow, PartitionRef},
    sqlite::Sqlite,
};

const ROWS: u64 = 100_000;

#[tokio::main]
async fn main() {
    let folder = PathBuf::from(std::env::args().nth(1).unwrap());
    for batch in [1, 100, 1_000, 10_000] {
        let path = folder.join(format!("append-{batch}.sqlite"));
        let catalog = Sqlite::open(&path).await.unwrap();
        catalog.migrate().await.unwrap();
        let partition = prepare(&catalog).await;
        let rows = if batch == 1 { 2_000 } else { ROWS };
        let begun = Instant::now();
        for first in (0..rows).step_by(batch) {
            let rows: Vec<_> = (first..first + batch as u64)
                .map(|number| (partition.clone(), row(number)))
                .collect();
            catalog.append_loose(TimeUs(0), &rows).await.unwrap();
        }
        let seconds = begun.elapsed().as_secs_f64();
        println!("{batch:>6} a commit: {:>8.0} rows/s", rows as f64 / seconds);
        catalog.close().await;
        std::fs::remove_file(path).unwrap();
    }
}

async fn prepare(catalog: &Sqlite) -> PartitionRef {
    let account = "acme".parse().unwrap();
    let (key, day) = (KeyId([1; 16]), Day(20_000));
    catalog
        .insert_epoch(&EpochRow {
            epoch: 1,
            created_at: TimeUs(0),
            wrapped: vec![1; 60],
            open: true,
            live_keys: 0,
        })
        .await
        .unwrap();
    let of = |key, purpose| KeyRow {
        account: "acme".parse().unwrap(),
        key,
        purpose,
        epoch: 1,
        wrapped: vec![1; 60],
    };
    let partition = PartitionRef {
        account,
        class: Class::Call,
        day,
        key,
    };
    let account = AccountRow {
        account: partition.account.clone(),
        created_at: TimeUs(0),
        key: KeyId([2; 16]),
        country: "IN".to_owned(),
        policy: "{}".to_owned(),
        version: 1,
        closed_at: None,
    };
    catalog
        .insert_account(&account, &of(KeyId([2; 16]), KeyPurpose::Account))
        .await
        .unwrap();
    catalog
        .open_partitions(&[(partition.clone(), of(key, KeyPurpose::Partition))])
        .await
        .unwrap();
    partition
}

/// Rows of a day in any order, with bodies of 350 bytes.
fn row(number: u64) -> LooseRow {
    let mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let at = TimeUs(Day(20_000).start().0 + (mixed % 86_400_000_000) as i64);
    let mut tail = [0; 10];
    tail[..8].copy_from_slice(&mixed.to_be_bytes());
    LooseRow {
        sid: Sid::new(at, tail),
        at,
        body: vec![number as u8; 350],
    }
}
