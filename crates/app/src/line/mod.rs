//! Work that leaves the vault: calls and messages that a carrier is asked for, and what is told to others afterwards.
//!
//! Every piece is a job in the catalog, sealed under its account's key. It is taken by one process at a time and begun
//! at least once; what it asks of others bears an id by which a repetition is known.

mod alerts;
mod asking;
mod campaign;
mod carrier;
mod courier;
mod delivery;
mod export_jobs;
mod exports;
mod live;
mod orders;
mod placing;
mod request;
mod sessions;
mod webhook;

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicI32, AtomicI64, AtomicU64, Ordering},
    },
};

use callvault_core::{
    AccountSid, Class, Sid, TimeUs,
    hold::Reader,
    record::{Call, Message, Record},
};
use callvault_seal::envelope;
use callvault_store::rows::{JobRow, JobState};
use futures::{StreamExt as _, stream::FuturesUnordered};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use tokio::sync::{Mutex, Notify};

use crate::{
    error::{Result, VaultError},
    schedule::{Destinations, NoDestinations},
    vault::{Account, Vault},
};

pub use alerts::{ALERTS, Alerts, MAX_ADDRESSES};
pub use asking::{Asked, Dialed, Moment};
pub use campaign::{CallDetail, Campaign, CampaignQuery, Definition};
pub use carrier::{CallOutcome, Carrier, CarrierError, Loopback, MessageOutcome};
pub use courier::{Courier, Letter, Mail, Mailer, Payload, PostError, Question, Reply};
pub use live::{LiveCall, RENEW_S};
pub use orders::{CallOrder, MessageOrder, StatusCallback};
pub use placing::{Placer, Room, Seat};
pub use request::{Person, RequestView, Step};
pub use sessions::MAX_SESSION_BYTES;
pub use webhook::{EVENTS, Endpoint, MAX_ENDPOINTS};

use delivery::Delivery;
use live::Live;
use orders::Running;

/// How long a process may hold a job before another takes it over.
const LEASE_S: i64 = 60;
/// Calls and messages that are worked on at the same time.
const ORDERS_AT_ONCE: usize = 32;
/// Lanes that deliveries are spread over by receiver: one that is slow delays those of its lane alone.
const LANES: u8 = 16;
/// Deliveries of a lane at the same time.
const LANE_WIDTH: usize = 8;
const CALL: &str = "call";
const MESSAGE: &str = "message";
const REQUEST: &str = "request";
/// A call that is answered here.
const LIVE: &str = "live";
/// A run of exports on schedule.
const EXPORT: &str = "export";
/// An export that was asked for as a job.
const EXPORT_JOB: &str = "export-job";
/// Runs of exports at the same time, and export jobs.
const EXPORTS_AT_ONCE: usize = 2;
const CAMPAIGN: &str = "campaign";
/// Campaigns that are driven at the same time.
const CAMPAIGNS_AT_ONCE: usize = 4;

/// The kinds of the lanes' jobs.
static LANE_KINDS: [&str; LANES as usize] = [
    "post:0", "post:1", "post:2", "post:3", "post:4", "post:5", "post:6", "post:7", "post:8", "post:9", "post:10",
    "post:11", "post:12", "post:13", "post:14", "post:15",
];

/// What one round of work did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LineReport {
    /// Jobs that were taken.
    pub taken: u64,
    /// What failed and will be tried again; without personal data.
    pub failures: Vec<String>,
}

/// A region's line to the outside.
pub struct Line {
    vault: Arc<Vault>,
    carrier: Arc<dyn Carrier>,
    courier: Arc<dyn Courier>,
    destinations: Arc<dyn Destinations>,
    mailer: Option<Arc<dyn Mailer>>,
    /// Where the region's API is, without a slash at its end.
    base_url: String,
    /// The day whose warnings are out.
    warned: AtomicI32,
    /// The six hours whose runs of exports are planned.
    planned: AtomicI64,
    exports_done: AtomicU64,
    exports_failed: AtomicU64,
    /// Held while an export job is counted and put in, so that many at once do not all find room.
    ordering: Mutex<()>,
    /// Who places calls for real.
    placer: OnceLock<Weak<dyn Placer>>,
    wakes: Notify,
}

fn job_id(kind: &str, sid: Sid) -> String {
    format!("{kind}:{sid}")
}

impl Line {
    /// A line with this carrier and courier.
    #[must_use]
    pub fn new(vault: Arc<Vault>, carrier: Arc<dyn Carrier>, courier: Arc<dyn Courier>) -> Self {
        Self {
            vault,
            carrier,
            courier,
            destinations: Arc::new(NoDestinations),
            mailer: None,
            base_url: String::new(),
            warned: AtomicI32::new(i32::MIN),
            planned: AtomicI64::new(i64::MIN),
            exports_done: AtomicU64::new(0),
            exports_failed: AtomicU64::new(0),
            ordering: Mutex::new(()),
            placer: OnceLock::new(),
            wakes: Notify::new(),
        }
    }

