//! Campaigns: which numbers are called when, and what becomes of the whole (the platform's documentation, "Campaigns").

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::{
    decision::Decision,
    id::Sid,
    number::Number,
    record::CallStatus,
    time::{SECOND_US, TimeUs},
};

/// Most numbers that are named one by one.
pub const MAX_NUMBERS: usize = 5_000;
/// Most lists.
pub const MAX_LISTS: usize = 5;
/// Most attempts after the first.
pub const MAX_RETRIES: u8 = 3;
/// The longest pause between two attempts.
pub const MAX_INTERVAL_MINS: u16 = 10_080;
/// Calls a minute when nothing else is said, and the most that may be said.
pub const THROTTLE: (u32, u32) = (60, 1_000);

/// Where a campaign stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Status {
    /// Its time has not come.
    Created,
    /// Numbers are being called.
    InProgress,
    /// Nobody is called until it is resumed.
    Paused,
    /// Every number is through.
    Completed,
    /// There was nobody to call.
    Failed,
    /// It was deleted before its end.
    Canceled,
    /// Completed and put away.
    Archived,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 7] = [
        Self::Created,
        Self::InProgress,
        Self::Paused,
        Self::Completed,
        Self::Failed,
        Self::Canceled,
        Self::Archived,
    ];

    /// The status as the platform writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "Created",
            Self::InProgress => "InProgress",
            Self::Paused => "Paused",
            Self::Completed => "Completed",
            Self::Failed => "Failed",
            Self::Canceled => "Canceled",
            Self::Archived => "Archived",
        }
    }

    /// The status with this name; case is ignored, and `-`, `_` and blanks are.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
        Self::ALL
            .into_iter()
            .find(|status| status.as_str().eq_ignore_ascii_case(&plain))
    }

    /// Whether nobody is called any more.
    #[must_use]
    pub const fn is_over(self) -> bool {
        !matches!(self, Self::Created | Self::InProgress | Self::Paused)
    }
}

/// What is done to a campaign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Nobody is called until it is resumed.
    Pause,
    /// It goes on.
    Resume,
    /// It ends; who was not reached yet is marked failed.
    Complete,
    /// It is put away.
    Archive,
    /// It ends as deleted: what was done stays until its term, nothing more is done.
    Cancel,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 5] = [Self::Pause, Self::Resume, Self::Complete, Self::Archive, Self::Cancel];

    /// The action's name in APIs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Complete => "complete",
            Self::Archive => "archive",
            Self::Cancel => "cancel",
        }
    }
}

/// What an action makes of a campaign; `has_begun` says whether its numbers are drawn up.
pub fn decide_action(status: Status, action: Action, has_begun: bool) -> Decision<Status> {
    use Status::{Archived, Canceled, Completed, Created, InProgress, Paused};
    match (action, status) {
        (Action::Pause, Created | InProgress) => Decision::Allowed(Paused),
        (Action::Resume, Paused) if has_begun => Decision::Allowed(InProgress),
        (Action::Resume, Paused) => Decision::Allowed(Created),
        (Action::Complete, Paused) => Decision::Allowed(Completed),
        (Action::Archive, Completed) => Decision::Allowed(Archived),
        (Action::Cancel, Created | InProgress | Paused) => Decision::Allowed(Canceled),
        // Deleting twice, or what is over, changes nothing: what was done stays until its term.
        (Action::Cancel, over) => Decision::Allowed(over),
        (action, status) => {
            let wanted = match action {
                Action::Pause => "Created or InProgress",
                Action::Resume | Action::Complete => "Paused",
                Action::Archive | Action::Cancel => "Completed",
            };
            let (action, status) = (action.as_str(), status.as_str());
            let reason = format!("A campaign that is {status} cannot {action}; it has to be {wanted}.");
            Decision::refuse("campaign-status", reason)
        }
    }
}

