//! Driving a campaign: one round looks at what is due, begins calls, and says when to come back.

use std::collections::HashSet;

use callvault_core::{
    Class, DocumentKind, Reader, Record, Sid, TimeUs,
    campaign::{End, Progress, Status, Target, plan_calls},
    record::CallStatus,
};
use callvault_store::rows::{JobRow, JobState};

use super::{ATTEMPTS, Campaign, Drive, Page, PageNote, draw::sum};
use crate::{
    contact::Contact,
    document::Document,
    error::{Result, VaultError},
    line::{CALL, CallOrder, CallOutcome, Line, job_id, open, orders::Running},
    vault::Account,
};

/// How often calls that go on are asked about.
const POLL_S: i64 = 2;
/// How a job waits for the campaign that it was made for: this many seconds, this many times.
const UNBORN: (i64, i64) = (5, 720);

/// What a round decides by.
struct Round {
    now: TimeUs,
    /// Whether calls may begin.
    calls: bool,
    /// Whether its time is over now.
    ends: bool,
    /// Whether nobody is called any more.
    over: bool,
    /// Calls that may begin yet.
    room: u32,
    begun: u32,
}

impl Round {
    fn of(body: &Campaign, now: TimeUs) -> Self {
        let end_at = body.definition.end_at;
        let ends = body.status == Status::InProgress && end_at.is_some_and(|at| at <= now);
        let calls = body.status == Status::InProgress && !ends;
        Self {
            now,
            calls,
            ends,
            over: body.status.is_over() || ends,
            room: if calls {
                body.pace.room(body.definition.throttle, now)
            } else {
                0
            },
            begun: 0,
        }
    }

    fn wants(&self, page: &PageNote) -> bool {
        let due = page
            .waiting_from
            .is_some_and(|from| self.over || (self.room > 0 && from <= self.now));
        page.calling > 0 || page.unreported > 0 || due
    }
}

/// What became of a call.
enum Fate {
    Going,
    Ended(End),
    /// It was written down and never ordered.
    Lost,
}

impl Line {
    /// One round of a campaign.
    pub(in crate::line) async fn run_campaign(&self, account: &Account, mut job: JobRow) -> Result<()> {
        let drive: Drive = open(account, &job.id, &job.body)?;
        let next = match self.drive(account, &drive, job.attempts).await {
            // Somebody changed the campaign meanwhile; what was done is written down.
            Err(error) if error.is_conflict() => Some(self.vault.now().plus_seconds(1)),
            next => next?,
        };
        match next {
            Some(at) => {
                job.run_at = at;
                Ok(self.vault.catalog.release(&job).await?)
            }
            None => self.finish(job).await,
        }
    }

    /// Returns when to come back, or nothing when this job has no more to do.
    async fn drive(&self, account: &Account, drive: &Drive, attempts: i64) -> Result<Option<TimeUs>> {
        let now = self.vault.now();
        let later = Some(now.plus_seconds(UNBORN.0)).filter(|_| attempts <= UNBORN.1);
        let Some(mut document) = self.find_campaign(account, drive.campaign).await? else {
            return Ok(later);
        };
        if document.body.closed_at.is_some() || document.body.run > drive.run {
            return Ok(None);
        }
        if document.body.run < drive.run {
            // The change that this job was made for is not written yet, or never will be.
            return Ok(later);
        }
        if !document.body.has_begun() {
            let (status, definition) = (document.body.status, &document.body.definition);
            let starts_at = definition.send_at.filter(|at| status == Status::Created && *at > now);
            match (status, starts_at) {
                (_, Some(at)) => return Ok(Some(at)),
                // Whoever resumes it makes another job.
                (Status::Paused, None) => return Ok(None),
                _ => document = self.draw_up(account, &document).await?,
            }
        }
        self.go_round(account, document).await
    }

    async fn go_round(&self, account: &Account, document: Document<Campaign>) -> Result<Option<TimeUs>> {
        let now = self.vault.now();
        let mut round = Round::of(&document.body, now);
        let mut looked = Vec::new();
        for page in &document.body.pages {
            if round.wants(page) {
                looked.push(self.look_at(account, &document, page.id, &mut round).await?);
            }
        }
        let document = self.write_round(account, document, &looked, &round).await?;
        let body = &document.body;
        if body.pages.iter().all(is_through) {
            self.close_campaign(account, document).await?;
            return Ok(None);
        }
        Ok(next_round(body, now))
    }

