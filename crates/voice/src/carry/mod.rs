//! One call, from its answer to its end: what it hears, whom it is connected with, and what is kept of it.

mod asking;
mod kept;
mod message;
mod place;
mod reach;
mod talk;
mod walk;

pub(crate) use kept::Kept;
pub(crate) use place::place;

use std::sync::Arc;

use callvault_app::{
    Account, VaultError,
    consent::ConsentPolicy,
    core::{
        Number, TimeUs,
        consent::{Consenting, Event, Rule},
        record::{Call, CallStatus, Direction},
    },
    flow::SavedFlow,
    line::{LiveCall, Moment},
};
use serde_json::json;
use tokio::{
    sync::{Mutex, mpsc},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

use crate::{
    exchange::{Exchange, Trunk},
    media::Media,
    sdp::{self, Audio, Recording, Wish},
    sip::{End, Invite, Leg, Offer, Signal},
};

/// The longest call, whatever its flow says.
pub(crate) const MOST_S: u64 = 14_400;
/// How long the caller's side may take to acknowledge the answer.
const ACK_S: u64 = 32;
/// How long a leg may say nothing before it is taken for dead, where it should speak.
pub(crate) const SILENT_S: u64 = 60;
/// The most applets that a call goes through: a flow may lead in a circle.
const MOST_STEPS: usize = 100;

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
    /// It took too long, another process has it, or this one shuts down.
    Cut,
    /// A part of it failed.
    Failed(&'static str),
}

impl Stop {
    /// What a record says of it.
    fn reason(&self, exchange: &Exchange) -> &'static str {
        match self {
            Self::Gone => "hung up",
            Self::Failed(what) => what,
            Self::Cut => exchange.why_cut(),
        }
    }
}

/// A call that is carried.
struct Carried<'c> {
    exchange: &'c Exchange,
    trunk: &'c Trunk,
    /// Whose number the second party is shown.
    shown: Number,
    policy: ConsentPolicy,
    rule: Rule,
    /// The call's own switch (spec 2.1).
    switch: Option<bool>,
    leg: &'c mut Leg,
    media: Media,
    /// Somebody who waits, and hears what is said meanwhile.
    beside: Option<Media>,
    live: Arc<Mutex<LiveCall>>,
    controls: mpsc::Receiver<Event>,
    /// What the caller heard and said, until a recorder takes it over.
    events: Vec<(TimeUs, Event)>,
    story: Option<Consenting>,
    /// What the addresses of the flow are told of it.
    moment: Moment,
    /// What came of asking them.
    asked: Vec<serde_json::Value>,
    lost: CancellationToken,
}

/// What the caller did while something was said, or after it.
enum Reaction {
    /// Nothing.
    Silence,
    /// Pressed a key.
    Key(char),
}

/// Carries a call that comes in. A status refuses it; a call that was answered ends in its record.
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
    let numbers = [&accepted.from, &accepted.to, &accepted.to].map(Number::clone);
    let call = Call::ringing(sid, now, Direction::Inbound, numbers);
    let begun = exchange.line.begin_live(accepted.account, call, None).await;
    let mut live = begun.map_err(unavailable)?;
    live.note("flow", of_flow(&accepted.flow));
    let kept = Kept::begin(live, &exchange.closing);
    let answered = answer(
        &mut invite.leg,
        &mut media,
        accepted.offer.as_ref(),
        accepted.trunk.needs_srtp,
    )
    .await;
    let mut carried = Carried {
        exchange,
        trunk: &accepted.trunk,
        shown: accepted.from,
        policy,
        rule,
        switch: None,
        leg: &mut invite.leg,
        media,
        beside: None,
        live: Arc::clone(&kept.live),
        controls,
        events: Vec::new(),
        story: None,
        moment: Moment::default(),
        asked: Vec::new(),
        lost: kept.lost.clone(),
    };
    let status = match answered {
        Err(status) => status,
        Ok(()) => {
            let walked = carried.lead(&accepted.flow).await;
            carried.note_stop(walked).await;
            CallStatus::Completed
        }
    };
    let story = carried.close().await;
    kept.end(vault.now(), status, Some(&story)).await;
    drop(registered);
    Ok(())
}

