//! Session descriptions (RFC 8866) as far as G.711 needs them, offered and answered (RFC 3264): a leg's one audio stream, and the
//! labelled streams of a recording session (RFC 7866).

use std::{fmt::Write as _, net::IpAddr};

use crate::{
    g711::Law,
    srtp::{Crypto, Key},
};

/// The longest description that is read.
pub const MAX_BYTES: usize = 16_384;
/// Streams and lines beyond this are an attack.
const MAX_LINES: usize = 500;
/// The longest label of a stream (RFC 4574), in bytes.
const MAX_LABEL_BYTES: usize = 64;
/// RTP in the clear, and encrypted (RFC 3711, section 12).
const PLAIN: &str = "RTP/AVP";
const SECURE: &str = "RTP/SAVP";
/// The usual dynamic payload type of events.
const EVENTS: u8 = 101;

/// Which way media flow, as the sender of a description sees it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Direction {
    /// Both ways.
    #[default]
    SendRecv,
    /// Away from the sender.
    SendOnly,
    /// To the sender.
    RecvOnly,
    /// Neither way.
    Inactive,
}

impl Direction {
    /// Its attribute.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }

    /// What an answer says to it (RFC 3264, section 6.1).
    #[must_use]
    pub const fn answered(self) -> Self {
        match self {
            Self::SendRecv => Self::SendRecv,
            Self::SendOnly => Self::RecvOnly,
            Self::RecvOnly => Self::SendOnly,
            Self::Inactive => Self::Inactive,
        }
    }

    /// Whether its sender hears something.
    #[must_use]
    pub const fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    fn read(attribute: &str) -> Option<Self> {
        let all = [Self::SendRecv, Self::SendOnly, Self::RecvOnly, Self::Inactive];
        all.into_iter().find(|direction| direction.as_str() == attribute)
    }
}

/// Whether a stream is recorded, as whoever records it says to who understands that (`a=record`, RFC 7866, section 7.1.2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Recording {
    /// It is.
    On,
    /// It is not.
    #[default]
    Off,
    /// Not at the moment.
    Paused,
}

impl Recording {
    /// Its value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
            Self::Paused => "paused",
        }
    }
}

/// What a party would have of a recording (`a=recordpref`, RFC 7866, section 7.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// To be recorded.
    On,
    /// Not to be.
    Off,
    /// Not to be at the moment.
    Pause,
    /// Whatever.
    Nothing,
}

impl Wish {
    fn read(value: &str) -> Option<Self> {
        match value {
            "on" => Some(Self::On),
            "off" => Some(Self::Off),
            "pause" => Some(Self::Pause),
            "nopreference" => Some(Self::Nothing),
            _ => None,
        }
    }
}

/// The audio stream of a description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audio {
    /// Where its sender receives.
    pub address: IpAddr,
    /// The port; 0 refuses the stream.
    pub port: u16,
    /// The laws that are understood, the preferred one first.
    pub laws: Vec<Law>,
    /// The payload type of events (RFC 4733), if there are any.
    pub events: Option<u8>,
    /// Which way.
    pub direction: Direction,
    /// What it is called (RFC 4574).
    pub label: Option<String>,
    /// Which `m=` line it is, of how many.
    pub place: (usize, usize),
    /// What its sender encrypts with, if media are encrypted.
    pub crypto: Option<Crypto>,
    /// Whether its sender records it, where the other side understands that. Written, and not read.
    pub recording: Option<Recording>,
    /// What its sender would have of a recording. Read, and not written.
    pub wish: Option<Wish>,
}

/// Why a description cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// Longer than [`MAX_BYTES`], or of too many lines.
    #[error("too long")]
    TooLong,
    /// No text, or a line that is none of `x=`.
    #[error("line {0} is no line of a session description")]
    Line(usize),
    /// Nothing that can be heard: no audio stream over RTP, or no address for it, or no key that can be used.
    #[error("no audio stream over RTP/AVP, or RTP/SAVP with a key, with an address")]
    NoAudio,
    /// Nothing that can be understood.
    #[error("neither PCMU nor PCMA at 8000 Hz")]
    NoCodec,
}

/// A stream while it is read.
struct Reading {
    port: u16,
    formats: Vec<u8>,
    address: Option<IpAddr>,
    direction: Option<Direction>,
    label: Option<String>,
    maps: Vec<(u8, String)>,
    is_secure: bool,
    crypto: Option<Crypto>,
    wish: Option<Wish>,
}

/// What a description says of all its streams.
#[derive(Default)]
struct Common {
    address: Option<IpAddr>,
    direction: Option<Direction>,
    wish: Option<Wish>,
}

