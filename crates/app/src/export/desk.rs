//! Threads that encode exports: few, and always the same.
//!
//! glibc keeps an arena of memory for each thread, and after a large piece was freed it keeps up to twice its size in every
//! arena. Encoders free large pieces (a Parquet column's compressor takes more than a megabyte), so on the runtime's many
//! threads each would come to hold what an encoder needs. More than one a core would not encode faster.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use tokio::sync::oneshot;

/// The most threads.
const MOST: usize = 4;

type Work = Box<dyn FnOnce() + Send>;

struct Desk {
    seats: Vec<mpsc::Sender<Work>>,
    next: AtomicUsize,
}

static DESK: LazyLock<Desk> = LazyLock::new(|| {
    let count = thread::available_parallelism().map_or(1, usize::from).min(MOST);
    let seats = (0..count).filter_map(|_| {
        let (given, taken) = mpsc::channel::<Work>();
        let encode = move || {
            while let Ok(work) = taken.recv() {
                // Whoever waits for work that panics sees that its answer does not come.
                let _ = catch_unwind(AssertUnwindSafe(work));
            }
        };
        let thread = thread::Builder::new().name("encode".to_owned()).spawn(encode);
        thread.ok().map(|_| given)
    });
    Desk {
        seats: seats.collect(),
        next: AtomicUsize::new(0),
    }
});

/// One of the threads.
#[derive(Clone)]
pub(super) struct Seat(Option<mpsc::Sender<Work>>);

impl Seat {
    /// The thread of one more export.
    pub(super) fn take() -> Self {
        let turn = DESK.next.fetch_add(1, Ordering::Relaxed);
        let count = DESK.seats.len().max(1);
        Self(DESK.seats.get(turn % count).cloned())
    }

    /// Works there. Nothing when the work panicked, or there is no thread.
    pub(super) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (done, answer) = oneshot::channel();
        let work: Work = Box::new(move || {
            // Nobody may wait any more.
            let _ = done.send(work());
        });
        self.0.as_ref()?.send(work).ok()?;
        answer.await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_stays_on_its_thread_and_a_panic_ends_nothing_else() {
        let seat = Seat::take();
        let id = || thread::current().id();
        let first = seat.run(id).await;
        assert!(first.is_some() && first != Some(id()));
        let broken: Option<()> = seat.run(|| panic!("on purpose")).await;
        assert!(broken.is_none());
        assert_eq!(seat.run(id).await, first);
    }
}
