//! Jobs with leases. A lease is known by who holds it and by how often the job was begun.

use async_trait::async_trait;
use callvault_core::{AccountSid, TimeUs};
use sqlx::{AssertSqlSafe, Row as _};

use super::{Attempt, Backend, Builder, Conn, Result, Row, dialect, query, read, transact};
use crate::{
    Jobs, StoreError,
    failure::{conflict, damaged},
    rows::{JobRow, JobState},
};

const JOB: &str = "id, account, kind, body, run_at, lease_until, leased_by, attempts, state, error, created_at";

fn state_text(state: JobState) -> &'static str {
    match state {
        JobState::Open => "open",
        JobState::Done => "done",
        JobState::Failed => "failed",
    }
}

fn read_job(row: &Row) -> Attempt<JobRow> {
    let account: Option<&str> = row.try_get(1)?;
    let account = account.map(str::parse::<AccountSid>).transpose();
    Ok(JobRow {
        id: row.try_get(0)?,
        account: account.map_err(|_| damaged("an account's name has another form"))?,
        kind: row.try_get(2)?,
        body: row.try_get(3)?,
        run_at: TimeUs(row.try_get(4)?),
        lease_until: row.try_get::<Option<i64>, _>(5)?.map(TimeUs),
        leased_by: row.try_get(6)?,
        attempts: row.try_get(7)?,
        state: match row.try_get::<&str, _>(8)? {
            "open" => JobState::Open,
            "done" => JobState::Done,
            "failed" => JobState::Failed,
            _ => return Err(damaged("a job has an unknown state")),
        },
        error: row.try_get(9)?,
        created_at: TimeUs(row.try_get(10)?),
    })
}

/// Adds a job unless one of its id is there.
pub(super) async fn insert_job(conn: &mut Conn, job: &JobRow) -> Attempt<()> {
    let insert = "INSERT INTO jobs \
                  (id, account, kind, body, run_at, lease_until, leased_by, attempts, state, error, created_at) \
                  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING";
    sqlx::query(insert)
        .bind(&job.id)
        .bind(job.account.as_ref().map(AccountSid::as_str))
        .bind(&job.kind)
        .bind(&job.body)
        .bind(job.run_at.0)
        .bind(job.lease_until.map(|at| at.0))
        .bind(&job.leased_by)
        .bind(job.attempts)
        .bind(state_text(job.state))
        .bind(&job.error)
        .bind(job.created_at.0)
        .execute(conn)
        .await?;
    Ok(())
}

async fn insert_jobs(conn: &mut Conn, jobs: &[JobRow]) -> Attempt<()> {
    for job in jobs {
        insert_job(conn, job).await?;
    }
    Ok(())
}

async fn enqueue(conn: &mut Conn, job: &JobRow) -> Attempt<JobRow> {
    insert_job(conn, job).await?;
    find_job(conn, &job.id)
        .await?
        .ok_or_else(|| StoreError::NotFound { what: "job" }.into())
}

async fn find_job(conn: &mut Conn, id: &str) -> Attempt<Option<JobRow>> {
    let select = format!("SELECT {JOB} FROM jobs WHERE id = $1");
    let row = sqlx::query(AssertSqlSafe(select)).bind(id).fetch_optional(conn).await?;
    row.as_ref().map(read_job).transpose()
}

async fn begin_lease(conn: &mut Conn, id: &str, worker: &str, until: TimeUs) -> Attempt<Option<JobRow>> {
    let update = format!(
        "UPDATE jobs SET leased_by = $1, lease_until = $2, attempts = attempts + 1 WHERE id = $3 RETURNING {JOB}"
    );
    let row = sqlx::query(AssertSqlSafe(update))
        .bind(worker)
        .bind(until.0)
        .bind(id)
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(read_job).transpose()
}

async fn lease(conn: &mut Conn, kinds: &[&str], worker: &str, now: TimeUs, until: TimeUs) -> Attempt<Option<JobRow>> {
    if kinds.is_empty() {
        return Ok(None);
    }
    let mut select = Builder::new("SELECT id FROM jobs WHERE state = 'open' AND run_at <= ");
    select
        .push_bind(now.0)
        .push(" AND (lease_until IS NULL OR lease_until <= ")
        .push_bind(now.0);
    select.push(") AND kind IN ");
    query::push_text_list(&mut select, kinds.iter().copied());
    select.push(" ORDER BY run_at, id LIMIT 1").push(dialect::SKIP_LOCKED);
    match select.build().fetch_optional(&mut *conn).await? {
        Some(row) => begin_lease(conn, row.try_get(0)?, worker, until).await,
        None => Ok(None),
    }
}

