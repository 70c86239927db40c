//! Consent to record (spec 2): whether a call is recorded, on what that rests, and what ends it.
//!
//! Two have to say yes: the switch (the call's own setting, else the flow's, else the account's default) and a person, as the
//! account's policy asks. [`Consenting`] is one call's story: after every event it says whether a frame of audio may be
//! kept. Nothing else decides that.

use std::{collections::BTreeMap, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{decision::Refusal, record::Consent, time::TimeUs};

/// Who may switch recording on or off, the strongest first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switches {
    /// The call's own parameter.
    pub call: Option<bool>,
    /// The flow's Connect applet.
    pub flow: Option<bool>,
    /// The account's default; off unless it was switched on.
    pub account: bool,
}

impl Switches {
    /// Whether recording is on (spec 2.1).
    #[must_use]
    pub fn is_on(self) -> bool {
        self.call.or(self.flow).unwrap_or(self.account)
    }
}

/// What is wanted of the person before a recording begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// That it was announced: who stays on the line accepts it.
    Announce,
    /// That he said yes. Silence is no.
    #[default]
    OptIn,
}

impl Rule {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Announce => "announce",
            Self::OptIn => "opt-in",
        }
    }
}

/// No rule has this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected announce or opt-in")]
pub struct NoRule;

impl FromStr for Rule {
    type Err = NoRule;

    fn from_str(text: &str) -> Result<Self, NoRule> {
        let found = [Self::Announce, Self::OptIn].into_iter();
        found.into_iter().find(|rule| rule.as_str() == text).ok_or(NoRule)
    }
}

/// A legal ground that a rule names, as the account documents it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ground {
    /// The law, such as "Information Technology Act, 2000".
    pub law: String,
    /// What it asks for, in a sentence.
    pub asks: String,
}

/// The rule of a country, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jurisdiction {
    /// The rule.
    pub rule: Rule,
    /// What it rests on.
    pub grounds: Vec<Ground>,
}

/// An account's documented policy (spec 2.4). A change makes a new version; decisions keep the version they were made under.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Counts from 1; 0 is the one that comes ready.
    pub version: u32,
    /// What callers are told.
    pub text: String,
    /// Where the account's privacy policy is.
    #[serde(default)]
    pub privacy_url: Option<String>,
    /// Languages it is said in, BCP 47 tags.
    pub languages: Vec<String>,
    /// Countries, ISO 3166-1 alpha-2, with rules of their own.
    pub countries: BTreeMap<String, Jurisdiction>,
    /// The rule of every other country, and of numbers that have none.
    pub elsewhere: Rule,
}

impl Policy {
    /// The rule for a person in this country.
    #[must_use]
    pub fn rule_in(&self, country: Option<&str>) -> Rule {
        let known = country.and_then(|country| self.countries.get(country));
        known.map_or(self.elsewhere, |jurisdiction| jurisdiction.rule)
    }
}

/// The rule for India, with the four grounds that the guide names ("Call Recording Consent", "Legal Requirements").
#[must_use]
pub fn india() -> Jurisdiction {
    let ground = |law: &str, asks: &str| Ground {
        law: law.to_owned(),
        asks: asks.to_owned(),
    };
    Jurisdiction {
        rule: Rule::Announce,
        grounds: vec![
            ground("Indian Telegraph Act", "Interception and recording must be lawful"),
            ground("Information Technology Act, 2000", "Protects personal data and privacy"),
            ground(
                "Right to Privacy (Supreme Court ruling)",
                "Privacy is a fundamental right",
            ),
            ground("Contract law", "Consent can be obtained as part of service terms"),
        ],
    }
}

/// Something that happened to a call's consent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// An announcement was played to its end.
    Announced,
    /// The person pressed 1.
    Accepted,
    /// The person pressed 2, or the telephone said so for him (`a=recordpref:off`, RFC 7866).
    Declined,
    /// The person was asked and did not answer.
    Silent,
    /// The terms of service cover the call.
    Contract {
        /// Their version.
        version: String,
    },
    /// Somebody vouches that consent was given.
    Attested {
        /// Who.
        by: String,
    },
    /// The person takes it back.
    Withdrawn,
    /// Recording rests, for a card number.
    Paused,
    /// It goes on.
    Resumed,
    /// The call is over.
    Ended,
}

/// What a person decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "standing", rename_all = "snake_case")]
pub enum Standing {
    /// Nothing yet; so nothing is kept.
    Undecided,
    /// Yes.
    Granted {
        /// On what it rests.
        consent: Consent,
    },
    /// No.
    Declined,
    /// It was given, or not, and is taken back. Final.
    Withdrawn,
}

/// What is to be done with the audio after an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing changes.
    None,
    /// Frames are kept from now on.
    Begin,
    /// Frames are left out from now on; what was captured stays.
    Rest,
    /// Nothing more comes; what was captured is the recording.
    Finish,
    /// What was captured is destroyed, and nothing more is kept.
    Destroy,
}

/// One call's story.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consenting {
    is_on: bool,
    rule: Rule,
    policy_version: u32,
    standing: Standing,
    is_paused: bool,
    is_over: bool,
    has_audio: bool,
    events: Vec<(TimeUs, Event)>,
}

impl Consenting {
    /// A call that begins.
    #[must_use]
    pub fn new(switches: Switches, rule: Rule, policy_version: u32) -> Self {
        Self {
            is_on: switches.is_on(),
            rule,
            policy_version,
            standing: Standing::Undecided,
            is_paused: false,
            is_over: false,
            has_audio: false,
            events: Vec::new(),
        }
    }

