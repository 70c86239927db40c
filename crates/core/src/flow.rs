//! Call flows (spec 2.3): what a caller hears and is asked before he is connected, as a document that is checked when it is saved.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// What the question says that has no text of its own (spec 2.3).
pub const QUESTION: &str = "Press 1 to continue with call recording, or press 2 to opt out.";
/// Applets of a flow.
pub const MAX_APPLETS: usize = 64;
/// Numbers that an applet tries, one after the other.
pub const MAX_NUMBERS: usize = 10;
/// The longest text that is spoken, in characters.
pub const MAX_TEXT_CHARS: usize = 2_000;
/// The longest name of an applet.
const MAX_NAME_BYTES: usize = 32;
/// The longest wait for a key.
const MAX_TIMEOUT_S: u8 = 60;
/// How often a question may be repeated.
const MAX_REPEATS: u8 = 5;
/// The longest ringing.
const MAX_RING_S: u16 = 120;
/// The longest call (`TimeLimit` of the platform).
pub const MAX_TALK_S: u16 = 14_400;

/// A flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flow {
    /// What people call it.
    pub name: String,
    /// The applet that a call begins with.
    pub start: String,
    /// Applets by their names.
    pub applets: BTreeMap<String, Applet>,
}

/// How the parties of a recording are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channels {
    /// Mixed.
    #[default]
    Single,
    /// The agent left, the customer right.
    Dual,
}

const fn five() -> u8 {
    5
}

const fn two() -> u8 {
    2
}

const fn thirty() -> u16 {
    30
}

/// A step of a flow. `next` names the one that follows; without it the call ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Applet {
    /// Says something; it announces the recording.
    Greeting {
        /// What; the policy's announcement if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        say: Option<String>,
        /// What follows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<String>,
    },
    /// Asks whether the call may be recorded: 1 is yes, 2 is no.
    Gather {
        /// The question; [`QUESTION`] if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        say: Option<String>,
        /// Seconds until the question is repeated, or taken as not answered.
        #[serde(default = "five")]
        timeout_s: u8,
        /// How often it is repeated.
        #[serde(default = "two")]
        repeats: u8,
        /// What follows, whatever the answer: the call itself goes on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<String>,
    },
    /// Lets the caller choose.
    Menu {
        /// The choices, as they are said.
        say: String,
        /// Seconds until they are repeated.
        #[serde(default = "five")]
        timeout_s: u8,
        /// How often they are repeated.
        #[serde(default = "two")]
        repeats: u8,
        /// What follows each key.
        keys: BTreeMap<char, String>,
        /// What follows when no key of these is pressed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        otherwise: Option<String>,
    },
    /// Connects the caller, to the first number that answers.
    Connect {
        /// Numbers, or names that the trunk knows.
        numbers: Vec<String>,
        /// Whether the call is recorded; the account's default if absent (spec 2.1).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        record: Option<bool>,
        /// How the parties are kept.
        #[serde(default)]
        channels: Channels,
        /// Seconds that each number rings.
        #[serde(default = "thirty")]
        ring_s: u16,
        /// The longest conversation, in seconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        talk_s: Option<u16>,
        /// What follows when nobody answered, or the one who did hung up.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<String>,
    },
    /// Ends the call.
    Hangup,
}

impl Applet {
    /// The applets that may follow.
    pub fn follow(&self) -> impl Iterator<Item = &str> {
        let (one, keys) = match self {
            Self::Greeting { next, .. } | Self::Gather { next, .. } | Self::Connect { next, .. } => {
                (next.as_deref(), None)
            }
            Self::Menu { keys, otherwise, .. } => (otherwise.as_deref(), Some(keys)),
            Self::Hangup => (None, None),
        };
        one.into_iter()
            .chain(keys.into_iter().flat_map(|keys| keys.values().map(String::as_str)))
    }

