//! What is said, from wherever it comes: a text, uploaded audio, or what an address answers while the call waits.

use std::{future::Future, sync::Arc};

use callvault_app::{
    core::{
        Sid,
        flow::{Address, GatherReply, PromptReply, Say, read_gather, read_prompt},
        record::AudioFormat,
    },
    line::Reply,
    prompt::MAX_PROMPT_BYTES,
};
use serde_json::json;

use super::{Carried, Stop, heed};
use crate::{
    g711::RATE_HZ,
    media::{Heard, MAX_PACKET_BYTES},
    prompts::Prompt,
};

/// Questions that a call's record tells of; a flow may lead in a circle.
const MOST_ASKED: usize = 50;

/// What an applet says when it takes keys, and how it waits for them.
pub(super) struct Inquiry {
    pub(super) prompt: Prompt,
    /// Said when nothing was pressed.
    pub(super) again: Prompt,
    pub(super) timeout_s: u8,
    pub(super) repeats: u8,
    /// Keys at most, and the key that ends them, where the address says so.
    pub(super) most: Option<u8>,
    pub(super) finish_on_key: Option<String>,
}

impl Inquiry {
    /// What is said again and again.
    pub(super) fn plain(prompt: Prompt, (timeout_s, repeats): (u8, u8)) -> Self {
        Self {
            again: Arc::clone(&prompt),
            prompt,
            timeout_s,
            repeats,
            most: None,
            finish_on_key: None,
        }
    }

    /// How long it is waited for a key.
    pub(super) fn silence(&self) -> Vec<i16> {
        vec![0; usize::from(self.timeout_s) * RATE_HZ as usize]
    }

    /// What is said each time.
    pub(super) fn turns(&self) -> impl Iterator<Item = &[i16]> {
        let again = std::iter::repeat_n(&*self.again, self.repeats.into());
        std::iter::once(&*self.prompt).chain(again)
    }
}

