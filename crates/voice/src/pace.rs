//! Real time, by which packets come and go. The moments of records are the vault's own; these here are never kept.

#![expect(
    clippy::disallowed_methods,
    reason = "speech is paced by real time, and by nothing else"
)]

use std::time::Instant;

use tokio::time::{Duration, Interval, MissedTickBehavior, interval};

/// Now.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Comes back every so often; late ones are not made up for at once.
pub(crate) fn every(period: Duration, missed: MissedTickBehavior) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(missed);
    interval
}

/// Waits until then.
pub(crate) async fn wait_until(moment: Instant) {
    tokio::time::sleep_until(moment.into()).await;
}

/// Waits.
pub(crate) async fn wait(duration: Duration) {
    tokio::time::sleep(duration).await;
}
