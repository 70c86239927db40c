//! What a caller is led through: what he hears, and what he is asked.

use std::sync::Arc;

use callvault_app::{
    core::{
        TimeUs,
        consent::{Consenting, Event, Switches},
        flow::{Address, Applet, QUESTION, Say},
    },
    flow::SavedFlow,
    line::Reply,
};
use tokio::time::{Duration, MissedTickBehavior};

use super::{Carried, MOST_S, MOST_STEPS, Reaction, Stop, asking::Inquiry, heed, reach::Plan, tell};
use crate::{
    media::{FRAME_MS, FRAME_SAMPLES, Heard, MAX_PACKET_BYTES},
    pace,
    sdp::Recording,
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
        self.moment.flow = Some(saved.id);
        let mut at = Some(flow.start.as_str());
        for _ in 0..MOST_STEPS {
            let Some(applet) = at.and_then(|name| flow.applets.get(name)) else {
                return Ok(());
            };
            let name = at.unwrap_or_default();
            at = match applet {
                Applet::Greeting { say, next } => {
                    self.greet(name, say.as_ref()).await?;
                    next.as_deref()
                }
                Applet::Gather {
                    say,
                    timeout_s,
                    repeats,
                    next,
                } => {
                    let wait = (*timeout_s, *repeats);
                    let inquiry = self.find_inquiry(name, say.as_ref(), Some(QUESTION), wait).await?;
                    self.gather(inquiry.ok_or(Stop::Failed("prompt"))?).await?;
                    next.as_deref()
                }
                Applet::Menu {
                    say,
                    timeout_s,
                    repeats,
                    keys,
                    otherwise,
                } => {
                    let key = match self.find_said(name, say).await? {
                        Some(prompt) => {
                            let inquiry = Inquiry::plain(prompt, (*timeout_s, *repeats));
                            self.ask(&inquiry, &|key| keys.contains_key(&key)).await?
                        }
                        None => None,
                    };
                    key.and_then(|key| keys.get(&key))
                        .or(otherwise.as_ref())
                        .map(String::as_str)
                }
                Applet::Digits {
                    say,
                    timeout_s,
                    repeats,
                    most,
                    finish_on_key,
                    next,
                } => {
                    let wait = (*timeout_s, *repeats);
                    if let Some(inquiry) = self.find_inquiry(name, Some(say), None, wait).await? {
                        self.take_digits(&inquiry, *most, finish_on_key).await?;
                    }
                    next.as_deref()
                }
                Applet::Passthru {
                    ask,
                    is_async,
                    next,
                    otherwise,
                } => match self.pass_through(name, ask, *is_async).await? {
                    true => next.as_deref(),
                    false => otherwise.as_deref(),
                },
                Applet::Connect {
                    numbers,
                    ask,
                    record,
                    channels,
                    ring_s,
                    talk_s,
                    next,
                } => {
                    let plan = Plan {
                        numbers: numbers.clone(),
                        record: *record,
                        channels: *channels,
                        ring_s: *ring_s,
                        talk_s: *talk_s,
                        shown: None,
                        playback: None,
                        asks_again: false,
                    };
                    self.reach(name, &plan, ask.as_ref()).await?;
                    next.as_deref()
                }
                Applet::Voicemail { say, most_s, url, next } => {
                    self.take_message(name, say.as_ref(), *most_s, url.as_deref()).await?;
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

    /// Says something, which announces the recording; the policy's announcement if there is nothing else.
    async fn greet(&mut self, applet: &str, say: Option<&Say>) -> Result<(), Stop> {
        let said = match say {
            Some(say) => self.find_said(applet, say).await?,
            None => None,
        };
        let prompt = match said {
            Some(prompt) => prompt,
            None => self.speak(&self.policy.policy.text.clone()).await?,
        };
        self.play(&prompt, false).await?;
        self.note(Event::Announced);
        Ok(())
    }

    /// Asks whether the call may be recorded.
    pub(super) async fn gather(&mut self, inquiry: Inquiry) -> Result<(), Stop> {
        let key = self.ask(&inquiry, &|key| matches!(key, '1' | '2')).await?;
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
        inquiry: &Inquiry,
        is_answer: &(dyn Fn(char) -> bool + Send + Sync),
    ) -> Result<Option<char>, Stop> {
        let silence = inquiry.silence();
        for prompt in inquiry.turns() {
            for part in [prompt, &silence] {
                match self.play(part, true).await? {
                    Reaction::Key(key) if is_answer(key) => {
                        self.moment.digits = Some(key.to_string());
                        return Ok(Some(key));
                    }
                    // Any other key is no answer: the question is repeated.
                    Reaction::Key(_) => break,
                    Reaction::Silence => {}
                }
            }
        }
        Ok(None)
    }

    /// Takes keys until there are enough of them, the last one is pressed, or no more come. They are kept for the addresses that are
    /// asked later, and nowhere else.
    async fn take_digits(&mut self, inquiry: &Inquiry, most: u8, finish_on_key: &str) -> Result<(), Stop> {
        let most = usize::from(inquiry.most.unwrap_or(most));
        let last = inquiry.finish_on_key.as_deref().unwrap_or(finish_on_key).chars().next();
        let silence = inquiry.silence();
        let mut typed = String::new();
        'turns: for prompt in inquiry.turns() {
            let mut parts = [prompt, &silence].into_iter();
            while let Some(part) = parts.next() {
                match self.play(part, true).await? {
                    Reaction::Key(key) if last == Some(key) => break 'turns,
                    Reaction::Key(key) => {
                        typed.push(key);
                        if typed.len() >= most {
                            break 'turns;
                        }
                        parts = [silence.as_slice(), &[]].into_iter();
                    }
                    Reaction::Silence => {}
                }
            }
            if !typed.is_empty() {
                break;
            }
        }
        self.moment.digits = Some(typed);
        Ok(())
    }

    /// Tells an address of the call. Whether it said to go on.
    async fn pass_through(&mut self, applet: &str, address: &Address, is_async: bool) -> Result<bool, Stop> {
        if is_async {
            let (line, address) = (Arc::clone(&self.exchange.line), address.clone());
            let query = line.describe(&*self.live.lock().await, &self.moment);
            // What it says is for nobody, and no call waits for it.
            tokio::spawn(async move {
                line.ask(&address, &query, |reply| (reply.status < 500).then_some(()))
                    .await
            });
            return Ok(true);
        }
        let read = |reply: &Reply| match reply.status {
            200 => Some(true),
            302 => Some(false),
            _ => None,
        };
        Ok(self.ask_address(applet, address, read).await?.unwrap_or(false))
    }

    /// Says something; stops at a key if it may.
    pub(super) async fn play(&mut self, prompt: &[i16], until_key: bool) -> Result<Reaction, Stop> {
        let mut pace = pace::every(Duration::from_millis(FRAME_MS), MissedTickBehavior::Burst);
        let mut buffer = [0; MAX_PACKET_BYTES];
        let mut frames = prompt.chunks(FRAME_SAMPLES);
        // After a conversation that was recorded.
        tell(self.leg, &mut self.media, Recording::Off).await;
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
                    heed(signal, self.leg, &mut self.media).await?;
                    self.note_wish();
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
