//! The vault's side: its use cases on SQLite and files, as the server runs them.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use callvault_app::{
    Clock as _, ManualClock, Parts, Vault,
    bulk::ImportFile,
    import::{Format, parse_time_zone},
    read::{Cursor, Query},
};
use callvault_core::{AccountSid, Class, Number, Plan, Sid, TimeUs, hold::Reader};
use callvault_seal::provider::{PassphraseCost, SealedFile};
use callvault_store::{Objects, files::Files, sqlite::Sqlite};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::{
    calls::{Account, Corpus, DAYS},
    fetches::Fetches,
    limits::{evict, size_of},
    report::{Results, median},
};

pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

/// Files imported at the same time, one for each core of the machine that the goals are stated for.
const IMPORTS: usize = 2;

/// An open vault, its clock and what it fetches.
pub(crate) struct World {
    pub(crate) vault: Arc<Vault>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) fetches: Arc<Fetches>,
    pub(crate) sqlite: Sqlite,
    pub(crate) folder: PathBuf,
}

impl World {
    /// Opens the vault in this folder, making it where it is missing.
    pub(crate) async fn open(folder: &Path, now: TimeUs) -> Outcome<Self> {
        fs::create_dir_all(folder)?;
        let keys = folder.join("keys");
        let provider = match keys.exists() {
            true => SealedFile::open(&keys, b"bench")?,
            false => SealedFile::create(&keys, b"bench", PassphraseCost::TEST)?,
        };
        let sqlite = Sqlite::open(&folder.join("catalog.sqlite")).await?;
        let fetches = Arc::new(Fetches::new(Arc::new(Files::open(&folder.join("objects")).await?)));
        let clock = Arc::new(ManualClock::new(now));
        let parts = Parts {
            region: "in".to_owned(),
            catalog: Arc::new(sqlite.clone()),
            objects: Arc::clone(&fetches) as Arc<dyn Objects>,
            provider: Arc::new(provider),
            clock: Arc::clone(&clock) as _,
            worker: "bench".to_owned(),
        };
        Ok(Self {
            vault: Arc::new(Vault::open(parts).await?),
            clock,
            fetches,
            sqlite,
            folder: folder.to_owned(),
        })
    }

    /// The same vault as a process that just started finds it, with nothing of it in the kernel's cache.
    async fn reopen_cold(self) -> Outcome<Self> {
        let (folder, now) = (self.folder.clone(), self.clock.now());
        self.sqlite.close().await;
        drop(self);
        evict(&folder)?;
        let world = Self::open(&folder, now).await?;
        evict(&folder)?;
        Ok(world)
    }

    /// Imports one account's file.
    pub(crate) async fn import(&self, name: &str, file: &Path) -> Outcome<u64> {
        let sid: AccountSid = name.parse()?;
        self.vault.create_account(&sid, Plan::Enterprise, "IN").await?;
        let import = ImportFile {
            path: file.to_owned(),
            format: Format::Csv(Class::Call),
            time_zone: parse_time_zone("UTC")?,
            rejects: self.folder.join(format!("{name}.rejects")),
            from_start: false,
        };
        // A task of its own, as in a server: imports of several accounts run on several cores.
        let vault = Arc::clone(&self.vault);
        let done = tokio::spawn(async move { vault.import_file(&sid, import, &mut |_| {}).await }).await??;
        if done.rejected > 0 || done.known > 0 {
            return Err(format!("{name}: {} rows rejected, {} known", done.rejected, done.known).into());
        }
        Ok(done.stored)
    }

    async fn import_all(&self, corpus: &Corpus, accounts: &[Account]) -> Outcome<u64> {
        let imports =
            stream::iter(accounts).map(async |account| self.import(&account.name, &corpus.file(account)).await);
        let stored: Vec<u64> = imports.buffer_unordered(IMPORTS).try_collect().await?;
        Ok(stored.iter().sum())
    }
}

fn cpu_s() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<f64> = after
        .split_whitespace()
        .filter_map(|field| field.parse().ok())
        .collect();
    // Without the state letter, user and system time are the 11th and 12th field, in hundredths.
    fields.iter().skip(10).take(2).sum::<f64>() / 100.0
}

