//! One recording session, from its invitation to its end.

use std::{net::IpAddr, sync::Arc};

use callvault_app::{
    Account, VaultError,
    core::{
        Number, TimeUs,
        consent::{Consenting, Event, Switches},
        flow::Channels,
        record::{Call, CallStatus, Direction},
    },
    line::LiveCall,
};
use serde_json::json;
use tokio::{
    sync::{Mutex, mpsc},
    time::{Duration, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

use super::{
    Siprec,
    metadata::{self, Metadata},
};
use crate::{
    carry::{Kept, MOST_S, SILENT_S, taken},
    exchange::{Exchange, Trunk},
    g711::Law,
    media::{Heard, MAX_PACKET_BYTES, Media},
    pace,
    recorder::{AGENT, CUSTOMER, Recorder},
    sdp::{self, Audio},
    sip::{Invite, Leg, Offer, Signal},
};

/// Streams of a description, at most.
const MOST_STREAMS: usize = 8;
/// How often it is looked what was said of the session.
const LOOK: Duration = Duration::from_secs(2);
/// How long a client that did not take a new description is left alone, in seconds.
const AGAIN_S: u64 = 10;
/// How often a client that sends nothing is asked whether it still knows of the session, in seconds.
const ASK_S: u64 = 300;

/// A stream that is taken.
struct Stream {
    audio: Audio,
    media: Media,
}

/// A recording session that goes on.
struct Session<'s> {
    exchange: &'s Exchange,
    live: Arc<Mutex<LiveCall>>,
    leg: &'s mut Leg,
    recorder: Recorder,
    streams: Vec<Stream>,
    address: IpAddr,
    /// What the API calls it.
    name: Option<String>,
    /// What was told of it already.
    told: usize,
    /// Whether audio is kept.
    is_open: bool,
    /// Whether the client was told so.
    is_told: bool,
    /// Seconds until it is told again, when it did not take it.
    pause_s: u64,
    version: u64,
    known: Metadata,
}

/// Who speaks on which channel.
struct Parties {
    from: Number,
    to: Number,
    /// The channel of each stream.
    channels: Vec<usize>,
}

/// Takes a recording session. A status refuses it; one that was answered ends in its call's record.
pub(crate) async fn take(exchange: &Exchange, trunk: &Trunk, account: Account, invite: &mut Invite) -> Result<(), u16> {
    let unavailable = |error: VaultError| {
        tracing::warn!(%error, "a recording session is refused");
        503_u16
    };
    match trunk.siprec {
        Siprec::Off => return Err(403),
        Siprec::Strict if !invite.is_recording => return Err(400),
        Siprec::Strict | Siprec::Lax => {}
    }
    let refused = |error: metadata::SiprecError| {
        tracing::info!(%error, "a recording session is refused");
        400_u16
    };
    let parts = metadata::read(&invite.content_type, &invite.offer).map_err(refused)?;
    let metadata = parts.metadata.ok_or(400_u16)?;
    let offered = parts.description.ok_or(488_u16)?;
    let streams = streams_of(&offered, trunk.siprec)?;
    if trunk.needs_srtp && streams.iter().any(|audio| audio.crypto.is_none()) {
        return Err(488);
    }
    let vault = exchange.line.vault();
    let now = vault.now();
    let sid = Account::fresh_sid(now).map_err(unavailable)?;
    let (registered, controls) = exchange.register(trunk, sid).ok_or(486_u16)?;
    let parties = parties_of(exchange, &account, &metadata, &streams).await?;
    let (policy, rule) = vault.consent_rule(&account, &parties.to).await.map_err(unavailable)?;
    let mut taken = Vec::new();
    for audio in streams {
        let socket = exchange.ports.take().await.map_err(|_| 503_u16)?;
        let law = audio.laws.first().copied().unwrap_or(Law::A);
        let mut media = Media::new(socket, law, invite.source).map_err(|_| 503_u16)?;
        media.connect(audio.clone());
        taken.push(Stream { audio, media });
    }
    let numbers = [&parties.from, &parties.to, &parties.to].map(Number::clone);
    let call = Call::ringing(sid, now, Direction::Inbound, numbers);
    let begun = exchange.line.begin_live(account, call, None).await;
    let mut live = begun.map_err(unavailable)?;
    live.note("siprec", describe(&metadata));
    let kept = Kept::begin(live, &exchange.closing);
    // Who sends copies asks for this call to be recorded (spec 2.1).
    let switches = Switches {
        call: Some(true),
        ..Switches::default()
    };
    let story = Consenting::new(switches, rule, policy.policy.version);
    let laws = [AGENT, CUSTOMER].map(|channel| {
        let of_channel = parties.channels.iter().position(|stream| *stream == channel);
        of_channel
            .and_then(|n| taken.get(n))
            .map_or(Law::A, |stream| stream.media.law())
    });
    let channels = if taken.len() > 1 {
        Channels::Dual
    } else {
        Channels::Single
    };
    let (recorder, task) = Recorder::begin(Arc::clone(&kept.live), story, channels, laws, kept.lost.clone());
    let mut session = Session {
        exchange,
        live: Arc::clone(&kept.live),
        leg: &mut invite.leg,
        recorder,
        streams: taken,
        address: exchange.address().ip(),
        name: metadata.session_id.clone(),
        told: 0,
        is_open: false,
        is_told: false,
        pause_s: 0,
        version: 1,
        known: metadata,
    };
    let status = match session.answer().await {
        Err(status) => status,
        Ok(()) => {
            let answered = kept.live.lock().await.answer(vault.now()).await;
            let ended = match answered {
                Ok(()) => session.listen(&parties.channels, controls, &kept.lost).await,
                Err(_) => Err("store"),
            };
            if let Err(what) = ended {
                kept.live.lock().await.note("failed", json!(what));
            }
            CallStatus::Completed
        }
    };
    session.leg.hang_up().await;
    let recorded = session.recorder.end(vault.now()).await;
    let known = describe(&session.known);
    drop(session);
    let _ = task.await;
    let story = {
        let mut live = kept.live.lock().await;
        live.note("siprec", known);
        recorded.map(|recorded| {
            live.note("media", recorded.media());
            recorded.story
        })
    };
    kept.end(vault.now(), status, story.as_ref()).await;
    drop(registered);
    Ok(())
}

/// The streams that are taken of an offer: two at most, each with its label.
fn streams_of(offered: &[u8], strictness: Siprec) -> Result<Vec<Audio>, u16> {
    let streams = sdp::read(offered).map_err(|_| 488_u16)?;
    if streams.len() > MOST_STREAMS {
        return Err(488);
    }
    let is_named = |audio: &Audio| audio.label.is_some() || strictness == Siprec::Lax;
    let taken: Vec<Audio> = streams.into_iter().flatten().filter(is_named).take(2).collect();
    match taken.is_empty() {
        true => Err(488),
        false => Ok(taken),
    }
}

/// Who called whom. A party with a number of the account's own is the agent's side; otherwise the first stream is the customer's.
async fn parties_of(
    exchange: &Exchange,
    account: &Account,
    metadata: &Metadata,
    streams: &[Audio],
) -> Result<Parties, u16> {
    let sender = |n: usize| {
        let label = streams.get(n).and_then(|audio| audio.label.as_ref());
        label.and_then(|label| metadata.senders.get(label))
    };
    // Whom nothing ties to a stream is taken in the order of the metadata.
    let mut others = metadata.participants.iter().map(|(id, _)| id);
    let first = sender(0).or_else(|| others.find(|id| Some(*id) != sender(1)));
    let mut others = metadata.participants.iter().map(|(id, _)| id);
    let second = sender(1).or_else(|| others.find(|id| Some(*id) != first));
    let number = |id: Option<&String>| {
        let who = id.and_then(|id| metadata.participants.iter().find(|(known, _)| known == id));
        let read = who.map(|(_, who)| Number::parse(who.user(), account.country));
        read.and_then(Result::ok).unwrap_or_default()
    };
    let numbers = [number(first), number(second)];
    let vault = exchange.line.vault();
    let is_own = async |number: &Number| -> Result<bool, u16> {
        match number.as_str() {
            "" => Ok(false),
            _ => vault.has_exophone(account, number).await.map_err(|error| {
                tracing::warn!(%error, "a recording session is refused");
                503_u16
            }),
        }
    };
    // The first called, the second was called, as far as anybody knows.
    let [from, to] = numbers;
    let is_agents = is_own(&from).await? && !is_own(&to).await?;
    let channels = if is_agents {
        vec![AGENT, CUSTOMER]
    } else {
        vec![CUSTOMER, AGENT]
    };
    Ok(Parties { from, to, channels })
}

/// What the call's record says of the session.
fn describe(metadata: &Metadata) -> serde_json::Value {
    let participants: Vec<_> = metadata
        .participants
        .iter()
        .map(|(_, who)| json!({ "aor": who.aor, "name": who.name }))
        .collect();
    json!({
        "session_id": metadata.session_id, "sip_session_id": metadata.sip_session_id, "participants": participants,
    })
}

impl Session<'_> {
    fn now(&self) -> TimeUs {
        self.exchange.line.vault().now()
    }

    /// Tells the gate, and knows afterwards whether audio is kept.
    async fn note(&mut self, at: TimeUs, event: Event) {
        let is_open = self.recorder.ask(at, event).await;
        if is_open != self.is_open {
            (self.is_open, self.is_told) = (is_open, false);
        }
    }

    /// Takes what was said of the session elsewhere.
    async fn look(&mut self) {
        let Some(name) = self.name.clone() else { return };
        loop {
            let next = {
                let live = self.live.lock().await;
                let line = &self.exchange.line;
                line.next_of_session(live.account(), &name, &mut self.told).await
            };
            match next {
                Ok(Some((at, event))) => self.note(at, event).await,
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(%error, "what was said of a recording session is looked up again");
                    return;
                }
            }
        }
    }

    /// Our description: what is not kept is not to be sent.
    fn describe(&mut self) -> String {
        let direction = if self.is_open {
            sdp::Direction::RecvOnly
        } else {
            sdp::Direction::Inactive
        };
        let ours: Vec<Audio> = self
            .streams
            .iter()
            .map(|stream| {
                let port = stream.media.address().map_or(0, |address| address.port());
                let mut ours = sdp::answer(&stream.audio, self.address, port, stream.media.key());
                // Who holds his stream is not asked for it.
                if ours.direction != sdp::Direction::Inactive {
                    ours.direction = direction;
                }
                ours.events = None;
                ours
            })
            .collect();
        let session = ours.first().map_or(0, |audio| u64::from(audio.port));
        let text = sdp::write_all(&ours, self.address, session, self.version);
        self.version += 1;
        text
    }

    /// Answers, by what is known of consent so far.
    async fn answer(&mut self) -> Result<(), CallStatus> {
        if let Some(event) = self.known.consent.take() {
            self.note(self.now(), event).await;
        }
        self.look().await;
        let ours = self.describe();
        self.leg.accept(ours).map_err(|_| CallStatus::Canceled)?;
        self.is_told = true;
        taken(self.leg).await
    }

    /// Listens until the session is over.
    async fn listen(
        &mut self,
        channels: &[usize],
        mut controls: mpsc::Receiver<Event>,
        lost: &CancellationToken,
    ) -> Result<(), &'static str> {
        let mut watch = pace::every(Duration::from_secs(1), MissedTickBehavior::Delay);
        let mut looks = pace::every(LOOK, MissedTickBehavior::Delay);
        let limit = pace::wait(Duration::from_secs(MOST_S));
        tokio::pin!(limit);
        let mut buffers = [Box::new([0; MAX_PACKET_BYTES]), Box::new([0; MAX_PACKET_BYTES])];
        let (mut silent_s, mut quiet_s) = (0, 0);
        let channel = |n: usize| channels.get(n).copied().unwrap_or(CUSTOMER);
        loop {
            let [first, second] = &mut buffers;
            let mut streams = self.streams.iter_mut();
            let (one, other) = (streams.next(), streams.next());
            tokio::select! {
                heard = hear(one, first) => {
                    if let Heard::Audio(packet) = heard? {
                        (silent_s, quiet_s) = (0, 0);
                        self.recorder.hear(channel(0), &packet);
                    }
                }
                heard = hear(other, second) => {
                    if let Heard::Audio(packet) = heard? {
                        (silent_s, quiet_s) = (0, 0);
                        self.recorder.hear(channel(1), &packet);
                    }
                }
                signal = self.leg.next() => match signal {
                    Some(Signal::Ended(_)) | None => return Ok(()),
                    Some(Signal::Offer(offer)) => self.heed(offer).await,
                    Some(Signal::Confirmed | Signal::Early(_)) => {}
                },
                Some(event) = controls.recv() => {
                    self.note(self.now(), event).await;
                }
                _ = looks.tick() => self.look().await,
                _ = watch.tick() => {
                    let is_sent = self.is_open && self.streams.iter().any(|stream| stream.audio.direction == sdp::Direction::SendOnly);
                    silent_s = if is_sent { silent_s + 1 } else { 0 };
                    quiet_s += 1;
                    if silent_s > SILENT_S {
                        return Err("no media");
                    }
                    if quiet_s > ASK_S {
                        quiet_s = 0;
                        if !self.leg.is_known().await {
                            return Err("no client");
                        }
                    }
                    self.tell().await;
                }
                () = &mut limit => return Ok(()),
                () = lost.cancelled() => return Err(self.exchange.why_cut()),
            }
        }
    }

    /// Tells the client whether its audio is wanted, if that changed. What fails is tried again.
    async fn tell(&mut self) {
        if self.is_told || self.pause_s > 0 {
            self.pause_s = self.pause_s.saturating_sub(1);
            return;
        }
        let (ours, was_open) = (self.describe(), self.is_open);
        match self.leg.describe_anew(ours).await {
            Ok(_) => self.is_told = self.is_open == was_open,
            Err(error) => {
                tracing::warn!(%error, "a recording client did not take a new description");
                self.pause_s = AGAIN_S;
            }
        }
    }

    /// Takes what the client says anew: of its streams, of who takes part, of consent.
    async fn heed(&mut self, offer: Offer) {
        let Ok(parts) = metadata::read(&offer.content_type, &offer.body) else {
            offer.refuse().await;
            return;
        };
        if let Some(metadata) = parts.metadata {
            self.learn(metadata).await;
        }
        if let Some(description) = parts.description {
            let streams = sdp::read(&description).unwrap_or_default();
            let fits = |stream: &Stream| {
                let anew = streams.get(stream.audio.place.0).and_then(|anew| anew.as_ref().ok());
                anew.filter(|anew| anew.laws.contains(&stream.media.law()) && stream.media.agrees(anew))
                    .cloned()
            };
            let anew: Vec<Option<Audio>> = self.streams.iter().map(fits).collect();
            if anew.iter().all(Option::is_none) {
                offer.refuse().await;
                return;
            }
            for (stream, anew) in self.streams.iter_mut().zip(anew) {
                if let Some(mut anew) = anew {
                    anew.laws = vec![stream.media.law()];
                    stream.audio = anew.clone();
                    stream.media.connect(anew);
                }
            }
        } else if !offer.wants_answer {
            offer.acknowledge().await;
            return;
        }
        let ours = self.describe();
        offer.answer(ours).await;
        self.is_told = true;
    }

    async fn learn(&mut self, metadata: Metadata) {
        for (id, who) in metadata.participants {
            match self.known.participants.iter_mut().find(|(known, _)| *known == id) {
                Some((_, known)) => *known = who,
                None => self.known.participants.push((id, who)),
            }
        }
        self.known.participants.truncate(metadata::MAX_PARTICIPANTS);
        if let Some(event) = metadata.consent {
            self.note(self.now(), event).await;
        }
    }
}

/// What a stream says next; nothing, for ever, where there is none.
async fn hear<'b>(
    stream: Option<&mut Stream>,
    buffer: &'b mut [u8; MAX_PACKET_BYTES],
) -> Result<Heard<'b>, &'static str> {
    match stream {
        Some(stream) => stream.media.hear(buffer).await.map_err(|_| "media"),
        None => std::future::pending().await,
    }
}
