//! A call's recorder: a task of its own, so that no store holds up a packet. What reaches it passes the gate.

use std::{
    sync::{Arc, PoisonError},
    time::Instant,
};

use async_trait::async_trait;
use bytes::Bytes;
use callvault_app::{
    VaultError,
    core::{
        TimeUs,
        consent::{Consenting, Event},
        flow::Channels,
    },
    line::LiveCall,
};
use serde_json::json;
use tokio::{
    sync::{Mutex, mpsc, oneshot, watch},
    task::JoinHandle,
    time::{Duration, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

use crate::{
    g711::{Law, RATE_HZ},
    gate::{Gate, Studio, Take},
    media::samples_since,
    pace,
    rtp::Packet,
    sdp::Recording,
    timeline::{Counts, Timeline},
};

/// How long packets are waited for before what is missing is silence.
const JITTER_SAMPLES: i64 = 1_600;
/// Seconds of audio that are kept at once: as much as a crash takes.
const PART_S: usize = 5;
/// Seconds of audio that wait for a store that does not answer, at most.
const MOST_WAITING_S: usize = 60;
/// Packets that wait to be looked at: both sides of more than half a minute. What is beyond is lost.
const MOST_PACKETS: usize = 4_096;
/// Events on their way to the recorder.
const QUEUE: usize = 64;
/// Attempts at ending a take.
const ATTEMPTS: u32 = 5;

/// Keeps takes in the vault.
struct Booth {
    live: Arc<Mutex<LiveCall>>,
    channels: Channels,
}

/// A take, some seconds of which wait to be kept.
struct Reel {
    live: Arc<Mutex<LiveCall>>,
    frame_bytes: usize,
    waiting: Vec<u8>,
}

#[async_trait]
impl Studio for Booth {
    type Take = Reel;
    type Error = VaultError;

    async fn begin(&self, story: &Consenting) -> Result<Reel, VaultError> {
        let channels = match self.channels {
            Channels::Single => 1,
            Channels::Dual => 2,
        };
        self.live.lock().await.begin_take(story, channels).await?;
        Ok(Reel {
            live: Arc::clone(&self.live),
            frame_bytes: usize::from(channels) * 2,
            waiting: Vec::new(),
        })
    }
}

impl Reel {
    const fn seconds(&self, seconds: usize) -> usize {
        seconds * RATE_HZ as usize * self.frame_bytes
    }

    async fn flush(&mut self) -> Result<(), VaultError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let audio = Bytes::copy_from_slice(&self.waiting);
        self.live.lock().await.write_take(audio).await?;
        self.waiting.clear();
        Ok(())
    }
}

#[async_trait]
impl Take for Reel {
    type Error = VaultError;

    async fn write(&mut self, audio: Bytes) -> Result<(), VaultError> {
        if self.waiting.len() < self.seconds(MOST_WAITING_S) {
            self.waiting.extend_from_slice(&audio);
        }
        match self.waiting.len() < self.seconds(PART_S) {
            true => Ok(()),
            false => self.flush().await,
        }
    }

    async fn finish(&mut self, story: &Consenting) -> Result<(), VaultError> {
        self.flush().await?;
        self.live.lock().await.tell(story).await
    }

    async fn destroy(&mut self, story: &Consenting) -> Result<(), VaultError> {
        self.waiting.clear();
        self.live.lock().await.destroy_take(story).await
    }
}

/// What a recorder is told, and what was heard before.
enum Told {
    Event(Batch, TimeUs, Event, Option<oneshot::Sender<bool>>),
    End(Batch, TimeUs, oneshot::Sender<Recorded>),
}

/// Packets in the order in which they came.
#[derive(Default)]
struct Batch {
    packets: Vec<Waiting>,
    payloads: Vec<u8>,
}

struct Waiting {
    channel: usize,
    arrived: i64,
    timestamp: u32,
    ssrc: u32,
    bytes: usize,
}

/// Where packets wait. Nobody is woken for one of them: they are looked at together, once a second and before each event.
#[derive(Default)]
struct Inbox {
    batch: Batch,
    /// Events that are told and not noted yet: what waits here came after them.
    events: usize,
}

impl Inbox {
    fn lock(inbox: &std::sync::Mutex<Self>) -> std::sync::MutexGuard<'_, Self> {
        inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What became of a recording.
pub struct Recorded {
    /// The call's consent.
    pub story: Consenting,
    /// What became of the packets: the agent's, the customer's.
    pub counts: [Counts; 2],
}

impl Recorded {
    /// What a call's record says of its media.
    #[must_use]
    pub fn media(&self) -> serde_json::Value {
        let [agent, customer] = self.counts.map(|counts| {
            json!({
                "packets": counts.taken, "late": counts.late, "repeated": counts.repeated, "missing_ms": counts.missing / 8,
            })
        });
        json!({ "agent": agent, "customer": customer })
    }
}

/// Where a call's packets and events go.
#[derive(Clone)]
pub struct Recorder {
    told: mpsc::Sender<Told>,
    inbox: Arc<std::sync::Mutex<Inbox>>,
    start: Instant,
    state: watch::Receiver<Recording>,
}

/// What parties are told of a call with this story.
const fn state_of(story: &Consenting) -> Recording {
    match story.basis() {
        Some(_) => Recording::On,
        None if story.is_resting() => Recording::Paused,
        None => Recording::Off,
    }
}

/// The agent's channel: the left one.
pub const AGENT: usize = 0;
/// The customer's.
pub const CUSTOMER: usize = 1;

impl Recorder {
    /// Begins to listen. `laws` are those of the agent and of the customer. When the call was lost to another process, `lost` tells.
    #[must_use]
    pub fn begin(
        live: Arc<Mutex<LiveCall>>,
        story: Consenting,
        channels: Channels,
        laws: [Law; 2],
        lost: CancellationToken,
    ) -> (Self, JoinHandle<()>) {
        let (told, received) = mpsc::channel(QUEUE);
        let start = pace::now();
        let inbox = Arc::<std::sync::Mutex<Inbox>>::default();
        let (tell, state) = watch::channel(state_of(&story));
        let gate = Gate::new(Booth { live, channels }, story);
        let desk = Desk {
            gate,
            channels,
            laws,
            timelines: laws.map(|law| Timeline::new(law.silence())),
            passed: [Vec::new(), Vec::new()],
            start,
            inbox: Arc::clone(&inbox),
            lost,
            state: tell,
        };
        let task = tokio::spawn(desk.work(received));
        let recorder = Self {
            told,
            inbox,
            start,
            state,
        };
        (recorder, task)
    }

    /// Whether what is said is recorded.
    #[must_use]
    pub fn state(&self) -> Recording {
        *self.state.borrow()
    }

    /// Hands a packet in. One that finds no room is lost, as packets are; the recording has silence there.
    pub fn hear(&self, channel: usize, packet: &Packet<'_>) {
        let mut inbox = Inbox::lock(&self.inbox);
        if inbox.batch.packets.len() < MOST_PACKETS {
            inbox.batch.payloads.extend_from_slice(packet.payload);
            inbox.batch.packets.push(Waiting {
                channel,
                arrived: samples_since(self.start),
                timestamp: packet.timestamp,
                ssrc: packet.ssrc,
                bytes: packet.payload.len(),
            });
        }
    }

    /// What was heard before an event that is told now.
    fn before(&self) -> Batch {
        let mut inbox = Inbox::lock(&self.inbox);
        inbox.events += 1;
        std::mem::take(&mut inbox.batch)
    }

    /// Tells of an event. Packets that were handed in before are judged by what was so before.
    pub async fn note(&self, at: TimeUs, event: Event) {
        let _ = self.told.send(Told::Event(self.before(), at, event, None)).await;
    }

    /// Tells of an event, and waits for what follows from it: whether what is heard from now on is kept.
    pub async fn ask(&self, at: TimeUs, event: Event) -> bool {
        let (done, kept) = oneshot::channel();
        let told = self.told.send(Told::Event(self.before(), at, event, Some(done))).await;
        told.is_ok() && kept.await.unwrap_or(false)
    }

    /// Ends the recording.
    pub async fn end(&self, at: TimeUs) -> Option<Recorded> {
        let (done, recorded) = oneshot::channel();
        self.told.send(Told::End(self.before(), at, done)).await.ok()?;
        recorded.await.ok()
    }
}

struct Desk {
    gate: Gate<Booth>,
    channels: Channels,
    laws: [Law; 2],
    timelines: [Timeline; 2],
    passed: [Vec<u8>; 2],
    start: Instant,
    inbox: Arc<std::sync::Mutex<Inbox>>,
    lost: CancellationToken,
    state: watch::Sender<Recording>,
}

/// Both at once. Silence is not quite zero in either law, and adds nothing to what the other says.
fn mix((agent_law, agent): (Law, u8), (customer_law, customer): (Law, u8)) -> i16 {
    match () {
        () if agent == agent_law.silence() => customer_law.decode(customer),
        () if customer == customer_law.silence() => agent_law.decode(agent),
        () => agent_law.decode(agent).saturating_add(customer_law.decode(customer)),
    }
}

impl Desk {
    async fn work(mut self, mut told: mpsc::Receiver<Told>) {
        let mut tick = pace::every(Duration::from_secs(1), MissedTickBehavior::Delay);
        loop {
            let next = tokio::select! {
                biased;
                _ = tick.tick() => {
                    self.look().await;
                    continue;
                }
                next = told.recv() => next,
            };
            match next {
                Some(Told::Event(before, at, event, asked)) => {
                    self.put(&before);
                    Inbox::lock(&self.inbox).events -= 1;
                    self.pass(samples_since(self.start)).await;
                    let noted = self.gate.note(at, event).await.map(|_| ());
                    self.watch(noted);
                    self.state.send_replace(state_of(self.gate.story()));
                    if let Some(asked) = asked {
                        let _ = asked.send(self.gate.story().basis().is_some());
                    }
                }
                Some(Told::End(before, at, done)) => {
                    self.put(&before);
                    let recorded = self.end(at).await;
                    let _ = done.send(recorded);
                    return;
                }
                // Whoever carried the call is gone; what is captured is ended by whoever works on the line.
                None => return,
            }
        }
    }

    /// Looks at what was heard, unless it came after an event that waits: that one is noted first.
    async fn look(&mut self) {
        let batch = {
            let mut inbox = Inbox::lock(&self.inbox);
            if inbox.events > 0 {
                return;
            }
            std::mem::take(&mut inbox.batch)
        };
        self.put(&batch);
        self.pass(samples_since(self.start) - JITTER_SAMPLES).await;
    }

    fn put(&mut self, batch: &Batch) {
        let mut rest = batch.payloads.as_slice();
        for waiting in &batch.packets {
            let (payload, others) = rest.split_at(waiting.bytes);
            rest = others;
            let packet = Packet {
                marker: false,
                payload_type: 0,
                sequence: 0,
                timestamp: waiting.timestamp,
                ssrc: waiting.ssrc,
                payload,
            };
            if let Some(timeline) = self.timelines.get_mut(waiting.channel) {
                timeline.put(waiting.arrived, &packet);
            }
        }
    }

    /// Passes on what both said until this sample.
    async fn pass(&mut self, until: i64) {
        for (timeline, passed) in self.timelines.iter_mut().zip(&mut self.passed) {
            passed.clear();
            timeline.pass(until, passed);
        }
        let [agent, customer] = &self.passed;
        if agent.is_empty() {
            return;
        }
        let [agent_law, customer_law] = self.laws;
        let pairs = agent.iter().zip(customer);
        let audio: Vec<u8> = match self.channels {
            Channels::Dual => pairs
                .flat_map(|(agent, customer)| [agent_law.decode(*agent), customer_law.decode(*customer)])
                .flat_map(i16::to_le_bytes)
                .collect(),
            Channels::Single => pairs
                .map(|(agent, customer)| mix((agent_law, *agent), (customer_law, *customer)))
                .flat_map(i16::to_le_bytes)
                .collect(),
        };
        let heard = self.gate.hear(audio.into()).await.map(|_| ());
        self.watch(heard);
    }

    /// A store that fails is asked again with the next audio; a call that is another's is over.
    fn watch(&self, done: Result<(), VaultError>) {
        if let Err(error) = done {
            if error.is_conflict() {
                self.lost.cancel();
            }
            tracing::warn!(%error, "a call's recording waits");
        }
    }

    async fn end(mut self, at: TimeUs) -> Recorded {
        self.pass(samples_since(self.start)).await;
        let mut done = self.gate.note(at, Event::Ended).await.map(|_| ());
        for attempt in 1..ATTEMPTS {
            match done {
                Err(error) if !error.is_conflict() => {
                    tracing::warn!(%error, attempt, "a call's recording waits for its end");
                    pace::wait(Duration::from_secs(1)).await;
                    done = self.gate.settle().await;
                }
                _ => break,
            }
        }
        Recorded {
            story: self.gate.story().clone(),
            counts: self.timelines.each_ref().map(Timeline::counts),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_silent_adds_nothing_to_the_other() {
        for (ours, theirs) in [(Law::A, Law::Mu), (Law::A, Law::A), (Law::Mu, Law::A)] {
            for sample in [-8_000, -300, 300, 32_000] {
                let said = ours.encode(sample);
                assert_eq!(mix((ours, said), (theirs, theirs.silence())), ours.decode(said));
                assert_eq!(mix((theirs, theirs.silence()), (ours, said)), ours.decode(said));
            }
            let loud = |law: Law| (law, law.encode(i16::MAX));
            assert_eq!(mix(loud(ours), loud(theirs)), i16::MAX);
        }
    }
}
