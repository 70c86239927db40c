//! What a recording client says of a call: the parts of its request (RFC 7866, section 9.1), and the metadata (RFC 7865).

use std::collections::BTreeMap;

use callvault_app::core::consent::{Event, event_of};
use mail_parser::{MessageParser, MimeHeaders as _};
use roxmltree::{Document, Node, ParsingOptions};

/// The namespace of the metadata.
const RECORDING: &str = "urn:ietf:params:xml:ns:recording:1";
/// Our own: an element `consent` anywhere in the metadata says on what the recording rests.
pub const CONSENT: &str = "urn:callvault:consent:1";
/// The longest request body that is read.
const MAX_BYTES: usize = 65_536;
/// Elements beyond this are an attack.
const MAX_NODES: u32 = 5_000;
/// The longest identifier and name that is kept; what real clients send is shorter.
const MAX_TEXT_BYTES: usize = 255;
/// Participants and streams that are kept.
pub(super) const MAX_PARTICIPANTS: usize = 32;

/// Why a request is no recording session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SiprecError {
    /// Longer than 64 KiB.
    #[error("too long")]
    TooLong,
    /// No `multipart/mixed` that can be read.
    #[error("no multipart body")]
    Multipart,
    /// No metadata that can be read.
    #[error("no recording metadata")]
    Metadata,
    /// A consent that says nothing that can be rested on.
    #[error("consent: {0}")]
    Consent(String),
}

/// Somebody who takes part in a call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Participant {
    /// His address of record, as it was sent: `sip:+919812345678@example.in`, `tel:+919812345678`.
    pub aor: String,
    /// His name.
    pub name: Option<String>,
}

impl Participant {
    /// The user of his address: a number, in most cases.
    #[must_use]
    pub fn user(&self) -> &str {
        let rest = self.aor.split_once(':').map_or(self.aor.as_str(), |(_, rest)| rest);
        rest.split(['@', ';', '?']).next().unwrap_or(rest)
    }
}

/// What is known of a recorded call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The communication session.
    pub session_id: Option<String>,
    /// What its parties call it.
    pub sip_session_id: Option<String>,
    /// Participants by their identifiers, in the order of the document.
    pub participants: Vec<(String, Participant)>,
    /// Whose audio each label carries: a participant's identifier.
    pub senders: BTreeMap<String, String>,
    /// What is said of consent.
    pub consent: Option<Event>,
}

/// The parts of a request.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// The description of the streams, if there is one.
    pub description: Option<Vec<u8>>,
    /// The metadata, if there are any.
    pub metadata: Option<Metadata>,
}

/// Whether a content type is a metadata document's: RFC 7866 has one name of it, RFC 9806 and the clients another.
fn is_metadata(kind: &str) -> bool {
    kind.eq_ignore_ascii_case("application/rs-metadata+xml") || kind.eq_ignore_ascii_case("application/rs-metadata")
}

/// The type alone, without parameters.
fn plain(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

/// Whether a request's content type is one of several parts.
#[must_use]
pub fn is_multipart(content_type: &str) -> bool {
    plain(content_type).eq_ignore_ascii_case("multipart/mixed")
}

/// Reads a request's body: several parts, a description alone, or metadata alone.
///
/// # Errors
/// [`SiprecError`].
pub fn read(content_type: &str, body: &[u8]) -> Result<Parts, SiprecError> {
    if body.len() > MAX_BYTES {
        return Err(SiprecError::TooLong);
    }
    let kind = plain(content_type);
    let mut parts = Parts::default();
    if is_metadata(kind) {
        parts.metadata = Some(parse(body)?);
    } else if !is_multipart(content_type) {
        parts.description = (!body.is_empty()).then(|| body.to_vec());
    } else {
        let mut mime = b"MIME-Version: 1.0\r\nContent-Type: ".to_vec();
        mime.extend(content_type.bytes().filter(|byte| !byte.is_ascii_control()));
        mime.extend(b"\r\n\r\n");
        mime.extend(body);
        let message = MessageParser::new().parse(&mime).ok_or(SiprecError::Multipart)?;
        for part in &message.parts {
            let Some(kind) = part.content_type() else { continue };
            let kind = format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or_default());
            if kind.eq_ignore_ascii_case("application/sdp") && parts.description.is_none() {
                parts.description = Some(part.contents().to_vec());
            } else if is_metadata(&kind) && parts.metadata.is_none() {
                parts.metadata = Some(parse(part.contents())?);
            }
        }
        if parts == Parts::default() {
            return Err(SiprecError::Multipart);
        }
    }
    Ok(parts)
}

