//! Tokens, and the port of all credentials.

use async_trait::async_trait;
use callvault_core::{AccountSid, Day, TimeUs, id::UserId};
use sqlx::{AssertSqlSafe, Row as _};

use super::{Attempt, Backend, Conn, Result, Row, dialect, query, read, transact, users};
use crate::{
    Credentials, LAST_WAY_IN,
    failure::conflict,
    rows::{ChallengeRow, SessionRow, TokenRow, UserRow},
};

const TOKEN: &str = "account, token_key, hash, role, created_at, revoked_at, scopes, label, expires_at, used_day, \
                     successor, person";

fn read_token(row: &Row) -> Attempt<TokenRow> {
    let time = |column: usize| row.try_get::<Option<i64>, _>(column).map(|at| at.map(TimeUs));
    let used_day: Option<i64> = row.try_get(9)?;
    Ok(TokenRow {
        account: query::account(row, 0)?,
        token_key: row.try_get(1)?,
        hash: row.try_get(2)?,
        role: row.try_get(3)?,
        created_at: TimeUs(row.try_get(4)?),
        revoked_at: time(5)?,
        scopes: row.try_get(6)?,
        label: row.try_get(7)?,
        expires_at: time(8)?,
        used_day: used_day.and_then(|day| i32::try_from(day).ok()).map(Day),
        successor: row.try_get(10)?,
        person: row.try_get(11)?,
    })
}

async fn insert_token(conn: &mut Conn, token: &TokenRow) -> Attempt<()> {
    query::require_open_account(conn, &token.account).await?;
    let insert = format!(
        "INSERT INTO tokens ({TOKEN}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT DO NOTHING"
    );
    let done = sqlx::query(AssertSqlSafe(insert))
        .bind(token.account.as_str())
        .bind(&token.token_key)
        .bind(&token.hash)
        .bind(&token.role)
        .bind(token.created_at.0)
        .bind(token.revoked_at.map(|at| at.0))
        .bind(&token.scopes)
        .bind(&token.label)
        .bind(token.expires_at.map(|at| at.0))
        .bind(token.used_day.map(|day| i64::from(day.0)))
        .bind(&token.successor)
        .bind(&token.person)
        .execute(conn)
        .await?;
    match done.rows_affected() {
        0 => Err(conflict("a token of this key")),
        _ => Ok(()),
    }
}

async fn rotate_token(
    conn: &mut Conn,
    token_key: &str,
    now: TimeUs,
    until: TimeUs,
    successor: &TokenRow,
) -> Attempt<()> {
    insert_token(conn, successor).await?;
    let update = "UPDATE tokens SET successor = $1, expires_at = $2 WHERE account = $3 AND token_key = $4 \
                  AND revoked_at IS NULL AND successor IS NULL AND (expires_at IS NULL OR expires_at > $5)";
    let done = sqlx::query(update)
        .bind(&successor.token_key)
        .bind(until.0)
        .bind(successor.account.as_str())
        .bind(token_key)
        .bind(now.0)
        .execute(conn)
        .await?;
    match done.rows_affected() {
        0 => Err(conflict("a token that is over or has a successor")),
        _ => Ok(()),
    }
}

async fn touch_token(conn: &mut Conn, account: &AccountSid, token_key: &str, day: Day) -> Attempt<()> {
    let update = "UPDATE tokens SET used_day = $1 WHERE account = $2 AND token_key = $3";
    sqlx::query(update)
        .bind(i64::from(day.0))
        .bind(account.as_str())
        .bind(token_key)
        .execute(conn)
        .await?;
    Ok(())
}

