//! Whether this machine keeps up: who takes a call while packets are late already makes every call worse.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::MissedTickBehavior;

use crate::{media::FRAME_MS, pace};

/// Ticks that are looked back on: a second and a bit.
const TICKS: u32 = 60;
/// Late ones among them from which on no more is taken: one in ten.
const LATE: u32 = TICKS / 10;

/// How late what is due has been lately.
pub(crate) struct Load {
    most_late: Duration,
    /// One bit a tick, the newest lowest: whether it was late.
    late: AtomicU64,
}

impl Load {
    /// `most_late` is what a packet may come too late without anybody hearing it.
    pub(crate) const fn new(most_late: Duration) -> Self {
        Self {
            most_late,
            late: AtomicU64::new(0),
        }
    }

    /// Watches, until it is dropped.
    pub(crate) async fn watch(&self) {
        let due = Duration::from_millis(FRAME_MS);
        let mut tick = pace::every(due, MissedTickBehavior::Delay);
        let mut before = pace::now();
        loop {
            tick.tick().await;
            let now = pace::now();
            self.note(now.duration_since(before).saturating_sub(due));
            before = now;
        }
    }

    fn note(&self, late: Duration) {
        let bit = u64::from(late > self.most_late);
        let kept = self.late.load(Ordering::Relaxed) << 1 | bit;
        self.late.store(kept & ((1 << TICKS) - 1), Ordering::Relaxed);
    }

    /// Whether no more calls are to be taken.
    pub(crate) fn is_behind(&self) -> bool {
        self.late.load(Ordering::Relaxed).count_ones() >= LATE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_late_one_time_in_ten_takes_no_more_until_that_is_over() {
        let load = Load::new(Duration::from_millis(50));
        let (late, fine) = (Duration::from_millis(51), Duration::from_millis(50));
        for n in 0..1_000 {
            load.note(if n % 13 == 0 { late } else { fine });
            assert!(!load.is_behind(), "five of sixty are late");
        }
        for _ in 0..TICKS {
            load.note(fine);
        }
        assert!(!load.is_behind());
        for n in 1..=LATE {
            load.note(late);
            assert_eq!(load.is_behind(), n == LATE);
        }
        for _ in 0..TICKS - 1 {
            load.note(fine);
        }
        assert!(!load.is_behind(), "one is left");
    }
}
