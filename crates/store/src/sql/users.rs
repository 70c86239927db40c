//! Users, sessions, challenges. The operator's users are those of the account without a name.

use callvault_core::{AccountSid, TimeUs, id::UserId};
use sqlx::{AssertSqlSafe, Row as _};

use super::{Attempt, Conn, Row, credentials, query};
use crate::{
    failure::{conflict, damaged},
    rows::{ChallengeRow, SessionRow, UserRow},
};

const USER: &str = "account, id, email, role, created_at, joined_at, disabled_at, body, version";
const SESSION: &str = "account, hash, user_id, created_at, seen_at, note";

fn stored(account: Option<&AccountSid>) -> &str {
    account.map_or("", AccountSid::as_str)
}

fn account(row: &Row) -> Attempt<Option<AccountSid>> {
    match row.try_get::<&str, _>(0)? {
        "" => Ok(None),
        _ => query::account(row, 0).map(Some),
    }
}

fn hash(row: &Row, column: usize) -> Attempt<[u8; 32]> {
    row.try_get::<&[u8], _>(column)?
        .try_into()
        .map_err(|_| damaged("a hash has another length"))
}

fn read_user(row: &Row) -> Attempt<UserRow> {
    let time = |column: usize| row.try_get::<Option<i64>, _>(column).map(|at| at.map(TimeUs));
    Ok(UserRow {
        account: account(row)?,
        id: UserId(query::bytes16(row, 1)?),
        email: query::bytes16(row, 2)?,
        role: row.try_get(3)?,
        created_at: TimeUs(row.try_get(4)?),
        joined_at: time(5)?,
        disabled_at: time(6)?,
        body: row.try_get(7)?,
        version: row.try_get(8)?,
    })
}

fn read_session(row: &Row) -> Attempt<SessionRow> {
    Ok(SessionRow {
        account: account(row)?,
        hash: hash(row, 1)?,
        user: UserId(query::bytes16(row, 2)?),
        created_at: TimeUs(row.try_get(3)?),
        seen_at: TimeUs(row.try_get(4)?),
        note: row.try_get(5)?,
    })
}

pub(super) async fn insert_user(conn: &mut Conn, user: &UserRow) -> Attempt<()> {
    if let Some(account) = &user.account {
        query::require_open_account(conn, account).await?;
    }
    let insert =
        format!("INSERT INTO users ({USER}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING");
    let done = sqlx::query(AssertSqlSafe(insert))
        .bind(stored(user.account.as_ref()))
        .bind(&user.id.0[..])
        .bind(&user.email[..])
        .bind(&user.role)
        .bind(user.created_at.0)
        .bind(user.joined_at.map(|at| at.0))
        .bind(user.disabled_at.map(|at| at.0))
        .bind(&user.body)
        .bind(user.version)
        .execute(conn)
        .await?;
    match done.rows_affected() {
        0 => Err(conflict("a user of this address")),
        _ => Ok(()),
    }
}

pub(super) async fn find_user(conn: &mut Conn, account: Option<&AccountSid>, id: UserId) -> Attempt<Option<UserRow>> {
    let select = format!("SELECT {USER} FROM users WHERE account = $1 AND id = $2");
    let row = sqlx::query(AssertSqlSafe(select))
        .bind(stored(account))
        .bind(&id.0[..])
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(read_user).transpose()
}

pub(super) async fn find_user_by_email(
    conn: &mut Conn,
    account: Option<&AccountSid>,
    email: [u8; 16],
) -> Attempt<Option<UserRow>> {
    let select = format!("SELECT {USER} FROM users WHERE account = $1 AND email = $2");
    let row = sqlx::query(AssertSqlSafe(select))
        .bind(stored(account))
        .bind(&email[..])
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(read_user).transpose()
}

pub(super) async fn list_users(conn: &mut Conn, account: Option<&AccountSid>) -> Attempt<Vec<UserRow>> {
    let select = format!("SELECT {USER} FROM users WHERE account = $1 ORDER BY id");
    let rows = sqlx::query(AssertSqlSafe(select))
        .bind(stored(account))
        .fetch_all(conn)
        .await?;
    rows.iter().map(read_user).collect()
}

pub(super) async fn put_user(conn: &mut Conn, user: &UserRow, now: TimeUs, ends_sessions: bool) -> Attempt<()> {
    let ways = match &user.account {
        Some(account) => credentials::lock_owner(conn, account, now).await?,
        None => 0,
    };
    let update = "UPDATE users SET email = $1, role = $2, joined_at = $3, disabled_at = $4, body = $5, \
                  version = version + 1 WHERE account = $6 AND id = $7 AND version = $8";
    let done = sqlx::query(update)
        .bind(&user.email[..])
        .bind(&user.role)
        .bind(user.joined_at.map(|at| at.0))
        .bind(user.disabled_at.map(|at| at.0))
        .bind(&user.body)
        .bind(stored(user.account.as_ref()))
        .bind(&user.id.0[..])
        .bind(user.version)
        .execute(&mut *conn)
        .await?;
    if done.rows_affected() == 0 {
        return Err(conflict("a user"));
    }
    if ends_sessions {
        delete_sessions_of(conn, user.account.as_ref(), user.id).await?;
    }
    match &user.account {
        Some(account) => credentials::require_owner(conn, account, now, ways).await,
        None => Ok(()),
    }
}

