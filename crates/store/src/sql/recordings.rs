//! Recordings.

use async_trait::async_trait;
use callvault_core::{AccountSid, Day, ObjectId, Sid, TimeUs};
use sqlx::{AssertSqlSafe, Row as _};

use super::{Attempt, Backend, Builder, Conn, Result, Row, accounts, garbage, keys, query, read, transact};
use crate::{
    Recordings,
    catalog::object_names,
    failure::{conflict, damaged},
    rows::{KeyRow, RecordingDay, RecordingQuery, RecordingRow},
};

/// Columns of a recording, of table `r`.
const RECORDING: &str = "r.account, r.sid, r.call_sid, r.at, r.kept_since, r.key, r.object, r.bytes, r.party_a, \
                         r.party_b, r.meta";

fn read_recording(row: &Row) -> Attempt<RecordingRow> {
    let call_sid: Option<&[u8]> = row.try_get(2)?;
    let call_sid = call_sid.map(<[u8; 16]>::try_from).transpose();
    Ok(RecordingRow {
        account: query::account(row, 0)?,
        sid: Sid(query::bytes16(row, 1)?),
        call_sid: call_sid.map_err(|_| damaged("an id has another length"))?.map(Sid),
        at: TimeUs(row.try_get(3)?),
        kept_since: TimeUs(row.try_get(4)?),
        key: query::key(row, 5)?,
        object: ObjectId(query::bytes16(row, 6)?),
        bytes: query::count(row, 7)?,
        parties: [query::bytes16(row, 8)?, query::bytes16(row, 9)?],
        meta: row.try_get(10)?,
    })
}

async fn insert_recording(conn: &mut Conn, recording: &RecordingRow, key: &KeyRow, unless: &str) -> Attempt<()> {
    query::require_open_account(conn, &recording.account).await?;
    keys::insert_keys(conn, std::slice::from_ref(key)).await?;
    let insert = "INSERT INTO recordings \
                  (account, sid, call_sid, at, kept_since, key, object, bytes, party_a, party_b, meta) \
                  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING";
    let [party_a, party_b] = &recording.parties;
    let done = sqlx::query(insert)
        .bind(recording.account.as_str())
        .bind(&recording.sid.0[..])
        .bind(recording.call_sid.as_ref().map(|sid| &sid.0[..]))
        .bind(recording.at.0)
        .bind(recording.kept_since.0)
        .bind(&recording.key.0[..])
        .bind(&recording.object.0[..])
        .bind(query::stored(recording.bytes))
        .bind(&party_a[..])
        .bind(&party_b[..])
        .bind(&recording.meta)
        .execute(&mut *conn)
        .await?;
    if done.rows_affected() == 0 {
        return Err(conflict("a recording of this SID"));
    }
    // After the insert: a deletion sets its mark with the row that it removes, so whoever finds no row finds the mark.
    if accounts::find_value(conn, unless).await?.is_some() {
        return Err(conflict("a recording that was deleted"));
    }
    let upsert = "INSERT INTO recording_days (account, day, count, bytes) VALUES ($1, $2, 1, $3) \
                  ON CONFLICT (account, day) DO UPDATE SET count = recording_days.count + 1, \
                  bytes = recording_days.bytes + excluded.bytes";
    sqlx::query(upsert)
        .bind(recording.account.as_str())
        .bind(i64::from(recording.at.day().0))
        .bind(query::stored(recording.bytes))
        .execute(&mut *conn)
        .await?;
    garbage::take_over(conn, &[object_names::recording(&recording.account, recording.object)]).await
}

async fn find_recording(conn: &mut Conn, account: &AccountSid, sid: Sid) -> Attempt<Option<RecordingRow>> {
    let select = format!("SELECT {RECORDING} FROM recordings AS r WHERE r.account = $1 AND r.sid = $2");
    let row = sqlx::query(AssertSqlSafe(select))
        .bind(account.as_str())
        .bind(&sid.0[..])
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(read_recording).transpose()
}