/// Reads the first audio stream that can be taken.
///
/// # Errors
/// [`SdpError`].
pub fn parse(body: &[u8]) -> Result<Audio, SdpError> {
    let mut why = SdpError::NoAudio;
    for stream in read(body)? {
        match stream {
            Ok(audio) => return Ok(audio),
            Err(SdpError::NoCodec) => why = SdpError::NoCodec,
            Err(_) => {}
        }
    }
    Err(why)
}

/// Reads all streams, each with why it cannot be taken if so.
///
/// # Errors
/// [`SdpError`].
pub fn read(body: &[u8]) -> Result<Vec<Result<Audio, SdpError>>, SdpError> {
    if body.len() > MAX_BYTES {
        return Err(SdpError::TooLong);
    }
    let text = std::str::from_utf8(body).map_err(|_| SdpError::Line(0))?;
    let mut session = Common::default();
    let mut streams: Vec<Option<Reading>> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if number == MAX_LINES {
            return Err(SdpError::TooLong);
        }
        let line = line.trim_end();
        if line.is_empty() {
            continue;
        }
        let (kind, value) = line
            .split_once('=')
            .filter(|(kind, _)| kind.len() == 1)
            .ok_or(SdpError::Line(number + 1))?;
        match (kind, streams.last_mut()) {
            ("m", _) => streams.push(read_stream(value)),
            ("c", None) => session.address = read_address(value),
            ("c", Some(Some(stream))) => stream.address = read_address(value),
            ("a", None) => {
                session.direction = Direction::read(value).or(session.direction);
                session.wish = read_wish(value).or(session.wish);
            }
            ("a", Some(Some(stream))) => stream.read_attribute(value),
            _ => {}
        }
    }
    let count = streams.len();
    let read = |(n, stream): (usize, Option<Reading>)| {
        let stream = stream.filter(|stream| stream.port != 0).ok_or(SdpError::NoAudio)?;
        let address = stream.address.or(session.address).ok_or(SdpError::NoAudio)?;
        if stream.is_secure && stream.crypto.is_none() {
            return Err(SdpError::NoAudio);
        }
        let laws = stream.laws();
        if laws.is_empty() {
            return Err(SdpError::NoCodec);
        }
        // The address 0.0.0.0 is how RFC 2543 put a call on hold.
        let held = address.is_unspecified().then_some(Direction::SendOnly);
        Ok(Audio {
            address,
            port: stream.port,
            laws,
            events: stream.events(),
            direction: held.or(stream.direction).or(session.direction).unwrap_or_default(),
            label: stream.label,
            place: (n, count),
            crypto: stream.crypto,
            recording: None,
            wish: stream.wish.or(session.wish),
        })
    };
    Ok(streams.into_iter().enumerate().map(read).collect())
}

/// An audio stream over RTP/AVP or RTP/SAVP; others are not taken.
fn read_stream(value: &str) -> Option<Reading> {
    let mut words = value.split_ascii_whitespace();
    let (media, port, profile) = (words.next()?, words.next()?, words.next()?);
    if media != "audio" || ![PLAIN, SECURE].contains(&profile) {
        return None;
    }
    Some(Reading {
        port: port.split('/').next()?.parse().ok()?,
        formats: words.filter_map(|format| format.parse().ok()).collect(),
        address: None,
        direction: None,
        label: None,
        maps: Vec::new(),
        is_secure: profile == SECURE,
        crypto: None,
        wish: None,
    })
}

fn read_wish(attribute: &str) -> Option<Wish> {
    attribute.strip_prefix("recordpref:").and_then(Wish::read)
}

fn read_address(value: &str) -> Option<IpAddr> {
    let mut words = value.split_ascii_whitespace();
    let (net, _kind, address) = (words.next()?, words.next()?, words.next()?);
    // What follows a slash is a multicast's, which nobody calls from.
    (net == "IN").then(|| address.parse().ok())?
}

impl Reading {
    fn read_attribute(&mut self, value: &str) {
        if let Some(direction) = Direction::read(value) {
            self.direction = Some(direction);
        } else if let Some(wish) = read_wish(value) {
            self.wish = Some(wish);
        } else if let Some(crypto) = value.strip_prefix("crypto:") {
            // The first that can be used. Keys of a stream that is not encrypted are nobody's.
            if self.is_secure && self.crypto.is_none() {
                self.crypto = Crypto::read(crypto);
            }
        } else if let Some(label) = value.strip_prefix("label:") {
            let is_good =
                (1..=MAX_LABEL_BYTES).contains(&label.len()) && label.bytes().all(|byte| byte.is_ascii_graphic());
            self.label = is_good.then(|| label.to_owned());
        } else if let Some((format, encoding)) = value.strip_prefix("rtpmap:").and_then(|map| map.split_once(' '))
            && let Ok(format) = format.parse()
        {
            self.maps.push((format, encoding.trim().to_ascii_uppercase()));
        }
    }

