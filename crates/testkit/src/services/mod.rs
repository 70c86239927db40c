//! Real services for tests.
//!
//! | variable | holds |
//! |---|---|
//! | `CALLVAULT_TEST_POSTGRES` | `postgres://user@host:port` of a server where tests may create databases |
//! | `CALLVAULT_TEST_S3` | `http://access:secret@host:port/bucket` of a store where tests may write |
//! | `CALLVAULT_TEST_GARAGE_CONFIG` | configuration file of that store, when it is a Garage of our own |
//! | `CALLVAULT_TEST_WITHOUT` | services that this run goes without, by name: `postgres,s3` |
//!
//! `./test` and `cargo run -p callvault-testkit --bin with-services -- COMMAND` start both and set the variables.

pub mod garage;
pub mod postgres;
pub mod proxy;
pub mod quota;

use std::{env, net::TcpListener, path::PathBuf};

use callvault_store::s3::S3Config;

/// Whether this run goes without a service, by its name. Says so.
#[must_use]
pub fn goes_without(service: &str) -> bool {
    let without = env::var("CALLVAULT_TEST_WITHOUT").unwrap_or_default();
    let out = without.split(',').any(|name| name.trim() == service);
    if out {
        println!("!!! NOT TESTED: {service} is left out by CALLVAULT_TEST_WITHOUT !!!");
    }
    out
}

fn require(variable: &str, service: &str, how: &str) -> String {
    env::var(variable).unwrap_or_else(|_| {
        panic!(
            "{service} is missing: {variable} is not set. Run `./test`, or \
             `cargo run -p callvault-testkit --bin with-services -- cargo nextest run`, {how}; to leave it out, set \
             CALLVAULT_TEST_WITHOUT={service}."
        )
    })
}

/// Address of the PostgreSQL server of this run, without a database.
///
/// # Panics
/// When there is none: a missing service fails the test.
#[must_use]
pub fn postgres_address() -> String {
    require(
        "CALLVAULT_TEST_POSTGRES",
        "postgres",
        "which needs Debian's package `postgresql`",
    )
}

/// The bucket of this run, with a prefix of the caller's own.
///
/// # Panics
/// When there is none: a missing service fails the test.
#[must_use]
pub fn s3_config(prefix: &str) -> S3Config {
    let address = require(
        "CALLVAULT_TEST_S3",
        "s3",
        "which needs Garage (`cargo install garage --version 2.5.0`)",
    );
    let rest = address
        .strip_prefix("http://")
        .expect("CALLVAULT_TEST_S3 begins with http://");
    let (keys, place) = rest.split_once('@').expect("CALLVAULT_TEST_S3 has keys");
    let (access, secret) = keys.split_once(':').expect("CALLVAULT_TEST_S3 has two keys");
    let (host, bucket) = place.split_once('/').expect("CALLVAULT_TEST_S3 has a bucket");
    S3Config {
        endpoint: format!("http://{host}"),
        region: "garage".to_owned(),
        bucket: bucket.to_owned(),
        prefix: prefix.to_owned(),
        access_key: access.to_owned(),
        secret_key: secret.to_owned(),
        patience: std::time::Duration::from_secs(10),
    }
}

/// A name that no other test of this machine has now.
///
/// # Panics
/// When the kernel gives no random name.
#[must_use]
pub fn unique_name() -> String {
    let uuid = std::fs::read_to_string("/proc/sys/kernel/random/uuid").expect("a random name");
    format!("t{}", uuid.trim().replace('-', ""))
}

/// A port that is free now.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// A program in `PATH`, or in one of these folders.
pub(crate) fn find_program(name: &str, folders: &[PathBuf]) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    folders
        .iter()
        .cloned()
        .chain(env::split_paths(&path))
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

/// Waits a moment for a service of another process.
#[expect(clippy::disallowed_methods, reason = "another process starts in real time")]
pub(crate) fn pause() {
    std::thread::sleep(std::time::Duration::from_millis(50));
}
