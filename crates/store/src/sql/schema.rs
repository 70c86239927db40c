//! The schema: versioned scripts with placeholders for what the drivers name differently, and the list of tables.

use sqlx::AssertSqlSafe;

use super::{Attempt, Backend, Conn, LONG, Result, dialect, transact};
use crate::{StoreError, failure::damaged};

/// The scripts, from version 1 on. They add tables, and columns at the end that may be empty: so a dump of an older version
/// still loads.
const SCRIPTS: &[&str] = &[
    include_str!("../../migrations/0001_catalog.sql"),
    include_str!("../../migrations/0002_documents.sql"),
    include_str!("../../migrations/0003_credentials.sql"),
];

/// The version that this program knows.
pub(super) const VERSION: i64 = 3;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A number.
    Number,
    /// A text.
    Text,
    /// Bytes.
    Bytes,
}

/// A table as it is dumped.
#[derive(Debug)]
pub(super) struct Table {
    /// Its name.
    pub(super) name: &'static str,
    /// Its columns.
    pub(super) columns: &'static [(&'static str, Kind)],
    /// The order of its rows, which is its primary key.
    pub(super) order: &'static str,
}

use Kind::{Bytes, Number, Text};

/// Every table that holds something, the log's size aside, which follows from the leaves.
pub(super) const TABLES: &[Table] = &[
    Table {
        name: "settings",
        columns: &[("name", Text), ("value", Bytes)],
        order: "name",
    },
    Table {
        name: "accounts",
        columns: &[
            ("account", Text),
            ("created_at", Number),
            ("key", Bytes),
            ("country", Text),
            ("policy", Text),
            ("version", Number),
            ("closed_at", Number),
        ],
        order: "account",
    },
    Table {
        name: "holds",
        columns: &[
            ("account", Text),
            ("hold", Bytes),
            ("placed", Number),
            ("rule", Text),
            ("note", Bytes),
            ("lifted_at", Number),
        ],
        order: "account, hold",
    },
    Table {
        name: "tokens",
        columns: &[
            ("account", Text),
            ("token_key", Text),
            ("hash", Bytes),
            ("role", Text),
            ("created_at", Number),
            ("revoked_at", Number),
            ("scopes", Text),
            ("label", Bytes),
            ("expires_at", Number),
            ("used_day", Number),
            ("successor", Text),
            ("person", Text),
        ],
        order: "account, token_key",
    },
    Table {
        name: "users",
        columns: &[
            ("account", Text),
            ("id", Bytes),
            ("email", Bytes),
            ("role", Text),
            ("created_at", Number),
            ("joined_at", Number),
            ("disabled_at", Number),
            ("body", Bytes),
            ("version", Number),
        ],
        order: "account, id",
    },
    Table {
        name: "sessions",
        columns: &[
            ("account", Text),
            ("hash", Bytes),
            ("user_id", Bytes),
            ("created_at", Number),
            ("seen_at", Number),
            ("note", Bytes),
        ],
        order: "account, hash",
    },
    Table {
        name: "challenges",
        columns: &[
            ("account", Text),
            ("hash", Bytes),
            ("user_id", Bytes),
            ("purpose", Text),
            ("expires_at", Number),
        ],
        order: "account, hash",
    },
    Table {
        name: "epochs",
        columns: &[
            ("epoch", Number),
            ("created_at", Number),
            ("wrapped", Bytes),
            ("open", Number),
        ],
        order: "epoch",
    },
    Table {
        name: "data_keys",
        columns: &[
            ("account", Text),
            ("key", Bytes),
            ("purpose", Text),
            ("epoch", Number),
            ("wrapped", Bytes),
        ],
        order: "account, key",
    },
    Table {
        name: "partitions",
        columns: &[
            ("account", Text),
            ("class", Text),
            ("day", Number),
            ("key", Bytes),
            ("version", Number),
            ("loose_rows", Number),
            ("loose_since", Number),
            ("sealed_rows", Number),
            ("bytes", Number),
            ("segments", Number),
            ("tombstones", Number),
            ("oldest_tombstone_at", Number),
        ],
        order: "account, class, day",
    },
    Table {
        name: "loose",
        columns: &[
            ("account", Text),
            ("key", Bytes),
            ("sid", Bytes),
            ("at", Number),
            ("arrived_at", Number),
            ("body", Bytes),
        ],
        order: "account, key, sid",
    },
    Table {
        name: "segments",
        columns: &[
            ("account", Text),
            ("key", Bytes),
            ("segment", Bytes),
            ("rows", Number),
            ("bytes", Number),
            ("min_at", Number),
            ("max_at", Number),
            ("body", Bytes),
            ("locator", Bytes),
        ],
        order: "account, key, segment",
    },
    Table {
        name: "tombstones",
        columns: &[("account", Text), ("key", Bytes), ("sid", Bytes), ("at", Number)],
        order: "account, key, sid",
    },
    Table {
        name: "recordings",
        columns: &[
            ("account", Text),
            ("sid", Bytes),
            ("call_sid", Bytes),
            ("at", Number),
            ("kept_since", Number),
            ("key", Bytes),
            ("object", Bytes),
            ("bytes", Number),
            ("party_a", Bytes),
            ("party_b", Bytes),
            ("meta", Bytes),
        ],
        order: "account, sid",
    },
    Table {
        name: "recording_days",
        columns: &[("account", Text), ("day", Number), ("count", Number), ("bytes", Number)],
        order: "account, day",
    },
    Table {
        name: "documents",
        columns: &[
            ("account", Text),
            ("kind", Text),
            ("id", Bytes),
            ("name", Bytes),
            ("at", Number),
            ("updated_at", Number),
            ("version", Number),
            ("members", Number),
            ("key", Bytes),
            ("body", Bytes),
        ],
        order: "account, kind, id",
    },
    Table {
        name: "members",
        columns: &[
            ("account", Text),
            ("list", Bytes),
            ("member", Bytes),
            ("added_at", Number),
        ],
        order: "account, list, member",
    },
    Table {
        name: "log",
        columns: &[("leaf", Number), ("account", Text), ("at", Number), ("body", Bytes)],
        order: "leaf",
    },
    Table {
        name: "destructions",
        columns: &[
            ("account", Text),
            ("leaf", Number),
            ("at", Number),
            ("statement", Text),
            ("purged_at", Number),
        ],
        order: "account, leaf",
    },
    Table {
        name: "erasures",
        columns: &[("account", Text), ("leaf", Number), ("key", Bytes), ("via", Number)],
        order: "account, leaf, key",
    },
    Table {
        name: "garbage",
        columns: &[
            ("id", Number),
            ("account", Text),
            ("leaf", Number),
            ("key", Bytes),
            ("object", Text),
        ],
        order: "id",
    },
    Table {
        name: "staged",
        columns: &[("name", Text), ("at", Number), ("doomed", Number)],
        order: "name",
    },
    Table {
        name: "jobs",
        columns: &[
            ("id", Text),
            ("account", Text),
            ("kind", Text),
            ("body", Bytes),
            ("run_at", Number),
            ("lease_until", Number),
            ("leased_by", Text),
            ("attempts", Number),
            ("state", Text),
            ("error", Text),
            ("created_at", Number),
        ],
        order: "id",
    },
];

