//! Whom a caller is connected with: numbers of the flow, or those that an address answers.

use callvault_app::{
    core::{
        Number,
        consent::Switches,
        flow::{Address, Channels, Destination, read_connect},
        record::CallStatus,
    },
    line::{Dialed, Reply},
};

use super::{Carried, Stop, asking::text_of, talk::status_of};
use crate::pace;

/// How often an address is asked for other numbers within one applet.
const MOST_FETCHES: usize = 10;

/// How a caller is connected.
#[derive(Clone)]
pub(super) struct Plan {
    pub(super) numbers: Vec<String>,
    pub(super) record: Option<bool>,
    pub(super) channels: Channels,
    pub(super) ring_s: u16,
    pub(super) talk_s: Option<u16>,
    /// The number that is shown; the call's own if absent.
    pub(super) shown: Option<Number>,
    /// What both hear before they are connected.
    pub(super) playback: Option<String>,
    /// Whether the address is asked again when nobody answers.
    pub(super) asks_again: bool,
}

impl Carried<'_> {
    /// Connects the caller with the first who answers.
    pub(super) async fn reach(&mut self, applet: &str, plan: &Plan, ask: Option<&Address>) -> Result<(), Stop> {
        for _ in 0..MOST_FETCHES {
            let asked = match ask {
                Some(address) => self.ask_plan(applet, plan, address).await?,
                None => None,
            };
            let now = asked.as_ref().unwrap_or(plan);
            if self.try_numbers(now).await? || !now.asks_again {
                return Ok(());
            }
        }
        Ok(())
    }

    /// What an address says, on top of what the flow says.
    async fn ask_plan(&mut self, applet: &str, plan: &Plan, address: &Address) -> Result<Option<Plan>, Stop> {
        let read = |reply: &Reply| (reply.status == 200).then(|| read_connect(&text_of(reply)))?;
        let Some(answer) = self.ask_address(applet, address, read).await? else {
            return Ok(None);
        };
        let shown = match &answer.shown {
            Some(number) => self.own_number(number).await?,
            None => None,
        };
        let Destination {
            numbers,
            fetch_after_attempt,
            record,
            channels,
            ring_s,
            talk_s,
            playback,
            shown: _,
        } = answer;
        Ok(Some(Plan {
            numbers,
            // A flow that rules a recording out was saved without anything that tells of one.
            record: if plan.record == Some(false) {
                plan.record
            } else {
                record.or(plan.record)
            },
            channels: channels.unwrap_or(plan.channels),
            ring_s: ring_s.unwrap_or(plan.ring_s),
            talk_s: talk_s.or(plan.talk_s),
            shown,
            playback,
            asks_again: fetch_after_attempt,
        }))
    }

    /// A number that may be shown: the account's own, and no other.
    async fn own_number(&mut self, number: &str) -> Result<Option<Number>, Stop> {
        let live = self.live.lock().await;
        let account = live.account();
        let Ok(number) = Number::parse(number, account.country) else {
            return Ok(None);
        };
        let found = self.exchange.line.vault().has_exophone(account, &number).await;
        Ok(found.map_err(|_| Stop::Failed("store"))?.then_some(number))
    }

    /// Calls one number after the other. Whether somebody answered.
    async fn try_numbers(&mut self, plan: &Plan) -> Result<bool, Stop> {
        let switches = Switches {
            call: self.switch,
            flow: plan.record,
            account: self.policy.records_by_default,
        };
        let usual = self.shown.clone();
        if let Some(shown) = &plan.shown {
            self.shown = shown.clone();
        }
        let mut is_answered = false;
        for number in &plan.numbers {
            let (dialing, mut media) = match self.ring(number, plan.ring_s).await? {
                Ok(answered) => answered,
                Err(end) => {
                    self.note_dialed(number, status_of(end), 0);
                    continue;
                }
            };
            if let Some(text) = &plan.playback {
                let prompt = self.speak(text).await?;
                self.beside = Some(media);
                self.play(&prompt, false).await?;
                media = self.beside.take().ok_or(Stop::Failed("media"))?;
            }
            let start = pace::now();
            self.connect(dialing, media, number, switches, plan.channels, plan.talk_s)
                .await?;
            let talk_s = u32::try_from(start.elapsed().as_secs()).unwrap_or(u32::MAX);
            self.note_dialed(number, CallStatus::Completed, talk_s);
            is_answered = true;
            break;
        }
        self.shown = usual;
        Ok(is_answered)
    }

    fn note_dialed(&mut self, number: &str, status: CallStatus, talk_s: u32) {
        self.moment.dialed = Some(Dialed {
            number: number.to_owned(),
            status,
            talk_s,
        });
    }
}
