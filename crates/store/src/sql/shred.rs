//! Destroying keys: the one way by which anything is deleted.

use std::collections::{BTreeMap, HashMap};

use callvault_core::{AccountSid, KeyId, ObjectId, Sid, TimeUs};
use sqlx::{AssertSqlSafe, Row as _};

use super::{Attempt, Builder, Conn, accounts, dialect, documents, garbage, log, partitions, query};
use crate::{
    catalog::{ACCOUNT_TOPICS, object_names},
    failure::conflict,
    rows::Shred,
};

/// Destroys keys and the entries they opened.
pub(super) async fn execute_shred(conn: &mut Conn, shred: &Shred) -> Attempt<u64> {
    let account = &shred.account;
    if shred.partitions.iter().any(|partition| partition.account != *account) {
        return Err(conflict("a partition of another account"));
    }
    if let Some(key) = shred.account_key {
        lock_account(conn, account, key).await?;
    }
    query::require_rules(conn, account, shred.rules_version).await?;
    partitions::lock_partitions(conn, shred.partitions.iter()).await?;
    let partition_keys: Vec<KeyId> = shred.partitions.iter().map(|partition| partition.key).collect();
    let recording_keys = shred.recordings.iter().map(|(_, key)| *key);
    let keys: Vec<KeyId> = partition_keys
        .iter()
        .copied()
        .chain(recording_keys)
        .chain(shred.documents.iter().map(|(_, _, key)| *key))
        .chain(shred.account_key)
        .collect();
    delete_keys(conn, account, &keys).await?;
    delete_partitions(conn, account, &partition_keys).await?;
    let objects = delete_recordings(conn, account, &shred.recordings).await?;
    documents::delete_documents(conn, account, &shred.documents).await?;
    if shred.account_key.is_some() {
        close_account(conn, account, shred.at).await?;
    }
    for mark in &shred.marks {
        accounts::put_value(conn, mark, shred.at.to_string().as_bytes()).await?;
    }
    let index = log::append(conn, Some(account), Some(shred.at), &shred.leaf).await?;
    garbage::discard_partitions(conn, account, Some(index), &partition_keys).await?;
    garbage::insert_objects(conn, account, Some(index), &objects).await?;
    let nothing_left = partition_keys.is_empty() && objects.is_empty();
    let purged_at = nothing_left.then_some(shred.at);
    log::insert_destruction(conn, account, index, shred.at, &shred.leaf.statement, purged_at).await?;
    Ok(index)
}

async fn lock_account(conn: &mut Conn, account: &AccountSid, key: KeyId) -> Attempt<()> {
    let select = format!(
        "SELECT key, policy FROM accounts WHERE account = $1{}",
        dialect::FOR_UPDATE
    );
    let row = sqlx::query(AssertSqlSafe(select))
        .bind(account.as_str())
        .fetch_optional(conn)
        .await?;
    match row {
        Some(row) if query::key(&row, 0)? == key && !row.try_get::<&str, _>(1)?.is_empty() => Ok(()),
        _ => Err(conflict("an account")),
    }
}

/// Deletes keys, all of which must be there.
pub(super) async fn delete_keys(conn: &mut Conn, account: &AccountSid, keys: &[KeyId]) -> Attempt<()> {
    let mut sorted = keys.to_vec();
    sorted.sort_unstable();
    let mut gone = 0;
    for portion in query::by_portion(&sorted) {
        let mut delete = Builder::new("DELETE FROM data_keys WHERE account = ");
        delete.push_bind(account.as_str()).push(" AND key IN ");
        query::push_bytes_list(&mut delete, portion.iter().map(|key| &key.0[..]));
        gone += delete.build().execute(&mut *conn).await?.rows_affected();
    }
    if gone == keys.len() as u64 {
        Ok(())
    } else {
        Err(conflict("a key"))
    }
}

/// Deletes the entries of partitions with these keys.
pub(super) async fn delete_partitions(conn: &mut Conn, account: &AccountSid, keys: &[KeyId]) -> Attempt<()> {
    for portion in query::by_portion(keys) {
        let mut delete = Builder::new("DELETE FROM partitions WHERE account = ");
        delete.push_bind(account.as_str()).push(" AND key IN ");
        query::push_bytes_list(&mut delete, portion.iter().map(|key| &key.0[..]));
        delete.build().execute(&mut *conn).await?;
    }
    Ok(())
}

