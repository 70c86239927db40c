//! A live call's place in the vault while it goes on: no other process takes it for dead, and it ends once.

use std::sync::Arc;

use callvault_app::{
    core::{TimeUs, consent::Consenting, record::CallStatus},
    line::{LiveCall, RENEW_S},
};
use tokio::{sync::Mutex, task::JoinHandle, time::Duration};
use tokio_util::sync::CancellationToken;

use crate::pace;

/// A live call that is kept.
pub(crate) struct Kept {
    /// The call.
    pub(crate) live: Arc<Mutex<LiveCall>>,
    /// When it is to end at once: another process has it, or this one shuts down.
    pub(crate) lost: CancellationToken,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Kept {
    /// Keeps a call from now on.
    pub(crate) fn begin(live: LiveCall, closing: &CancellationToken) -> Self {
        let live = Arc::new(Mutex::new(live));
        let (lost, stop) = (closing.child_token(), CancellationToken::new());
        let (kept, is_lost, is_over) = (Arc::clone(&live), lost.clone(), stop.clone());
        // Half of the time within which it must be said.
        let pause = Duration::from_secs(RENEW_S.unsigned_abs() / 2);
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = pace::wait(pause) => {}
                    () = is_over.cancelled() => return,
                }
                if let Err(error) = kept.lock().await.renew().await {
                    tracing::warn!(%error, "it cannot be said that a call goes on");
                    if error.is_conflict() {
                        is_lost.cancel();
                    }
                }
            }
        });
        Self { live, lost, stop, task }
    }

    /// Ends the call. Its recorder is over by now.
    pub(crate) async fn end(self, at: TimeUs, status: CallStatus, story: Option<&Consenting>) {
        self.stop.cancel();
        let _ = self.task.await;
        let Some(live) = Arc::into_inner(self.live).map(Mutex::into_inner) else {
            tracing::warn!("a call's recorder did not end; the call's record is made when its lease is over");
            return;
        };
        if let Err(error) = live.end(at, status, story).await {
            tracing::warn!(%error, "a call's end could not be kept; its record is made when its lease is over");
        }
    }
}
