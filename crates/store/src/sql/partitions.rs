//! Partitions as they are listed and opened, and what hangs off them.

use std::{collections::BTreeSet, ops::Range};

use async_trait::async_trait;
use callvault_core::{AccountSid, Class, Day, KeyId, ObjectId, Sid, TimeUs};
use sqlx::{AssertSqlSafe, Row as _};

use super::{
    Attempt, Backend, Builder, Conn, LONG, Result, Row, append, commit, dialect, garbage, keys, query, read, shred,
    transact,
};
use crate::{
    Partitions,
    failure::{conflict, damaged},
    rows::{
        GarbageRow, JobRow, KeyRow, LooseRow, NewLeaf, Packed, PartitionRef, PartitionRow, RewriteCommit, SealCommit,
        SegmentInsert, SegmentRow, Shred, Tombstone,
    },
};

/// Columns of a partition, of table `p`.
const PARTITION: &str = "p.account, p.class, p.day, p.key, p.version, p.loose_rows, p.loose_since, p.sealed_rows, \
                         p.bytes, p.segments, p.tombstones, p.oldest_tombstone_at";
/// Packed segments are large; one statement takes this many.
const SEGMENT_PORTION: usize = 64;

pub(super) fn read_partition(row: &Row) -> Attempt<PartitionRow> {
    Ok(PartitionRow {
        account: query::account(row, 0)?,
        class: row
            .try_get::<&str, _>(1)?
            .parse()
            .map_err(|_| damaged("a partition has an unknown class"))?,
        day: Day(i32::try_from(row.try_get::<i64, _>(2)?).map_err(|_| damaged("a day is out of range"))?),
        key: query::key(row, 3)?,
        version: row.try_get(4)?,
        loose_rows: query::count(row, 5)?,
        loose_since: row.try_get::<Option<i64>, _>(6)?.map(TimeUs),
        sealed_rows: query::count(row, 7)?,
        bytes: query::count(row, 8)?,
        segments: query::count(row, 9)?,
        tombstones: query::count(row, 10)?,
        oldest_tombstone_at: row.try_get::<Option<i64>, _>(11)?.map(TimeUs),
    })
}

/// How partitions are sorted wherever several are locked, so that no two transactions wait for each other.
pub(super) fn sort_key(partition: &PartitionRef) -> (&str, &'static str, i32) {
    (partition.account.as_str(), partition.class.as_str(), partition.day.0)
}

/// The partitions among those asked for that exist, whatever their key, in the order of [`sort_key`].
async fn fetch_partitions(conn: &mut Conn, sorted: &[&PartitionRef], lock: &str) -> Attempt<Vec<PartitionRow>> {
    let mut found = Vec::with_capacity(sorted.len());
    for portion in query::by_portion(sorted) {
        let mut select = Builder::new(format!("SELECT {PARTITION} FROM ("));
        select.push_values(portion, |mut values, partition| {
            values
                .push_bind(partition.account.as_str())
                .push_bind(partition.class.as_str())
                .push_bind(i64::from(partition.day.0));
        });
        select.push(
            ") AS v CROSS JOIN partitions AS p \
             WHERE p.account = v.column1 AND p.class = v.column2 AND p.day = v.column3 \
             ORDER BY p.account, p.class, p.day",
        );
        select.push(lock);
        for row in select.build().fetch_all(&mut *conn).await? {
            found.push(read_partition(&row)?);
        }
    }
    Ok(found)
}

fn sorted_once<'r>(partitions: impl Iterator<Item = &'r PartitionRef>) -> Vec<&'r PartitionRef> {
    let mut sorted: Vec<&PartitionRef> = partitions.collect();
    sorted.sort_by_key(|partition| sort_key(partition));
    sorted.dedup_by_key(|partition| sort_key(partition));
    sorted
}

