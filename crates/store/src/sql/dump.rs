//! A catalog as text: a header line, one JSON array a row, and a last line that counts them. Bytes are hexadecimal.

use futures::TryStreamExt as _;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Row as _};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::{
    Attempt, Backend, Builder, Conn, Result, Row, accounts, dialect, into_error, query,
    schema::{Kind, TABLES, Table, VERSION},
};
use crate::{
    StoreError,
    failure::{Failure, conflict, damaged},
};

const FORMAT: &str = "callvault-catalog";
/// Rows of one statement while loading; a row may carry a packed segment.
const LOAD_PORTION: usize = 128;
/// Text gathered before it is written.
const BUFFER_BYTES: usize = 64 * 1024;

/// Writes every table from one snapshot.
pub(super) async fn execute_dump(backend: &Backend, to: &mut (dyn AsyncWrite + Send + Unpin)) -> Result<()> {
    dump(backend, to).await.map_err(into_error)
}

fn unwritable(error: &std::io::Error) -> Failure {
    let full = error.kind() == std::io::ErrorKind::StorageFull;
    let store = "file of the dump";
    Failure::Store(if full {
        StoreError::Full { store }
    } else {
        StoreError::Unavailable {
            store,
            reason: error.kind().to_string(),
        }
    })
}

async fn dump(backend: &Backend, to: &mut (dyn AsyncWrite + Send + Unpin)) -> Attempt<()> {
    let mut transaction = backend.begin_reading().await?;
    if let Some(snapshot) = dialect::ONE_SNAPSHOT {
        sqlx::query(snapshot).execute(&mut *transaction).await?;
    }
    let mut text = format!("{}\n", json!({ "format": FORMAT, "version": VERSION }));
    let mut count = 0_u64;
    for table in TABLES {
        let columns: Vec<&str> = table.columns.iter().map(|(name, _)| *name).collect();
        let select = format!(
            "SELECT {} FROM {} ORDER BY {}",
            columns.join(", "),
            table.name,
            table.order
        );
        let mut rows = sqlx::query(AssertSqlSafe(select)).fetch(&mut *transaction);
        while let Some(row) = rows.try_next().await? {
            count += 1;
            text.push_str(&write_row(table, &row)?.to_string());
            text.push('\n');
            if text.len() >= BUFFER_BYTES {
                to.write_all(text.as_bytes())
                    .await
                    .map_err(|error| unwritable(&error))?;
                text.clear();
            }
        }
    }
    text.push_str(&format!("{}\n", json!(["end", count])));
    to.write_all(text.as_bytes())
        .await
        .map_err(|error| unwritable(&error))?;
    to.flush().await.map_err(|error| unwritable(&error))?;
    transaction.rollback().await?;
    Ok(())
}

fn write_row(table: &Table, row: &Row) -> Attempt<Value> {
    let mut values = vec![Value::from(table.name)];
    for (place, (_, kind)) in table.columns.iter().enumerate() {
        values.push(match kind {
            Kind::Number => Value::from(row.try_get::<Option<i64>, _>(place)?),
            Kind::Text => Value::from(row.try_get::<Option<String>, _>(place)?),
            Kind::Bytes => Value::from(row.try_get::<Option<&[u8]>, _>(place)?.map(hex::encode)),
        });
    }
    Ok(Value::Array(values))
}

