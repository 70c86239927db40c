//! What only SQLite has: its settings, its file, and plans that can be read.

use std::{
    collections::BTreeSet,
    os::unix::fs::PermissionsExt as _,
    sync::{Arc, Mutex},
};

use callvault_core::{
    Class, Day, KeyId, Sid, TimeUs,
    id::{HoldId, UserId},
};
use sqlx::{AssertSqlSafe, Row as _};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

use super::*;
use crate::{
    Accounts as _, Catalog as _, Credentials as _, Jobs as _, Keys as _, Log as _, Partitions as _, Recordings as _,
    rows::{JobState, PartitionRef, RecordingQuery},
};

async fn open(folder: &tempfile::TempDir) -> Sqlite {
    let catalog = Sqlite::open(&folder.path().join("deep/er/catalog.sqlite"))
        .await
        .unwrap();
    catalog.migrate().await.unwrap();
    catalog
}

#[tokio::test]
async fn the_file_is_private_durable_and_wipes_what_it_deletes() {
    let folder = tempfile::TempDir::new().unwrap();
    let catalog = open(&folder).await;
    for (pragma, expected) in [
        ("journal_mode", "wal"),
        ("synchronous", "2"),
        ("secure_delete", "1"),
        ("foreign_keys", "1"),
        ("auto_vacuum", "2"),
    ] {
        let row = sqlx::query(AssertSqlSafe(format!("PRAGMA {pragma}")))
            .fetch_one(&catalog.writer)
            .await
            .unwrap();
        let value = row
            .try_get::<String, _>(0)
            .or_else(|_| row.try_get::<i64, _>(0).map(|n| n.to_string()));
        assert_eq!(value.unwrap(), expected, "{pragma}");
    }
    for name in ["catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-shm"] {
        let mode = fs::metadata(folder.path().join("deep/er").join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert_eq!(
        fs::metadata(folder.path().join("deep")).unwrap().permissions().mode() & 0o777,
        0o700
    );
}

#[tokio::test]
async fn compaction_leaves_no_deleted_byte() {
    let folder = tempfile::TempDir::new().unwrap();
    let catalog = open(&folder).await;
    let marks: Vec<Vec<u8>> = (0..200)
        .map(|n| format!("mark-of-value-{n:04}").repeat(20).into_bytes())
        .collect();
    for (number, mark) in marks.iter().enumerate() {
        catalog.put_value(&format!("v{number}"), mark).await.unwrap();
    }
    let raw = |name: &str| fs::read(folder.path().join("deep/er").join(name)).unwrap();
    let holds = |bytes: &[u8]| bytes.windows(14).any(|window| window == b"mark-of-value-");
    assert!(holds(&raw("catalog.sqlite-wal")) || holds(&raw("catalog.sqlite")));
    sqlx::query("DELETE FROM settings")
        .execute(&catalog.writer)
        .await
        .unwrap();
    catalog.compact().await.unwrap();
    assert!(!holds(&raw("catalog.sqlite")));
    assert_eq!(raw("catalog.sqlite-wal").len(), 0);
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let folder = tempfile::TempDir::new().unwrap();
    let catalog = open(&folder).await;
    sqlx::query("UPDATE schema_version SET version = 2000")
        .execute(&catalog.writer)
        .await
        .unwrap();
    let refused = catalog.migrate().await;
    assert!(matches!(refused, Err(StoreError::Damaged { .. })), "{refused:?}");
    let other = folder.path().join("no-catalog");
    fs::write(&other, [b'x'; 9_000]).unwrap();
    let refused = Sqlite::open(&other).await;
    assert!(matches!(refused, Err(StoreError::Damaged { .. })), "{refused:?}");
}

/// Gathers the statements that the driver reports.
#[derive(Clone, Default)]
struct Statements(Arc<Mutex<BTreeSet<String>>>);

impl Visit for Statements {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if matches!(field.name(), "db.statement" | "summary") && !value.is_empty() && !value.ends_with('…') {
            self.0.lock().unwrap().insert(value.trim().to_owned());
        }
    }
}

impl Subscriber for Statements {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("sqlx")
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.clone());
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// Tables that stay small whatever is stored, and the index that keys are counted in, an epoch at a time.
const SMALL: &[&str] = &["epochs", "log_state", "CONSTANT ROW", "v", "m", "(subquery"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_list_scans_what_grows() {
    let folder = tempfile::TempDir::new().unwrap();
    open(&folder).await.close().await;
    let statements = Statements::default();
    tracing::subscriber::set_global_default(statements.clone()).unwrap();
    let path = folder.path().join("deep/er/catalog.sqlite");
    let options = SqliteConnectOptions::new().filename(&path);
    let pool = PoolOptions::new()
        .max_connections(1)
        .connect_with(options)
        .await
        .unwrap();
    let catalog = Sqlite {
        path,
        writer: pool.clone(),
        readers: pool.clone(),
    };
    call_every_list(&catalog).await;

    let seen = statements.0.lock().unwrap().clone();
    let selects: Vec<_> = seen
        .iter()
        .filter(|text| text.starts_with("SELECT") || text.starts_with("UPDATE"))
        .collect();
    assert!(selects.len() >= 25, "statements were not seen: {seen:#?}");
    for statement in selects {
        let plan = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}")))
            .fetch_all(&pool)
            .await
            .unwrap();
        for step in plan {
            let step: String = step.try_get("detail").unwrap();
            let table = step
                .strip_prefix("SCAN ")
                .map(|rest| rest.split(' ').next().unwrap_or(""));
            // Read from the front up to the limit; the index holds only what is not purged.
            let ordered_by_its_key =
                statement.contains("FROM garbage ORDER BY id LIMIT") || step.contains("INDEX destructions_unpurged");
            let small = |table: &str| SMALL.contains(&table) || step.contains("CONSTANT ROW") || table.starts_with('(');
            assert!(table.is_none_or(small) || ordered_by_its_key, "{statement}\n  {step}");
        }
    }
}

async fn call_every_list(catalog: &Sqlite) {
    let account = "acme".parse().unwrap();
    let at = TimeUs(0);
    let partition = PartitionRef {
        account,
        class: Class::Call,
        day: Day(1),
        key: KeyId([1; 16]),
    };
    let account = &partition.account;
    catalog.list_accounts(None, 5).await.unwrap();
    catalog.list_holds(account).await.unwrap();
    catalog.lift_hold(account, HoldId([1; 16]), "", at).await.unwrap();
    catalog.list_tokens(account).await.unwrap();
    catalog.find_token("x").await.unwrap();
    catalog.touch_token(account, "x", Day(1)).await.unwrap();
    catalog.revoke_spare_token(account, "x", at).await.unwrap();
    let (user, hash) = (UserId([1; 16]), [1; 32]);
    catalog.list_users(Some(account)).await.unwrap();
    catalog.find_user(Some(account), user).await.unwrap();
    catalog.find_user_by_email(None, [1; 16]).await.unwrap();
    catalog.list_sessions(Some(account), user).await.unwrap();
    catalog.find_session(&hash).await.unwrap();
    catalog.touch_session(&hash, at).await.unwrap();
    catalog.list_epochs().await.unwrap();
    catalog.find_keys(account, &[partition.key; 3]).await.unwrap();
    catalog.list_keys_in_epoch(1, 5).await.unwrap();
    catalog.find_partition(account, Class::Call, Day(1)).await.unwrap();
    catalog
        .list_partitions(account, Class::Call, Day(1)..Day(9))
        .await
        .unwrap();
    catalog.list_partitions_before(Class::Call, Day(1), 5).await.unwrap();
    catalog.list_unsealed(5, Day(1), 5).await.unwrap();
    catalog.list_tombstoned(at, 5).await.unwrap();
    catalog.list_fragmented(5, 5).await.unwrap();
    catalog.list_loose(&partition).await.unwrap();
    catalog.find_loose(&partition, Sid([1; 16])).await.unwrap();
    catalog.list_segments(&partition).await.unwrap();
    catalog.list_tombstones(&partition).await.unwrap();
    catalog.list_garbage(5).await.unwrap();
    catalog.drop_garbage(&[1, 2], at).await.unwrap();
    catalog.purge_rows(account, partition.key, 5).await.unwrap();
    catalog.list_staged(at, 5).await.unwrap();
    catalog.list_recording_days(account).await.unwrap();
    for party in [None, Some([1; 16])] {
        for call_sid in [None, Some(Sid([1; 16]))] {
            for newest_first in [true, false] {
                let after = Some((at, Sid([1; 16])));
                let (from, to) = (Some(at), Some(at));
                let query = RecordingQuery {
                    from,
                    to,
                    call_sid,
                    call_sids: Vec::new(),
                    party,
                    after,
                    newest_first,
                    limit: 5,
                };
                catalog.list_recordings(account, &query).await.unwrap();
            }
        }
    }
    let of_calls = RecordingQuery {
        call_sids: vec![Sid([1; 16]), Sid([2; 16])],
        limit: 5,
        ..RecordingQuery::default()
    };
    catalog.list_recordings(account, &of_calls).await.unwrap();
    catalog.list_leaves(0..5).await.unwrap();
    catalog.find_destruction(1).await.unwrap();
    catalog.list_destructions(account, None, 5).await.unwrap();
    catalog.list_unpurged(5).await.unwrap();
    catalog.lease(&["a", "b"], "w", at, at).await.unwrap();
    catalog.lease_job("a", "w", at, at).await.unwrap();
    catalog.list_jobs("a", JobState::Open, 5).await.unwrap();
}