/// Locks partitions until the end of the transaction and returns them sorted, each once.
///
/// Conflicts when one of them no longer has this key.
pub(super) async fn lock_partitions<'r>(
    conn: &mut Conn,
    partitions: impl Iterator<Item = &'r PartitionRef> + Clone,
) -> Attempt<Vec<PartitionRow>> {
    let sorted = sorted_once(partitions.clone());
    let found = fetch_partitions(conn, &sorted, dialect::FOR_UPDATE_OF_P).await?;
    for partition in partitions {
        let place = found
            .binary_search_by(|row| (row.account.as_str(), row.class.as_str(), row.day.0).cmp(&sort_key(partition)));
        match place.ok().and_then(|place| found.get(place)) {
            Some(row) if row.key == partition.key => {}
            _ => return Err(conflict("a partition")),
        }
    }
    Ok(found)
}

/// Returns the partitions in the order asked for, or nothing when some do not exist.
async fn find_opened(conn: &mut Conn, new: &[(PartitionRef, KeyRow)]) -> Attempt<Option<Vec<PartitionRow>>> {
    let sorted = sorted_once(new.iter().map(|(partition, _)| partition));
    let found = fetch_partitions(conn, &sorted, "").await?;
    Ok(new
        .iter()
        .map(|(partition, _)| {
            let place = found.binary_search_by(|row| {
                (row.account.as_str(), row.class.as_str(), row.day.0).cmp(&sort_key(partition))
            });
            place.ok().and_then(|place| found.get(place)).cloned()
        })
        .collect())
}

async fn create_partitions(conn: &mut Conn, new: &[(PartitionRef, KeyRow)]) -> Attempt<Vec<PartitionRow>> {
    if let Some(opened) = find_opened(conn, new).await? {
        return Ok(opened);
    }
    let existing: BTreeSet<(String, String, i32)> = {
        let sorted = sorted_once(new.iter().map(|(partition, _)| partition));
        let found = fetch_partitions(conn, &sorted, "").await?;
        found
            .iter()
            .map(|row| (row.account.to_string(), row.class.to_string(), row.day.0))
            .collect()
    };
    let mut missing: Vec<&(PartitionRef, KeyRow)> = new
        .iter()
        .filter(|(partition, _)| {
            let (account, class, day) = sort_key(partition);
            !existing.contains(&(account.to_owned(), class.to_owned(), day))
        })
        .collect();
    missing.sort_by_key(|(partition, _)| sort_key(partition));
    missing.dedup_by_key(|(partition, _)| sort_key(partition));
    let accounts: BTreeSet<&AccountSid> = missing.iter().map(|(partition, _)| &partition.account).collect();
    for account in accounts {
        query::require_open_account(conn, account).await?;
    }
    let mut created = Vec::new();
    for portion in query::by_portion(&missing) {
        let mut insert = Builder::new(
            "INSERT INTO partitions (account, class, day, key, version, loose_rows, sealed_rows, bytes, segments, \
             tombstones) ",
        );
        insert.push_values(portion, |mut values, (partition, _)| {
            values
                .push_bind(partition.account.as_str())
                .push_bind(partition.class.as_str())
                .push_bind(i64::from(partition.day.0))
                .push_bind(&partition.key.0[..]);
            for _ in 0..6 {
                values.push("0");
            }
        });
        insert.push(" ON CONFLICT DO NOTHING RETURNING key");
        for row in insert.build().fetch_all(&mut *conn).await? {
            created.push(query::key(&row, 0)?);
        }
    }
    let created: BTreeSet<KeyId> = created.into_iter().collect();
    let new_keys: Vec<KeyRow> = missing
        .iter()
        .filter(|(partition, _)| created.contains(&partition.key))
        .map(|(_, key)| key.clone())
        .collect();
    keys::insert_keys(conn, &new_keys).await?;
    find_opened(conn, new).await?.ok_or_else(|| conflict("a partition"))
}

async fn list(conn: &mut Conn, rest: &str, bind: &[&(dyn Bound + Sync)]) -> Attempt<Vec<PartitionRow>> {
    let mut select = sqlx::query(AssertSqlSafe(format!("SELECT {PARTITION} FROM partitions AS p {rest}")));
    for value in bind {
        select = value.bind(select);
    }
    select.fetch_all(conn).await?.iter().map(read_partition).collect()
}

type Query<'q> = sqlx::query::Query<'q, super::Db, <super::Db as sqlx::Database>::Arguments>;

