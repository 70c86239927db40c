//! Documents whose term is over. Each has a key of its own, so each is destroyed on its own second.

use std::collections::BTreeMap;

use callvault_core::{
    AccountSid, DocumentKind, KeyId, Sid, TimeUs,
    hold::{Cause, is_held},
    inventory::{DocumentItem, Inventory},
    plan::{Plan, Policies, plan},
    retention::{Term, base_term},
};
use callvault_store::rows::DocumentRow;

use super::{PAGE, Shredded, TickReport, key_of};
use crate::{
    deletion::KEYS_A_LEAF,
    document::{facts_of, parties_of},
    error::Result,
    vault::{Account, Vault},
};

impl Vault {
    /// Destroys the documents whose term is over, of every account.
    pub(super) async fn sweep_documents(&self, now: TimeUs, report: &mut TickReport) -> Result<()> {
        let kinds = DocumentKind::ALL.into_iter();
        for kind in kinds.filter(|kind| base_term(kind.class()) != Term::UntilDeleted) {
            let before = self.last_lapsed_day(kind.class(), now).plus(2).start();
            let mut after: Option<(TimeUs, AccountSid, Sid)> = None;
            loop {
                let place = after.as_ref().map(|(at, account, id)| (*at, account, *id));
                let rows = self.catalog.list_documents_before(kind, before, place, PAGE).await?;
                let Some(last) = rows.last() else { break };
                after = Some((last.at, last.account.clone(), last.id));
                let mut by_account: BTreeMap<AccountSid, Vec<DocumentRow>> = BTreeMap::new();
                for row in rows {
                    by_account.entry(row.account.clone()).or_default().push(row);
                }
                for (sid, rows) in by_account {
                    let done = self.sweep_documents_of(&sid, kind, &rows, now, report).await;
                    report.note("documents of an account", done);
                }
            }
        }
        Ok(())
    }

    async fn sweep_documents_of(
        &self,
        sid: &AccountSid,
        kind: DocumentKind,
        rows: &[DocumentRow],
        now: TimeUs,
        report: &mut TickReport,
    ) -> Result<()> {
        let account = self.get_account(sid).await?;
        let inventory = Inventory {
            documents: rows.iter().map(|row| document_item(&account, row, now)).collect(),
            ..Inventory::default()
        };
        let policies = Policies::from([(account.sid.clone(), account.policy.clone())]);
        let Plan { steps, next_due_at, .. } = plan(&policies, &inventory, now, self.purge);
        report.wake(next_due_at);
        let by_key: BTreeMap<KeyId, &DocumentRow> = rows.iter().map(|row| (row.key, row)).collect();
        let mut due: BTreeMap<Cause, Vec<DocumentRow>> = BTreeMap::new();
        for step in &steps {
            if let Some(row) = by_key.get(&key_of(step)) {
                let cause = step.reason.cause().unwrap_or(Cause::Term);
                due.entry(cause).or_default().push((*row).clone());
            }
        }
        for (cause, rows) in due {
            for chunk in rows.chunks(KEYS_A_LEAF) {
                let done = self.shred_documents(&account, kind, chunk, cause, now).await;
                if let Some(log_index) = report.note("shred", done) {
                    report.shredded.push(Shredded {
                        account: sid.clone(),
                        class: kind.class(),
                        cause,
                        records: chunk.len() as u64,
                        log_index,
                    });
                }
            }
        }
        Ok(())
    }
}

/// The planner's view of a document.
pub(crate) fn document_item(account: &Account, row: &DocumentRow, now: TimeUs) -> DocumentItem {
    let parties = parties_of(row);
    let facts = facts_of(row, &parties);
    let held = is_held(&account.policy, &account.holds, &facts, now);
    let matching = account.holds.iter().filter(|hold| hold.matches(&facts));
    let lifted = matching.filter_map(|hold| hold.lifted_at).max();
    DocumentItem {
        account: row.account.clone(),
        kind: row.kind,
        id: row.id,
        key: row.key,
        at: row.at,
        bytes: row.body.len() as u64,
        held,
        released_at: lifted.filter(|_| !held),
    }
}
