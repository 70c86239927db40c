//! Who calls shows that he knows a trunk's password (RFC 3261, section 22; RFC 8760 for SHA-256). A nonce is good for one request:
//! so nothing that was overheard is worth anything, and no count of requests has to be kept.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use callvault_app::seal::random_bytes;
use rsipstack::{
    dialog::authenticate::verify_digest,
    sip::{
        Header, Request,
        headers::auth::{Algorithm, AuthQop},
        typed::Authorization,
    },
};

use super::text_of;
use crate::pace;

const REALM: &str = "callvault";
/// How long a nonce waits for its request.
const LIFETIME: Duration = Duration::from_secs(60);
/// Nonces that wait; the oldest go first.
const MOST_NONCES: usize = 4_096;

/// Who somebody is to a trunk, or a trunk to us.
#[derive(Clone)]
pub struct Login {
    /// The user.
    pub user: String,
    /// The password.
    pub password: String,
}

/// What is to be done with a call.
pub(super) enum Verdict {
    /// It may come in.
    Welcome,
    /// It has to say who it is.
    Ask(Vec<Header>),
}

/// The logins of trunks, by the addresses that their calls come from.
pub(super) struct Logins {
    known: HashMap<IpAddr, Login>,
    nonces: Mutex<VecDeque<(String, Instant)>>,
}

impl Logins {
    pub(super) fn new(known: Vec<(IpAddr, Login)>) -> Self {
        Self {
            known: known.into_iter().collect(),
            nonces: Mutex::default(),
        }
    }

    pub(super) fn judge(&self, source: IpAddr, request: &Request) -> Verdict {
        let Some(login) = self.known.get(&source) else {
            return Verdict::Welcome;
        };
        let now = pace::now();
        // The stack has another name for SHA-256 than the RFC.
        let shown = text_of(request, "Authorization").concat().replace("SHA-256", "SHA256");
        let is_stale = match Authorization::parse(&shown) {
            Err(_) => false,
            Ok(read) => {
                let is_fresh = self.spend(&read.nonce, now);
                let is_right = read.username == login.user
                    && read.realm == REALM
                    && matches!(read.qop, Some(AuthQop::Auth { nc: 1, .. }))
                    && matches!(read.algorithm, None | Some(Algorithm::Md5 | Algorithm::Sha256))
                    && verify_digest(&read, &login.password, &request.method, &shown);
                if is_fresh && is_right {
                    return Verdict::Welcome;
                }
                is_right
            }
        };
        Verdict::Ask(self.challenges(now, is_stale))
    }

    /// MD5 first, against RFC 8760, section 2.4: many a client reads the first challenge alone. Without randomness nobody gets a nonce, and nobody comes in.
    fn challenges(&self, now: Instant, is_stale: bool) -> Vec<Header> {
        let Ok(random) = random_bytes::<16>() else {
            return Vec::new();
        };
        let nonce = hex::encode(random);
        let stale = if is_stale { ", stale=true" } else { "" };
        let challenge = |algorithm: &str| {
            let text =
                format!("Digest realm=\"{REALM}\", nonce=\"{nonce}\", algorithm={algorithm}, qop=\"auth\"{stale}");
            Header::WwwAuthenticate(text.into())
        };
        let headers = ["MD5", "SHA-256"].map(challenge);
        let mut nonces = self.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        if nonces.len() >= MOST_NONCES {
            nonces.pop_front();
        }
        nonces.push_back((nonce, now));
        headers.into()
    }