/// A value of a query's condition.
trait Bound {
    fn bind<'q>(&self, query: Query<'q>) -> Query<'q>;
}

impl Bound for i64 {
    fn bind<'q>(&self, query: Query<'q>) -> Query<'q> {
        query.bind(*self)
    }
}

impl Bound for &str {
    fn bind<'q>(&self, query: Query<'q>) -> Query<'q> {
        query.bind((*self).to_owned())
    }
}

async fn list_unsealed(conn: &mut Conn, min_rows: u64, before: Day, limit: u32) -> Attempt<Vec<PartitionRow>> {
    let (min_rows, limit) = (query::stored(min_rows), i64::from(limit));
    let large = "WHERE p.loose_rows > 0 AND p.loose_rows >= $1 ORDER BY p.loose_rows DESC LIMIT $2";
    let mut found = list(conn, large, &[&min_rows, &limit]).await?;
    let rest = limit - query::stored_len(found.len());
    if rest > 0 {
        let ended = "WHERE p.loose_rows > 0 AND p.day < $1 AND p.loose_rows < $2 \
                     ORDER BY p.day, p.account, p.class LIMIT $3";
        found.extend(list(conn, ended, &[&i64::from(before.0), &min_rows, &rest]).await?);
    }
    Ok(found)
}

fn read_loose(row: &Row) -> Attempt<LooseRow> {
    Ok(LooseRow {
        sid: Sid(query::bytes16(row, 0)?),
        at: TimeUs(row.try_get(1)?),
        body: row.try_get(2)?,
    })
}

async fn list_loose(conn: &mut Conn, partition: &PartitionRef) -> Attempt<Vec<LooseRow>> {
    let select = "SELECT sid, at, body FROM loose WHERE account = $1 AND key = $2 ORDER BY sid";
    let rows = sqlx::query(select)
        .bind(partition.account.as_str())
        .bind(&partition.key.0[..])
        .fetch_all(conn)
        .await?;
    rows.iter().map(read_loose).collect()
}

async fn find_loose(conn: &mut Conn, partition: &PartitionRef, sid: Sid) -> Attempt<Option<LooseRow>> {
    let select = "SELECT sid, at, body FROM loose WHERE account = $1 AND key = $2 AND sid = $3";
    let row = sqlx::query(select)
        .bind(partition.account.as_str())
        .bind(&partition.key.0[..])
        .bind(&sid.0[..])
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(read_loose).transpose()
}

/// Adds segments to their partitions' generations.
pub(super) async fn insert_segments(conn: &mut Conn, segments: &[(&AccountSid, KeyId, &SegmentRow)]) -> Attempt<()> {
    for portion in query::portions(segments, SEGMENT_PORTION) {
        let mut insert =
            Builder::new("INSERT INTO segments (account, key, segment, rows, bytes, min_at, max_at, body, locator) ");
        insert.push_values(portion, |mut values, (account, key, segment)| {
            values
                .push_bind(account.as_str())
                .push_bind(&key.0[..])
                .push_bind(&segment.segment.0[..])
                .push_bind(query::stored(segment.rows))
                .push_bind(query::stored(segment.bytes))
                .push_bind(segment.min_at.0)
                .push_bind(segment.max_at.0)
                .push_bind(segment.packed.as_ref().map(|packed| &packed.body[..]))
                .push_bind(segment.packed.as_ref().map(|packed| &packed.locator[..]));
        });
        insert.build().execute(&mut *conn).await?;
    }
    Ok(())
}

/// Columns of a segment, its partition's key last.
const SEGMENT: &str = "segment, rows, bytes, min_at, max_at, body, locator, key";

fn read_segment(row: &Row) -> Attempt<(KeyId, SegmentRow)> {
    let packed = match (
        row.try_get::<Option<Vec<u8>>, _>(5)?,
        row.try_get::<Option<Vec<u8>>, _>(6)?,
    ) {
        (Some(body), Some(locator)) => Some(Packed { body, locator }),
        (None, None) => None,
        _ => return Err(damaged("a segment is packed by half")),
    };
    let segment = SegmentRow {
        segment: ObjectId(query::bytes16(row, 0)?),
        rows: query::count(row, 1)?,
        bytes: query::count(row, 2)?,
        min_at: TimeUs(row.try_get(3)?),
        max_at: TimeUs(row.try_get(4)?),
        packed,
    };
    Ok((query::key(row, 7)?, segment))
}

