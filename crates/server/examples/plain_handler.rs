//! What Callvault is measured beside: axum, sqlx and PostgreSQL behind TLS, one query a request, and nothing else: no
//! tokens, no access log, no encryption, no retention. `plain_handler postgres://... 127.0.0.1:9443 ROWS`
//!
//! `benches/load.sh` runs it.

#![expect(clippy::expect_used, reason = "a measurement that cannot go on says why")]

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    routing::{get, post},
};
use axum_server::tls_rustls::RustlsConfig;
use serde::{Deserialize, Serialize};
use sqlx::{PgPool, postgres::PgPoolOptions};

#[derive(Serialize, Deserialize)]
struct Call {
    sid: String,
    at: i64,
    direction: String,
    from_number: String,
    to_number: String,
    status: String,
    duration_s: i32,
    talk_s: i32,
}

type Row = (String, i64, String, String, String, String, i32, i32);

impl From<Row> for Call {
    fn from(row: Row) -> Self {
        let (sid, at, direction, from_number, to_number, status, duration_s, talk_s) = row;
        Self {
            sid,
            at,
            direction,
            from_number,
            to_number,
            status,
            duration_s,
            talk_s,
        }
    }
}

#[derive(Deserialize)]
struct Page {
    limit: i64,
}

const COLUMNS: &str = "sid, at, direction, from_number, to_number, status, duration_s, talk_s";

async fn list(State(pool): State<PgPool>, Query(page): Query<Page>) -> Json<Vec<Call>> {
    let select =
        format!("SELECT {COLUMNS} FROM plain_calls WHERE account = 'acme' ORDER BY at DESC, sid DESC LIMIT $1");
    let rows: Result<Vec<Row>, _> = sqlx::query_as(sqlx::AssertSqlSafe(select))
        .bind(page.limit)
        .fetch_all(&pool)
        .await;
    Json(rows.expect("rows").into_iter().map(Call::from).collect())
}

async fn one(State(pool): State<PgPool>, Path(sid): Path<String>) -> Json<Option<Call>> {
    let select = format!("SELECT {COLUMNS} FROM plain_calls WHERE account = 'acme' AND sid = $1");
    let row: Result<Option<Row>, _> = sqlx::query_as(sqlx::AssertSqlSafe(select))
        .bind(sid)
        .fetch_optional(&pool)
        .await;
    Json(row.expect("a row").map(Call::from))
}

async fn create(State(pool): State<PgPool>, Json(call): Json<Call>) -> &'static str {
    let insert = "INSERT INTO plain_calls VALUES ('acme', $1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING";
    let done = sqlx::query(insert)
        .bind(call.sid)
        .bind(call.at)
        .bind(call.direction)
        .bind(call.from_number)
        .bind(call.to_number)
        .bind(call.status)
        .bind(call.duration_s)
        .bind(call.talk_s)
        .execute(&pool)
        .await;
    done.expect("stored");
    "{}"
}

async fn fill(pool: &PgPool, rows: i64) -> Result<(), sqlx::Error> {
    for statement in [
        "DROP TABLE IF EXISTS plain_calls",
        "CREATE TABLE plain_calls (account TEXT, sid TEXT, at BIGINT, direction TEXT, from_number TEXT, to_number TEXT, \
         status TEXT, duration_s INT, talk_s INT, PRIMARY KEY (account, sid))",
        "CREATE INDEX plain_calls_at ON plain_calls (account, at, sid)",
    ] {
        sqlx::query(statement).execute(pool).await?;
    }
    let insert = "INSERT INTO plain_calls SELECT 'acme', lpad(to_hex(n), 32, '0'), n * 1000000, 'inbound', '+919900011111', \
                  '+9199' || lpad((n % 100000)::text, 8, '0'), 'completed', 50, 40 FROM generate_series(1, $1) n";
    sqlx::query(insert).bind(rows).execute(pool).await?;
    sqlx::query("ANALYZE plain_calls").execute(pool).await?;
    Ok(())
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, address, rows] = arguments.as_slice() else {
        return;
    };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let pool = PgPoolOptions::new()
        .max_connections(16)
        .connect(url)
        .await
        .expect("PostgreSQL");
    fill(&pool, rows.parse().expect("a number")).await.expect("filled");
    let app = Router::new()
        .route("/calls", get(list))
        .route("/calls/{sid}", get(one))
        .route("/records", post(create))
        .with_state(pool);
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let chain = vec![made.cert.der().clone()];
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key);
    let config = RustlsConfig::from_config(Arc::new(config.expect("TLS")));
    let address: std::net::SocketAddr = address.parse().expect("an address");
    let served = axum_server::bind_rustls(address, config)
        .serve(app.into_make_service())
        .await;
    served.expect("served");
}
