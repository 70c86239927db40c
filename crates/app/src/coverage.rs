//! What a hold is placed on, and what it blocks (spec 1.6).

use std::collections::HashSet;

use callvault_core::{
    Class, DocumentKind, Number, Sid, TimeUs,
    hold::{Access, Facts, Hold, HoldScope, Reader, access},
};
use callvault_store::rows::{DocumentQuery, DocumentRow, RecordingQuery, RecordingRow};

use crate::{
    deletion, document,
    error::{Result, VaultError},
    partition::CLASSES,
    read::{MAX_PAGE, Query},
    vault::{Account, Vault},
};

/// Recordings looked at together.
const RECORDINGS_PAGE: u32 = 5_000;

/// What a hold is to be placed on, as people say it.
#[derive(Debug, Clone)]
pub enum HoldTarget {
    /// These records. A call's SID also covers its recordings.
    Records(Vec<Sid>),
    /// Every record with this party.
    Number(Number),
    /// Every record of a span of time.
    Span {
        /// Of this class, or of every class.
        class: Option<Class>,
        /// The first moment.
        from: TimeUs,
        /// The moment after the last.
        to: TimeUs,
    },
}

/// What a hold blocks of one class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Blocked {
    /// Class.
    pub class: Class,
    /// Records that cannot be deleted while it stands.
    pub records: u64,
    /// Of these, records whose term is over: nothing but a hold keeps them.
    pub past_term: u64,
}

impl Blocked {
    const fn none(class: Class) -> Self {
        Self {
            class,
            records: 0,
            past_term: 0,
        }
    }

    fn count(&mut self, account: &Account, facts: &Facts<'_>, now: TimeUs) {
        if access(&account.policy, &account.holds, facts, now) != Access::Gone {
            self.records += 1;
            let kept_until = account.policy.kept_until(facts.class, facts.at, facts.kept_since);
            self.past_term += u64::from(kept_until <= now);
        }
    }
}

impl Vault {
    /// Turns what people say into a scope. A telephone number or extension may be held before anybody called it; a name
    /// of another form only once a record has it, because otherwise it is a slip of the keyboard.
    ///
    /// # Errors
    /// [`VaultError::Invalid`] for a SID that no record of the account has, and for what is no number.
    pub(crate) async fn scope_of(&self, account: &Account, target: &HoldTarget) -> Result<HoldScope> {
        match target {
            HoldTarget::Records(sids) => {
                for (n, sid) in (1..).zip(sids) {
                    if !self.is_known(account, *sid).await? {
                        let reason = format!("number {n} of {} is no record of this account", sids.len());
                        return Err(VaultError::invalid("sids", reason));
                    }
                }
                Ok(HoldScope::Records(sids.clone()))
            }
            HoldTarget::Number(number) => {
                if number.is_withheld() {
                    return Err(VaultError::invalid(
                        "number",
                        "expected a number; this is empty or withheld",
                    ));
                }
                let digits = number.as_str().strip_prefix('+').unwrap_or(number.as_str());
                let telephone = digits.bytes().all(|byte| byte.is_ascii_digit());
                if !telephone && !self.has_party(account, number).await? {
                    let reason = "expected a telephone number, or a name that a record of this account has";
                    return Err(VaultError::invalid("number", reason));
                }
                Ok(HoldScope::Number(account.number_hash(number)))
            }
            HoldTarget::Span { class, from, to } => Ok(HoldScope::Span {
                class: *class,
                from: *from,
                to: *to,
            }),
        }
    }