async fn revoke_token(conn: &mut Conn, account: &AccountSid, token_key: &str, at: TimeUs) -> Attempt<bool> {
    let update = "UPDATE tokens SET revoked_at = $1 WHERE account = $2 AND token_key = $3 AND revoked_at IS NULL";
    let done = sqlx::query(update)
        .bind(at.0)
        .bind(account.as_str())
        .bind(token_key)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

async fn revoke_spare_token(conn: &mut Conn, account: &AccountSid, token_key: &str, at: TimeUs) -> Attempt<bool> {
    let ways = lock_owner(conn, account, at).await?;
    let revoked = revoke_token(conn, account, token_key, at).await?;
    require_owner(conn, account, at, ways).await?;
    Ok(revoked)
}

/// How many ways in the account's owner has. Whoever asks next waits for the end of the transaction.
pub(super) async fn lock_owner(conn: &mut Conn, account: &AccountSid, now: TimeUs) -> Attempt<i64> {
    let lock = format!("SELECT version FROM accounts WHERE account = $1{}", dialect::FOR_UPDATE);
    sqlx::query(AssertSqlSafe(lock))
        .bind(account.as_str())
        .fetch_optional(&mut *conn)
        .await?;
    count_ways(conn, account, now).await
}

/// Fails when the owner had ways in and has none left.
pub(super) async fn require_owner(conn: &mut Conn, account: &AccountSid, now: TimeUs, before: i64) -> Attempt<()> {
    if before > 0 && count_ways(conn, account, now).await? == 0 {
        return Err(conflict(LAST_WAY_IN));
    }
    Ok(())
}

async fn count_ways(conn: &mut Conn, account: &AccountSid, now: TimeUs) -> Attempt<i64> {
    let tokens = "SELECT COUNT(*) FROM tokens WHERE account = $1 AND role = 'owner' AND scopes IS NULL \
                  AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)";
    let tokens: i64 = sqlx::query_scalar(tokens)
        .bind(account.as_str())
        .bind(now.0)
        .fetch_one(&mut *conn)
        .await?;
    let users = "SELECT COUNT(*) FROM users WHERE account = $1 AND role = 'owner' AND joined_at IS NOT NULL \
                 AND disabled_at IS NULL";
    let users: i64 = sqlx::query_scalar(users).bind(account.as_str()).fetch_one(conn).await?;
    Ok(tokens + users)
}

async fn find_token(conn: &mut Conn, token_key: &str) -> Attempt<Option<TokenRow>> {
    let select = format!("SELECT {TOKEN} FROM tokens WHERE token_key = $1");
    let row = sqlx::query(AssertSqlSafe(select))
        .bind(token_key)
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(read_token).transpose()
}

async fn list_tokens(conn: &mut Conn, account: &AccountSid) -> Attempt<Vec<TokenRow>> {
    let select = format!("SELECT {TOKEN} FROM tokens WHERE account = $1 ORDER BY token_key");
    let rows = sqlx::query(AssertSqlSafe(select))
        .bind(account.as_str())
        .fetch_all(conn)
        .await?;
    rows.iter().map(read_token).collect()
}

#[async_trait]
impl Credentials for Backend {
    async fn insert_token(&self, token: &TokenRow) -> Result<()> {
        transact!(self, |conn| insert_token(conn, token))
    }

    async fn rotate_token(&self, token_key: &str, now: TimeUs, until: TimeUs, successor: &TokenRow) -> Result<()> {
        transact!(self, |conn| rotate_token(conn, token_key, now, until, successor))
    }

    async fn find_token(&self, token_key: &str) -> Result<Option<TokenRow>> {
        read!(self, |conn| find_token(conn, token_key))
    }

    async fn list_tokens(&self, account: &AccountSid) -> Result<Vec<TokenRow>> {
        read!(self, |conn| list_tokens(conn, account))
    }

    async fn touch_token(&self, account: &AccountSid, token_key: &str, day: Day) -> Result<()> {
        transact!(self, |conn| touch_token(conn, account, token_key, day))
    }

    async fn revoke_token(&self, account: &AccountSid, token_key: &str, at: TimeUs) -> Result<bool> {
        transact!(self, |conn| revoke_token(conn, account, token_key, at))
    }

    async fn revoke_spare_token(&self, account: &AccountSid, token_key: &str, at: TimeUs) -> Result<bool> {
        transact!(self, |conn| revoke_spare_token(conn, account, token_key, at))
    }

    async fn insert_user(&self, user: &UserRow) -> Result<()> {
        transact!(self, |conn| users::insert_user(conn, user))
    }

    async fn find_user(&self, account: Option<&AccountSid>, id: UserId) -> Result<Option<UserRow>> {
        read!(self, |conn| users::find_user(conn, account, id))
    }

    async fn find_user_by_email(&self, account: Option<&AccountSid>, email: [u8; 16]) -> Result<Option<UserRow>> {
        read!(self, |conn| users::find_user_by_email(conn, account, email))
    }

    async fn list_users(&self, account: Option<&AccountSid>) -> Result<Vec<UserRow>> {
        read!(self, |conn| users::list_users(conn, account))
    }

    async fn put_user(&self, user: &UserRow, now: TimeUs, ends_sessions: bool) -> Result<()> {
        transact!(self, |conn| users::put_user(conn, user, now, ends_sessions))
    }

    async fn delete_user(&self, account: Option<&AccountSid>, id: UserId, now: TimeUs) -> Result<bool> {
        transact!(self, |conn| users::delete_user(conn, account, id, now))
    }

    async fn insert_session(&self, session: &SessionRow, replaces: Option<&[u8; 32]>) -> Result<()> {
        transact!(self, |conn| users::insert_session(conn, session, replaces))
    }

    async fn find_session(&self, hash: &[u8; 32]) -> Result<Option<SessionRow>> {
        read!(self, |conn| users::find_session(conn, hash))
    }

    async fn list_sessions(&self, account: Option<&AccountSid>, user: UserId) -> Result<Vec<SessionRow>> {
        read!(self, |conn| users::list_sessions(conn, account, user))
    }

    async fn touch_session(&self, hash: &[u8; 32], at: TimeUs) -> Result<()> {
        transact!(self, |conn| users::touch_session(conn, hash, at))
    }

    async fn delete_session(&self, hash: &[u8; 32]) -> Result<bool> {
        transact!(self, |conn| users::delete_session(conn, hash))
    }

    async fn disable_all_users(&self, at: TimeUs) -> Result<u64> {
        transact!(self, |conn| users::disable_all(conn, at))
    }

    async fn sweep_sessions(&self, older_than: TimeUs, now: TimeUs) -> Result<u64> {
        transact!(self, |conn| users::sweep_sessions(conn, older_than, now))
    }

    async fn insert_challenge(&self, challenge: &ChallengeRow) -> Result<()> {
        transact!(self, |conn| users::insert_challenge(conn, challenge))
    }

    async fn take_challenge(&self, account: Option<&AccountSid>, hash: &[u8; 32]) -> Result<Option<ChallengeRow>> {
        transact!(self, |conn| users::take_challenge(conn, account, hash))
    }
}
