//! Accounts, settings, holds.

use async_trait::async_trait;
use callvault_core::{AccountSid, TimeUs, id::HoldId};
use sqlx::{AssertSqlSafe, Row as _};

use super::{Attempt, Backend, Builder, Conn, Result, Row, dialect, jobs, keys, query, read, transact};
use crate::{
    Accounts,
    failure::conflict,
    rows::{AccountRow, HoldRow, JobRow, KeyRow},
};

const ACCOUNT: &str = "account, created_at, key, country, policy, version, closed_at";

fn read_account(row: &Row) -> Attempt<AccountRow> {
    Ok(AccountRow {
        account: query::account(row, 0)?,
        created_at: TimeUs(row.try_get(1)?),
        key: query::key(row, 2)?,
        country: row.try_get(3)?,
        policy: row.try_get(4)?,
        version: row.try_get(5)?,
        closed_at: row.try_get::<Option<i64>, _>(6)?.map(TimeUs),
    })
}

pub(super) async fn find_value(conn: &mut Conn, name: &str) -> Attempt<Option<Vec<u8>>> {
    let found = sqlx::query_scalar("SELECT value FROM settings WHERE name = $1")
        .bind(name)
        .fetch_optional(conn);
    Ok(found.await?)
}

async fn list_values(conn: &mut Conn, prefix: &str) -> Attempt<Vec<(String, Vec<u8>)>> {
    // Names are ASCII; nothing sorts behind the last character.
    let select = "SELECT name, value FROM settings WHERE name >= $1 AND name < $2 ORDER BY name";
    let rows = sqlx::query(select)
        .bind(prefix)
        .bind(format!("{prefix}\u{7f}"))
        .fetch_all(conn)
        .await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

async fn find_values(conn: &mut Conn, names: &[String]) -> Attempt<Vec<String>> {
    let mut found = Vec::new();
    for portion in query::by_portion(names) {
        let mut select = Builder::new("SELECT name FROM settings WHERE name IN ");
        query::push_text_list(&mut select, portion.iter().map(String::as_str));
        for row in select.build().fetch_all(&mut *conn).await? {
            found.push(row.try_get(0)?);
        }
    }
    Ok(found)
}

async fn page_values(conn: &mut Conn, prefix: &str, after: &str, limit: u32) -> Attempt<Vec<(String, Vec<u8>)>> {
    let select = "SELECT name, value FROM settings WHERE name > $1 AND name < $2 ORDER BY name LIMIT $3";
    let rows = sqlx::query(select)
        .bind(format!("{prefix}{after}"))
        .bind(format!("{prefix}\u{7f}"))
        .bind(i64::from(limit))
        .fetch_all(conn)
        .await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

async fn delete_value(conn: &mut Conn, name: &str) -> Attempt<bool> {
    let delete = sqlx::query("DELETE FROM settings WHERE name = $1").bind(name);
    Ok(delete.execute(conn).await?.rows_affected() == 1)
}

pub(super) async fn put_value(conn: &mut Conn, name: &str, value: &[u8]) -> Attempt<()> {
    let upsert = "INSERT INTO settings (name, value) VALUES ($1, $2) \
                  ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    sqlx::query(upsert).bind(name).bind(value).execute(conn).await?;
    Ok(())
}

async fn init_value(conn: &mut Conn, name: &str, value: &[u8]) -> Attempt<Vec<u8>> {
    sqlx::query("INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
        .bind(name)
        .bind(value)
        .execute(&mut *conn)
        .await?;
    Ok(find_value(conn, name).await?.unwrap_or_default())
}

async fn insert_account(conn: &mut Conn, new: &AccountRow, new_key: &KeyRow) -> Attempt<()> {
    let insert = "INSERT INTO accounts (account, created_at, key, country, policy, version, closed_at) \
                  VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (account) DO NOTHING";
    let done = sqlx::query(insert)
        .bind(new.account.as_str())
        .bind(new.created_at.0)
        .bind(&new.key.0[..])
        .bind(&new.country)
        .bind(&new.policy)
        .bind(new.version)
        .bind(new.closed_at.map(|at| at.0))
        .execute(&mut *conn)
        .await?;
    if done.rows_affected() == 0 {
        return Err(conflict("an account of this name"));
    }
    keys::insert_keys(conn, std::slice::from_ref(new_key)).await
}

async fn put_policy(
    conn: &mut Conn,
    account: &AccountSid,
    policy: &str,
    expected_version: i64,
    announcements: &[JobRow],
) -> Attempt<()> {
    let update = "UPDATE accounts SET policy = $1, version = version + 1 \
                  WHERE account = $2 AND version = $3 AND closed_at IS NULL";
    let done = sqlx::query(update)
        .bind(policy)
        .bind(account.as_str())
        .bind(expected_version)
        .execute(&mut *conn)
        .await?;
    if done.rows_affected() == 0 {
        return Err(conflict("the account's policy"));
    }
    for job in announcements {
        jobs::insert_job(conn, job).await?;
    }
    Ok(())
}

async fn begin_closing(conn: &mut Conn, account: &AccountSid, rules_version: i64, at: TimeUs) -> Attempt<()> {
    let update = "UPDATE accounts SET closed_at = $1, version = version + 1 \
                  WHERE account = $2 AND version = $3 AND closed_at IS NULL";
    let done = sqlx::query(update)
        .bind(at.0)
        .bind(account.as_str())
        .bind(rules_version)
        .execute(conn)
        .await?;
    match done.rows_affected() {
        0 => Err(conflict("the account's rules")),
        _ => Ok(()),
    }
}

/// Holds are ordered as they were placed; the account's row makes placing them one after the other.
async fn insert_hold(conn: &mut Conn, hold: &HoldRow) -> Attempt<()> {
    let lock = format!(
        "SELECT closed_at FROM accounts WHERE account = $1{}",
        dialect::FOR_UPDATE
    );
    let found: Option<Option<i64>> = sqlx::query_scalar(AssertSqlSafe(lock))
        .bind(hold.account.as_str())
        .fetch_optional(&mut *conn)
        .await?;
    match found {
        Some(None) => {}
        Some(Some(_)) => return Err(conflict("an account that is closed")),
        None => return Err(crate::StoreError::NotFound { what: "account" }.into()),
    }
    let insert = "INSERT INTO holds (account, hold, placed, rule, note, lifted_at) VALUES ($1, $2, \
                  (SELECT COALESCE(MAX(placed), 0) + 1 FROM holds WHERE account = $1), $3, $4, $5) \
                  ON CONFLICT DO NOTHING";
    let done = sqlx::query(insert)
        .bind(hold.account.as_str())
        .bind(&hold.hold.0[..])
        .bind(&hold.rule)
        .bind(&hold.note)
        .bind(hold.lifted_at.map(|at| at.0))
        .execute(&mut *conn)
        .await?;
    if done.rows_affected() == 0 {
        return Err(conflict("a hold of this id"));
    }
    // A deletion that was decided without this hold finds other rules.
    sqlx::query("UPDATE accounts SET version = version + 1 WHERE account = $1")
        .bind(hold.account.as_str())
        .execute(conn)
        .await?;
    Ok(())
}

async fn lift_hold(conn: &mut Conn, account: &AccountSid, hold: HoldId, rule: &str, at: TimeUs) -> Attempt<bool> {
    let update = "UPDATE holds SET rule = $1, lifted_at = $2 \
                  WHERE account = $3 AND hold = $4 AND lifted_at IS NULL";
    let done = sqlx::query(update)
        .bind(rule)
        .bind(at.0)
        .bind(account.as_str())
        .bind(&hold.0[..])
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

async fn list_holds(conn: &mut Conn, account: &AccountSid) -> Attempt<Vec<HoldRow>> {
    let select = "SELECT account, hold, rule, note, lifted_at FROM holds WHERE account = $1 ORDER BY placed, hold";
    let rows = sqlx::query(select).bind(account.as_str()).fetch_all(conn).await?;
    rows.iter()
        .map(|row| {
            Ok(HoldRow {
                account: query::account(row, 0)?,
                hold: HoldId(query::bytes16(row, 1)?),
                rule: row.try_get(2)?,
                note: row.try_get(3)?,
                lifted_at: row.try_get::<Option<i64>, _>(4)?.map(TimeUs),
            })
        })
        .collect()
}

async fn list_accounts(conn: &mut Conn, after: Option<&AccountSid>, limit: u32) -> Attempt<Vec<AccountRow>> {
    let select = format!("SELECT {ACCOUNT} FROM accounts WHERE account > $1 ORDER BY account LIMIT $2");
    let rows = sqlx::query(AssertSqlSafe(select))
        .bind(after.map_or("", AccountSid::as_str))
        .bind(i64::from(limit))
        .fetch_all(conn)
        .await?;
    rows.iter().map(read_account).collect()
}

async fn find_account(conn: &mut Conn, account: &AccountSid) -> Attempt<Option<AccountRow>> {
    let select = format!("SELECT {ACCOUNT} FROM accounts WHERE account = $1");
    let row = sqlx::query(AssertSqlSafe(select))
        .bind(account.as_str())
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(read_account).transpose()
}

#[async_trait]
impl Accounts for Backend {
    async fn find_value(&self, name: &str) -> Result<Option<Vec<u8>>> {
        read!(self, |conn| find_value(conn, name))
    }

    async fn list_values(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>> {
        read!(self, |conn| list_values(conn, prefix))
    }

    async fn find_values(&self, names: &[String]) -> Result<Vec<String>> {
        read!(self, |conn| find_values(conn, names))
    }

    async fn page_values(&self, prefix: &str, after: &str, limit: u32) -> Result<Vec<(String, Vec<u8>)>> {
        read!(self, |conn| page_values(conn, prefix, after, limit))
    }

    async fn delete_value(&self, name: &str) -> Result<bool> {
        transact!(self, |conn| delete_value(conn, name))
    }

    async fn put_value(&self, name: &str, value: &[u8]) -> Result<()> {
        transact!(self, |conn| put_value(conn, name, value))
    }

    async fn init_value(&self, name: &str, value: &[u8]) -> Result<Vec<u8>> {
        transact!(self, |conn| init_value(conn, name, value))
    }

    async fn insert_account(&self, account: &AccountRow, key: &KeyRow) -> Result<()> {
        transact!(self, |conn| insert_account(conn, account, key))
    }

    async fn find_account(&self, account: &AccountSid) -> Result<Option<AccountRow>> {
        read!(self, |conn| find_account(conn, account))
    }

    async fn list_accounts(&self, after: Option<&AccountSid>, limit: u32) -> Result<Vec<AccountRow>> {
        read!(self, |conn| list_accounts(conn, after, limit))
    }

    async fn put_policy(
        &self,
        account: &AccountSid,
        policy: &str,
        expected_version: i64,
        jobs: &[JobRow],
    ) -> Result<()> {
        transact!(self, |conn| put_policy(conn, account, policy, expected_version, jobs))
    }

    async fn insert_hold(&self, hold: &HoldRow) -> Result<()> {
        transact!(self, |conn| insert_hold(conn, hold))
    }

    async fn lift_hold(&self, account: &AccountSid, hold: HoldId, rule: &str, at: TimeUs) -> Result<bool> {
        transact!(self, |conn| lift_hold(conn, account, hold, rule, at))
    }

    async fn list_holds(&self, account: &AccountSid) -> Result<Vec<HoldRow>> {
        read!(self, |conn| list_holds(conn, account))
    }

    async fn begin_closing(&self, account: &AccountSid, rules_version: i64, at: TimeUs) -> Result<()> {
        transact!(self, |conn| begin_closing(conn, account, rules_version, at))
    }
}