    /// The same line with targets that exports on schedule may go to.
    #[must_use]
    pub fn with_destinations(mut self, destinations: Arc<dyn Destinations>) -> Self {
        self.destinations = destinations;
        self
    }

    /// The same line, with somebody who sends e-mail.
    #[must_use]
    pub fn with_mailer(mut self, mailer: Arc<dyn Mailer>) -> Self {
        self.mailer = Some(mailer);
        self
    }

    /// The same line, which knows where the region's API is.
    #[must_use]
    pub fn with_base_url(mut self, base_url: String) -> Self {
        self.base_url = base_url;
        self
    }

    /// The vault it works for.
    #[must_use]
    pub const fn vault(&self) -> &Arc<Vault> {
        &self.vault
    }

    /// What the carrier is called.
    #[must_use]
    pub fn carrier_name(&self) -> &'static str {
        self.carrier.name()
    }

    /// Accepts a call. It is durable when this returns, and placed by [`Line::work`].
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn order_call(&self, account: &Account, order: CallOrder) -> Result<Call> {
        let running: Running<_, CallOutcome> = Running { order, outcome: None };
        let (sid, at) = (running.order.sid, running.order.at);
        self.enqueue(account, CALL, &job_id(CALL, sid), at, &running).await?;
        Ok(running.call(at))
    }

    /// Accepts messages, all or none, as [`Line::order_call`] a call.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn order_messages(&self, account: &Account, orders: Vec<MessageOrder>) -> Result<Vec<Message>> {
        let (mut jobs, mut messages) = (Vec::with_capacity(orders.len()), Vec::with_capacity(orders.len()));
        for order in orders {
            let running: Running<_, MessageOutcome> = Running { order, outcome: None };
            let (id, at) = (job_id(MESSAGE, running.order.sid), running.order.at);
            jobs.push(self.job(account, MESSAGE, &id, at, &running)?);
            messages.push(running.message());
        }
        self.vault.catalog.enqueue_all(&jobs).await?;
        self.wake();
        Ok(messages)
    }

    /// A call, whether it is going on or over.
    ///
    /// # Errors
    /// [`VaultError::NotFound`] when there is none, or this reader may not see it.
    pub async fn get_call(&self, account: &Account, sid: Sid, reader: Reader) -> Result<Call> {
        if let Some(running) = self
            .find_running::<Running<CallOrder, CallOutcome>>(account, &job_id(CALL, sid))
            .await?
        {
            return Ok(running.call(self.vault.now()));
        }
        if let Some(live) = self.find_running::<Live>(account, &job_id(LIVE, sid)).await? {
            return Ok(live.call);
        }
        match self.vault.get_record(&account.sid, Class::Call, sid, reader).await? {
            Record::Call(call) => Ok(call),
            _ => Err(VaultError::NotFound { what: "call" }),
        }
    }

    /// A message, whether it is under way or gone out.
    ///
    /// # Errors
    /// [`VaultError::NotFound`] when there is none, or this reader may not see it.
    pub async fn get_message(&self, account: &Account, sid: Sid, reader: Reader) -> Result<Message> {
        if let Some(running) = self
            .find_running::<Running<MessageOrder, MessageOutcome>>(account, &job_id(MESSAGE, sid))
            .await?
        {
            return Ok(running.message());
        }
        match self.vault.get_record(&account.sid, Class::Message, sid, reader).await? {
            Record::Message(message) => Ok(message),
            _ => Err(VaultError::NotFound { what: "message" }),
        }
    }

    async fn enqueue(
        &self,
        account: &Account,
        kind: &str,
        id: &str,
        run_at: TimeUs,
        body: &impl Serialize,
    ) -> Result<()> {
        let job = self.job(account, kind, id, run_at, body)?;
        self.vault.catalog.enqueue_all(&[job]).await?;
        self.wake();
        Ok(())
    }

    fn job(&self, account: &Account, kind: &str, id: &str, run_at: TimeUs, body: &impl Serialize) -> Result<JobRow> {
        Ok(JobRow {
            id: id.to_owned(),
            account: Some(account.sid.clone()),
            kind: kind.to_owned(),
            body: seal(account, id, body)?,
            run_at,
            lease_until: None,
            leased_by: None,
            attempts: 0,
            state: JobState::Open,
            error: None,
            created_at: self.vault.now(),
        })
    }

    async fn find_running<T: DeserializeOwned>(&self, account: &Account, id: &str) -> Result<Option<T>> {
        let job = self.vault.catalog.find_job(id).await?;
        let job = job.filter(|job| job.account.as_ref() == Some(&account.sid) && !job.body.is_empty());
        job.map(|job| open(account, id, &job.body)).transpose()
    }

    /// Does everything that is due now, and what it makes due.
    pub async fn work(&self) -> LineReport {
        let mut report = LineReport::default();
        // Once a day, and once for each process that begins: a warning that was told is not told again.
        let today = self.vault.now().day();
        if self.warned.swap(today.0, Ordering::Relaxed) != today.0
            && let Err(error) = self.warn().await
        {
            self.warned.store(i32::MIN, Ordering::Relaxed);
            report.failures.push(format!("warnings: {error}"));
        }
        if let Err(error) = self.plan_runs().await {
            report.failures.push(format!("exports: {error}"));
        }
        let mut busy: BTreeMap<&'static str, usize> = BTreeMap::new();
        let mut running = FuturesUnordered::new();
        let settle = |busy: &mut BTreeMap<&'static str, usize>, kind: &'static str, done: Result<()>| {
            if let Some(count) = busy.get_mut(kind) {
                *count -= 1;
            }
            done.err().map(|error| format!("{kind}: {error}"))
        };
        loop {
            // Jobs go on while the next one is looked for: one of them may hold what the catalog waits for.
            let mut lease = pin!(self.lease(free_kinds(&busy)));
            let mut has_room = false;
            let leased = loop {
                tokio::select! {
                    leased = &mut lease => break leased,
                    Some((kind, done)) = running.next(), if !running.is_empty() => {
                        report.failures.extend(settle(&mut busy, kind, done));
                        has_room = true;
                    }
                }
            };
            match leased {
                Ok(Some((kind, job))) => {
                    *busy.entry(kind).or_default() += 1;
                    report.taken += 1;
                    running.push(async move { (kind, self.run(job).await) });
                    continue;
                }
                // What ended meanwhile may have made room for what was not asked for.
                Ok(None) if has_room => continue,
                Ok(None) => {}
                Err(error) => report.failures.push(format!("jobs: {error}")),
            }
            if running.is_empty() {
                return report;
            }
            tokio::select! {
                Some((kind, done)) = running.next() => report.failures.extend(settle(&mut busy, kind, done)),
                () = self.wakes.notified() => {}
            }
        }
    }

    /// Makes whoever works look for jobs.
    pub fn wake(&self) {
        self.wakes.notify_one();
    }

    /// Waits until there may be jobs.
    pub async fn woken(&self) {
        self.wakes.notified().await;
    }

    /// Takes a job of one of these kinds.
    async fn lease(&self, kinds: Vec<&'static str>) -> Result<Option<(&'static str, JobRow)>> {
        let now = self.vault.now();
        let until = now.plus_seconds(LEASE_S);
        let job = self.vault.catalog.lease(&kinds, &self.vault.worker, now, until).await?;
        Ok(job.and_then(|job| {
            let kind = kinds.iter().find(|kind| **kind == job.kind)?;
            Some((*kind, job))
        }))
    }

    async fn run(&self, mut job: JobRow) -> Result<()> {
        let Some(sid) = job.account.clone() else {
            return self.finish(job).await;
        };
        let account = match self.vault.get_account(&sid).await {
            Ok(account) => account,
            // It was closed: its key is gone, and what was to be done with it.
            Err(VaultError::NotFound { .. }) => return self.finish(job).await,
            Err(error) => return Err(error),
        };
        match job.kind.as_str() {
            CALL => self.run_call(&account, job).await,
            MESSAGE => self.run_message(&account, job).await,
            REQUEST => self.run_request(&account, job).await,
            LIVE => self.run_live(&account, job).await,
            // What was said of a call that is over by now.
            sessions::CONSENT => self.finish(job).await,
            EXPORT => self.run_export(&account, job).await,
            EXPORT_JOB => self.run_export_job(&account, job).await,
            CAMPAIGN => self.run_campaign(&account, job).await,
            _ => {
                let delivery: Delivery = open(&account, &job.id, &job.body)?;
                job = self.deliver(&account, delivery, job).await?;
                Ok(self.vault.catalog.release(&job).await?)
            }
        }
    }

    async fn finish(&self, mut job: JobRow) -> Result<()> {
        job.body = Vec::new();
        job.state = JobState::Done;
        Ok(self.vault.catalog.release(&job).await?)
    }

    async fn run_call(&self, account: &Account, mut job: JobRow) -> Result<()> {
        let mut running: Running<CallOrder, CallOutcome> = open(account, &job.id, &job.body)?;
        if running.outcome.is_none() {
            job = match self.place_here(account, job, &running.order).await? {
                Some(job) => job,
                None => return Ok(()),
            };
            let placed = self.carrier.place_call(&running.order).await;
            running.outcome = Some(placed.unwrap_or(CallOutcome {
                status: callvault_core::record::CallStatus::Failed,
                answered_after_s: None,
                ended_after_s: 0,
                price_micros: None,
            }));
        }
        let now = self.vault.now();
        let call = running.call(now);
        if call.answered_at.is_some() {
            self.tell_of_call(account, &running.order, &call, None, false).await?;
        }
        if call.ended_at.is_none() {
            job.run_at = running
                .outcome
                .and_then(|outcome| outcome.answered_after_s)
                .map(|seconds| running.order.at.plus_seconds(i64::from(seconds)))
                .filter(|answered_at| *answered_at > now)
                .unwrap_or_else(|| running.ends_at());
            job.body = seal(account, &job.id, &running)?;
            return Ok(self.vault.catalog.release(&job).await?);
        }
        self.keep(account, Record::Call(call.clone())).await?;
        self.tell_of_call(account, &running.order, &call, None, true).await?;
        let data =
            json!({ "sid": call.sid.to_string(), "status": call.status.as_str(), "duration_s": call.duration_s });
        let id = job.id.clone();
        self.emit(account, "call.ended", &id, now, data).await?;
        self.finish(job).await
    }

    async fn run_message(&self, account: &Account, job: JobRow) -> Result<()> {
        let mut running: Running<MessageOrder, MessageOutcome> = open(account, &job.id, &job.body)?;
        let sent = self.carrier.send_message(&running.order).await;
        running.outcome = Some(sent.unwrap_or(MessageOutcome {
            status: callvault_core::record::MessageStatus::Failed,
            status_code: 23010,
            units: 0,
        }));
        let message = running.message();
        self.keep(account, Record::Message(message.clone())).await?;
        self.tell_of_message(account, &running.order, &message).await?;
        let data = json!({ "sid": message.sid.to_string(), "status": message.status.as_str() });
        let id = job.id.clone();
        self.emit(account, "message.ended", &id, self.vault.now(), data).await?;
        self.finish(job).await
    }

    async fn keep(&self, account: &Account, record: Record) -> Result<()> {
        match self.vault.ingest_into(account, &[record]).await?.pop() {
            Some(crate::ingest::Taken::Rejected { code, .. }) => Err(VaultError::Damaged {
                what: "order",
                reason: format!("its record is refused: {code}"),
            }),
            _ => Ok(()),
        }
    }
}

