//! What remains to be removed after a shred, and objects that no commit has taken over yet.

use std::collections::BTreeSet;

use callvault_core::{AccountSid, KeyId, ObjectId, TimeUs};
use sqlx::{AssertSqlSafe, Row as _};

use super::{Attempt, Builder, Conn, dialect, query};
use crate::{
    catalog::object_names,
    failure::{conflict, damaged},
    rows::{Garbage, GarbageRow, SegmentRow},
};

/// The objects of a large segment.
pub(super) fn segment_objects(account: &AccountSid, segment: ObjectId) -> [String; 2] {
    [
        object_names::segment(account, segment),
        object_names::locator(account, segment),
    ]
}

/// Notes objects to remove.
pub(super) async fn insert_objects(
    conn: &mut Conn,
    account: &AccountSid,
    leaf: Option<u64>,
    objects: &[String],
) -> Attempt<()> {
    for portion in query::by_portion(objects) {
        let mut insert = Builder::new("INSERT INTO garbage (account, leaf, object) ");
        insert.push_values(portion, |mut values, object| {
            values
                .push_bind(account.as_str())
                .push_bind(leaf.map(query::stored))
                .push_bind(object);
        });
        insert.build().execute(&mut *conn).await?;
    }
    Ok(())
}

/// Notes everything under destroyed partition keys: their rows, and the objects of their segments. Erasures that
/// waited for these partitions are done when this leaf is.
pub(super) async fn discard_partitions(
    conn: &mut Conn,
    account: &AccountSid,
    leaf: Option<u64>,
    keys: &[KeyId],
) -> Attempt<()> {
    let names = [("'.parquet'", "'/segments/'"), ("'.locator'", "'/segments/'")];
    for portion in query::by_portion(keys) {
        for (end, folder) in names {
            let mut insert = Builder::new("INSERT INTO garbage (account, leaf, object) SELECT account, ");
            insert
                .push("CAST(")
                .push_bind(leaf.map(query::stored))
                .push(" AS BIGINT)");
            let name = format!(
                ", 'accounts/' || account || {folder} || {} || {end}",
                dialect::hex("segment")
            );
            insert
                .push(name)
                .push(" FROM segments WHERE account = ")
                .push_bind(account.as_str())
                .push(" AND key IN ");
            query::push_bytes_list(&mut insert, portion.iter().map(|key| &key.0[..]));
            insert.push(" AND body IS NULL");
            insert.build().execute(&mut *conn).await?;
        }
        let mut insert = Builder::new("INSERT INTO garbage (account, leaf, key) ");
        insert.push_values(portion, |mut values, key| {
            values
                .push_bind(account.as_str())
                .push_bind(leaf.map(query::stored))
                .push_bind(&key.0[..]);
        });
        insert.build().execute(&mut *conn).await?;
        let mut update = Builder::new("UPDATE erasures SET via = ");
        update
            .push_bind(leaf.map_or(-1, query::stored))
            .push(" WHERE account = ")
            .push_bind(account.as_str());
        update.push(" AND key IN ");
        query::push_bytes_list(&mut update, portion.iter().map(|key| &key.0[..]));
        update.build().execute(&mut *conn).await?;
    }
    Ok(())
}

/// What is left, oldest first.
pub(super) async fn list_garbage(conn: &mut Conn, limit: u32) -> Attempt<Vec<GarbageRow>> {
    let select = "SELECT id, account, leaf, key, object FROM garbage ORDER BY id LIMIT $1";
    let rows = sqlx::query(select).bind(i64::from(limit)).fetch_all(conn).await?;
    rows.iter()
        .map(|row| {
            let what = match row.try_get::<Option<String>, _>(4)? {
                Some(object) => Garbage::Object(object),
                None => Garbage::PartitionRows(query::key(row, 3)?),
            };
            let leaf = row.try_get::<Option<i64>, _>(2)?.map(u64::try_from).transpose();
            let leaf = leaf.map_err(|_| damaged("a leaf index is negative"))?;
            Ok(GarbageRow {
                id: row.try_get(0)?,
                account: query::account(row, 1)?,
                leaf,
                what,
            })
        })
        .collect()
}

