//! Where passwords are hashed: a few at a time, beside the requests. Each takes 19 MiB and tens of milliseconds.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use callvault_app::seal::password::PasswordHash;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::problem::{Answer, Problem};

/// Hashed at once: 76 MiB at most.
const AT_ONCE: usize = 4;
/// Waiting beside those; more are told to come back.
const WAITING: usize = 64;

/// The place.
pub struct Passwords {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: AtomicUsize::new(0),
        }
    }
}

impl Passwords {
    /// Whether this is the password.
    ///
    /// # Errors
    /// 503 when too many are being checked.
    pub async fn fits(&self, password: Zeroizing<String>, hash: PasswordHash) -> Answer<bool> {
        self.run(move || hash.fits(password.as_bytes())).await
    }

    /// A new hash.
    ///
    /// # Errors
    /// As [`Passwords::fits`].
    pub async fn hash(&self, password: Zeroizing<String>) -> Answer<PasswordHash> {
        self.run(move || PasswordHash::new(password.as_bytes())).await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, callvault_app::seal::SealError> + Send + 'static,
    ) -> Answer<T> {
        let queued = Queued::enter(&self.waiting)?;
        let place = Arc::clone(&self.places).acquire_owned().await;
        let place = place.map_err(|_| Problem::internal())?;
        drop(queued);
        // The place is taken until the work is done, even when nobody waits for it any more.
        let done = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(place);
            result
        })
        .await;
        done.map_err(|_| Problem::internal())?.map_err(|error| {
            tracing::error!(%error, "a password could not be hashed");
            Problem::internal()
        })
    }
}

/// A place in the queue, given back whatever happens.
struct Queued<'a>(&'a AtomicUsize);

impl<'a> Queued<'a> {
    fn enter(waiting: &'a AtomicUsize) -> Answer<Self> {
        if waiting.fetch_add(1, Ordering::Relaxed) >= WAITING {
            waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(Problem::busy("Too many people are signing in at once; try again."));
        }
        Ok(Self(waiting))
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_refuses_and_places_come_back() {
        let waiting = AtomicUsize::new(0);
        let queue: Vec<_> = (0..WAITING)
            .map(|_| Queued::enter(&waiting).expect("a place"))
            .collect();
        assert!(Queued::enter(&waiting).is_err_and(|problem| problem.status == 503));
        drop(queue);
        assert!(Queued::enter(&waiting).is_ok());
    }
}