/// Builds the query. A party is looked up in both columns first, so that the work follows the matches.
pub(super) fn plan_list(account: &AccountSid, wanted: &RecordingQuery) -> Builder {
    let mut select = Builder::new(format!("SELECT {RECORDING} FROM "));
    if let Some(party) = &wanted.party {
        select
            .push("(SELECT sid FROM recordings WHERE account = ")
            .push_bind(account.as_str());
        select.push(" AND party_a = ").push_bind(&party[..]);
        select
            .push(" UNION SELECT sid FROM recordings WHERE account = ")
            .push_bind(account.as_str());
        select.push(" AND party_b = ").push_bind(&party[..]);
        select.push(") AS m CROSS JOIN recordings AS r WHERE r.sid = m.sid AND r.account = ");
    } else {
        select.push("recordings AS r WHERE r.account = ");
    }
    select.push_bind(account.as_str());
    if let Some(call) = &wanted.call_sid {
        select
            .push(" AND r.call_sid IS NOT NULL AND r.call_sid = ")
            .push_bind(&call.0[..]);
    }
    if !wanted.call_sids.is_empty() {
        select.push(" AND r.call_sid IS NOT NULL AND r.call_sid IN ");
        query::push_bytes_list(&mut select, wanted.call_sids.iter().map(|call| &call.0[..]));
    }
    if let Some(from) = wanted.from {
        select.push(" AND r.at >= ").push_bind(from.0);
    }
    if let Some(to) = wanted.to {
        select.push(" AND r.at < ").push_bind(to.0);
    }
    if let Some((at, sid)) = &wanted.after {
        select.push(if wanted.newest_first {
            " AND (r.at, r.sid) < ("
        } else {
            " AND (r.at, r.sid) > ("
        });
        select.push_bind(at.0).push(", ").push_bind(&sid.0[..]).push(")");
    }
    let order = if wanted.newest_first {
        "r.at DESC, r.sid DESC"
    } else {
        "r.at, r.sid"
    };
    select
        .push(format!(" ORDER BY {order} LIMIT "))
        .push_bind(i64::from(wanted.limit));
    select
}

async fn list_recordings(conn: &mut Conn, account: &AccountSid, wanted: &RecordingQuery) -> Attempt<Vec<RecordingRow>> {
    let rows = plan_list(account, wanted).build().fetch_all(conn).await?;
    rows.iter().map(read_recording).collect()
}

async fn list_recording_days(conn: &mut Conn, account: &AccountSid) -> Attempt<Vec<RecordingDay>> {
    let select = "SELECT day, count, bytes FROM recording_days WHERE account = $1 ORDER BY day";
    let rows = sqlx::query(select).bind(account.as_str()).fetch_all(conn).await?;
    rows.iter()
        .map(|row| {
            let day = i32::try_from(row.try_get::<i64, _>(0)?).map_err(|_| damaged("a day is out of range"))?;
            Ok(RecordingDay {
                day: Day(day),
                count: query::count(row, 1)?,
                bytes: query::count(row, 2)?,
            })
        })
        .collect()
}

#[async_trait]
impl Recordings for Backend {
    async fn insert_recording(&self, recording: &RecordingRow, key: &KeyRow, unless: &str) -> Result<()> {
        transact!(self, |conn| insert_recording(conn, recording, key, unless))
    }

    async fn find_recording(&self, account: &AccountSid, sid: Sid) -> Result<Option<RecordingRow>> {
        read!(self, |conn| find_recording(conn, account, sid))
    }

    async fn list_recordings(&self, account: &AccountSid, query: &RecordingQuery) -> Result<Vec<RecordingRow>> {
        read!(self, |conn| list_recordings(conn, account, query))
    }

    async fn list_recording_days(&self, account: &AccountSid) -> Result<Vec<RecordingDay>> {
        read!(self, |conn| list_recording_days(conn, account))
    }
}