/// Removes at most `limit` rows under a key that is gone.
pub(super) async fn execute_purge_rows(conn: &mut Conn, account: &AccountSid, key: KeyId, limit: u32) -> Attempt<bool> {
    let live = sqlx::query("SELECT 1 FROM data_keys WHERE account = $1 AND key = $2")
        .bind(account.as_str())
        .bind(&key.0[..])
        .fetch_optional(&mut *conn)
        .await?;
    if live.is_some() {
        return Err(conflict("a partition that is not shredded"));
    }
    let mut left = u64::from(limit.max(1));
    for (table, id) in [("loose", "sid"), ("tombstones", "sid"), ("segments", "segment")] {
        let delete = format!(
            "DELETE FROM {table} WHERE account = $1 AND key = $2 AND {id} IN \
             (SELECT {id} FROM {table} WHERE account = $1 AND key = $2 LIMIT $3)"
        );
        let done = sqlx::query(AssertSqlSafe(delete))
            .bind(account.as_str())
            .bind(&key.0[..])
            .bind(query::stored(left))
            .execute(&mut *conn)
            .await?;
        left = left.saturating_sub(done.rows_affected());
        if left == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Strikes garbage off. The rows of the leaves' destructions are locked first, so that of two processes that remove the
/// last two pieces one sees that nothing is left.
pub(super) async fn execute_drop_garbage(conn: &mut Conn, ids: &[i64], at: TimeUs) -> Attempt<()> {
    let mut leaves: BTreeSet<(String, i64)> = BTreeSet::new();
    for portion in query::by_portion(ids) {
        let mut select = Builder::new("SELECT DISTINCT account, leaf FROM garbage WHERE leaf IS NOT NULL AND id IN ");
        push_ids(&mut select, portion);
        for row in select.build().fetch_all(&mut *conn).await? {
            leaves.insert((row.try_get(0)?, row.try_get(1)?));
        }
    }
    let lock = format!(
        "SELECT leaf FROM destructions WHERE account = $1 AND leaf = $2{}",
        dialect::FOR_UPDATE
    );
    for (account, leaf) in &leaves {
        sqlx::query(AssertSqlSafe(lock.as_str()))
            .bind(account)
            .bind(leaf)
            .fetch_optional(&mut *conn)
            .await?;
    }
    for portion in query::by_portion(ids) {
        let mut delete = Builder::new("DELETE FROM garbage WHERE id IN ");
        push_ids(&mut delete, portion);
        delete.build().execute(&mut *conn).await?;
    }
    for (account, leaf) in &leaves {
        finish_leaf(conn, account, *leaf, at).await?;
    }
    Ok(())
}

fn push_ids(query: &mut Builder, ids: &[i64]) {
    query.push("(");
    let mut list = query.separated(", ");
    for id in ids {
        list.push_bind(*id);
    }
    query.push(")");
}

/// Marks a leaf's destruction as purged when nothing is left of it, and the erasures that waited for it.
async fn finish_leaf(conn: &mut Conn, account: &str, leaf: i64, at: TimeUs) -> Attempt<()> {
    let mark = "UPDATE destructions SET purged_at = $1 WHERE account = $2 AND leaf = $3 AND purged_at IS NULL \
                AND NOT EXISTS (SELECT 1 FROM garbage WHERE garbage.account = $2 AND garbage.leaf = $3) \
                AND NOT EXISTS (SELECT 1 FROM erasures WHERE erasures.account = $2 AND erasures.leaf = $3)";
    let done = sqlx::query(mark)
        .bind(at.0)
        .bind(account)
        .bind(leaf)
        .execute(&mut *conn)
        .await?;
    if done.rows_affected() == 0 {
        return Ok(());
    }
    let waiting: Vec<i64> = sqlx::query_scalar("DELETE FROM erasures WHERE account = $1 AND via = $2 RETURNING leaf")
        .bind(account)
        .bind(leaf)
        .fetch_all(&mut *conn)
        .await?;
    let lock = format!(
        "SELECT leaf FROM destructions WHERE account = $1 AND leaf = $2{}",
        dialect::FOR_UPDATE
    );
    for leaf in BTreeSet::from_iter(waiting) {
        sqlx::query(AssertSqlSafe(lock.as_str()))
            .bind(account)
            .bind(leaf)
            .fetch_optional(&mut *conn)
            .await?;
        sqlx::query(mark)
            .bind(at.0)
            .bind(account)
            .bind(leaf)
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

/// Names objects that are about to be written.
pub(super) async fn execute_stage(conn: &mut Conn, names: &[String], at: TimeUs) -> Attempt<()> {
    for portion in query::by_portion(names) {
        let mut insert = Builder::new("INSERT INTO staged (name, at, doomed) ");
        insert.push_values(portion, |mut values, name| {
            values.push_bind(name).push_bind(at.0).push("0");
        });
        insert.push(" ON CONFLICT DO NOTHING");
        insert.build().execute(&mut *conn).await?;
    }
    Ok(())
}

/// Lists objects to clean up, and dooms them: a commit that comes too late for one of them conflicts.
pub(super) async fn execute_list_staged(conn: &mut Conn, before: TimeUs, limit: u32) -> Attempt<Vec<String>> {
    let doom = "UPDATE staged SET doomed = 1 WHERE name IN \
                (SELECT name FROM staged WHERE at < $1 ORDER BY at, name LIMIT $2) RETURNING name";
    let mut names: Vec<String> = sqlx::query_scalar(doom)
        .bind(before.0)
        .bind(i64::from(limit))
        .fetch_all(conn)
        .await?;
    names.sort_unstable();
    Ok(names)
}

/// Forgets staged names.
pub(super) async fn execute_unstage(conn: &mut Conn, names: &[String]) -> Attempt<()> {
    for portion in query::by_portion(names) {
        let mut delete = Builder::new("DELETE FROM staged WHERE name IN ");
        query::push_text_list(&mut delete, portion.iter().map(String::as_str));
        delete.build().execute(&mut *conn).await?;
    }
    Ok(())
}

/// Takes staged objects over: from now on the catalog's own rows name them. One that was never staged, or that the
/// clean-up has taken, is a conflict: its bytes may be gone.
pub(super) async fn take_over(conn: &mut Conn, names: &[String]) -> Attempt<()> {
    let mut taken = 0;
    for portion in query::by_portion(names) {
        let mut delete = Builder::new("DELETE FROM staged WHERE doomed = 0 AND name IN ");
        query::push_text_list(&mut delete, portion.iter().map(String::as_str));
        taken += delete.build().execute(&mut *conn).await?.rows_affected();
    }
    if taken == names.len() as u64 {
        Ok(())
    } else {
        Err(conflict("an object that is not staged any more"))
    }
}

/// [`take_over`] of the objects of large segments.
pub(super) async fn take_over_segments(conn: &mut Conn, segments: &[(&AccountSid, KeyId, &SegmentRow)]) -> Attempt<()> {
    let large = segments.iter().filter(|(_, _, segment)| segment.packed.is_none());
    let names: Vec<String> = large
        .flat_map(|(account, _, segment)| segment_objects(account, segment.segment))
        .collect();
    take_over(conn, &names).await
}
