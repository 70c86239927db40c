//! The loop that does what is due.

use std::{sync::Arc, time::Duration};

use callvault_app::{Vault, tick::TickReport};

use crate::{clock, door::Door};

/// The longest pause: other processes may have made work.
const LONGEST: Duration = Duration::from_secs(30);
/// The shortest pause, when something is due that another process is doing.
const SHORTEST: Duration = Duration::from_millis(500);

/// How long to wait after a tick.
fn pause(vault: &Vault, report: &TickReport) -> Duration {
    let Some(next) = report.next_due_at else { return LONGEST };
    let left_us = u64::try_from(next.0.saturating_sub(vault.now().0)).unwrap_or(0);
    Duration::from_micros(left_us).clamp(SHORTEST, LONGEST)
}

/// Ticks a region until the task is dropped.
pub async fn run(vault: Arc<Vault>, door: Option<Arc<Door>>) {
    loop {
        let report = vault.tick().await;
        note(&vault, &report);
        if let Some(door) = &door {
            door.metrics.count_tick(&report);
        }
        clock::wait(pause(&vault, &report)).await;
    }
}

/// How long the line waits when nobody wakes it: other processes take orders too.
const LINE_PAUSE: Duration = Duration::from_secs(1);

/// Works on a region's line until the task is dropped.
pub async fn run_line(door: Arc<Door>) {
    let line = &door.line;
    let remind = async {
        loop {
            clock::wait(LINE_PAUSE).await;
            line.wake();
        }
    };
    let work = async {
        loop {
            for failure in &line.work().await.failures {
                let region = door.vault.region();
                tracing::error!(region, failure, "work on the line failed and will be tried again");
            }
            door.metrics.set_exports(line.export_counts());
            line.woken().await;
        }
    };
    futures::future::join::<_, _>(remind, work).await;
}

/// Logs what a tick did, if it did something.
pub fn note(vault: &Vault, report: &TickReport) {
    let region = vault.region();
    for failure in &report.failures {
        tracing::error!(region, failure, "background work failed and will be tried again");
    }
    for shredded in &report.shredded {
        let (account, class, cause) = (&shredded.account, shredded.class, shredded.cause);
        let (records, log_index) = (shredded.records, shredded.log_index);
        tracing::info!(region, %account, %class, %cause, records, log_index, "keys destroyed");
    }
    if report.sealed + report.rewritten + report.purged > 0 {
        tracing::info!(region, report.sealed, report.rewritten, report.purged, "housekeeping");
    }
}