async fn list_segments(conn: &mut Conn, partition: &PartitionRef) -> Attempt<Vec<SegmentRow>> {
    let found = list_segments_of(conn, &partition.account, &[partition.key]).await?;
    Ok(found.into_iter().map(|(_, segment)| segment).collect())
}

async fn list_segments_of(conn: &mut Conn, account: &AccountSid, keys: &[KeyId]) -> Attempt<Vec<(KeyId, SegmentRow)>> {
    let mut found = Vec::with_capacity(keys.len());
    for portion in query::portions(keys, SEGMENT_PORTION) {
        let mut select = Builder::new(format!("SELECT {SEGMENT} FROM segments WHERE account = "));
        select.push_bind(account.as_str()).push(" AND key IN ");
        query::push_bytes_list(&mut select, portion.iter().map(|key| &key.0[..]));
        select.push(" ORDER BY key, min_at, segment");
        for row in select.build().fetch_all(&mut *conn).await? {
            found.push(read_segment(&row)?);
        }
    }
    found.sort_by_key(|(key, segment)| (*key, segment.min_at, segment.segment));
    Ok(found)
}

async fn list_tombstones(conn: &mut Conn, partition: &PartitionRef) -> Attempt<Vec<Tombstone>> {
    let select = "SELECT sid, at FROM tombstones WHERE account = $1 AND key = $2 ORDER BY sid";
    let rows = sqlx::query(select)
        .bind(partition.account.as_str())
        .bind(&partition.key.0[..])
        .fetch_all(conn)
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Tombstone {
                sid: Sid(query::bytes16(row, 0)?),
                at: TimeUs(row.try_get(1)?),
            })
        })
        .collect()
}

#[async_trait]
impl Partitions for Backend {
    async fn open_partitions(&self, new: &[(PartitionRef, KeyRow)]) -> Result<Vec<PartitionRow>> {
        let opened: Result<Option<Vec<PartitionRow>>> = read!(self, |conn| find_opened(conn, new));
        if let Some(opened) = opened? {
            return Ok(opened);
        }
        transact!(self, |conn| create_partitions(conn, new))
    }

    async fn find_partition(&self, account: &AccountSid, class: Class, day: Day) -> Result<Option<PartitionRow>> {
        let rest = "WHERE p.account = $1 AND p.class = $2 AND p.day = $3";
        let found: Result<Vec<PartitionRow>> = read!(self, |conn| list(
            conn,
            rest,
            &[&account.as_str(), &class.as_str(), &i64::from(day.0)]
        ));
        Ok(found?.pop())
    }

    async fn list_partitions(&self, account: &AccountSid, class: Class, days: Range<Day>) -> Result<Vec<PartitionRow>> {
        let rest = "WHERE p.account = $1 AND p.class = $2 AND p.day >= $3 AND p.day < $4 ORDER BY p.day";
        let (from, to) = (i64::from(days.start.0), i64::from(days.end.0));
        read!(self, |conn| list(
            conn,
            rest,
            &[&account.as_str(), &class.as_str(), &from, &to]
        ))
    }

    async fn list_partitions_before(&self, class: Class, before: Day, limit: u32) -> Result<Vec<PartitionRow>> {
        let rest = "WHERE p.class = $1 AND p.day < $2 ORDER BY p.day, p.account LIMIT $3";
        read!(self, |conn| list(
            conn,
            rest,
            &[&class.as_str(), &i64::from(before.0), &i64::from(limit)]
        ))
    }

    async fn list_unsealed(&self, min_rows: u64, before: Day, limit: u32) -> Result<Vec<PartitionRow>> {
        read!(self, |conn| list_unsealed(conn, min_rows, before, limit))
    }

    async fn list_tombstoned(&self, until: TimeUs, limit: u32) -> Result<Vec<PartitionRow>> {
        let rest = "WHERE p.oldest_tombstone_at <= $1 ORDER BY p.oldest_tombstone_at LIMIT $2";
        read!(self, |conn| list(conn, rest, &[&until.0, &i64::from(limit)]))
    }

