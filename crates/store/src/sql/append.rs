//! What is added to opened partitions: loose rows, segments of an import, tombstones.

use std::collections::{HashMap, HashSet};

use callvault_core::{AccountSid, KeyId, Sid, TimeUs};

use super::{Attempt, Builder, Conn, garbage, jobs, log, partitions, query};
use crate::{
    failure::conflict,
    rows::{JobRow, LooseRow, NewLeaf, PartitionRef, PartitionRow, SegmentInsert, SegmentRow, Tombstone},
};

/// Adds rows and says for each whether it was new.
pub(super) async fn execute_append(
    conn: &mut Conn,
    at: TimeUs,
    rows: &[(PartitionRef, LooseRow)],
) -> Attempt<Vec<bool>> {
    let locked = partitions::lock_partitions(conn, rows.iter().map(|(partition, _)| partition)).await?;
    let mut fresh = Vec::with_capacity(rows.len());
    let mut added: HashMap<KeyId, (u64, u64)> = HashMap::new();
    for portion in query::by_portion(rows) {
        let mut inserted = insert_loose(conn, at, portion).await?;
        for (partition, row) in portion {
            let new = inserted.remove(&(partition.key, row.sid));
            if new {
                let (count, bytes) = added.entry(partition.key).or_default();
                *count += 1;
                *bytes += row.body.len() as u64;
            }
            fresh.push(new);
        }
    }
    let update = "UPDATE partitions SET loose_rows = loose_rows + $1, bytes = bytes + $2, \
                  loose_since = CASE WHEN loose_since <= $3 THEN loose_since ELSE $3 END \
                  WHERE account = $4 AND class = $5 AND day = $6";
    for partition in &locked {
        let Some((count, bytes)) = added.get(&partition.key) else {
            continue;
        };
        sqlx::query(update)
            .bind(query::stored(*count))
            .bind(query::stored(*bytes))
            .bind(at.0)
            .bind(partition.account.as_str())
            .bind(partition.class.as_str())
            .bind(i64::from(partition.day.0))
            .execute(&mut *conn)
            .await?;
    }
    Ok(fresh)
}

async fn insert_loose(
    conn: &mut Conn,
    at: TimeUs,
    rows: &[(PartitionRef, LooseRow)],
) -> Attempt<HashSet<(KeyId, Sid)>> {
    let mut insert = Builder::new("INSERT INTO loose (account, key, sid, at, arrived_at, body) ");
    insert.push_values(rows, |mut values, (partition, row)| {
        values
            .push_bind(partition.account.as_str())
            .push_bind(&partition.key.0[..])
            .push_bind(&row.sid.0[..])
            .push_bind(row.at.0)
            .push_bind(at.0)
            .push_bind(&row.body);
    });
    insert.push(" ON CONFLICT DO NOTHING RETURNING key, sid");
    let inserted = insert.build().fetch_all(conn).await?;
    inserted
        .iter()
        .map(|row| Ok((query::key(row, 0)?, Sid(query::bytes16(row, 1)?))))
        .collect()
}

/// Adds segments of an import, with the import's progress.
pub(super) async fn execute_insert_segments(
    conn: &mut Conn,
    inserts: &[SegmentInsert],
    progress: Option<&JobRow>,
) -> Attempt<()> {
    let locked = partitions::lock_partitions(conn, inserts.iter().map(|insert| &insert.partition)).await?;
    let rows: Vec<(&AccountSid, KeyId, &SegmentRow)> = inserts
        .iter()
        .map(|insert| (&insert.partition.account, insert.partition.key, &insert.segment))
        .collect();
    partitions::insert_segments(conn, &rows).await?;
    garbage::take_over_segments(conn, &rows).await?;
    let mut counts = Vec::with_capacity(locked.len());
    for partition in &locked {
        let of = |segment: &&SegmentInsert| segment.partition.key == partition.key;
        let segments = || inserts.iter().filter(of).map(|insert| &insert.segment);
        counts.push((
            partition,
            query::stored(segments().map(|segment| segment.rows).sum()),
            query::stored(segments().map(|segment| segment.bytes).sum()),
            query::stored_len(segments().count()),
        ));
    }
    count_segments(conn, &counts).await?;
    match progress {
        Some(job) => jobs::renew(conn, job).await,
        None => Ok(()),
    }
}

