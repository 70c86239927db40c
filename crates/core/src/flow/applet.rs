//! The steps of a flow.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    MAX_DIGITS, MAX_MESSAGE_S, MAX_NUMBERS, MAX_REPEATS, MAX_RING_S, MAX_TALK_S, MAX_TEXT_CHARS, MAX_TIMEOUT_S,
    MAX_URL_BYTES,
};
use crate::Sid;

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

/// An address that is asked while a call goes on (the platform's dynamic URLs).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Address {
    /// Which.
    pub url: String,
    /// Asked when the first says nothing of use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback_url: Option<String>,
}

/// Audio that was uploaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clip {
    /// Which prompt.
    pub audio: Sid,
}

/// What is said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "`say` is a text, {\"audio\": PROMPT}, or {\"url\": ADDRESS, \"fallback_url\": ADDRESS}"
)]
pub enum Say {
    /// A text.
    Text(String),
    /// Audio.
    Clip(Clip),
    /// What an address answers.
    Asked(Address),
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

const fn two_minutes() -> u16 {
    120
}

const fn most_digits() -> u8 {
    MAX_DIGITS
}

fn hash() -> String {
    "#".to_owned()
}

/// A step of a flow. `next` names the one that follows; without it the call ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Applet {
    /// Says something; it announces the recording.
    Greeting {
        /// What; the policy's announcement if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        say: Option<Say>,
        /// What follows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<String>,
    },
    /// Asks whether the call may be recorded: 1 is yes, 2 is no.
    Gather {
        /// The question; [`QUESTION`](super::QUESTION) if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        say: Option<Say>,
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
        say: Say,
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
    /// Takes keys that the caller types, for the addresses that are asked later (the platform's Gather).
    Digits {
        /// What is wanted.
        say: Say,
        /// Seconds without a key after which it is repeated, or done.
        #[serde(default = "five")]
        timeout_s: u8,
        /// How often it is repeated while no key comes.
        #[serde(default)]
        repeats: u8,
        /// Keys at most.
        #[serde(default = "most_digits")]
        most: u8,
        /// The key that ends them; none if empty.
        #[serde(default = "hash")]
        finish_on_key: String,
        /// What follows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<String>,
    },
    /// Tells an address of the call, and goes where its answer says.
    Passthru {
        /// Which.
        ask: Address,
        /// Whether the call goes on to `next` at once, whatever is answered.
        #[serde(default, rename = "async", skip_serializing_if = "std::ops::Not::not")]
        is_async: bool,
        /// What follows an answer of 200.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<String>,
        /// What follows an answer of 302, and no answer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        otherwise: Option<String>,
    },
    /// Connects the caller, to the first number that answers.
    Connect {
        /// Numbers, or names that the trunk knows. With `ask`, for when nothing of use is answered.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        numbers: Vec<String>,
        /// Who says whom to connect with, and how.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ask: Option<Address>,
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
    /// Takes a message, which is a recording.
    Voicemail {
        /// What is said before the tone, recording included; [`VOICEMAIL`](super::VOICEMAIL) if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        say: Option<Say>,
        /// The longest message, in seconds.
        #[serde(default = "two_minutes")]
        most_s: u16,
        /// Who is told of it once it is there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        url: Option<String>,
        /// What follows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<String>,
    },
    /// Ends the call.
    Hangup,
}

impl Applet {
    /// The applets that may follow.
    pub fn follow(&self) -> impl Iterator<Item = &str> {
        let (one, other, keys) = match self {
            Self::Greeting { next, .. }
            | Self::Gather { next, .. }
            | Self::Digits { next, .. }
            | Self::Connect { next, .. }
            | Self::Voicemail { next, .. } => (next.as_deref(), None, None),
            Self::Passthru { next, otherwise, .. } => (next.as_deref(), otherwise.as_deref(), None),
            Self::Menu { keys, otherwise, .. } => (otherwise.as_deref(), None, Some(keys)),
            Self::Hangup => (None, None, None),
        };
        let keys = keys.into_iter().flat_map(|keys| keys.values().map(String::as_str));
        one.into_iter().chain(other).chain(keys)
    }

    /// What it says, where it has something of its own.
    #[must_use]
    pub const fn say(&self) -> Option<&Say> {
        match self {
            Self::Greeting { say, .. } | Self::Gather { say, .. } | Self::Voicemail { say, .. } => say.as_ref(),
            Self::Menu { say, .. } | Self::Digits { say, .. } => Some(say),
            Self::Passthru { .. } | Self::Connect { .. } | Self::Hangup => None,
        }
    }

    /// The uploaded audio that it says.
    #[must_use]
    pub const fn clip(&self) -> Option<Sid> {
        match self.say() {
            Some(Say::Clip(clip)) => Some(clip.audio),
            _ => None,
        }
    }

    /// The addresses that it asks or tells.
    pub fn urls(&self) -> impl Iterator<Item = &str> {
        let asked = match (self, self.say()) {
            (Self::Passthru { ask, .. } | Self::Connect { ask: Some(ask), .. }, _) | (_, Some(Say::Asked(ask))) => {
                Some(ask)
            }
            _ => None,
        };
        let told = match self {
            Self::Voicemail { url, .. } => url.as_deref(),
            _ => None,
        };
        let fallback = asked.and_then(|ask| ask.fallback_url.as_deref());
        asked
            .map(|ask| ask.url.as_str())
            .into_iter()
            .chain(fallback)
            .chain(told)
    }

    /// Whether the caller hears of the recording by it. A voicemail tells of its own, and may be passed over.
    pub(super) const fn tells(&self) -> bool {
        matches!(self, Self::Greeting { .. } | Self::Gather { .. })
    }

    /// Whether callers are recorded who were told nothing before.
    pub(super) fn may_record(&self, by_default: bool) -> bool {
        match self {
            // Who is asked may say so, unless the flow rules it out.
            Self::Connect { record, ask, .. } => record.unwrap_or(by_default || ask.is_some()),
            _ => false,
        }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if let Some(Say::Text(text)) = self.say()
            && (text.trim().is_empty() || text.chars().count() > MAX_TEXT_CHARS || text.chars().any(char::is_control))
        {
            return Err(format!(
                "`say` has 1 to {MAX_TEXT_CHARS} characters, no control characters"
            ));
        }
        if self.urls().any(|url| !is_address(url)) {
            return Err(format!(
                "`url` and `fallback_url` are http:// or https:// addresses without a user name, of at most {MAX_URL_BYTES} bytes"
            ));
        }
        let is_key = |key: &char| key.is_ascii_digit() || matches!(key, '*' | '#');
        match self {
            Self::Gather { timeout_s, repeats, .. } => check_wait(*timeout_s, *repeats),
            Self::Menu {
                timeout_s,
                repeats,
                keys,
                ..
            } => match keys.is_empty() || !keys.keys().all(is_key) {
                true => Err("`keys` are one or more of 0 to 9, * and #".to_owned()),
                false => check_wait(*timeout_s, *repeats),
            },
            Self::Digits {
                timeout_s,
                repeats,
                most,
                finish_on_key,
                ..
            } => match () {
                () if *most == 0 => Err(format!("`most` is 1 to {MAX_DIGITS}")),
                () if finish_on_key.chars().count() > 1 || !finish_on_key.chars().all(|key| is_key(&key)) => {
                    Err("`finish_on_key` is one of 0 to 9, * and #, or empty".to_owned())
                }
                () => check_wait(*timeout_s, *repeats),
            },
            Self::Connect {
                numbers,
                ask,
                ring_s,
                talk_s,
                ..
            } => match () {
                () if numbers.is_empty() && ask.is_none() => Err("`numbers` or `ask` is missing".to_owned()),
                () if !are_parties(numbers) => Err(format!(
                    "`numbers` are 1 to {MAX_NUMBERS} of digits, letters, +, -, _ and ."
                )),
                () if !(1..=MAX_RING_S).contains(ring_s) => Err(format!("`ring_s` is 1 to {MAX_RING_S}")),
                () if talk_s.is_some_and(|talk_s| !(1..=MAX_TALK_S).contains(&talk_s)) => {
                    Err(format!("`talk_s` is 1 to {MAX_TALK_S}"))
                }
                () => Ok(()),
            },
            Self::Voicemail { most_s, .. } if !(1..=MAX_MESSAGE_S).contains(most_s) => {
                Err(format!("`most_s` is 1 to {MAX_MESSAGE_S}"))
            }
            Self::Passthru {
                is_async: true,
                otherwise: Some(_),
                ..
            } => Err("`otherwise` is never gone to where `async` is true".to_owned()),
            Self::Greeting { .. } | Self::Passthru { .. } | Self::Voicemail { .. } | Self::Hangup => Ok(()),
        }
    }
}

fn check_wait(timeout_s: u8, repeats: u8) -> Result<(), String> {
    match () {
        () if !(1..=MAX_TIMEOUT_S).contains(&timeout_s) => Err(format!("`timeout_s` is 1 to {MAX_TIMEOUT_S}")),
        () if repeats > MAX_REPEATS => Err(format!("`repeats` is 0 to {MAX_REPEATS}")),
        () => Ok(()),
    }
}

/// Whether a trunk can be asked for all of them.
pub(super) fn are_parties(numbers: &[String]) -> bool {
    numbers.len() <= MAX_NUMBERS
        && numbers.iter().all(|number| {
            (1..=64).contains(&number.len())
                && number
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"+-_.".contains(&byte))
        })
}

/// Whether it has the form of an address; whether anybody is there is seen when it is asked.
pub(super) fn is_address(text: &str) -> bool {
    let host = ["https://", "http://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    // A user's name and password would be shown to whoever sees the flow.
    let is_bare = |host: &str| !host.split(['/', '?', '#']).next().unwrap_or_default().contains('@');
    host.is_some_and(|host| !host.is_empty() && !host.starts_with(['/', '?', '#', ':']) && is_bare(host))
        && text.len() <= MAX_URL_BYTES
        && text.bytes().all(|byte| byte.is_ascii_graphic())
}