async fn delete_sessions_of(conn: &mut Conn, account: Option<&AccountSid>, id: UserId) -> Attempt<()> {
    for delete in [
        "DELETE FROM sessions WHERE account = $1 AND user_id = $2",
        "DELETE FROM challenges WHERE account = $1 AND user_id = $2",
    ] {
        sqlx::query(delete)
            .bind(stored(account))
            .bind(&id.0[..])
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

pub(super) async fn delete_user(
    conn: &mut Conn,
    account: Option<&AccountSid>,
    id: UserId,
    now: TimeUs,
) -> Attempt<bool> {
    let ways = match account {
        Some(account) => credentials::lock_owner(conn, account, now).await?,
        None => 0,
    };
    delete_sessions_of(conn, account, id).await?;
    let done = sqlx::query("DELETE FROM users WHERE account = $1 AND id = $2")
        .bind(stored(account))
        .bind(&id.0[..])
        .execute(&mut *conn)
        .await?;
    if let Some(account) = account {
        credentials::require_owner(conn, account, now, ways).await?;
    }
    Ok(done.rows_affected() == 1)
}

pub(super) async fn insert_session(conn: &mut Conn, session: &SessionRow, replaces: Option<&[u8; 32]>) -> Attempt<()> {
    if let Some(hash) = replaces {
        delete_session(conn, hash).await?;
    }
    let user = find_user(conn, session.account.as_ref(), session.user).await?;
    if user.is_none_or(|user| user.disabled_at.is_some()) {
        return Err(conflict("a user who is gone or disabled"));
    }
    let insert = format!("INSERT INTO sessions ({SESSION}) VALUES ($1, $2, $3, $4, $5, $6)");
    sqlx::query(AssertSqlSafe(insert))
        .bind(stored(session.account.as_ref()))
        .bind(&session.hash[..])
        .bind(&session.user.0[..])
        .bind(session.created_at.0)
        .bind(session.seen_at.0)
        .bind(&session.note)
        .execute(conn)
        .await?;
    Ok(())
}

pub(super) async fn find_session(conn: &mut Conn, hash: &[u8; 32]) -> Attempt<Option<SessionRow>> {
    let select = format!("SELECT {SESSION} FROM sessions WHERE hash = $1");
    let row = sqlx::query(AssertSqlSafe(select))
        .bind(&hash[..])
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(read_session).transpose()
}

pub(super) async fn list_sessions(
    conn: &mut Conn,
    account: Option<&AccountSid>,
    user: UserId,
) -> Attempt<Vec<SessionRow>> {
    let select =
        format!("SELECT {SESSION} FROM sessions WHERE account = $1 AND user_id = $2 ORDER BY created_at, hash");
    let rows = sqlx::query(AssertSqlSafe(select))
        .bind(stored(account))
        .bind(&user.0[..])
        .fetch_all(conn)
        .await?;
    rows.iter().map(read_session).collect()
}

pub(super) async fn touch_session(conn: &mut Conn, hash: &[u8; 32], at: TimeUs) -> Attempt<()> {
    sqlx::query("UPDATE sessions SET seen_at = $1 WHERE hash = $2 AND seen_at < $1")
        .bind(at.0)
        .bind(&hash[..])
        .execute(conn)
        .await?;
    Ok(())
}

pub(super) async fn delete_session(conn: &mut Conn, hash: &[u8; 32]) -> Attempt<bool> {
    let done = sqlx::query("DELETE FROM sessions WHERE hash = $1")
        .bind(&hash[..])
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn disable_all(conn: &mut Conn, at: TimeUs) -> Attempt<u64> {
    sqlx::query("DELETE FROM challenges").execute(&mut *conn).await?;
    sqlx::query("DELETE FROM sessions").execute(&mut *conn).await?;
    let disable = "UPDATE users SET disabled_at = $1, version = version + 1 WHERE disabled_at IS NULL";
    let done = sqlx::query(disable).bind(at.0).execute(conn).await?;
    Ok(done.rows_affected())
}

pub(super) async fn sweep_sessions(conn: &mut Conn, older_than: TimeUs, now: TimeUs) -> Attempt<u64> {
    sqlx::query("DELETE FROM challenges WHERE expires_at <= $1")
        .bind(now.0)
        .execute(&mut *conn)
        .await?;
    let done = sqlx::query("DELETE FROM sessions WHERE created_at < $1")
        .bind(older_than.0)
        .execute(conn)
        .await?;
    Ok(done.rows_affected())
}

pub(super) async fn insert_challenge(conn: &mut Conn, challenge: &ChallengeRow) -> Attempt<()> {
    sqlx::query("INSERT INTO challenges (account, hash, user_id, purpose, expires_at) VALUES ($1, $2, $3, $4, $5)")
        .bind(stored(challenge.account.as_ref()))
        .bind(&challenge.hash[..])
        .bind(&challenge.user.0[..])
        .bind(&challenge.purpose)
        .bind(challenge.expires_at.0)
        .execute(conn)
        .await?;
    Ok(())
}

pub(super) async fn take_challenge(
    conn: &mut Conn,
    of: Option<&AccountSid>,
    challenge: &[u8; 32],
) -> Attempt<Option<ChallengeRow>> {
    let delete = "DELETE FROM challenges WHERE account = $1 AND hash = $2 \
                  RETURNING account, hash, user_id, purpose, expires_at";
    let row = sqlx::query(delete)
        .bind(stored(of))
        .bind(&challenge[..])
        .fetch_optional(conn)
        .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(ChallengeRow {
        account: account(&row)?,
        hash: hash(&row, 1)?,
        user: UserId(query::bytes16(&row, 2)?),
        purpose: row.try_get(3)?,
        expires_at: TimeUs(row.try_get(4)?),
    }))
}
