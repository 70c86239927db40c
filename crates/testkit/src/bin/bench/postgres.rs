//! PostgreSQL beside us, as Debian ships it: plain, and with `pgcrypto`.
//!
//! The same table and indexes as a vault needs: primary key, (account, time), (account, either party). With `pgcrypto`
//! the body is `encrypt()`ed (AES-256-CBC, one zero IV: the cheapest way there is) and the parties are `hmac()`s.
//! Files are read by the server itself, by two connections at a time, indexes in place. Settings are Debian's but for
//! `max_wal_size` and `maintenance_work_mem`, which are raised.

use std::{error::Error, path::Path};

use callvault_testkit::services::postgres::Server;
use futures::future::try_join_all;
use sqlx::{AssertSqlSafe, PgPool, Row as _, postgres::PgPoolOptions};

use crate::{
    calls::{Account, Corpus},
    report::{Results, median},
};

type Outcome<T> = Result<T, Box<dyn Error>>;

const COLUMNS: &str = "account text, sid uuid, at timestamptz, source_id text, direction text, from_number text, \
    to_number text, exophone text, status text, answered_at timestamptz, ended_at timestamptz, duration_s int, \
    talk_s int, price_micros bigint, caller_name text";
const KEY: &str = "decode('000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f', 'hex')";

/// A table of plain calls with its indexes.
fn plain_table(name: &str, suffix: &str) -> String {
    format!(
        "CREATE TABLE {name} ({COLUMNS}, PRIMARY KEY (sid{})) {suffix};\
         CREATE INDEX ON {name} (account, at); CREATE INDEX ON {name} (account, from_number);\
         CREATE INDEX ON {name} (account, to_number);",
        if suffix.is_empty() { "" } else { ", at" }
    )
}

fn hash(of: &str) -> String {
    format!("substring(hmac({of}::text, 'index key', 'sha256') for 16)")
}

async fn run(pool: &PgPool, sql: impl Into<String>) -> Outcome<f64> {
    let sql = sql.into();
    let start = std::time::Instant::now();
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await?;
    Ok(start.elapsed().as_secs_f64())
}

async fn number(pool: &PgPool, sql: String) -> Outcome<f64> {
    Ok(sqlx::query(AssertSqlSafe(sql))
        .fetch_one(pool)
        .await?
        .try_get::<i64, _>(0)? as f64)
}

/// Loads the same rows and measures.
pub(crate) async fn measure(
    corpus: &Corpus,
    rows: u64,
    (thousand, million): (&Path, &Path),
    results: &mut Results,
) -> Outcome<()> {
    let server = Server::start();
    let pool = PgPoolOptions::new()
        .max_connections(4)
        .connect(&format!("{}/postgres", server.address()))
        .await?;
    run(&pool, "ALTER SYSTEM SET max_wal_size = '4GB'").await?;
    run(&pool, "ALTER SYSTEM SET maintenance_work_mem = '256MB'").await?;
    run(&pool, "SELECT pg_reload_conf()").await?;
    run(
        &pool,
        "CREATE EXTENSION pgcrypto; CREATE EXTENSION file_fdw; CREATE SERVER f FOREIGN DATA WRAPPER file_fdw",
    )
    .await?;
    measure_plain(&pool, corpus, rows, results).await?;
    measure_deletes(&pool, thousand, million, results).await?;
    run(&pool, "DROP TABLE calls").await?;
    measure_sealed(&pool, corpus, rows, results).await?;
    pool.close().await;
    Ok(())
}