impl Carried<'_> {
    /// Waits for something that takes its time. The call goes on meanwhile: who hangs up is gone, what is pressed is for nobody.
    pub(super) async fn during<T>(&mut self, work: impl Future<Output = T> + Send) -> Result<T, Stop> {
        tokio::pin!(work);
        let mut buffer = Box::new([0; MAX_PACKET_BYTES]);
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                heard = self.media.hear(&mut buffer) => {
                    if let Heard::Audio(_) = heard.map_err(|_| Stop::Failed("media"))? {
                        let _ = self.media.heard_key();
                    }
                }
                signal = self.leg.next() => {
                    heed(signal, self.leg, &mut self.media).await?;
                    self.note_wish();
                }
                Some(event) = self.controls.recv() => self.note(event),
                () = self.lost.cancelled() => return Err(Stop::Cut),
            }
        }
    }

    /// A text, spoken.
    pub(super) async fn speak(&mut self, text: &str) -> Result<Prompt, Stop> {
        let exchange = self.exchange;
        let language = self
            .policy
            .policy
            .languages
            .first()
            .map_or("en", String::as_str)
            .to_owned();
        let spoken = self
            .during(async { exchange.prompts.speak(&language, text).await })
            .await?;
        spoken.map_err(|error| {
            tracing::warn!(%error, "a flow cannot be spoken");
            Stop::Failed("prompt")
        })
    }

    /// What an applet says. Nothing when what it names is gone, or no address says anything of use.
    pub(super) async fn find_said(&mut self, applet: &str, say: &Say) -> Result<Option<Prompt>, Stop> {
        match say {
            Say::Text(text) => self.speak(text).await.map(Some),
            Say::Clip(clip) => self.find_clip(clip.audio).await,
            Say::Asked(address) => {
                let read = |reply: &Reply| match reply.status {
                    200 => read_prompt(&reply.content_type, &text_of(reply)),
                    _ => None,
                };
                match self.ask_address(applet, address, read).await? {
                    Some(reply) => self.find_reply(&reply).await,
                    None => Ok(None),
                }
            }
        }
    }

    /// What an applet says that takes keys, and how it waits.
    pub(super) async fn find_inquiry(
        &mut self,
        applet: &str,
        say: Option<&Say>,
        default: Option<&str>,
        wait: (u8, u8),
    ) -> Result<Option<Inquiry>, Stop> {
        let mut reply = None;
        let mut prompt = None;
        match say {
            Some(Say::Asked(address)) => {
                let read = |reply: &Reply| (reply.status == 200).then(|| read_gather(&text_of(reply)))?;
                reply = self.ask_address(applet, address, read).await?;
                if let Some(GatherReply { prompt: said, .. }) = &reply {
                    prompt = self.find_reply(said).await?;
                }
            }
            Some(say) => prompt = self.find_said(applet, say).await?,
            None => {}
        }
        let prompt = match (prompt, default) {
            (Some(prompt), _) => prompt,
            (None, Some(default)) => self.speak(default).await?,
            (None, None) => return Ok(None),
        };
        let again = match reply.as_ref().and_then(|reply| reply.again.as_ref()) {
            Some(again) => self.find_reply(again).await?,
            None => None,
        };
        let mut inquiry = Inquiry::plain(prompt, wait);
        if let Some(again) = again {
            inquiry.again = again;
        }
        if let Some(reply) = reply {
            inquiry.timeout_s = reply.timeout_s.unwrap_or(inquiry.timeout_s);
            inquiry.repeats = reply.repeats.unwrap_or(inquiry.repeats);
            (inquiry.most, inquiry.finish_on_key) = (reply.most, reply.finish_on_key);
        }
        Ok(Some(inquiry))
    }

    /// Asks an address of the flow, and keeps what came of it, in a few words.
    pub(super) async fn ask_address<T: Send>(
        &mut self,
        applet: &str,
        address: &Address,
        read: impl Fn(&Reply) -> Option<T> + Send + Sync,
    ) -> Result<Option<T>, Stop> {
        let exchange = self.exchange;
        let query = exchange.line.describe(&*self.live.lock().await, &self.moment);
        let asked = self.during(exchange.line.ask(address, &query, read)).await?;
        self.note_asked(applet, &asked.outcomes).await;
        Ok(asked.answer)
    }

    async fn note_asked(&mut self, applet: &str, outcomes: &[String]) {
        if self.asked.len() == MOST_ASKED {
            return;
        }
        self.asked.push(json!({ "applet": applet, "outcomes": outcomes }));
        self.live.lock().await.note("asked", json!(self.asked));
    }

    async fn find_reply(&mut self, reply: &PromptReply) -> Result<Option<Prompt>, Stop> {
        match reply {
            PromptReply::Text(text) => self.speak(text).await.map(Some),
            PromptReply::Audio(url) => self.fetch(url).await,
        }
    }

    /// Audio that was uploaded.
    async fn find_clip(&mut self, clip: Sid) -> Result<Option<Prompt>, Stop> {
        let (exchange, live) = (self.exchange, Arc::clone(&self.live));
        let found = self
            .during(async move {
                let live = live.lock().await;
                let account = live.account();
                exchange.prompts.find_clip(exchange.line.vault(), account, clip).await
            })
            .await?;
        Ok(found
            .map_err(|error| tracing::warn!(%error, "a flow's prompt cannot be played"))
            .ok())
    }

    /// Audio at an address.
    async fn fetch(&mut self, url: &str) -> Result<Option<Prompt>, Stop> {
        let exchange = self.exchange;
        let fetched = self
            .during(async move {
                let reply = exchange.line.ask_once(url, &[], MAX_PROMPT_BYTES).await;
                let reply = reply.map_err(|error| error.to_string())?;
                let format = match reply.content_type.split(';').next().unwrap_or_default().trim() {
                    "audio/mpeg" | "audio/mp3" => AudioFormat::Mp3,
                    _ => AudioFormat::Wav,
                };
                match reply.status {
                    200 => exchange
                        .prompts
                        .read(reply.body, format)
                        .await
                        .map_err(|error| error.to_string()),
                    status => Err(format!("answered {status}")),
                }
            })
            .await?;
        match fetched {
            Ok(prompt) => Ok(Some(prompt)),
            Err(outcome) => {
                self.note_asked("audio", &[outcome]).await;
                Ok(None)
            }
        }
    }
}

pub(super) fn text_of(reply: &Reply) -> String {
    String::from_utf8_lossy(&reply.body).into_owned()
}
