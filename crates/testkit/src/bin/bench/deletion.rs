//! Forgetting: a day's key, a number's records.

use std::{path::Path, time::Instant};

use callvault_app::Clock as _;
use callvault_core::{
    AccountSid, Class, Day, TimeUs,
    hold::Cause,
    proof::{AccountHash, AccountSalt, CertificateBody, Certified, Copies, CopyState, Deletion, Keys, LeafBody},
};
use callvault_seal::{digest::sha256, random_bytes};
use callvault_store::rows::{NewLeaf, PartitionRow, Shred};

use crate::{
    calls::Corpus,
    report::{Results, median},
    vault::{Outcome, World, find},
};

/// Days of each size; all but the last are shredded alone, the last by a whole tick.
pub(crate) const SHRED_DAYS: u64 = 4;

const NONE: Copies = Copies {
    catalog: CopyState::None,
    objects: CopyState::None,
    index: CopyState::None,
    cache: CopyState::None,
    backups: CopyState::None,
    exports: CopyState::None,
};

/// What the executor of a plan hands to the catalog for one partition whose term is over.
fn shred_of(region: &str, row: &PartitionRow, at: TimeUs) -> Outcome<Shred> {
    let salt = random_bytes::<32>()?;
    let account_hash = hex::encode(sha256(&[&salt, row.account.as_str().as_bytes()]));
    let keys = Keys { keys: vec![row.key] };
    let (region, class, records, from, to) = (
        region.to_owned(),
        Some(row.class),
        row.loose_rows + row.sealed_rows,
        row.day.start(),
        row.day.end(),
    );
    let whose = AccountHash { account_hash };
    let leaf = Deletion {
        region,
        whose,
        class,
        records,
        from,
        to,
        cause: Cause::Term,
        at,
        taken: keys,
    };
    let whose = AccountSalt {
        account: row.account.clone(),
        salt: hex::encode(salt),
    };
    let Deletion {
        region,
        class,
        records,
        from,
        to,
        cause,
        at,
        taken,
        ..
    } = leaf.clone();
    let deletion = Deletion {
        region,
        whose,
        class,
        records,
        from,
        to,
        cause,
        at,
        taken,
    };
    let certificate = CertificateBody::Shred(Certified {
        deletion,
        copies: NONE,
        issued_at: at,
    });
    Ok(Shred {
        account: row.account.clone(),
        // No policy was changed and no hold placed.
        rules_version: 0,
        at,
        partitions: vec![row.reference()],
        recordings: Vec::new(),
        documents: Vec::new(),
        marks: Vec::new(),
        account_key: None,
        leaf: NewLeaf {
            body: LeafBody::Shred(leaf).to_json().into_bytes(),
            statement: certificate.to_json(),
        },
    })
}

/// Shredding days of a thousand and of a million records, in a vault that holds everything else as well.
pub(crate) async fn measure_shreds(
    world: &World,
    first_day: TimeUs,
    (thousand, million): (&Path, &Path),
    results: &mut Results,
) -> Outcome<()> {
    let vault = &world.vault;
    let mut rows = Vec::new();
    for (name, file) in [("day-thousand", thousand), ("day-million", million)] {
        let start = Instant::now();
        let stored = world.import(name, file).await?;
        if name == "day-million" {
            results.put(
                "vault.import_one_account_rows_s",
                stored as f64 / start.elapsed().as_secs_f64(),
            );
        }
        let sid: AccountSid = name.parse()?;
        let days = first_day.day()..first_day.day().plus(i32::try_from(SHRED_DAYS)?);
        rows.push((name, vault.catalog().list_partitions(&sid, Class::Call, days).await?));
    }
    let mut times = [Vec::new(), Vec::new()];
    let now = world.clock.now();
    for turn in 0..SHRED_DAYS as usize - 1 {
        for ((_, rows), times) in rows.iter().zip(&mut times) {
            let row = rows.get(turn).ok_or("a partition a day")?;
            let start = Instant::now();
            vault.catalog().shred(&shred_of(vault.region(), row, now)?).await?;
            times.push(start.elapsed().as_secs_f64());
        }
    }
    let [small, large] = times;
    results.put("vault.shred_thousand_ms", 1e3 * median(small));
    results.put("vault.shred_million_ms", 1e3 * median(large));
    for (_, rows) in &rows {
        let last = rows.last().ok_or("a last day")?;
        results.put(
            format!("vault.shred_{}_records", rows_name(last)),
            (last.loose_rows + last.sealed_rows) as f64,
        );
    }
    Ok(())
}

fn rows_name(row: &PartitionRow) -> &'static str {
    if row.sealed_rows + row.loose_rows > 10_000 {
        "million"
    } else {
        "thousand"
    }
}

/// The last day of each size goes when its term is over, by a whole tick: planning, shredding, publishing, removing.
pub(crate) async fn measure_ticks(world: &World, first_day: TimeUs, results: &mut Results) -> Outcome<()> {
    let day = Day(first_day.day().0 + i32::try_from(SHRED_DAYS)? - 1);
    let due = TimeUs(day.end().0).plus_years(1);
    world.clock.advance_to(TimeUs(due.0 - 60_000_000));
    report(&world.vault.tick().await)?;
    world.clock.advance_to(TimeUs(due.0 + 1_000_000));
    let start = Instant::now();
    let ticked = world.vault.tick().await;
    results.put("vault.tick_ms", 1e3 * start.elapsed().as_secs_f64());
    report(&ticked)?;
    results.put(
        "vault.tick_records",
        ticked.shredded.iter().map(|gone| gone.records).sum::<u64>() as f64,
    );
    let start = Instant::now();
    report(&world.vault.tick().await)?;
    results.put("vault.tick_idle_ms", 1e3 * start.elapsed().as_secs_f64());
    Ok(())
}

fn report(ticked: &callvault_app::tick::TickReport) -> Outcome<()> {
    match ticked.failures.first() {
        Some(failure) => Err(failure.clone().into()),
        None => Ok(()),
    }
}

/// Erasing one number's records of the largest account: hidden at once, gone with the rewrite.
pub(crate) async fn measure_erasure(world: &World, corpus: &Corpus, results: &mut Results) -> Outcome<()> {
    let large = crate::large(corpus);
    let sid: AccountSid = large.name.parse()?;
    report(&world.vault.tick().await)?;
    let (mut hidden, mut count, mut rewritten, mut partitions) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for number in large.sample(crate::NUMBERS).iter().take(3) {
        let now = world.clock.now();
        let start = Instant::now();
        let sids = find(&world.vault, &sid, number, now).await?;
        world
            .vault
            .erase_records(&sid, Class::Call, &sids, Cause::IngestError)
            .await?;
        hidden.push(start.elapsed().as_secs_f64());
        count.push(sids.len() as f64);
        if !find(&world.vault, &sid, number, now).await?.is_empty() {
            return Err("a hidden record is found".into());
        }
        world
            .clock
            .advance_to(TimeUs(now.0 + world.vault.purge().erase_window_us()));
        let start = Instant::now();
        let ticked = world.vault.tick().await;
        rewritten.push(start.elapsed().as_secs_f64());
        report(&ticked)?;
        partitions.push(ticked.rewritten as f64);
    }
    results.put("vault.erase_hide_s", median(hidden));
    results.put("vault.erase_records", median(count));
    results.put("vault.erase_rewrite_s", median(rewritten));
    results.put("vault.erase_partitions", median(partitions));
    Ok(())
}