    async fn is_known(&self, account: &Account, sid: Sid) -> Result<bool> {
        let now = self.now();
        for class in CLASSES {
            if self
                .find_row(account, class, sid, Reader::Compliance, now)
                .await?
                .is_some()
            {
                return Ok(true);
            }
        }
        let is_kept = |row: &RecordingRow| {
            let facts = deletion::facts_of(row);
            access(&account.policy, &account.holds, &facts, now) != Access::Gone
        };
        if self
            .catalog
            .find_recording(&account.sid, sid)
            .await?
            .as_ref()
            .is_some_and(is_kept)
        {
            return Ok(true);
        }
        for kind in DocumentKind::ALL {
            let found = self.catalog.find_documents(&account.sid, kind, &[sid]).await?;
            let is_kept = |row: &DocumentRow| {
                let parties = document::parties_of(row);
                let facts = document::facts_of(row, &parties);
                access(&account.policy, &account.holds, &facts, now) != Access::Gone
            };
            if found.first().is_some_and(is_kept) {
                return Ok(true);
            }
        }
        let of_call = RecordingQuery {
            call_sid: Some(sid),
            limit: RECORDINGS_PAGE,
            ..RecordingQuery::default()
        };
        Ok(self
            .catalog
            .list_recordings(&account.sid, &of_call)
            .await?
            .iter()
            .any(is_kept))
    }

    async fn has_party(&self, account: &Account, number: &Number) -> Result<bool> {
        let query = Query {
            number: Some(number.clone()),
            limit: 1,
            ..Query::default()
        };
        for class in CLASSES {
            let page = self.list_records_of(account, class, &query, Reader::Compliance).await?;
            if !page.records.is_empty() {
                return Ok(true);
            }
        }
        let of_party = RecordingQuery {
            party: Some(account.number_hash(number)),
            limit: 1,
            ..RecordingQuery::default()
        };
        Ok(!self.catalog.list_recordings(&account.sid, &of_party).await?.is_empty())
    }

    /// What a hold blocks now, by class; nothing once it is lifted. Of a number that was not kept beside the hold, only
    /// recordings can be counted.
    pub(crate) async fn blocked_by(
        &self,
        account: &Account,
        hold: &Hold,
        number: Option<&Number>,
    ) -> Result<Vec<Blocked>> {
        if !hold.stands(self.now()) {
            return Ok(Vec::new());
        }
        let mut blocked = Vec::new();
        for class in CLASSES {
            blocked.push(match (&hold.scope, number) {
                (HoldScope::Records(sids), _) => self.count_sids(account, class, sids).await?,
                (HoldScope::Number(_), Some(number)) => {
                    let query = Query {
                        number: Some(number.clone()),
                        ..Query::default()
                    };
                    self.count_listed(account, class, query).await?
                }
                (HoldScope::Span { class: only, from, to }, _) if only.is_none_or(|only| only == class) => {
                    self.count_span(account, class, *from, *to).await?
                }
                _ => Blocked::none(class),
            });
        }
        blocked.push(self.count_recordings(account, hold).await?);
        for kind in DocumentKind::ALL {
            let found = self.count_documents_under(account, hold, kind).await?;
            match blocked.iter_mut().find(|blocked| blocked.class == kind.class()) {
                Some(sum) => {
                    sum.records += found.records;
                    sum.past_term += found.past_term;
                }
                None => blocked.push(found),
            }
        }
        blocked.retain(|blocked| blocked.records > 0);
        Ok(blocked)
    }

    async fn count_sids(&self, account: &Account, class: Class, sids: &[Sid]) -> Result<Blocked> {
        let now = self.now();
        let mut sum = Blocked::none(class);
        for sid in sids {
            if let Some((_, record)) = self.find_row(account, class, *sid, Reader::Compliance, now).await? {
                let parties = account.party_hashes(&record);
                sum.count(account, &crate::read::facts_of(&record, &parties), now);
            }
        }
        Ok(sum)
    }

    async fn count_listed(&self, account: &Account, class: Class, mut query: Query<'_>) -> Result<Blocked> {
        let now = self.now();
        let mut sum = Blocked::none(class);
        query.limit = MAX_PAGE;
        loop {
            let page = self.list_records_of(account, class, &query, Reader::Compliance).await?;
            for record in &page.records {
                let parties = account.party_hashes(record);
                sum.count(account, &crate::read::facts_of(record, &parties), now);
            }
            match page.next {
                Some(next) => query.after = Some(next),
                None => return Ok(sum),
            }
        }
    }