fn short(text: &str) -> Option<String> {
    let text = text.trim();
    let is_good = (1..=MAX_TEXT_BYTES).contains(&text.len()) && !text.chars().any(char::is_control);
    is_good.then(|| text.to_owned())
}

fn named<'a, 'd>(node: Node<'a, 'd>, name: &'static str) -> impl Iterator<Item = Node<'a, 'd>> {
    node.children()
        .filter(move |child| child.has_tag_name((RECORDING, name)))
}

fn text_of(node: Node<'_, '_>, name: &'static str) -> Option<String> {
    named(node, name).next().and_then(|child| child.text()).and_then(short)
}

fn parse(body: &[u8]) -> Result<Metadata, SiprecError> {
    let text = std::str::from_utf8(body).map_err(|_| SiprecError::Metadata)?;
    // No document type: nothing is expanded.
    let options = ParsingOptions {
        allow_dtd: false,
        nodes_limit: MAX_NODES,
        ..ParsingOptions::default()
    };
    let document = Document::parse_with_options(text.trim(), options).map_err(|_| SiprecError::Metadata)?;
    let root = document.root_element();
    if !root.has_tag_name((RECORDING, "recording")) {
        return Err(SiprecError::Metadata);
    }
    let mut metadata = Metadata::default();
    if let Some(session) = named(root, "session").next() {
        metadata.session_id = session.attribute("session_id").and_then(short);
        metadata.sip_session_id = text_of(session, "sipSessionID");
    }
    for participant in named(root, "participant").take(MAX_PARTICIPANTS) {
        let Some(id) = participant.attribute("participant_id").and_then(short) else {
            continue;
        };
        let name = named(participant, "nameID").next();
        let read = Participant {
            aor: name
                .and_then(|name| name.attribute("aor"))
                .and_then(short)
                .unwrap_or_default(),
            name: name.and_then(|name| text_of(name, "name")),
        };
        metadata.participants.push((id, read));
    }
    let labels: BTreeMap<String, String> = named(root, "stream")
        .take(MAX_PARTICIPANTS)
        .filter_map(|stream| {
            let id = stream.attribute("stream_id").and_then(short)?;
            Some((id, text_of(stream, "label")?))
        })
        .collect();
    for association in named(root, "participantstreamassoc").take(MAX_PARTICIPANTS) {
        let Some(participant) = association.attribute("participant_id").and_then(short) else {
            continue;
        };
        for sent in named(association, "send").filter_map(|sent| sent.text().and_then(short)) {
            if let Some(label) = labels.get(&sent) {
                metadata.senders.insert(label.clone(), participant.clone());
            }
        }
    }
    let consent = root.descendants().find(|node| node.has_tag_name((CONSENT, "consent")));
    metadata.consent = consent.map(read_consent).transpose()?;
    Ok(metadata)
}