    async fn list_fragmented(&self, segments: u64, limit: u32) -> Result<Vec<PartitionRow>> {
        let rest = "WHERE p.segments > 0 AND p.segments > $1 ORDER BY p.segments DESC LIMIT $2";
        read!(self, |conn| list(
            conn,
            rest,
            &[&query::stored(segments), &i64::from(limit)]
        ))
    }

    async fn append_loose(&self, at: TimeUs, rows: &[(PartitionRef, LooseRow)]) -> Result<Vec<bool>> {
        transact!(self, LONG, |conn| append::execute_append(conn, at, rows))
    }

    async fn list_loose(&self, partition: &PartitionRef) -> Result<Vec<LooseRow>> {
        read!(self, |conn| list_loose(conn, partition))
    }

    async fn find_loose(&self, partition: &PartitionRef, sid: Sid) -> Result<Option<LooseRow>> {
        read!(self, |conn| find_loose(conn, partition, sid))
    }

    async fn list_segments(&self, partition: &PartitionRef) -> Result<Vec<SegmentRow>> {
        read!(self, |conn| list_segments(conn, partition))
    }

    async fn list_segments_of(&self, account: &AccountSid, keys: &[KeyId]) -> Result<Vec<(KeyId, SegmentRow)>> {
        read!(self, |conn| list_segments_of(conn, account, keys))
    }

    async fn list_tombstones(&self, partition: &PartitionRef) -> Result<Vec<Tombstone>> {
        read!(self, |conn| list_tombstones(conn, partition))
    }

    async fn insert_segments(&self, segments: &[SegmentInsert], progress: Option<&JobRow>) -> Result<()> {
        transact!(self, LONG, |conn| append::execute_insert_segments(
            conn, segments, progress
        ))
    }

    async fn seal(&self, seal: &SealCommit) -> Result<()> {
        transact!(self, LONG, |conn| commit::execute_seal(conn, seal))
    }

    async fn rewrite(&self, rewrite: &RewriteCommit) -> Result<u64> {
        transact!(self, LONG, |conn| commit::execute_rewrite(conn, rewrite))
    }

    async fn erase(
        &self,
        account: &AccountSid,
        rules_version: i64,
        rows: &[(PartitionRef, Tombstone)],
        leaf: &NewLeaf,
    ) -> Result<u64> {
        let rules = (account, rules_version);
        transact!(self, LONG, |conn| append::execute_erase(conn, rules, rows, leaf))
    }

    async fn hide(&self, rows: &[(PartitionRef, Tombstone)]) -> Result<()> {
        let hidden: Result<Vec<PartitionRow>> = transact!(self, LONG, |conn| append::execute_hide(conn, rows));
        hidden.map(|_| ())
    }

    async fn shred(&self, shred: &Shred) -> Result<u64> {
        transact!(self, LONG, |conn| shred::execute_shred(conn, shred))
    }

    async fn list_garbage(&self, limit: u32) -> Result<Vec<GarbageRow>> {
        read!(self, |conn| garbage::list_garbage(conn, limit))
    }

    async fn purge_rows(&self, account: &AccountSid, key: KeyId, limit: u32) -> Result<bool> {
        transact!(self, LONG, |conn| garbage::execute_purge_rows(
            conn, account, key, limit
        ))
    }

    async fn drop_garbage(&self, ids: &[i64], at: TimeUs) -> Result<()> {
        transact!(self, LONG, |conn| garbage::execute_drop_garbage(conn, ids, at))
    }

    async fn stage_objects(&self, names: &[String], at: TimeUs) -> Result<()> {
        transact!(self, |conn| garbage::execute_stage(conn, names, at))
    }

    async fn list_staged(&self, before: TimeUs, limit: u32) -> Result<Vec<String>> {
        transact!(self, |conn| garbage::execute_list_staged(conn, before, limit))
    }

    async fn unstage_objects(&self, names: &[String]) -> Result<()> {
        transact!(self, |conn| garbage::execute_unstage(conn, names))
    }
}
