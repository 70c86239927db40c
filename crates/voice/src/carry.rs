//! One call, from its answer to its end: what it hears, whom it is connected with, and what is kept of it.

use std::{net::SocketAddr, sync::Arc};

use callvault_app::{
    Account, VaultError,
    consent::ConsentPolicy,
    core::{
        Number, TimeUs,
        consent::{Consenting, Event, Rule, Switches},
        flow::{Applet, Channels, QUESTION},
        record::{Call, CallStatus, Direction},
    },
    flow::SavedFlow,
    line::LiveCall,
};
use serde_json::json;
use tokio::{
    sync::{Mutex, mpsc},
    time::{Duration, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

use crate::{
    exchange::{Exchange, Trunk},
    media::{FRAME_MS, FRAME_SAMPLES, Heard, MAX_PACKET_BYTES, Media},
    pace,
    prompts::Prompt,
    recorder::{AGENT, CUSTOMER, Recorder},
    sdp::{self, Audio},
    sip::{Dial, Dialing, End, Invite, Leg, Offer, Signal},
};

/// The longest call, whatever its flow says.
pub(crate) const MOST_S: u64 = 14_400;
/// How long the caller's side may take to acknowledge the answer.
const ACK_S: u64 = 32;
/// How long a leg may say nothing before it is taken for dead, where it should speak.
pub(crate) const SILENT_S: u64 = 60;
/// The most applets that a call goes through: a flow may lead in a circle.
const MOST_STEPS: usize = 100;
/// The ringing tone: 425 Hz, 1 s on and 3 s off.
const RING_HZ: f64 = 425.0;

/// A call that is let in.
pub(crate) struct Accepted {
    pub trunk: Trunk,
    pub account: Account,
    pub from: Number,
    pub to: Number,
    pub offer: Option<Audio>,
    pub flow: SavedFlow,
}

/// Why a call goes no further.
enum Stop {
    /// The caller is gone.
    Gone,
    /// It took too long, or another process has it.
    Cut,
    /// A part of it failed.
    Failed(&'static str),
}

/// A call that is carried.
struct Carried<'c> {
    exchange: &'c Exchange,
    trunk: &'c Trunk,
    from: Number,
    policy: ConsentPolicy,
    rule: Rule,
    leg: &'c mut Leg,
    media: Media,
    live: Arc<Mutex<LiveCall>>,
    controls: mpsc::Receiver<Event>,
    /// What the caller heard and said, until a recorder takes it over.
    events: Vec<(TimeUs, Event)>,
    story: Option<Consenting>,
    lost: CancellationToken,
}

/// What the caller did while something was said, or after it.
enum Reaction {
    /// Nothing.
    Silence,
    /// Pressed a key.
    Key(char),
}

/// Carries a call. A status refuses it; a call that was answered ends in its record.
pub(crate) async fn carry(exchange: &Exchange, accepted: Accepted, invite: &mut Invite) -> Result<(), u16> {
    let vault = exchange.line.vault();
    let now = vault.now();
    let unavailable = |error: VaultError| {
        tracing::warn!(%error, "a call is refused");
        503_u16
    };
    let sid = Account::fresh_sid(now).map_err(unavailable)?;
    let (registered, controls) = exchange.register(&accepted.trunk, sid).ok_or(486_u16)?;
    let (policy, rule) = vault
        .consent_rule(&accepted.account, &accepted.to)
        .await
        .map_err(unavailable)?;
    let socket = exchange.ports.take().await.map_err(|_| 503_u16)?;
    let law = accepted.offer.as_ref().and_then(|offer| offer.laws.first().copied());
    let mut media = Media::new(socket, law.unwrap_or(crate::g711::Law::A), invite.source).map_err(|_| 503_u16)?;
    let call = Call {
        sid,
        at: now,
        source_id: None,
        direction: Direction::Inbound,
        from: accepted.from.clone(),
        to: accepted.to.clone(),
        exophone: accepted.to.clone(),
        status: CallStatus::Ringing,
        answered_at: None,
        ended_at: None,
        duration_s: 0,
        talk_s: 0,
        price_micros: None,
        caller_name: None,
        extra: None,
    };
    let mut live = exchange
        .line
        .begin_live(accepted.account, call)
        .await
        .map_err(unavailable)?;
    live.note(
        "flow",
        json!({ "id": accepted.flow.id, "version": accepted.flow.version }),
    );
    let live = Arc::new(Mutex::new(live));
    let answered = answer(&mut invite.leg, &mut media, accepted.offer.as_ref()).await;
    let mut carried = Carried {
        exchange,
        trunk: &accepted.trunk,
        from: accepted.from,
        policy,
        rule,
        leg: &mut invite.leg,
        media,
        live: Arc::clone(&live),
        controls,
        events: Vec::new(),
        story: None,
        lost: CancellationToken::new(),
    };
    let status = match answered {
        Err(status) => status,
        Ok(()) => {
            let marked = live.lock().await.answer(vault.now()).await;
            let walked = match marked {
                Ok(()) => carried.walk_with_limit(&accepted.flow).await,
                Err(_) => Err(Stop::Failed("store")),
            };
            if let Err(Stop::Failed(what)) = walked {
                live.lock().await.note("failed", json!(what));
            }
            CallStatus::Completed
        }
    };
    carried.leg.hang_up().await;
    let story = carried.settle_story(vault.now());
    let now = vault.now();
    drop(carried);
    drop(registered);
    // The recorder is over by now, and nobody else has the call.
    let Some(live) = Arc::into_inner(live).map(Mutex::into_inner) else {
        tracing::warn!("a call's recorder did not end; the call's record is made when its lease is over");
        return Ok(());
    };
    if let Err(error) = live.end(now, status, Some(&story)).await {
        tracing::warn!(%error, "a call's end could not be kept; its record is made when its lease is over");
    }
    Ok(())
}

/// Answers a call and waits until the caller's side took the answer. How it ended, if it did not.
async fn answer(leg: &mut Leg, media: &mut Media, offer: Option<&Audio>) -> Result<(), CallStatus> {
    leg.ring();
    let address = media.address().map_err(|_| CallStatus::Failed)?;
    let ours = match offer {
        Some(offer) => {
            media.connect(offer.clone());
            sdp::answer(offer, address.ip(), address.port())
        }
        None => sdp::offer(address.ip(), address.port()),
    };
    leg.accept(describe(&ours, 1)).map_err(|_| CallStatus::Canceled)?;
    taken(leg).await?;
    if offer.is_none() {
        let answer = sdp::parse(&leg.acknowledged()).map_err(|_| CallStatus::Failed)?;
        media.connect(answer);
    }
    Ok(())
}

/// Waits until the other side took our answer. How it ended, if it did not.
pub(crate) async fn taken(leg: &mut Leg) -> Result<(), CallStatus> {
    let taken = tokio::time::timeout(Duration::from_secs(ACK_S), async {
        loop {
            match leg.next().await {
                Some(Signal::Confirmed) => return Ok(()),
                Some(Signal::Ended(End::Canceled)) => return Err(CallStatus::Canceled),
                Some(Signal::Ended(_)) | None => return Err(CallStatus::Failed),
                Some(Signal::Early(_) | Signal::Offer(_)) => {}
            }
        }
    });
    taken.await.unwrap_or(Err(CallStatus::Failed))
}

fn describe(audio: &Audio, version: u64) -> String {
    sdp::write(audio, u64::from(audio.port), version)
}

/// Takes what a leg says anew of its media: hold, another address. Another law is refused.
async fn renegotiate(media: &mut Media, offer: Offer) {
    let address = media.address();
    match (sdp::parse(&offer.body), address) {
        (Ok(mut audio), Ok(address)) if audio.laws.contains(&media.law()) => {
            let law = media.law();
            audio.laws = vec![law];
            media.connect(audio.clone());
            offer
                .answer(describe(&sdp::answer(&audio, address.ip(), address.port()), 2))
                .await;
        }
        // The other side wants our description: what it is already.
        (Err(_), Ok(address)) if offer.body.is_empty() => {
            let mut ours = sdp::offer(address.ip(), address.port());
            ours.laws = vec![media.law()];
            offer.answer(describe(&ours, 2)).await;
        }
        _ => offer.refuse().await,
    }
}

impl Carried<'_> {
    async fn walk_with_limit(&mut self, flow: &SavedFlow) -> Result<(), Stop> {
        let limit = Duration::from_secs(MOST_S);
        tokio::time::timeout(limit, self.walk(flow))
            .await
            .unwrap_or(Err(Stop::Cut))
    }

    async fn walk(&mut self, saved: &SavedFlow) -> Result<(), Stop> {
        let flow = &saved.flow;
        let mut at = Some(flow.start.as_str());
        for _ in 0..MOST_STEPS {
            let Some(applet) = at.and_then(|name| flow.applets.get(name)) else {
                return Ok(());
            };
            at = match applet {
                Applet::Greeting { say, next } => {
                    let text = say.clone().unwrap_or_else(|| self.policy.policy.text.clone());
                    let prompt = self.speak(&text).await?;
                    self.play(&prompt, false).await?;
                    self.note(Event::Announced);
                    next.as_deref()
                }
                Applet::Gather {
                    say,
                    timeout_s,
                    repeats,
                    next,
                } => {
                    let prompt = self.speak(say.as_deref().unwrap_or(QUESTION)).await?;
                    let key = self
                        .ask(&prompt, *timeout_s, *repeats, &|key| matches!(key, '1' | '2'))
                        .await?;
                    self.note(match key {
                        Some('1') => Event::Accepted,
                        Some(_) => Event::Declined,
                        None => Event::Silent,
                    });
                    next.as_deref()
                }
                Applet::Menu {
                    say,
                    timeout_s,
                    repeats,
                    keys,
                    otherwise,
                } => {
                    let prompt = self.speak(say).await?;
                    let key = self
                        .ask(&prompt, *timeout_s, *repeats, &|key| keys.contains_key(&key))
                        .await?;
                    key.and_then(|key| keys.get(&key))
                        .or(otherwise.as_ref())
                        .map(String::as_str)
                }
                Applet::Connect {
                    numbers,
                    record,
                    channels,
                    ring_s,
                    talk_s,
                    next,
                } => {
                    let switches = Switches {
                        call: None,
                        flow: *record,
                        account: self.policy.records_by_default,
                    };
                    for number in numbers {
                        let Some((dialing, media)) = self.ring(number, *ring_s).await? else {
                            continue;
                        };
                        self.connect(dialing, media, number, switches, *channels, *talk_s)
                            .await?;
                        break;
                    }
                    next.as_deref()
                }
                Applet::Hangup => return Ok(()),
            };
        }
        Err(Stop::Cut)
    }

    fn note(&mut self, event: Event) {
        let now = self.exchange.line.vault().now();
        match &mut self.story {
            Some(story) => {
                story.note(now, event);
            }
            None => self.events.push((now, event)),
        }
    }

    /// The call's consent at its end.
    fn settle_story(&mut self, now: TimeUs) -> Consenting {
        let mut story = self.story.take().unwrap_or_else(|| {
            self.begin_story(Switches {
                account: self.policy.records_by_default,
                ..Switches::default()
            })
        });
        if !story.is_over() {
            story.note(now, Event::Ended);
        }
        story
    }

    fn begin_story(&mut self, switches: Switches) -> Consenting {
        let mut story = Consenting::new(switches, self.rule, self.policy.policy.version);
        for (at, event) in self.events.drain(..) {
            story.note(at, event);
        }
        story
    }

    async fn speak(&self, text: &str) -> Result<Prompt, Stop> {
        let language = self.policy.policy.languages.first().map_or("en", String::as_str);
        self.exchange.prompts.speak(language, text).await.map_err(|error| {
            tracing::warn!(%error, "a flow cannot be spoken");
            Stop::Failed("prompt")
        })
    }

    /// Asks until a key is pressed that is an answer.
    async fn ask(
        &mut self,
        prompt: &[i16],
        timeout_s: u8,
        repeats: u8,
        is_answer: &(dyn Fn(char) -> bool + Send + Sync),
    ) -> Result<Option<char>, Stop> {
        let silence = vec![0_i16; usize::from(timeout_s) * crate::g711::RATE_HZ as usize];
        for _ in 0..=repeats {
            for part in [prompt, &silence] {
                match self.play(part, true).await? {
                    Reaction::Key(key) if is_answer(key) => return Ok(Some(key)),
                    // Any other key is no answer: the question is repeated.
                    Reaction::Key(_) => break,
                    Reaction::Silence => {}
                }
            }
        }
        Ok(None)
    }

    /// Says something; stops at a key if it may.
    async fn play(&mut self, prompt: &[i16], until_key: bool) -> Result<Reaction, Stop> {
        let mut pace = pace::every(Duration::from_millis(FRAME_MS), MissedTickBehavior::Burst);
        let mut buffer = [0; MAX_PACKET_BYTES];
        let mut frames = prompt.chunks(FRAME_SAMPLES);
        loop {
            let key = tokio::select! {
                _ = pace.tick() => match frames.next() {
                    Some(frame) => {
                        self.media.say(frame).await;
                        continue;
                    }
                    None => return Ok(Reaction::Silence),
                },
                heard = self.media.hear(&mut buffer) => match heard.map_err(|_| Stop::Failed("media"))? {
                    Heard::Key(_, key) => key,
                    Heard::Audio(_) => self.media.heard_key(),
                },
                signal = self.leg.next() => {
                    heed(signal, &mut self.media).await?;
                    continue;
                }
                Some(event) = self.controls.recv() => {
                    self.note(event);
                    continue;
                }
                () = self.lost.cancelled() => return Err(Stop::Cut),
            };
            if let Some(key) = key.filter(|_| until_key) {
                return Ok(Reaction::Key(key));
            }
        }
    }

    /// Rings somebody, while the caller hears that it rings. Nothing if he does not answer.
    async fn ring(&mut self, number: &str, ring_s: u16) -> Result<Option<(Dialing, Media)>, Stop> {
        let Some(proxy) = self.trunk.proxy else {
            return Err(Stop::Failed("no proxy"));
        };
        let failed = |_| Stop::Failed("media");
        let socket = self.exchange.ports.take().await.map_err(failed)?;
        let mut media = Media::new(socket, self.media.law(), proxy.ip()).map_err(failed)?;
        let address: SocketAddr = media.address().map_err(failed)?;
        let mut ours = sdp::offer(address.ip(), address.port());
        // The caller's law first: what has the same one is passed through as it is.
        let law = self.media.law();
        ours.laws.sort_by_key(|offered| *offered != law);
        let dial = Dial {
            proxy,
            to: number.to_owned(),
            from: self.from.as_str().to_owned(),
            offer: describe(&ours, 1),
            login: self.trunk.login.clone(),
        };
        let mut dialing = self.exchange.endpoint.dial(dial).map_err(|_| Stop::Failed("dial"))?;
        let tone = ringing_tone();
        let mut frames = tone.chunks(FRAME_SAMPLES).cycle();
        let mut pace = pace::every(Duration::from_millis(FRAME_MS), MissedTickBehavior::Burst);
        let mut buffer = [0; MAX_PACKET_BYTES];
        let mut rung = 0;
        let answer = loop {
            tokio::select! {
                answer = dialing.answered() => break answer,
                _ = pace.tick() => {
                    rung += FRAME_MS;
                    if rung > u64::from(ring_s) * 1_000 {
                        break Err(End::Timeout);
                    }
                    if let Some(frame) = frames.next() {
                        self.media.say(frame).await;
                    }
                }
                // What the caller says while it rings is for nobody.
                heard = self.media.hear(&mut buffer) => {
                    heard.map_err(|_| Stop::Failed("media"))?;
                    let _ = self.media.heard_key();
                }
                signal = self.leg.next() => heed(signal, &mut self.media).await?,
                Some(event) = self.controls.recv() => self.note(event),
                () = self.lost.cancelled() => return Err(Stop::Cut),
            }
        };
        match answer.map(|body| sdp::parse(&body)) {
            Ok(Ok(audio)) => {
                media.connect(audio);
                Ok(Some((dialing, media)))
            }
            _ => {
                dialing.leg.hang_up().await;
                Ok(None)
            }
        }
    }

    /// Connects both, and records what the person allowed, until one of them hangs up.
    async fn connect(
        &mut self,
        mut dialing: Dialing,
        mut other: Media,
        number: &str,
        switches: Switches,
        channels: Channels,
        talk_s: Option<u16>,
    ) -> Result<(), Stop> {
        let story = match self.story.take() {
            // Connected for the second time: what was decided stands.
            Some(story) => story,
            None => self.begin_story(switches),
        };
        {
            let mut live = self.live.lock().await;
            if let Ok(number) = Number::parse(number, live.account().country) {
                live.note("connected_to", json!(number));
            }
        }
        let laws = [other.law(), self.media.law()];
        let (recorder, task) = Recorder::begin(Arc::clone(&self.live), story, channels, laws, self.lost.clone());
        let talked = self.talk(&mut dialing.leg, &mut other, &recorder, talk_s).await;
        dialing.leg.hang_up().await;
        let ended = recorder.end(self.exchange.line.vault().now()).await;
        drop(recorder);
        let _ = task.await;
        if let Some(recorded) = ended {
            self.live.lock().await.note(
                "media",
                json!({
                    "agent": counts(recorded.counts[AGENT]), "customer": counts(recorded.counts[CUSTOMER]),
                }),
            );
            self.story = Some(recorded.story);
        }
        talked
    }

    /// Passes on what both say.
    async fn talk(
        &mut self,
        leg: &mut Leg,
        other: &mut Media,
        recorder: &Recorder,
        talk_s: Option<u16>,
    ) -> Result<(), Stop> {
        let vault = self.exchange.line.vault();
        let mut ours = Box::new([0; MAX_PACKET_BYTES]);
        let mut theirs = Box::new([0; MAX_PACKET_BYTES]);
        let limit = pace::wait(Duration::from_secs(talk_s.map_or(MOST_S, u64::from)));
        tokio::pin!(limit);
        let mut watch = pace::every(Duration::from_secs(1), MissedTickBehavior::Delay);
        let (mut silent_s, mut command) = (0, Command::default());
        loop {
            let key = tokio::select! {
                heard = self.media.hear(&mut ours) => {
                    let heard = heard.map_err(|_| Stop::Failed("media"))?;
                    silent_s = 0;
                    other.relay(&heard).await;
                    match heard {
                        Heard::Audio(packet) => {
                            recorder.hear(CUSTOMER, &packet);
                            self.media.heard_key()
                        }
                        Heard::Key(_, key) => key,
                    }
                }
                heard = other.hear(&mut theirs) => {
                    let heard = heard.map_err(|_| Stop::Failed("media"))?;
                    silent_s = 0;
                    self.media.relay(&heard).await;
                    match heard {
                        Heard::Audio(packet) => {
                            recorder.hear(AGENT, &packet);
                            other.heard_key()
                        }
                        Heard::Key(_, key) => key,
                    }
                }
                signal = self.leg.next() => {
                    heed(signal, &mut self.media).await?;
                    continue;
                }
                signal = leg.next() => {
                    match heed(signal, other).await {
                        Err(Stop::Gone) => return Ok(()),
                        heeded => heeded?,
                    }
                    continue;
                }
                Some(event) = self.controls.recv() => {
                    recorder.note(vault.now(), event).await;
                    continue;
                }
                _ = watch.tick() => {
                    // Who holds the line says nothing.
                    let is_held = self.media.is_held() || other.is_held();
                    silent_s = if is_held { 0 } else { silent_s + 1 };
                    if silent_s > SILENT_S {
                        return Err(Stop::Failed("no media"));
                    }
                    continue;
                }
                () = &mut limit => return Ok(()),
                () = self.lost.cancelled() => return Err(Stop::Cut),
            };
            if let Some(event) = key.and_then(|key| command.press(key)) {
                recorder.note(vault.now(), event).await;
            }
        }
    }
}

/// Keys in a conversation: `*7` rests the recording, `*8` goes on with it, `*9` takes the consent back.
#[derive(Default)]
struct Command {
    has_star: bool,
}

impl Command {
    fn press(&mut self, key: char) -> Option<Event> {
        let had_star = std::mem::replace(&mut self.has_star, key == '*');
        match (had_star, key) {
            (true, '7') => Some(Event::Paused),
            (true, '8') => Some(Event::Resumed),
            (true, '9') => Some(Event::Withdrawn),
            _ => None,
        }
    }
}

/// Heeds what a leg's signalling says.
async fn heed(signal: Option<Signal>, media: &mut Media) -> Result<(), Stop> {
    match signal {
        Some(Signal::Ended(_)) | None => Err(Stop::Gone),
        Some(Signal::Offer(offer)) => {
            renegotiate(media, offer).await;
            Ok(())
        }
        Some(Signal::Confirmed | Signal::Early(_)) => Ok(()),
    }
}

pub(crate) fn counts(counts: crate::timeline::Counts) -> serde_json::Value {
    json!({
        "packets": counts.taken, "late": counts.late, "repeated": counts.repeated, "missing_ms": counts.missing / 8,
    })
}

fn ringing_tone() -> Vec<i16> {
    let rate = crate::g711::RATE_HZ;
    #[expect(clippy::cast_possible_truncation, reason = "an eighth of full scale")]
    let tone =
        (0..rate).map(|n| ((f64::from(n) * RING_HZ * std::f64::consts::TAU / f64::from(rate)).sin() * 4_000.0) as i16);
    tone.chain(std::iter::repeat_n(0, 3 * rate as usize)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_a_star_and_a_key() {
        let mut command = Command::default();
        let told: Vec<_> = "7*7**8*19*9".chars().filter_map(|key| command.press(key)).collect();
        assert_eq!(told, [Event::Paused, Event::Resumed, Event::Withdrawn]);
    }
}
