//! Two people: the second is rung, both are connected, and what they say is passed on.

use std::{net::SocketAddr, sync::Arc};

use callvault_app::core::{
    Number,
    consent::{Event, Switches},
    flow::Channels,
    record::CallStatus,
};
use serde_json::json;
use tokio::{
    task::JoinHandle,
    time::{Duration, MissedTickBehavior},
};

use super::{Carried, MOST_S, SILENT_S, Stop, heed, tell};
use crate::{
    exchange::{Exchange, Trunk},
    g711::{Law, RATE_HZ},
    media::{FRAME_MS, FRAME_SAMPLES, Heard, MAX_PACKET_BYTES, Media},
    pace,
    recorder::{AGENT, CUSTOMER, Recorder},
    sdp,
    sip::{Dial, Dialing, End, Leg, Signal, answered},
};

/// The ringing tone: 425 Hz, 1 s on and 3 s off.
const RING_HZ: f64 = 425.0;

impl Carried<'_> {
    /// Rings somebody, while the caller hears that it rings, or what the other side plays. How it ended if nobody answers.
    pub(super) async fn ring(&mut self, number: &str, ring_s: u16) -> Result<Result<(Dialing, Media), End>, Stop> {
        let (mut dialing, mut media) = dial(self.exchange, self.trunk, self.media.law(), &self.shown, number).await?;
        let tone = ringing_tone();
        let mut frames = tone.chunks(FRAME_SAMPLES).cycle();
        let mut pace = pace::every(Duration::from_millis(FRAME_MS), MissedTickBehavior::Burst);
        let mut ours = Box::new([0; MAX_PACKET_BYTES]);
        let mut theirs = Box::new([0; MAX_PACKET_BYTES]);
        let (mut rung, mut has_early) = (0, false);
        let answer = loop {
            let Dialing { leg, answer } = &mut dialing;
            tokio::select! {
                answer = answered(answer) => break answer,
                _ = pace.tick() => {
                    rung += FRAME_MS;
                    if rung > u64::from(ring_s) * 1_000 {
                        break Err(End::Timeout);
                    }
                    if let Some(frame) = frames.next().filter(|_| !has_early) {
                        self.media.say(frame).await;
                    }
                }
                // Early media: an announcement, a tone of its own. It is passed on, and kept nowhere.
                Some(signal) = leg.next() => if let Signal::Early(body) = signal
                    && let Ok(audio) = sdp::parse(&body)
                    && media.agrees(&audio)
                {
                    media.connect(audio);
                    has_early = true;
                },
                heard = media.hear(&mut theirs), if has_early => {
                    let heard = heard.map_err(|_| Stop::Failed("media"))?;
                    self.media.relay(&heard).await;
                }
                // What the caller says while it rings is for nobody.
                heard = self.media.hear(&mut ours) => {
                    heard.map_err(|_| Stop::Failed("media"))?;
                    let _ = self.media.heard_key();
                }
                signal = self.leg.next() => {
                    heed(signal, self.leg, &mut self.media).await?;
                    self.note_wish();
                }
                Some(event) = self.controls.recv() => self.note(event),
                () = self.lost.cancelled() => return Err(Stop::Cut),
            }
        };
        Ok(settle(dialing, media, answer).await)
    }

    /// Connects both, and records what the person allowed, until one of them hangs up.
    pub(super) async fn connect(
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
        // What one of them said while the other was spoken to is said by now.
        self.media.forget();
        other.forget();
        let laws = [other.law(), self.media.law()];
        let (recorder, task) = Recorder::begin(Arc::clone(&self.live), story, channels, laws, self.lost.clone());
        let talked = self.talk(&mut dialing.leg, &mut other, &recorder, talk_s).await;
        dialing.leg.hang_up().await;
        self.end_recorder(recorder, task).await;
        talked
    }

    /// Ends a recording, and with it the call's consent.
    pub(super) async fn end_recorder(&mut self, recorder: Recorder, task: JoinHandle<()>) {
        let ended = recorder.end(self.exchange.line.vault().now()).await;
        drop(recorder);
        let _ = task.await;
        if let Some(recorded) = ended {
            self.live.lock().await.note("media", recorded.media());
            self.story = Some(recorded.story);
        }
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
                    heed(signal, self.leg, &mut self.media).await?;
                    if let Some(event) = self.wished() {
                        recorder.note(vault.now(), event).await;
                    }
                    continue;
                }
                signal = leg.next() => {
                    match heed(signal, leg, other).await {
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
                    let state = recorder.state();
                    tell(self.leg, &mut self.media, state).await;
                    tell(leg, other, state).await;
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

/// Calls somebody by the trunk's proxy.
pub(super) async fn dial(
    exchange: &Exchange,
    trunk: &Trunk,
    law: Law,
    from: &Number,
    to: &str,
) -> Result<(Dialing, Media), Stop> {
    let Some(proxy) = trunk.proxy else {
        return Err(Stop::Failed("no proxy"));
    };
    let failed = |_| Stop::Failed("media");
    let socket = exchange.ports.take().await.map_err(failed)?;
    let mut media = Media::new(socket, law, proxy.ip()).map_err(failed)?;
    media.demand(trunk.needs_srtp);
    let address: SocketAddr = media.address().map_err(failed)?;
    let mut ours = sdp::offer(address.ip(), address.port(), trunk.needs_srtp.then(|| media.key()));
    // The other leg's law first: what has the same one is passed through as it is.
    ours.laws.sort_by_key(|offered| *offered != law);
    let dial = Dial {
        proxy,
        proxy_name: trunk.proxy_name.clone(),
        to: to.to_owned(),
        from: from.as_str().to_owned(),
        offer: media.describe(ours, None),
        login: trunk.login.clone(),
    };
    let dialing = exchange.endpoint.dial(dial).map_err(|_| Stop::Failed("dial"))?;
    Ok((dialing, media))
}

/// Takes what a called party answered; leaves it alone where that cannot be taken.
pub(super) async fn settle(
    dialing: Dialing,
    mut media: Media,
    answer: Result<Vec<u8>, End>,
) -> Result<(Dialing, Media), End> {
    match answer.and_then(|body| sdp::parse(&body).map_err(|_| End::Refused(488))) {
        Ok(audio) if media.agrees(&audio) => {
            media.connect(audio);
            Ok((dialing, media))
        }
        Ok(_) => {
            dialing.leg.hang_up().await;
            Err(End::Refused(488))
        }
        Err(end) => {
            dialing.leg.hang_up().await;
            Err(end)
        }
    }
}

/// What a call that was not answered comes to.
pub(super) const fn status_of(end: End) -> CallStatus {
    match end {
        End::Canceled => CallStatus::Canceled,
        End::Refused(486 | 600) => CallStatus::Busy,
        End::Timeout | End::Refused(408 | 480 | 487) => CallStatus::NoAnswer,
        End::HungUp | End::Refused(_) => CallStatus::Failed,
    }
}

/// Keys in a conversation: `*7` rests the recording, `*8` goes on with it, `*9` takes the consent back.
#[derive(Default)]
pub(super) struct Command {
    has_star: bool,
}

impl Command {
    pub(super) fn press(&mut self, key: char) -> Option<Event> {
        let had_star = std::mem::replace(&mut self.has_star, key == '*');
        match (had_star, key) {
            (true, '7') => Some(Event::Paused),
            (true, '8') => Some(Event::Resumed),
            (true, '9') => Some(Event::Withdrawn),
            _ => None,
        }
    }
}

fn ringing_tone() -> Vec<i16> {
    let mut tone = sound(RING_HZ, RATE_HZ, 4_000);
    tone.resize(4 * RATE_HZ as usize, 0);
    tone
}

/// A tone of so many samples, and this loud.
pub(super) fn sound(hz: f64, samples: u32, peak: i16) -> Vec<i16> {
    let turn = hz * std::f64::consts::TAU / f64::from(RATE_HZ);
    #[expect(clippy::cast_possible_truncation, reason = "no sample is above the peak")]
    (0..samples)
        .map(|n| ((f64::from(n) * turn).sin() * f64::from(peak)) as i16)
        .collect()
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
