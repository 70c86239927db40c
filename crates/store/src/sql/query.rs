//! Pieces of queries: values in and out, lists in portions.

use callvault_core::{AccountSid, KeyId};
use sqlx::Row as _;

use super::{Attempt, Builder, Conn, Row, dialect};
use crate::{StoreError, failure::damaged};

/// Rows of one statement at most: with 12 columns, well under SQLite's 32766 and PostgreSQL's 65535 bound values.
const PORTION: usize = 512;

/// Cuts a list into portions whose lengths are powers of two, so that few different statements are prepared.
pub(super) fn portions<T>(items: &[T], largest: usize) -> impl Iterator<Item = &[T]> {
    let mut rest = items;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut length = largest.min(PORTION);
        while length > rest.len() {
            length /= 2;
        }
        let (portion, after) = rest.split_at(length.max(1));
        rest = after;
        Some(portion)
    })
}

/// [`portions`] of the usual size.
pub(super) fn by_portion<T>(items: &[T]) -> impl Iterator<Item = &[T]> {
    portions(items, PORTION)
}

/// Appends `($n, $n, ...)` of byte values.
pub(super) fn push_bytes_list<'v>(query: &mut Builder, values: impl Iterator<Item = &'v [u8]>) {
    query.push("(");
    let mut list = query.separated(", ");
    for value in values {
        list.push_bind(value);
    }
    query.push(")");
}

/// Appends `($n, $n, ...)` of texts.
pub(super) fn push_text_list<'v>(query: &mut Builder, values: impl Iterator<Item = &'v str>) {
    query.push("(");
    let mut list = query.separated(", ");
    for value in values {
        list.push_bind(value);
    }
    query.push(")");
}

/// A count as the catalog stores it.
pub(super) fn stored(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A length as the catalog stores it.
pub(super) fn stored_len(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

/// A count read from a column.
pub(super) fn count(row: &Row, column: usize) -> Attempt<u64> {
    u64::try_from(row.try_get::<i64, _>(column)?).map_err(|_| damaged("a count is negative"))
}

/// 16 bytes read from a column.
pub(super) fn bytes16(row: &Row, column: usize) -> Attempt<[u8; 16]> {
    row.try_get::<&[u8], _>(column)?
        .try_into()
        .map_err(|_| damaged("an id has another length"))
}

/// A key read from a column.
pub(super) fn key(row: &Row, column: usize) -> Attempt<KeyId> {
    Ok(KeyId(bytes16(row, column)?))
}

/// An account read from a column.
pub(super) fn account(row: &Row, column: usize) -> Attempt<AccountSid> {
    row.try_get::<&str, _>(column)?
        .parse()
        .map_err(|_| damaged("an account's name has another form"))
}

/// Checks that an account is there and open, and keeps it open until the end of the transaction.
pub(super) async fn require_open_account(conn: &mut Conn, account: &AccountSid) -> Attempt<()> {
    let query = format!(
        "SELECT closed_at FROM accounts WHERE account = $1{}",
        super::dialect::FOR_KEY_SHARE
    );
    let found: Option<Option<i64>> = sqlx::query_scalar(sqlx::AssertSqlSafe(query))
        .bind(account.as_str())
        .fetch_optional(conn)
        .await?;
    match found {
        Some(None) => Ok(()),
        Some(Some(_)) => Err(StoreError::Conflict {
            what: "an account that is closed",
        }
        .into()),
        None => Err(StoreError::NotFound { what: "account" }.into()),
    }
}

/// Fails when the account's rules are not those that a decision was made by; they stay what they are until the
/// transaction ends, so that a hold is either seen by a deletion or placed after it.
pub(super) async fn require_rules(conn: &mut Conn, account: &AccountSid, version: i64) -> Attempt<()> {
    let query = format!("SELECT version FROM accounts WHERE account = $1{}", dialect::FOR_SHARE);
    let found: Option<i64> = sqlx::query_scalar(sqlx::AssertSqlSafe(query))
        .bind(account.as_str())
        .fetch_optional(conn)
        .await?;
    match found {
        Some(found) if found == version => Ok(()),
        Some(_) => Err(StoreError::Conflict {
            what: "the account's rules",
        }
        .into()),
        None => Err(StoreError::NotFound { what: "account" }.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portions_have_few_lengths_and_lose_nothing() {
        let items: Vec<usize> = (0..1_337).collect();
        let lengths: Vec<usize> = by_portion(&items).map(<[usize]>::len).collect();
        assert_eq!(lengths, [512, 512, 256, 32, 16, 8, 1]);
        assert_eq!(by_portion(&items).flatten().copied().collect::<Vec<_>>(), items);
        assert_eq!(by_portion::<u8>(&[]).count(), 0);
    }
}