    /// Writes down what a round came to. What others changed meanwhile stays.
    async fn write_round(
        &self,
        account: &Account,
        mut document: Document<Campaign>,
        looked: &[PageNote],
        round: &Round,
    ) -> Result<Document<Campaign>> {
        for _ in 0..ATTEMPTS {
            let mut body = document.body.clone();
            for page in &mut body.pages {
                if let Some(note) = looked.iter().find(|note| note.id == page.id) {
                    *page = note.clone();
                }
            }
            body.stats = sum(&body.pages);
            if round.begun > 0 {
                body.pace.count(round.begun, round.now);
            }
            let through = body.pages.iter().all(is_through);
            if body.status == Status::InProgress && (round.ends || through) {
                body.status = Status::Completed;
            }
            if body == document.body {
                return Ok(document);
            }
            match self.vault.replace_document(&document, None, body).await {
                Err(error) if error.is_conflict() => document = self.get_campaign(account, document.id).await?,
                done => return done?.ok_or(VaultError::NotFound { what: "campaign" }),
            }
        }
        Err(callvault_store::StoreError::Conflict { what: "campaign" }.into())
    }

    /// Everything is done: it is told, and written down that it was.
    async fn close_campaign(&self, account: &Account, document: Document<Campaign>) -> Result<()> {
        self.tell_of_campaign(account, &document).await?;
        let mut body = document.body.clone();
        body.closed_at = Some(self.vault.now());
        self.vault.replace_document(&document, None, body).await?;
        Ok(())
    }

    /// Looks at a page: reports who is through, asks how calls ended, and begins new ones.
    async fn look_at(
        &self,
        account: &Account,
        campaign: &Document<Campaign>,
        id: Sid,
        round: &mut Round,
    ) -> Result<PageNote> {
        let kind = DocumentKind::CampaignPage;
        let page = self
            .vault
            .find_document::<Page>(account, kind, id, Reader::Account)
            .await?;
        let page = page.ok_or(VaultError::NotFound { what: "campaign" })?;
        let mut body = page.body.clone();
        self.report_ends(account, campaign, &mut body).await?;
        let mut orders = self.collect_ends(account, campaign, &mut body, round).await?;
        if round.over {
            body.targets.iter_mut().for_each(|target| target.give_up(round.now));
        }
        if round.calls && round.room > 0 {
            orders.extend(self.begin_calls(account, campaign, &mut body.targets, round).await?);
        }
        let note = PageNote::of(id, &body.targets);
        if body != page.body {
            self.vault.replace_document(&page, None, body).await?;
        }
        // Written down first: whoever comes after a crash orders them under the same SIDs.
        let jobs: Vec<JobRow> = orders
            .into_iter()
            .map(|order| {
                let (sid, at) = (order.sid, order.at);
                let running: Running<_, CallOutcome> = Running { order, outcome: None };
                self.job(account, CALL, &job_id(CALL, sid), at, &running)
            })
            .collect::<Result<_>>()?;
        if !jobs.is_empty() {
            self.vault.catalog.enqueue_all(&jobs).await?;
            self.wake();
        }
        Ok(note)
    }

    /// Puts down how calls ended. Returns the orders of those that were never placed.
    async fn collect_ends(
        &self,
        account: &Account,
        campaign: &Document<Campaign>,
        page: &mut Page,
        round: &Round,
    ) -> Result<Vec<CallOrder>> {
        let mut lost = Vec::new();
        let definition = &campaign.body.definition;
        for target in page
            .targets
            .iter_mut()
            .filter(|target| target.progress == Progress::Calling)
        {
            let Some(attempt) = target.attempts.last() else {
                continue;
            };
            let (sid, at) = (attempt.sid, attempt.at);
            match self.find_fate(account, sid, round.now).await? {
                Fate::Going => {}
                Fate::Lost => lost.push(order_of(campaign, target, sid, at)),
                Fate::Ended(end) => {
                    self.tell_of_campaign_call(account, campaign, target, sid, end).await?;
                    target.end(end, definition.retries.as_ref(), !round.over);
                }
            }
        }
        Ok(lost)
    }

