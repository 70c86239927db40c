//! Retention is exact: three simulated years of random life, against a plain model of spec section 1, on every pair of
//! stores. `CALLVAULT_SIM_CASES` runs more seeds, `CALLVAULT_SIM_SEED` begins at another one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "retention/events.rs"]
mod events;
#[path = "retention/model.rs"]
mod model;
#[path = "retention/sim.rs"]
mod sim;

use callvault_testkit::world::Pair;

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name)
        .ok()
        .map_or(otherwise, |text| text.parse().expect("a number"))
}

/// Every other seed of this run, from the first or from the second on, so that two tests share the work.
async fn embedded(offset: u64) {
    let first = setting("CALLVAULT_SIM_SEED", 1);
    for seed in (first..first + setting("CALLVAULT_SIM_CASES", 4))
        .skip(usize::try_from(offset).unwrap())
        .step_by(2)
    {
        sim::Sim::run(Pair::Embedded, seed).await;
    }
}

#[tokio::test]
async fn three_years_agree_with_the_model_on_sqlite_and_files() {
    embedded(0).await;
}

#[tokio::test]
async fn three_other_years_agree_with_the_model_on_sqlite_and_files() {
    embedded(1).await;
}

#[tokio::test]
async fn three_years_agree_with_the_model_on_postgresql_and_s3() {
    if Pair::all().contains(&Pair::Scaled) {
        let first = setting("CALLVAULT_SIM_SEED", 101);
        for seed in first..first + setting("CALLVAULT_SIM_CASES", 6).div_ceil(6) {
            sim::Sim::run(Pair::Scaled, seed).await;
        }
    }
}

/// The model's own calendar is right where it matters.
#[test]
fn the_models_years_are_calendar_years() {
    use callvault_testkit::world::at;
    for (from, to) in [
        ("2028-02-29T23:59:59Z", "2029-02-28T23:59:59Z"),
        ("2027-02-28T00:00:00Z", "2028-02-28T00:00:00Z"),
        ("2027-03-01T00:00:00Z", "2028-03-01T00:00:00Z"),
        ("2027-12-31T23:59:59.999999Z", "2028-12-31T23:59:59.999999Z"),
    ] {
        assert_eq!(model::plus_years(at(from).0, 1), at(to).0, "{from}");
    }
}
