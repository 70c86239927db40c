//! The queries. Compiled once for each driver, which names itself `Db` and its catalog `Backend`.

mod accounts;
mod append;
mod commit;
mod credentials;
mod documents;
mod dump;
mod garbage;
mod jobs;
mod keys;
mod log;
mod partitions;
mod query;
mod recordings;
mod replay;
mod schema;
mod shred;
mod users;

use std::{future::Future, time::Duration};

use async_trait::async_trait;
use tokio::io::{AsyncBufRead, AsyncWrite};

use super::{Backend, Db, dialect};
use crate::{Catalog, StoreError, failure::Failure};

type Conn = <Db as sqlx::Database>::Connection;
type Row = <Db as sqlx::Database>::Row;
type Builder = sqlx::QueryBuilder<Db>;
type Result<T> = std::result::Result<T, StoreError>;
type Attempt<T> = std::result::Result<T, Failure>;

/// How often a transaction is tried that collides with others.
const TRIES: u32 = 10;
/// How much longer work may take that grows with its input.
const LONG: u32 = 20;

/// One attempt after the other at a transaction, until it ends or fails for good.
macro_rules! transact {
    ($backend:expr, |$conn:ident| $work:expr) => {
        transact!($backend, 1, |$conn| $work)
    };
    ($backend:expr, $patience:expr, |$conn:ident| $work:expr) => {{
        let mut tries = 1;
        loop {
            let attempt = async {
                let mut transaction = $backend.begin().await?;
                let done = {
                    let $conn: &mut super::Conn = &mut transaction;
                    $work.await?
                };
                transaction.commit().await?;
                Ok(done)
            };
            match super::within($patience * $backend.patience(), attempt).await {
                Err(failure) if tries < super::TRIES && super::is_passing(&failure) => tries += 1,
                ended => break ended.map_err(super::into_error),
            }
        }
    }};
}
use transact;

/// Work on one connection outside a transaction.
macro_rules! read {
    ($backend:expr, |$conn:ident| $work:expr) => {
        super::within($backend.patience(), async {
            let mut connection = $backend.reading().acquire().await?;
            let $conn: &mut super::Conn = &mut connection;
            $work.await
        })
        .await
        .map_err(super::into_error)
    };
}
use read;

/// Gives up waiting after `limit`.
async fn within<T>(limit: Duration, work: impl Future<Output = Attempt<T>>) -> Attempt<T> {
    tokio::time::timeout(limit, work).await.unwrap_or(Err(Failure::Stalled))
}

fn is_passing(failure: &Failure) -> bool {
    failure.is_passing(dialect::meaning_of_code)
}

fn into_error(failure: Failure) -> StoreError {
    failure.into_error(dialect::meaning_of_code)
}

#[async_trait]
impl Catalog for Backend {
    async fn migrate_to(&self, version: i64) -> Result<()> {
        schema::execute_migrate(self, version).await
    }

    async fn ping(&self) -> Result<()> {
        log::execute_ping(self).await
    }

    async fn dump(&self, to: &mut (dyn AsyncWrite + Send + Unpin)) -> Result<()> {
        dump::execute_dump(self, to).await
    }

    async fn load(&self, from: &mut (dyn AsyncBufRead + Send + Unpin), values: &[(&str, &[u8])]) -> Result<()> {
        dump::execute_load(self, from, values).await
    }

    async fn compact(&self) -> Result<()> {
        let tables: Vec<&str> = schema::TABLES.iter().map(|table| table.name).collect();
        let work = dialect::compact(self.writing(), &tables);
        if within(LONG * self.patience(), work).await.map_err(into_error)? {
            return Ok(());
        }
        Err(StoreError::Unavailable {
            store: "catalog",
            reason: "a reader keeps old pages".to_owned(),
        })
    }

    fn place(&self) -> String {
        self.describe()
    }
}