/// How pauses between attempts grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mechanism {
    /// Every pause is the interval.
    Linear,
    /// Every pause is twice the one before.
    Exponential,
}

/// When a number that was not reached is called again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retries {
    /// Attempts after the first.
    pub number_of_retries: u8,
    /// The first pause.
    pub interval_mins: u16,
    /// How pauses grow.
    pub mechanism: Mechanism,
    /// After which ends it is called again.
    pub on_status: Vec<CallStatus>,
}

impl Retries {
    /// When the attempt after this one is made, counted from the first as 1.
    #[must_use]
    pub fn next_at(&self, attempt: usize, status: CallStatus, ended_at: TimeUs) -> Option<TimeUs> {
        if attempt > usize::from(self.number_of_retries) || !self.on_status.contains(&status) {
            return None;
        }
        let times = match self.mechanism {
            Mechanism::Linear => 1,
            Mechanism::Exponential => 1_i64 << attempt.saturating_sub(1).min(8),
        };
        Some(ended_at.plus_seconds(i64::from(self.interval_mins) * 60 * times))
    }
}

/// A call to a number.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The call.
    pub sid: Sid,
    /// When it began.
    pub at: TimeUs,
    /// How it ended, once it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Status.
    pub status: CallStatus,
    /// When.
    pub at: TimeUs,
    /// Seconds of conversation.
    pub talk_s: u32,
}

/// How far a number is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// It is called at this moment or later.
    Waiting(TimeUs),
    /// It is being called.
    Calling,
    /// It was reached.
    Completed(TimeUs),
    /// It was not reached, and is not called again.
    Failed(TimeUs),
}

/// A number of a campaign.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Whom to call.
    pub number: Number,
    /// What a list calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<CompactString>,
    /// The contact that it comes from; whoever is deleted is not called any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<Sid>,
    /// Calls so far.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
    /// How far it is.
    pub progress: Progress,
    /// Whether its end is a record already.
    #[serde(default)]
    pub reported: bool,
}

impl Target {
    /// A number that is called from this moment on.
    #[must_use]
    pub const fn new(number: Number, name: Option<CompactString>, from: TimeUs) -> Self {
        Self {
            number,
            name,
            contact: None,
            attempts: Vec::new(),
            progress: Progress::Waiting(from),
            reported: false,
        }
    }

    /// When the number was through, if it is.
    #[must_use]
    pub const fn ended_at(&self) -> Option<TimeUs> {
        match self.progress {
            Progress::Completed(at) | Progress::Failed(at) => Some(at),
            Progress::Waiting(_) | Progress::Calling => None,
        }
    }

    /// A call to it begins.
    pub fn begin(&mut self, sid: Sid, now: TimeUs) {
        if matches!(self.progress, Progress::Waiting(_)) {
            self.attempts.push(Attempt {
                sid,
                at: now,
                end: None,
            });
            self.progress = Progress::Calling;
        }
    }

    /// The call that goes on ended so. Unless `goes_on`, no other one follows.
    pub fn end(&mut self, end: End, retries: Option<&Retries>, goes_on: bool) {
        if self.progress != Progress::Calling {
            return;
        }
        let attempt = self.attempts.len();
        if let Some(last) = self.attempts.last_mut() {
            last.end = Some(end);
        }
        let again = retries
            .filter(|_| goes_on)
            .and_then(|retries| retries.next_at(attempt, end.status, end.at));
        self.progress = match (end.status, again) {
            (CallStatus::Completed, None) => Progress::Completed(end.at),
            (_, Some(at)) => Progress::Waiting(at),
            (_, None) => Progress::Failed(end.at),
        };
    }

    /// Nobody waits for it any more. What is being called ends by itself.
    pub fn give_up(&mut self, now: TimeUs) {
        if matches!(self.progress, Progress::Waiting(_)) {
            self.progress = Progress::Failed(now);
        }
    }
}