/// Kinds that are not at their limit.
fn free_kinds(busy: &BTreeMap<&'static str, usize>) -> Vec<&'static str> {
    let free = |kind: &&'static str, limit: usize| busy.get(kind).is_none_or(|count| *count < limit);
    [CALL, MESSAGE, REQUEST, LIVE, sessions::CONSENT]
        .into_iter()
        .filter(|kind| free(kind, ORDERS_AT_ONCE))
        .chain(
            [EXPORT, EXPORT_JOB]
                .into_iter()
                .filter(|kind| free(kind, EXPORTS_AT_ONCE)),
        )
        .chain([CAMPAIGN].into_iter().filter(|kind| free(kind, CAMPAIGNS_AT_ONCE)))
        .chain(LANE_KINDS.into_iter().filter(|kind| free(kind, LANE_WIDTH)))
        .collect()
}

/// Seals a job's body under its account's key.
pub(crate) fn seal(account: &Account, id: &str, body: &impl Serialize) -> Result<Vec<u8>> {
    let json = serde_json::to_vec(body).map_err(|error| VaultError::invalid("job", error.to_string()))?;
    Ok(envelope::seal(&account.keys.notes, id.as_bytes(), &json)?)
}

pub(crate) fn open<T: DeserializeOwned>(account: &Account, id: &str, body: &[u8]) -> Result<T> {
    let json = zeroize::Zeroizing::new(envelope::open(&account.keys.notes, id.as_bytes(), body)?);
    serde_json::from_slice(&json).map_err(|_| VaultError::Damaged {
        what: "job",
        reason: "its body is not readable".to_owned(),
    })
}

/// The lane of a receiver.
fn lane_of(account: &AccountSid, url: &str) -> &'static str {
    let digest = callvault_seal::digest::sha256(&[account.as_str().as_bytes(), b"\0", url.as_bytes()]);
    LANE_KINDS
        .get(usize::from(digest[0] % LANES))
        .copied()
        .unwrap_or("post:0")
}