    async fn find_fate(&self, account: &Account, sid: Sid, now: TimeUs) -> Result<Fate> {
        let Some(job) = self.vault.catalog.find_job(&job_id(CALL, sid)).await? else {
            return Ok(Fate::Lost);
        };
        if job.state == JobState::Open {
            return Ok(Fate::Going);
        }
        let failed = End {
            status: CallStatus::Failed,
            at: now,
            talk_s: 0,
        };
        match self
            .vault
            .get_record(&account.sid, Class::Call, sid, Reader::Compliance)
            .await
        {
            Ok(Record::Call(call)) => Ok(Fate::Ended(End {
                status: call.status,
                at: call.ended_at.unwrap_or(now),
                talk_s: call.talk_s,
            })),
            // Its record was taken back since.
            Ok(_) | Err(VaultError::NotFound { .. }) => Ok(Fate::Ended(failed)),
            Err(error) => Err(error),
        }
    }

    /// Those of these contacts that are not there any more.
    async fn find_deleted(&self, account: &Account, contacts: &[Sid]) -> Result<HashSet<Sid>> {
        let kind = DocumentKind::Contact;
        let found = self
            .vault
            .find_documents::<Contact>(account, kind, contacts, Reader::Account)
            .await?;
        let mut deleted: HashSet<Sid> = contacts.iter().copied().collect();
        for contact in found {
            deleted.remove(&contact.id);
        }
        Ok(deleted)
    }

    /// Begins calls to who is due. Who was suppressed or deleted since the campaign began is given up.
    async fn begin_calls(
        &self,
        account: &Account,
        campaign: &Document<Campaign>,
        targets: &mut [Target],
        round: &mut Round,
    ) -> Result<Vec<CallOrder>> {
        let due = plan_calls(targets, round.room as usize, round.now);
        let hashes: Vec<[u8; 16]> = due
            .iter()
            .filter_map(|index| Some(account.number_hash(&targets.get(*index)?.number)))
            .collect();
        let suppressed = self.vault.find_suppressed(account, &hashes).await?;
        let contacts: Vec<Sid> = due.iter().filter_map(|index| targets.get(*index)?.contact).collect();
        let deleted = self.find_deleted(account, &contacts).await?;
        let mut orders = Vec::with_capacity(due.len());
        for (index, hash) in due.into_iter().zip(hashes) {
            let Some(target) = targets.get_mut(index) else { continue };
            let is_deleted = target.contact.is_some_and(|contact| deleted.contains(&contact));
            if suppressed.contains(&hash) || is_deleted {
                target.give_up(round.now);
                continue;
            }
            let sid = Account::fresh_sid(round.now)?;
            target.begin(sid, round.now);
            orders.push(order_of(campaign, target, sid, round.now));
            round.room -= 1;
            round.begun += 1;
        }
        Ok(orders)
    }
}

fn order_of(campaign: &Document<Campaign>, target: &Target, sid: Sid, at: TimeUs) -> CallOrder {
    let definition = &campaign.body.definition;
    CallOrder {
        sid,
        at,
        from: target.number.clone(),
        to: definition.caller_id.clone(),
        exophone: definition.caller_id.clone(),
        flow_url: definition.url.clone(),
        time_limit_s: None,
        ring_limit_s: None,
        record: false,
        dual: false,
        custom_field: definition.custom_field.clone(),
        callback: None,
    }
}

const fn is_through(page: &PageNote) -> bool {
    page.waiting_from.is_none() && page.calling == 0 && page.unreported == 0
}

/// When there is something to do again; nothing while it is paused and nobody is being called.
fn next_round(body: &Campaign, now: TimeUs) -> Option<TimeUs> {
    let goes_on = body.status == Status::InProgress;
    let has_room = body.pace.room(body.definition.throttle, now) > 0;
    let of_page = |page: &PageNote| {
        let waiting = page.waiting_from.filter(|_| goes_on).map(|from| match has_room {
            true => from,
            false => from.max(body.pace.next_room_at()),
        });
        let given_up = page.waiting_from.filter(|_| body.status.is_over()).map(|_| now);
        let calling = (page.calling > 0).then(|| now.plus_seconds(POLL_S));
        let unreported = (page.unreported > 0).then_some(now);
        [waiting, given_up, calling, unreported].into_iter().flatten().min()
    };
    let next = body.pages.iter().filter_map(of_page).min()?;
    let end_at = body.definition.end_at.filter(|at| goes_on && *at > now);
    Some(end_at.map_or(next, |end_at| next.min(end_at)))
}
