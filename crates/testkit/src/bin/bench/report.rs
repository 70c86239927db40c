//! Results, ratios and goals.

use std::{collections::BTreeMap, time::Instant};

/// What was measured, by name: `vault.`, `postgres.`, `pgcrypto.`, `chdb.` or `limit.` before it.
#[derive(Default)]
pub(crate) struct Results(pub(crate) BTreeMap<String, f64>);

impl Results {
    /// Notes a figure, and says so at once: a long run shows how far it is.
    pub(crate) fn put(&mut self, name: impl Into<String>, value: f64) {
        let name = name.into();
        eprintln!("  {name:<44} {}", figure(value));
        self.0.insert(name, value);
    }

    pub(crate) fn get(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }
}

/// Seconds that something took.
pub(crate) fn seconds<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let out = work();
    (out, start.elapsed().as_secs_f64())
}

/// The middle value; nothing counts as none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Three digits that matter.
pub(crate) fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 1e6 => format!("{:.2} M", value / 1e6),
        size if size >= 10_000.0 => format!("{:.0} k", value / 1e3),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

/// A ratio of two figures, and what it should be.
pub(crate) struct Goal {
    what: &'static str,
    ours: &'static str,
    over: &'static str,
    /// `at least` this, or `at most`.
    least: bool,
    bound: f64,
}

const fn goal(what: &'static str, ours: &'static str, over: &'static str, least: bool, bound: f64) -> Goal {
    Goal {
        what,
        ours,
        over,
        least,
        bound,
    }
}

