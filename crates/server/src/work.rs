//! The loop that does what is due.

use std::{sync::Arc, time::Duration};

use callvault_app::{Vault, tick::TickReport};

use crate::{
    acme, clock,
    config::Here,
    door::Door,
    plain::Challenges,
    tls::{Certificate, Looked},
};

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

/// How often the files of a certificate are looked at.
const LOOK_PAUSE: Duration = Duration::from_secs(20);

/// Looks at a door's certificate every while and when the process gets SIGHUP, until the task is dropped.
pub async fn watch_certificate(certificate: Arc<Certificate>, door: Arc<Door>) {
    let mut hangup = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).ok();
    loop {
        show(&certificate, &door).await;
        let told = async {
            match &mut hangup {
                Some(hangup) => _ = hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = clock::wait(LOOK_PAUSE) => {}
            () = told => {}
        }
    }
}

/// Serves a certificate's files as they are now, to whoever connects and whoever calls.
async fn show(certificate: &Certificate, door: &Door) {
    let is_other = look(certificate, door);
    let Some(exchange) = door.exchange.as_ref().filter(|_| is_other) else {
        return;
    };
    let renewed = match certificate.read_pair() {
        Ok(pair) => exchange.renew(&pair).await.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    if let Err(error) = renewed {
        tracing::error!(%error, "calls by TLS get the certificate that they got before");
    }
}

/// Serves a certificate's files as they are now. Whether they are others than before.
pub fn look(certificate: &Certificate, door: &Door) -> bool {
    let region = door.vault.region();
    let looked = certificate.look();
    match &looked {
        Looked::Same | Looked::StillBroken => {}
        Looked::Renewed => tracing::info!(region, "new connections get another certificate"),
        Looked::Broken(error) => {
            door.metrics.count_broken_certificate();
            tracing::error!(region, %error, "the certificate's files cannot be served; the one before still is");
        }
    }
    door.metrics
        .note_days_left(certificate.life().days_left(door.vault.now()));
    matches!(looked, Looked::Renewed)
}

/// The longest pause between two looks at what an authority's certificate has left.
const ORDER_PAUSE: Duration = Duration::from_secs(3_600);

/// Fetches certificates from an authority when they are due, until the task is dropped.
pub async fn keep_certificate(here: Here, challenges: Challenges, certificate: Arc<Certificate>, door: Arc<Door>) {
    let Some(authority) = &here.acme else { return };
    let region = door.vault.region();
    let mut failures = 0_u32;
    loop {
        let (now, has_names) = (door.vault.now(), acme::has_names(&here, authority));
        let due_at = acme::plan_order(has_names, certificate.life().renew_at(), now);
        if due_at > now {
            let left = Duration::from_micros(u64::try_from(due_at.0.saturating_sub(now.0)).unwrap_or(0));
            clock::wait(left.min(ORDER_PAUSE)).await;
            continue;
        }
        match acme::order(&here, authority, &challenges).await {
            Ok(()) => {
                failures = 0;
                tracing::info!(region, "the authority issued a certificate");
                show(&certificate, &door).await;
            }
            Err(error) => {
                failures = failures.saturating_add(1);
                door.metrics.count_acme_failure();
                let pause = acme::plan_retry(failures);
                tracing::error!(region, %error, failures, again_in_s = pause.as_secs(), "no certificate from the authority");
                clock::wait(pause).await;
            }
        }
    }
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
