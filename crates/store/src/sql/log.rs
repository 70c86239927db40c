//! The transparency log's leaves. One row holds the size, and who appends locks it: indexes have no gap.

use std::ops::Range;

use async_trait::async_trait;
use callvault_core::{AccountSid, KeyId, TimeUs};
use sqlx::{AssertSqlSafe, Row as _};

use super::{Attempt, Backend, Conn, LONG, Result, Row, dialect, query, read, replay, transact};
use crate::{
    Log,
    failure::damaged,
    rows::{DestructionRow, NewLeaf},
};

/// Columns of a destruction, of table `d`.
const DESTRUCTION: &str = "d.leaf, d.account, d.at, d.statement, d.purged_at";

/// Appends a leaf and returns its index. Comes late in a transaction: until its end nobody else appends.
pub(super) async fn append(
    conn: &mut Conn,
    account: Option<&AccountSid>,
    at: Option<TimeUs>,
    leaf: &NewLeaf,
) -> Attempt<u64> {
    append_body(conn, account, at, &leaf.body).await
}

pub(super) async fn append_body(
    conn: &mut Conn,
    account: Option<&AccountSid>,
    at: Option<TimeUs>,
    body: &[u8],
) -> Attempt<u64> {
    let index: i64 = sqlx::query_scalar("UPDATE log_state SET size = size + 1 WHERE id = 1 RETURNING size - 1")
        .fetch_one(&mut *conn)
        .await?;
    sqlx::query("INSERT INTO log (leaf, account, at, body) VALUES ($1, $2, $3, $4)")
        .bind(index)
        .bind(account.map(AccountSid::as_str))
        .bind(at.map(|at| at.0))
        .bind(body)
        .execute(conn)
        .await?;
    u64::try_from(index).map_err(|_| damaged("the log's size is negative"))
}

pub(super) async fn insert_destruction(
    conn: &mut Conn,
    account: &AccountSid,
    leaf: u64,
    at: TimeUs,
    statement: &str,
    purged_at: Option<TimeUs>,
) -> Attempt<()> {
    sqlx::query("INSERT INTO destructions (account, leaf, at, statement, purged_at) VALUES ($1, $2, $3, $4, $5)")
        .bind(account.as_str())
        .bind(query::stored(leaf))
        .bind(at.0)
        .bind(statement)
        .bind(purged_at.map(|at| at.0))
        .execute(conn)
        .await?;
    Ok(())
}

/// The log's size, which stays so until the end of the transaction.
pub(super) async fn lock_size(conn: &mut Conn) -> Attempt<u64> {
    let select = format!("SELECT size FROM log_state WHERE id = 1{}", dialect::FOR_UPDATE);
    let row = sqlx::query(AssertSqlSafe(select)).fetch_one(conn).await?;
    query::count(&row, 0)
}

async fn size(conn: &mut Conn) -> Attempt<u64> {
    let row = sqlx::query("SELECT size FROM log_state WHERE id = 1")
        .fetch_one(conn)
        .await?;
    query::count(&row, 0)
}

/// Writes and reads, and leaves nothing.
pub(super) async fn execute_ping(backend: &Backend) -> Result<()> {
    let wrote: Result<u64> = transact!(backend, |conn| async {
        sqlx::query("UPDATE log_state SET size = size WHERE id = 1")
            .execute(&mut *conn)
            .await?;
        size(conn).await
    });
    wrote.map(|_| ())
}

async fn append_leaf(conn: &mut Conn, account: Option<&AccountSid>, at: TimeUs, leaf: &NewLeaf) -> Attempt<u64> {
    let index = append(conn, account, Some(at), leaf).await?;
    if let Some(account) = account.filter(|_| !leaf.statement.is_empty()) {
        insert_destruction(conn, account, index, at, &leaf.statement, Some(at)).await?;
    }
    Ok(index)
}

pub(super) async fn list_leaves(conn: &mut Conn, range: Range<u64>) -> Attempt<Vec<Vec<u8>>> {
    Ok(
        sqlx::query_scalar("SELECT body FROM log WHERE leaf >= $1 AND leaf < $2 ORDER BY leaf")
            .bind(query::stored(range.start))
            .bind(query::stored(range.end))
            .fetch_all(conn)
            .await?,
    )
}

fn read_destruction(row: &Row) -> Attempt<DestructionRow> {
    Ok(DestructionRow {
        leaf: query::count(row, 0)?,
        account: query::account(row, 1)?,
        at: TimeUs(row.try_get(2)?),
        statement: row.try_get(3)?,
        purged_at: row.try_get::<Option<i64>, _>(4)?.map(TimeUs),
    })
}

async fn find_destruction(conn: &mut Conn, leaf: u64) -> Attempt<Option<DestructionRow>> {
    let select = format!(
        "SELECT {DESTRUCTION} FROM log AS l JOIN destructions AS d ON d.account = l.account AND d.leaf = l.leaf \
         WHERE l.leaf = $1"
    );
    let row = sqlx::query(AssertSqlSafe(select))
        .bind(query::stored(leaf))
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(read_destruction).transpose()
}

async fn list_destructions(
    conn: &mut Conn,
    account: &AccountSid,
    before: Option<u64>,
    limit: u32,
) -> Attempt<Vec<DestructionRow>> {
    let select = format!(
        "SELECT {DESTRUCTION} FROM destructions AS d WHERE d.account = $1 AND d.leaf < $2 \
         ORDER BY d.leaf DESC LIMIT $3"
    );
    let rows = sqlx::query(AssertSqlSafe(select))
        .bind(account.as_str())
        .bind(before.map_or(i64::MAX, query::stored))
        .bind(i64::from(limit))
        .fetch_all(conn)
        .await?;
    rows.iter().map(read_destruction).collect()
}

async fn list_unpurged(conn: &mut Conn, limit: u32) -> Attempt<Vec<DestructionRow>> {
    let select =
        format!("SELECT {DESTRUCTION} FROM destructions AS d WHERE d.purged_at IS NULL ORDER BY d.leaf LIMIT $1");
    let rows = sqlx::query(AssertSqlSafe(select))
        .bind(i64::from(limit))
        .fetch_all(conn)
        .await?;
    rows.iter().map(read_destruction).collect()
}

#[async_trait]
impl Log for Backend {
    async fn append_leaf(&self, account: Option<&AccountSid>, at: TimeUs, leaf: &NewLeaf) -> Result<u64> {
        transact!(self, |conn| append_leaf(conn, account, at, leaf))
    }

    async fn log_size(&self) -> Result<u64> {
        read!(self, |conn| size(conn))
    }

    async fn list_leaves(&self, range: Range<u64>) -> Result<Vec<Vec<u8>>> {
        read!(self, |conn| list_leaves(conn, range))
    }

    async fn find_destruction(&self, leaf: u64) -> Result<Option<DestructionRow>> {
        read!(self, |conn| find_destruction(conn, leaf))
    }

    async fn list_destructions(
        &self,
        account: &AccountSid,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<DestructionRow>> {
        read!(self, |conn| list_destructions(conn, account, before, limit))
    }

    async fn list_unpurged(&self, limit: u32) -> Result<Vec<DestructionRow>> {
        read!(self, |conn| list_unpurged(conn, limit))
    }

    async fn replay(&self, first: u64, leaves: &[Vec<u8>], shreds: &[KeyId], at: TimeUs) -> Result<u64> {
        transact!(self, LONG, |conn| replay::execute_replay(
            conn, first, leaves, shreds, at
        ))
    }
}
