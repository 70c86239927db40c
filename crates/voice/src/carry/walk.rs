//! What a caller is led through: what he hears, and what he is asked.

use callvault_app::{
    core::{
        TimeUs,
        consent::{Consenting, Event, Switches},
        flow::{Applet, QUESTION},
    },
    flow::SavedFlow,
};
use tokio::time::{Duration, MissedTickBehavior};

use super::{Carried, MOST_S, MOST_STEPS, Reaction, Stop, heed};
use crate::{
    media::{FRAME_MS, FRAME_SAMPLES, Heard, MAX_PACKET_BYTES},
    pace,
    prompts::Prompt,
};

impl Carried<'_> {
    pub(super) async fn walk_with_limit(&mut self, flow: &SavedFlow) -> Result<(), Stop> {
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
                    self.gather(say.as_deref().unwrap_or(QUESTION), *timeout_s, *repeats)
                        .await?;
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
                        call: self.switch,
                        flow: *record,
                        account: self.policy.records_by_default,
                    };
                    for number in numbers {
                        let Ok((dialing, media)) = self.ring(number, *ring_s).await? else {
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

    pub(super) fn note(&mut self, event: Event) {
        let now = self.exchange.line.vault().now();
        match &mut self.story {
            Some(story) => {
                story.note(now, event);
            }
            None => self.events.push((now, event)),
        }
    }

    /// The call's consent at its end.
    pub(super) fn settle_story(&mut self, now: TimeUs) -> Consenting {
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

    pub(super) fn begin_story(&mut self, switches: Switches) -> Consenting {
        let mut story = Consenting::new(switches, self.rule, self.policy.policy.version);
        for (at, event) in self.events.drain(..) {
            story.note(at, event);
        }
        story
    }

    pub(super) async fn speak(&self, text: &str) -> Result<Prompt, Stop> {
        let language = self.policy.policy.languages.first().map_or("en", String::as_str);
        self.exchange.prompts.speak(language, text).await.map_err(|error| {
            tracing::warn!(%error, "a flow cannot be spoken");
            Stop::Failed("prompt")
        })
    }

    /// Asks whether the call may be recorded.
    pub(super) async fn gather(&mut self, question: &str, timeout_s: u8, repeats: u8) -> Result<(), Stop> {
        let prompt = self.speak(question).await?;
        let key = self
            .ask(&prompt, timeout_s, repeats, &|key| matches!(key, '1' | '2'))
            .await?;
        self.note(match key {
            Some('1') => Event::Accepted,
            Some(_) => Event::Declined,
            None => Event::Silent,
        });
        Ok(())
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
    pub(super) async fn play(&mut self, prompt: &[i16], until_key: bool) -> Result<Reaction, Stop> {
        let mut pace = pace::every(Duration::from_millis(FRAME_MS), MissedTickBehavior::Burst);
        let mut buffer = [0; MAX_PACKET_BYTES];
        let mut frames = prompt.chunks(FRAME_SAMPLES);
        loop {
            let key = tokio::select! {
                _ = pace.tick() => match frames.next() {
                    Some(frame) => {
                        self.media.say(frame).await;
                        if let Some(beside) = &mut self.beside {
                            beside.say(frame).await;
                        }
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
}
