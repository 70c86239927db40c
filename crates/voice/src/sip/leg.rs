//! One side of a call, and what happens to it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use rsipstack::{
    dialog::{
        dialog::{DialogState, DialogStateReceiver, TerminatedReason, TransactionHandle},
        dialog_layer::DialogLayer,
        invite_dialog::InviteDialog,
    },
    sip::{Header, Method, StatusCode, StatusCodeKind},
};
use tokio::{sync::mpsc, task::JoinHandle};

use super::{SipError, text_of, timer::Timer};
use crate::{pace, sdp::Recording};

/// How long a side that did not take a new description is left alone, in looks at it.
const AGAIN: u8 = 10;

/// How a leg ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The caller gave up before an answer.
    Canceled,
    /// One of both hung up.
    HungUp,
    /// Nobody answered in time.
    Timeout,
    /// Refused with this status.
    Refused(u16),
}

/// What happens to a leg.
pub enum Signal {
    /// The other side took the answer.
    Confirmed,
    /// The other side rings; the body is a description of early media, or empty.
    Early(Vec<u8>),
    /// The other side describes its media anew.
    Offer(Offer),
    /// It is over.
    Ended(End),
}

/// A description of media that waits for an answer.
pub struct Offer {
    /// The description; empty if the other side wants one.
    pub body: Vec<u8>,
    /// What the body is.
    pub content_type: String,
    /// Whether it wants a description in answer even where it has none: a re-INVITE does, an UPDATE does not.
    pub wants_answer: bool,
    timer: Option<Timer>,
    handle: TransactionHandle,
}

impl Offer {
    /// Answers with a description.
    pub async fn answer(self, description: String) {
        let mut headers = vec![content_type()];
        headers.extend(self.timer.into_iter().flat_map(Timer::headers));
        let body = Some(description.into_bytes());
        let _ = self.handle.respond(StatusCode::OK, Some(headers), body).await;
    }

    /// Takes note of what came without a description.
    pub async fn acknowledge(self) {
        let headers = self.timer.map(|timer| timer.headers().to_vec());
        let _ = self.handle.respond(StatusCode::OK, headers, None).await;
    }

    /// Refuses it: everything stays as it was.
    pub async fn refuse(self) {
        let _ = self.handle.reply(StatusCode::NotAcceptableHere).await;
    }
}

async fn reinvite(dialog: &InviteDialog, description: String) -> Result<Vec<u8>, SipError> {
    let (headers, body) = (vec![content_type()], description.into_bytes());
    let attempts = 3;
    let answered = dialog.reinvite_with_glare_retry(Some(headers), Some(body), attempts);
    match answered.await? {
        Some(response) if response.status_code.kind() == StatusCodeKind::Successful => Ok(response.body),
        Some(response) => Err(SipError(format!("status {}", response.status_code.code()))),
        None => Err(SipError("it is over".to_owned())),
    }
}

fn content_type() -> Header {
    Header::ContentType("application/sdp".into())
}

/// One side of a call.
pub struct Leg {
    dialog: InviteDialog,
    layer: Arc<DialogLayer>,
    signals: mpsc::UnboundedReceiver<Signal>,
    timer: Option<Timer>,
    /// When it ends, unless the other side says that it goes on.
    due: Option<Instant>,
    /// Whether the other side understands whether it is recorded.
    understands: Arc<AtomicBool>,
    /// What it knows of that.
    told: Recording,
    /// What it is being told, and its answer.
    telling: Option<(Recording, Told)>,
    /// Looks until it is told again, when it did not take it.
    pause: u8,
}

/// The answer to a new description.
type Told = JoinHandle<Result<Vec<u8>, SipError>>;

impl Leg {
    /// What happens next; nothing after the end.
    pub async fn next(&mut self) -> Option<Signal> {
        let signal = match self.due {
            None => self.signals.recv().await,
            Some(due) => tokio::select! {
                signal = self.signals.recv() => signal,
                () = pace::wait_until(due) => {
                    self.due = None;
                    return Some(Signal::Ended(End::Timeout));
                }
            },
        };
        match &signal {
            Some(Signal::Confirmed) => self.begin_anew(self.timer),
            Some(Signal::Offer(offer)) => self.begin_anew(offer.timer),
            _ => {}
        }
        signal
    }

    fn begin_anew(&mut self, timer: Option<Timer>) {
        self.due = timer.map(|timer| pace::now() + timer.patience());
    }

    /// Rings.
    pub fn ring(&self) {
        let _ = self.dialog.ringing(None, None);
    }

    /// Takes the call.
    ///
    /// # Errors
    /// When it is over already.
    pub fn accept(&self, description: String) -> Result<(), SipError> {
        let mut headers = vec![content_type()];
        headers.extend(self.timer.into_iter().flat_map(Timer::headers));
        Ok(self.dialog.accept(Some(headers), Some(description.into_bytes()))?)
    }

    /// What the other side sent with its acknowledgement: the answer, where the offer was ours.
    #[must_use]
    pub fn acknowledged(&self) -> Vec<u8> {
        self.dialog.last_remote_ack().map(|ack| ack.body).unwrap_or_default()
    }

    /// Refuses the call.
    pub fn reject(&self, status: u16) {
        let _ = self.dialog.reject(Some(StatusCode::from(status)), None);
    }

