//! What addresses answer that are asked while a call goes on, as the platform's documentation has it. Members that are not known
//! are passed over; one that is known and no good makes the whole answer none.

use serde::Deserialize;

use super::{
    Channels, MAX_REPEATS, MAX_RING_S, MAX_TALK_S, MAX_TEXT_CHARS, MAX_TIMEOUT_S,
    applet::{are_parties, is_address},
};

/// What is to be said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PromptReply {
    /// A text.
    Text(String),
    /// The audio at an address.
    Audio(String),
}

/// How keys are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatherReply {
    /// What is said first.
    pub prompt: PromptReply,
    /// What is said when nothing is pressed; the same if absent.
    pub again: Option<PromptReply>,
    /// Seconds without a key.
    pub timeout_s: Option<u8>,
    /// How often it is repeated.
    pub repeats: Option<u8>,
    /// Keys at most.
    pub most: Option<u8>,
    /// The key that ends them; none if empty.
    pub finish_on_key: Option<String>,
}

/// Whom a caller is connected with, and how. What is absent is as the flow says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Numbers, or names that the trunk knows; none if nobody is to be called.
    pub numbers: Vec<String>,
    /// Whether the address is to be asked again when none of them answers.
    pub fetch_after_attempt: bool,
    /// The number that is shown to them.
    pub shown: Option<String>,
    /// Whether the call is recorded, consent allowing.
    pub record: Option<bool>,
    /// How the parties are kept.
    pub channels: Option<Channels>,
    /// Seconds that each number rings.
    pub ring_s: Option<u16>,
    /// The longest conversation, in seconds.
    pub talk_s: Option<u16>,
    /// What both hear before they are connected.
    pub playback: Option<String>,
}

#[derive(Deserialize)]
struct PromptForm {
    text: Option<String>,
    audio_url: Option<String>,
}

impl PromptForm {
    fn read(self) -> Option<PromptReply> {
        match (self.text, self.audio_url) {
            (_, Some(url)) => is_address(&url).then_some(PromptReply::Audio(url)),
            (Some(text), None) => read_text(&text),
            (None, None) => None,
        }
    }
}

fn read_text(text: &str) -> Option<PromptReply> {
    let text = text.trim();
    let is_good = !text.is_empty() && text.chars().count() <= MAX_TEXT_CHARS;
    let is_clean = |c: char| !c.is_control() || c.is_whitespace();
    (is_good && text.chars().all(is_clean)).then(|| PromptReply::Text(text.to_owned()))
}

/// Reads what a greeting's address answered: `text/plain`, or JSON with a `greeting_url`.
#[must_use]
pub fn read_prompt(content_type: &str, body: &str) -> Option<PromptReply> {
    #[derive(Deserialize)]
    struct Form {
        greeting_url: String,
    }
    if !is_json(content_type) {
        return read_text(body);
    }
    let form: Form = serde_json::from_str(body).ok()?;
    is_address(&form.greeting_url).then_some(PromptReply::Audio(form.greeting_url))
}

/// Reads what the address of an applet answered that takes keys.
#[must_use]
pub fn read_gather(body: &str) -> Option<GatherReply> {
    #[derive(Deserialize)]
    struct Form {
        gather_prompt: PromptForm,
        repeat_gather_prompt: Option<PromptForm>,
        max_input_digits: Option<u8>,
        finish_on_key: Option<String>,
        input_timeout: Option<u8>,
        repeat_menu: Option<u8>,
    }
    let form: Form = serde_json::from_str(body).ok()?;
    let is_good = form.max_input_digits != Some(0)
        && form.input_timeout.is_none_or(|s| (1..=MAX_TIMEOUT_S).contains(&s))
        && form.repeat_menu.is_none_or(|repeats| repeats <= MAX_REPEATS)
        && form.finish_on_key.as_deref().is_none_or(|key| {
            let is_key = |key: char| key.is_ascii_digit() || matches!(key, '*' | '#');
            key.chars().count() <= 1 && key.chars().all(is_key)
        });
    if !is_good {
        return None;
    }
    let again = match form.repeat_gather_prompt {
        Some(again) => Some(again.read()?),
        None => None,
    };
    Some(GatherReply {
        prompt: form.gather_prompt.read()?,
        again,
        timeout_s: form.input_timeout,
        repeats: form.repeat_menu,
        most: form.max_input_digits,
        finish_on_key: form.finish_on_key,
    })
}

/// Reads what the address of a `connect` answered.
#[must_use]
pub fn read_connect(body: &str) -> Option<Destination> {
    #[derive(Deserialize)]
    struct Form {
        destination: Numbers,
        #[serde(default)]
        fetch_after_attempt: bool,
        outgoing_phone_number: Option<String>,
        record: Option<bool>,
        recording_channels: Option<Channels>,
        max_ringing_duration: Option<u16>,
        max_conversation_duration: Option<u16>,
        start_call_playback: Option<Playback>,
    }
    #[derive(Deserialize)]
    struct Numbers {
        numbers: Vec<String>,
    }
    #[derive(Deserialize)]
    struct Playback {
        #[serde(rename = "type")]
        kind: Option<String>,
        value: Option<String>,
    }
    let form: Form = serde_json::from_str(body).ok()?;
    let numbers = form.destination.numbers;
    let is_good = are_parties(&numbers)
        && form.max_ringing_duration.is_none_or(|s| (1..=MAX_RING_S).contains(&s))
        && form
            .max_conversation_duration
            .is_none_or(|s| (1..=MAX_TALK_S).contains(&s));
    let text_of = |playback: Playback| match (playback.kind.as_deref(), playback.value.as_deref().map(read_text)) {
        (None | Some("text"), Some(Some(PromptReply::Text(text)))) => Some(text),
        _ => None,
    };
    is_good.then_some(Destination {
        numbers,
        fetch_after_attempt: form.fetch_after_attempt,
        shown: form.outgoing_phone_number,
        record: form.record,
        channels: form.recording_channels,
        ring_s: form.max_ringing_duration,
        talk_s: form.max_conversation_duration,
        playback: form.start_call_playback.and_then(text_of),
    })
}

fn is_json(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
}
