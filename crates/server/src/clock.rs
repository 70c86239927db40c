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
