//! Work on the line that a crash interrupts: support requests, campaigns, export jobs and live calls, whatever call of a store fails.

#![expect(clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "line/campaigns.rs"]
mod campaigns;
#[path = "line/export_jobs.rs"]
mod export_jobs;
#[path = "line/live.rs"]
mod live;
#[path = "line/requests.rs"]
mod requests;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use callvault_app::{
    Vault,
    line::{
        CallOrder, CallOutcome, Carrier, CarrierError, Courier, Letter, Line, MessageOrder, MessageOutcome, PostError,
        Question, Reply,
    },
};
use callvault_core::{Sid, record::CallStatus};

/// What the carrier was asked for, by number and SID, and how each number answers.
#[derive(Clone, Default)]
pub(crate) struct Phone {
    /// Orders by number: the SIDs in order, each as often as it was ordered.
    pub(crate) rung: Arc<Mutex<BTreeMap<String, Vec<Sid>>>>,
    /// Ends of a number's calls, one after the other; the last one for all that follow.
    pub(crate) ends: Arc<Mutex<BTreeMap<String, Vec<CallStatus>>>>,
    /// Letters that were posted.
    pub(crate) posted: Arc<Mutex<Vec<Letter>>>,
}

impl Phone {
    /// A line with this carrier and courier.
    pub(crate) fn line(&self, vault: Arc<Vault>) -> Line {
        Line::new(vault, Arc::new(self.clone()), Arc::new(self.clone()))
    }

    /// The calls that a number got, each once.
    pub(crate) fn calls(&self, number: &str) -> Vec<Sid> {
        let mut sids = self
            .rung
            .lock()
            .expect("a lock")
            .get(number)
            .cloned()
            .unwrap_or_default();
        sids.sort_unstable();
        sids.dedup();
        sids
    }
}

#[async_trait]
impl Carrier for Phone {
    fn name(&self) -> &'static str {
        "test"
    }

    async fn place_call(&self, order: &CallOrder) -> Result<CallOutcome, CarrierError> {
        let number = order.from.as_str().to_owned();
        self.rung
            .lock()
            .expect("a lock")
            .entry(number.clone())
            .or_default()
            .push(order.sid);
        let attempt = self.calls(&number).len();
        let ends = self.ends.lock().expect("a lock");
        let ends = ends.get(&number).map_or(&[][..], Vec::as_slice);
        let status = ends
            .get(attempt - 1)
            .or(ends.last())
            .copied()
            .unwrap_or(CallStatus::Completed);
        Ok(CallOutcome {
            status,
            answered_after_s: (status == CallStatus::Completed).then_some(2),
            ended_after_s: 5,
            price_micros: None,
        })
    }

    async fn send_message(&self, _: &MessageOrder) -> Result<MessageOutcome, CarrierError> {
        panic!("nobody writes")
    }
}

#[async_trait]
impl Courier for Phone {
    async fn post(&self, letter: &Letter) -> Result<u16, PostError> {
        self.posted.lock().expect("a lock").push(letter.clone());
        Ok(200)
    }

    async fn ask(&self, _: &Question<'_>) -> Result<Reply, PostError> {
        panic!("nobody asks")
    }
}
