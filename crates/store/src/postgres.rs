//! The catalog in PostgreSQL: read committed, with row locks where two writers could meet.

mod dialect;
#[path = "sql/mod.rs"]
#[expect(
    clippy::duplicate_mod,
    reason = "each query is written once and compiled for each driver"
)]
mod sql;

use std::{str::FromStr, time::Duration};

use sqlx::{ConnectOptions, Pool, Transaction, pool::PoolOptions, postgres::PgConnectOptions};

use crate::{StoreError, failure::Failure};

type Db = sqlx::Postgres;
type Backend = Postgres;

/// How many connections, and how long to wait for answers.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at most.
    pub connections: u32,
    /// How long to wait for a connection.
    pub connect: Duration,
    /// How long one call may take before it counts as stalled. Calls whose work grows with what they are given
    /// (commits, shreds, dumps) may take twenty times as long.
    pub answer: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16,
            connect: Duration::from_secs(5),
            answer: Duration::from_secs(30),
        }
    }
}

/// A catalog in a PostgreSQL database. Cheap to clone; clones share the connections.
#[derive(Debug, Clone)]
pub struct Postgres {
    place: String,
    pool: Pool<Db>,
    limits: Limits,
}

impl Postgres {
    /// Connects to `postgres://user:password@host:port/database` (`?sslmode=verify-full` for TLS with a checked name).
    /// Call [`crate::Catalog::migrate`] before anything else.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when there is no such database, without the password in its text.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        Self::open_with(url, Limits::default()).await
    }

    /// Like [`Self::open`], with other limits.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_with(url: &str, limits: Limits) -> Result<Self, StoreError> {
        let unreadable = |_| StoreError::Unavailable {
            store: "catalog",
            reason: "the address is not postgres://user:password@host:port/database".to_owned(),
        };
        let options = PgConnectOptions::from_str(url).map_err(unreadable)?;
        let options = options
            .application_name("callvault")
            .options([
                ("default_transaction_isolation", "read committed"),
                ("synchronous_commit", "on"),
            ])
            .statement_cache_capacity(512)
            .disable_statement_logging();
        let database = options.get_database().unwrap_or("postgres");
        let place = format!(
            "PostgreSQL database {database} at {}:{}",
            options.get_host(),
            options.get_port()
        );
        let pool = PoolOptions::new()
            .max_connections(limits.connections)
            .acquire_timeout(limits.connect)
            .connect_with(options)
            .await
            .map_err(|error| Failure::Sql(error).into_error(dialect::meaning_of_code))?;
        Ok(Self { place, pool, limits })
    }

    /// Closes every connection.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    async fn begin(&self) -> Result<Transaction<'static, Db>, Failure> {
        Ok(self.pool.begin().await?)
    }

    async fn begin_reading(&self) -> Result<Transaction<'static, Db>, Failure> {
        Ok(self.pool.begin().await?)
    }

    fn reading(&self) -> &Pool<Db> {
        &self.pool
    }

    fn writing(&self) -> &Pool<Db> {
        &self.pool
    }

    fn patience(&self) -> Duration {
        self.limits.answer
    }

    fn describe(&self) -> String {
        self.place.clone()
    }
}