/// A value of a row to load.
enum Loaded {
    Number(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

/// Fills an empty catalog, in one transaction.
pub(super) async fn execute_load(
    backend: &Backend,
    from: &mut (dyn AsyncBufRead + Send + Unpin),
    values: &[(&str, &[u8])],
) -> Result<()> {
    load(backend, from, values).await.map_err(into_error)
}

async fn load(
    backend: &Backend,
    from: &mut (dyn AsyncBufRead + Send + Unpin),
    values: &[(&str, &[u8])],
) -> Attempt<()> {
    let mut transaction = backend.begin().await?;
    let conn: &mut Conn = &mut transaction;
    if super::log::lock_size(conn).await? != 0 {
        return Err(conflict("a catalog that is not empty"));
    }
    for table in TABLES {
        let any = format!("SELECT 1 FROM {} LIMIT 1", table.name);
        if sqlx::query(AssertSqlSafe(any))
            .fetch_optional(&mut *conn)
            .await?
            .is_some()
        {
            return Err(conflict("a catalog that is not empty"));
        }
    }
    let mut lines = from.lines();
    let header = next_line(&mut lines).await?.ok_or_else(|| broken("it is empty"))?;
    let is_older = check_header(&header)? < VERSION;
    let (mut count, mut leaves) = (0_u64, 0_i64);
    let mut batch: Vec<Vec<Loaded>> = Vec::new();
    let mut current: Option<&'static Table> = None;
    loop {
        let line = next_line(&mut lines)
            .await?
            .ok_or_else(|| broken("its end is missing"))?;
        let values: Vec<Value> = serde_json::from_str(&line).map_err(|_| broken("a line is no JSON array"))?;
        let mut values = values.into_iter();
        let name = values.next().ok_or_else(|| broken("a line is empty"))?;
        if name == "end" {
            if values.next() != Some(Value::from(count)) || next_line(&mut lines).await?.is_some() {
                return Err(broken("rows are missing or left over"));
            }
            break;
        }
        let table = TABLES
            .iter()
            .find(|table| name == table.name)
            .ok_or_else(|| broken("it names an unknown table"))?;
        let changed = current.is_some_and(|current| current.name != table.name);
        if changed || batch.len() == LOAD_PORTION {
            insert_rows(conn, current.unwrap_or(table), &batch).await?;
            batch.clear();
        }
        current = Some(table);
        batch.push(read_row(table, values, is_older)?);
        count += 1;
        leaves += i64::from(table.name == "log");
    }
    if let Some(table) = current {
        insert_rows(conn, table, &batch).await?;
    }
    sqlx::query("UPDATE log_state SET size = $1 WHERE id = 1")
        .bind(leaves)
        .execute(&mut *conn)
        .await?;
    check_log(conn, leaves).await?;
    for (name, value) in values {
        accounts::put_value(conn, name, value).await?;
    }
    if let Some(resume) = dialect::RESUME_SERIAL {
        sqlx::query(resume).execute(&mut *conn).await?;
    }
    transaction.commit().await?;
    Ok(())
}

fn broken(what: &str) -> Failure {
    damaged(format!("the dump cannot be loaded: {what}"))
}

type Lines<'l> = tokio::io::Lines<&'l mut (dyn AsyncBufRead + Send + Unpin)>;

async fn next_line(lines: &mut Lines<'_>) -> Attempt<Option<String>> {
    lines.next_line().await.map_err(|error| match error.kind() {
        std::io::ErrorKind::InvalidData => broken("it is not UTF-8"),
        kind => Failure::Store(StoreError::Unavailable {
            store: "file of the dump",
            reason: kind.to_string(),
        }),
    })
}

/// The version that the dump was written for.
fn check_header(line: &str) -> Attempt<i64> {
    let header: Value = serde_json::from_str(line).map_err(|_| broken("its first line is no header"))?;
    if header.get("format") != Some(&Value::from(FORMAT)) {
        return Err(broken("its first line is no header"));
    }
    let version = header.get("version").and_then(Value::as_i64);
    version
        .filter(|version| (1..=VERSION).contains(version))
        .ok_or_else(|| broken("it was written for another version of the schema"))
}

/// A row's values. One of an older version lacks the columns that came later; they are empty.
fn read_row(table: &Table, mut values: impl Iterator<Item = Value>, is_older: bool) -> Attempt<Vec<Loaded>> {
    let mut row = Vec::with_capacity(table.columns.len());
    for (_, kind) in table.columns {
        let value = values.next().or(is_older.then_some(Value::Null));
        row.push(match (kind, value) {
            (Kind::Number, Some(Value::Null)) => Loaded::Number(None),
            (Kind::Text, Some(Value::Null)) => Loaded::Text(None),
            (Kind::Bytes, Some(Value::Null)) => Loaded::Bytes(None),
            (Kind::Number, Some(Value::Number(number))) => {
                Loaded::Number(Some(number.as_i64().ok_or_else(|| broken("a number is out of range"))?))
            }
            (Kind::Text, Some(Value::String(text))) => Loaded::Text(Some(text)),
            (Kind::Bytes, Some(Value::String(text))) => Loaded::Bytes(Some(
                hex::decode(text).map_err(|_| broken("bytes are not hexadecimal"))?,
            )),
            _ => return Err(broken("a row has other columns")),
        });
    }
    if values.next().is_some() {
        Err(broken("a row has other columns"))
    } else {
        Ok(row)
    }
}

async fn insert_rows(conn: &mut Conn, table: &Table, rows: &[Vec<Loaded>]) -> Attempt<()> {
    let columns: Vec<&str> = table.columns.iter().map(|(name, _)| *name).collect();
    for portion in query::portions(rows, LOAD_PORTION) {
        let mut insert = Builder::new(format!("INSERT INTO {} ({}) ", table.name, columns.join(", ")));
        insert.push_values(portion, |mut values, row| {
            for value in row {
                match value {
                    Loaded::Number(number) => values.push_bind(*number),
                    Loaded::Text(text) => values.push_bind(text.as_deref()),
                    Loaded::Bytes(bytes) => values.push_bind(bytes.as_deref()),
                };
            }
        });
        let done = insert.build().execute(&mut *conn).await;
        done.map_err(|error| match error.as_database_error().map(|error| error.kind()) {
            Some(sqlx::error::ErrorKind::UniqueViolation | sqlx::error::ErrorKind::NotNullViolation) => {
                broken("a row is there twice or lacks a value")
            }
            _ => Failure::Sql(error),
        })?;
    }
    Ok(())
}

/// Leaves are numbered from 0 without a gap.
async fn check_log(conn: &mut Conn, leaves: i64) -> Attempt<()> {
    let last: Option<i64> = sqlx::query_scalar("SELECT MAX(leaf) FROM log").fetch_one(conn).await?;
    if last.unwrap_or(-1) == leaves - 1 {
        Ok(())
    } else {
        Err(broken("leaves of the log are missing"))
    }
}