    /// Whole days within their term are counted by the catalog; the others record by record.
    async fn count_span(&self, account: &Account, class: Class, from: TimeUs, to: TimeUs) -> Result<Blocked> {
        let now = self.now();
        let mut sum = Blocked::none(class);
        let days = from.day()..TimeUs(to.0.saturating_sub(1)).day().plus(1);
        for partition in self.catalog.list_partitions(&account.sid, class, days).await? {
            let (start, end) = (partition.day.start(), partition.day.end());
            let in_term = now < account.policy.kept_until(class, start, start);
            if from <= start && end <= to && in_term {
                sum.records += (partition.loose_rows + partition.sealed_rows).saturating_sub(partition.tombstones);
                continue;
            }
            let query = Query {
                from: Some(from.max(start)),
                to: Some(to.min(end)),
                ..Query::default()
            };
            let part = self.count_listed(account, class, query).await?;
            sum.records += part.records;
            sum.past_term += part.past_term;
        }
        Ok(sum)
    }

    async fn count_recordings(&self, account: &Account, hold: &Hold) -> Result<Blocked> {
        let now = self.now();
        let mut sum = Blocked::none(Class::Recording);
        let mut query = RecordingQuery {
            limit: RECORDINGS_PAGE,
            ..RecordingQuery::default()
        };
        let mut named: HashSet<Sid> = HashSet::new();
        match &hold.scope {
            HoldScope::Records(sids) => named.extend(sids),
            HoldScope::Number(hash) => query.party = Some(*hash),
            HoldScope::Span { from, to, .. } => (query.from, query.to) = (Some(*from), Some(*to)),
        }
        loop {
            let rows = self.catalog.list_recordings(&account.sid, &query).await?;
            for row in &rows {
                let facts = deletion::facts_of(row);
                let in_scope = match &hold.scope {
                    HoldScope::Records(_) => {
                        named.contains(&row.sid) || row.call_sid.is_some_and(|sid| named.contains(&sid))
                    }
                    _ => hold.matches(&facts),
                };
                if in_scope {
                    sum.count(account, &facts, now);
                }
            }
            match rows.last() {
                Some(last) if rows.len() == RECORDINGS_PAGE as usize => query.after = Some((last.at, last.sid)),
                _ => return Ok(sum),
            }
        }
    }

    async fn count_documents_under(&self, account: &Account, hold: &Hold, kind: DocumentKind) -> Result<Blocked> {
        let now = self.now();
        let mut sum = Blocked::none(kind.class());
        let mut count = |rows: &[DocumentRow]| {
            for row in rows {
                let parties = document::parties_of(row);
                let facts = document::facts_of(row, &parties);
                if hold.matches(&facts) {
                    sum.count(account, &facts, now);
                }
            }
        };
        match &hold.scope {
            HoldScope::Records(sids) => count(&self.catalog.find_documents(&account.sid, kind, sids).await?),
            HoldScope::Number(hash) => {
                let named = self.catalog.find_named(&account.sid, kind, *hash).await?;
                count(&Vec::from_iter(named));
            }
            HoldScope::Span { from, .. } => {
                let mut query = DocumentQuery {
                    after: Some((TimeUs(from.0.saturating_sub(1)), Sid([0xff; 16]))),
                    limit: RECORDINGS_PAGE,
                    ..DocumentQuery::default()
                };
                loop {
                    let rows = self.catalog.list_documents(&account.sid, kind, &query).await?;
                    count(&rows);
                    match rows.last() {
                        Some(last) if rows.len() == RECORDINGS_PAGE as usize && hold_goes_on(hold, last.at) => {
                            query.after = Some((last.at, last.id));
                        }
                        _ => break,
                    }
                }
            }
        }
        Ok(sum)
    }
}

/// Whether a hold on a span reaches beyond this moment.
fn hold_goes_on(hold: &Hold, at: TimeUs) -> bool {
    matches!(&hold.scope, HoldScope::Span { to, .. } if at < *to)
}