async fn measure_plain(pool: &PgPool, corpus: &Corpus, rows: u64, results: &mut Results) -> Outcome<()> {
    run(pool, plain_table("calls", "")).await?;
    let start = std::time::Instant::now();
    let copies = corpus
        .parts
        .iter()
        .map(|part| run(pool, format!("COPY calls FROM '{}' (FORMAT csv)", part.display())));
    try_join_all(copies).await?;
    results.put("postgres.import_rows_s", rows as f64 / start.elapsed().as_secs_f64());
    let stored = number(pool, "SELECT count(*) FROM calls".into()).await?;
    assert!(stored == rows as f64, "PostgreSQL holds {stored} rows of {rows}");
    run(pool, "VACUUM ANALYZE calls").await?;
    run(pool, "CHECKPOINT").await?;
    let bytes = number(pool, "SELECT pg_total_relation_size('calls')".into()).await?;
    results.put("postgres.bytes_a_row", bytes / rows as f64);
    let names: Vec<String> = crate::smallest(corpus)
        .iter()
        .map(|account| format!("'{}'", account.name))
        .collect();
    run(pool, plain_table("small", "")).await?;
    run(
        pool,
        format!(
            "INSERT INTO small SELECT * FROM calls WHERE account IN ({})",
            names.join(",")
        ),
    )
    .await?;
    let bytes = number(pool, "SELECT pg_total_relation_size('small')".into()).await?;
    let count = number(pool, "SELECT count(*) FROM small".into()).await?;
    results.put("postgres.bytes_a_row_smallest", bytes / count.max(1.0));
    run(pool, "DROP TABLE small").await?;
    let find = "SELECT * FROM calls WHERE account = $1 AND (from_number = $2 OR to_number = $2) ORDER BY at DESC";
    measure_numbers(pool, corpus, find, "postgres", results).await?;
    let large = crate::large(corpus);
    let page = format!(
        "SELECT * FROM calls WHERE account = '{}' ORDER BY at DESC LIMIT 50",
        large.name
    );
    let mut times = Vec::new();
    for _ in 0..50 {
        times.push(run_rows(pool, &page).await?);
    }
    results.put("postgres.page_ms", 1e3 * median(times));
    let sids = format!(
        "SELECT sid::text FROM calls WHERE account = '{}' ORDER BY random() LIMIT 200",
        large.name
    );
    let mut times = Vec::new();
    for row in sqlx::query(AssertSqlSafe(sids)).fetch_all(pool).await? {
        times.push(
            run_rows(
                pool,
                &format!("SELECT * FROM calls WHERE sid = '{}'", row.try_get::<String, _>(0)?),
            )
            .await?,
        );
    }
    results.put("postgres.get_ms", 1e3 * median(times));
    let start = std::time::Instant::now();
    for _ in 0..500 {
        let insert = "INSERT INTO calls (account, sid, at, from_number, to_number, direction, status) \
            VALUES ('live', gen_random_uuid(), '2026-10-31T12:00:00Z', '+919000000001', '+919000000002', 'inbound', 'completed')";
        sqlx::query(insert).execute(pool).await?;
    }
    results.put("postgres.commits_s", 500.0 / start.elapsed().as_secs_f64());
    Ok(())
}

async fn run_rows(pool: &PgPool, sql: &str) -> Outcome<f64> {
    let start = std::time::Instant::now();
    std::hint::black_box(sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_all(pool).await?);
    Ok(start.elapsed().as_secs_f64())
}

async fn measure_numbers(
    pool: &PgPool,
    corpus: &Corpus,
    find: &'static str,
    peer: &str,
    results: &mut Results,
) -> Outcome<()> {
    let measure = async |account: &Account, numbers: Vec<callvault_core::Number>| -> Outcome<f64> {
        let mut times = Vec::new();
        for round in 0..2 {
            for number in &numbers {
                let start = std::time::Instant::now();
                let rows = sqlx::query(find)
                    .bind(&account.name)
                    .bind(number.as_str())
                    .fetch_all(pool)
                    .await?;
                if round > 0 {
                    times.push(start.elapsed().as_secs_f64());
                }
                std::hint::black_box(rows);
            }
        }
        Ok(1e3 * median(times))
    };
    let (large, small) = (crate::large(corpus), crate::small(corpus));
    results.put(
        format!("{peer}.number_large_warm_ms"),
        measure(large, large.sample(crate::NUMBERS)).await?,
    );
    results.put(
        format!("{peer}.number_small_warm_ms"),
        measure(small, small.sample(crate::NUMBERS)).await?,
    );
    results.put(
        format!("{peer}.number_heavy_warm_ms"),
        measure(large, vec![large.subscriber(0); 5]).await?,
    );
    Ok(())
}

