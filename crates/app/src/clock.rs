//! The clock port. Only the binary owns the real one.

use std::sync::atomic::{AtomicI64, Ordering};

use callvault_core::TimeUs;

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> TimeUs;
}

/// A clock that stands still until it is set; for simulations and the demo.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows this moment.
    #[must_use]
    pub const fn new(at: TimeUs) -> Self {
        Self(AtomicI64::new(at.0))
    }

    /// Moves the clock forward. A moment in the past leaves it where it is.
    pub fn advance_to(&self, at: TimeUs) {
        self.0.fetch_max(at.0, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> TimeUs {
        TimeUs(self.0.load(Ordering::SeqCst))
    }
}
