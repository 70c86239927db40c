//! Group commit: requests that each bring a few records share transactions.
//!
//! One task per region takes what waits and stores it. While it stores, the next requests gather; when nobody waits, a
//! request is stored at once. So an idle vault adds no latency and a busy one needs few commits.

use std::{collections::BTreeMap, sync::Arc};

use callvault_app::{
    Vault,
    core::{AccountSid, Record},
    ingest::{MAX_BATCH, Taken},
};
use tokio::sync::{mpsc, oneshot};

use crate::problem::{Answer, Problem};

/// Requests that may wait; beyond it, senders wait for a place.
const QUEUE: usize = 1_024;

struct Waiting {
    account: AccountSid,
    records: Vec<Record>,
    done: oneshot::Sender<Answer<Vec<Taken>>>,
}

/// Where requests leave their records.
#[derive(Clone)]
pub struct Batcher(mpsc::Sender<Waiting>);

impl Batcher {
    /// Starts the task of a region. It ends with the last clone of the batcher.
    #[must_use]
    pub fn start(vault: Arc<Vault>) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(run(vault, receiver));
        Self(sender)
    }

    /// Stores records of one account, together with what others bring at the same time. They are durable when this
    /// returns.
    ///
    /// # Errors
    /// As [`Vault::ingest`].
    pub async fn ingest(&self, account: AccountSid, records: Vec<Record>) -> Answer<Vec<Taken>> {
        let (done, answer) = oneshot::channel();
        self.0
            .send(Waiting { account, records, done })
            .await
            .map_err(|_| Problem::internal())?;
        answer.await.map_err(|_| Problem::internal())?
    }
}

async fn run(vault: Arc<Vault>, mut receiver: mpsc::Receiver<Waiting>) {
    let mut next = None;
    loop {
        let Some(first) = (match next.take() {
            Some(waiting) => Some(waiting),
            None => receiver.recv().await,
        }) else {
            return;
        };
        let mut records = first.records.len();
        let mut groups: BTreeMap<AccountSid, Vec<Waiting>> = BTreeMap::new();
        groups.entry(first.account.clone()).or_default().push(first);
        while let Ok(waiting) = receiver.try_recv() {
            if records + waiting.records.len() > MAX_BATCH {
                next = Some(waiting);
                break;
            }
            records += waiting.records.len();
            groups.entry(waiting.account.clone()).or_default().push(waiting);
        }
        for (account, group) in groups {
            store(&vault, &account, group).await;
        }
    }
}

async fn store(vault: &Vault, account: &AccountSid, mut group: Vec<Waiting>) {
    let counts: Vec<usize> = group.iter().map(|waiting| waiting.records.len()).collect();
    let together: Vec<Record> = group
        .iter_mut()
        .flat_map(|waiting| std::mem::take(&mut waiting.records))
        .collect();
    match vault.ingest(account, &together).await {
        Ok(taken) => {
            let mut taken = taken.into_iter();
            for (waiting, count) in group.into_iter().zip(counts) {
                let part = taken.by_ref().take(count).collect();
                // Whoever asked may have gone; the records are stored all the same.
                let _ = waiting.done.send(Ok(part));
            }
        }
        Err(error) => {
            let problem = Problem::from(error);
            for waiting in group {
                let _ = waiting.done.send(Err(problem.clone()));
            }
        }
    }
}
