//! Counters for Prometheus. No label names an account, a number or a path with values.

use std::{
    fmt::Write,
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
    time::Duration,
};

use callvault_app::{ingest::Taken, tick::TickReport};

/// Upper bounds of the latency histogram, in milliseconds.
const BUCKETS_MS: [u64; 7] = [1, 5, 20, 100, 500, 2_000, 10_000];

/// What a door counts since it was opened.
#[derive(Debug, Default)]
pub struct Metrics {
    by_status: [AtomicU64; 5],
    latency: [AtomicU64; 7],
    latency_us: AtomicU64,
    stored: AtomicU64,
    known: AtomicU64,
    rejected: AtomicU64,
    ticks: AtomicU64,
    tick_failures: AtomicU64,
    shredded: AtomicU64,
    log_size: AtomicU64,
    exports_done: AtomicU64,
    exports_failed: AtomicU64,
    tls_days_left: AtomicI64,
    tls_broken: AtomicU64,
    acme_failures: AtomicU64,
}

impl Metrics {
    /// A request was answered.
    pub fn count_request(&self, status: u16, took: Duration) {
        if let Some(counter) = self.by_status.get(usize::from(status / 100).saturating_sub(1)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        for (bucket, _) in self
            .latency
            .iter()
            .zip(BUCKETS_MS)
            .filter(|(_, bound)| took_ms <= *bound)
        {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.latency_us
            .fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Records came in.
    pub fn count_taken(&self, taken: &[Taken]) {
        for one in taken {
            let counter = match one {
                Taken::New { .. } => &self.stored,
                Taken::Known { .. } => &self.known,
                Taken::Rejected { .. } => &self.rejected,
            };
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Background work was done.
    pub fn count_tick(&self, report: &TickReport) {
        self.ticks.fetch_add(1, Ordering::Relaxed);
        self.tick_failures
            .fetch_add(report.failures.len() as u64, Ordering::Relaxed);
        self.shredded.fetch_add(
            report.shredded.iter().map(|shredded| shredded.records).sum(),
            Ordering::Relaxed,
        );
        self.log_size.store(report.log_size, Ordering::Relaxed);
    }

    /// Runs of exports on schedule that ended well, and attempts that failed, since the process began.
    pub fn set_exports(&self, (done, failed): (u64, u64)) {
        self.exports_done.store(done, Ordering::Relaxed);
        self.exports_failed.store(failed, Ordering::Relaxed);
    }

    /// The days that the certificate has left.
    pub fn note_days_left(&self, days: i64) {
        self.tls_days_left.store(days, Ordering::Relaxed);
    }

    /// The certificate's files could not be served.
    pub fn count_broken_certificate(&self) {
        self.tls_broken.fetch_add(1, Ordering::Relaxed);
    }

    /// The authority issued no certificate.
    pub fn count_acme_failure(&self) {
        self.acme_failures.fetch_add(1, Ordering::Relaxed);
    }

    /// The Prometheus text format, version 0.0.4.
    #[must_use]
    pub fn render(&self, region: &str) -> String {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut text = String::new();
        // Writing to a String cannot fail.
        let mut line = |args: std::fmt::Arguments<'_>| {
            let _ = text.write_fmt(args);
            text.push('\n');
        };
        line(format_args!("# TYPE callvault_requests_total counter"));
        for (class, counter) in (1..).zip(&self.by_status) {
            line(format_args!(
                "callvault_requests_total{{region=\"{region}\",status=\"{class}xx\"}} {}",
                read(counter)
            ));
        }
        let requests: u64 = self.by_status.iter().map(read).sum();
        line(format_args!("# TYPE callvault_request_seconds histogram"));
        for (bound, counter) in BUCKETS_MS.iter().zip(&self.latency) {
            let seconds = Duration::from_millis(*bound).as_secs_f64();
            line(format_args!(
                "callvault_request_seconds_bucket{{region=\"{region}\",le=\"{seconds}\"}} {}",
                read(counter)
            ));
        }
        line(format_args!(
            "callvault_request_seconds_bucket{{region=\"{region}\",le=\"+Inf\"}} {requests}"
        ));
        let sum = Duration::from_micros(read(&self.latency_us)).as_secs_f64();
        line(format_args!(
            "callvault_request_seconds_sum{{region=\"{region}\"}} {sum}"
        ));
        line(format_args!(
            "callvault_request_seconds_count{{region=\"{region}\"}} {requests}"
        ));
        for (name, kind, counter) in [
            ("records_stored_total", "counter", &self.stored),
            ("records_known_total", "counter", &self.known),
            ("records_rejected_total", "counter", &self.rejected),
            ("records_shredded_total", "counter", &self.shredded),
            ("ticks_total", "counter", &self.ticks),
            ("tick_failures_total", "counter", &self.tick_failures),
            ("log_entries", "gauge", &self.log_size),
            ("scheduled_exports_done_total", "counter", &self.exports_done),
            ("scheduled_exports_failed_total", "counter", &self.exports_failed),
            ("tls_reload_failures_total", "counter", &self.tls_broken),
            ("acme_failures_total", "counter", &self.acme_failures),
        ] {
            line(format_args!("# TYPE callvault_{name} {kind}"));
            line(format_args!(
                "callvault_{name}{{region=\"{region}\"}} {}",
                read(counter)
            ));
        }
        let days = self.tls_days_left.load(Ordering::Relaxed);
        line(format_args!("# TYPE callvault_tls_days_left gauge"));
        line(format_args!("callvault_tls_days_left{{region=\"{region}\"}} {days}"));
        text
    }
}