/// Imports everything and looks at what it takes.
pub(crate) async fn measure_import(
    folder: &Path,
    corpus: &Corpus,
    now: TimeUs,
    rounds: u32,
    results: &mut Results,
) -> Outcome<World> {
    let rows: u64 = corpus.accounts.iter().map(|account| account.rows).sum();
    let (mut rates, mut cpu) = (Vec::new(), Vec::new());
    let mut last = None;
    for round in 0..rounds {
        let place = folder.join(format!("vault{round}"));
        let world = World::open(&place, now).await?;
        let (start, cpu_before) = (Instant::now(), cpu_s());
        let stored = world.import_all(corpus, &corpus.accounts).await?;
        rates.push(rows as f64 / start.elapsed().as_secs_f64());
        cpu.push((cpu_s() - cpu_before) / (rows as f64 / 1e6));
        if stored != rows {
            return Err(format!("the vault holds {stored} rows of {rows}").into());
        }
        if let Some(before) = last.replace(world) {
            let before: World = before;
            before.sqlite.close().await;
            fs::remove_dir_all(&before.folder)?;
        }
    }
    results.put("vault.import_rows_s", median(rates.clone()));
    results.put(
        "vault.import_csv_mb_s",
        median(rates) * corpus.own_bytes as f64 / rows as f64 / 1e6,
    );
    results.put("vault.import_cpu_s_a_million", median(cpu));
    let world = last.ok_or("at least one round")?;
    world.vault.catalog().compact().await?;
    let (bytes, taken) = size_of(&world.folder)?;
    results.put("vault.bytes_a_row", bytes as f64 / rows as f64);
    results.put("vault.bytes_a_row_with_slack", taken as f64 / rows as f64);
    results.put(
        "vault.catalog_bytes_a_row",
        size_of(&world.folder.join("catalog.sqlite"))?.0 as f64 / rows as f64,
    );
    let small = World::open(&folder.join("smallest"), now).await?;
    let start = Instant::now();
    let stored = small.import_all(corpus, crate::smallest(corpus)).await?;
    results.put(
        "vault.import_smallest_rows_s",
        stored as f64 / start.elapsed().as_secs_f64(),
    );
    small.vault.catalog().compact().await?;
    results.put(
        "vault.bytes_a_row_smallest",
        size_of(&small.folder)?.0 as f64 / stored as f64,
    );
    small.sqlite.close().await;
    fs::remove_dir_all(&small.folder)?;
    Ok(world)
}

fn query_of(number: &Number, now: TimeUs) -> Query<'static> {
    let from = Some(now.plus_days(-(DAYS as i64) - 1));
    Query {
        from,
        to: Some(now),
        number: Some(number.clone()),
        limit: 1_000,
        ..Query::default()
    }
}

/// Every record of one number, page after page.
pub(crate) async fn find(vault: &Vault, account: &AccountSid, number: &Number, now: TimeUs) -> Outcome<Vec<Sid>> {
    let mut query = query_of(number, now);
    let mut found = Vec::new();
    loop {
        let page = vault
            .list_records(account, Class::Call, &query, Reader::Account)
            .await?;
        found.extend(page.records.iter().map(callvault_core::Record::sid));
        query.after = page.next;
        if query.after.is_none() {
            return Ok(found);
        }
    }
}

/// One number's records, cold and warm; a page; one record.
pub(crate) async fn measure_reads(mut world: World, corpus: &Corpus, results: &mut Results) -> Outcome<World> {
    let now = world.clock.now();
    for (kind, account) in [("large", crate::large(corpus)), ("small", crate::small(corpus))] {
        let sid: AccountSid = account.name.parse()?;
        let numbers = account.sample(crate::NUMBERS);
        let mut cold = Vec::new();
        for number in numbers.iter().take(7) {
            world = world.reopen_cold().await?;
            let start = Instant::now();
            find(&world.vault, &sid, number, now).await?;
            cold.push(start.elapsed().as_secs_f64());
        }
        results.put(format!("vault.number_{kind}_cold_ms"), 1e3 * median(cold));
        let (mut warm, mut matches, mut fetched) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..2 {
            for number in &numbers {
                let before = world.fetches.bytes();
                let start = Instant::now();
                let found = find(&world.vault, &sid, number, now).await?;
                if round > 0 {
                    warm.push(start.elapsed().as_secs_f64());
                    matches.push(found.len() as f64);
                    fetched.push((world.fetches.bytes() - before) as f64 / 1e3);
                }
            }
        }
        results.put(format!("vault.number_{kind}_warm_ms"), 1e3 * median(warm));
        results.put(format!("vault.number_{kind}_matches"), median(matches));
        results.put(format!("vault.number_{kind}_fetched_kb"), median(fetched));
        results.put(format!("vault.number_{kind}_rows"), account.rows as f64);
    }
    let large = crate::large(corpus);
    let sid: AccountSid = large.name.parse()?;
    let (mut heavy, mut count) = (Vec::new(), 0);
    for _ in 0..5 {
        let start = Instant::now();
        count = find(&world.vault, &sid, &large.subscriber(0), now).await?.len();
        heavy.push(start.elapsed().as_secs_f64());
    }
    results.put("vault.number_heavy_warm_ms", 1e3 * median(heavy));
    results.put("vault.number_heavy_matches", count as f64);
    let mut pages = Vec::new();
    let mut query = Query::default();
    let mut sids = Vec::new();
    for _ in 0..50 {
        let start = Instant::now();
        let page = world
            .vault
            .list_records(&sid, Class::Call, &query, Reader::Account)
            .await?;
        pages.push(start.elapsed().as_secs_f64());
        sids.extend(page.records.iter().map(callvault_core::Record::sid).step_by(10));
        // Each page from another place, a half day earlier, and from the newest again at the end.
        let last = page.next.map(|last| TimeUs(last.at.0 - 43_200_000_000));
        query.after = last.map(|at| Cursor { at, sid: Sid([0; 16]) });
    }
    results.put("vault.page_ms", 1e3 * median(pages));
    let mut gets = Vec::new();
    for record in sids {
        let start = Instant::now();
        world
            .vault
            .get_record(&sid, Class::Call, record, Reader::Account)
            .await?;
        gets.push(start.elapsed().as_secs_f64());
    }
    results.put("vault.get_ms", 1e3 * median(gets));
    Ok(world)
}
