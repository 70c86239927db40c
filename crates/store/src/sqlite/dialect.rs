//! What SQLite says differently.

use sqlx::Pool;

use super::Db;
use crate::failure::{Failure, Meaning};

/// Column type of bytes.
pub(super) const BYTES: &str = "BLOB";
/// Column type of texts; compared byte by byte.
pub(super) const TEXT: &str = "TEXT";
/// Column of a counting primary key.
pub(super) const SERIAL: &str = "INTEGER PRIMARY KEY AUTOINCREMENT";
/// End of a table that is stored in the order of its primary key.
pub(super) const KEYED: &str = " WITHOUT ROWID";
/// Row locks are not needed: a writing transaction is alone.
pub(super) const FOR_UPDATE: &str = "";
/// As [`FOR_UPDATE`].
pub(super) const FOR_UPDATE_OF_P: &str = "";
/// As [`FOR_UPDATE`].
pub(super) const FOR_SHARE: &str = "";
/// As [`FOR_UPDATE`].
pub(super) const FOR_KEY_SHARE: &str = "";
/// As [`FOR_UPDATE`].
pub(super) const SKIP_LOCKED: &str = "";
/// Makes one process at a time migrate; `BEGIN IMMEDIATE` does already.
pub(super) const LOCK_SCHEMA: Option<&str> = None;
/// Makes a transaction read one snapshot; SQLite's do already.
pub(super) const ONE_SNAPSHOT: Option<&str> = None;
/// Sets the counting primary key behind the loaded rows; SQLite does it by itself.
pub(super) const RESUME_SERIAL: Option<&str> = None;

/// Lower-case hexadecimal digits of a column.
pub(super) fn hex(column: &str) -> String {
    format!("lower(hex({column}))")
}

/// What a result code means (SQLite, "Result and Error Codes"): the low byte is the primary code.
pub(super) fn meaning_of_code(code: &str, message: &str) -> Meaning {
    let code: u32 = code.parse().unwrap_or(0);
    match (code & 0xff, code) {
        (_, 1555 | 2067 | 2579) => Meaning::Taken,
        // SQLITE_FULL; SQLITE_IOERR_SHMSIZE, when the disk has no room for the log's index.
        (13, _) | (_, 4874) => Meaning::Full,
        (5 | 6, _) => Meaning::Again,
        (11 | 26, _) => Meaning::Damaged(format!("SQLite code {code}")),
        (3 | 8 | 10 | 14 | 22 | 23, _) => Meaning::Unreachable(format!("SQLite code {code}")),
        _ => Meaning::Damaged(format!("SQLite code {code}: {message}")),
    }
}

/// Gives free pages back, and leaves an empty write-ahead log.
pub(super) async fn compact(writer: &Pool<Db>, _tables: &[&str]) -> Result<bool, Failure> {
    let mut conn = writer.acquire().await?;
    sqlx::query("PRAGMA incremental_vacuum").fetch_all(&mut *conn).await?;
    let busy: i64 = sqlx::query_scalar("PRAGMA wal_checkpoint(TRUNCATE)")
        .fetch_one(&mut *conn)
        .await?;
    Ok(busy == 0)
}