    /// Describes our media anew. Returns what the other side answers.
    ///
    /// # Errors
    /// When it does not take it, or the call is over.
    pub async fn describe_anew(&self, description: String) -> Result<Vec<u8>, SipError> {
        reinvite(&self.dialog, description).await
    }

    /// Where it is kept that the other side understands whether it is recorded.
    pub(super) fn understands(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.understands)
    }

    /// What our descriptions say of recording; nothing to who does not understand it.
    #[must_use]
    pub fn recording(&self) -> Option<Recording> {
        self.understands.load(Ordering::Relaxed).then_some(self.told)
    }

    /// Tells the other side whether it is recorded, if it understands that and does not know, and nothing else is under way; looked at
    /// now and then. Returns what it answered to what it was told last.
    pub async fn tell(&mut self, recording: Recording, describe: impl FnOnce() -> Option<String>) -> Option<Vec<u8>> {
        let mut answer = None;
        match self.telling.take() {
            Some((told, telling)) if telling.is_finished() => match telling.await {
                Ok(Ok(body)) => (self.told, answer) = (told, Some(body)),
                // It is told again, unless the call is over.
                Ok(Err(_)) | Err(_) => self.pause = AGAIN,
            },
            under_way => self.telling = under_way,
        }
        let known = self.recording().unwrap_or(recording);
        if known == recording || self.telling.is_some() {
            return answer;
        }
        if self.pause > 0 {
            self.pause -= 1;
            return answer;
        }
        if let Some(description) = describe() {
            let dialog = self.dialog.clone();
            let telling = tokio::spawn(async move { reinvite(&dialog, description).await });
            self.telling = Some((recording, telling));
        }
        answer
    }

    /// Whether the other side still knows of the call.
    pub async fn is_known(&self) -> bool {
        match self.dialog.options(None).await {
            Ok(Some(response)) => !matches!(response.status_code.code(), 408 | 481),
            Ok(None) | Err(_) => false,
        }
    }

    /// Hangs up, or gives up.
    pub async fn hang_up(&self) {
        let _ = self.dialog.hangup().await;
    }
}

impl Drop for Leg {
    fn drop(&mut self) {
        let (dialog, layer) = (self.dialog.clone(), Arc::clone(&self.layer));
        // Whoever forgets to hang up leaves nobody on the line.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if !dialog.state().is_terminated() {
                    let _ = dialog.hangup().await;
                }
                layer.remove_dialog(&dialog.id());
            });
        }
    }
}

pub(super) fn leg_of(
    dialog: InviteDialog,
    layer: &Arc<DialogLayer>,
    states: DialogStateReceiver,
    timer: Option<Timer>,
) -> Leg {
    let (signals, received) = mpsc::unbounded_channel();
    tokio::spawn(translate(states, signals));
    Leg {
        dialog,
        layer: Arc::clone(layer),
        signals: received,
        timer,
        due: None,
        understands: Arc::default(),
        told: Recording::Off,
        telling: None,
        pause: 0,
    }
}

/// What the stack tells, as what matters here.
async fn translate(mut states: DialogStateReceiver, signals: mpsc::UnboundedSender<Signal>) {
    let mut is_confirmed = false;
    while let Some(state) = states.recv().await {
        let signal = match state {
            DialogState::Early(_, response) => Signal::Early(response.body),
            DialogState::Confirmed(..) if !is_confirmed => {
                is_confirmed = true;
                Signal::Confirmed
            }
            DialogState::Updated(_, request, handle) => Signal::Offer(Offer {
                content_type: text_of(&request, "Content-Type").concat(),
                wants_answer: request.method == Method::Invite,
                // One that is too short ends what there was: the call lives by its media then.
                timer: Timer::of(&request).unwrap_or_default(),
                body: request.body,
                handle,
            }),
            DialogState::Info(_, _, handle) | DialogState::Options(_, _, handle) => {
                let _ = handle.reply(StatusCode::OK).await;
                continue;
            }
            DialogState::Refer(_, _, handle)
            | DialogState::Message(_, _, handle)
            | DialogState::Notify(_, _, handle)
            | DialogState::Publish(_, _, handle) => {
                let _ = handle.reply(StatusCode::MethodNotAllowed).await;
                continue;
            }
            DialogState::Terminated(_, reason) => {
                let _ = signals.send(Signal::Ended(end_of(reason)));
                return;
            }
            DialogState::Calling(_)
            | DialogState::Trying(_)
            | DialogState::WaitAck(..)
            | DialogState::Confirmed(..) => {
                continue;
            }
        };
        if signals.send(signal).is_err() {
            return;
        }
    }
}

fn end_of(reason: TerminatedReason) -> End {
    match reason {
        TerminatedReason::UacCancel => End::Canceled,
        TerminatedReason::UacBye | TerminatedReason::UasBye => End::HungUp,
        TerminatedReason::Timeout => End::Timeout,
        TerminatedReason::UacBusy | TerminatedReason::UasBusy => End::Refused(486),
        TerminatedReason::UasDecline => End::Refused(603),
        TerminatedReason::ProxyAuthRequired => End::Refused(407),
        TerminatedReason::ProxyError(status)
        | TerminatedReason::UacOther(status)
        | TerminatedReason::UasOther(status) => End::Refused(status.code()),
    }
}