    /// What it says, where it has a text of its own.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Greeting { say, .. } | Self::Gather { say, .. } => say.as_deref(),
            Self::Menu { say, .. } => Some(say),
            Self::Connect { .. } | Self::Hangup => None,
        }
    }

    /// Whether the caller hears of the recording by it.
    const fn tells(&self) -> bool {
        matches!(self, Self::Greeting { .. } | Self::Gather { .. })
    }

    fn check(&self) -> Result<(), String> {
        let wait = |timeout_s: u8, repeats: u8| match () {
            () if !(1..=MAX_TIMEOUT_S).contains(&timeout_s) => Err(format!("`timeout_s` is 1 to {MAX_TIMEOUT_S}")),
            () if repeats > MAX_REPEATS => Err(format!("`repeats` is 0 to {MAX_REPEATS}")),
            () => Ok(()),
        };
        if self.text().is_some_and(|text| {
            text.trim().is_empty() || text.chars().count() > MAX_TEXT_CHARS || text.chars().any(char::is_control)
        }) {
            return Err(format!(
                "`say` has 1 to {MAX_TEXT_CHARS} characters, no control characters"
            ));
        }
        match self {
            Self::Gather { timeout_s, repeats, .. } => wait(*timeout_s, *repeats),
            Self::Menu {
                timeout_s,
                repeats,
                keys,
                ..
            } => {
                let is_key = |key: &char| key.is_ascii_digit() || matches!(key, '*' | '#');
                match keys.is_empty() || !keys.keys().all(is_key) {
                    true => Err("`keys` are one or more of 0 to 9, * and #".to_owned()),
                    false => wait(*timeout_s, *repeats),
                }
            }
            Self::Connect {
                numbers,
                ring_s,
                talk_s,
                ..
            } => {
                let is_party = |number: &String| {
                    (1..=64).contains(&number.len())
                        && number
                            .bytes()
                            .all(|byte| byte.is_ascii_alphanumeric() || b"+-_.".contains(&byte))
                };
                match () {
                    () if !(1..=MAX_NUMBERS).contains(&numbers.len()) || !numbers.iter().all(is_party) => Err(format!(
                        "`numbers` are 1 to {MAX_NUMBERS} of digits, letters, +, -, _ and ."
                    )),
                    () if !(1..=MAX_RING_S).contains(ring_s) => Err(format!("`ring_s` is 1 to {MAX_RING_S}")),
                    () if talk_s.is_some_and(|talk_s| !(1..=MAX_TALK_S).contains(&talk_s)) => {
                        Err(format!("`talk_s` is 1 to {MAX_TALK_S}"))
                    }
                    () => Ok(()),
                }
            }
            Self::Greeting { .. } | Self::Hangup => Ok(()),
        }
    }
}

/// Why a flow is not saved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlowError {
    /// Its name, its start, or how many applets it has.
    #[error("`{field}` {reason}")]
    Form {
        /// Which field.
        field: &'static str,
        /// Why.
        reason: String,
    },
    /// An applet is not what it should be.
    #[error("applet `{applet}`: {reason}")]
    Applet {
        /// Which.
        applet: String,
        /// Why.
        reason: String,
    },
    /// It would record callers who were told nothing.
    #[error(
        "applet `{applet}` records callers who heard nothing of it: put a `greeting`, which announces the recording, or a \
         `gather`, which asks, before it on every way that leads there"
    )]
    Untold {
        /// The applet that records.
        applet: String,
    },
}

impl FlowError {
    /// The field of the flow that is to be changed.
    pub fn field(&self) -> &'static str {
        match self {
            Self::Form { field, .. } => field,
            Self::Applet { .. } | Self::Untold { .. } => "applets",
        }
    }
}

impl Flow {
    /// Checks a flow that is to be saved. `records_by_default` is the account's setting.
    ///
    /// # Errors
    /// [`FlowError`] names what is wrong, and what mends it.
    pub fn check(&self, records_by_default: bool) -> Result<(), FlowError> {
        let form = |field, reason: String| Err(FlowError::Form { field, reason });
        let is_good_name = !self.name.trim().is_empty() && self.name.chars().count() <= 255;
        if !is_good_name || self.name.chars().any(char::is_control) {
            return form("name", "has 1 to 255 characters, no control characters".to_owned());
        }
        if !(1..=MAX_APPLETS).contains(&self.applets.len()) {
            return form("applets", format!("are 1 to {MAX_APPLETS}"));
        }
        if !self.applets.contains_key(&self.start) {
            return form("start", "names no applet".to_owned());
        }
        for (name, applet) in &self.applets {
            let wrong = |reason: String| FlowError::Applet {
                applet: name.clone(),
                reason,
            };
            let is_plain = name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
            if !(1..=MAX_NAME_BYTES).contains(&name.len()) || !is_plain {
                let reason = format!("names have 1 to {MAX_NAME_BYTES} characters of a-z, A-Z, 0-9, - and _");
                return Err(wrong(reason));
            }
            applet.check().map_err(wrong)?;
            if let Some(missing) = applet.follow().find(|next| !self.applets.contains_key(*next)) {
                return Err(wrong(format!("what follows it, `{missing}`, is no applet of the flow")));
            }
        }
        self.check_ways(records_by_default)
    }

    /// Follows every way through the flow.
    fn check_ways(&self, records_by_default: bool) -> Result<(), FlowError> {
        let mut seen = BTreeSet::new();
        let mut ways = vec![(self.start.as_str(), false)];
        while let Some((name, told)) = ways.pop() {
            let Some(applet) = self.applets.get(name).filter(|_| seen.insert((name, told))) else {
                continue;
            };
            let records = matches!(applet, Applet::Connect { record, .. } if record.unwrap_or(records_by_default));
            if records && !told {
                return Err(FlowError::Untold {
                    applet: name.to_owned(),
                });
            }
            ways.extend(applet.follow().map(|next| (next, told || applet.tells())));
        }
        let reached: BTreeSet<&str> = seen.iter().map(|(name, _)| *name).collect();
        match self.applets.keys().find(|name| !reached.contains(name.as_str())) {
            Some(lost) => Err(FlowError::Applet {
                applet: lost.clone(),
                reason: "no way leads there".to_owned(),
            }),
            None => Ok(()),
        }
    }
}