impl Carried<'_> {
    /// The call is answered and led through a flow.
    async fn lead(&mut self, flow: &SavedFlow) -> Result<(), Stop> {
        self.say_answered().await?;
        self.walk_with_limit(flow).await
    }

    /// Keeps that the call is answered.
    async fn say_answered(&mut self) -> Result<(), Stop> {
        self.note_wish();
        let mut live = self.live.lock().await;
        let answered = live.answer(self.exchange.line.vault().now()).await;
        answered.map_err(|error| {
            tracing::warn!(%error, "a call's answer cannot be kept");
            Stop::Failed("store")
        })
    }

    /// What follows from what the person's telephone would have of a recording, if it says something new.
    fn wished(&mut self) -> Option<Event> {
        let [before, now] = self.media.wished()?;
        event_of(before, now)
    }

    /// Notes what the person's telephone would have of a recording, if it said so.
    fn note_wish(&mut self) {
        if let Some(event) = self.wished() {
            self.note(event);
        }
    }

    /// Notes why a call went no further, if it was for a reason of ours.
    async fn note_stop(&mut self, stopped: Result<(), Stop>) {
        if let Err(stop @ (Stop::Failed(_) | Stop::Cut)) = stopped {
            let why = stop.reason(self.exchange);
            self.live.lock().await.note("failed", json!(why));
        }
    }

    /// Hangs up. What is left is the call's consent.
    async fn close(mut self) -> Consenting {
        self.leg.hang_up().await;
        self.settle_story(self.exchange.line.vault().now())
    }
}

/// What a call's record says of the flow it went through.
fn of_flow(flow: &SavedFlow) -> serde_json::Value {
    json!({ "id": flow.id, "version": flow.version })
}

/// Answers a call and waits until the caller's side took the answer. How it ended, if it did not.
async fn answer(leg: &mut Leg, media: &mut Media, offer: Option<&Audio>, is_secure: bool) -> Result<(), CallStatus> {
    leg.ring();
    let address = media.address().map_err(|_| CallStatus::Failed)?;
    let ours = match offer {
        Some(offer) => {
            media.connect(offer.clone());
            sdp::answer(offer, address.ip(), address.port(), media.key())
        }
        None => {
            media.demand(is_secure);
            sdp::offer(address.ip(), address.port(), is_secure.then(|| media.key()))
        }
    };
    leg.accept(media.describe(ours, leg.recording()))
        .map_err(|_| CallStatus::Canceled)?;
    taken(leg).await?;
    if offer.is_none() {
        let answer = sdp::parse(&leg.acknowledged()).map_err(|_| CallStatus::Failed)?;
        if !media.agrees(&answer) {
            return Err(CallStatus::Failed);
        }
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

/// Takes what a leg says anew of its media: hold, another address. Another law is refused.
async fn renegotiate(media: &mut Media, offer: Offer, recording: Option<Recording>) {
    if offer.body.is_empty() && !offer.wants_answer {
        offer.acknowledge().await;
        return;
    }
    let ours = match sdp::parse(&offer.body) {
        Ok(audio) => reconnect(media, audio).then(|| media.ours()).flatten(),
        // The other side wants our description: what it is already.
        Err(_) if offer.body.is_empty() => media.address().ok().map(|address| {
            let mut ours = sdp::offer(address.ip(), address.port(), media.is_secure().then(|| media.key()));
            ours.laws = vec![media.law()];
            ours
        }),
        Err(_) => None,
    };
    match ours {
        Some(ours) => offer.answer(media.describe(ours, recording)).await,
        None => offer.refuse().await,
    }
}

/// Takes a new description of a leg's media, if they go on as they are: with the same law, and encrypted as before.
fn reconnect(media: &mut Media, mut audio: Audio) -> bool {
    let fits = audio.laws.contains(&media.law()) && media.agrees(&audio);
    if fits {
        audio.laws = vec![media.law()];
        media.connect(audio);
    }
    fits
}

/// Tells a leg whether it is recorded, if it understands that and does not know (RFC 7866, section 6.1.2). Looked at once a second.
async fn tell(leg: &mut Leg, media: &mut Media, recording: Recording) {
    let describe = || media.ours().map(|ours| media.describe(ours, Some(recording)));
    let answer = leg.tell(recording, describe).await;
    if let Some(Ok(audio)) = answer.map(|body| sdp::parse(&body)) {
        reconnect(media, audio);
    }
}

/// What follows when a person's telephone would have something else of a recording than before. That it may be recorded is no consent: a
/// person has to say that.
const fn event_of(before: Option<Wish>, now: Option<Wish>) -> Option<Event> {
    match (before, now) {
        (_, Some(Wish::Off)) => Some(Event::Declined),
        (_, Some(Wish::Pause)) => Some(Event::Paused),
        (Some(Wish::Pause), _) => Some(Event::Resumed),
        _ => None,
    }
}

/// Heeds what a leg's signalling says.
async fn heed(signal: Option<Signal>, leg: &Leg, media: &mut Media) -> Result<(), Stop> {
    match signal {
        Some(Signal::Ended(_)) | None => Err(Stop::Gone),
        Some(Signal::Offer(offer)) => {
            renegotiate(media, offer, leg.recording()).await;
            Ok(())
        }
        Some(Signal::Confirmed | Signal::Early(_)) => Ok(()),
    }
}