async fn lease_job(conn: &mut Conn, id: &str, worker: &str, now: TimeUs, until: TimeUs) -> Attempt<Option<JobRow>> {
    let select = format!(
        "SELECT id FROM jobs WHERE id = $1 AND state = 'open' AND run_at <= $2 \
         AND (lease_until IS NULL OR lease_until <= $2){}",
        dialect::SKIP_LOCKED
    );
    match sqlx::query(AssertSqlSafe(select))
        .bind(id)
        .bind(now.0)
        .fetch_optional(&mut *conn)
        .await?
    {
        Some(_) => begin_lease(conn, id, worker, until).await,
        None => Ok(None),
    }
}

/// Stores a leased job's progress.
pub(super) async fn renew(conn: &mut Conn, job: &JobRow) -> Attempt<()> {
    let update = "UPDATE jobs SET body = $1, lease_until = $2, error = $3 \
                  WHERE id = $4 AND leased_by = $5 AND attempts = $6 AND state = 'open'";
    let done = sqlx::query(update)
        .bind(&job.body)
        .bind(job.lease_until.map(|at| at.0))
        .bind(&job.error)
        .bind(&job.id)
        .bind(&job.leased_by)
        .bind(job.attempts)
        .execute(conn)
        .await?;
    if done.rows_affected() == 1 {
        Ok(())
    } else {
        Err(conflict("a job's lease"))
    }
}

async fn release(conn: &mut Conn, job: &JobRow) -> Attempt<()> {
    let update = "UPDATE jobs SET body = $1, run_at = $2, state = $3, error = $4, lease_until = NULL, leased_by = NULL \
                  WHERE id = $5 AND leased_by = $6 AND attempts = $7 AND state = 'open'";
    let done = sqlx::query(update)
        .bind(&job.body)
        .bind(job.run_at.0)
        .bind(state_text(job.state))
        .bind(&job.error)
        .bind(&job.id)
        .bind(&job.leased_by)
        .bind(job.attempts)
        .execute(conn)
        .await?;
    if done.rows_affected() == 1 {
        Ok(())
    } else {
        Err(conflict("a job's lease"))
    }
}

async fn list_jobs(conn: &mut Conn, kind: &str, state: JobState, limit: u32) -> Attempt<Vec<JobRow>> {
    let select = format!("SELECT {JOB} FROM jobs WHERE kind = $1 AND state = $2 ORDER BY created_at, id LIMIT $3");
    let rows = sqlx::query(AssertSqlSafe(select))
        .bind(kind)
        .bind(state_text(state))
        .bind(i64::from(limit))
        .fetch_all(conn)
        .await?;
    rows.iter().map(read_job).collect()
}

#[async_trait]
impl Jobs for Backend {
    async fn enqueue(&self, job: &JobRow) -> Result<JobRow> {
        transact!(self, |conn| enqueue(conn, job))
    }

    async fn lease(&self, kinds: &[&str], worker: &str, now: TimeUs, until: TimeUs) -> Result<Option<JobRow>> {
        transact!(self, |conn| lease(conn, kinds, worker, now, until))
    }

    async fn lease_job(&self, id: &str, worker: &str, now: TimeUs, until: TimeUs) -> Result<Option<JobRow>> {
        transact!(self, |conn| lease_job(conn, id, worker, now, until))
    }

    async fn renew(&self, job: &JobRow) -> Result<()> {
        transact!(self, |conn| renew(conn, job))
    }

    async fn enqueue_all(&self, jobs: &[JobRow]) -> Result<()> {
        transact!(self, |conn| insert_jobs(conn, jobs))
    }

    async fn release(&self, job: &JobRow) -> Result<()> {
        transact!(self, |conn| release(conn, job))
    }

    async fn find_job(&self, id: &str) -> Result<Option<JobRow>> {
        read!(self, |conn| find_job(conn, id))
    }

    async fn list_jobs(&self, kind: &str, state: JobState, limit: u32) -> Result<Vec<JobRow>> {
        read!(self, |conn| list_jobs(conn, kind, state, limit))
    }
}
