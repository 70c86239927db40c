//! Stores that fail at a call of the test's choice: before it reaches the store, or after it took effect.

mod catalog;
mod credentials;
mod documents;
mod objects;

use std::sync::{Arc, Mutex, PoisonError};

use callvault_app::Parts;
use callvault_store::StoreError;

pub use catalog::FaultyCatalog;
pub use objects::FaultyObjects;

/// How the chosen call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It never reaches the store, nor does any call after it: the process died.
    DiesBefore,
    /// It takes effect, its answer is lost, and no call after it reaches the store: the process died.
    DiesAfter,
    /// It never reaches the store, which says it is full; later calls succeed.
    FullOnce,
    /// It takes effect and its answer is lost; later calls succeed.
    AnswerLost,
}

impl Mode {
    /// The ways that differ in what they leave: dying before a call leaves what dying after the one before it does.
    pub const ALL: [Self; 3] = [Self::DiesAfter, Self::FullOnce, Self::AnswerLost];

    /// Whether a call counts: a lost answer is only of interest where something took effect.
    fn counts(self, call: &str) -> bool {
        let reads = ["find_", "get", "list", "log_size", "ping", "dump"]
            .iter()
            .any(|start| call.starts_with(start));
        // Listing what is staged dooms it.
        matches!(self, Self::DiesBefore | Self::FullOnce) || !reads || call == "list_staged"
    }
}

#[derive(Default)]
struct State {
    armed: Option<(Mode, u64)>,
    calls: u64,
    struck: Option<String>,
}

/// The switch of a pair of faulty stores. Clones share it.
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<State>>);

impl Faults {
    /// The same region on stores that fail.
    #[must_use]
    pub fn wrap(&self, parts: &Parts) -> Parts {
        Parts {
            catalog: Arc::new(FaultyCatalog {
                inner: Arc::clone(&parts.catalog),
                faults: self.clone(),
            }),
            objects: Arc::new(FaultyObjects {
                inner: Arc::clone(&parts.objects),
                faults: self.clone(),
            }),
            ..parts.clone()
        }
    }

    /// Lets the `n`th call from now fail.
    pub fn arm(&self, n: u64, mode: Mode) {
        *self.state() = State {
            armed: Some((mode, n)),
            calls: 0,
            struck: None,
        };
    }

    /// Where the fault struck, if it did.
    #[must_use]
    pub fn struck(&self) -> Option<String> {
        self.state().struck.clone()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call and decides how it goes.
    fn decide(&self, store: &'static str, call: &'static str) -> Option<Mode> {
        let mut state = self.state();
        let (mode, n) = state.armed?;
        let now = state.calls;
        if now <= n && !mode.counts(call) {
            return None;
        }
        state.calls += 1;
        if now == n {
            state.struck = Some(format!("{store} {call}, call {n}, {mode:?}"));
            return Some(mode);
        }
        let dead = now > n && matches!(mode, Mode::DiesBefore | Mode::DiesAfter);
        dead.then_some(Mode::DiesBefore)
    }

    async fn around<T>(
        &self,
        store: &'static str,
        call: &'static str,
        work: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let lost = || StoreError::Unavailable {
            store,
            reason: "a fault of the test".to_owned(),
        };
        match self.decide(store, call) {
            None => work.await,
            Some(Mode::DiesBefore) => Err(lost()),
            Some(Mode::FullOnce) => Err(StoreError::Full { store }),
            Some(Mode::DiesAfter | Mode::AnswerLost) => {
                work.await?;
                Err(lost())
            }
        }
    }
}