/// A day's records out of the big table, and as a partition of their own.
async fn measure_deletes(pool: &PgPool, thousand: &Path, million: &Path, results: &mut Results) -> Outcome<()> {
    for (name, path, rounds) in [("thousand", thousand, 3), ("million", million, 1)] {
        let mut times = Vec::new();
        for _ in 0..rounds {
            run(pool, format!("COPY calls FROM '{}' (FORMAT csv)", path.display())).await?;
            let delete = run(
                pool,
                format!("DELETE FROM calls WHERE account = 'day-{name}' AND at < '2026-09-01'"),
            )
            .await?;
            times.push(delete + run(pool, "VACUUM calls").await?);
        }
        results.put(format!("postgres.delete_{name}_ms"), 1e3 * median(times));
    }
    run(pool, plain_table("days", "PARTITION BY RANGE (at)")).await?;
    for (name, path) in [("thousand", thousand), ("million", million)] {
        let mut times = Vec::new();
        for _ in 0..3 {
            run(
                pool,
                "CREATE TABLE a_day PARTITION OF days FOR VALUES FROM ('2026-08-01') TO ('2026-09-01')",
            )
            .await?;
            run(pool, format!("COPY days FROM '{}' (FORMAT csv)", path.display())).await?;
            run(pool, "CHECKPOINT").await?;
            times.push(run(pool, "DROP TABLE a_day").await?);
        }
        results.put(format!("postgres.drop_{name}_ms"), 1e3 * median(times));
    }
    run(pool, "DROP TABLE days").await?;
    Ok(())
}

async fn measure_sealed(pool: &PgPool, corpus: &Corpus, rows: u64, results: &mut Results) -> Outcome<()> {
    let create = "CREATE TABLE sealed (account text, sid uuid PRIMARY KEY, at timestamptz, from_hash bytea, to_hash bytea, \
        body bytea); CREATE INDEX ON sealed (account, at); CREATE INDEX ON sealed (account, from_hash); \
        CREATE INDEX ON sealed (account, to_hash);";
    run(pool, create).await?;
    for (number, part) in corpus.parts.iter().enumerate() {
        let options = format!("OPTIONS (filename '{}', format 'csv')", part.display());
        run(
            pool,
            format!("CREATE FOREIGN TABLE part{number} ({COLUMNS}) SERVER f {options}"),
        )
        .await?;
    }
    let body = "convert_to(concat_ws(',', source_id, direction, from_number, to_number, exophone, status, answered_at, \
        ended_at, duration_s, talk_s, price_micros, caller_name), 'UTF8')";
    let fill = |number: usize| {
        let (from, to) = (hash("from_number"), hash("to_number"));
        format!(
            "INSERT INTO sealed SELECT account, sid, at, {from}, {to}, encrypt({body}, {KEY}, 'aes-cbc') FROM part{number}"
        )
    };
    let start = std::time::Instant::now();
    try_join_all((0..corpus.parts.len()).map(|number| run(pool, fill(number)))).await?;
    results.put("pgcrypto.import_rows_s", rows as f64 / start.elapsed().as_secs_f64());
    run(pool, "VACUUM ANALYZE sealed").await?;
    let bytes = number(pool, "SELECT pg_total_relation_size('sealed')".into()).await?;
    results.put("pgcrypto.bytes_a_row", bytes / rows as f64);
    let find = "SELECT at, convert_from(decrypt(body, \
        decode('000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f', 'hex'), 'aes-cbc'), 'UTF8') FROM sealed \
        WHERE account = $1 AND (from_hash = substring(hmac($2::text, 'index key', 'sha256') for 16) \
        OR to_hash = substring(hmac($2::text, 'index key', 'sha256') for 16)) ORDER BY at DESC";
    measure_numbers(pool, corpus, find, "pgcrypto", results).await?;
    let sample = 5_000;
    let took = run(
        pool,
        format!("CREATE TABLE pgp AS SELECT pgp_sym_encrypt_bytea({body}, 'passphrase') FROM part0 LIMIT {sample}"),
    )
    .await?;
    results.put("pgcrypto.pgp_sym_encrypt_rows_s", f64::from(sample) / took);
    run(pool, "DROP TABLE sealed").await?;
    Ok(())
}