/// What is compared. A bound of zero or infinity is no goal, only a comparison.
pub(crate) const GOALS: &[Goal] = &[
    goal(
        "import, rows/s, over PostgreSQL + pgcrypto",
        "vault.import_rows_s",
        "pgcrypto.import_rows_s",
        true,
        10.0,
    ),
    goal(
        "import, rows/s, over PostgreSQL plain",
        "vault.import_rows_s",
        "postgres.import_rows_s",
        true,
        0.0,
    ),
    goal(
        "import, rows/s, over chDB",
        "vault.import_rows_s",
        "chdb.import_rows_s",
        true,
        1.0,
    ),
    goal(
        "bytes a row, over PostgreSQL plain",
        "vault.bytes_a_row",
        "postgres.bytes_a_row",
        false,
        1.0 / 6.0,
    ),
    goal(
        "bytes a row, over PostgreSQL + pgcrypto",
        "vault.bytes_a_row",
        "pgcrypto.bytes_a_row",
        false,
        1.0 / 6.0,
    ),
    goal(
        "bytes a row, over chDB",
        "vault.bytes_a_row",
        "chdb.bytes_a_row",
        false,
        1.25,
    ),
    goal(
        "bytes a row, over chDB with Delta on times",
        "vault.bytes_a_row",
        "chdb.bytes_a_row_tuned",
        false,
        f64::INFINITY,
    ),
    goal(
        "smallest 50 accounts, bytes a row, over PostgreSQL",
        "vault.bytes_a_row_smallest",
        "postgres.bytes_a_row_smallest",
        false,
        1.0 / 6.0,
    ),
    goal(
        "smallest 50 accounts, bytes a row, over chDB",
        "vault.bytes_a_row_smallest",
        "chdb.bytes_a_row_smallest",
        false,
        1.25,
    ),
    goal(
        "one number, largest account, warm, over chDB",
        "vault.number_large_warm_ms",
        "chdb.number_large_warm_ms",
        false,
        0.25,
    ),
    goal(
        "one number, largest account, cold, over chDB",
        "vault.number_large_cold_ms",
        "chdb.number_large_cold_ms",
        false,
        0.25,
    ),
    goal(
        "one number, small account, warm, over chDB",
        "vault.number_small_warm_ms",
        "chdb.number_small_warm_ms",
        false,
        f64::INFINITY,
    ),
    goal(
        "one number, largest account, warm, over PostgreSQL",
        "vault.number_large_warm_ms",
        "postgres.number_large_warm_ms",
        false,
        f64::INFINITY,
    ),
    goal(
        "one number, largest account, warm, over pgcrypto",
        "vault.number_large_warm_ms",
        "pgcrypto.number_large_warm_ms",
        false,
        f64::INFINITY,
    ),
    goal(
        "same count of matches, large over small account",
        "vault.number_large_warm_ms",
        "vault.number_small_warm_ms",
        false,
        f64::INFINITY,
    ),
    goal(
        "shred a day: 1,000,000 records over 1,000",
        "vault.shred_million_ms",
        "vault.shred_thousand_ms",
        false,
        1.5,
    ),
    goal(
        "DELETE + VACUUM of 1,000,000 over our shred",
        "postgres.delete_million_ms",
        "vault.shred_million_ms",
        true,
        1_000.0,
    ),
    goal(
        "DROP partition of 1,000,000 over our shred",
        "postgres.drop_million_ms",
        "vault.shred_million_ms",
        true,
        10.0,
    ),
    goal(
        "DROP partition of 1,000 over our shred",
        "postgres.drop_thousand_ms",
        "vault.shred_thousand_ms",
        true,
        10.0,
    ),
    goal(
        "chDB DROP PARTITION of 1,000,000 over our shred",
        "chdb.drop_million_ms",
        "vault.shred_million_ms",
        true,
        0.0,
    ),
    goal(
        "hide one number, over chDB's lightweight delete",
        "vault.erase_hide_s",
        "chdb.erase_lightweight_s",
        false,
        1.0,
    ),
    goal(
        "erase one number for good, over chDB's ALTER DELETE",
        "vault.erase_rewrite_s",
        "chdb.erase_alter_s",
        false,
        1.0,
    ),
    goal(
        "seal a recording, over raw AES-256-GCM",
        "vault.recording_seal_gb_s",
        "limit.aes_gcm_gb_s",
        true,
        0.5,
    ),
    goal(
        "store a recording (memory file system), over raw",
        "vault.recording_put_memory_gb_s",
        "limit.aes_gcm_gb_s",
        true,
        0.5,
    ),
    goal(
        "read a recording whole, over raw AES-256-GCM",
        "vault.recording_read_gb_s",
        "limit.aes_gcm_gb_s",
        true,
        0.5,
    ),
    goal(
        "store a recording on disk, over sequential write",
        "vault.recording_put_disk_mb_s",
        "limit.write_mb_s",
        true,
        0.0,
    ),
    goal(
        "bytes fetched for 64 KiB, over 64 KiB",
        "vault.recording_range_bytes",
        "limit.range_bytes",
        false,
        f64::INFINITY,
    ),
    goal(
        "list a page of 50, over PostgreSQL",
        "vault.page_ms",
        "postgres.page_ms",
        false,
        f64::INFINITY,
    ),
    goal(
        "get by SID, over PostgreSQL",
        "vault.get_ms",
        "postgres.get_ms",
        false,
        f64::INFINITY,
    ),
    goal(
        "single commits/s, over PostgreSQL",
        "vault.commits_s",
        "postgres.commits_s",
        true,
        0.0,
    ),
    goal(
        "single commits/s, over fsyncs/s",
        "vault.commits_s",
        "limit.fsyncs_s",
        true,
        0.0,
    ),
];

/// The table of goals, as Markdown.
pub(crate) fn table(results: &Results) -> String {
    let mut out = String::from("| comparison | ours | other | ratio | goal | |\n|---|---:|---:|---:|---:|---|\n");
    for goal in GOALS {
        let (Some(ours), Some(over)) = (results.get(goal.ours), results.get(goal.over)) else {
            continue;
        };
        let ratio = ours / over;
        let none = goal.bound == 0.0 || goal.bound.is_infinite();
        let met = if goal.least {
            ratio >= goal.bound
        } else {
            ratio <= goal.bound
        };
        let bound = match (none, goal.least) {
            (true, _) => "".to_owned(),
            (false, true) => format!("≥ {}", figure(goal.bound)),
            (false, false) => format!("≤ {}", figure(goal.bound)),
        };
        let verdict = if none {
            ""
        } else if met {
            "met"
        } else {
            "**missed**"
        };
        out.push_str(&format!(
            "| {} | {} | {} | {} | {bound} | {verdict} |\n",
            goal.what,
            figure(ours),
            figure(over),
            figure(ratio)
        ));
    }
    out
}

/// Every figure, as JSON.
pub(crate) fn json(results: &Results) -> String {
    serde_json::to_string_pretty(&results.0).unwrap_or_default()
}