/// Deletes recordings, each of which must have the key named with it. Returns their objects.
pub(super) async fn delete_recordings(
    conn: &mut Conn,
    account: &AccountSid,
    recordings: &[(Sid, KeyId)],
) -> Attempt<Vec<String>> {
    let expected: HashMap<Sid, KeyId> = recordings.iter().copied().collect();
    let mut objects = Vec::with_capacity(recordings.len());
    let mut days: BTreeMap<i32, (i64, i64)> = BTreeMap::new();
    for portion in query::by_portion(recordings) {
        let mut delete = Builder::new("DELETE FROM recordings WHERE account = ");
        delete.push_bind(account.as_str()).push(" AND sid IN ");
        query::push_bytes_list(&mut delete, portion.iter().map(|(sid, _)| &sid.0[..]));
        delete.push(" RETURNING sid, key, object, at, bytes");
        for row in delete.build().fetch_all(&mut *conn).await? {
            if expected.get(&Sid(query::bytes16(&row, 0)?)) != Some(&query::key(&row, 1)?) {
                return Err(conflict("a recording"));
            }
            objects.push(object_names::recording(account, ObjectId(query::bytes16(&row, 2)?)));
            let (count, bytes) = days.entry(TimeUs(row.try_get(3)?).day().0).or_default();
            *count += 1;
            *bytes += row.try_get::<i64, _>(4)?;
        }
    }
    if objects.len() != recordings.len() {
        return Err(conflict("a recording"));
    }
    let update = "UPDATE recording_days SET count = count - $1, bytes = bytes - $2 WHERE account = $3 AND day = $4";
    for (day, (count, bytes)) in &days {
        let day = i64::from(*day);
        sqlx::query(update)
            .bind(count)
            .bind(bytes)
            .bind(account.as_str())
            .bind(day)
            .execute(&mut *conn)
            .await?;
        sqlx::query("DELETE FROM recording_days WHERE account = $1 AND day = $2 AND count = 0")
            .bind(account.as_str())
            .bind(day)
            .execute(&mut *conn)
            .await?;
    }
    Ok(objects)
}

/// Removes what an account has beside its records; a key that remains is a conflict.
async fn close_account(conn: &mut Conn, account: &AccountSid, at: TimeUs) -> Attempt<()> {
    let left = sqlx::query("SELECT 1 FROM data_keys WHERE account = $1 LIMIT 1")
        .bind(account.as_str())
        .fetch_optional(&mut *conn)
        .await?;
    if left.is_some() {
        return Err(conflict("an account's keys"));
    }
    strip_account(conn, account, at).await
}

/// Removes an account's tokens, users, holds, jobs and values, clears its policy and marks it closed.
pub(super) async fn strip_account(conn: &mut Conn, account: &AccountSid, at: TimeUs) -> Attempt<()> {
    for delete in [
        "DELETE FROM tokens WHERE account = $1",
        "DELETE FROM users WHERE account = $1",
        "DELETE FROM sessions WHERE account = $1",
        "DELETE FROM challenges WHERE account = $1",
        "DELETE FROM holds WHERE account = $1",
        "DELETE FROM jobs WHERE account = $1",
    ] {
        sqlx::query(delete).bind(account.as_str()).execute(&mut *conn).await?;
    }
    for topic in ACCOUNT_TOPICS {
        // `0` is what comes after `/`.
        sqlx::query("DELETE FROM settings WHERE name = $1 OR (name > $2 AND name < $3)")
            .bind(format!("{topic}/{account}"))
            .bind(format!("{topic}/{account}/"))
            .bind(format!("{topic}/{account}0"))
            .execute(&mut *conn)
            .await?;
    }
    sqlx::query("UPDATE accounts SET policy = '', version = version + 1, closed_at = $1 WHERE account = $2")
        .bind(at.0)
        .bind(account.as_str())
        .execute(conn)
        .await?;
    Ok(())
}
