//! Recordings that have lapsed. Each has a key of its own, so each is destroyed on its own second.

use std::collections::BTreeMap;

use callvault_core::{
    AccountSid, Class, KeyId, TimeUs,
    hold::{Cause, is_held},
    inventory::{Inventory, RecordingItem},
    plan::{Plan, Policies, plan},
    retention::{Policy, Term},
    time::DAY_US,
};
use callvault_store::rows::{RecordingQuery, RecordingRow};

use super::{PAGE, Shredded, key_of};
use crate::{
    deletion::{KEYS_A_LEAF, facts_of, is_conflict},
    error::Result,
    vault::{Account, Vault},
};

const SWEPT: &str = "recordings-swept";

impl Vault {
    /// Destroys what has lapsed of an account's recordings. Returns what went and when the next one lapses.
    pub(crate) async fn sweep_recordings(
        &self,
        sid: &AccountSid,
        now: TimeUs,
    ) -> Result<(Vec<Shredded>, Option<TimeUs>)> {
        let account = self.get_account(sid).await?;
        let mark = format!("{SWEPT}/{sid}");
        let since = match self.catalog.find_value(&mark).await? {
            Some(bytes) => std::str::from_utf8(&bytes)
                .ok()
                .and_then(|text| text.parse().ok())
                .map_or(TimeUs(0), TimeUs),
            None => TimeUs(0),
        };
        let (cutoff, settled) = cutoff_of(&account.policy, since, now);
        let mut shredded = Vec::new();
        let mut query = RecordingQuery {
            limit: PAGE,
            ..RecordingQuery::default()
        };
        let mut next = None;
        let mut overtaken = false;
        loop {
            let rows = self.catalog.list_recordings(sid, &query).await?;
            let Some(last) = rows.last() else { break };
            query.after = Some((last.at, last.sid));
            let past = last.at > cutoff;
            let (due, upcoming) = due_recordings(&account, &rows, now, self.purge);
            next = [next, upcoming].into_iter().flatten().min();
            for (cause, rows) in due {
                let done = self.shred_recordings(&account, &rows, cause, now).await;
                if is_conflict(&done) {
                    overtaken = true;
                    continue;
                }
                for (chunk, log_index) in rows.chunks(KEYS_A_LEAF).zip(done?) {
                    let (account, records) = (sid.clone(), chunk.len() as u64);
                    shredded.push(Shredded {
                        account,
                        class: Class::Recording,
                        cause,
                        records,
                        log_index,
                    });
                }
            }
            if past || (rows.len() as u32) < PAGE {
                break;
            }
        }
        if overtaken {
            // A hold was placed meanwhile, or another process was first: what is left is looked at again.
            next = Some(now);
        } else if !settled {
            self.catalog.put_value(&mark, now.0.to_string().as_bytes()).await?;
        }
        Ok((shredded, next))
    }
}

/// The recordings that are due, by cause, and when the first of the others is.
fn due_recordings(
    account: &Account,
    rows: &[RecordingRow],
    now: TimeUs,
    purge: callvault_core::Purge,
) -> (BTreeMap<Cause, Vec<RecordingRow>>, Option<TimeUs>) {
    let recordings = rows.iter().map(|row| recording_item(account, row, now)).collect();
    let inventory = Inventory {
        recordings,
        ..Inventory::default()
    };
    let policies = Policies::from([(account.sid.clone(), account.policy.clone())]);
    let Plan { steps, next_due_at, .. } = plan(&policies, &inventory, now, purge);
    let mut due: BTreeMap<Cause, Vec<RecordingRow>> = BTreeMap::new();
    let by_key: BTreeMap<KeyId, &RecordingRow> = rows.iter().map(|row| (row.key, row)).collect();
    for step in &steps {
        if let Some(row) = by_key.get(&key_of(step)) {
            due.entry(step.reason.cause().unwrap_or(Cause::Term))
                .or_default()
                .push((*row).clone());
        }
    }
    (due, next_due_at)
}

/// The planner's view of a recording.
pub(crate) fn recording_item(account: &Account, row: &RecordingRow, now: TimeUs) -> RecordingItem {
    let facts = facts_of(row);
    let held = is_held(&account.policy, &account.holds, &facts, now);
    let lifted = account
        .holds
        .iter()
        .filter(|hold| hold.matches(&facts))
        .filter_map(|hold| hold.lifted_at)
        .max();
    RecordingItem {
        account: row.account.clone(),
        sid: row.sid,
        key: row.key,
        at: row.at,
        kept_since: row.kept_since,
        bytes: row.bytes,
        held,
        released_at: lifted.filter(|_| !held),
    }
}

/// The latest moment a recording that has lapsed can have begun at, and whether the retention was the same ever since
/// the last sweep. After a change a sweep looks back over every setting that was in force since the last one, so that
/// what lapsed under an old setting is found though a new one is longer.
fn cutoff_of(policy: &Policy, since: TimeUs, now: TimeUs) -> (TimeUs, bool) {
    let changes = policy
        .recording
        .iter()
        .map(|setting| setting.effective_at)
        .filter(|at| *at > since && *at <= now);
    let moments = changes.chain([since, now]);
    let shortest = moments.map(|at| policy.recording_days_at(at)).min().unwrap_or(1);
    let mut cutoff = now.0 - i64::from(shortest) * DAY_US;
    let floors = policy.floors.iter().filter(|floor| floor.class == Class::Recording);
    for floor in floors.filter(|floor| floor.from <= since && floor.until.is_none()) {
        match floor.term {
            Term::Days(days) => cutoff = cutoff.min(now.0 - i64::from(days) * DAY_US),
            Term::Years(years) => cutoff = cutoff.min(now.0 - i64::from(years) * 365 * DAY_US),
            Term::UntilDeleted => {}
        }
    }
    (
        TimeUs(cutoff),
        shortest == policy.recording_days_at(now) && since.0 != 0,
    )
}