    /// Whether a nonce was given, lately, and not used.
    fn spend(&self, nonce: &str, now: Instant) -> bool {
        let mut nonces = self.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        while nonces
            .front()
            .is_some_and(|(_, given)| now.duration_since(*given) > LIFETIME)
        {
            nonces.pop_front();
        }
        let found = nonces.iter().position(|(known, _)| known == nonce);
        found.and_then(|at| nonces.remove(at)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use rsipstack::{
        dialog::authenticate::compute_digest,
        sip::{Method, SipMessage},
    };

    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn logins() -> Logins {
        let (user, password) = ("acme".to_owned(), "correct horse".to_owned());
        Logins::new(vec![(PEER, Login { user, password })])
    }

    fn invite(authorization: &str) -> Request {
        let text = format!(
            "INVITE sip:08049501234@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5061;branch=z9hG4bK-1\r\n\
             From: <sip:a@127.0.0.1>;tag=1\r\nTo: <sip:08049501234@127.0.0.1>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n{authorization}\
             Content-Length: 0\r\n\r\n"
        );
        match SipMessage::try_from(text.as_str()).expect("a message") {
            SipMessage::Request(request) => request,
            SipMessage::Response(_) => panic!("a request"),
        }
    }

    fn asked(verdict: Verdict) -> Vec<String> {
        match verdict {
            Verdict::Ask(challenges) => challenges.iter().map(|header| header.value().to_owned()).collect(),
            Verdict::Welcome => panic!("it is asked"),
        }
    }

    fn nonce_of(challenge: &str) -> String {
        let (_, rest) = challenge.split_once("nonce=\"").expect("a nonce");
        rest.split('"').next().expect("a nonce").to_owned()
    }

    fn answer(nonce: &str, password: &str, nc: u8) -> Request {
        let uri = "sip:08049501234@127.0.0.1";
        let qop = AuthQop::Auth {
            cnonce: "c".to_owned(),
            nc,
        };
        let (method, algorithm) = (Method::Invite, Algorithm::Sha256);
        let response = compute_digest("acme", password, REALM, nonce, &method, uri, algorithm, Some(&qop));
        invite(&format!(
            "Authorization: Digest username=\"acme\", realm=\"{REALM}\", nonce=\"{nonce}\", uri=\"{uri}\", response=\"{response}\", \
             algorithm=SHA-256, qop=auth, nc={nc:08x}, cnonce=\"c\"\r\n"
        ))
    }

    #[test]
    fn who_knows_the_password_comes_in_once_for_each_nonce() {
        let logins = logins();
        let challenges = asked(logins.judge(PEER, &invite("")));
        assert!(
            challenges[0].contains("MD5") && challenges[1].contains("SHA-256"),
            "{challenges:?}"
        );
        let right = answer(&nonce_of(&challenges[0]), "correct horse", 1);
        assert!(matches!(logins.judge(PEER, &right), Verdict::Welcome));
        let again = asked(logins.judge(PEER, &right));
        assert!(
            again[0].contains("stale=true"),
            "what was overheard is worth nothing: {again:?}"
        );
    }

    #[test]
    fn who_does_not_is_asked_again() {
        let logins = logins();
        for (password, nc) in [("wrong", 1), ("correct horse", 2)] {
            let nonce = nonce_of(&asked(logins.judge(PEER, &invite("")))[0]);
            let challenges = asked(logins.judge(PEER, &answer(&nonce, password, nc)));
            assert!(!challenges[0].contains("stale"), "{challenges:?}");
            // The nonce is spent by the attempt.
            asked(logins.judge(PEER, &answer(&nonce, "correct horse", 1)));
        }
        asked(logins.judge(PEER, &answer("0123456789abcdef0123456789abcdef", "correct horse", 1)));
        asked(logins.judge(PEER, &invite("Authorization: Digest nonsense\r\n")));
    }

    #[test]
    fn nonces_end_and_are_counted() {
        let logins = logins();
        let now = pace::now();
        let nonce = |at| nonce_of(logins.challenges(at, false)[0].value());
        let old = nonce(now);
        assert!(!logins.spend(&old, now + LIFETIME + Duration::from_secs(1)));
        let first = nonce(now);
        for _ in 0..MOST_NONCES {
            nonce(now);
        }
        assert!(!logins.spend(&first, now));
        assert_eq!(logins.nonces.lock().expect("nonces").len(), MOST_NONCES);
    }

    #[test]
    fn a_trunk_without_a_login_is_known_by_its_address() {
        let other = "192.0.2.7".parse().expect("an address");
        assert!(matches!(logins().judge(other, &invite("")), Verdict::Welcome));
    }
}