    fn encoding(&self, format: u8) -> Option<&str> {
        let found = self.maps.iter().find(|(known, _)| *known == format);
        found.map(|(_, encoding)| encoding.as_str())
    }

    /// The static payload types alone: a dynamic one for G.711 is something that nobody sends.
    fn laws(&self) -> Vec<Law> {
        let law = |format: &u8| {
            let law = Law::of_payload_type(*format)?;
            let plain = format!("{}/8000", law.encoding());
            let is_plain = |encoding: &str| encoding == plain || encoding == format!("{plain}/1");
            self.encoding(*format).is_none_or(is_plain).then_some(law)
        };
        self.formats.iter().filter_map(law).collect()
    }

    fn events(&self) -> Option<u8> {
        let is_events = |format: &&u8| self.encoding(**format) == Some("TELEPHONE-EVENT/8000");
        self.formats.iter().find(is_events).copied()
    }
}

/// Writes a description: an offer, or an answer that has the streams of its offer, all but one refused.
#[must_use]
pub fn write(audio: &Audio, session: u64, version: u64) -> String {
    write_all(std::slice::from_ref(audio), audio.address, session, version)
}

/// Writes a description of streams at one address, each in its place; those that are not named are refused.
#[must_use]
pub fn write_all(streams: &[Audio], address: IpAddr, session: u64, version: u64) -> String {
    let kind = if address.is_ipv6() { "IP6" } else { "IP4" };
    let mut text =
        format!("v=0\r\no=- {session} {version} IN {kind} {address}\r\ns=-\r\nc=IN {kind} {address}\r\nt=0 0\r\n");
    let count = streams.first().map_or(1, |stream| stream.place.1.max(1));
    for place in 0..count {
        match streams.iter().find(|stream| stream.place.0 == place) {
            Some(stream) => write_stream(&mut text, stream),
            None => text.push_str("m=audio 0 RTP/AVP 0\r\n"),
        }
    }
    text
}

fn write_stream(text: &mut String, audio: &Audio) {
    let formats = audio.laws.iter().map(|law| law.payload_type()).chain(audio.events);
    let formats: Vec<String> = formats.map(|format| format.to_string()).collect();
    let profile = if audio.crypto.is_some() { SECURE } else { PLAIN };
    let _ = write!(text, "m=audio {} {profile} {}\r\n", audio.port, formats.join(" "));
    if let Some(crypto) = &audio.crypto {
        let _ = write!(text, "a=crypto:{}\r\n", crypto.write());
    }
    for law in &audio.laws {
        let _ = write!(text, "a=rtpmap:{} {}/8000\r\n", law.payload_type(), law.encoding());
    }
    if let Some(events) = audio.events {
        let _ = write!(
            text,
            "a=rtpmap:{events} telephone-event/8000\r\na=fmtp:{events} 0-15\r\n"
        );
    }
    if let Some(label) = &audio.label {
        let _ = write!(text, "a=label:{label}\r\n");
    }
    if let Some(recording) = audio.recording {
        let _ = write!(text, "a=record:{}\r\n", recording.as_str());
    }
    let _ = write!(text, "a=ptime:20\r\na={}\r\n", audio.direction.as_str());
}

/// What is offered where nothing was: both laws and events; encrypted if a key is given.
#[must_use]
pub fn offer(address: IpAddr, port: u16, key: Option<&Key>) -> Audio {
    Audio {
        address,
        port,
        laws: vec![Law::A, Law::Mu],
        events: Some(EVENTS),
        direction: Direction::SendRecv,
        label: None,
        place: (0, 1),
        crypto: key.map(|key| Crypto {
            tag: 1,
            key: key.clone(),
        }),
        recording: None,
        wish: None,
    }
}

/// The answer to an offer: its first law, its events, its place; encrypted with our key if it is encrypted.
#[must_use]
pub fn answer(offered: &Audio, address: IpAddr, port: u16, key: &Key) -> Audio {
    let crypto = offered.crypto.as_ref().map(|crypto| Crypto {
        tag: crypto.tag,
        key: key.clone(),
    });
    Audio {
        crypto,
        address,
        port,
        wish: None,
        laws: offered.laws.iter().take(1).copied().collect(),
        direction: offered.direction.answered(),
        ..offered.clone()
    }
}

#[cfg(test)]
mod tests;
