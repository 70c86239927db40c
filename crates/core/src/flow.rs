//! Call flows (spec 2.3): what a caller hears and is asked before he is connected, as a document that is checked when it is saved.

mod applet;
mod reply;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use applet::{Address, Applet, Channels, Clip, Say};
pub use reply::{Destination, GatherReply, PromptReply, read_connect, read_gather, read_prompt};

/// What the question says that has no text of its own (spec 2.3).
pub const QUESTION: &str = "Press 1 to continue with call recording, or press 2 to opt out.";
/// Applets of a flow.
pub const MAX_APPLETS: usize = 64;
/// Numbers that an applet tries, one after the other.
pub const MAX_NUMBERS: usize = 10;
/// The longest text that is spoken, in characters.
pub const MAX_TEXT_CHARS: usize = 2_000;
/// What a voicemail says that has no text of its own.
pub const VOICEMAIL: &str =
    "Please leave a message after the tone. Your message is recorded. Press the hash key when you are done.";
/// The longest address that is asked, in bytes.
pub const MAX_URL_BYTES: usize = 2_000;
/// The most keys that are taken at once (the platform's Gather).
pub const MAX_DIGITS: u8 = 255;
/// The longest message, in seconds.
pub const MAX_MESSAGE_S: u16 = 600;
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
            if applet.may_record(records_by_default) && !told {
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
