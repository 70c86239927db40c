//! Support requests (spec 5.2): a deletion that one person asks for and another one approves.
//!
//! A request is open for [`OPEN_DAYS`]; then it is over by itself, without anybody doing anything. Its ends are final:
//! who wants the same again asks again.

use serde::{Deserialize, Serialize};

use crate::{decision::Decision, id::Sid, time::TimeUs};

/// How long a request waits for its second person.
pub const OPEN_DAYS: i64 = 14;
/// The longest reason or note, in characters.
pub const MAX_REASON_CHARS: usize = 500;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Asked {
    /// That one recording is deleted before its term.
    DeleteRecording {
        /// The recording.
        recording: Sid,
    },
}

impl Asked {
    /// The kind's name in APIs.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::DeleteRecording { .. } => "delete_recording",
        }
    }
}

/// Where a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// It waits for a second person.
    Open,
    /// A second person approved it; it is being carried out.
    Approved,
    /// It was carried out.
    Done {
        /// Index of the deletion's entry in the transparency log.
        log_index: u64,
    },
    /// A second person said no.
    Declined,
    /// Who asked takes it back.
    Withdrawn,
    /// Nobody answered in time.
    Expired,
}

impl State {
    /// The state's name in APIs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Approved => "approved",
            Self::Done { .. } => "done",
            Self::Declined => "declined",
            Self::Withdrawn => "withdrawn",
            Self::Expired => "expired",
        }
    }

    /// Whether nothing more happens to the request.
    #[must_use]
    pub const fn is_over(self) -> bool {
        !matches!(self, Self::Open | Self::Approved)
    }
}

/// What a person does to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Says yes.
    Approve,
    /// Says no.
    Decline,
    /// Takes it back.
    Withdraw,
}

impl Answer {
    /// Every answer.
    pub const ALL: [Self; 3] = [Self::Approve, Self::Decline, Self::Withdraw];
}

/// A request, as far as the rules are concerned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Who asks.
    pub opened_by: String,
    /// When it was asked for.
    pub opened_at: TimeUs,
    /// Where it stands, as it was stored; [`Request::state_at`] knows what time did since.
    pub state: State,
}

impl Request {
    /// A request that this person opens now.
    #[must_use]
    pub fn open(opened_by: &str, now: TimeUs) -> Self {
        Self {
            opened_by: opened_by.to_owned(),
            opened_at: now,
            state: State::Open,
        }
    }

    /// When it is over if nobody answers.
    #[must_use]
    pub fn expires_at(&self) -> TimeUs {
        self.opened_at.plus_days(OPEN_DAYS)
    }

    /// Where it stands at a moment.
    #[must_use]
    pub fn state_at(&self, now: TimeUs) -> State {
        match self.state {
            State::Open if now >= self.expires_at() => State::Expired,
            state => state,
        }
    }
}

/// What an answer of this person makes of a request.
///
/// Nobody answers their own request: who asks may take it back, and somebody else says yes or no (spec 5.2, "that a
/// second person approves").
pub fn decide_answer(request: &Request, answer: Answer, person: &str, now: TimeUs) -> Decision<State> {
    let state = request.state_at(now);
    if state != State::Open {
        let reason = match state {
            State::Expired => {
                let at = request.expires_at();
                format!("Nobody answered this request by {at}, and it is over; ask again.")
            }
            state => format!("This request is {} already.", state.as_str()),
        };
        return Decision::refuse("request-over", reason);
    }
    let is_own = request.opened_by == person;
    match answer {
        Answer::Withdraw if is_own => Decision::Allowed(State::Withdrawn),
        Answer::Withdraw => Decision::refuse(
            "not-your-request",
            "Only who asked may withdraw a request; others decline it.",
        ),
        Answer::Approve | Answer::Decline if is_own => Decision::refuse(
            "second-person",
            "Somebody else has to answer this request: a deletion takes two people. You may withdraw it.",
        ),
        Answer::Approve => Decision::Allowed(State::Approved),
        Answer::Decline => Decision::Allowed(State::Declined),
    }
}

/// What becomes of an approved request: done with its log entry, or, when what it names may not be deleted any more,
/// open as before.
pub fn decide_end(request: &Request, log_index: Option<u64>) -> Decision<State> {
    match (request.state, log_index) {
        (State::Approved, Some(log_index)) => Decision::Allowed(State::Done { log_index }),
        (State::Approved, None) => Decision::Allowed(State::Open),
        (state, _) => Decision::refuse("not-approved", format!("This request is {}.", state.as_str())),
    }
}
