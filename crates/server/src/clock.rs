//! Real time. Nothing else in the workspace asks the system what time it is, or waits.

use std::time::{Duration, Instant};

use callvault_app::{Clock, core::TimeUs};

/// The system's clock, UTC.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that owns the real clock")]
    fn now(&self) -> TimeUs {
        TimeUs(jiff::Timestamp::now().as_microsecond())
    }
}

/// A clock that was set to a moment and runs on from it.
#[derive(Debug, Clone, Copy)]
pub struct RunningClock {
    began_at: TimeUs,
    watch: Stopwatch,
}

impl RunningClock {
    /// A clock that shows this moment now.
    #[must_use]
    pub fn start(at: TimeUs) -> Self {
        Self {
            began_at: at,
            watch: Stopwatch::start(),
        }
    }
}

impl Clock for RunningClock {
    fn now(&self) -> TimeUs {
        let ran_us = i64::try_from(self.watch.elapsed().as_micros()).unwrap_or(i64::MAX);
        TimeUs(self.began_at.0.saturating_add(ran_us))
    }
}

/// Waits.
#[expect(clippy::disallowed_methods, reason = "the one place that waits")]
pub async fn wait(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Measures how long something takes.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "latencies are measured in real time")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