fn read_consent(node: Node<'_, '_>) -> Result<Event, SiprecError> {
    let attribute = |name| node.attribute(name).and_then(short);
    let event = event_of(attribute("decision").as_deref(), attribute("version"), attribute("by"));
    event.map_err(|refusal| SiprecError::Consent(refusal.reason))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const METADATA: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<recording xmlns="urn:ietf:params:xml:ns:recording:1" xmlns:v="urn:vendor:x">
  <datamode>complete</datamode>
  <group group_id="Z3JvdXA="/>
  <session session_id="c2Vzc2lvbg=="><sipSessionID>ab30317f1a784dc48ff824d0d3715d86;remote=47755a9de7794ba387653f2099600ef2</sipSessionID></session>
  <participant participant_id="cGFydG5lcjE="><nameID aor="sip:+919812345678@example.in;user=phone"><name xml:lang="en">A caller</name></nameID></participant>
  <participant participant_id="cGFydG5lcjI="><nameID aor="tel:+918049501234"/><v:skill>7</v:skill></participant>
  <stream stream_id="c3RyZWFtMQ==" session_id="c2Vzc2lvbg=="><label>1</label></stream>
  <stream stream_id="c3RyZWFtMg==" session_id="c2Vzc2lvbg=="><label>0</label></stream>
  <participantstreamassoc participant_id="cGFydG5lcjE="><send>c3RyZWFtMQ==</send><recv>c3RyZWFtMg==</recv></participantstreamassoc>
  <participantstreamassoc participant_id="cGFydG5lcjI="><send>c3RyZWFtMg==</send><recv>c3RyZWFtMQ==</recv></participantstreamassoc>
</recording>"#;

    fn with_consent(element: &str) -> String {
        METADATA.replace("</recording>", &format!("{element}</recording>"))
    }

    #[test]
    fn who_speaks_on_which_stream() {
        let metadata = parse(METADATA.as_bytes()).expect("metadata");
        assert_eq!(metadata.session_id.as_deref(), Some("c2Vzc2lvbg=="));
        let users: Vec<&str> = metadata.participants.iter().map(|(_, who)| who.user()).collect();
        assert_eq!(users, ["+919812345678", "+918049501234"]);
        assert_eq!(metadata.participants[0].1.name.as_deref(), Some("A caller"));
        assert_eq!(metadata.senders["1"], "cGFydG5lcjE=");
        assert_eq!(metadata.senders["0"], "cGFydG5lcjI=");
        assert_eq!(metadata.consent, None);
    }

    #[test]
    fn consent_is_said_in_full_or_refused() {
        let consent = |attributes: &str| {
            let element = format!("<consent xmlns=\"{CONSENT}\" {attributes}/>");
            parse(with_consent(&element).as_bytes()).map(|metadata| metadata.consent)
        };
        assert_eq!(consent("decision=\"accepted\""), Ok(Some(Event::Accepted)));
        assert_eq!(consent("decision=\"declined\""), Ok(Some(Event::Declined)));
        let version = "2026-04".to_owned();
        assert_eq!(
            consent("decision=\"contract\" version=\"2026-04\""),
            Ok(Some(Event::Contract { version }))
        );
        for wrong in ["decision=\"contract\"", "decision=\"yes\"", ""] {
            assert!(matches!(consent(wrong), Err(SiprecError::Consent(_))), "{wrong}");
        }
        // Of another namespace it is somebody else's.
        let other = with_consent("<consent decision=\"accepted\"/>");
        assert_eq!(parse(other.as_bytes()).map(|metadata| metadata.consent), Ok(None));
    }

    #[test]
    fn parts_are_found_by_their_types() {
        let body = format!(
            "--b1\r\nContent-Type: application/sdp\r\n\r\nv=0\r\ns=-\r\n\r\n--b1\r\nContent-Type: application/rs-metadata; charset=utf-8\r\n\
             Content-Disposition: recording-session\r\n\r\n{METADATA}\r\n--b1--\r\n"
        );
        for content_type in ["multipart/mixed;boundary=b1", "Multipart/Mixed; boundary=\"b1\""] {
            let parts = read(content_type, body.as_bytes()).expect("parts");
            assert_eq!(parts.description.as_deref(), Some(b"v=0\r\ns=-\r\n".as_slice()));
            assert_eq!(parts.metadata, Some(parse(METADATA.as_bytes()).expect("metadata")));
        }
        let alone = read("application/rs-metadata+xml", METADATA.as_bytes()).expect("metadata");
        assert!(alone.description.is_none() && alone.metadata.is_some());
        assert_eq!(
            read("multipart/mixed;boundary=b2", body.as_bytes()),
            Err(SiprecError::Multipart)
        );
        assert_eq!(read("multipart/mixed", &[0; MAX_BYTES + 1]), Err(SiprecError::TooLong));
    }

    #[test]
    fn nothing_is_expanded() {
        let bomb = format!(
            "<!DOCTYPE r [<!ENTITY a \"aaaa\">]>{}",
            METADATA.lines().skip(1).collect::<String>()
        );
        assert_eq!(parse(bomb.as_bytes()), Err(SiprecError::Metadata));
        let many = with_consent(&"<x/>".repeat(6_000));
        assert_eq!(parse(many.as_bytes()), Err(SiprecError::Metadata));
        assert_eq!(parse(b"<recording/>"), Err(SiprecError::Metadata));
    }

    proptest! {
        #[test]
        fn any_bytes_are_parts_or_not(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = read("multipart/mixed;boundary=b", &bytes);
            let _ = parse(&bytes);
        }

        /// Real metadata with some bytes changed, in a body with some bytes changed.
        #[test]
        fn mutilated_metadata_are_metadata_or_not(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12)) {
            let mut body = format!("--b\r\nContent-Type: application/rs-metadata+xml\r\n\r\n{METADATA}\r\n--b--").into_bytes();
            for (at, byte) in changes {
                let at = at.index(body.len());
                body[at] = byte;
            }
            let _ = read("multipart/mixed;boundary=b", &body);
        }
    }
}
