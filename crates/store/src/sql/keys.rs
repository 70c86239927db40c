//! Key epochs and wrapped data keys.

use std::collections::BTreeSet;

use async_trait::async_trait;
use callvault_core::{AccountSid, KeyId, TimeUs};
use sqlx::{AssertSqlSafe, Row as _};

use super::{Attempt, Backend, Builder, Conn, Result, Row, dialect, log, query, read, transact};
use crate::{
    Keys, StoreError,
    failure::{conflict, damaged},
    rows::{EpochRow, KeyPurpose, KeyRow, NewLeaf},
};

const KEY: &str = "account, key, purpose, epoch, wrapped";

fn purpose_text(purpose: KeyPurpose) -> &'static str {
    match purpose {
        KeyPurpose::Account => "account",
        KeyPurpose::Partition => "partition",
        KeyPurpose::Recording => "recording",
        KeyPurpose::Document => "document",
    }
}

pub(super) fn read_purpose(row: &Row, column: usize) -> Attempt<KeyPurpose> {
    match row.try_get::<&str, _>(column)? {
        "account" => Ok(KeyPurpose::Account),
        "partition" => Ok(KeyPurpose::Partition),
        "recording" => Ok(KeyPurpose::Recording),
        "document" => Ok(KeyPurpose::Document),
        _ => Err(damaged("a key has an unknown purpose")),
    }
}

fn read_key(row: &Row) -> Attempt<KeyRow> {
    Ok(KeyRow {
        account: query::account(row, 0)?,
        key: query::key(row, 1)?,
        purpose: read_purpose(row, 2)?,
        epoch: query::count(row, 3)?,
        wrapped: row.try_get(4)?,
    })
}

/// Checks that epochs take keys, and keeps them open until the end of the transaction.
async fn require_open_epochs(conn: &mut Conn, keys: &[KeyRow]) -> Attempt<()> {
    let epochs: BTreeSet<u64> = keys.iter().map(|key| key.epoch).collect();
    for epoch in epochs {
        let select = format!("SELECT open FROM epochs WHERE epoch = $1{}", dialect::FOR_SHARE);
        let open: Option<i64> = sqlx::query_scalar(AssertSqlSafe(select))
            .bind(query::stored(epoch))
            .fetch_optional(&mut *conn)
            .await?;
        if open != Some(1) {
            return Err(StoreError::EpochClosed(epoch).into());
        }
    }
    Ok(())
}

/// Adds data keys to their epochs, which must be open.
pub(super) async fn insert_keys(conn: &mut Conn, keys: &[KeyRow]) -> Attempt<()> {
    require_open_epochs(conn, keys).await?;
    for portion in query::by_portion(keys) {
        let mut insert = Builder::new("INSERT INTO data_keys (account, key, purpose, epoch, wrapped) ");
        insert.push_values(portion, |mut values, key| {
            values
                .push_bind(key.account.as_str())
                .push_bind(&key.key.0[..])
                .push_bind(purpose_text(key.purpose))
                .push_bind(query::stored(key.epoch))
                .push_bind(&key.wrapped);
        });
        insert.build().execute(&mut *conn).await?;
    }
    Ok(())
}

/// Takes the rows of all epochs, so that changes of epochs come one after the other and after who holds one open.
async fn lock_epochs(conn: &mut Conn) -> Attempt<()> {
    let lock = format!("SELECT epoch FROM epochs ORDER BY epoch{}", dialect::FOR_UPDATE);
    sqlx::query(AssertSqlSafe(lock)).fetch_all(conn).await?;
    Ok(())
}

async fn insert_epoch(conn: &mut Conn, epoch: &EpochRow) -> Attempt<()> {
    lock_epochs(conn).await?;
    sqlx::query("UPDATE epochs SET open = 0 WHERE open = 1")
        .execute(&mut *conn)
        .await?;
    let insert = "INSERT INTO epochs (epoch, created_at, wrapped, open) VALUES ($1, $2, $3, 1) ON CONFLICT DO NOTHING";
    let done = sqlx::query(insert)
        .bind(query::stored(epoch.epoch))
        .bind(epoch.created_at.0)
        .bind(&epoch.wrapped)
        .execute(conn)
        .await?;
    if done.rows_affected() == 0 {
        Err(conflict("a key epoch of this number"))
    } else {
        Ok(())
    }
}