/// What a campaign's report says of one number, beside the number and the campaign; the detail of its record.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// What a list calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<CompactString>,
    /// How its last call ended; `failed` when it was never called.
    pub status: CallStatus,
    /// Its calls, in order.
    pub call_sids: Vec<Sid>,
    /// When the last call began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<TimeUs>,
    /// When the last call ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<TimeUs>,
    /// Seconds of conversation.
    #[serde(default)]
    pub talk_s: u32,
    /// The number that called.
    pub caller_id: Number,
    /// The campaign's own text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom_field: Option<String>,
}

impl Report {
    /// The report of a number that is through.
    #[must_use]
    pub fn of(target: &Target, caller_id: &Number, custom_field: Option<&str>) -> Self {
        let last = target.attempts.last();
        let end = last.and_then(|last| last.end);
        Self {
            name: target.name.clone(),
            status: end.map_or(CallStatus::Failed, |end| end.status),
            call_sids: target.attempts.iter().map(|attempt| attempt.sid).collect(),
            started_at: last.map(|last| last.at),
            ended_at: end.map(|end| end.at),
            talk_s: end.map_or(0, |end| end.talk_s),
            caller_id: caller_id.clone(),
            custom_field: custom_field.map(ToOwned::to_owned),
        }
    }
}

/// How many numbers are how far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// All of them.
    pub created: u64,
    /// Reached.
    pub completed: u64,
    /// Not reached.
    pub failed: u64,
    /// Not through yet.
    pub pending: u64,
}

impl Stats {
    /// The counts of these numbers.
    #[must_use]
    pub fn of(targets: &[Target]) -> Self {
        let mut stats = Self::default();
        for target in targets {
            stats.created += 1;
            match target.progress {
                Progress::Waiting(_) | Progress::Calling => stats.pending += 1,
                Progress::Completed(_) => stats.completed += 1,
                Progress::Failed(_) => stats.failed += 1,
            }
        }
        stats
    }

    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            created: self.created + other.created,
            completed: self.completed + other.completed,
            failed: self.failed + other.failed,
            pending: self.pending + other.pending,
        }
    }
}

/// Calls that were begun in the present minute.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    since: i64,
    begun: u32,
}

impl Pace {
    const MINUTE_US: i64 = 60 * SECOND_US;

    /// How many calls may begin now.
    #[must_use]
    pub const fn room(&self, per_minute: u32, now: TimeUs) -> u32 {
        if now.0 >= self.since.saturating_add(Self::MINUTE_US) {
            per_minute
        } else {
            per_minute.saturating_sub(self.begun)
        }
    }

    /// When there is room again, if there is none now.
    #[must_use]
    pub const fn next_room_at(&self) -> TimeUs {
        TimeUs(self.since.saturating_add(Self::MINUTE_US))
    }

    /// So many begin now.
    pub const fn count(&mut self, calls: u32, now: TimeUs) {
        if now.0 >= self.since.saturating_add(Self::MINUTE_US) {
            self.since = now.0;
            self.begun = 0;
        }
        self.begun = self.begun.saturating_add(calls);
    }
}

/// Who is called now: the first `room` that are due.
#[must_use]
pub fn plan_calls(targets: &[Target], room: usize, now: TimeUs) -> Vec<usize> {
    let due = |target: &Target| matches!(target.progress, Progress::Waiting(at) if at <= now);
    let due = targets.iter().enumerate().filter(|(_, target)| due(target));
    due.map(|(index, _)| index).take(room).collect()
}

/// When the next of these numbers is to be looked at: the moment the first one that waits is due, or `poll_at` while one is being
/// called.
#[must_use]
pub fn next_look(targets: &[Target], poll_at: TimeUs) -> Option<TimeUs> {
    let looks = targets.iter().filter_map(|target| match target.progress {
        Progress::Waiting(at) => Some(at),
        Progress::Calling => Some(poll_at),
        Progress::Completed(_) | Progress::Failed(_) => None,
    });
    looks.min()
}
