//! Replacing a partition's contents: seal and rewrite.

use callvault_core::{AccountSid, KeyId, ObjectId, Sid};
use sqlx::Row as _;

use super::{Attempt, Builder, Conn, garbage, keys, log, partitions, query, shred};
use crate::{
    failure::conflict,
    rows::{PartitionRef, PartitionRow, RewriteCommit, SealCommit},
};

const CHANGED: &str = "a partition";

async fn lock_one(conn: &mut Conn, partition: &PartitionRef, expected_version: i64) -> Attempt<PartitionRow> {
    let mut locked = partitions::lock_partitions(conn, std::iter::once(partition)).await?;
    match locked.pop() {
        Some(row) if row.version == expected_version => Ok(row),
        _ => Err(conflict(CHANGED)),
    }
}

/// Removes loose rows that are all there; returns the bytes of their bodies.
async fn take_loose(conn: &mut Conn, account: &AccountSid, key: KeyId, sids: &[Sid]) -> Attempt<i64> {
    let mut sorted = sids.to_vec();
    sorted.sort_unstable();
    let (mut count, mut bytes) = (0, 0);
    for portion in query::by_portion(&sorted) {
        let mut delete = Builder::new("DELETE FROM loose WHERE account = ");
        delete
            .push_bind(account.as_str())
            .push(" AND key = ")
            .push_bind(&key.0[..])
            .push(" AND sid IN ");
        query::push_bytes_list(&mut delete, portion.iter().map(|sid| &sid.0[..]));
        delete.push(" RETURNING CAST(length(body) AS BIGINT)");
        for row in delete.build().fetch_all(&mut *conn).await? {
            count += 1;
            bytes += row.try_get::<i64, _>(0)?;
        }
    }
    if count == sids.len() {
        Ok(bytes)
    } else {
        Err(conflict(CHANGED))
    }
}

/// Removes segments that are all there; their objects become garbage. Returns their rows and bytes.
async fn take_segments(conn: &mut Conn, account: &AccountSid, key: KeyId, old: &[ObjectId]) -> Attempt<(i64, i64)> {
    let (mut count, mut rows, mut bytes) = (0, 0, 0);
    let mut objects = Vec::new();
    for portion in query::by_portion(old) {
        let mut delete = Builder::new("DELETE FROM segments WHERE account = ");
        delete
            .push_bind(account.as_str())
            .push(" AND key = ")
            .push_bind(&key.0[..])
            .push(" AND segment IN ");
        query::push_bytes_list(&mut delete, portion.iter().map(|segment| &segment.0[..]));
        delete.push(" RETURNING segment, rows, bytes, CAST(CASE WHEN body IS NULL THEN 1 ELSE 0 END AS BIGINT)");
        for row in delete.build().fetch_all(&mut *conn).await? {
            count += 1;
            rows += row.try_get::<i64, _>(1)?;
            bytes += row.try_get::<i64, _>(2)?;
            if row.try_get::<i64, _>(3)? == 1 {
                objects.extend(garbage::segment_objects(account, ObjectId(query::bytes16(&row, 0)?)));
            }
        }
    }
    if count != old.len() {
        return Err(conflict(CHANGED));
    }
    garbage::insert_objects(conn, account, None, &objects).await?;
    Ok((rows, bytes))
}

/// Replaces loose rows and old segments by new ones under the same key.
pub(super) async fn execute_seal(conn: &mut Conn, seal: &SealCommit) -> Attempt<()> {
    let PartitionRef { account, key, .. } = &seal.partition;
    let partition = lock_one(conn, &seal.partition, seal.expected_version).await?;
    let loose_bytes = take_loose(conn, account, *key, &seal.remove_loose).await?;
    let (old_rows, old_bytes) = take_segments(conn, account, *key, &seal.remove_segments).await?;
    let add: Vec<_> = seal.add.iter().map(|segment| (account, *key, segment)).collect();
    partitions::insert_segments(conn, &add).await?;
    garbage::take_over_segments(conn, &add).await?;

    let update = "UPDATE partitions SET version = version + 1, loose_rows = loose_rows - $1, \
                  loose_since = (SELECT MIN(arrived_at) FROM loose WHERE loose.account = $2 AND loose.key = $3), \
                  sealed_rows = sealed_rows + $4, bytes = bytes + $5, segments = segments + $6 \
                  WHERE account = $2 AND class = $7 AND day = $8";
    let added_rows = query::stored(seal.add.iter().map(|segment| segment.rows).sum());
    let added_bytes = query::stored(seal.add.iter().map(|segment| segment.bytes).sum());
    sqlx::query(update)
        .bind(query::stored_len(seal.remove_loose.len()))
        .bind(account.as_str())
        .bind(&key.0[..])
        .bind(added_rows - old_rows)
        .bind(added_bytes - old_bytes - loose_bytes)
        .bind(query::stored_len(add.len()) - query::stored_len(seal.remove_segments.len()))
        .bind(partition.class.as_str())
        .bind(i64::from(partition.day.0))
        .execute(conn)
        .await?;
    Ok(())
}

/// Moves a partition to a new key with new contents; the old key is destroyed.
pub(super) async fn execute_rewrite(conn: &mut Conn, rewrite: &RewriteCommit) -> Attempt<u64> {
    let PartitionRef {
        account, key: old_key, ..
    } = &rewrite.partition;
    let new_key = rewrite.new_key.key;
    query::require_open_account(conn, account).await?;
    query::require_rules(conn, account, rewrite.rules_version).await?;
    keys::insert_keys(conn, std::slice::from_ref(&rewrite.new_key)).await?;
    let partition = lock_one(conn, &rewrite.partition, rewrite.expected_version).await?;
    if partition.loose_rows != rewrite.expected_loose_rows || partition.tombstones != rewrite.expected_tombstones {
        return Err(conflict(CHANGED));
    }
    let add: Vec<_> = rewrite.add.iter().map(|segment| (account, new_key, segment)).collect();
    partitions::insert_segments(conn, &add).await?;
    garbage::take_over_segments(conn, &add).await?;

    let update = "UPDATE partitions SET key = $1, version = version + 1, loose_rows = 0, loose_since = NULL, \
                  sealed_rows = $2, bytes = $3, segments = $4, tombstones = 0, oldest_tombstone_at = NULL \
                  WHERE account = $5 AND class = $6 AND day = $7";
    sqlx::query(update)
        .bind(&new_key.0[..])
        .bind(query::stored(rewrite.add.iter().map(|segment| segment.rows).sum()))
        .bind(query::stored(rewrite.add.iter().map(|segment| segment.bytes).sum()))
        .bind(query::stored_len(add.len()))
        .bind(account.as_str())
        .bind(partition.class.as_str())
        .bind(i64::from(partition.day.0))
        .execute(&mut *conn)
        .await?;
    shred::delete_keys(conn, account, &[*old_key]).await?;
    let index = log::append(conn, Some(account), Some(rewrite.at), &rewrite.leaf).await?;
    garbage::discard_partitions(conn, account, Some(index), &[*old_key]).await?;
    log::insert_destruction(conn, account, index, rewrite.at, &rewrite.leaf.statement, None).await?;
    Ok(index)
}
