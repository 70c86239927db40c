//! Calls that are ordered (`Calls/connect`): the first party is called; then a flow leads it on, or the second party is called and
//! both are connected.

use std::sync::Arc;

use callvault_app::{
    core::{
        Sid,
        consent::{Consenting, Event, Rule, Switches},
        flow::{Channels, QUESTION},
        record::CallStatus,
    },
    flow::{SavedFlow, flow_of_url},
    line::{CallOrder, LiveCall, Moment},
};
use serde_json::json;
use tokio::{sync::mpsc, time::Duration};

use super::{
    Carried, Kept, Stop,
    asking::Inquiry,
    of_flow,
    talk::{dial, settle, status_of},
};
use crate::{
    exchange::{Exchange, Trunk},
    g711::Law,
    media::Media,
    pace,
    sip::{Dialing, End, answered},
};

/// How long a party rings if the order says nothing, and at most.
const RING_S: [u32; 2] = [30, 120];
/// How long a question waits for its answer, and how often it is repeated.
const QUESTION_S: (u8, u8) = (5, 2);

/// Places a call. It ends in its record, whatever becomes of it.
pub(crate) async fn place(
    exchange: &Exchange,
    trunk: &Trunk,
    controls: mpsc::Receiver<Event>,
    live: LiveCall,
    order: &CallOrder,
) {
    let kept = Kept::begin(live, &exchange.closing);
    let attempt = Attempt {
        exchange,
        trunk,
        kept: &kept,
        order,
    };
    let (status, story) = match attempt.make(controls).await {
        Ok((status, story)) => (status, story),
        Err(what) => {
            kept.live.lock().await.note("failed", json!(what));
            (CallStatus::Failed, None)
        }
    };
    kept.end(exchange.line.vault().now(), status, story.as_ref()).await;
}

struct Attempt<'a> {
    exchange: &'a Exchange,
    trunk: &'a Trunk,
    kept: &'a Kept,
    order: &'a CallOrder,
}

impl Attempt<'_> {
    /// Makes the call. What failed, if it was none.
    async fn make(&self, controls: mpsc::Receiver<Event>) -> Result<(CallStatus, Option<Consenting>), &'static str> {
        let (exchange, order) = (self.exchange, self.order);
        let vault = exchange.line.vault();
        let flow = match &order.flow_url {
            None => None,
            Some(url) => Some(self.flow(flow_of_url(url).ok_or("no flow of this vault")?).await?),
        };
        // The one who is called is asked: into a flow, that is the first party.
        let called = if flow.is_some() { &order.from } else { &order.to };
        let (policy, rule) = {
            let live = self.kept.live.lock().await;
            let found = vault.consent_rule(live.account(), called).await;
            found.map_err(|_| "store")?
        };
        let (mut dialing, media) = match self.call_first().await? {
            Ok(answered) => answered,
            Err(end) => return Ok((status_of(end), None)),
        };
        let mut carried = Carried {
            exchange,
            trunk: self.trunk,
            shown: order.exophone.clone(),
            policy,
            rule,
            switch: order.record.then_some(true),
            leg: &mut dialing.leg,
            media,
            beside: None,
            live: Arc::clone(&self.kept.live),
            controls,
            events: Vec::new(),
            story: None,
            moment: Moment::default(),
            asked: Vec::new(),
            lost: self.kept.lost.clone(),
        };
        let status = match &flow {
            Some(flow) => {
                let led = carried.lead(flow).await;
                carried.note_stop(led).await;
                CallStatus::Completed
            }
            None => self.connect_second(&mut carried).await,
        };
        Ok((status, Some(carried.close().await)))
    }

    async fn flow(&self, id: Sid) -> Result<SavedFlow, &'static str> {
        let mut live = self.kept.live.lock().await;
        let found = self.exchange.line.vault().get_flow(live.account(), id, None).await;
        let flow = found.map_err(|_| "no flow of this vault")?;
        live.note("flow", of_flow(&flow));
        Ok(flow)
    }

    fn ring_s(&self) -> u16 {
        let [usual, most] = RING_S;
        let wanted = self.order.ring_limit_s.unwrap_or(usual).min(most);
        u16::try_from(wanted).unwrap_or(u16::MAX)
    }

    /// Calls the first party.
    async fn call_first(&self) -> Result<Result<(Dialing, Media), End>, &'static str> {
        let order = self.order;
        let dialed = dial(self.exchange, self.trunk, Law::A, &order.exophone, order.from.as_str());
        let (mut dialing, media) = dialed.await.map_err(|stop| stop.reason(self.exchange))?;
        let answer = tokio::select! {
            answer = answered(&mut dialing.answer) => answer,
            () = pace::wait(Duration::from_secs(self.ring_s().into())) => Err(End::Timeout),
            () = self.kept.lost.cancelled() => return Err(Stop::Cut.reason(self.exchange)),
        };
        Ok(settle(dialing, media, answer).await)
    }

    /// Calls the second party, and connects both.
    async fn connect_second(&self, carried: &mut Carried<'_>) -> CallStatus {
        let order = self.order;
        let (mut second, mut other) = match carried.ring(order.to.as_str(), self.ring_s()).await {
            Ok(Ok(answered)) => answered,
            Ok(Err(end)) => return status_of(end),
            Err(Stop::Gone) => return CallStatus::Canceled,
            Err(stop) => {
                carried.note_stop(Err(stop)).await;
                return CallStatus::Failed;
            }
        };
        // The second party is the customer: he hears and says what a caller would.
        std::mem::swap(carried.leg, &mut second.leg);
        std::mem::swap(&mut carried.media, &mut other);
        let switches = Switches {
            call: carried.switch,
            flow: None,
            account: carried.policy.records_by_default,
        };
        let channels = if order.dual { Channels::Dual } else { Channels::Single };
        let talk_s = order.time_limit_s.and_then(|seconds| u16::try_from(seconds).ok());
        let talked = async {
            carried.say_answered().await?;
            if switches.is_on() {
                // The first party hears it as well, and answers nothing.
                carried.beside = Some(other);
                carried.announce().await?;
                other = carried.beside.take().ok_or(Stop::Failed("media"))?;
            }
            let number = order.to.as_str();
            carried.connect(second, other, number, switches, channels, talk_s).await
        };
        let talked = talked.await;
        carried.note_stop(talked).await;
        CallStatus::Completed
    }
}

impl Carried<'_> {
    /// Says that the call is recorded, and asks where the policy asks.
    async fn announce(&mut self) -> Result<(), Stop> {
        let prompt = self.speak(&self.policy.policy.text.clone()).await?;
        self.play(&prompt, false).await?;
        self.note(Event::Announced);
        if self.rule == Rule::OptIn {
            let question = self.speak(QUESTION).await?;
            self.gather(Inquiry::plain(question, QUESTION_S)).await?;
        }
        Ok(())
    }
}