/// Brings the schema up to this version, at most to this program's; refuses a newer one.
pub(super) async fn execute_migrate(backend: &Backend, to: i64) -> Result<()> {
    transact!(backend, LONG, |conn| migrate(conn, to))
}

async fn migrate(conn: &mut Conn, to: i64) -> Attempt<()> {
    if let Some(lock) = dialect::LOCK_SCHEMA {
        sqlx::query(lock).execute(&mut *conn).await?;
    }
    sqlx::query("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)")
        .execute(&mut *conn)
        .await?;
    let version: Option<i64> = sqlx::query_scalar("SELECT version FROM schema_version")
        .fetch_optional(&mut *conn)
        .await?;
    if version.is_none() {
        sqlx::query("INSERT INTO schema_version (version) VALUES (0)")
            .execute(&mut *conn)
            .await?;
    }
    let version = version.unwrap_or(0);
    if version > VERSION {
        let reason = format!("its schema has version {version}, this program knows {VERSION}: use a newer program");
        return Err(StoreError::Damaged {
            store: "catalog",
            reason,
        }
        .into());
    }
    let applied = usize::try_from(version).map_err(|_| damaged("its schema's version is negative"))?;
    let wanted = usize::try_from(to.clamp(version, VERSION)).unwrap_or(SCRIPTS.len());
    for script in SCRIPTS.iter().take(wanted).skip(applied) {
        let script = script
            .replace("{bytes}", dialect::BYTES)
            .replace("{text}", dialect::TEXT)
            .replace("{serial}", dialect::SERIAL)
            .replace("{keyed}", dialect::KEYED);
        sqlx::raw_sql(AssertSqlSafe(script)).execute(&mut *conn).await?;
    }
    sqlx::query("UPDATE schema_version SET version = $1")
        .bind(to.clamp(version, VERSION))
        .execute(conn)
        .await?;
    Ok(())
}
