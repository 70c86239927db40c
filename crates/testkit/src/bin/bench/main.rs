//! Callvault beside its peers, in one run on one machine: `docs/performance.md` says how and what came out.
//!
//! `cargo run --release -p callvault-testkit --bin bench -- [--rows N] [--folder PATH] [--only PART,...] [--json FILE]`
//!
//! Parts: `limits`, `vault`, `recordings`, `postgres`, `chdb`. All by default. A peer that is missing fails the run.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_precision_loss,
    reason = "a bench measures wall time, prints, and has nobody to hand an error to"
)]

mod calls;
mod chdb;
mod deletion;
mod fetches;
mod limits;
mod live;
mod postgres;
mod report;
mod vault;

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use calls::{Account, Corpus};
use callvault_core::TimeUs;
use report::Results;

const ACCOUNTS: u64 = 100;
/// Numbers that are looked for in each account.
pub(crate) const NUMBERS: u64 = 40;
const FIRST_DAY: &str = "2026-10-01T00:00:00Z";
/// Days that are shredded come before the others, so that their term is over first.
const SHRED_DAY: &str = "2026-08-01T00:00:00Z";
const NOW: &str = "2026-10-31T01:00:00Z";

/// The largest account.
pub(crate) fn large(corpus: &Corpus) -> &Account {
    corpus.accounts.first().expect("accounts")
}

/// A small account.
pub(crate) fn small(corpus: &Corpus) -> &Account {
    corpus.accounts.get(ACCOUNTS as usize - 10).expect("a hundred accounts")
}

/// The smallest half of the accounts.
pub(crate) fn smallest(corpus: &Corpus) -> &[Account] {
    corpus.accounts.get(ACCOUNTS as usize / 2..).unwrap_or_default()
}

struct Arguments {
    rows: u64,
    day_rows: u64,
    rounds: u32,
    folder: PathBuf,
    only: Vec<String>,
    json: Option<PathBuf>,
}

impl Arguments {
    fn read() -> Self {
        let mut read = Self {
            rows: 5_000_000,
            day_rows: 1_000_000,
            rounds: 3,
            folder: std::env::temp_dir(),
            only: Vec::new(),
            json: None,
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut value = || words.next().unwrap_or_else(|| panic!("{word} wants a value"));
            match word.as_str() {
                "--rows" => read.rows = value().parse().expect("a number of rows"),
                "--day-rows" => read.day_rows = value().parse().expect("a number of rows"),
                "--rounds" => read.rounds = value().parse().expect("a number of rounds"),
                "--folder" => read.folder = value().into(),
                "--only" => read.only = value().split(',').map(str::to_owned).collect(),
                "--json" => read.json = Some(value().into()),
                other => panic!("{other} is no option: --rows, --day-rows, --rounds, --folder, --only, --json"),
            }
        }
        read
    }

    fn wants(&self, part: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == part)
    }
}

fn say(part: &str) {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    eprintln!("{part} (load {})", load.split(' ').next().unwrap_or_default());
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::read();
    let temporary = tempfile::TempDir::with_prefix_in("callvault-bench-", &arguments.folder)?;
    let folder = temporary.path();
    // PostgreSQL's server reads the files as another user.
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    let (first_day, shred_day, now) = (
        TimeUs::parse(FIRST_DAY)?,
        TimeUs::parse(SHRED_DAY)?,
        TimeUs::parse(NOW)?,
    );
    let mut results = Results::default();
    if arguments.wants("limits") {
        say("limits");
        limits::measure(folder, &mut results)?;
    }
    if arguments.wants("recordings") {
        say("recordings");
        live::measure_recordings(folder, now, &mut results).await?;
    }
    if arguments.wants("vault") || arguments.wants("postgres") || arguments.wants("chdb") {
        say("generating calls");
        let corpus = Corpus::generate(folder, arguments.rows, ACCOUNTS, first_day)?;
        results.put("rows", arguments.rows as f64);
        let days = deletion::SHRED_DAYS;
        let thousand = calls::write_days(folder, "day-thousand", 1_000, shred_day, days)?;
        let million = calls::write_days(folder, "day-million", arguments.day_rows, shred_day, days)?;
        if arguments.wants("vault") {
            say("vault");
            let world = vault::measure_import(folder, &corpus, now, arguments.rounds, &mut results).await?;
            let world = vault::measure_reads(world, &corpus, &mut results).await?;
            live::measure_ingest(&world, &mut results).await?;
            deletion::measure_shreds(&world, shred_day, (&thousand.0, &million.0), &mut results).await?;
            deletion::measure_erasure(&world, &corpus, &mut results).await?;
            deletion::measure_ticks(&world, shred_day, &mut results).await?;
            world.sqlite.close().await;
            fs::remove_dir_all(&world.folder)?;
        }
        if arguments.wants("chdb") {
            say("chDB");
            chdb::measure(folder, &corpus, arguments.rows, (&thousand.1, &million.1), &mut results)?;
        }
        if arguments.wants("postgres") {
            say("PostgreSQL");
            postgres::measure(&corpus, arguments.rows, (&thousand.1, &million.1), &mut results).await?;
        }
    }
    say("done");
    println!("{}", report::table(&results));
    if let Some(path) = &arguments.json {
        fs::write(path, report::json(&results))?;
    }
    Ok(())
}