/// Adds rows, bytes and segments to partitions.
async fn count_segments(conn: &mut Conn, counts: &[(&PartitionRow, i64, i64, i64)]) -> Attempt<()> {
    for portion in query::by_portion(counts) {
        let mut update = Builder::new(
            "UPDATE partitions SET version = version + 1, sealed_rows = sealed_rows + v.column4, \
             bytes = bytes + v.column5, segments = segments + v.column6 FROM (",
        );
        update.push_values(portion, |mut values, (partition, rows, bytes, segments)| {
            values
                .push_bind(partition.account.as_str())
                .push_bind(partition.class.as_str())
                .push_bind(i64::from(partition.day.0))
                .push_bind(*rows)
                .push_bind(*bytes)
                .push_bind(*segments);
        });
        update.push(") AS v WHERE account = v.column1 AND class = v.column2 AND day = v.column3");
        update.build().execute(&mut *conn).await?;
    }
    Ok(())
}

/// Hides rows; one that is hidden stays so. Returns the partitions, locked.
pub(super) async fn execute_hide(conn: &mut Conn, rows: &[(PartitionRef, Tombstone)]) -> Attempt<Vec<PartitionRow>> {
    let locked = partitions::lock_partitions(conn, rows.iter().map(|(partition, _)| partition)).await?;
    let mut hidden: HashMap<KeyId, (u64, TimeUs)> = HashMap::new();
    for portion in query::by_portion(rows) {
        let mut insert = Builder::new("INSERT INTO tombstones (account, key, sid, at) ");
        insert.push_values(portion, |mut values, (partition, tombstone)| {
            values
                .push_bind(partition.account.as_str())
                .push_bind(&partition.key.0[..])
                .push_bind(&tombstone.sid.0[..])
                .push_bind(tombstone.at.0);
        });
        insert.push(" ON CONFLICT DO NOTHING RETURNING key, at");
        for row in insert.build().fetch_all(&mut *conn).await? {
            let at = TimeUs(sqlx::Row::try_get(&row, 1)?);
            let (count, oldest) = hidden.entry(query::key(&row, 0)?).or_insert((0, at));
            *count += 1;
            *oldest = at.min(*oldest);
        }
    }
    let update = "UPDATE partitions SET tombstones = tombstones + $1, oldest_tombstone_at = \
                  CASE WHEN oldest_tombstone_at <= $2 THEN oldest_tombstone_at ELSE $2 END \
                  WHERE account = $3 AND class = $4 AND day = $5";
    for partition in &locked {
        let Some((count, oldest)) = hidden.get(&partition.key) else {
            continue;
        };
        sqlx::query(update)
            .bind(query::stored(*count))
            .bind(oldest.0)
            .bind(partition.account.as_str())
            .bind(partition.class.as_str())
            .bind(i64::from(partition.day.0))
            .execute(&mut *conn)
            .await?;
    }
    Ok(locked)
}

/// Hides rows, and remembers which partitions have to be rewritten before the leaf is done.
pub(super) async fn execute_erase(
    conn: &mut Conn,
    (account, rules_version): (&AccountSid, i64),
    rows: &[(PartitionRef, Tombstone)],
    leaf: &NewLeaf,
) -> Attempt<u64> {
    query::require_rules(conn, account, rules_version).await?;
    if rows.iter().any(|(partition, _)| partition.account != *account) {
        return Err(conflict("a partition of another account"));
    }
    let locked = execute_hide(conn, rows).await?;
    let at = rows.iter().map(|(_, tombstone)| tombstone.at).max().unwrap_or_default();
    let index = log::append(conn, Some(account), Some(at), leaf).await?;
    let purged_at = locked.is_empty().then_some(at);
    log::insert_destruction(conn, account, index, at, &leaf.statement, purged_at).await?;
    for portion in query::by_portion(&locked) {
        let mut insert = Builder::new("INSERT INTO erasures (account, leaf, key) ");
        insert.push_values(portion, |mut values, partition| {
            values
                .push_bind(account.as_str())
                .push_bind(query::stored(index))
                .push_bind(&partition.key.0[..]);
        });
        insert.build().execute(&mut *conn).await?;
    }
    Ok(index)
}
