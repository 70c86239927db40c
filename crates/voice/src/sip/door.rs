//! Who is let in, and what is known of where a message came from.

use std::{collections::HashSet, net::IpAddr};

use async_trait::async_trait;
use rsipstack::{
    sip::{Header, Request, SipMessage, Transport},
    transaction::endpoint::{MessageInspector, TransportEventInspector},
    transport::{SipAddr, connection::TransportEvent},
};

use super::RECORDER;

/// Where the address that a message came from is noted; whatever a message itself says there is removed.
const SOURCE: &str = "X-Callvault-Source";
/// And over what.
const ENCRYPTED: &str = "encrypted";
const PLAIN: &str = "plain";

/// Drops what comes from an address that is none of a trunk's, before it is looked at.
pub(super) struct Guard(HashSet<IpAddr>);

impl Guard {
    pub(super) const fn new(peers: HashSet<IpAddr>) -> Self {
        Self(peers)
    }
}

#[async_trait]
impl TransportEventInspector for Guard {
    async fn handle(&self, event: TransportEvent) -> Option<TransportEvent> {
        match &event {
            TransportEvent::Incoming(_, _, from) => {
                let is_known = address_of(from).is_some_and(|from| self.0.contains(&from));
                is_known.then_some(event)
            }
            _ => Some(event),
        }
    }
}

fn address_of(address: &SipAddr) -> Option<IpAddr> {
    let host = address.addr.host.to_string();
    host.trim_matches(['[', ']']).parse().ok()
}

/// Notes where a message came from, and marks our own as a recording server's.
pub(super) struct Stamp;

impl MessageInspector for Stamp {
    fn before_send(&self, mut message: SipMessage, _: Option<&SipAddr>) -> SipMessage {
        let headers = match &mut message {
            SipMessage::Request(request) => &mut request.headers,
            SipMessage::Response(response) => &mut response.headers,
        };
        let ours = format!("sip:{RECORDER}@");
        for header in headers.iter_mut() {
            if let Header::Contact(contact) = header
                && contact.value().contains(&ours)
            {
                *header = Header::Contact(format!("{};+sip.srs", contact.value()).into());
            }
        }
        message
    }

    fn after_received(&self, mut message: SipMessage, from: Option<&SipAddr>) -> SipMessage {
        if let SipMessage::Request(request) = &mut message {
            request
                .headers
                .retain(|header| !matches!(header, Header::Other(name, _) if name.eq_ignore_ascii_case(SOURCE)));
            if let Some(from) = from
                && let Some(peer) = address_of(from)
            {
                let transport = if from.r#type == Some(Transport::Tls) {
                    ENCRYPTED
                } else {
                    PLAIN
                };
                request
                    .headers
                    .push(Header::Other(SOURCE.to_owned(), format!("{transport} {peer}")));
            }
        }
        message
    }
}

/// Where a message came from.
pub(super) struct Source {
    pub(super) peer: IpAddr,
    /// Whether by TLS.
    pub(super) is_encrypted: bool,
}

pub(super) fn source_of(request: &Request) -> Option<Source> {
    request.headers.iter().find_map(|header| match header {
        Header::Other(name, value) if name == SOURCE => {
            let (transport, peer) = value.split_once(' ')?;
            let is_encrypted = transport == ENCRYPTED;
            let peer = peer.parse().ok()?;
            Some(Source { peer, is_encrypted })
        }
        _ => None,
    })
}
