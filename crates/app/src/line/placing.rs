//! Calls that are ordered and carried here: the order becomes a live call, and that one ends in the record.

use std::sync::{Arc, Weak};

use callvault_core::{AccountSid, Sid, record::CallStatus};
use callvault_store::rows::JobRow;
use serde_json::json;

use super::{CallOrder, Line, LiveCall};
use crate::{error::Result, vault::Account};

/// How long an order waits for a line that is free, in seconds.
const PATIENCE_S: i64 = 600;
/// How often it is looked for one.
const LOOK_S: i64 = 2;

/// Whether a call can be placed now.
pub enum Room {
    /// The account has no trunk here.
    None,
    /// It has as many calls as it may.
    Full,
    /// It can, and counts already.
    Free(Box<dyn Seat>),
}

/// Places calls for real.
pub trait Placer: Send + Sync {
    /// The line that its calls end on.
    fn line(&self) -> &Arc<Line>;

    /// Takes a line for an account's call, if one is free.
    fn reserve(&self, account: &AccountSid, call: Sid) -> Room;
}

/// A line that is taken for a call; until it is dropped.
pub trait Seat: Send + Sync {
    /// Places the call. Whatever becomes of it, it ends through the live call.
    fn place(self: Box<Self>, call: LiveCall, order: CallOrder);
}

impl Line {
    /// Connects who places calls. The first one stays.
    pub fn connect(&self, placer: Weak<dyn Placer>) {
        let _ = self.placer.set(placer);
    }

    /// Hands an order to who places calls. The job comes back if the carrier has to do it, or nobody has room yet.
    pub(super) async fn place_here(
        &self,
        account: &Account,
        mut job: JobRow,
        order: &CallOrder,
    ) -> Result<Option<JobRow>> {
        let Some(placer) = self.placer.get().and_then(Weak::upgrade) else {
            return Ok(Some(job));
        };
        let now = self.vault.now();
        let seat = match placer.reserve(&account.sid, order.sid) {
            Room::None => return Ok(Some(job)),
            Room::Full if now < order.at.plus_seconds(PATIENCE_S) => {
                job.run_at = now.plus_seconds(LOOK_S);
                self.vault.catalog.release(&job).await?;
                return Ok(None);
            }
            Room::Full => None,
            Room::Free(seat) => Some(seat),
        };
        let owned = self.vault.get_account(&account.sid).await?;
        let begun = placer.line().begin_live(owned, order.call(), Some(order.clone())).await;
        let mut live = match begun {
            Ok(live) => live,
            // It was begun by a process that died since, and ends as a live call.
            Err(error) if error.is_conflict() => return self.finish(job).await.map(|()| None),
            Err(error) => return Err(error),
        };
        if let Some(text) = &order.custom_field {
            live.note("custom_field", json!(text));
        }
        if order.record {
            live.note("record", json!(true));
        }
        self.finish(job).await?;
        match seat {
            Some(seat) => seat.place(live, order.clone()),
            None => {
                live.note("failed", json!("no line is free"));
                live.end(self.vault.now(), CallStatus::Failed, None).await?;
            }
        }
        Ok(None)
    }
}
