//! Crash anywhere: every store call of every kind of work fails once, before and after it took effect; the process dies
//! there, or goes on. After a restart nothing acknowledged is missing, nothing is half done, and nothing deleted is back.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests"
)]

#[path = "crashes/full.rs"]
mod full;
#[path = "crashes/killed.rs"]
mod killed;
#[path = "crashes/stores.rs"]
mod stores;

use callvault_app::{Vault, VaultError, doctor::Severity, read::Query};
use callvault_core::{AccountSid, Class, Plan, Reader, Sid, TimeUs};
use callvault_testkit::{
    conformance::checks::check,
    fault::{Faults, Mode},
    world::{Pair, World, at},
};
use futures::TryStreamExt;

/// When every scenario begins.
const START: &str = "2027-03-01T12:00:00Z";
/// Records of the day on which scenarios take place.
const DAY: &str = "2027-03-01T09:00:00Z";

/// Runs `act` with a fault at its first call, its second and so on, in every mode, until it completes without meeting
/// one. `verify` is told whether `act` was acknowledged, and whether the background work has had its time.
///
/// On PostgreSQL and S3, where a new region takes a second, each mode takes another fifth of the calls;
/// `CALLVAULT_CRASH_EVERY=1` takes them all.
async fn fail_everywhere<F>(
    pair: Pair,
    calls_at_least: u64,
    setup: impl AsyncFn(&World) -> F,
    act: impl AsyncFn(&Vault, &World, &F) -> Result<(), String>,
    verify: impl AsyncFn(&World, &F, bool, bool, &str),
) {
    let every = match pair {
        Pair::Embedded => 1,
        Pair::Scaled => std::env::var("CALLVAULT_CRASH_EVERY").map_or(5, |text| text.parse().expect("a number")),
    };
    for (first, mode) in Mode::ALL.into_iter().enumerate() {
        for n in (first % every..).step_by(every) {
            let n = n as u64;
            let mut world = World::new(pair, at(START)).await;
            let fixture = setup(&world).await;
            let faults = Faults::default();
            let vault = Vault::open(faults.wrap(&world.parts)).await.unwrap();
            faults.arm(n, mode);
            let outcome = act(&vault, &world, &fixture).await;
            let Some(place) = faults.struck() else {
                outcome.unwrap();
                assert!(n >= calls_at_least || mode != Mode::FullOnce, "only {n} calls were met");
                break;
            };
            drop(vault);
            world.restart().await;
            verify(&world, &fixture, outcome.is_ok(), false, &place).await;
            settle(&world, &place).await;
            verify(&world, &fixture, outcome.is_ok(), true, &place).await;
        }
    }
}

/// Lets the background work finish what a crash left, and checks what must hold then.
async fn settle(world: &World, place: &str) {
    use callvault_app::Clock as _;
    check(&world.parts.catalog).await;
    let now = world.clock.now();
    for later in [
        now.plus_seconds(90),
        now.plus_days(1),
        now.plus_days(2).plus_seconds(90),
    ] {
        world.clock.advance_to(later);
        let report = world.vault.tick().await;
        assert!(report.failures.is_empty(), "{place}: {report:?}");
    }
    check(&world.parts.catalog).await;
    for finding in world.vault.doctor().await.unwrap() {
        assert_eq!(finding.severity, Severity::Good, "{place}: {finding:?}");
    }
    let staged = world.parts.catalog.list_staged(TimeUs::NEVER, 100).await.unwrap();
    assert_eq!(staged, Vec::<String>::new(), "{place}: unfinished objects");
}

async fn acme(world: &World) -> AccountSid {
    world.account("acme", Plan::Growth).await
}

/// How many calls a reader finds on the day.
async fn count_calls(vault: &Vault, account: &AccountSid, reader: Reader) -> usize {
    let (mut count, mut query) = (
        0,
        Query {
            limit: 1_000,
            ..Query::default()
        },
    );
    loop {
        let page = vault.list_records(account, Class::Call, &query, reader).await.unwrap();
        count += page.records.len();
        query.after = page.next;
        if query.after.is_none() {
            return count;
        }
    }
}

/// A recording's audio, or nothing when it is gone.
async fn find_audio(vault: &Vault, account: &AccountSid, sid: Sid) -> Option<Vec<u8>> {
    match vault
        .read_recording(account, sid, 0..u64::MAX, Reader::Compliance)
        .await
    {
        Ok(stream) => Some(stream.try_collect::<Vec<_>>().await.unwrap().concat()),
        Err(VaultError::NotFound { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

/// What a tick failed at, as an error.
async fn tick(vault: &Vault) -> Result<(), String> {
    let report = vault.tick().await;
    if report.failures.is_empty() {
        Ok(())
    } else {
        Err(report.failures.join("; "))
    }
}

fn text(error: VaultError) -> String {
    error.to_string()
}
