//! Voicemail: what a caller says after the tone is a recording, and passes the same gate.

use std::sync::Arc;

use callvault_app::core::{
    consent::{Consenting, Event, Standing, Switches},
    flow::{Channels, Say, VOICEMAIL},
};
use tokio::time::{Duration, MissedTickBehavior};

use super::{
    Carried, SILENT_S, Stop, heed,
    talk::{Command, sound},
    tell,
};
use crate::{
    g711::RATE_HZ,
    media::{Heard, MAX_PACKET_BYTES},
    pace,
    recorder::{CUSTOMER, Recorder},
};

/// The tone before a message: 1,000 Hz, half a second.
const TONE_HZ: f64 = 1_000.0;
/// The key that ends a message.
const DONE: char = '#';

impl Carried<'_> {
    /// Takes a message, if the person lets it be recorded: who said no, or was not asked where he has to be, is led on.
    pub(super) async fn take_message(
        &mut self,
        applet: &str,
        say: Option<&Say>,
        most_s: u16,
        url: Option<&str>,
    ) -> Result<(), Stop> {
        let switches = Switches {
            call: self.switch,
            flow: Some(true),
            account: self.policy.records_by_default,
        };
        if !self.may_take(switches) {
            return Ok(());
        }
        let said = match say {
            Some(say) => self.find_said(applet, say).await?,
            None => None,
        };
        let prompt = match said {
            Some(prompt) => prompt,
            None => self.speak(VOICEMAIL).await?,
        };
        self.play(&prompt, false).await?;
        self.note(Event::Announced);
        self.play(&sound(TONE_HZ, RATE_HZ / 2, 8_000), false).await?;
        // What was said before the tone is not part of the message.
        self.media.forget();
        let story = self.begin_story(switches);
        self.live.lock().await.leave_message(url);
        let laws = [self.media.law(); 2];
        let (recorder, task) =
            Recorder::begin(Arc::clone(&self.live), story, Channels::Single, laws, self.lost.clone());
        let taken = self.hear_message(&recorder, most_s).await;
        self.end_recorder(recorder, task).await;
        taken
    }

    /// Whether what is said after an announcement may be kept. A call that two people had already is over, as far as recording goes.
    fn may_take(&self, switches: Switches) -> bool {
        if self.story.is_some() {
            return false;
        }
        let now = self.exchange.line.vault().now();
        let mut story = Consenting::new(switches, self.rule, self.policy.policy.version);
        let told = [(now, Event::Announced)];
        for (at, event) in self.events.iter().chain(&told) {
            story.note(*at, event.clone());
        }
        matches!(story.standing(), Standing::Granted { .. })
    }

    async fn hear_message(&mut self, recorder: &Recorder, most_s: u16) -> Result<(), Stop> {
        let vault = self.exchange.line.vault();
        let mut buffer = Box::new([0; MAX_PACKET_BYTES]);
        let limit = pace::wait(Duration::from_secs(most_s.into()));
        tokio::pin!(limit);
        let mut watch = pace::every(Duration::from_secs(1), MissedTickBehavior::Delay);
        let (mut silent_s, mut command) = (0, Command::default());
        loop {
            let key = tokio::select! {
                heard = self.media.hear(&mut buffer) => {
                    silent_s = 0;
                    match heard.map_err(|_| Stop::Failed("media"))? {
                        Heard::Audio(packet) => {
                            recorder.hear(CUSTOMER, &packet);
                            self.media.heard_key()
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
                Some(event) = self.controls.recv() => {
                    recorder.note(vault.now(), event).await;
                    continue;
                }
                _ = watch.tick() => {
                    tell(self.leg, &mut self.media, recorder.state()).await;
                    silent_s = if self.media.is_held() { 0 } else { silent_s + 1 };
                    if silent_s > SILENT_S {
                        return Err(Stop::Failed("no media"));
                    }
                    continue;
                }
                () = &mut limit => return Ok(()),
                () = self.lost.cancelled() => return Err(Stop::Cut),
            };
            match key {
                Some(DONE) => return Ok(()),
                Some(key) => {
                    if let Some(event) = command.press(key) {
                        recorder.note(vault.now(), event).await;
                    }
                }
                None => {}
            }
        }
    }
}