async fn delete_epoch(conn: &mut Conn, epoch: u64, leaf: &NewLeaf) -> Attempt<()> {
    lock_epochs(conn).await?;
    let delete = "DELETE FROM epochs WHERE epoch = $1 AND open = 0 \
                  AND NOT EXISTS (SELECT 1 FROM data_keys WHERE data_keys.epoch = $1) RETURNING created_at";
    let gone: Option<i64> = sqlx::query_scalar(delete)
        .bind(query::stored(epoch))
        .fetch_optional(&mut *conn)
        .await?;
    let Some(_) = gone else {
        return Err(conflict("a key epoch that is open, in use or gone"));
    };
    log::append(conn, None, None, leaf).await?;
    Ok(())
}

async fn list_epochs(conn: &mut Conn) -> Attempt<Vec<EpochRow>> {
    let select = "SELECT epoch, created_at, wrapped, open, \
                  (SELECT COUNT(*) FROM data_keys WHERE data_keys.epoch = epochs.epoch) \
                  FROM epochs ORDER BY epoch";
    let rows = sqlx::query(select).fetch_all(conn).await?;
    rows.iter()
        .map(|row| {
            Ok(EpochRow {
                epoch: query::count(row, 0)?,
                created_at: TimeUs(row.try_get(1)?),
                wrapped: row.try_get(2)?,
                open: row.try_get::<i64, _>(3)? == 1,
                live_keys: query::count(row, 4)?,
            })
        })
        .collect()
}

async fn find_keys(conn: &mut Conn, account: &AccountSid, keys: &[KeyId]) -> Attempt<Vec<KeyRow>> {
    let mut found = Vec::with_capacity(keys.len());
    for portion in query::by_portion(keys) {
        let mut select = Builder::new(format!("SELECT {KEY} FROM data_keys WHERE account = "));
        select.push_bind(account.as_str()).push(" AND key IN ");
        query::push_bytes_list(&mut select, portion.iter().map(|key| &key.0[..]));
        for row in select.build().fetch_all(&mut *conn).await? {
            found.push(read_key(&row)?);
        }
    }
    Ok(found)
}

async fn list_keys_in_epoch(conn: &mut Conn, epoch: u64, limit: u32) -> Attempt<Vec<KeyRow>> {
    let select = format!("SELECT {KEY} FROM data_keys WHERE epoch = $1 ORDER BY account, key LIMIT $2");
    let rows = sqlx::query(AssertSqlSafe(select))
        .bind(query::stored(epoch))
        .bind(i64::from(limit))
        .fetch_all(conn)
        .await?;
    rows.iter().map(read_key).collect()
}

/// Keys are taken in the order of their names, as shreds take them.
async fn rewrap(conn: &mut Conn, from: u64, keys: &[KeyRow]) -> Attempt<u64> {
    require_open_epochs(conn, keys).await?;
    let mut sorted: Vec<&KeyRow> = keys.iter().collect();
    sorted.sort_by(|a, b| (&a.account, a.key).cmp(&(&b.account, b.key)));
    let update = "UPDATE data_keys SET epoch = $1, wrapped = $2 WHERE account = $3 AND key = $4 AND epoch = $5";
    let mut moved = 0;
    for key in sorted {
        let done = sqlx::query(update)
            .bind(query::stored(key.epoch))
            .bind(&key.wrapped)
            .bind(key.account.as_str())
            .bind(&key.key.0[..])
            .bind(query::stored(from))
            .execute(&mut *conn)
            .await?;
        moved += done.rows_affected();
    }
    Ok(moved)
}

#[async_trait]
impl Keys for Backend {
    async fn insert_epoch(&self, epoch: &EpochRow) -> Result<()> {
        transact!(self, |conn| insert_epoch(conn, epoch))
    }

    async fn list_epochs(&self) -> Result<Vec<EpochRow>> {
        read!(self, |conn| list_epochs(conn))
    }

    async fn delete_epoch(&self, epoch: u64, leaf: &NewLeaf) -> Result<()> {
        transact!(self, |conn| delete_epoch(conn, epoch, leaf))
    }

    async fn find_keys(&self, account: &AccountSid, keys: &[KeyId]) -> Result<Vec<KeyRow>> {
        read!(self, |conn| find_keys(conn, account, keys))
    }

    async fn list_keys_in_epoch(&self, epoch: u64, limit: u32) -> Result<Vec<KeyRow>> {
        read!(self, |conn| list_keys_in_epoch(conn, epoch, limit))
    }

    async fn rewrap(&self, from: u64, keys: &[KeyRow]) -> Result<u64> {
        transact!(self, super::LONG, |conn| rewrap(conn, from, keys))
    }
}