    /// On what every frame that comes now rests. Nothing when none may be kept.
    #[must_use]
    pub const fn basis(&self) -> Option<&Consent> {
        match &self.standing {
            Standing::Granted { consent } if self.is_on && !self.is_paused && !self.is_over => Some(consent),
            _ => None,
        }
    }

    /// Whether a recording that is allowed rests.
    #[must_use]
    pub const fn is_resting(&self) -> bool {
        self.is_on && self.is_paused && !self.is_over && matches!(self.standing, Standing::Granted { .. })
    }

    /// Whether recording was switched on for the call.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.is_on
    }

    /// What was wanted of the person.
    #[must_use]
    pub const fn rule(&self) -> Rule {
        self.rule
    }

    /// Whether the call is over.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.is_over
    }

    /// What the person decided.
    #[must_use]
    pub const fn standing(&self) -> &Standing {
        &self.standing
    }

    /// The version of the policy that the decision was made under.
    #[must_use]
    pub const fn policy_version(&self) -> u32 {
        self.policy_version
    }

    /// What happened, oldest first: the evidence.
    #[must_use]
    pub fn events(&self) -> &[(TimeUs, Event)] {
        &self.events
    }

    /// Notes an event and says what is to be done with the audio. What comes after the end is not noted, but a withdrawal:
    /// then what was captured goes.
    pub fn note(&mut self, at: TimeUs, event: Event) -> Effect {
        if self.is_over && event != Event::Withdrawn {
            return Effect::None;
        }
        let could = self.basis().is_some();
        match &event {
            Event::Paused => self.is_paused = true,
            Event::Resumed => self.is_paused = false,
            Event::Ended => self.is_over = true,
            event => self.standing = self.stand(event),
        }
        self.events.push((at, event));
        let can = self.basis().is_some();
        let refused = matches!(self.standing, Standing::Declined | Standing::Withdrawn);
        if refused && self.has_audio {
            self.has_audio = false;
            return Effect::Destroy;
        }
        match (could, can) {
            (false, true) => {
                self.has_audio = true;
                Effect::Begin
            }
            (true, false) if self.is_over => Effect::Finish,
            (true, false) => Effect::Rest,
            // What rested when the call ended is kept as far as it goes.
            (false, false) if self.is_over && self.has_audio && !refused => Effect::Finish,
            _ => Effect::None,
        }
    }

    fn stand(&self, event: &Event) -> Standing {
        let granted = |consent| Standing::Granted { consent };
        match (&self.standing, event) {
            (Standing::Withdrawn, _) | (_, Event::Withdrawn) => Standing::Withdrawn,
            (_, Event::Declined) => Standing::Declined,
            (_, Event::Accepted) => granted(Consent::Accepted),
            (Standing::Undecided, Event::Announced | Event::Silent) if self.rule == Rule::Announce => {
                granted(Consent::Announced)
            }
            (Standing::Undecided, Event::Silent) => Standing::Declined,
            (Standing::Undecided, Event::Contract { version }) => granted(Consent::Contract {
                version: version.clone(),
            }),
            (Standing::Undecided, Event::Attested { by }) => granted(Consent::Attested { by: by.clone() }),
            // What a person said stands until he says something else.
            (standing, _) => standing.clone(),
        }
    }
}

impl From<Consent> for Event {
    fn from(consent: Consent) -> Self {
        match consent {
            Consent::Announced => Self::Announced,
            Consent::Accepted => Self::Accepted,
            Consent::Contract { version } => Self::Contract { version },
            Consent::Attested { by } => Self::Attested { by },
        }
    }
}

/// What a decision that was made elsewhere means for a call that goes on: those of [`decide_ingest`], `declined` and `withdrawn`.
///
/// # Errors
/// As [`decide_ingest`].
pub fn event_of(decision: Option<&str>, version: Option<String>, by: Option<String>) -> Result<Event, Refusal> {
    match decision {
        Some("declined") => Ok(Event::Declined),
        Some("withdrawn") => Ok(Event::Withdrawn),
        _ => decide_ingest(decision, version, by).map(Event::from),
    }
}

/// The decision that a recording from elsewhere comes with (spec 2.2): its name, the version of the terms, who attests.
///
/// # Errors
/// A [`Refusal`] without a decision, after a refusal, or when the decision lacks what it rests on.
pub fn decide_ingest(decision: Option<&str>, version: Option<String>, by: Option<String>) -> Result<Consent, Refusal> {
    let refuse = |code, reason: &str, field| Err(Refusal::new(code, reason).in_field(field));
    match (decision, version, by) {
        (Some("announced"), ..) => Ok(Consent::Announced),
        (Some("accepted"), ..) => Ok(Consent::Accepted),
        (Some("contract"), Some(version), _) => Ok(Consent::Contract { version }),
        (Some("contract"), None, _) => refuse("invalid-value", "Say which version of the terms.", "consent_version"),
        (Some("attested"), _, Some(by)) => Ok(Consent::Attested { by }),
        (Some("attested"), _, None) => refuse("invalid-value", "Say who attests.", "consent_by"),
        (Some("declined"), ..) => {
            let reason = "The person declined; the recording is not stored.";
            refuse("consent-declined", reason, "consent")
        }
        _ => {
            let reason =
                "A recording is stored only with a consent decision: announced, accepted, contract or attested.";
            refuse("consent-missing", reason, "consent")
        }
    }
}
